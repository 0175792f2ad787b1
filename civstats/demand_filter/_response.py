"""Jitted first and second derivatives of a day's log-likelihood, averaged over the level's posterior.

By Fisher's identity the average of the score over the smoothed level is the derivative of the
series' log marginal likelihood in that day's offset (Cappe, Moulines and Ryden, 2005, 10.1.6).
"""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _count_math as counts
from civstats.censoring._row_kernels import HALF_LOG_2PI, log_normal_sf
from civstats.demand_filter import _chain as chain
from civstats.demand_filter._jit import drop_stale_cache, jit
from civstats.demand_filter._observe import BOUND, LOGNORMAL, NORMAL, ZERO_INFLATED, says_nothing


@jit
def _count(
    family: int,
    is_bound: bool,
    y: float,
    eta: float,
    mu: float,
    alpha: float,
    zero_prob: float,
) -> tuple[float, float]:
    """Score and information of a count in eta = log mu; the information is that of an exact day."""
    q = 1.0 / (1.0 + alpha * mu)
    x = mu * q
    if is_bound:
        _, _, score, _ = counts.tail(y, eta, alpha)
        return score, x
    score = y * q - x
    if family == ZERO_INFLATED and y == 0.0 and zero_prob > 0.0:
        log_zero = -mu if alpha == 0.0 else -math.log1p(alpha * mu) / alpha
        part = (1.0 - zero_prob) * math.exp(log_zero)
        part /= zero_prob + part
        return score * part, x * part
    return score, x


@jit
def respond(
    score: np.ndarray,
    info: np.ndarray,
    weights: np.ndarray,
    y: np.ndarray,
    kind: np.ndarray,
    shift: np.ndarray,
    slope: np.ndarray,
    family: int,
    parameters: np.ndarray,
    levels: np.ndarray,
) -> None:
    """Fill score and info, shape (n,), of the days of one series.

    Parameters
    ----------
    weights : array of shape (n, G)
        Smoothed probability of each level, in stock.
    """
    spread = parameters[chain.SPREAD]
    zero_prob = parameters[chain.ZERO_PROB]
    rates = np.empty(levels.size if family < NORMAL else 0)
    for g in range(rates.size):
        rates[g] = math.exp(min(levels[g], counts.ETA_MAX))
    top = math.exp(counts.ETA_MAX)
    for t in range(y.size):
        score[t] = 0.0
        info[t] = 0.0
        if says_nothing(family, kind[t], y[t]):
            continue
        factor = math.exp(min(shift[t], counts.ETA_MAX)) if rates.size else 1.0
        for g in range(weights.shape[1]):
            weight = weights[t, g]
            if weight < 1e-10:
                continue
            level = levels[g]
            if family >= NORMAL:
                value = math.log(y[t]) if family == LOGNORMAL else y[t]
                at = shift[t] + level * (slope[t] if slope.size else 1.0)
                z = (value - at) / spread
                if kind[t] == BOUND:
                    s = math.exp(-0.5 * z * z - HALF_LOG_2PI - log_normal_sf(z)) / spread
                else:
                    s = z / spread
                score[t] += weight * s
                info[t] += weight / (spread * spread)
            else:
                mu = min(rates[g] * factor, top)
                s, i = _count(
                    family, kind[t] == BOUND, y[t], level + shift[t], mu, spread, zero_prob
                )
                score[t] += weight * s
                info[t] += weight * i


drop_stale_cache(__name__, respond)
