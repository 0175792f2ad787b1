"""Jitted moves of the chain: birth-death steps of the level, and of hidden availability.

A row of the grid is held with a zero cell on either side (shape G + 2), so that a step needs no
special case at the ends.
"""

from __future__ import annotations

import math

import numpy as np

from civstats.demand_filter._jit import jit

# Columns of the parameter matrix; the names and their order are parameters.COLUMNS.
SPREAD, LEVEL_VAR, DAMPING, LEVEL_MEAN, ZERO_PROB = 0, 1, 2, 3, 4
OUT_RATE, BACK_RATE, PRIOR_MEAN, PRIOR_SD = 5, 6, 7, 8


@jit
def substep(level_var: float, damping: float, m: int) -> tuple[float, float]:
    """Return damping and variance of one of m equal steps that make up a day."""
    if damping == 1.0:
        return 1.0, level_var / m
    part = damping ** (1.0 / m)
    return part, level_var * (1.0 - part * part) / (1.0 - damping * damping)


@jit
def substeps(
    level_var: float, damping: float, level_mean: float, low: float, spacing: float, size: int
) -> int:
    """Return the least m for which a move of one cell suffices: variance at most d^2 / 2, never capped."""
    m = max(1, math.ceil(level_var / (0.5 * spacing * spacing) * (1.0 - 1e-12)))
    far = max(abs(low - level_mean), abs(low + spacing * (size - 1) - level_mean))
    while damping < 1.0:
        part, variance = substep(level_var, damping, m)
        drift = (1.0 - part) * far
        # With E[step] = b and var = v the chance to move at all is (v + b^2) / d^2.
        if variance + drift * drift <= spacing * spacing and drift <= spacing:
            break
        m += 1
    return m


@jit
def fill_moves(
    up: np.ndarray,
    down: np.ndarray,
    stay: np.ndarray,
    levels: np.ndarray,
    level_var: float,
    damping: float,
    level_mean: float,
    spacing: float,
    m: int,
) -> None:
    """Fill the probabilities of one substep from each level, arrays of shape G + 2.

    Mean and variance of the move are exact, except where the pull of a damped level is so strong
    that they would make a probability negative: there the move is upwind, with the mean exact.
    """
    size = levels.size
    part, variance = substep(level_var, damping, m)
    up[:] = 0.0
    down[:] = 0.0
    stay[:] = 0.0
    for g in range(size):
        drift = (1.0 - part) * (level_mean - levels[g]) / spacing
        either = variance / (spacing * spacing) + drift * drift
        if either >= abs(drift):
            rise, fall = 0.5 * (either + drift), 0.5 * (either - drift)
        else:
            rise, fall = max(drift, 0.0), max(-drift, 0.0)
        # Reflecting ends: what would leave stays.
        up[g + 1] = rise if g + 1 < size else 0.0
        down[g + 1] = fall if g > 0 else 0.0
        stay[g + 1] = 1.0 - up[g + 1] - down[g + 1]


@jit
def step_forward(
    out: np.ndarray, x: np.ndarray, up: np.ndarray, down: np.ndarray, stay: np.ndarray
) -> None:
    """Fill out[1:-1] with the distribution one substep after x; x[0] = x[-1] = 0."""
    n = x.size - 2
    for g in range(n):
        out[g + 1] = stay[g + 1] * x[g + 1] + up[g] * x[g] + down[g + 2] * x[g + 2]


@jit
def step_backward(
    out: np.ndarray, x: np.ndarray, up: np.ndarray, down: np.ndarray, stay: np.ndarray
) -> None:
    """Fill out[1:-1] with the expectation of x one substep ahead, by level; x[0] = x[-1] = 0."""
    n = x.size - 2
    for g in range(n):
        out[g + 1] = stay[g + 1] * x[g + 1] + up[g + 1] * x[g + 2] + down[g + 1] * x[g]


@jit
def day_forward(
    x: np.ndarray, other: np.ndarray, up: np.ndarray, down: np.ndarray, stay: np.ndarray, m: int
) -> None:
    """Move the distribution x by one day, in place; `other` is scratch of the same shape."""
    for k in range(m):
        if k % 2 == 0:
            step_forward(other, x, up, down, stay)
        else:
            step_forward(x, other, up, down, stay)
    if m % 2 == 1:
        for g in range(x.size):
            x[g] = other[g]


@jit
def day_backward(
    x: np.ndarray, other: np.ndarray, up: np.ndarray, down: np.ndarray, stay: np.ndarray, m: int
) -> None:
    """Replace x by its expectation a day ahead, in place; `other` is scratch of the same shape."""
    for k in range(m):
        if k % 2 == 0:
            step_backward(other, x, up, down, stay)
        else:
            step_backward(x, other, up, down, stay)
    if m % 2 == 1:
        for g in range(x.size):
            x[g] = other[g]


@jit
def mix(x_in: np.ndarray, x_out: np.ndarray, out_rate: float, back_rate: float) -> None:
    """Let a day of availability pass, in place: in -> out at `out_rate`, back at `back_rate`."""
    for g in range(x_in.size):
        a, b = x_in[g], x_out[g]
        x_in[g] = (1.0 - out_rate) * a + back_rate * b
        x_out[g] = out_rate * a + (1.0 - back_rate) * b


@jit
def unmix(x_in: np.ndarray, x_out: np.ndarray, out_rate: float, back_rate: float) -> None:
    """Replace values of a day ahead by their expectation over availability, in place."""
    for g in range(x_in.size):
        a, b = x_in[g], x_out[g]
        x_in[g] = (1.0 - out_rate) * a + out_rate * b
        x_out[g] = back_rate * a + (1.0 - back_rate) * b


@jit
def fill_prior(
    start: np.ndarray, levels: np.ndarray, mean: float, sd: float, out_rate: float, back_rate: float
) -> None:
    """Fill start, shape (n_states, G), with the prior; availability starts at its long-run share.

    Where nobody comes back that share is 1: such a series starts in stock.
    """
    size = levels.size
    scale = 1.0 / sd if sd > 0.0 else 0.0
    best, at = math.inf, 0
    for g in range(size):
        if abs(levels[g] - mean) < best:
            best, at = abs(levels[g] - mean), g
    total = 0.0
    for g in range(size):
        z, nearest = (levels[g] - mean) * scale, best * scale
        weight = math.exp(0.5 * (nearest * nearest - z * z)) if sd > 0.0 else 0.0
        start[0, g] = weight
        total += weight
    if sd == 0.0:
        start[0, at] = 1.0
        total = 1.0
    out = 0.0
    if start.shape[0] == 2 and back_rate > 0.0:
        out = out_rate / (out_rate + back_rate)
    for g in range(size):
        weight = start[0, g] / total
        start[0, g] = (1.0 - out) * weight
        if start.shape[0] == 2:
            start[1, g] = out * weight
