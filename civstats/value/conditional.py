"""Demand of a stockout day, drawn given that the stockout happened: at least the cap."""

from __future__ import annotations

import numpy as np


def demand_given_stockout(
    demand: np.ndarray, cap: np.ndarray, capped: np.ndarray, tie: np.ndarray
) -> tuple[np.ndarray, int]:
    """Replace demand on capped days by a draw from D given D >= cap that keeps the path's rank.

    On each series and day the samples are an empirical distribution. A path at rank u of it, u in
    [0, 1), moves to rank u of the part at or above its cap: high worlds stay high, so dependence
    over days and series survives. A cap of zero leaves demand as it is. Ties are broken at random,
    since breaking them by sample number would make the same sample high everywhere.

    Parameters
    ----------
    demand : numpy.ndarray, shape (n_series, n_samples, n_days)
        Joint paths of demand, finite.
    cap : numpy.ndarray, same shape
        Units there; read where `capped`.
    capped : numpy.ndarray of bool, same shape
        Days whose sales stopped at `cap`.
    tie : numpy.ndarray, same shape
        Uniforms in [0, 1) that break ties.

    Returns
    -------
    demand : numpy.ndarray, same shape
        At least `cap` where `capped`; a new array.
    unreached : int
        Number of capped cells whose cap no sample reaches: there demand is the cap, loss zero.

    Examples
    --------
    >>> import numpy as np
    >>> d = np.arange(10.0).reshape(1, 10, 1)
    >>> given, _ = demand_given_stockout(d, np.full_like(d, 5), d == 2, np.zeros_like(d))
    >>> float(given[0, 2, 0])
    6.0
    """
    result = demand.copy()
    hit = np.flatnonzero((capped & (cap > 0)).any(axis=1))
    if not hit.size:
        return result, 0
    n = demand.shape[1]
    unreached = 0
    columns = np.stack(np.unravel_index(hit, (demand.shape[0], demand.shape[2])))
    # One searchsorted serves all series and days: each column's values are moved to their own
    # stretch of the number line. A pass holds few columns, so it stays in the cache.
    for k in range(0, hit.size, 256):
        b, t = columns[:, k : k + 256]
        values = demand[b, :, t].astype(np.float64)
        column, sample = np.nonzero(capped[b, :, t] & (cap[b, :, t] > 0))
        at = (b[column], sample, t[column])
        span = values.max() + 1.0
        base = column * span
        ordered = np.sort(values, axis=1)
        line = (ordered + np.arange(len(b))[:, None] * span).ravel()
        own = values[column, sample] + base
        bound = np.minimum(cap[at].astype(np.float64), span) + base
        start = column * n
        below = np.searchsorted(line, own, side="left") - start
        upto = np.searchsorted(line, own, side="right") - start
        k0 = np.searchsorted(line, bound, side="left") - start
        k0 = np.clip(k0, 0, n)
        rank = (below + tie[at] * (upto - below)) / n
        index = k0 + np.minimum((rank * (n - k0)).astype(int), n - k0 - 1)
        empty = k0 == n
        drawn = ordered.ravel()[start + np.where(empty, 0, index)]
        result[at] = np.where(empty, cap[at], drawn)
        unreached += int(empty.sum())
    return result, unreached
