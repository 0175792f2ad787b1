"""Blocks of series over a pool of threads, with grids widened and series run again where needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

import numpy as np

from civstats.demand_filter._inputs import Job
from civstats.demand_filter.grid import Grid
from civstats.schema import CivstatsError

EDGE_LIMIT = 1e-6
"""Most probability that the ends of a grid may hold on any day."""
BLOCK_ROWS = 1 << 16
_LEAST_STEP = 16


def threads(n_jobs: int | None) -> int:
    """Return the number of threads for `n_jobs`; None is one per processor that may be used."""
    if n_jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if isinstance(n_jobs, bool) or n_jobs < 1:
        raise CivstatsError(f"n_jobs must be 1 or more, or None for all, but got {n_jobs!r}")
    return int(n_jobs)


def work_through(
    job: Job,
    work: Callable[[np.ndarray], np.ndarray],
    n_jobs: int | None,
    progress: bool | None,
) -> int:
    """Have all series worked on, blocks at a time; return how many grids had to be widened.

    Parameters
    ----------
    job : Job
        Its grid is replaced by the grids in the end used.
    work : callable
        Runs series given by position and returns the mass at the ends of their grids, (n, 2).
    """
    waiting = np.arange(job.obs.n_series)
    widened = np.zeros(job.obs.n_series, dtype=bool)
    with _bar(progress, len(waiting)) as advance, ThreadPoolExecutor(threads(n_jobs)) as pool:
        while len(waiting):
            edges = np.empty((len(waiting), 2))
            tasks = {
                pool.submit(work, waiting[a:b]): slice(a, b)
                for a, b in _blocks(job.obs.lengths[waiting])
            }
            try:
                for task in as_completed(tasks):
                    edges[tasks[task]] = task.result()
                    advance(int((edges[tasks[task]].max(axis=1) <= EDGE_LIMIT).sum()))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            over = edges > EDGE_LIMIT
            again = over.any(axis=1)
            waiting = waiting[again]
            widened[waiting] = True
            job.grid = _grown(job.grid, waiting, over[again])
    return int(widened.sum())


def _grown(grid: Grid, series: np.ndarray, over: np.ndarray) -> Grid:
    """Return the grids with some series' widened by half at the ends where mass piled up."""
    if not len(series):
        return grid
    some = grid.take(series)
    step = np.where(over, np.maximum(some.size // 2, _LEAST_STEP)[:, None], 0)
    some = some.widened(step[:, 0], step[:, 1])
    first, size = grid.first.copy(), grid.size.copy()
    first[series], size[series] = some.first, some.size
    return Grid(grid.anchor, grid.spacing, first, size)


def _blocks(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cut series into runs of at most `BLOCK_ROWS` rows (or a single longer series)."""
    start, rows = 0, 0
    for i, n in enumerate(lengths):
        if rows and rows + n > BLOCK_ROWS:
            yield start, i
            start, rows = i, 0
        rows += int(n)
    if len(lengths):
        yield start, len(lengths)


@contextmanager
def _bar(progress: bool | None, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that counts series; it draws on stderr, or nothing."""
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("filtering", total=total)
        yield lambda n: bar.update(task, advance=n)
