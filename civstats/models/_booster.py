"""A LightGBM booster for the log mean relative to each row's own start: training and prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from civstats.censoring import ZeroInflatedNegBin
from civstats.models._design import Rows

if TYPE_CHECKING:
    import lightgbm

OBJECTIVES = ("tweedie", "poisson")
CENSORED_NEGBIN = "censored_negbin"
_SMALL = 50_000
"""Rows below which one thread is quicker."""
_BALANCE_ROUNDS = 50
_BALANCED = 1e-4
"""Change of the factor, in log units, at which totals are met."""
_UNITS_AS_FORECAST = 100.0
_PARAMS = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.6,
    "lambda_l2": 1.0,
    "tweedie_variance_power": 1.2,
    "max_bin": 127,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}


@dataclass(frozen=True)
class MeanModel:
    """Mean = start x exp(shift + trees).

    Attributes
    ----------
    booster : lightgbm.Booster, optional
        None where training saw no sale at all.
    shift : float
        Constant of the log mean; trees learn what departs from it.
    num_threads : int
        0 for all cores.
    n_rounds : int
        Trees.
    dispersion : float, optional
        Of the censored negative binomial; None under another loss.
    zero_prob : float
        Its zero inflation; the shift has it already.
    """

    booster: lightgbm.Booster | None
    shift: float
    num_threads: int = 0
    n_rounds: int = 0
    dispersion: float | None = None
    zero_prob: float = 0.0

    def predict(self, x: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Return the mean of rows, shape (n_rows,)."""
        if not len(x) or self.booster is None:
            return start * np.exp(self.shift)
        threads = _threads(self.num_threads, len(x))
        score = self.booster.predict(x, raw_score=True, num_threads=threads)
        return start * np.exp(self.shift + np.asarray(score))


def train_mean(
    rows: Rows,
    *,
    names: list[str],
    categorical: list[str],
    objective: str,
    n_rounds: int,
    params: dict[str, Any],
    num_threads: int,
    seed: int,
    late: np.ndarray | None = None,
    dispersion: float | None = None,
    zero_inflated: bool = False,
) -> MeanModel:
    """Train on rows; the objective is the only place where the treatment's likelihood enters.

    `late` marks the rows on which the censored likelihood may stop boosting; a `dispersion` fixes
    the one that it would estimate, and `zero_inflated` says whether it may inflate zeros.
    """
    import lightgbm

    if objective == CENSORED_NEGBIN:
        from civstats.models._censored_boosting import Given, train_censored

        settings = {**_PARAMS, "seed": seed, "num_threads": _threads(num_threads, len(rows.y))}
        booster, shift, shape = train_censored(
            rows,
            names=names,
            categorical=categorical,
            params={**settings, **params},
            n_rounds=n_rounds,
            late=late,
            given=Given(dispersion, zero_inflated),
        )
        best = 0 if booster is None else booster.best_iteration or booster.num_trees()
        return MeanModel(
            booster, shift, num_threads, max(best, 0), shape.dispersion, shape.zero_prob
        )
    # A panel without a sale still needs a log.
    shift = float(np.log(max(rows.y.sum(), 0.5) / rows.start.sum()))
    if not rows.y.any():
        return MeanModel(None, shift, num_threads)
    chosen = {
        **_PARAMS,
        "objective": objective,
        "seed": seed,
        "num_threads": _threads(num_threads, len(rows.y)),
        **params,
    }
    data = lightgbm.Dataset(
        rows.x,
        rows.y,
        init_score=np.log(rows.start) + shift,
        feature_name=names,
        categorical_feature=categorical,
        params=chosen,
    )
    booster = lightgbm.train(chosen, data, num_boost_round=n_rounds)
    return MeanModel(booster, shift, num_threads, n_rounds)


def balance(
    mean: np.ndarray,
    y: np.ndarray,
    bound: np.ndarray,
    dispersion: float | None = None,
    zero_prob: float = 0.0,
) -> float:
    """Return the log of the factor with which forecasts sum to the demand that came.

    Trees that follow the noise of single days leave sums too low where a likelihood weighs large
    means less (negative binomial, Tweedie), and whoever adds up units or money adds up that error:
    the balance is restored by a factor (Wuthrich, M. V., 2020, Bias regularization in neural
    network models for general insurance pricing, European Actuarial Journal 10), here on days that
    the trees have not seen, since on those they have the scores of all trees err together. Where
    a day is a bound, its demand is what the likelihood expects of it given the bound.

    Parameters
    ----------
    mean : numpy.ndarray, shape (n,)
        Expected demand, of the hours in stock where a day is a share.
    y : numpy.ndarray, shape (n,)
    bound : numpy.ndarray of bool, shape (n,)
    dispersion, zero_prob : float
        Of the likelihood behind the bounds.
    """
    known, expected = float(y[~bound].sum()), float(mean.sum())

    def log_ratio(demand: float) -> float:
        # As if a few units had come as forecast: what was seldom sold says little.
        return float(np.log((demand + _UNITS_AS_FORECAST) / (expected + _UNITS_AS_FORECAST)))

    if not bound.any():
        return log_ratio(known)
    family = ZeroInflatedNegBin(np.inf if dispersion is None else dispersion, zero_prob)
    # The family's mean is that of its count part.
    eta = np.log(mean[bound]) - np.log1p(-zero_prob)
    factor = 0.0
    for _ in range(_BALANCE_ROUNDS):
        beyond = float(family.conditional_mean(y[bound], eta + factor).sum())
        before, factor = factor, log_ratio(known + beyond)
        if abs(factor - before) < _BALANCED:
            break
    return factor


def _threads(asked: int, n_rows: int) -> int:
    """Few rows make threads wait for each other, at length on a busy machine."""
    return asked or (1 if n_rows < _SMALL else 0)
