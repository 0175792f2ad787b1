"""Blocks of series over a pool of threads, with grids widened and series run again where needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from civstats.demand_filter.grid import Grid, build_grid, shifts
from civstats.demand_filter.layout import BOUND, IN, OUT, SILENT, Observations
from civstats.demand_filter.parameters import COUNTS, FAMILIES, FilterParameters
from civstats.demand_filter.state import State
from civstats.schema import CivstatsError

EDGE_LIMIT = 1e-6
"""Most probability that the ends of a grid may hold on any day."""
BLOCK_ROWS = 1 << 16
_WHOLE = 1e-6
_SUMMARIES = ("predicted", "filtered", "smoothed")
N_STATS = 4


@dataclass
class Plan:
    """One job for the passes: inputs, what is wanted, and the arrays to fill."""

    obs: Observations
    params: FilterParameters
    grid: Grid
    state: State | None
    smooth: bool
    summaries: tuple[str, ...] = ()
    probs: np.ndarray = field(default_factory=lambda: np.empty(0))
    wants: tuple[str, ...] = ()
    keep: np.ndarray | None = None
    dtype: type = np.float64
    out: dict[str, np.ndarray] = field(default_factory=dict)
    last: dict[int, np.ndarray] = field(default_factory=dict)
    kept: dict[int, np.ndarray] = field(default_factory=dict)
    n_widened: int = 0

    def __post_init__(self) -> None:
        obs = self.obs
        self.matrix = self.params.matrix(obs.n_series)
        self.n_states = 2 if self.params.hidden else 1
        self.family = FAMILIES.index(self.params.family)
        shapes: dict[str, tuple[int, ...]] = {"loglik": (obs.n_series,)}
        if "day_loglik" in self.wants:
            shapes["day_loglik"] = (obs.n_rows,)
        if "lag_covariance" in self.wants:
            shapes["lag_covariance"] = (obs.n_rows,)
        if "transitions" in self.wants:
            shapes["transitions"] = (obs.n_series, 2, 2)
        if self.probs.size:
            shapes["quantile"] = (obs.n_rows, self.probs.size)
        for name in self.summaries:
            for k in range(N_STATS if self.params.hidden else N_STATS - 1):
                shapes[f"{name}{k}"] = (obs.n_rows,)
        for name, shape in shapes.items():
            by_row = shape[0] == obs.n_rows and name not in ("loglik", "transitions", "day_loglik")
            self.out[name] = np.empty(shape, dtype=self.dtype if by_row else np.float64)


def threads(n_jobs: int | None) -> int:
    """Return the number of threads for `n_jobs`; None is one per processor that may be used."""
    if n_jobs is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if isinstance(n_jobs, bool) or n_jobs < 1:
        raise CivstatsError(f"n_jobs must be 1 or more, or None for all, but got {n_jobs!r}")
    return int(n_jobs)


def place(
    obs: Observations, params: FilterParameters, grid: Grid | None, state: State | None
) -> tuple[Grid, State | None]:
    """Return the grid to run on, and the state of these series."""
    if state is None:
        return (build_grid(obs, params) if grid is None else grid), None
    state = state.match(obs.ids)
    if state.n_states != (2 if params.hidden else 1):
        raise CivstatsError(
            "the state and the parameters disagree on hidden availability; continue with the "
            "parameters the state was filtered with"
        )
    if grid is not None:
        return grid, state
    # The new days may lie beyond the old grid: the same lattice, as wide as they ask for.
    new, old = build_grid(obs, params), state.grid
    low = new.anchor + new.spacing * new.first
    high = low + new.spacing * (new.size - 1)
    first = np.floor((low - old.anchor) / old.spacing).astype(np.int64)
    last = np.ceil((high - old.anchor) / old.spacing).astype(np.int64)
    below = np.maximum(old.first - first, 0)
    above = np.maximum(last - (old.first + old.size - 1), 0)
    return old.widened(below, above), state


def run(plan: Plan, n_jobs: int | None, progress: bool | None) -> None:
    """Fill the plan's arrays.

    Raises
    ------
    CivstatsError
        For days that the family cannot produce.
    """
    waiting = np.arange(plan.obs.n_series)
    widened = np.zeros(plan.obs.n_series, dtype=bool)
    workers = threads(n_jobs)
    with _bar(progress, plan.obs.n_series) as advance, ThreadPoolExecutor(workers) as pool:
        while len(waiting):
            edges = np.empty((len(waiting), 2))
            jobs = {}
            for a, b in _blocks(plan.obs.lengths[waiting]):
                jobs[pool.submit(_run_block, plan, waiting[a:b])] = (a, b)
            try:
                for job in as_completed(jobs):
                    a, b = jobs[job]
                    edges[a:b] = job.result()
                    advance(int((edges[a:b].max(axis=1) <= EDGE_LIMIT).sum()))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            over = edges > EDGE_LIMIT
            again = over.any(axis=1)
            waiting, over = waiting[again], over[again]
            widened[waiting] = True
            if len(waiting):
                grow = np.zeros((plan.obs.n_series, 2), dtype=np.int64)
                step = np.maximum(plan.grid.size[waiting] // 2, 16)
                grow[waiting] = np.where(over, step[:, None], 0)
                grown = plan.grid.take(waiting).widened(grow[waiting, 0], grow[waiting, 1])
                first, size = plan.grid.first.copy(), plan.grid.size.copy()
                first[waiting], size[waiting] = grown.first, grown.size
                plan.grid = Grid(plan.grid.anchor, plan.grid.spacing, first, size)
    plan.n_widened = int(widened.sum())


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


def _run_block(plan: Plan, series: np.ndarray) -> np.ndarray:
    """Run some series and return the mass at the ends of their grids, shape (n, 2)."""
    from civstats.demand_filter._blocks import run_block

    whole = plan.obs
    consecutive = series[-1] - series[0] == len(series) - 1
    rows: slice | np.ndarray = (
        slice(int(whole.starts[series[0]]), int(whole.ends[series[-1]]))
        if consecutive
        else whole.rows_of(series)
    )
    lengths = whole.lengths[series]
    ends = np.cumsum(lengths)
    exposure = None if whole.exposure is None else whole.exposure[rows]
    obs = _Days(whole.y[rows], whole.kind[rows], whole.status[rows], whole.offset[rows], exposure)
    y = _checked(obs, plan.params, whole, series, ends)
    shift, slope = shifts(obs, plan.params.family)  # type: ignore[arg-type]
    grid = plan.grid.take(series)
    at = grid.cells(plan.n_states)
    before = np.empty(0) if plan.state is None else plan.state.take(series).on(grid)
    n, n_rows = len(series), len(y)
    stats = {
        s: np.empty((n_rows, N_STATS)) if s in plan.summaries else np.empty((0, 0))
        for s in _SUMMARIES
    }
    loglik, edge, last = np.empty(n), np.empty((n, 2)), np.empty(at[-1])
    day_loglik = np.empty(n_rows if "day_loglik" in plan.wants else 0)
    quantile = np.empty((n_rows, plan.probs.size))
    lag_covariance = np.empty(n_rows if "lag_covariance" in plan.wants else 0)
    transitions = np.empty((n, 2, 2))
    keep = np.empty(0, dtype=bool) if plan.keep is None else plan.keep[rows]
    kept_starts = np.zeros(n + 1, dtype=np.int64)
    kept = np.empty((0, 0, 0, 0))
    if plan.keep is not None:
        kept_starts[1:] = np.cumsum(np.add.reduceat(keep, ends - lengths, dtype=np.int64))
        kept = np.empty((int(kept_starts[-1]), 2, plan.n_states, int(grid.size.max())))
    run_block(
        ends - lengths, ends, y, obs.kind, obs.status, shift, slope, plan.family, plan.n_states,
        plan.matrix[series], grid.anchor, grid.spacing, grid.first, grid.size,
        plan.state is not None, before, at, plan.smooth, EDGE_LIMIT,
        loglik, edge, last, day_loglik, stats["predicted"], stats["filtered"], stats["smoothed"],
        plan.probs, quantile, lag_covariance, transitions, keep, kept, kept_starts,
    )  # fmt: skip
    lost = ~np.isfinite(loglik)
    if lost.any():
        raise CivstatsError(
            f"{int(lost.sum())} series hold a day that the parameters make impossible, first "
            f"{whole.ids[series[int(np.argmax(lost))]]}: check pinned availability and rates of 0"
        )
    plan.out["loglik"][series] = loglik
    if "transitions" in plan.out:
        plan.out["transitions"][series] = transitions
    for name, values in (
        ("day_loglik", day_loglik),
        ("lag_covariance", lag_covariance),
        ("quantile", quantile),
    ):
        if name in plan.out:
            plan.out[name][rows] = values
    for name in plan.summaries:
        for k in range(N_STATS):
            if f"{name}{k}" in plan.out:
                plan.out[f"{name}{k}"][rows] = stats[name][:, k]
    for k, i in enumerate(series):
        plan.last[int(i)] = last[at[k] : at[k + 1]]
        if plan.keep is not None:
            a, b = kept_starts[k], kept_starts[k + 1]
            plan.kept[int(i)] = kept[a:b, :, :, : grid.size[k]].copy()
    return edge


@dataclass(frozen=True)
class _Days:
    """The rows of a block."""

    y: np.ndarray
    kind: np.ndarray
    status: np.ndarray
    offset: np.ndarray
    exposure: np.ndarray | None


def _checked(
    days: _Days, params: FilterParameters, obs: Observations, series: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Return y as the family reads it, or raise for days it cannot produce."""
    speaks = days.kind != SILENT
    bound = days.kind == BOUND
    y = days.y
    problem = ""
    bad = np.zeros(0, dtype=bool)
    if params.family in COUNTS:
        y = np.where(bound, np.ceil(y - _WHOLE), np.rint(y))
        off = np.abs(y - days.y) > _WHOLE * np.maximum(1.0, np.abs(y))
        bad = speaks & ((off & ~bound) | (days.y < 0))
        problem = "sales of a count family must be whole and >= 0; rescale them to units"
    elif params.family == "lognormal":
        excused = (y == 0) & (days.status != IN) & params.hidden
        bad = speaks & ~bound & (y <= 0) & ~excused
        problem = "lognormal demand is positive; zeros need another family, or silence"
    if params.hidden and not bad.any():
        bad = speaks & (days.status == OUT) & (y > 0)
        problem = "a day known to be out of stock cannot have sales"
    if bad.any():
        row = int(np.argmax(bad))
        k = int(np.searchsorted(ends, row, side="right"))
        day = row - (int(ends[k - 1]) if k else 0) + 1
        raise CivstatsError(
            f"{problem}: {int(bad.sum())} row(s), first day {day} of {obs.ids[series[k]]}"
        )
    return y


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
