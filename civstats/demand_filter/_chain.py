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
OUT_RATE, BACK_RATE, PRIOR_MEAN, PRIOR_SD, LEVEL_DRIFT = 5, 6, 7, 8, 9
PULL_VAR = 0.5  # most variance, in d^2, that the pull of a damped level carries itself


@jit
def substeps(level_var: float, damping: float, spacing: float) -> int:
    """Return how many birth-death moves make up a day: variance at most d^2 / 2 each, never capped.

    The pull of a damped level carries up to d^2 / 2 itself; then there may be none.
    """
    if damping == 1.0:
        return max(1, math.ceil(level_var / (0.5 * spacing * spacing) * (1.0 - 1e-12)))
    rest = max(level_var / (spacing * spacing) - PULL_VAR, 0.0)
    return math.ceil(2.0 * rest * (1.0 - 1e-12))


@jit
def fill_moves(
    moves: np.ndarray,
    target: np.ndarray,
    levels: np.ndarray,
    level_var: float,
    damping: float,
    level_mean: float,
    drift: float,
    spacing: float,
    m: int,
) -> None:
    """Fill the probabilities of the moves of a day, by level.

    Rows 0 to 2 of `moves`, shape (6, G + 2), are up, down and stay of a birth-death substep. Of a
    damped level rows 3 to 5 are up, down and stay about ``target[g]``, the point next to where
    the pull takes level g (`target` has shape (0,) for a random walk). Mean and variance of a day
    are exact, unless the variance is below d^2 / 4 with damping: then a pull by a fraction of a
    cell may spread further.
    """
    size = levels.size
    moves[:] = 0.0
    variance = level_var / (spacing * spacing)
    if target.size:
        own = min(variance, PULL_VAR)
        variance -= own
        for g in range(size):
            shift = (1.0 - damping) * (level_mean - levels[g]) / spacing
            whole = math.floor(shift + 0.5)
            part = shift - whole
            either = max(own + part * part, abs(part))
            target[g] = g + int(whole)
            moves[3, g + 1] = 0.5 * (either + part)
            moves[4, g + 1] = 0.5 * (either - part)
            moves[5, g + 1] = 1.0 - either
    up, down = 0.0, 0.0
    if m > 0:
        mean = drift / (spacing * m)
        either = variance / m + mean * mean
        up, down = 0.5 * (either + mean), 0.5 * (either - mean)
    for g in range(size):
        # Reflecting ends: what would leave stays.
        moves[0, g + 1] = up if g + 1 < size else 0.0
        moves[1, g + 1] = down if g > 0 else 0.0
        moves[2, g + 1] = 1.0 - moves[0, g + 1] - moves[1, g + 1]


@jit
def pull_forward(out: np.ndarray, x: np.ndarray, moves: np.ndarray, target: np.ndarray) -> None:
    """Fill out with the distribution after the pull of a damped level."""
    n = target.size
    out[:] = 0.0
    for g in range(n):
        at = target[g] + 1
        out[min(max(at + 1, 1), n)] += moves[3, g + 1] * x[g + 1]
        out[min(max(at - 1, 1), n)] += moves[4, g + 1] * x[g + 1]
        out[min(max(at, 1), n)] += moves[5, g + 1] * x[g + 1]


@jit
def pull_backward(out: np.ndarray, x: np.ndarray, moves: np.ndarray, target: np.ndarray) -> None:
    """Fill out with the expectation of x after the pull of a damped level, by level before it."""
    n = target.size
    for g in range(n):
        at = target[g] + 1
        out[g + 1] = (
            moves[3, g + 1] * x[min(max(at + 1, 1), n)]
            + moves[4, g + 1] * x[min(max(at - 1, 1), n)]
            + moves[5, g + 1] * x[min(max(at, 1), n)]
        )


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
def _copy(to: np.ndarray, x: np.ndarray) -> None:
    for g in range(x.size):
        to[g] = x[g]


@jit
def day_forward(
    x: np.ndarray, other: np.ndarray, moves: np.ndarray, target: np.ndarray, m: int
) -> None:
    """Move the distribution x by one day, in place; `other` is scratch of the same shape."""
    if target.size:
        pull_forward(other, x, moves, target)
        _copy(x, other)
    up, down, stay = moves[0], moves[1], moves[2]
    for k in range(m):
        if k % 2 == 0:
            step_forward(other, x, up, down, stay)
        else:
            step_forward(x, other, up, down, stay)
    if m % 2 == 1:
        _copy(x, other)


@jit
def day_backward(
    x: np.ndarray, other: np.ndarray, moves: np.ndarray, target: np.ndarray, m: int
) -> None:
    """Replace x by its expectation a day ahead, in place; `other` is scratch of the same shape."""
    up, down, stay = moves[0], moves[1], moves[2]
    for k in range(m):
        if k % 2 == 0:
            step_backward(other, x, up, down, stay)
        else:
            step_backward(x, other, up, down, stay)
    if m % 2 == 1:
        _copy(x, other)
    if target.size:
        pull_backward(other, x, moves, target)
        for g in range(target.size):
            x[g + 1] = other[g + 1]


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
