"""Jitted forward pass of one series: filtered distributions and the marginal likelihood."""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _row_kernels as rows
from civstats.censoring import _vector_math as vector
from civstats.demand_filter import _chain as chain
from civstats.demand_filter import _observe as observe
from civstats.demand_filter._jit import drop_stale_cache, jit

NEGLIGIBLE = 1e-280  # probabilities below are set to 0: denormal numbers are slow
RARE = 1e-150  # sums below are taken again in logarithms
IN, OUT = 1, 2  # as in layout
MEAN, SD, RATE, P_OUT = 0, 1, 2, 3
N_STATS = 4


@jit
def describe(
    stats: np.ndarray, cells: np.ndarray, levels: np.ndarray, rates: np.ndarray, total: float
) -> None:
    """Fill mean, sd, E[exp(level)] and P(out) of cells, shape (n_states, G + 2), mass `total`."""
    n = levels.size
    mean, rate, out = 0.0, 0.0, 0.0
    if cells.shape[0] == 2:
        for g in range(n):
            weight = cells[0, g + 1] + cells[1, g + 1]
            mean += weight * levels[g]
            rate += weight * rates[g]
            out += cells[1, g + 1]
    else:
        for g in range(n):
            mean += cells[0, g + 1] * levels[g]
            rate += cells[0, g + 1] * rates[g]
    inverse = 1.0 / total
    mean *= inverse
    square = 0.0
    for state in range(cells.shape[0]):
        for g in range(n):
            gap = levels[g] - mean
            square += cells[state, g + 1] * gap * gap
    stats[MEAN] = mean
    stats[SD] = math.sqrt(square * inverse)
    stats[RATE] = rate * inverse
    stats[P_OUT] = out * inverse


@jit
def row_max(x: np.ndarray) -> float:
    """Return the largest value; four strands, since one chain of comparisons is slow."""
    a = b = c = d = -math.inf
    n = x.size - x.size % 4
    for g in range(0, n, 4):
        a = x[g] if x[g] > a else a
        b = x[g + 1] if x[g + 1] > b else b
        c = x[g + 2] if x[g + 2] > c else c
        d = x[g + 3] if x[g + 3] > d else d
    for g in range(n, x.size):
        a = x[g] if x[g] > a else a
    return max(max(a, b), max(c, d))


@jit
def _weigh(
    cells: np.ndarray, loglik: np.ndarray, can_be_in: bool, can_be_out: bool, weight: np.ndarray
) -> float:
    """Multiply cells by the likelihood (1 where out) and normalise; return the log of the total.

    Where the total is too small to trust, cells are left alone and the result is -inf.
    """
    n = loglik.size
    top = 0.0 if can_be_out else -math.inf
    if can_be_in:
        top = max(top, row_max(loglik))
    if top == -math.inf:
        return -math.inf
    factor = math.exp(-top) if can_be_out else 0.0
    total = 0.0
    x = cells[0]
    if can_be_in:
        for g in range(n):
            weight[g] = x[g + 1] * vector.exp(loglik[g] - top)
            total += weight[g]
    else:
        for g in range(n):
            weight[g] = 0.0
    if cells.shape[0] == 2:
        out = 0.0
        for g in range(n):
            out += cells[1, g + 1]
        total += out * factor
    if not total >= RARE:
        return math.log(total) if math.isnan(total) else -math.inf
    scale = 1.0 / total
    for g in range(n):
        value = weight[g] * scale
        x[g + 1] = value if value > NEGLIGIBLE else 0.0
    if cells.shape[0] == 2:
        x = cells[1]
        factor *= scale
        for g in range(n):
            value = x[g + 1] * factor
            x[g + 1] = value if value > NEGLIGIBLE else 0.0
    return math.log(total) + top


@jit
def _weigh_rare(cells: np.ndarray, loglik: np.ndarray, can_be_in: bool, can_be_out: bool) -> float:
    """Do the same in logarithms, for a day that the past held for next to impossible."""
    n = loglik.size
    top = -math.inf
    for state in range(cells.shape[0]):
        for g in range(n):
            value = 0.0 if state == 1 else loglik[g]
            if not (can_be_out if state == 1 else can_be_in):
                value = -math.inf
            old = cells[state, g + 1]
            cells[state, g + 1] = math.log(old) + value if old > 0.0 else -math.inf
            top = max(top, cells[state, g + 1])
    if top == -math.inf:
        return -math.inf
    total = 0.0
    for state in range(cells.shape[0]):
        for g in range(n):
            cells[state, g + 1] = math.exp(cells[state, g + 1] - top)
            total += cells[state, g + 1]
    for state in range(cells.shape[0]):
        for g in range(n):
            value = cells[state, g + 1] / total
            cells[state, g + 1] = value if value > NEGLIGIBLE else 0.0
    return math.log(total) + top


@jit
def _flush(cells: np.ndarray) -> None:
    for state in range(cells.shape[0]):
        x = cells[state]
        for g in range(x.size):
            x[g] = x[g] if x[g] > NEGLIGIBLE else 0.0


@jit
def forward(
    y: np.ndarray,
    kind: np.ndarray,
    status: np.ndarray,
    shift: np.ndarray,
    slope: np.ndarray,
    family: int,
    parameters: np.ndarray,
    levels: np.ndarray,
    rates: np.ndarray,
    moves: np.ndarray,
    target: np.ndarray,
    m: int,
    start: np.ndarray,
    step_first: bool,
    cells: np.ndarray,
    scratch: np.ndarray,
    table: np.ndarray,
    stored: np.ndarray,
    day_loglik: np.ndarray,
    predicted: np.ndarray,
    filtered: np.ndarray,
    edge: np.ndarray,
) -> float:
    """Run the forward pass of one series; return its log marginal likelihood.

    Parameters
    ----------
    y, kind, status, shift : arrays of shape (T,)
    slope : array of shape (T,) or (0,)
        Exposure, read by the normal family alone.
    levels, rates : arrays of shape (G,)
        The grid and its exponential.
    moves, target, m : arrays of shape (6, G + 2) and (G,) or (0,), int
        From :func:`prepare`.
    start : array of shape (n_states, G)
        Distribution of the first day; a day earlier if `step_first`.
    cells : array of shape (n_states, G + 2)
        Scratch; on return the filtered distribution of the last day.
    scratch : array of shape (5, G + 2)
    stored : array of shape (T, n_states, G) or (0, 0, 0)
        Filled with the filtered distributions.
    day_loglik : array of shape (T,) or (0,)
    predicted, filtered : arrays of shape (T, N_STATS) or (0, 0)
        Level before and after the day's observation.
    edge : array of shape (2,)
        Filled with the largest probability ever seen at the lowest and the highest level.
    """
    n = levels.size
    hidden = cells.shape[0] == 2
    other, loglik, work = scratch[0], scratch[1, :n], scratch[2:]
    out_rate, back_rate = parameters[chain.OUT_RATE], parameters[chain.BACK_RATE]
    cells[:] = 0.0
    other[:] = 0.0
    cells[:, 1 : n + 1] = start
    edge[:] = 0.0
    total = 0.0
    for t in range(y.size):
        if t > 0 or step_first:
            if hidden:
                chain.mix(cells[0], cells[1], out_rate, back_rate)
            for state in range(cells.shape[0]):
                chain.day_forward(cells[state], other, moves, target, m)
        if predicted.size:
            describe(predicted[t], cells, levels, rates, 1.0)
        nothing = observe.says_nothing(family, kind[t], y[t])
        can_be_in = not hidden or status[t] != OUT
        can_be_out = hidden and status[t] != IN and (nothing or y[t] == 0.0)
        if nothing and (not hidden or status[t] == 0):
            _flush(cells)
            if day_loglik.size:
                day_loglik[t] = 0.0
        else:
            if nothing or not can_be_in:
                loglik[:] = 0.0
            else:
                multiple = slope[t] if slope.size else 1.0
                observe.fill_loglik(
                    loglik, family, kind[t], y[t], shift[t], multiple, levels, rates,
                    parameters, table, work,
                )  # fmt: skip
            gain = _weigh(cells, loglik, can_be_in, can_be_out, other[1 : n + 1])
            if gain == -math.inf:
                gain = _weigh_rare(cells, loglik, can_be_in, can_be_out)
            total += gain
            if day_loglik.size:
                day_loglik[t] = gain
            if gain == -math.inf or math.isnan(gain):
                return gain
        low, high = 0.0, 0.0
        for state in range(cells.shape[0]):
            low += cells[state, 1]
            high += cells[state, n]
        edge[0] = max(edge[0], low)
        edge[1] = max(edge[1], high)
        if stored.size:
            for state in range(cells.shape[0]):
                stored[t, state, :] = cells[state, 1 : n + 1]
        if filtered.size:
            describe(filtered[t], cells, levels, rates, 1.0)
    return total


@jit
def prepare(
    anchor: float,
    spacing: float,
    first: int,
    parameters: np.ndarray,
    levels: np.ndarray,
    rates: np.ndarray,
    moves: np.ndarray,
    target: np.ndarray,
    table: np.ndarray,
    family: int,
) -> int:
    """Fill the grid, the moves and the table of constants of a series; return substeps a day."""
    for g in range(levels.size):
        levels[g] = anchor + spacing * (first + g)
        rates[g] = math.exp(min(levels[g], 690.0)) if family != observe.NORMAL else levels[g]
    variance, damping = parameters[chain.LEVEL_VAR], parameters[chain.DAMPING]
    centre, drift = parameters[chain.LEVEL_MEAN], parameters[chain.LEVEL_DRIFT]
    m = chain.substeps(variance, damping, spacing)
    chain.fill_moves(moves, target, levels, variance, damping, centre, drift, spacing, m)
    if family <= observe.ZERO_INFLATED:
        rows.fill_constants(table, parameters[chain.SPREAD])
    return m


drop_stale_cache(__name__, forward)
