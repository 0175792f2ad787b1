"""The columns of a recovery, filled for some series at a time from the filter's passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.demand_filter.grid import Grid
from civstats.demand_filter.layout import EXACT, SILENT, UNKNOWN, Observations, observations
from civstats.demand_filter.model import DemandFilter
from civstats.demand_filter.parameters import COUNTS, FAMILIES, FilterParameters
from civstats.demand_filter.passes import smooth_levels
from civstats.demand_filter.posteriors import SeriesPosterior, visit_posteriors
from civstats.demand_filter.state import State


@dataclass(frozen=True)
class Recovered:
    """Columns by row, float32; bands have a row for each lower and upper end, level by level."""

    stockout: np.ndarray
    level_filtered: np.ndarray
    level_smoothed: np.ndarray
    level_band: np.ndarray
    demand_filtered: np.ndarray
    demand: np.ndarray
    demand_band: np.ndarray
    p_out: np.ndarray | None

    @classmethod
    def empty(cls, n_rows: int, n_levels: int, *, hidden: bool) -> Recovered:
        """Return room for n_rows."""

        def column() -> np.ndarray:
            return np.empty(n_rows, dtype=np.float32)

        def band() -> np.ndarray:
            return np.empty((2 * n_levels, n_rows), dtype=np.float32)

        out = np.empty(n_rows, dtype=bool)
        p_out = column() if hidden else None
        return cls(out, column(), column(), band(), column(), column(), band(), p_out)

    def rows(self, start: int, end: int) -> Recovered:
        """Return a view of some rows."""
        at = slice(start, end)
        return Recovered(
            self.stockout[at],
            self.level_filtered[at],
            self.level_smoothed[at],
            self.level_band[:, at],
            self.demand_filtered[at],
            self.demand[at],
            self.demand_band[:, at],
            None if self.p_out is None else self.p_out[at],
        )


def band_probabilities(level: tuple[float, ...]) -> np.ndarray:
    """Return the probabilities of lower and upper ends, level by level."""
    ends = [p for value in level for p in (0.5 - value / 200, 0.5 + value / 200)]
    return np.array(ends, dtype=float)


def own_days(fitted: DemandFilter, part: pd.DataFrame, obs: Observations) -> Observations:
    """Return what each day says of its own demand, whatever the level may learn from it."""
    if fitted.treatment != "mask":
        return obs
    return observations(part, "censor", obs.offset, hidden=fitted.hidden)


def falls_short(obs: Observations, day: Observations, *, hidden: bool) -> np.ndarray:
    """Mark the rows on which demand may differ from sales, shape (n_rows,)."""
    short = day.kind != EXACT
    if day.exposure is not None:
        short |= day.exposure < 1
    if hidden:
        short |= (day.kind == EXACT) & (day.y <= 0) & (obs.status == UNKNOWN)
    return short


def mean_of(
    rate: np.ndarray, offset: np.ndarray, params: FilterParameters, lengths: np.ndarray
) -> np.ndarray:
    """Return the mean demand of days whose level's rate (or quantile of it) is given."""
    if params.family == "normal":
        return rate + offset
    mean = rate * np.exp(offset)
    if params.family == "zero_inflated_negbin":
        mean *= _by_row(1 - np.asarray(params.zero_inflation), lengths)
    if params.family == "lognormal":
        mean *= _by_row(np.exp(0.5 * np.square(params.dispersion)), lengths)
    return mean


def _by_row(value: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.repeat(np.broadcast_to(value, lengths.shape), lengths)


def recover_rows(
    obs: Observations,
    day: Observations,
    params: FilterParameters,
    level: tuple[float, ...],
    out: Recovered,
    n_jobs: int | None,
    *,
    offset_variance: np.ndarray | None = None,
    state: State | None = None,
    grid: Grid | None = None,
) -> np.ndarray:
    """Fill the columns of some series; return which rows may fall short of demand.

    Parameters
    ----------
    obs : Observations
        What the level is learned from.
    day : Observations
        What each day says of its own demand; the same rows.
    offset_variance : numpy.ndarray, shape (n_rows,), optional
        Widens the bands of the level.
    state, grid : State and Grid, optional
        To go on from, and the grid to do it on.
    """
    from civstats.demand_filter._recovery_kernels import recover_continuous, recover_counts

    probs = band_probabilities(level)
    levels = smooth_levels(
        obs, params, quantiles=list(probs), dtype=np.float32, n_jobs=n_jobs, state=state, grid=grid
    )
    filtered, smoothed = levels.filtered, levels.smoothed
    assert filtered is not None
    assert smoothed is not None
    out.level_filtered[:] = mean_of(filtered.rate, obs.offset, params, obs.lengths)
    out.level_smoothed[:] = mean_of(smoothed.rate, obs.offset, params, obs.lengths)
    if levels.quantiles is not None:
        wider = 1.0
        if offset_variance is not None:
            wider = np.sqrt(1 + offset_variance / np.maximum(np.square(smoothed.sd), 1e-12))
        for k in range(len(probs)):
            point = smoothed.mean + wider * (levels.quantiles[:, k] - smoothed.mean)
            rate = np.exp(point) if params.log_link else point
            out.level_band[k] = mean_of(rate, obs.offset, params, obs.lengths)
    if out.p_out is not None and smoothed.p_out is not None:
        out.p_out[:] = smoothed.p_out
    short = falls_short(obs, day, hidden=params.hidden)
    out.stockout[:] = short
    out.demand[:] = out.demand_filtered[:] = day.y
    out.demand_band[:] = day.y
    order = np.argsort(probs)
    ascending = probs[order]
    matrix, family = params.matrix(obs.n_series), FAMILIES.index(params.family)
    kernel = recover_counts if params.family in COUNTS else recover_continuous
    share = np.ones(obs.n_rows) if day.exposure is None else day.exposure
    # A bound is as whole as the filter reads it.
    y = np.where(day.kind == SILENT, 0.0, day.y)
    y = np.ceil(y - 1e-6) if params.family in COUNTS else y

    def one(posterior: SeriesPosterior) -> None:
        rows = posterior.rows
        if not len(rows):
            return
        demand, quantile = np.empty((len(rows), 2)), np.empty((len(rows), len(probs)))
        kernel(
            demand, quantile, ascending, np.ascontiguousarray(posterior.filtered),
            np.ascontiguousarray(posterior.smoothed), y[rows], day.kind[rows], share[rows], obs.offset[rows], family, matrix[posterior.series],
            posterior.levels,
        )  # fmt: skip
        out.demand_filtered[rows], out.demand[rows] = demand[:, 0], demand[:, 1]
        out.demand_band[order[:, None], rows] = quantile.T

    if short.any():
        visit_posteriors(obs, params, one, keep=short, n_jobs=n_jobs, state=state, grid=levels.grid)
    return short
