"""Jitted censored log-likelihoods of many days at once, with their slopes."""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _count_math as scalar
from civstats.censoring import _vector_math as vector
from civstats.censoring._jit import drop_stale_cache
from civstats.censoring._row_kernels import log_normal_sf
from civstats.censoring._vector_math import jit

VERSION = 2
"""Raised with every change, so that machine code cached by pytensor is renewed."""
ETA_MAX = 500.0
STEP = 1e-5
LOG_SMALL = -600.0


@jit
def exact_counts(
    eta: np.ndarray,
    days: np.ndarray,
    units: np.ndarray,
    group: np.ndarray,
    alpha: np.ndarray,
    zero_prob: np.ndarray,
    d_eta: np.ndarray,
    d_alpha: np.ndarray,
    d_zero: np.ndarray,
) -> float:
    """Return the log-likelihood of cells of days that share a mean, less what has no mean in it.

    A cell says how many days it has and their units in total. Left out is
    ``sum_{j < y} log1p(alpha j) - log y!``. With zero inflation a cell holds days without sales or
    days with sales, never both.
    """
    total = 0.0
    for r in range(eta.size):
        g = group[r]
        a, mu = alpha[g], vector.exp(min(eta[r], ETA_MAX))
        grow = 1.0 + a * mu
        inner = mu / grow
        if a > 0.0:
            big = vector.log1p(a * mu)
            zero = -big / a
            slope = (-zero - inner) / a
        else:
            big = 0.0
            zero = -mu
            slope = 0.5 * mu * mu
        pi = zero_prob[g]
        if pi > 0.0 and units[r] == 0.0:
            none = (1.0 - pi) * math.exp(zero)
            both = pi + none
            share = none / both
            total += days[r] * math.log(both)
            d_eta[r] = -days[r] * share * inner
            d_alpha[g] += days[r] * share * slope
            d_zero[g] += days[r] * (1.0 - math.exp(zero)) / both
        else:
            total += units[r] * (eta[r] - big) + days[r] * zero
            d_eta[r] = (units[r] - days[r] * mu) / grow
            d_alpha[g] += days[r] * slope - units[r] * inner
            if pi > 0.0:
                total += days[r] * math.log1p(-pi)
                d_zero[g] -= days[r] / (1.0 - pi)
    return total


@jit
def bound_tail(c: float, eta: float, alpha: float) -> tuple[float, float, float]:
    """Return log P(D >= c) and its slopes in eta and in alpha, for a whole c >= 1."""
    mu = math.exp(min(eta, ETA_MAX))
    big = math.log1p(alpha * mu) if alpha > 0.0 else 0.0
    zero = -big / alpha if alpha > 0.0 else -mu
    if zero > LOG_SMALL and c <= 4096.0:
        grow = 1.0 + alpha * mu
        x = mu / grow
        # d log f(k) / d alpha = sum_{j < k} j / (1 + alpha j) - k mu / grow + slope
        slope = (-zero - x) / alpha if alpha > 0.0 else 0.5 * mu * mu
        pmf = math.exp(zero)
        under, moved, rise = pmf, pmf * slope, slope
        for k in range(int(c) - 1):
            pmf *= x * (1.0 + alpha * k) / (k + 1.0)
            rise += k / (1.0 + alpha * k) - x
            under += pmf
            moved += pmf * rise
        last = c - 1.0
        pmf *= x * (1.0 + alpha * last) / c
        over = 1.0 - under
        if over > 0.01:
            return math.log(over), c * pmf / over, -moved / over
    _, value, score, _ = scalar.tail(c, eta, alpha)
    if alpha == 0.0:
        return value, score, 0.0
    high = scalar.tail(c, eta, alpha * (1.0 + STEP))[1]
    low = scalar.tail(c, eta, alpha * (1.0 - STEP))[1]
    return value, score, (high - low) / (2.0 * STEP * alpha)


@jit
def bound_counts(
    eta: np.ndarray,
    least: np.ndarray,
    days: np.ndarray,
    group: np.ndarray,
    alpha: np.ndarray,
    zero_prob: np.ndarray,
    d_eta: np.ndarray,
    d_alpha: np.ndarray,
    d_zero: np.ndarray,
) -> float:
    """Return the log-likelihood of days on which demand was at least `least` >= 1."""
    total = 0.0
    for r in range(eta.size):
        g = group[r]
        value, score, slope = bound_tail(least[r], eta[r], alpha[g])
        total += days[r] * value
        d_eta[r] = days[r] * score
        d_alpha[g] += days[r] * slope
        if zero_prob[g] > 0.0:
            total += days[r] * math.log1p(-zero_prob[g])
            d_zero[g] -= days[r] / (1.0 - zero_prob[g])
    return total


@jit
def normal_rows(
    mean: np.ndarray,
    y: np.ndarray,
    is_bound: np.ndarray,
    group: np.ndarray,
    noise: np.ndarray,
    d_mean: np.ndarray,
    d_noise: np.ndarray,
) -> float:
    """Return the log-likelihood of normal rows, exact and bounds, and its slopes."""
    total = 0.0
    for r in range(mean.size):
        g = group[r]
        scale = noise[g]
        z = (y[r] - mean[r]) / scale
        if is_bound[r]:
            value = log_normal_sf(z)
            hazard = math.exp(-0.5 * z * z - 0.9189385332046727 - value)
            total += value
            d_mean[r] = hazard / scale
            d_noise[g] += hazard * z / scale
        else:
            total += -0.5 * z * z - 0.9189385332046727 - math.log(scale)
            d_mean[r] = z / scale
            d_noise[g] += (z * z - 1.0) / scale
    return total


@jit
def fill_means(
    out: np.ndarray,
    level: np.ndarray,
    beta: np.ndarray,
    dated: np.ndarray,
    dated_at: np.ndarray,
    own_at: np.ndarray,
    node: np.ndarray,
    date: np.ndarray,
    group: np.ndarray,
    own: np.ndarray,
) -> None:
    """Fill out with level plus offset of every cell."""
    table = np.zeros((beta.shape[0], dated.shape[0]))
    for g in range(beta.shape[0]):
        for t in range(dated.shape[0]):
            total = 0.0
            for j in range(dated_at.size):
                total += dated[t, j] * beta[g, dated_at[j]]
            table[g, t] = total
    for r in range(out.size):
        g = group[r]
        total = level[node[r]] + table[g, date[r]]
        for j in range(own_at.size):
            total += own[r, j] * beta[g, own_at[j]]
        out[r] = total


@jit
def pull_means(
    slope: np.ndarray,
    d_level: np.ndarray,
    d_beta: np.ndarray,
    dated: np.ndarray,
    dated_at: np.ndarray,
    own_at: np.ndarray,
    node: np.ndarray,
    date: np.ndarray,
    group: np.ndarray,
    own: np.ndarray,
) -> None:
    """Add to the slopes in level and coefficients what :func:`fill_means` sends back."""
    table = np.zeros((d_beta.shape[0], dated.shape[0]))
    for r in range(slope.size):
        g = group[r]
        d_level[node[r]] += slope[r]
        table[g, date[r]] += slope[r]
        for j in range(own_at.size):
            d_beta[g, own_at[j]] += own[r, j] * slope[r]
    for g in range(d_beta.shape[0]):
        for t in range(dated.shape[0]):
            for j in range(dated_at.size):
                d_beta[g, dated_at[j]] += dated[t, j] * table[g, t]


@jit
def count_days(
    level: np.ndarray,
    beta: np.ndarray,
    alpha: np.ndarray,
    zero: np.ndarray,
    dated: np.ndarray,
    dated_at: np.ndarray,
    own_at: np.ndarray,
    above: np.ndarray,
    node: np.ndarray,
    date: np.ndarray,
    group: np.ndarray,
    own: np.ndarray,
    share: np.ndarray,
    days: np.ndarray,
    value: np.ndarray,
    b_node: np.ndarray,
    b_date: np.ndarray,
    b_group: np.ndarray,
    b_own: np.ndarray,
    b_days: np.ndarray,
    b_value: np.ndarray,
    d_level: np.ndarray,
    d_beta: np.ndarray,
    d_alpha: np.ndarray,
    d_zero: np.ndarray,
) -> float:
    """Return the censored log-likelihood of all days of counts, and fill its slopes."""
    d_level[:] = 0.0
    d_beta[:] = 0.0
    d_alpha[:] = 0.0
    d_zero[:] = 0.0
    eta, slope = np.empty(node.size), np.empty(node.size)
    fill_means(eta, level, beta, dated, dated_at, own_at, node, date, group, own)
    for r in range(eta.size):
        if share[r] != 1.0:
            eta[r] += math.log(share[r])
    total = exact_counts(eta, days, value, group, alpha, zero, slope, d_alpha, d_zero)
    pull_means(slope, d_level, d_beta, dated, dated_at, own_at, node, date, group, own)
    eta, slope = np.empty(b_node.size), np.empty(b_node.size)
    fill_means(eta, level, beta, dated, dated_at, own_at, b_node, b_date, b_group, b_own)
    total += bound_counts(eta, b_value, b_days, b_group, alpha, zero, slope, d_alpha, d_zero)
    pull_means(slope, d_level, d_beta, dated, dated_at, own_at, b_node, b_date, b_group, b_own)
    # What exact days have without their mean: sum of log(1 + alpha j) over j below their sales.
    for j in range(1, above.shape[0]):
        for g in range(alpha.size):
            if above[j, g] > 0.0:
                total += above[j, g] * math.log1p(alpha[g] * j)
                d_alpha[g] += above[j, g] * j / (1.0 + alpha[g] * j)
    return total


@jit
def normal_days(
    level: np.ndarray,
    beta: np.ndarray,
    noise: np.ndarray,
    dated: np.ndarray,
    dated_at: np.ndarray,
    own_at: np.ndarray,
    node: np.ndarray,
    date: np.ndarray,
    group: np.ndarray,
    own: np.ndarray,
    share: np.ndarray,
    value: np.ndarray,
    is_bound: np.ndarray,
    d_level: np.ndarray,
    d_beta: np.ndarray,
    d_noise: np.ndarray,
) -> float:
    """Return the censored log-likelihood of all days of normal sales, and fill its slopes."""
    d_level[:] = 0.0
    d_beta[:] = 0.0
    d_noise[:] = 0.0
    mean, slope = np.empty(node.size), np.empty(node.size)
    fill_means(mean, level, beta, dated, dated_at, own_at, node, date, group, own)
    mean *= share
    total = normal_rows(mean, value, is_bound, group, noise, slope, d_noise)
    slope *= share
    pull_means(slope, d_level, d_beta, dated, dated_at, own_at, node, date, group, own)
    return total


drop_stale_cache(__name__, normal_days)
