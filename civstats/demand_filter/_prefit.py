"""Jitted rough guess of where each series' level runs: it places the grid and decides nothing else."""

from __future__ import annotations

import math

import numpy as np

from civstats.demand_filter import _chain as chain
from civstats.demand_filter import _observe as observe
from civstats.demand_filter._jit import drop_stale_cache, jit

HALF_LIFE = 28.0
FAST_HALF_LIFE = 4.0


@jit
def rough_range(
    out: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    y: np.ndarray,
    kind: np.ndarray,
    shift: np.ndarray,
    slope: np.ndarray,
    family: int,
    parameters: np.ndarray,
) -> None:
    """Fill out, shape (n_series, 4): lowest and highest rough level, a slow peak, days that speak.

    Counts: units sold over exposure with exponential forgetting, shrunk to the prior as a gamma
    with the prior's spread would be. Continuous families: the like with means.
    """
    keep, fast_keep = 0.5 ** (1.0 / HALF_LIFE), 0.5 ** (1.0 / FAST_HALF_LIFE)
    counts = family <= observe.ZERO_INFLATED
    for i in range(starts.size):
        mean, sd = parameters[i, chain.PRIOR_MEAN], max(parameters[i, chain.PRIOR_SD], 0.1)
        if counts:
            sold = 1.0 / (sd * sd)
            days = sold / math.exp(min(mean, 300.0))
        else:
            days = min(parameters[i, chain.SPREAD] ** 2 / (sd * sd), 1e3)
            sold = days * mean
        total, weight, fast, fast_weight = 0.0, 0.0, 0.0, 0.0
        low, high, peak, spoke = mean, mean, -math.inf, 0.0
        for t in range(starts[i], ends[i]):
            if kind[t] == observe.SILENT:
                continue
            value, exposure = y[t], 1.0
            if counts:
                exposure = math.exp(min(max(shift[t], -300.0), 300.0))
            elif family == observe.LOGNORMAL:
                if value <= 0.0:
                    continue
                value = math.log(value) - shift[t]
            else:
                multiple = slope[t] if slope.size else 1.0
                value = (value - shift[t]) / multiple
            spoke += 1.0
            total, weight = total * keep + value, weight * keep + exposure
            fast, fast_weight = fast * fast_keep + value, fast_weight * fast_keep + exposure
            slow_level = (total + sold) / (weight + days)
            fast_level = (fast + sold) / (fast_weight + days)
            if counts:
                slow_level, fast_level = math.log(slow_level), math.log(fast_level)
            low = min(low, min(slow_level, fast_level))
            high = max(high, max(slow_level, fast_level))
            peak = max(peak, slow_level)
        out[i, 0], out[i, 1] = low, high
        out[i, 2] = peak if spoke > 0.0 else mean
        out[i, 3] = spoke


drop_stale_cache(__name__, rough_range)
