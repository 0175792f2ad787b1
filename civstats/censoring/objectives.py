"""Fast paths for gradient boosting: objective, validation loss and dispersion of censored counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from civstats.censoring import _check
from civstats.schema import CivstatsError

TABLE_MAX = 4096  # counts beyond it take the general path
BLOCK = 65_536  # rows of one partial sum: the total does not depend on the number of threads
DISPERSION_RANGE = (1e-3, 1e6)


@lru_cache(maxsize=64)
def _ratio_table(alpha: float, size: int) -> np.ndarray:
    k = np.arange(size, dtype=np.float64)
    return (1.0 + alpha * k) / (k + 1.0)


def _log_pmf_table(alpha: float, size: int) -> np.ndarray:
    """Return the part of log P(D = y) that is free of eta, y = 0 .. size - 1."""
    rising = np.concatenate([[0.0], np.cumsum(np.log1p(alpha * np.arange(size - 1)))])
    return rising - special.gammaln(np.arange(size) + 1.0)


def _alpha(dispersion: float) -> float:
    _check.positive("dispersion", dispersion, infinite=True)
    return 1.0 / float(dispersion)


def _zero_prob(zero_prob: float) -> float:
    if not 0 <= zero_prob < 1:
        raise CivstatsError(f"zero_prob must lie in [0, 1), but got {zero_prob!r}")
    return float(zero_prob)


def _rows(
    eta: ArrayLike, y: ArrayLike, is_censored: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    eta = np.ascontiguousarray(eta, dtype=np.float64)
    y = np.asarray(y)
    y = np.ascontiguousarray(y, dtype=y.dtype if y.dtype in (np.float32, np.float64) else float)
    cens = np.zeros(y.shape, bool) if is_censored is None else _check.flags(is_censored)
    if not (eta.ndim == 1 and eta.shape == y.shape == cens.shape):
        raise CivstatsError(
            f"eta, y and is_censored must be vectors of one length, but have shapes {eta.shape}, "
            f"{y.shape} and {cens.shape}"
        )
    return eta, y, np.ascontiguousarray(cens)


def _spread(work: Callable[[int, int], Any], n: int, n_threads: int | None) -> list[Any]:
    """Run work(start, stop) over blocks of rows, in threads; the kernels release the lock."""
    blocks = [(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK)]
    threads = min(n_threads or os.cpu_count() or 1, len(blocks))
    if threads <= 1:
        return [work(*b) for b in blocks]
    # A pool per call costs 0.1 ms and, unlike one kept, survives a fork.
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda b: work(*b), blocks))


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

    eta, y, cens = _rows(eta, y, is_censored)
    alpha, zero_prob = _alpha(dispersion), _zero_prob(zero_prob)
    table = _ratio_table(alpha, TABLE_MAX)
    grad, hess = np.empty(eta.size, dtype), np.empty(eta.size, dtype)
    _spread(
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

    eta, y, cens = _rows(eta, y, is_censored)
    if eta.size == 0:
        raise CivstatsError("no rows: the mean log-likelihood of nothing is undefined")
    alpha, zero_prob = _alpha(dispersion), _zero_prob(zero_prob)
    table = _ratio_table(alpha, TABLE_MAX)
    size = int(min(TABLE_MAX, max(2.0, float(y.max()) + 2.0)))
    log_pmf = _log_pmf_table(alpha, size)
    sums = _spread(
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
    Poisson.

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
        In [1e-3, 1e6] or ``inf``.

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
    eta, counts, cens = _rows(np.log(np.asarray(mu, float)), _check.counts(y), is_censored)

    def loss(log_dispersion: float) -> float:
        return mean_negative_loglik(
            eta, counts, cens, float(np.exp(log_dispersion)), n_threads=n_threads
        )

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
    the criterion of Schwarz (1978), otherwise it is exactly 0.

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
    eta, counts, cens = _rows(np.log(np.asarray(mu, float)), _check.counts(y), is_censored)
    low, high = np.log(DISPERSION_RANGE)
    if not ((counts == 0) & ~cens).any():
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
