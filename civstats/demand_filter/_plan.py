"""The arrays that the passes fill, and the work of one block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from civstats.demand_filter import _runner
from civstats.demand_filter._inputs import Job
from civstats.demand_filter.grid import Grid
from civstats.demand_filter.results import Levels, LevelSummary
from civstats.demand_filter.state import State

SUMMARIES = ("predicted", "filtered", "smoothed")
_N_STATS = 4  # mean, sd, rate, P(out)


class Plan:
    """What is wanted of a job, with room for it.

    Parameters
    ----------
    job : Job
    smooth : bool
        Whether the backward pass is run.
    summaries : sequence of str
    probs : numpy.ndarray
        Ascending probabilities of the quantiles wanted.
    wants : sequence of {"day_loglik", "lag_covariance", "transitions"}
    keep : numpy.ndarray of bool, shape (n_rows,), optional
        Days whose whole distributions are kept, or handed to `visit`.
    visit : callable, optional
        Called with each series' position and kept distributions once its grid is wide enough.
    dtype : type
        Of what is reported by row.
    """

    def __init__(
        self,
        job: Job,
        *,
        smooth: bool,
        summaries: Sequence[str] = (),
        probs: np.ndarray | None = None,
        wants: Sequence[str] = (),
        keep: np.ndarray | None = None,
        visit: Callable[[int, Grid, np.ndarray], None] | None = None,
        dtype: type = np.float64,
    ) -> None:
        self.job, self.smooth, self.summaries = job, smooth, tuple(summaries)
        self.wants, self.keep, self.visit = wants, keep, visit
        self.probs = np.empty(0) if probs is None else probs
        self.last: dict[int, np.ndarray] = {}
        self.kept: dict[int, np.ndarray] = {}
        self.n_widened = 0
        n, n_rows = job.obs.n_series, job.obs.n_rows
        self.out: dict[str, np.ndarray] = {"loglik": np.empty(n)}
        for name in ("day_loglik", "lag_covariance"):
            if name in wants:
                self.out[name] = np.empty(n_rows, dtype=dtype)
        if "transitions" in wants:
            self.out["transitions"] = np.empty((n, 2, 2))
        if self.probs.size:
            self.out["quantile"] = np.empty((n_rows, self.probs.size), dtype=dtype)
        for name in self.summaries:
            for k in range(_N_STATS - (job.n_states == 1)):
                self.out[f"{name}{k}"] = np.empty(n_rows, dtype=dtype)

    def run(self, n_jobs: int | None, progress: bool | None) -> None:
        """Fill the arrays."""
        self.n_widened = _runner.work_through(self.job, self._work, n_jobs, progress)

    def _work(self, series: np.ndarray) -> np.ndarray:
        """Run some series and return the mass at the ends of their grids, shape (n, 2)."""
        from civstats.demand_filter._blocks import run_block

        block = self.job.block(series)
        n, n_rows = len(series), block.n_rows
        rows, at = block.rows, block.cell_starts
        # Zeros: a series whose grid is to be widened gets no backward pass, and what lies in empty
        # memory may not fit float32.
        stats = {
            s: np.zeros((n_rows, _N_STATS) if s in self.summaries else (0, 0)) for s in SUMMARIES
        }
        loglik, edge, last = np.empty(n), np.empty((n, 2)), np.empty(at[-1])
        day_loglik = np.empty(n_rows if "day_loglik" in self.wants else 0)
        quantile = np.zeros((n_rows, self.probs.size))
        lag_covariance = np.zeros(n_rows if "lag_covariance" in self.wants else 0)
        transitions = np.empty((n, 2, 2))
        keep = np.empty(0, dtype=bool) if self.keep is None else self.keep[rows]
        kept_starts = np.zeros(n + 1, dtype=np.int64)
        kept = np.empty((0, 0, 0, 0))
        if self.keep is not None:
            kept_starts[1:] = np.cumsum(np.add.reduceat(keep, block.starts, dtype=np.int64))
            kept = np.empty((kept_starts[-1], 2, self.job.n_states, block.grid.size.max()))
        run_block(
            *block.arguments, self.smooth, _runner.EDGE_LIMIT, loglik, edge, last, day_loglik,
            stats["predicted"], stats["filtered"], stats["smoothed"],
            self.probs, quantile, lag_covariance, transitions, keep, kept, kept_starts,
        )  # fmt: skip
        self.job.refuse_impossible(series, loglik)
        self.out["loglik"][series] = loglik
        if "transitions" in self.out:
            self.out["transitions"][series] = transitions
        filled = {"day_loglik": day_loglik, "quantile": quantile, "lag_covariance": lag_covariance}
        filled |= {f"{s}{k}": stats[s][:, k] for s in self.summaries for k in range(_N_STATS)}
        for name in filled.keys() & self.out.keys():
            self.out[name][rows] = filled[name]
        for k, i in enumerate(series.tolist()):
            self.last[i] = last[at[k] : at[k + 1]]
            if self.keep is None or edge[k].max() > _runner.EDGE_LIMIT:
                continue
            days = kept[kept_starts[k] : kept_starts[k + 1], :, :, : block.grid.size[k]]
            if self.visit is None:
                self.kept[i] = days.copy()
            else:
                self.visit(i, block.grid.take([k]), days)
        return edge

    def state(self) -> State:
        """Return the distributions of the last days."""
        job = self.job
        cells = np.concatenate([self.last[i] for i in range(job.obs.n_series)])
        seen = job.obs.lengths + (0 if job.state is None else job.state.n_days)
        return State(job.obs.ids, job.grid, job.n_states, cells, seen)

    def result(self) -> Levels:
        """Return what was wanted."""

        def summary(name: str) -> LevelSummary | None:
            if name not in self.summaries:
                return None
            mean, sd, rate = (self.out[f"{name}{k}"] for k in range(3))
            return LevelSummary(mean, sd, rate, self.out.get(f"{name}3"))

        obs = self.job.obs
        return Levels(
            obs.ids,
            obs.starts,
            obs.ends,
            self.out["loglik"],
            self.out.get("day_loglik"),
            summary("predicted"),
            summary("filtered"),
            summary("smoothed"),
            self.out.get("quantile"),
            self.out.get("lag_covariance"),
            self.out.get("transitions"),
            self.state(),
            self.job.grid,
            self.n_widened,
        )
