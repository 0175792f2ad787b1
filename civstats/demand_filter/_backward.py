"""Jitted backward pass of one series: what every day's level was, given all days."""

from __future__ import annotations

import numpy as np

from civstats.demand_filter import _chain as chain
from civstats.demand_filter._forward import describe
from civstats.demand_filter._jit import drop_stale_cache, jit


@jit
def quantiles(
    out: np.ndarray, probs: np.ndarray, cells: np.ndarray, levels: np.ndarray, work: np.ndarray
) -> None:
    """Fill out with quantiles of the level; a point's mass is spread evenly over its cell."""
    n = levels.size
    spacing = levels[1] - levels[0] if n > 1 else 0.0
    total = 0.0
    for g in range(n):
        mass = cells[0, g + 1]
        if cells.shape[0] == 2:
            mass += cells[1, g + 1]
        work[g] = mass
        total += mass
    g, below = 0, 0.0
    for k in range(probs.size):
        goal = probs[k] * total
        while g < n - 1 and below + work[g] < goal:
            below += work[g]
            g += 1
        share = (goal - below) / work[g] if work[g] > 0.0 else 0.5
        out[k] = levels[g] + spacing * (min(share, 1.0) - 0.5)


@jit
def backward(
    stored: np.ndarray,
    parameters: np.ndarray,
    levels: np.ndarray,
    rates: np.ndarray,
    moves: np.ndarray,
    target: np.ndarray,
    m: int,
    gamma: np.ndarray,
    scratch: np.ndarray,
    smoothed: np.ndarray,
    probs: np.ndarray,
    quantile: np.ndarray,
    lag_covariance: np.ndarray,
    transitions: np.ndarray,
    keep: np.ndarray,
    kept: np.ndarray,
) -> None:
    """Run the backward pass of one series over its stored filtered distributions.

    With f the filtered distribution of day t, p the predicted and s the smoothed one of day t + 1,
    s_t = f_t * T'(s / p): no likelihood is needed twice (Kitagawa, 1987).

    Parameters
    ----------
    stored : array of shape (T, n_states, G)
    gamma : array of shape (n_states, G + 2)
        Scratch: the smoothed distribution of a day.
    scratch : array of shape (4, G + 2)
    smoothed : array of shape (T, N_STATS) or (0, 0)
    probs, quantile : arrays of shape (k,) ascending, and (T, k)
    lag_covariance : array of shape (T,) or (0,)
        Filled with the covariance of the levels of a day and of the day before; 0 on the first.
    transitions : array of shape (2, 2)
        Expected numbers of days that go from one availability to another.
    keep : array of bool, shape (T,) or (0,)
    kept : array of shape (number of True in keep, 2, n_states, G) or (0, 0, 0, 0)
        Filled with the filtered and the smoothed distribution of the days to keep.
    """
    n_days, n_states, n = stored.shape
    hidden = n_states == 2
    ratio_in, ratio_out, other, extra = scratch[0], scratch[1], scratch[2], scratch[3]
    out_rate, back_rate = parameters[chain.OUT_RATE], parameters[chain.BACK_RATE]
    gamma[:] = 0.0
    scratch[:] = 0.0
    transitions[:] = 0.0
    slot = kept.shape[0]
    centre = levels[n // 2]
    for t in range(n_days - 1, -1, -1):
        if t == n_days - 1:
            for state in range(n_states):
                gamma[state, 1 : n + 1] = stored[t, state]
        else:
            # The prediction of day t + 1, then smoothed over predicted.
            ratio_in[1 : n + 1] = stored[t, 0]
            if hidden:
                ratio_out[1 : n + 1] = stored[t, 1]
                chain.mix(ratio_in, ratio_out, out_rate, back_rate)
                chain.day_forward(ratio_out, other, moves, target, m)
            chain.day_forward(ratio_in, other, moves, target, m)
            later = 0.0
            for g in range(1, n + 1):
                if lag_covariance.size:
                    mass = gamma[0, g] + (gamma[1, g] if hidden else 0.0)
                    later += mass * (levels[g - 1] - centre)
                p = ratio_in[g]
                ratio_in[g] = gamma[0, g] / p if p > 0.0 else 0.0
            if hidden:
                for g in range(1, n + 1):
                    p = ratio_out[g]
                    ratio_out[g] = gamma[1, g] / p if p > 0.0 else 0.0
            cross = 0.0
            if lag_covariance.size:
                cross = _cross_moment(
                    stored[t], ratio_in, ratio_out, extra, other, gamma, levels, centre,
                    out_rate, back_rate, moves, target, m,
                )  # fmt: skip
            chain.day_backward(ratio_in, other, moves, target, m)
            if hidden:
                chain.day_backward(ratio_out, other, moves, target, m)
                to_out, to_in = 0.0, 0.0
                for g in range(n):
                    to_out += stored[t, 0, g] * ratio_out[g + 1]
                    to_in += stored[t, 1, g] * ratio_in[g + 1]
                stay_in, stay_out = 0.0, 0.0
                for g in range(n):
                    stay_in += stored[t, 0, g] * ratio_in[g + 1]
                    stay_out += stored[t, 1, g] * ratio_out[g + 1]
                transitions[0, 0] += (1.0 - out_rate) * stay_in
                transitions[0, 1] += out_rate * to_out
                transitions[1, 0] += back_rate * to_in
                transitions[1, 1] += (1.0 - back_rate) * stay_out
                chain.unmix(ratio_in, ratio_out, out_rate, back_rate)
            total = 0.0
            for g in range(n):
                gamma[0, g + 1] = stored[t, 0, g] * ratio_in[g + 1]
                total += gamma[0, g + 1]
            if hidden:
                for g in range(n):
                    gamma[1, g + 1] = stored[t, 1, g] * ratio_out[g + 1]
                    total += gamma[1, g + 1]
            scale = 1.0 / total
            for state in range(n_states):
                for g in range(n):
                    gamma[state, g + 1] *= scale
            if lag_covariance.size:
                earlier = 0.0
                for g in range(n):
                    mass = gamma[0, g + 1] + (gamma[1, g + 1] if hidden else 0.0)
                    earlier += mass * (levels[g] - centre)
                lag_covariance[t + 1] = cross * scale - earlier * later
        if smoothed.size:
            describe(smoothed[t], gamma, levels, rates, 1.0)
        if probs.size:
            quantiles(quantile[t], probs, gamma, levels, other)
            other[0] = 0.0
            other[n + 1] = 0.0
        if keep.size and keep[t]:
            slot -= 1
            for state in range(n_states):
                kept[slot, 0, state, :] = stored[t, state]
                kept[slot, 1, state, :] = gamma[state, 1 : n + 1]
    if lag_covariance.size:
        lag_covariance[0] = 0.0


@jit
def _cross_moment(
    filtered: np.ndarray,
    ratio_in: np.ndarray,
    ratio_out: np.ndarray,
    x: np.ndarray,
    other: np.ndarray,
    gamma: np.ndarray,
    levels: np.ndarray,
    centre: float,
    out_rate: float,
    back_rate: float,
    moves: np.ndarray,
    target: np.ndarray,
    m: int,
) -> float:
    """Return E[(l_t - centre)(l_t+1 - centre)] given all days, up to the normalisation of day t."""
    n = levels.size
    hidden = filtered.shape[0] == 2
    total = 0.0
    for later in range(filtered.shape[0]):
        ratio = ratio_out if later == 1 else ratio_in
        for g in range(n):
            x[g + 1] = ratio[g + 1] * (levels[g] - centre)
        x[0] = 0.0
        x[n + 1] = 0.0
        chain.day_backward(x, other, moves, target, m)
        to_later = out_rate if later == 1 else (1.0 - out_rate if hidden else 1.0)
        for g in range(n):
            total += filtered[0, g] * to_later * (levels[g] - centre) * x[g + 1]
        if hidden:
            to_later = 1.0 - back_rate if later == 1 else back_rate
            for g in range(n):
                total += filtered[1, g] * to_later * (levels[g] - centre) * x[g + 1]
    return total


drop_stale_cache(__name__, backward)
