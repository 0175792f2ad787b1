"""Jitted single-pass objectives of the censored counts with one dispersion for all rows.

Written in ``alpha = 1 / dispersion`` (0 is the Poisson) with a table of (1 + alpha k) / (k + 1),
so that a term of a pmf costs one multiplication and no division. Release the lock: rows are
split over threads by the caller.
"""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _count_math as scalar
from civstats.censoring._count_math import ETA_MAX
from civstats.censoring._jit import drop_stale_cache, jit

SERIES_RATIO = 0.35  # below it the sum from c upwards is shorter than the one from zero
SMALL_SURVIVAL = 1e-5  # below it 1 - F has lost too many digits


@jit
def _above(c: int, x: float, table: np.ndarray) -> float:
    """Return S(c) / f(c), where the terms from c upwards fall fast."""
    weight, total = 1.0, 1.0
    k = c
    while weight > 1e-13 * total and k < table.size:
        weight *= x * table[k]
        total += weight
        k += 1
    return total


@jit
def _tail(
    c: int, x: float, mu: float, eta: float, alpha: float, table: np.ndarray
) -> tuple[float, float]:
    """Return log S(c) and r = c f(c) / S(c) for c >= 1."""
    if c + 64 < table.size:
        if x * table[c] < SERIES_RATIO and alpha * x < SERIES_RATIO:
            # log f(c) is the caller's to add: the gradient does without it.
            return math.nan, c / _above(c, x, table)
        zero = _log_zero(mu, alpha)
        if zero > -650.0:
            pmf = math.exp(zero)
            below = pmf
            for k in range(c - 1):
                pmf *= x * table[k]
                below += pmf
            over = 1.0 - below
            if over > SMALL_SURVIVAL:
                return math.log(over), c * pmf * x * table[c - 1] / over
    _, log_over, score, _ = scalar.tail(float(c), eta, alpha)
    return log_over, score


@jit
def _log_zero(mu: float, alpha: float) -> float:
    """Return log P(D = 0) of the count part."""
    return -mu if alpha == 0.0 else -math.log1p(alpha * mu) / alpha


@jit
def objective(
    grad: np.ndarray,
    hess: np.ndarray,
    eta: np.ndarray,
    y: np.ndarray,
    is_censored: np.ndarray,
    alpha: float,
    zero_prob: float,
    table: np.ndarray,
    start: int,
    stop: int,
) -> None:
    """Fill gradient and floored hessian of the negative log-likelihood for rows start:stop."""
    for i in range(start, stop):
        mu = math.exp(min(eta[i], ETA_MAX))
        q = 1.0 / (1.0 + alpha * mu)
        x = mu * q
        if not is_censored[i]:
            grad[i] = x - y[i] * q
            hess[i] = x * q * (1.0 + alpha * y[i])
            if zero_prob > 0.0 and y[i] == 0.0:
                # The share of such zeros that the count part explains. The likelihood is not
                # concave there; without its second term the hessian stays above it, and positive.
                part = (1.0 - zero_prob) * math.exp(_log_zero(mu, alpha))
                grad[i] *= part / (zero_prob + part)
                hess[i] *= part / (zero_prob + part)
            continue
        c = math.ceil(y[i])
        if c <= 0:
            grad[i] = 0.0
            hess[i] = 0.0
            continue
        _, score = _tail(c, x, mu, eta[i], alpha, table)
        grad[i] = -score
        # The exact curvature where it is trustworthy, never less than the information x of an
        # exact observation: the Newton step stays bounded where a bound says little.
        hess[i] = max(score * (score + q * (mu - c)), x)


@jit
def negative_loglik(
    eta: np.ndarray,
    y: np.ndarray,
    is_censored: np.ndarray,
    alpha: float,
    zero_prob: float,
    table: np.ndarray,
    log_pmf_table: np.ndarray,
    start: int,
    stop: int,
) -> float:
    """Return the summed negative log-likelihood of rows start:stop."""
    total = 0.0
    log_part = math.log1p(-zero_prob)
    for i in range(start, stop):
        e = min(eta[i], ETA_MAX)
        mu = math.exp(e)
        big = math.log1p(alpha * mu)
        zero = -mu if alpha == 0.0 else -big / alpha
        if zero_prob > 0.0:
            if y[i] <= 0.0:
                if not is_censored[i]:
                    total -= math.log(zero_prob + math.exp(log_part + zero))
                continue
            total -= log_part
        count = math.ceil(y[i]) if is_censored[i] else int(y[i])
        value = math.nan
        if is_censored[i]:
            if count <= 0:
                continue
            x = 1.0 / (math.exp(-e) + alpha)
            value, score = _tail(count, x, mu, e, alpha, table)
            if not math.isnan(value):
                total -= value
                continue
            total -= math.log(count / score)
        if count < log_pmf_table.size:
            total -= count * (e - big) + zero + log_pmf_table[count]
        else:
            total -= scalar.log_pmf(float(count), e, alpha)
    return total


drop_stale_cache(__name__, objective)
