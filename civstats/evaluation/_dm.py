"""The Diebold-Mariano test: whether two forecasts lose the same on average."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from civstats.schema import CivstatsError, ForecastError

Alternative = Literal["two-sided", "less", "greater"]
Kernel = Literal["uniform", "bartlett"]
MIN_PERIODS = 5
"""Periods below which nothing is tested."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class DieboldMariano:
    """The outcome of a Diebold-Mariano test.

    Attributes
    ----------
    statistic : float
        Negative where the first forecast loses less.
    p_value : float
    difference : float
        Mean loss of the first less that of the second, in units of the loss.
    standard_error : float
        Of `difference`, before the small-sample correction.
    n, h, lags : int
        Periods, horizon, and lags of the variance: h - 1, or 0 where those gave none.
    kernel : {"uniform", "bartlett"}
    alternative : {"two-sided", "less", "greater"}
    small_sample : bool
    """

    statistic: float
    p_value: float
    difference: float
    standard_error: float
    n: int
    h: int
    lags: int
    kernel: Kernel
    alternative: Alternative
    small_sample: bool


def diebold_mariano(
    loss_a: ArrayLike,
    loss_b: ArrayLike,
    *,
    h: int = 1,
    alternative: Alternative = "two-sided",
    small_sample: bool = True,
    kernel: Kernel = "uniform",
) -> DieboldMariano:
    """Test whether two forecasts have the same expected loss, from their losses period by period.

    Diebold and Mariano (1995), "Comparing predictive accuracy": the mean of the loss differences
    over its standard error, which allows for the correlation of errors up to h - 1 periods apart
    that forecasts h periods ahead have. By default with the correction of Harvey, Leybourne and
    Newbold (1997) and the t distribution with n - 1 degrees of freedom.

    Parameters
    ----------
    loss_a, loss_b : array_like, shape (n,)
        Losses of consecutive periods, one a period: squared errors, absolute errors, scores.
    h : int
        How many periods ahead the forecasts are; the variance has h - 1 lags.
    alternative : {"two-sided", "less", "greater"}
        ``"less"``: the first forecast loses less than the second.
    small_sample : bool
        Without it the statistic is held against the normal distribution.
    kernel : {"uniform", "bartlett"}
        Weights of the lags. ``"uniform"`` is the original: right for errors of exactly h - 1
        lags, but its variance can be next to nothing, or negative. ``"bartlett"`` (Newey and West
        1987) is never negative.

    Returns
    -------
    DieboldMariano

    Warns
    -----
    RuntimeWarning
        If the uniform kernel gives a variance that is not positive: errors then swing from
        period to period, and the variance without lags, which is larger, is used for h = 1 (as
        R's ``forecast::dm.test`` does).

    Raises
    ------
    ForecastError
        If a loss is missing or infinite, or the shapes differ.
    CivstatsError
        With fewer than 5 or 2 h periods, or if all differences are the same: then there is no
        variance to test by.

    Notes
    -----
    The test is too eager with few periods and long horizons. Under errors that share a shock for
    as long as the horizon it rejected a true null at the 5 % level in 19 % (uniform) and 17 %
    (Bartlett) of trials with three horizons' worth of periods, in 8 and 12 % with twelve.

    Examples
    --------
    >>> a, b = [1.0, 0.0, 2.0, 1.0, 0.0, 1.0], [2.0, 1.0, 2.0, 3.0, 1.0, 1.0]
    >>> test = diebold_mariano(a, b)
    >>> round(test.statistic, 4), round(test.p_value, 4)
    (-2.7116, 0.0422)
    """
    _check(h, alternative, kernel)
    a, b = np.asarray(loss_a, dtype=float), np.asarray(loss_b, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise ForecastError(f"the losses have shapes {a.shape} and {b.shape}: one a period each")
    bad = ~(np.isfinite(a) & np.isfinite(b))
    if bad.any():
        raise ForecastError(
            f"{int(bad.sum())} period(s) with a loss missing or infinite, first at {bad.argmax()}"
        )
    n = len(a)
    if n < max(MIN_PERIODS, 2 * h):
        raise CivstatsError(
            f"{n} period(s) are too few to test forecasts {h} ahead: "
            f"take at least {max(MIN_PERIODS, 2 * h)}"
        )
    gap = a - b
    if np.ptp(gap) <= _ROUNDING * max(np.abs(a).max(), np.abs(b).max()):
        raise CivstatsError(
            f"the losses differ by {gap.mean():g} in every period: no variance to test by"
        )
    lags = h - 1
    variance = _variance(gap, lags, kernel)
    # Relative, as rounding leaves either sign where the true figure is 0.
    if variance <= _ROUNDING * gap.var() / n:
        warnings.warn(
            f"the variance over {lags} lags is not positive: tested without lags; "
            'kernel="bartlett" is never negative',
            RuntimeWarning,
            stacklevel=2,
        )
        lags = 0
        variance = _variance(gap, lags, kernel)
    error = float(np.sqrt(variance))
    statistic = float(gap.mean()) / error
    if small_sample:
        reach = lags + 1
        statistic *= float(np.sqrt((n + 1 - 2 * reach + reach * lags / n) / n))
    # The t distribution with infinite degrees of freedom is the normal one.
    df = n - 1 if small_sample else np.inf
    if alternative == "two-sided":
        p_value = 2 * stats.t.sf(abs(statistic), df)
    else:
        p_value = stats.t.sf(-statistic if alternative == "less" else statistic, df)
    return DieboldMariano(
        statistic,
        float(p_value),
        float(gap.mean()),
        error,
        n,
        h,
        lags,
        kernel,
        alternative,
        small_sample,
    )


def _check(h: int, alternative: str, kernel: str) -> None:
    if isinstance(h, bool) or not isinstance(h, int | np.integer) or h < 1:
        raise CivstatsError(f"h must be a whole number >= 1, but got {h!r}")
    for name, value, known in (
        ("alternative", alternative, get_args(Alternative)),
        ("kernel", kernel, get_args(Kernel)),
    ):
        if value not in known:
            raise CivstatsError(f"{name} must be one of {', '.join(known)}, but got {value!r}")


def _variance(gap: np.ndarray, lags: int, kernel: Kernel) -> float:
    """Variance of the mean, robust to correlation up to `lags` periods apart."""
    from statsmodels.regression.linear_model import OLS

    options = {"maxlags": lags, "kernel": kernel, "use_correction": False}
    fit = OLS(gap, np.ones(len(gap))).fit(cov_type="HAC", cov_kwds=options)
    return float(fit.cov_params()[0, 0])
