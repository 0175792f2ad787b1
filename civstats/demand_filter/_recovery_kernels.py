"""Jitted demand of the days of one series given what was observed, averaged over the level."""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _conditional_rows as given
from civstats.censoring import _row_kernels as rows
from civstats.demand_filter import _chain as chain
from civstats.demand_filter._jit import drop_stale_cache, jit
from civstats.demand_filter._observe import BOUND, LOGNORMAL, NORMAL, SILENT, ZERO_INFLATED

_LEAST = 1e-10
"""Weight of a level below which it is left out."""
_TABLE = rows.TABLE


@jit
def _dot(weights: np.ndarray, values: np.ndarray) -> float:
    total = 0.0
    for g in range(weights.size):
        total += weights[g] * values[g]
    return total


@jit
def _reach(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """Return the range of levels that either distribution gives weight, over all states."""
    low, high = a.shape[1], 0
    for s in range(a.shape[0]):
        for g in range(a.shape[1]):
            if a[s, g] > _LEAST or b[s, g] > _LEAST:
                low = min(low, g)
                high = max(high, g + 1)
    return low, high


@jit
def recover_counts(
    demand: np.ndarray,
    quantile: np.ndarray,
    probs: np.ndarray,
    filtered: np.ndarray,
    smoothed: np.ndarray,
    y: np.ndarray,
    kind: np.ndarray,
    share: np.ndarray,
    offset: np.ndarray,
    family: int,
    parameters: np.ndarray,
    levels: np.ndarray,
) -> None:
    """Fill the expected demand of each day of one series, and its quantiles.

    Parameters
    ----------
    demand : array of shape (n_days, 2)
        Given the days up to it, and given all days.
    quantile : array of shape (n_days, n_probs)
        Given all days.
    filtered, smoothed : arrays of shape (n_days, n_states, G)
    share : array of shape (n_days,)
        Of the day in stock; 1 but on exact part days.
    """
    alpha = parameters[chain.SPREAD]
    n_states = smoothed.shape[1]
    size = levels.size
    rates = np.exp(levels)
    table = np.empty(_TABLE)
    rows.fill_constants(table, alpha)
    work = np.empty((4, size))
    # The first half belongs to the hours seen, the second to days out of stock.
    room = np.empty((5, 2 * size))
    mean, start, grow, weight, scratch = room[0], room[1], room[2], room[3], room[4]
    own = np.full(2 * size, alpha)
    for t in range(y.size):
        zero = parameters[chain.ZERO_PROB] if family == ZERO_INFLATED else 0.0
        low, high = _reach(filtered[t], smoothed[t])
        n = high - low
        at = slice(low, high)
        bound = kind[t] == BOUND and y[t] > 0.0
        exact = kind[t] != SILENT and kind[t] != BOUND
        c = y[t] if bound else 0.0
        part = exact and share[t] < 1.0
        n_used = 0
        base = 0.0
        if part:
            base = y[t]
            own[:n] = given.rest(
                mean[:n], start[:n], grow[:n], base, share[t], rates[at], offset[t], alpha
            )
            n_used = n
        elif not exact:
            own[:n] = alpha
            given.above(
                mean[:n], start[:n], grow[:n], c, levels[at], rates[at], offset[t], alpha, table,
                work[:, :n],
            )  # fmt: skip
            n_used = n
        if exact and n_states == 2:
            more = slice(n_used, n_used + n)
            own[more] = alpha
            given.above(
                mean[more], start[more], grow[more], 0.0, levels[at], rates[at], offset[t], alpha,
                table, work[:, :n],
            )  # fmt: skip
            n_used += n
        for which in range(2):
            probability = smoothed[t] if which else filtered[t]
            mass, total = 0.0, 0.0
            for g in range(n):
                p = probability[0, low + g]
                gone = probability[1, low + g] if n_states == 2 else 0.0
                total += p + gone
                if not exact:
                    p += gone
                    weight[g] = p * (1.0 - zero) if c <= 0.0 else p
                    mass += p - weight[g]
                    continue
                if not part:
                    mass += p
                    if n_states == 2:
                        weight[g] = gone
                    continue
                weight[g] = p
                if zero > 0.0 and y[t] <= 0.0:
                    # Sales of nothing: a day without demand, or none in the hours seen.
                    mu = rates[low + g] * math.exp(offset[t]) * share[t]
                    seen = math.exp(-mu if alpha == 0.0 else -math.log1p(alpha * mu) / alpha)
                    weight[g] = p * (1.0 - zero) * seen / (zero + (1.0 - zero) * seen)
                    mass += p - weight[g]
                if n_states == 2:
                    weight[n + g] = gone
            if exact and not part:
                # All that was wanted was sold, unless the shelf was empty.
                demand[t, which] = (mass * y[t] + _dot(weight[:n_used], mean[:n_used])) / total
            else:
                demand[t, which] = base + _dot(weight[:n_used], mean[:n_used]) / total
                if bound:
                    demand[t, which] = max(demand[t, which], c)
        if probs.size:
            for g in range(n_used):
                weight[g] /= total
            if exact and not part and n_states == 1:
                quantile[t] = y[t]
                continue
            lowest = y[t] if exact and not part else c
            given.mixture_quantiles(
                quantile[t], probs, weight[:n_used], mean[:n_used], start[:n_used],
                grow[:n_used], own[:n_used], mass / total, lowest, scratch[:n_used],
            )  # fmt: skip
            for j in range(probs.size):
                quantile[t, j] += base


@jit
def _steps(
    out: np.ndarray, probs: np.ndarray, weight: np.ndarray, value: np.ndarray, least: float
) -> None:
    """Fill out with quantiles of points that ascend, none below `least`."""
    total, g = weight[0], 0
    for j in range(probs.size):
        while total < probs[j] and g + 1 < weight.size:
            g += 1
            total += weight[g]
        out[j] = max(value[g], least)


@jit
def recover_continuous(
    demand: np.ndarray,
    quantile: np.ndarray,
    probs: np.ndarray,
    filtered: np.ndarray,
    smoothed: np.ndarray,
    y: np.ndarray,
    kind: np.ndarray,
    share: np.ndarray,
    offset: np.ndarray,
    family: int,
    parameters: np.ndarray,
    levels: np.ndarray,
) -> None:
    """Fill expected demand and quantiles of a normal or log-normal; arguments as for counts."""
    scale = parameters[chain.SPREAD]
    size = levels.size
    location, weight, value = np.empty(size), np.empty(size), np.empty(size)
    for t in range(y.size):
        exact = kind[t] != SILENT and kind[t] != BOUND
        bound = kind[t] == BOUND and (y[t] > 0.0 or family == NORMAL)
        part = exact and share[t] < 1.0
        sold = y[t] > 0.0 or family == NORMAL
        c = -math.inf
        if bound:
            c = math.log(y[t]) if family == LOGNORMAL else y[t]
        for g in range(size):
            location[g] = levels[g] + offset[t]
            if part and sold:
                # Log-normal sales are a share of demand; normal ones leave their departure as is.
                more = (1.0 - share[t]) * max(location[g], 0.0)
                value[g] = y[t] / share[t] if family == LOGNORMAL else y[t] + more
            elif exact and sold:
                value[g] = y[t]
            elif family == LOGNORMAL:
                value[g] = given.log_normal_above(c, location[g], scale)
            else:
                value[g] = given.normal_above(c, location[g], scale)
        for which in range(2):
            probability = smoothed[t] if which else filtered[t]
            total = 0.0
            for g in range(size):
                weight[g] = probability[:, g].sum()
                total += weight[g]
            for g in range(size):
                weight[g] /= total
            demand[t, which] = _dot(weight, value)
            if bound:
                demand[t, which] = max(demand[t, which], y[t])
        if not probs.size:
            continue
        if exact and sold:
            _steps(quantile[t], probs, weight, value, y[t])
            continue
        given.normal_mixture_quantiles(quantile[t], probs, weight, location, scale, c)
        if family == LOGNORMAL:
            for j in range(probs.size):
                quantile[t, j] = math.exp(quantile[t, j])


drop_stale_cache(__name__, recover_counts)
