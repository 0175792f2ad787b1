"""What trees add to the regression's offsets: interactions and thresholds, grown with the filter.

Gradient boosting of the marginal likelihood. After every few trees the filter says anew how the
likelihood rises with each day's offset, the level integrated out (:mod:`.responses`); the trees are
grown on the quadratic with that slope, and with the information of known levels as its curvature.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from civstats.demand_filter._tree_boosting import Boosting, predicted
from civstats.demand_filter.grid import Grid, build_grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.passes import filter_levels
from civstats.schema import CivstatsError

MOST_PASSES = 40
PATIENCE = 4
"""Runs without a rise on what is held out after which growing stops."""
BLOCK = 28
"""Days that are held out together."""
_PARTS = 3
_LEAST_SERIES = 6


@dataclass(frozen=True)
class Grown:
    """Trees, and why there are so many.

    Attributes
    ----------
    text : str
        The booster in LightGBM's own format; empty if no tree helps.
    gains : list of float
        By run of the filter: rise of the log-likelihood of what is held out, a third of all days.
    error : float
        Standard error of the best of them over series.
    """

    text: str
    gains: list[float]
    error: float


def grow(
    obs: Observations,
    params: FilterParameters,
    features: np.ndarray,
    names: tuple[str, ...],
    days: np.ndarray,
    member: np.ndarray,
    *,
    seed: int,
    n_jobs: int | None = None,
) -> Grown:
    """Grow as many trees as raise the marginal likelihood of series and days that are held out.

    A third of the series and a third of the days, in blocks, are kept from the trees, and judged
    where they cross: an effect of one date, or of one series, is no gain there. Three such runs go
    side by side, each with other thirds, until the likelihood of all that they hold out stops
    rising; as many trees are then grown from all days. If the rise is no more than its standard
    error no tree is kept.

    Parameters
    ----------
    obs : Observations
        With the offsets on top of which the trees stand.
    params : FilterParameters
        Of its series.
    features : numpy.ndarray, shape (n_rows, n_features)
    names : tuple of str
        Of the features; those of `CATEGORICAL` are labels.
    days : numpy.ndarray of datetime64, shape (n_rows,)
    member : numpy.ndarray of int, shape (n_series,)
        Group of each series; each has its third held out.
    seed : int
        Of what is held out, and of the trees.
    n_jobs : int, optional
        Threads; None is one per processor. The trees do not depend on it.

    Raises
    ------
    CivstatsError
        If there are too few series or days to hold some out.
    """
    grid = build_grid(obs, params)
    series, day = _parts(days, member, seed)
    folds = [
        _Fold.start(obs, params, grid, features, names, series == k, day == k, seed, n_jobs)
        for k in range(_PARTS)
    ]
    gains, errors = [0.0], [0.0]
    while len(gains) <= MOST_PASSES and len(gains) - 1 - int(np.argmax(gains)) < PATIENCE:
        rises = np.concatenate([fold.rises() for fold in folds])
        gains.append(float(rises.sum()))
        errors.append(float(np.sqrt(len(rises)) * rises.std()))
    best = int(np.argmax(gains))
    if gains[best] <= errors[best]:
        return Grown("", gains, errors[best])
    everything = np.ones(obs.n_rows, dtype=bool)
    whole = Boosting.start(obs, params, grid, features, everything, names, seed, n_jobs)
    for _ in range(best):
        whole.grow()
    text = re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", whole.booster.model_to_string())
    return Grown(text, gains, errors[best])


def predict(text: str, features: np.ndarray, n_jobs: int | None) -> np.ndarray:
    """Return what trees add to the offset, shape (n_rows,)."""
    import lightgbm

    return predicted(lightgbm.Booster(model_str=text), features, n_jobs, 0)


@dataclass
class _Fold:
    """Trees grown from some series and days, judged on others."""

    train: Boosting
    held: Observations
    params: FilterParameters
    grid: Grid
    features: np.ndarray
    judged: np.ndarray
    before: np.ndarray

    @classmethod
    def start(
        cls,
        obs: Observations,
        params: FilterParameters,
        grid: Grid,
        features: np.ndarray,
        names: tuple[str, ...],
        series: np.ndarray,
        day: np.ndarray,
        seed: int,
        n_jobs: int | None,
    ) -> _Fold:
        """Hold out some series and some days."""
        kept, apart = np.flatnonzero(~series), np.flatnonzero(series)
        rows, held = obs.rows_of(kept), obs.rows_of(apart)
        train = Boosting.start(
            obs.take(kept), params.take(kept), grid.take(kept), features[rows], ~day[rows], names,
            seed, n_jobs,
        )  # fmt: skip
        out = cls(
            train, obs.take(apart), params.take(apart), grid.take(apart), features[held], day[held],
            np.zeros(len(apart)),
        )  # fmt: skip
        out.before = out._judge()
        return out

    def rises(self) -> np.ndarray:
        """Add a few trees; return by how much the series held out are likelier than without any."""
        first = self.train.grow()
        booster, n_jobs = self.train.booster, self.train.n_jobs
        if booster.current_iteration() > first:
            more = predicted(booster, self.features, n_jobs, first)
            self.held = self.held.with_offset(self.held.offset + more)
        return self._judge() - self.before

    def _judge(self) -> np.ndarray:
        seen = filter_levels(
            self.held, self.params, summaries=(), day_loglik=True, grid=self.grid,
            n_jobs=self.train.n_jobs,
        ).day_loglik  # fmt: skip
        assert seen is not None
        return np.add.reduceat(np.where(self.judged, seen, 0.0), self.held.starts)


def _parts(days: np.ndarray, member: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Deal out the series, group by group, and the rows of days, by blocks, into three parts."""
    rng = np.random.default_rng(seed)
    n = len(member)
    day = days.astype("datetime64[D]").astype(int)
    block = (day - day.min()) // BLOCK
    n_blocks = int(block.max()) + 1
    if n < _LEAST_SERIES or n_blocks < _PARTS:
        raise CivstatsError(
            f"offsets='lightgbm' needs {_LEAST_SERIES} series and {_PARTS * BLOCK} days, some of "
            f"which are held out, but there are {n} series and {int(np.ptp(day)) + 1} days: use "
            "offsets='regression'"
        )
    order = rng.permutation(n)
    order = order[np.argsort(member[order], kind="stable")]
    series = np.empty(n, dtype=int)
    series[order] = np.arange(n) % _PARTS
    blocks = rng.permutation(n_blocks) % _PARTS
    return series, blocks[block]
