"""LightGBM under the censored negative binomial: objective, dispersion, start and early stopping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from civstats.censoring import fit_dispersion, mean_negative_loglik, negbin_objective
from civstats.models._design import Rows

if TYPE_CHECKING:
    import lightgbm

_REFRESH = 25
"""Rounds between estimates of the dispersion."""
_SAMPLE = 100_000
"""Rows that an estimate of the dispersion reads at most."""
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


def start(data: Observed, fixed: float | None = None) -> tuple[float, float]:
    """Return the constant shift of the log mean, and the dispersion, that fit best together.

    Alternates two one-dimensional maximisations of the censored likelihood. A start at the mean of
    the sales would be too low, and boosting with a shrunken step would not make up for it. A
    `fixed` dispersion stays as it is.
    """
    from scipy import optimize

    shift, dispersion = 0.0, 1.0 if fixed is None else fixed
    # Without an exact row above zero, or with none at all, the optimum is at an end.
    bounds = (-8.0, 8.0)
    for _ in range(4 if fixed is None else 1):
        found = optimize.minimize_scalar(
            lambda s, a=dispersion: mean_negative_loglik(
                data.offset + s, data.y, data.censored, a, n_threads=1
            ),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-4},
        )
        shift = float(found.x)
        if fixed is None:
            mean = np.exp(data.offset + shift)
            dispersion = fit_dispersion(data.y, mean, data.censored, n_threads=1)
    return shift, dispersion


class CensoredObjective:
    """LightGBM's objective and metric, with the dispersion re-estimated as boosting goes on.

    Parameters
    ----------
    train : Observed
    dispersion : float
        Where to start.
    seed : int
        Of the rows from which the dispersion is estimated.
    num_threads : int
        0 for all cores.
    fixed : bool
        Whether the dispersion stays where it starts.
    """

    def __init__(
        self,
        train: Observed,
        dispersion: float,
        seed: int,
        num_threads: int = 0,
        *,
        fixed: bool = False,
    ) -> None:
        self.train = train
        self.dispersion = dispersion
        self.fixed = fixed
        self.n_threads = num_threads or None
        self._calls = 0
        n = len(train.y)
        rng = np.random.default_rng(seed)
        self._rows = rng.choice(n, _SAMPLE, replace=False) if n > _SAMPLE else np.arange(n)
        self._sample = train.take(self._rows)

    def __call__(self, score: np.ndarray, _: Any) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and hessian of the negative log-likelihood at the raw score, offset included."""
        self._calls += 1
        if self._calls % _REFRESH == 0 and not self.fixed:
            mean = np.exp(score[self._rows])
            self.dispersion = fit_dispersion(
                self._sample.y, mean, self._sample.censored, n_threads=self.n_threads
            )
        return negbin_objective(
            score,
            self.train.y,
            self.train.censored,
            self.dispersion,
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
    fixed: float | None = None,
) -> tuple[lightgbm.Booster | None, float, float]:
    """Train a booster of the log mean under the censored negative binomial.

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
    fixed : float, optional
        A dispersion to take as given; ``inf`` is the Poisson. By default it is estimated.

    Returns
    -------
    booster : lightgbm.Booster or None
        None where no row holds a sale.
    shift : float
        Constant of the log mean.
    dispersion : float
        Of the negative binomial: the last estimate, or `fixed`.
    """
    import lightgbm

    hold = late is not None and bool(late.any()) and 4 * int(late.sum()) < len(late)
    kept = ~late if hold and late is not None else np.ones(len(rows.y), dtype=bool)
    observed = Observed(rows.y, rows.censored, np.log(rows.start * rows.exposure))
    # Of the rows in training alone: the ones that stop boosting must not have set its start.
    shift, dispersion = start(observed.take(kept), fixed)
    if not rows.y[kept].any():
        return None, shift, dispersion
    observed = Observed(rows.y, rows.censored, observed.offset + shift)
    objective = CensoredObjective(
        observed.take(kept),
        dispersion,
        params["seed"],
        params["num_threads"],
        fixed=fixed is not None,
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
        return booster, shift, objective.dispersion
    later = observed.take(~kept)

    def loss(raw: np.ndarray, _: Any) -> tuple[str, float, bool]:
        value = mean_negative_loglik(
            raw, later.y, later.censored, objective.dispersion, n_threads=objective.n_threads
        )
        return "censored_nll", value, False

    booster = lightgbm.train(
        chosen,
        train,
        num_boost_round=n_rounds,
        valid_sets=[dataset(~kept, train)],
        feval=loss,
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    return booster, shift, objective.dispersion
