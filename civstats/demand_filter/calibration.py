"""Simulation-based calibration: worlds of the filter's own model, ranks of the truth among draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from civstats.demand_filter._own_world import WEEKDAY, OwnWorld, draw_world
from civstats.demand_filter.grid import build_grid
from civstats.demand_filter.model import DemandFilter
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.recovery import Recovery, recover
from civstats.demand_filter.sampling import sample_levels
from civstats.schema import DEMAND, DS, CivstatsError, Y, series_index

__all__ = ["WEEKDAY", "OwnWorld", "chi_square", "draw_world", "rank_among", "truth_ranks"]


def truth_ranks(
    world: OwnWorld,
    params: FilterParameters | None = None,
    *,
    n_draws: int = 63,
    seed: int = 0,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Rank what is true among joint draws given what was observed, one rank a series and quantity.

    Where truth and draws come from one model, every rank is uniform on 0 .. n_draws (Cook, Gelman
    and Rubin, 2006; Talts et al., 2018). Ties, which counts have, are broken at random.

    Parameters
    ----------
    world : OwnWorld
    params : FilterParameters, optional
        That the draws are made with; those of the world if None. With others the ranks say whether
        the check would notice.
    n_draws : int
        Draws of each series.
    seed : int
        Of the draws, of the days that are asked for and of the broken ties.
    n_jobs : int, optional
        Threads; None is one per processor.

    Returns
    -------
    pandas.DataFrame
        ``quantity, series, rank``. Quantities: the ``level`` on the last day, on a stockout day
        and its mean over all days; the ``demand`` of that stockout day (drawn at random among the
        series' own); the ``lost`` units of the middle third and of all days; under hidden
        availability the ``days out``. A series without a stockout in question has no rank there.

    Raises
    ------
    CivstatsError
        For fewer than one draw.

    Examples
    --------
    >>> from civstats.demand_filter import FilterParameters
    >>> from civstats.demand_filter.calibration import draw_world, truth_ranks
    >>> params = FilterParameters("negbin", dispersion=2.0, level_sd=0.1, prior_mean=0.7)
    >>> ranks = truth_ranks(draw_world(params, 20, 40, seed=1), n_draws=9, n_jobs=1)
    >>> bool(ranks["rank"].between(0, 9).all())
    True
    """
    if n_draws < 1:
        raise CivstatsError(f"n_draws must be 1 or more, but got {n_draws}")
    params = world.params if params is None else params
    panel = world.panel
    index = series_index(panel)
    fitted = _Given(params, index.ids, world.weekday)
    obs = fitted.observations(panel)
    grid = build_grid(obs, params)
    paths = sample_levels(obs, params, n_draws, seed, grid=grid, n_jobs=n_jobs)
    found = recover(panel, fitted, levels=(), n_draws=n_draws, seed=seed + 1, n_jobs=n_jobs)
    rng = np.random.default_rng([seed, 2])
    series = index.codes()
    out = []

    def add(quantity: str, which: np.ndarray, truth: np.ndarray, draws: np.ndarray) -> None:
        rank = rank_among(truth, draws, rng)
        out.append(pd.DataFrame({"quantity": quantity, "series": which, "rank": rank}))

    # The draws are points of a grid: the truth is the point next to it, and ties are broken.
    anchor, spacing = (np.repeat(x, index.lengths) for x in (grid.anchor, grid.spacing))
    cell = np.round((paths.levels - anchor[:, None]) / spacing[:, None]).astype(int)
    true_cell = np.round((world.levels - anchor) / spacing).astype(int)
    everyone = np.arange(len(index.ids))
    last = index.ends - 1
    add("level, last day", everyone, true_cell[last], cell[last])
    hit, short = _a_day_of_each(found.rows, series, rng)
    rows = found.rows[short]
    if len(rows):
        add("level, stockout day", hit, true_cell[rows], cell[rows])
    mean = np.add.reduceat(paths.levels, index.starts, axis=0) / index.lengths[:, None]
    true_mean = np.add.reduceat(world.levels, index.starts) / index.lengths
    add("level, mean of all days", everyone, true_mean, mean)
    if len(rows):
        truth = panel[DEMAND].to_numpy(dtype=float)
        add("demand, stockout day", hit, truth[rows], _samples(found)[short])
        day = np.arange(len(panel)) - index.starts[series]
        third = index.lengths[series] / 3
        for name, inside in (
            ("lost, middle third", (day >= third) & (day < 2 * third)),
            ("lost, all days", np.ones(len(panel), dtype=bool)),
        ):
            add(name, *_lost(found, panel, series, inside))
    if paths.out is not None and world.out is not None:
        counts = np.add.reduceat(paths.out.astype(int), index.starts, axis=0)
        add("days out", everyone, np.add.reduceat(world.out.astype(int), index.starts), counts)
    return pd.concat(out, ignore_index=True)


def rank_among(truth: np.ndarray, draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return how many draws lie below the truth, ties broken at random.

    Parameters
    ----------
    truth : numpy.ndarray, shape (n,)
    draws : numpy.ndarray, shape (n, n_draws)
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of int, shape (n,)
        0 .. n_draws; uniform where truth and draws are exchangeable.

    Examples
    --------
    >>> import numpy as np
    >>> rank_among(np.array([2.5]), np.array([[1, 2, 3]]), np.random.default_rng(0)).tolist()
    [2]
    """
    below = (draws < truth[:, None]).sum(axis=1)
    same = (draws == truth[:, None]).sum(axis=1)
    return below + rng.integers(0, same + 1)


def chi_square(ranks: np.ndarray, n_draws: int, n_bins: int = 16) -> float:
    """Return the p-value of a chi-square test of uniform ranks.

    Parameters
    ----------
    ranks : numpy.ndarray of int
        0 .. n_draws, independent of each other.
    n_draws : int
    n_bins : int
        A divisor of ``n_draws + 1``, so that every bin holds as many ranks.

    Raises
    ------
    CivstatsError
        If the bins are not alike, or there is no rank.

    Examples
    --------
    >>> import numpy as np
    >>> chi_square(np.tile(np.arange(64), 5), 63)
    1.0
    """
    from scipy import stats

    ranks = np.asarray(ranks)
    if (n_draws + 1) % n_bins or not len(ranks):
        raise CivstatsError(
            f"{n_bins} bins do not hold the same number of the {n_draws + 1} ranks, or there is "
            f"no rank ({len(ranks)}); choose draws + 1 a multiple of the bins"
        )
    counts = np.bincount(ranks * n_bins // (n_draws + 1), minlength=n_bins)
    return float(stats.chisquare(counts).pvalue)


class _Given(DemandFilter):
    """A filter whose parameters and offsets of the weekday are given, not estimated."""

    def __init__(self, params: FilterParameters, ids: pd.Index, weekday: Sequence[float]) -> None:
        # Zero inflation beside hidden availability cannot be fitted, but it can be given.
        super().__init__(treatment="censor", offsets=False)
        self.family, self.hidden = params.family, params.hidden
        self.ids_ = ids
        values = {
            n: np.broadcast_to(v, len(ids)) for n, v in params._values().items() if v is not None
        }
        self.parameters_ = FilterParameters(params.family, **values)
        self._weekday = np.asarray(weekday, dtype=float)

    def offset(self, rows: pd.DataFrame) -> np.ndarray:
        return self._weekday[rows[DS].dt.dayofweek.to_numpy()]


def _a_day_of_each(
    rows: np.ndarray, series: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pick one of the rows of each series at random: the series that have one, positions in rows."""
    shuffled = rng.permutation(len(rows))
    hit, first = np.unique(series[rows[shuffled]], return_index=True)
    return hit, shuffled[first]


def _samples(found: Recovery) -> np.ndarray:
    assert found.samples is not None
    return found.samples


def _lost(
    found: Recovery, panel: pd.DataFrame, series: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum lost units of some days by series: the series, the truth, its draws."""
    kept = inside[found.rows]
    rows = found.rows[kept]
    hit, starts = np.unique(series[rows], return_index=True)
    if not len(rows):
        return hit, np.empty(0), np.empty((0, 1))
    sold = panel[Y].to_numpy(dtype=float)[rows]
    truth = panel[DEMAND].to_numpy(dtype=float)[rows] - sold
    units = _samples(found)[kept] - sold[:, None]
    return hit, np.add.reduceat(truth, starts), np.add.reduceat(units, starts, axis=0)
