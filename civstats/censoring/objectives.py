"""Fast paths for gradient boosting: objective, validation loss and dispersion of censored counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from civstats.censoring import _check
from civstats.censoring import _objective_rows as fast
from civstats.schema import CivstatsError

DISPERSION_RANGE = (1e-3, 1e6)


def negbin_objective(
    eta: ArrayLike,
    y: ArrayLike,
    is_censored: ArrayLike | None,
    dispersion: float,
    *,
    zero_prob: float = 0.0,
    dtype: Any = np.float32,
    n_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient and hessian in eta of the negative censored log-likelihood.

    One pass over memory; only censored rows pay for a tail. The hessian of a censored row is
    floored at ``mu / (1 + mu / dispersion)``, the expected information of an exact row: the true
    one vanishes where the bound says little, and Newton steps would explode. A full day out
    (censored at 0) has gradient and hessian exactly 0. Set a ``max_delta_step`` all the same: a
    leaf of censored rows alone has no finite optimum.

    Parameters
    ----------
    eta : array_like, shape (n,)
        Log mean, offsets (log exposure) included.
    y : array_like, shape (n,)
        Counts >= 0, float32 or float64; the bound on censored rows. Not checked.
    is_censored : array_like of bool, shape (n,), optional
        True where demand is at least y.
    dispersion : float
        Positive, one for all rows; ``inf`` is the Poisson.
    zero_prob : float
        Probability of a zero beside those of the counts, in [0, 1); `eta` is the log mean of the
        count part, as in :class:`ZeroInflatedNegBin`. The hessian of an exact zero leaves out the
        term that may turn it negative.
    dtype : numpy dtype
        Of the results: float32 is what LightGBM wants; the arithmetic is float64.
    n_threads : int, optional
        All cores by default.

    Returns
    -------
    grad, hess : numpy.ndarray, shape (n,)

    Raises
    ------
    CivstatsError
        If the vectors differ in length or the dispersion is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from civstats.censoring import negbin_objective
    >>> grad, hess = negbin_objective(np.zeros(3), [0.0, 4.0, 0.0], [False, True, True], 2.0)
    >>> [[round(float(v), 3) for v in a] for a in (grad, hess)]
    [[0.667, -2.424, 0.0], [0.444, 1.028, 0.0]]
    """
    from civstats.censoring import _objective_kernels as kernels

    eta, y, cens = fast.rows(eta, y, is_censored)
    alpha, zero_prob = fast.alpha(dispersion), fast.zero_prob(zero_prob)
    table = fast.ratio_table(alpha, fast.TABLE_MAX)
    grad, hess = np.empty(eta.size, dtype), np.empty(eta.size, dtype)
    fast.spread(
        lambda i, j: kernels.objective(grad, hess, eta, y, cens, alpha, zero_prob, table, i, j),
        eta.size,
        n_threads,
    )
    return grad, hess


def poisson_objective(
    eta: ArrayLike,
    y: ArrayLike,
    is_censored: ArrayLike | None,
    *,
    dtype: Any = np.float32,
    n_threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return gradient and hessian of the Poisson, see :func:`negbin_objective`."""
    return negbin_objective(eta, y, is_censored, np.inf, dtype=dtype, n_threads=n_threads)


def mean_negative_loglik(
    eta: ArrayLike,
    y: ArrayLike,
    is_censored: ArrayLike | None,
    dispersion: float = np.inf,
    *,
    zero_prob: float = 0.0,
    n_threads: int | None = None,
) -> float:
    """Return the mean negative censored log-likelihood, for early stopping.

    Arguments as in :func:`negbin_objective`. The same number for any number of threads.
    """
    from civstats.censoring import _objective_kernels as kernels

    eta, y, cens = fast.rows(eta, y, is_censored)
    if eta.size == 0:
        raise CivstatsError("no rows: the mean log-likelihood of nothing is undefined")
    alpha, zero_prob = fast.alpha(dispersion), fast.zero_prob(zero_prob)
    table = fast.ratio_table(alpha, fast.TABLE_MAX)
    size = int(min(fast.TABLE_MAX, max(2.0, float(y.max()) + 2.0)))
    log_pmf = fast.log_pmf_table(alpha, size)
    sums = fast.spread(
        lambda i, j: kernels.negative_loglik(eta, y, cens, alpha, zero_prob, table, log_pmf, i, j),
        eta.size,
        n_threads,
    )
    return float(np.sum(sums) / eta.size)


def fit_dispersion(
    y: ArrayLike,
    mu: ArrayLike,
    is_censored: ArrayLike | None = None,
    *,
    n_threads: int | None = None,
) -> float:
    """Return the dispersion that maximises the censored likelihood at given means.

    Bounded Brent search on log dispersion; ``inf`` where the data are no more dispersed than the
    Poisson. ``inf`` as well, by convention, where nothing tells dispersion from a wrong mean: no
    row is exact, or no count is above zero. It is no error, as a sample of rows that estimates a
    starting value may hold nothing else.

    Parameters
    ----------
    y : array_like, shape (n,)
        Counts; the bound on censored rows.
    mu : array_like, shape (n,)
        Means, positive, exposure included.
    is_censored : array_like of bool, shape (n,), optional
        True where demand is at least y.
    n_threads : int, optional
        All cores by default.

    Returns
    -------
    float
        In [1e-3, 1e6] or ``inf``, the Poisson.

    Raises
    ------
    CivstatsError
        If means are not positive, or counts not whole numbers >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from civstats.censoring import NegBin, fit_dispersion
    >>> y = NegBin(2.0).sample(np.full(20_000, 1.5), seed=1)
    >>> round(fit_dispersion(y, np.full(20_000, np.exp(1.5))), 1)
    2.0
    """
    _check.positive("mu", mu)
    eta, counts, cens = fast.rows(np.log(np.asarray(mu, float)), _check.counts(y), is_censored)

    def loss(log_dispersion: float) -> float:
        return mean_negative_loglik(
            eta, counts, cens, float(np.exp(log_dispersion)), n_threads=n_threads
        )

    if counts.size and (cens.all() or not counts.any()):
        return float("inf")
    low, high = np.log(DISPERSION_RANGE)
    found = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-5}
    )
    # At the flat end the likelihood cannot tell a huge dispersion from none.
    poisson = mean_negative_loglik(eta, counts, cens, np.inf, n_threads=n_threads)
    if poisson <= float(found.fun) + 1e-12 * abs(poisson):
        return float("inf")
    return float(np.exp(found.x))


def fit_zero_inflated(
    y: ArrayLike,
    mu: ArrayLike,
    is_censored: ArrayLike | None = None,
    *,
    n_threads: int | None = None,
) -> tuple[float, float]:
    """Return the dispersion and the zero inflation that fit best at given means.

    A negative binomial alone takes zeros that no mean explains (an item off the shelf for weeks
    and not on record as out) for dispersion, which fattens the upper tail, and censored days are
    then read as far too much demand. Zero inflation is kept where it beats the negative binomial by
    the criterion of Schwarz (1978), otherwise it is exactly 0. Where no row is exact or no count
    is above zero, nothing tells dispersion, zero inflation and a wrong mean apart: ``(inf, 0)``.

    Parameters
    ----------
    y : array_like, shape (n,)
        Counts; the bound on censored rows.
    mu : array_like, shape (n,)
        Means of the count part, positive, exposure included.
    is_censored : array_like of bool, shape (n,), optional
        True where demand is at least y.
    n_threads : int, optional
        All cores by default.

    Returns
    -------
    dispersion, zero_prob : float
        The first as from :func:`fit_dispersion`.

    Raises
    ------
    CivstatsError
        If means are not positive, or counts not whole numbers >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from civstats.censoring import ZeroInflatedNegBin, fit_zero_inflated
    >>> y = ZeroInflatedNegBin(4.0, 0.2).sample(np.full(20_000, 1.5), seed=1)
    >>> [round(x, 1) for x in fit_zero_inflated(y, np.full(20_000, np.exp(1.5)))]
    [4.0, 0.2]
    """
    plain = fit_dispersion(y, mu, is_censored, n_threads=n_threads)
    eta, counts, cens = fast.rows(np.log(np.asarray(mu, float)), _check.counts(y), is_censored)
    low, high = np.log(DISPERSION_RANGE)
    if not ((counts == 0) & ~cens).any() or not counts.any():
        return plain, 0.0

    def loss(p: np.ndarray) -> float:
        return mean_negative_loglik(
            eta, counts, cens, np.exp(p[0]), zero_prob=special.expit(p[1]), n_threads=n_threads
        )

    found = optimize.minimize(
        loss,
        # A little zero inflation goes with less dispersion than the plain fit has found.
        [min(np.log(plain) + 0.5, np.log(50.0)), -3.0],
        method="Nelder-Mead",
        bounds=[(low, high), (-12.0, 6.0)],
        options={"xatol": 1e-3, "fatol": 1e-9},
    )
    gain = mean_negative_loglik(eta, counts, cens, plain, n_threads=n_threads) - float(found.fun)
    if 2 * eta.size * gain <= np.log(eta.size):
        return plain, 0.0
    return float(np.exp(found.x[0])), float(special.expit(found.x[1]))
