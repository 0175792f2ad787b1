"""Jitted passes over a block of series, one series after the other in little memory."""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring._row_kernels import TABLE
from civstats.demand_filter import _chain as chain
from civstats.demand_filter._backward import backward
from civstats.demand_filter._forward import forward, prepare
from civstats.demand_filter._jit import drop_stale_cache, jit


@jit
def run_block(
    starts: np.ndarray,
    ends: np.ndarray,
    y: np.ndarray,
    kind: np.ndarray,
    status: np.ndarray,
    shift: np.ndarray,
    slope: np.ndarray,
    family: int,
    n_states: int,
    parameters: np.ndarray,
    anchor: np.ndarray,
    spacing: np.ndarray,
    first: np.ndarray,
    size: np.ndarray,
    continuing: bool,
    before: np.ndarray,
    cell_starts: np.ndarray,
    smooth: bool,
    edge_limit: float,
    loglik: np.ndarray,
    edge: np.ndarray,
    last: np.ndarray,
    day_loglik: np.ndarray,
    predicted: np.ndarray,
    filtered: np.ndarray,
    smoothed: np.ndarray,
    probs: np.ndarray,
    quantile: np.ndarray,
    lag_covariance: np.ndarray,
    transitions: np.ndarray,
    keep: np.ndarray,
    kept: np.ndarray,
    kept_starts: np.ndarray,
) -> None:
    """Run forward (and, if `smooth`, backward) passes; every array covers the block alone.

    `before` and `last` hold distributions over cells, series after series, each of n_states x G
    cells from ``cell_starts[i]``. Arrays of size 0 are not filled. `kept` has shape
    (n_kept, 2, n_states, widest grid). A series whose mass reaches the ends of its grid beyond
    `edge_limit`, or whose likelihood is 0, gets no backward pass.
    """
    n_days, widest = 0, 0
    for i in range(starts.size):
        n_days = max(n_days, ends[i] - starts[i])
        widest = max(widest, size[i])
    room = np.empty(n_days * n_states * widest if smooth else 0)
    table = np.empty(TABLE)
    none2, none3, none4 = np.empty((0, 0)), np.empty((0, 0, 0)), np.empty((0, 0, 0, 0))
    for i in range(starts.size):
        n, lo, hi = size[i], starts[i], ends[i]
        levels, rates = np.empty(n), np.empty(n)
        moves, scratch = np.empty((6, n + 2)), np.empty((5, n + 2))
        cells, start = np.empty((n_states, n + 2)), np.empty((n_states, n))
        row = parameters[i]
        target = np.empty(n if row[chain.DAMPING] < 1.0 else 0, dtype=np.int64)
        m = prepare(
            anchor[i], spacing[i], first[i], row, levels, rates, moves, target, table, family
        )  # fmt: skip
        at = cell_starts[i]
        if continuing:
            start[:] = before[at : at + n_states * n].reshape((n_states, n))
        else:
            chain.fill_prior(
                start, levels, row[chain.PRIOR_MEAN], row[chain.PRIOR_SD],
                row[chain.OUT_RATE], row[chain.BACK_RATE],
            )  # fmt: skip
        stored = none3
        if smooth:
            cut = room[: (hi - lo) * n_states * n]
            stored = cut.reshape((hi - lo, n_states, n))
        loglik[i] = forward(
            y[lo:hi], kind[lo:hi], status[lo:hi], shift[lo:hi],
            slope[lo:hi] if slope.size else slope,
            family, row, levels, rates, moves, target, m, start, continuing, cells, scratch, table, stored,
            day_loglik[lo:hi] if day_loglik.size else day_loglik,
            predicted[lo:hi] if predicted.size else none2,
            filtered[lo:hi] if filtered.size else none2,
            edge[i],
        )  # fmt: skip
        for state in range(n_states):
            last[at + state * n : at + (state + 1) * n] = cells[state, 1 : n + 1]
        fine = loglik[i] > -math.inf and max(edge[i, 0], edge[i, 1]) <= edge_limit
        if smooth and fine:
            a, b = kept_starts[i], kept_starts[i + 1]
            backward(
                stored, row, levels, rates, moves, target, m, cells, scratch,
                smoothed[lo:hi] if smoothed.size else none2,
                probs,
                quantile[lo:hi],
                lag_covariance[lo:hi] if lag_covariance.size else lag_covariance,
                transitions[i],
                keep[lo:hi] if keep.size else keep,
                kept[a:b, :, :, :n] if kept.size else none4,
            )  # fmt: skip


drop_stale_cache(__name__, run_block)
