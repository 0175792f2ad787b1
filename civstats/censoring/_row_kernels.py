"""Log-likelihood of one observation at every level of a row: what a filter on a grid asks for.

The same mathematics as the scalar kernels, with what the row shares taken out of the loop and the
loops written so that they become vector code. Rows ascend in the level; ``eta = levels + shift``,
``mu = rates * exp(shift)`` with ``rates = exp(levels)``.
"""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _count_math as scalar
from civstats.censoring import _vector_math as vector
from civstats.censoring._jit import drop_stale_cache
from civstats.censoring._vector_math import jit

MU_MAX = 1e250  # products with a mean beyond this would overflow
TABLE = 32  # counts whose constant is looked up
SMALL_SURVIVAL = 0.01  # below it 1 - F has lost digits, and the sum from c upwards is short
FORWARD_MAX = 128.0  # longest sum from zero; beyond, the scalar kernel
SLOW_P = 0.9  # success probability beyond which the sum from c upwards is long
UPWARD_MAX = 4096
HALF_LOG_2PI = 0.9189385332046727


@jit
def fill_constants(table: np.ndarray, alpha: float) -> None:
    """Fill table[y] with the part of log P(D = y) that does not depend on the level."""
    table[0] = 0.0
    for y in range(1, table.size):
        table[y] = table[y - 1] + math.log1p(alpha * (y - 1.0)) - math.log(float(y))


@jit
def constant(y: float, table: np.ndarray, alpha: float) -> float:
    """Return the part of log P(D = y) that does not depend on the level."""
    if y < table.size:
        return table[int(y)]
    # What the scalar kernel finds at mean y, less the part that does depend on the level.
    eta = math.log(y)
    zero = y if alpha == 0.0 else math.log1p(alpha * y) / alpha
    big = 0.0 if alpha == 0.0 else math.log1p(alpha * y)
    return scalar.log_pmf(y, eta, alpha) - y * (eta - big) + zero


@jit
def zero_count(out: np.ndarray, rates: np.ndarray, factor: float, alpha: float) -> None:
    """Fill out with log P(D = 0); `factor` is exp(shift)."""
    if alpha == 0.0:
        for g in range(out.size):
            out[g] = -min(rates[g] * factor, MU_MAX)
    else:
        inverse = 1.0 / alpha
        for g in range(out.size):
            out[g] = -inverse * vector.log1p(alpha * min(rates[g] * factor, MU_MAX))


@jit
def exact_count(
    out: np.ndarray,
    y: float,
    levels: np.ndarray,
    rates: np.ndarray,
    shift: float,
    alpha: float,
    table: np.ndarray,
) -> None:
    """Fill out with log P(D = y) for a whole y >= 0."""
    factor = math.exp(shift)
    if y == 0.0:
        zero_count(out, rates, factor, alpha)
        return
    base = constant(y, table, alpha) + y * shift
    if alpha == 0.0:
        for g in range(out.size):
            out[g] = base + y * levels[g] - min(rates[g] * factor, MU_MAX)
    else:
        power = y + 1.0 / alpha
        for g in range(out.size):
            big = vector.log1p(alpha * min(rates[g] * factor, MU_MAX))
            out[g] = base + y * levels[g] - power * big


@jit
def _scalar_bound(
    out: np.ndarray, c: float, levels: np.ndarray, shift: float, alpha: float, stop: int
) -> None:
    for g in range(stop):
        out[g] = scalar.tail(c, levels[g] + shift, alpha)[1]


@jit
def bound_count(
    out: np.ndarray,
    c: float,
    levels: np.ndarray,
    rates: np.ndarray,
    shift: float,
    alpha: float,
    table: np.ndarray,
    work: np.ndarray,
) -> None:
    """Fill out with log P(D >= c), ties included.

    `work` has shape (3, at least out.size). Where the survival is not small it is one less the
    pmf below c; the levels under that, a head of the row, sum the pmf from c upwards.
    """
    n = out.size
    if c <= 0.0:
        out[:] = 0.0
        return
    if c > FORWARD_MAX:
        _scalar_bound(out, c, levels, shift, alpha, n)
        return
    factor = math.exp(shift)
    x, pmf, total = work[0, :n], work[1, :n], work[2, :n]
    zero_count(pmf, rates, factor, alpha)
    for g in range(n):
        mu = min(rates[g] * factor, MU_MAX)
        x[g] = mu / (1.0 + alpha * mu)
        pmf[g] = vector.exp(pmf[g])
        total[g] = pmf[g]
    for k in range(int(c) - 1):
        grow = (1.0 + alpha * k) / (k + 1.0)
        for g in range(n):
            pmf[g] *= x[g] * grow
            total[g] += pmf[g]
    head = 0
    while head < n and 1.0 - total[head] <= SMALL_SURVIVAL:
        head += 1
    for g in range(n):
        # Survivals under the threshold are overwritten below; the bound keeps the logarithm tame.
        out[g] = vector.log(max(1.0 - total[g], 1e-300))
    if head == 0:
        return
    slow = head
    while slow > 0 and alpha * x[slow - 1] > SLOW_P:
        slow -= 1
    for g in range(slow, head):
        out[g] = scalar.tail(c, levels[g] + shift, alpha)[1]
    if slow > 0:
        _upward(out[:slow], c, levels, rates, shift, alpha, table, work)


@jit
def _upward(
    out: np.ndarray,
    c: float,
    levels: np.ndarray,
    rates: np.ndarray,
    shift: float,
    alpha: float,
    table: np.ndarray,
    work: np.ndarray,
) -> None:
    """Fill out with log P(D >= c) as log f(c) plus the log of the sum of ratios from c upwards."""
    n = out.size
    x, weight, total = work[0, :n], work[1, :n], work[2, :n]
    weight[:] = 1.0
    total[:] = 1.0
    last, k = x[n - 1], 0.0
    limit = alpha * last
    while k < UPWARD_MAX:
        grow = (1.0 + alpha * (c + k)) / (c + k + 1.0)
        for g in range(n):
            weight[g] *= x[g] * grow
            total[g] += weight[g]
        k += 1.0
        # The highest level of the row converges last.
        left = 1.0 - max(last * grow, limit)
        if weight[n - 1] <= 1e-17 * total[n - 1] * left:
            break
    exact_count(out, c, levels[:n], rates[:n], shift, alpha, table)
    for g in range(n):
        out[g] = min(0.0, out[g] + vector.log(total[g]))


@jit
def inflate(out: np.ndarray, y: float, is_bound: bool, zero_prob: float) -> None:
    """Turn log-likelihoods of the count part into those of the zero-inflated count."""
    if is_bound and y <= 0.0:
        return
    if y > 0.0:
        rest = math.log1p(-zero_prob)
        for g in range(out.size):
            out[g] += rest
    else:
        for g in range(out.size):
            out[g] = vector.log(zero_prob + (1.0 - zero_prob) * vector.exp(out[g]) + 1e-300)


@jit
def log_normal_sf(z: float) -> float:
    """Return log P(Z >= z) of a standard normal, in any tail (asymptotic series beyond 30)."""
    if z < 1.0:
        return math.log1p(-0.5 * math.erfc(-z * 0.7071067811865476))
    if z < 30.0:
        return math.log(0.5 * math.erfc(z * 0.7071067811865476))
    t = 1.0 / (z * z)
    series = -t * (1.0 - t * (3.0 - t * (15.0 - t * (105.0 - t * 945.0))))
    return -0.5 * z * z - math.log(z) - HALF_LOG_2PI + math.log1p(series)


@jit
def normal(
    out: np.ndarray,
    y: float,
    is_bound: bool,
    levels: np.ndarray,
    slope: float,
    shift: float,
    scale: float,
) -> None:
    """Fill out with log density or log survival of N(slope * levels + shift, scale^2) at y."""
    inverse = 1.0 / scale
    if is_bound:
        for g in range(out.size):
            out[g] = log_normal_sf((y - shift - slope * levels[g]) * inverse)
    else:
        base = -HALF_LOG_2PI - math.log(scale)
        for g in range(out.size):
            z = (y - shift - slope * levels[g]) * inverse
            out[g] = base - 0.5 * z * z


drop_stale_cache(__name__, normal)
