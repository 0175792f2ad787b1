"""Demand given what was seen of a day, at every level of a row, and quantiles mixed over levels.

A row of a count is held as the mean, the probability `start` of its lowest value c, and the two
numbers that carry the pmf on, ``f(k + 1) = f(k) grow (1 + alpha k) / (k + 1)``; the conditioning on
D >= c is in `start` alone. ``eta = levels + shift``, ``mu = rates * exp(shift)``.
"""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _count_math as scalar
from civstats.censoring import _row_kernels as rows
from civstats.censoring._jit import drop_stale_cache, jit
from civstats.censoring._row_kernels import MU_MAX

LEAST_START = 1e-200
"""A pmf carried on from less would lose digits, or never leave zero."""
LONGEST = 4_000.0
"""Longest mean excess that is walked in single steps."""
_TINY = 1e-9
_ROUND = 1e-12


@jit
def above(
    mean: np.ndarray,
    start: np.ndarray,
    grow: np.ndarray,
    c: float,
    levels: np.ndarray,
    rates: np.ndarray,
    shift: float,
    alpha: float,
    table: np.ndarray,
    work: np.ndarray,
) -> None:
    """Fill the rows of D given D >= c, ties included; c <= 0 is D itself."""
    factor = math.exp(shift)
    n = mean.size
    for g in range(n):
        mu = min(rates[g] * factor, MU_MAX)
        mean[g] = mu
        grow[g] = mu / (1.0 + alpha * mu)
    if c <= 0.0:
        rows.zero_count(start, rates, factor, alpha)
        for g in range(n):
            start[g] = math.exp(start[g])
        return
    survival = work[3]
    rows.bound_count(survival[:n], c, levels, rates, shift, alpha, table, work)
    rows.exact_count(start, c, levels, rates, shift, alpha, table)
    for g in range(n):
        start[g] = math.exp(min(start[g] - survival[g], 0.0))
        # E[D | D >= c] = mu + d log S(c) / d eta * (1 + alpha mu).
        mean[g] = max(c, mean[g] + c * start[g] * (1.0 + alpha * mean[g]))


@jit
def rest(
    mean: np.ndarray,
    start: np.ndarray,
    grow: np.ndarray,
    y: float,
    share: float,
    rates: np.ndarray,
    shift: float,
    alpha: float,
) -> float:
    """Fill the rows of the demand that fell in the hours out; return its own alpha.

    Sales over a share s of the day are negative binomial with mean mu s and the same dispersion a:
    Poisson around mu s G with one G ~ Gamma(a, a) for the day. Given them G ~ Gamma(a + y,
    a + mu s), so that the rest is negative binomial with dispersion a + y.
    """
    factor = math.exp(shift)
    own = alpha / (1.0 + alpha * y)
    for g in range(mean.size):
        mu = min(rates[g] * factor, MU_MAX)
        m = mu * (1.0 - share) * (1.0 + alpha * y) / (1.0 + alpha * mu * share)
        mean[g] = m
        start[g] = math.exp(-m) if own == 0.0 else math.exp(-math.log1p(own * m) / own)
        grow[g] = m / (1.0 + own * m)
    return own


@jit
def _walk(
    out: np.ndarray,
    probs: np.ndarray,
    weights: np.ndarray,
    start: np.ndarray,
    grow: np.ndarray,
    alpha: np.ndarray,
    mass: float,
    c: float,
    pmf: np.ndarray,
) -> None:
    total = mass
    for g in range(weights.size):
        pmf[g] = weights[g] * start[g]
        total += pmf[g]
    k = c
    for j in range(probs.size):
        goal = probs[j] - _ROUND
        while total < goal:
            step = 0.0
            for g in range(weights.size):
                pmf[g] *= grow[g] * (1.0 + alpha[g] * k) / (k + 1.0)
                step += pmf[g]
            total += step
            k += 1.0
            if step <= 0.0:
                break
        out[j] = k


@jit
def _log_over(c: float, grow: float, alpha: float) -> float:
    if grow <= 0.0:
        return 0.0 if c <= 0.0 else -math.inf
    return scalar.tail(c, math.log(grow) - math.log1p(-min(alpha * grow, 1.0 - 1e-16)), alpha)[1]


@jit
def _reached(
    d: float,
    weights: np.ndarray,
    grow: np.ndarray,
    alpha: np.ndarray,
    mass: float,
    below: np.ndarray,
) -> float:
    total = mass
    for g in range(weights.size):
        if weights[g] > _TINY:
            total -= weights[g] * math.expm1(_log_over(d + 1.0, grow[g], alpha[g]) - below[g])
    return total


@jit
def _bisect(
    out: np.ndarray,
    probs: np.ndarray,
    weights: np.ndarray,
    mean: np.ndarray,
    grow: np.ndarray,
    alpha: np.ndarray,
    mass: float,
    c: float,
    below: np.ndarray,
) -> None:
    guess = 1.0
    for g in range(weights.size):
        below[g] = _log_over(c, grow[g], alpha[g])
        if weights[g] > _TINY:
            guess = max(guess, mean[g] - c)
    for j in range(probs.size):
        low, high = c - 1.0, c + guess
        goal = probs[j] - _ROUND
        while high < 1e15 and _reached(high, weights, grow, alpha, mass, below) < goal:
            low, high = high, c + 2.0 * (high - c)
        while high - low > 1.0:
            middle = math.floor(0.5 * (low + high))
            if not low < middle < high:
                break
            if _reached(middle, weights, grow, alpha, mass, below) < goal:
                low = middle
            else:
                high = middle
        out[j] = high


@jit
def mixture_quantiles(
    out: np.ndarray,
    probs: np.ndarray,
    weights: np.ndarray,
    mean: np.ndarray,
    start: np.ndarray,
    grow: np.ndarray,
    alpha: np.ndarray,
    mass: float,
    c: float,
    work: np.ndarray,
) -> None:
    """Fill out with the least whole d with P(D <= d) >= prob, for ascending probabilities.

    Parameters
    ----------
    weights, mean, start, grow, alpha : arrays of shape (n,)
        Components that begin at c; weights and `mass` sum to 1.
    mass : float
        Probability of c beside the components.
    work : array of shape (n,)
    """
    walk = True
    for g in range(weights.size):
        if weights[g] > _TINY and (start[g] < LEAST_START or mean[g] - c > LONGEST):
            walk = False
    if walk:
        _walk(out, probs, weights, start, grow, alpha, mass, c, work)
    else:
        _bisect(out, probs, weights, mean, grow, alpha, mass, c, work)


@jit
def normal_above(c: float, location: float, scale: float) -> float:
    """Return E[Z | Z >= c] of a normal; c = -inf is the location."""
    z = (c - location) / scale
    if z < -40.0:
        return location
    hazard = math.exp(-0.5 * z * z - rows.HALF_LOG_2PI - rows.log_normal_sf(z))
    return max(c, location + scale * hazard)


@jit
def log_normal_above(c: float, location: float, scale: float) -> float:
    """Return E[exp(Z) | Z >= c] of a normal."""
    whole = location + 0.5 * scale * scale
    z = (c - location) / scale
    if z < -40.0:
        return math.exp(whole)
    ratio = rows.log_normal_sf(z - scale) - rows.log_normal_sf(z)
    return max(math.exp(c), math.exp(whole + ratio))


@jit
def normal_mixture_quantiles(
    out: np.ndarray,
    probs: np.ndarray,
    weights: np.ndarray,
    location: np.ndarray,
    scale: float,
    c: float,
) -> None:
    """Fill out with quantiles of normals given >= c, mixed with weights that sum to 1."""
    low, high = math.inf, -math.inf
    for g in range(weights.size):
        if weights[g] > _TINY:
            low = min(low, location[g] - 9.0 * scale)
            high = max(high, normal_above(c, location[g], scale) + 9.0 * scale)
    low = max(low, c)
    for j in range(probs.size):
        a, b = low, high
        for _ in range(60):
            middle = 0.5 * (a + b)
            total = 0.0
            for g in range(weights.size):
                if weights[g] > _TINY:
                    over = rows.log_normal_sf((middle - location[g]) / scale)
                    over -= rows.log_normal_sf((c - location[g]) / scale)
                    total -= weights[g] * math.expm1(over)
            if total < probs[j]:
                a = middle
            else:
                b = middle
        out[j] = 0.5 * (a + b)


drop_stale_cache(__name__, mixture_quantiles)
