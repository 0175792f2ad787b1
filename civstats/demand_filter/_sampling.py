"""Jitted backward sampling of whole level paths from stored filtered distributions."""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring._row_kernels import TABLE
from civstats.demand_filter import _chain as chain
from civstats.demand_filter._forward import forward, prepare
from civstats.demand_filter._jit import drop_stale_cache, jit


@jit
def uniform(state: np.ndarray) -> float:
    """Return the next uniform on (0, 1) of a SplitMix64 stream (Steele, Lea and Flood, 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@jit
def fill_band(band: np.ndarray, moves: np.ndarray, target: np.ndarray, m: int, reach: int) -> None:
    """Fill band[g, k] with the chance to go from level g to level g + k - reach in a day."""
    n = band.shape[0]
    x, other = np.zeros(n + 2), np.zeros(n + 2)
    for g in range(n):
        x[:] = 0.0
        x[g + 1] = 1.0
        chain.day_forward(x, other, moves, target, m)
        for k in range(2 * reach + 1):
            to = g + k - reach
            band[g, k] = x[to + 1] if 0 <= to < n else 0.0


@jit
def _first_draw(
    cells: np.ndarray, n: int, state: np.ndarray, at: np.ndarray, out: np.ndarray
) -> None:
    """Draw level and availability of every path on the last day."""
    total = 0.0
    for s in range(cells.shape[0]):
        for g in range(n):
            total += cells[s, g + 1]
    for j in range(at.size):
        goal = uniform(state) * total
        below, found = 0.0, False
        for s in range(cells.shape[0]):
            for g in range(n):
                if cells[s, g + 1] <= 0.0:
                    continue
                # Rounding may leave the goal above the last sum: the last possible cell then.
                at[j], out[j] = g, s
                below += cells[s, g + 1]
                if below >= goal:
                    found = True
                    break
            if found:
                break


@jit
def _earlier_draw(
    filtered: np.ndarray,
    band: np.ndarray,
    m: int,
    out_rate: float,
    back_rate: float,
    state: np.ndarray,
    at: np.ndarray,
    out: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Replace each path's level and availability by a draw of the day before, given them."""
    n_states, n = filtered.shape
    for j in range(at.size):
        low, high = max(at[j] - m, 0), min(at[j] + m, n - 1)
        total, k = 0.0, 0
        for s in range(n_states):
            change = 1.0
            if n_states == 2:
                leave = out_rate if s == 0 else back_rate
                change = 1.0 - leave if s == out[j] else leave
            for g in range(low, high + 1):
                total += filtered[s, g] * change * band[g, at[j] - g + m]
                weight[k] = total
                k += 1
        goal = uniform(state) * total
        pick = 0
        while pick < k - 1 and weight[pick] < goal:
            pick += 1
        width = high - low + 1
        at[j], out[j] = low + pick % width, pick // width


@jit
def sample_block(
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
    edge_limit: float,
    keys: np.ndarray,
    n_draws: int,
    keep: np.ndarray,
    kept_starts: np.ndarray,
    loglik: np.ndarray,
    edge: np.ndarray,
    draws: np.ndarray,
    draws_out: np.ndarray,
) -> None:
    """Draw `n_draws` paths of every series of a block and keep the days marked in `keep`.

    `draws`, shape (n_kept, n_draws), gets levels; `draws_out` (or shape (0, 0)) availability.
    ``keys[i]`` seeds the stream of series i. See ``_blocks.run_block`` for the rest.
    """
    table = np.empty(TABLE)
    none1, none2 = np.empty(0), np.empty((0, 0))
    state = np.empty(1, dtype=np.uint64)
    at, out = np.empty(n_draws, dtype=np.int64), np.empty(n_draws, dtype=np.int64)
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
        if continuing:
            cut = before[cell_starts[i] : cell_starts[i] + n_states * n]
            start[:] = cut.reshape((n_states, n))
        else:
            chain.fill_prior(
                start,
                levels,
                row[chain.PRIOR_MEAN],
                row[chain.PRIOR_SD],
                row[chain.OUT_RATE],
                row[chain.BACK_RATE],
            )
        stored = np.empty((hi - lo, n_states, n))
        loglik[i] = forward(
            y[lo:hi], kind[lo:hi], status[lo:hi], shift[lo:hi],
            slope[lo:hi] if slope.size else slope,
            family, row, levels, rates, moves, target, m, start, continuing, cells, scratch, table, stored,
            none1, none2, none2, edge[i],
        )  # fmt: skip
        if loglik[i] == -math.inf or not max(edge[i, 0], edge[i, 1]) <= edge_limit:
            continue
        reach = m
        for g in range(target.size):
            reach = max(reach, abs(target[g] - g) + 1 + m)
        reach = min(reach, n)  # a day may cross the whole grid
        band = np.empty((n, 2 * reach + 1))
        fill_band(band, moves, target, m, reach)
        weight = np.empty(n_states * (2 * reach + 1))
        state[0] = keys[i]
        slot = kept_starts[i + 1]
        for t in range(hi - lo - 1, -1, -1):
            if t == hi - lo - 1:
                _first_draw(cells, n, state, at, out)
            else:
                _earlier_draw(
                    stored[t], band, reach, row[chain.OUT_RATE], row[chain.BACK_RATE],
                    state, at, out, weight,
                )  # fmt: skip
            if keep[lo + t]:
                slot -= 1
                for j in range(n_draws):
                    draws[slot, j] = levels[at[j]]
                if draws_out.size:
                    for j in range(n_draws):
                        draws_out[slot, j] = out[j] == 1


drop_stale_cache(__name__, sample_block)
