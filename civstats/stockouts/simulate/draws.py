"""Compiled pieces of a shop's day: hashed draws, moved units, thinned demand, learning.

Import this module inside functions only: it loads numba. Every draw is a hash of (series key, day,
unit), so two worlds that share a seed share their draws whatever happens in them.
"""

# mypy: disallow-untyped-defs=False
# Compiled functions take their types from the arrays they are called with.

from __future__ import annotations

import math

import numpy as np
from numba import njit

ROUND, _FATE, _SISTER, _DELAY, _THIN = (np.uint64(k) for k in range(1, 6))
_A = np.uint64(0x9E3779B97F4A7C15)
_B = np.uint64(0xD1B54A32D192ED03)
_C = np.uint64(0x8CB92BA72F3D8DD7)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = (np.uint64(k) for k in (11, 27, 30, 31))


@njit(inline="always")
def uniform(key, stream, day, unit):
    """Hash to [0, 1) (SplitMix64's finaliser; Steele, Lea and Flood 2014)."""
    x = key + stream * _C + (np.uint64(day) + np.uint64(1)) * _A + np.uint64(unit) * _B
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    x = x ^ (x >> _S31)
    return (x >> _S11) * (1.0 / 9007199254740992.0)


@njit
def move_losses(
    day,
    row,
    lost,
    is_open,
    recaptured,
    carry,
    key,
    n_open,
    opened,
    share_sister,
    share_later,
    within,
):
    """Send each lost unit of one day to a sister that opened in stock, to a later day, or nowhere.

    Updates `recaptured` (rows of today) and `carry` (member x future day ring) in place.
    """
    ring = carry.shape[1]
    for i in range(len(row)):
        if row[i] < 0:
            continue
        units = int(lost[i])
        others = n_open - (1 if is_open[i] else 0)
        for unit in range(units):
            fate = uniform(key[i], _FATE, day, unit)
            if fate < share_sister:
                if others > 0:
                    pick = int(uniform(key[i], _SISTER, day, unit) * others)
                    j = opened[pick]
                    if is_open[i] and j >= i:
                        j = opened[pick + 1]
                    recaptured[row[j]] += 1
            elif fate < share_sister + share_later:
                wait = 1 + int(uniform(key[i], _DELAY, day, unit) * within)
                carry[i, (day + wait) % ring] += 1


@njit
def learn(level, seen, x, censored, memory, prior_days):
    """Update smoothed sales; a shelf that ended empty can raise the estimate, never lower it."""
    if censored and x <= level:
        return level, seen
    seen += 1.0
    return level + max(memory, 1.0 / (seen + prior_days)) * (x - level), seen


@njit
def thin(key, day, first_unit, units, share):
    """Count the units that come while the shop can sell: Binomial(units, share)."""
    kept = 0
    for unit in range(int(units)):
        if uniform(key, _THIN, day, first_unit + unit) < share:
            kept += 1
    return float(kept)


@njit
def price_cuts(start, end, price, cut, memory):
    """Mark days priced `cut` below the series' exponential average of past prices."""
    marked = np.zeros(len(price), dtype=np.bool_)
    for s in range(len(start)):
        usual = np.nan
        for r in range(start[s], end[s]):
            p = price[r]
            if math.isnan(p):
                continue
            if math.isnan(usual):
                usual = p
            marked[r] = p < (1.0 - cut) * usual
            usual += memory * (p - usual)
    return marked
