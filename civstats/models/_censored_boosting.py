"""LightGBM under the censored negative binomial: objective, shape, start and early stopping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from civstats.censoring import (
    fit_dispersion,
    fit_zero_inflated,
    mean_negative_loglik,
    negbin_objective,
)
from civstats.models._design import Rows

if TYPE_CHECKING:
    import lightgbm

_REFRESH = 25
"""Rounds between estimates of the shape."""
_SAMPLE = 100_000
"""Rows that an estimate of the shape reads at most."""
_PATIENCE = 30
MAX_DELTA_STEP = 0.7
"""Largest step of a leaf, log units: a leaf of censored rows alone has no finite optimum."""


@dataclass(frozen=True)
class Observed:
    """Counts and what is known of them, a row per target.

    Attributes
    ----------
    y : numpy.ndarray, shape (n,), float64
        Units sold; a lower bound of demand where `censored`.
    censored : numpy.ndarray of bool, shape (n,)
    offset : numpy.ndarray, shape (n,)
        Log of the mean that boosting starts from, exposure included.
    """

    y: np.ndarray
    censored: np.ndarray
    offset: np.ndarray

    def take(self, rows: np.ndarray) -> Observed:
        """Return some of the rows."""
        return Observed(self.y[rows], self.censored[rows], self.offset[rows])


@dataclass(frozen=True)
class Shape:
    """What the likelihood of demand has beside its mean.

    Attributes
    ----------
    dispersion : float
        Of the negative binomial; ``inf`` is the Poisson.
    zero_prob : float
        Probability of a zero beside those of the counts.
    """

    dispersion: float
    zero_prob: float


@dataclass(frozen=True)
class Given:
    """What of the shape is not estimated.

    Attributes
    ----------
    dispersion : float, optional
        Taken as given, and then without zero inflation, which would make up for a wrong one.
    zero_inflated : bool
        Whether zero inflation is estimated.
    """

    dispersion: float | None = None
    zero_inflated: bool = False

    def fit(self, data: Observed, mean: np.ndarray, n_threads: int | None) -> Shape:
        """Estimate what is not given, at given means of the count part."""
        if self.dispersion is not None:
            return Shape(self.dispersion, 0.0)
        fit = fit_zero_inflated if self.zero_inflated else fit_dispersion
        found = fit(data.y, mean, data.censored, n_threads=n_threads)
        return Shape(*found) if isinstance(found, tuple) else Shape(found, 0.0)


def sample_rows(n: int, seed: int) -> np.ndarray:
    """Return the rows that estimates of the shape read."""
    if n <= _SAMPLE:
        return np.arange(n)
    return np.random.default_rng(seed).choice(n, _SAMPLE, replace=False)


def start(data: Observed, given: Given | None = None) -> tuple[float, Shape]:
    """Return the constant shift of the log mean, and the shape, that fit best together.

    Alternates maximisations of the censored likelihood. A start at the mean of the sales would be
    too low, and boosting with a shrunken step would not make up for it.
    """
    from scipy import optimize

    given = given or Given()
    shift, shape = 0.0, Shape(given.dispersion or 1.0, 0.0)
    # Without an exact row above zero, or with none at all, the optimum is at an end.
    bounds = (-8.0, 8.0)
    for _ in range(4 if given.dispersion is None else 1):
        found = optimize.minimize_scalar(
            lambda s, shape=shape: mean_negative_loglik(
                data.offset + s,
                data.y,
                data.censored,
                shape.dispersion,
                zero_prob=shape.zero_prob,
                n_threads=1,
            ),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-4},
        )
        shift = float(found.x)
        shape = given.fit(data, np.exp(data.offset + shift), 1)
    return shift, shape


class CensoredObjective:
    """LightGBM's objective and metric, with the shape re-estimated as boosting goes on.

    Parameters
    ----------
    train : Observed
    shape : Shape
        Where to start.
    seed : int
        Of the rows from which the shape is estimated.
    num_threads : int
        0 for all cores.
    given : Given, optional
        What stays where it starts.
    """

    def __init__(
        self,
        train: Observed,
        shape: Shape,
        seed: int,
        num_threads: int = 0,
        given: Given | None = None,
    ) -> None:
        self.train = train
        self.shape = shape
        self.given = given or Given()
        self.n_threads = num_threads or None
        self._calls = 0
        self._rows = sample_rows(len(train.y), seed)
        self._sample = train.take(self._rows)

    def __call__(self, score: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and hessian of the negative log-likelihood at the raw score, offset included."""
        self._calls += 1
        if self._calls % _REFRESH == 0:
            self.shape = self.given.fit(self._sample, np.exp(score[self._rows]), self.n_threads)
        return negbin_objective(
            score,
            self.train.y,
            self.train.censored,
            self.shape.dispersion,
            zero_prob=self.shape.zero_prob,
            n_threads=self.n_threads,
        )

    def loss(self, raw: np.ndarray, data: Observed) -> float:
        """Mean negative censored log-likelihood of rows at the raw score."""
        return mean_negative_loglik(
            raw,
            data.y,
            data.censored,
            self.shape.dispersion,
            zero_prob=self.shape.zero_prob,
            n_threads=self.n_threads,
        )


def train_censored(
    rows: Rows,
    *,
    names: list[str],
    categorical: list[str],
    params: dict[str, Any],
    n_rounds: int,
    late: np.ndarray | None = None,
    given: Given,
) -> tuple[lightgbm.Booster | None, float, Shape]:
    """Train a booster of the log mean under the censored (zero-inflated) negative binomial.

    Parameters
    ----------
    rows : Rows
    names, categorical : list of str
        Features, and those that are categories.
    params : dict
        LightGBM's; ``seed`` and ``num_threads`` among them.
    n_rounds : int
        Trees, the most with `late`.
    late : numpy.ndarray of bool, shape (n_rows,), optional
        Rows kept out of training: boosting stops when their censored likelihood no longer rises.
        Not used if they are none, or a quarter of all rows and more.
    given : Given

    Returns
    -------
    booster : lightgbm.Booster or None
        None where no row holds a sale.
    shift : float
        Constant of the log of E[D], zero inflation included.
    shape : Shape
        The last estimate, or what is given.
    """
    import lightgbm

    hold = late is not None and bool(late.any()) and 4 * int(late.sum()) < len(late)
    kept = ~late if hold and late is not None else np.ones(len(rows.y), dtype=bool)
    observed = Observed(rows.y, rows.censored, np.log(rows.start * rows.exposure))
    # Of the rows in training alone: the ones that stop boosting must not have set its start.
    sample = np.flatnonzero(kept)[sample_rows(int(kept.sum()), params["seed"])]
    shift, shape = start(observed.take(sample), given)
    if not rows.y[kept].any():
        return None, shift + math.log1p(-shape.zero_prob), shape
    observed = Observed(rows.y, rows.censored, observed.offset + shift)
    objective = CensoredObjective(
        observed.take(kept), shape, params["seed"], params["num_threads"], given
    )
    params = {"max_delta_step": MAX_DELTA_STEP, **params, "metric": "none"}

    def dataset(which: np.ndarray, reference: Any = None) -> Any:
        part = observed.take(which)
        return lightgbm.Dataset(
            rows.x[which],
            part.y,
            init_score=part.offset,
            feature_name=names,
            categorical_feature=categorical,
            params=params,
            reference=reference,
        )

    train = dataset(kept)
    chosen = {**params, "objective": objective}
    if not hold:
        booster = lightgbm.train(chosen, train, num_boost_round=n_rounds)
    else:
        later = observed.take(~kept)
        booster = lightgbm.train(
            chosen,
            train,
            num_boost_round=n_rounds,
            valid_sets=[dataset(~kept, train)],
            feval=lambda raw, _: ("censored_nll", objective.loss(raw, later), False),
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
    return booster, shift + math.log1p(-objective.shape.zero_prob), objective.shape
