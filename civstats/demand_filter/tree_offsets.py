"""What trees add to the regression's offsets: interactions and thresholds, grown with the filter.

Gradient boosting of the marginal likelihood. After every few trees the filter says anew how the
likelihood rises with each day's offset, the level integrated out (:mod:`.responses`); the trees are
grown on the quadratic with that slope, and with the information of known levels as its curvature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from civstats.demand_filter.grid import Grid, build_grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.passes import filter_levels
from civstats.demand_filter.responses import Responses, responses
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    import lightgbm

_PARAMS = {
    "objective": "none",
    "learning_rate": 0.1,
    "num_leaves": 16,
    "min_data_in_leaf": 100,
    "min_sum_hessian_in_leaf": 10.0,
    "lambda_l2": 10.0,
    "feature_fraction": 0.8,
    "max_bin": 127,
    "cat_smooth": 20.0,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}
CATEGORICAL = ("group", "event")
"""Features that are labels."""
TREES = 8
"""Trees between two runs of the filter."""
MOST_PASSES = 40
PATIENCE = 4
"""Runs without a rise on what is held out after which growing stops."""
BLOCK = 28
"""Days that are held out together."""
_PARTS = 3
_LEAST_SERIES = 6
_LEAST_BLOCKS = 3


@dataclass(frozen=True)
class Grown:
    """Trees, and why there are so many.

    Attributes
    ----------
    text : str
        The booster in LightGBM's own format; empty if no tree helps.
    gains : list of float
        By run of the filter: rise of the log-likelihood of the days that are held out.
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

    A third of the series and a third of the days, in blocks, are kept from the trees; where they
    cross is judged: an effect of one date, or of one series, is no gain there. Growing stops when
    the likelihood there stops rising, and is repeated with all days for as many trees. If the rise
    is no more than its standard error no tree is kept.

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
    held_series, held_day = _held_out(days, member, seed)
    apart, kept = np.flatnonzero(held_series), np.flatnonzero(~held_series)
    grid = build_grid(obs, params)
    judged = held_day[obs.rows_of(apart)]
    some, of = obs.take(apart), params.take(apart)

    def judge(offset: np.ndarray) -> np.ndarray:
        seen = filter_levels(
            some.with_offset(offset), of, summaries=(), day_loglik=True, grid=grid.take(apart),
            n_jobs=n_jobs,
        ).day_loglik  # fmt: skip
        assert seen is not None
        return np.add.reduceat(np.where(judged, seen, 0.0), some.starts)

    before = judge(some.offset)
    gains, errors = [0.0], [0.0]
    theirs = features[obs.rows_of(apart)]
    added = np.zeros(some.n_rows)

    def enough(booster: lightgbm.Booster, first: int) -> bool:
        added[:] += _predicted(booster, theirs, n_jobs, first)
        rises = judge(some.offset + added) - before
        gains.append(float(rises.sum()))
        errors.append(float(np.sqrt(len(rises)) * rises.std()))
        return len(gains) - 1 - int(np.argmax(gains)) >= PATIENCE

    learners = obs.rows_of(kept)
    train = _Boosting(obs.take(kept), params.take(kept), grid.take(kept), names, seed, n_jobs)
    train.run(features[learners], ~held_day[learners], MOST_PASSES, enough)
    best = int(np.argmax(gains))
    if gains[best] <= errors[best]:
        return Grown("", gains, errors[best])
    whole = _Boosting(obs, params, grid, names, seed, n_jobs)
    booster = whole.run(features, np.ones(obs.n_rows, dtype=bool), best, lambda *_: False)
    return Grown(booster.model_to_string(), gains, errors[best])


def predict(text: str, features: np.ndarray, n_jobs: int | None) -> np.ndarray:
    """Return what trees add to the offset, shape (n_rows,)."""
    import lightgbm

    booster = lightgbm.Booster(model_str=text)
    return _predicted(booster, features, n_jobs, 0)


@dataclass(frozen=True)
class _Boosting:
    """Alternates between the filter and a few trees."""

    obs: Observations
    params: FilterParameters
    grid: Grid
    names: tuple[str, ...]
    seed: int
    n_jobs: int | None

    def run(
        self,
        features: np.ndarray,
        used: np.ndarray,
        passes: int,
        enough: Callable[[lightgbm.Booster, int], bool],
    ) -> lightgbm.Booster:
        """Grow trees from the rows `used`, until `enough` or so many passes are made."""
        import lightgbm

        base, added = self.obs.offset, np.zeros(self.obs.n_rows)
        said = self._said(base)
        used = used & (said.info > 0)
        settings: dict[str, Any] = {
            **_PARAMS, "seed": self.seed, "num_threads": _threads(self.n_jobs),
        }  # fmt: skip
        rows = lightgbm.Dataset(
            features[used],
            np.zeros(int(used.sum()), dtype=np.float32),
            feature_name=list(self.names),
            categorical_feature=[n for n in CATEGORICAL if n in self.names],
            params=settings,
        )
        booster = lightgbm.Booster(settings, rows)
        for k in range(passes):
            said = said if k == 0 else self._said(base + added)
            score, info, start = said.score[used], said.info[used], added[used]

            def slope(
                now: np.ndarray,
                _rows: object,
                score: np.ndarray = score,
                info: np.ndarray = info,
                start: np.ndarray = start,
            ) -> tuple[np.ndarray, np.ndarray]:
                return info * (now - start) - score, info

            first = booster.current_iteration()
            for _ in range(TREES):
                booster.update(fobj=slope)
            if booster.current_iteration() == first:
                break
            added += _predicted(booster, features, self.n_jobs, first)
            if enough(booster, first):
                break
        return booster

    def _said(self, offset: np.ndarray) -> Responses:
        return responses(
            self.obs.with_offset(offset), self.params, grid=self.grid, n_jobs=self.n_jobs
        )


def _predicted(
    booster: lightgbm.Booster, features: np.ndarray, n_jobs: int | None, first: int
) -> np.ndarray:
    found = booster.predict(
        features, raw_score=True, start_iteration=first, num_threads=_threads(n_jobs)
    )
    return np.asarray(found, dtype=np.float64)


def _threads(n_jobs: int | None) -> int:
    return n_jobs or 0


def _held_out(days: np.ndarray, member: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mark the series, and the rows of days, that are held out."""
    rng = np.random.default_rng(seed)
    n = len(member)
    day = days.astype("datetime64[D]").astype(int)
    block = (day - day.min()) // BLOCK
    n_blocks = int(block.max()) + 1
    if n < _LEAST_SERIES or n_blocks < _LEAST_BLOCKS:
        raise CivstatsError(
            f"offsets='lightgbm' needs {_LEAST_SERIES} series and {_LEAST_BLOCKS * BLOCK} days, some "
            f"of which are held out, but there are {n} series and {int(np.ptp(day)) + 1} days: use "
            "offsets='regression'"
        )
    order = rng.permutation(n)
    order = order[np.argsort(member[order], kind="stable")]
    series = np.zeros(n, dtype=bool)
    series[order[rng.integers(_PARTS) :: _PARTS]] = True
    blocks = np.zeros(n_blocks, dtype=bool)
    blocks[rng.permutation(n_blocks)[: n_blocks // _PARTS]] = True
    return series, blocks[block]
