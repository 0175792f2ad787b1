"""Score and information of every day's offset, averaged over the smoothed level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from civstats.demand_filter.grid import Grid, shifts
from civstats.demand_filter.layout import SILENT, Observations
from civstats.demand_filter.parameters import FAMILIES, FilterParameters
from civstats.demand_filter.posteriors import SeriesPosterior, visit_posteriors


@dataclass(frozen=True)
class Responses:
    """What each day says of its offset.

    Attributes
    ----------
    loglik : numpy.ndarray, shape (n_series,)
    score : numpy.ndarray, shape (n_rows,)
        Derivative of the series' log marginal likelihood in the day's offset; 0 on silent days.
    info : numpy.ndarray, shape (n_rows,)
        Information that the day would hold with its level known and its demand seen, >= 0.
    level : numpy.ndarray, shape (n_rows,), optional
        Mean of the smoothed level on days that speak, else 0.
    """

    loglik: np.ndarray
    score: np.ndarray
    info: np.ndarray
    level: np.ndarray | None = None


def responses(
    obs: Observations,
    params: FilterParameters,
    *,
    grid: Grid | None = None,
    n_jobs: int | None = None,
    means: bool = False,
) -> Responses:
    """Return score and information of every day, from both passes.

    The score is exact (Fisher's identity), so that a regression step that no longer moves has
    found a stationary point of the marginal likelihood, whatever the information used on the way.

    Parameters
    ----------
    obs : Observations
    params : FilterParameters
    grid : Grid, optional
    n_jobs : int, optional
        Threads; None is one per processor.
    means : bool
        Return the smoothed levels' means, too.
    """
    from civstats.demand_filter._response import respond

    score, info = np.zeros(obs.n_rows), np.zeros(obs.n_rows)
    level = np.zeros(obs.n_rows) if means else None
    shift, slope = shifts(obs.offset, obs.exposure, params.family)
    matrix, family = params.matrix(obs.n_series), FAMILIES.index(params.family)

    def one(day: SeriesPosterior) -> None:
        s, w = np.empty(len(day.rows)), np.empty(len(day.rows))
        respond(
            s, w, np.ascontiguousarray(day.smoothed[:, 0, :]), obs.y[day.rows], obs.kind[day.rows],
            shift[day.rows], slope[day.rows] if slope.size else slope, family,
            matrix[day.series], day.levels,
        )  # fmt: skip
        score[day.rows], info[day.rows] = s, w
        if level is not None:
            level[day.rows] = day.smoothed.sum(axis=1) @ day.levels

    levels = visit_posteriors(obs, params, one, keep=obs.kind != SILENT, grid=grid, n_jobs=n_jobs)
    return Responses(levels.loglik, score, info, level)
