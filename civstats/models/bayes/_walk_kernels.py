"""Jitted random walks given pseudo-data, with their adjoint.

Every series' walk, seen through pseudo-data, is Gaussian; `raw` are the standard normal numbers that
a draw of it is made from (forward filter, backward sampling; Carter and Kohn, 1994). Where the
pseudo-data say what the days say, `raw` is nearly standard normal in the posterior, whatever the
walk's variances: neither centred nor non-centred, but each as much as a series' days allow.
"""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring._jit import drop_stale_cache
from civstats.censoring._vector_math import jit

LOG_2PI = 1.8378770664093453


@jit
def walk_forward(
    raw: np.ndarray,
    base: np.ndarray,
    drift: np.ndarray,
    spread: np.ndarray,
    pseudo: np.ndarray,
    info: np.ndarray,
    starts: np.ndarray,
    level: np.ndarray,
    pivot: np.ndarray,
    middle: np.ndarray,
) -> float:
    """Fill level with the draw of Gaussian random walks given pseudo-data that `raw` stands for.

    Returns the log determinant of the map from `raw` to `level`. See :func:`walk_adjoint`.
    """
    log_det = 0.0
    for s in range(starts.size - 1):
        first, stop = starts[s], starts[s + 1]
        step, start = 1.0 / drift[s] ** 2, 1.0 / spread[s] ** 2
        for w in range(first, stop):
            neighbours = (w > first) + (w < stop - 1)
            d, b = info[w] + neighbours * step, info[w] * pseudo[w]
            if w == first:
                d += start
                b += start * base[s]
            else:
                gain = step / pivot[w - 1]
                d -= step * gain
                b += gain * middle[w - 1]
            pivot[w] = d
            middle[w] = b
            log_det -= 0.5 * math.log(d)
        for w in range(stop - 1, first - 1, -1):
            rest = step * level[w + 1] if w < stop - 1 else 0.0
            level[w] = (middle[w] + rest) / pivot[w] + raw[w] / math.sqrt(pivot[w])
    return log_det


@jit
def walk_adjoint(
    raw: np.ndarray,
    base: np.ndarray,
    drift: np.ndarray,
    spread: np.ndarray,
    pseudo: np.ndarray,
    info: np.ndarray,
    starts: np.ndarray,
    g_level: np.ndarray,
    g_det: float,
    d_raw: np.ndarray,
    d_base: np.ndarray,
    d_drift: np.ndarray,
    d_spread: np.ndarray,
    d_pseudo: np.ndarray,
) -> None:
    """Pull the slopes in level and log determinant back through :func:`walk_forward`."""
    n = raw.size
    level, pivot, middle = np.empty(n), np.empty(n), np.empty(n)
    walk_forward(raw, base, drift, spread, pseudo, info, starts, level, pivot, middle)
    a_pivot, a_middle = np.empty(n), np.empty(n)
    for s in range(starts.size - 1):
        first, stop = starts[s], starts[s + 1]
        step, start = 1.0 / drift[s] ** 2, 1.0 / spread[s] ** 2
        a_step, a_start, carried = 0.0, 0.0, 0.0
        for w in range(first, stop):
            a = g_level[w] + carried
            inverse = 1.0 / pivot[w]
            root = math.sqrt(inverse)
            top = middle[w]
            if w < stop - 1:
                top += step * level[w + 1]
                a_step += a * level[w + 1] * inverse
            a_middle[w] = a * inverse
            a_pivot[w] = (
                -a * (top * inverse + 0.5 * raw[w] * root) * inverse - 0.5 * g_det * inverse
            )
            d_raw[w] = a * root
            carried = a * step * inverse
        for w in range(stop - 1, first - 1, -1):
            neighbours = (w > first) + (w < stop - 1)
            if w > first:
                inverse = 1.0 / pivot[w - 1]
                gain = step * inverse
                a_middle[w - 1] += a_middle[w] * gain
                a_step += a_middle[w] * middle[w - 1] * inverse - 2.0 * a_pivot[w] * gain
                a_pivot[w - 1] += (a_pivot[w] * gain - a_middle[w] * middle[w - 1] * inverse) * gain
            else:
                a_start += a_pivot[w] + a_middle[w] * base[s]
                d_base[s] = start * a_middle[w]
            a_step += neighbours * a_pivot[w]
            d_pseudo[w] = info[w] * a_middle[w]
        d_drift[s] = -2.0 * step / drift[s] * a_step
        d_spread[s] = -2.0 * start / spread[s] * a_start


@jit
def shifted(
    pseudo: np.ndarray,
    beta: np.ndarray,
    slow: np.ndarray,
    hinted: np.ndarray,
    weekly: np.ndarray,
    department: np.ndarray,
    starts: np.ndarray,
) -> np.ndarray:
    """Return pseudo-data less what the coefficients' departures from their hints explain of them."""
    out = pseudo.copy()
    for s in range(starts.size - 1):
        g = department[s]
        for j in range(slow.size):
            move = beta[g, slow[j]] - hinted[g, j]
            for w in range(starts[s], starts[s + 1]):
                out[w] -= weekly[w, j] * move
    return out


@jit
def walk_density(
    raw: np.ndarray,
    base: np.ndarray,
    drift: np.ndarray,
    spread: np.ndarray,
    starts: np.ndarray,
    level: np.ndarray,
    log_det: float,
    descent: float,
) -> float:
    """Return the log density of the walk over that of `raw`, the map's determinant included.

    A step falls by `descent` times its variance: half of it keeps expected demand where it is.
    """
    total = log_det
    for s in range(starts.size - 1):
        first, stop = starts[s], starts[s + 1]
        z = (level[first] - base[s]) / spread[s]
        total -= 0.5 * z * z + math.log(spread[s])
        step = 1.0 / drift[s] ** 2
        squares = 0.0
        for w in range(first, stop):
            squares -= raw[w] * raw[w]
            if w > first:
                gap = level[w] - level[w - 1] + descent * drift[s] ** 2
                squares += step * gap * gap
        total -= 0.5 * squares + (stop - first - 1) * math.log(drift[s])
    return total


@jit
def density_slopes(
    raw: np.ndarray,
    base: np.ndarray,
    drift: np.ndarray,
    spread: np.ndarray,
    starts: np.ndarray,
    level: np.ndarray,
    descent: float,
    weight: float,
    g_level: np.ndarray,
    d_raw: np.ndarray,
    d_base: np.ndarray,
    d_drift: np.ndarray,
    d_spread: np.ndarray,
) -> None:
    """Add `weight` times the slopes of :func:`walk_density`, levels and determinant held apart."""
    for s in range(starts.size - 1):
        first, stop = starts[s], starts[s + 1]
        z = (level[first] - base[s]) / spread[s]
        g_level[first] -= weight * z / spread[s]
        d_base[s] += weight * z / spread[s]
        d_spread[s] += weight * (z * z - 1.0) / spread[s]
        step = 1.0 / drift[s] ** 2
        squares, gaps = 0.0, 0.0
        for w in range(first, stop):
            d_raw[w] += weight * raw[w]
            if w > first:
                gap = level[w] - level[w - 1] + descent * drift[s] ** 2
                squares += gap * gap
                gaps += gap
                g_level[w] -= weight * step * gap
                g_level[w - 1] += weight * step * gap
        moves = squares * step - (stop - first - 1) - 2.0 * descent * gaps
        d_drift[s] += weight * moves / drift[s]


drop_stale_cache(__name__, density_slopes)
