"""Negative binomial marginals about a forecast mean: dispersion, quantiles, probability transform."""

from __future__ import annotations

import numpy as np
from scipy import special

from civstats.censoring import NegBin

_SIZES = np.geomspace(0.03, 300.0, 33)
"""Candidates of the negative binomial's dispersion (size): variance = mean + mean^2 / size."""
_POOL_DAYS = 200.0
"""Days that the pool of similar series is worth beside a series' own days."""
_LARGE = 60.0
"""Mean from which a gamma replaces the table of negative binomial probabilities."""
_FLOOR = 1e-2
"""Smallest forecast that residuals are read against: a sale after a forecast of 0 is impossible."""
_CHUNK = 4_000_000


def negbin_size(
    mean: np.ndarray,
    fitted: np.ndarray,
    actual: np.ndarray,
    missing: np.ndarray | None,
    censored: np.ndarray | None = None,
) -> np.ndarray:
    """Estimate the dispersion of each series from residuals, shrunk to series of similar mean.

    The profile likelihood of a series on a grid of sizes, plus that of its pool worth
    a fixed number of days (a power prior; Ibrahim and Chen 2000), and the posterior mean of the
    inverse size under it. Where `censored`, `actual` is a lower bound.

    Returns
    -------
    numpy.ndarray, shape (n_series, 1)
        Size a of the negative binomial, in units of :func:`sales_unit`:
        variance = mean + mean^2 / a.
    """
    mean, fitted, actual = floats(mean, fitted, actual)
    gone = unusable(fitted, actual, missing)
    unit = sales_unit(actual[~gone])
    n_series = len(mean)
    days = (~gone).sum(axis=(1, 2))
    total = np.zeros((n_series, len(_SIZES)))
    for rows in chunks(n_series, actual[0].size):
        use = ~gone[rows]
        y = np.where(use, actual[rows], 0.0) / unit
        f = np.maximum(np.where(use, fitted[rows], 0.0) / unit, _FLOOR)
        for j, a in enumerate(_SIZES):
            terms = special.gammaln(y + a) - special.gammaln(a) - y * np.log1p(a / f)
            terms -= a * np.log1p(f / a)
            if censored is not None and censored[rows].any():
                at = np.nonzero(censored[rows] & use)
                bound = np.ceil(y[at] - 1e-6)
                terms[at] = NegBin(float(a)).log_survival(bound, np.log(f[at]))
            total[rows, j] = (terms * use).sum(axis=(1, 2))
    level = mean.mean(axis=1)
    pool = _pools(level)
    n_pools = int(pool.max()) + 1
    shared = np.zeros((n_pools, len(_SIZES)))
    np.add.at(shared, pool, total)
    weight = np.bincount(pool, weights=days, minlength=n_pools)
    everything = total.sum(axis=0) / max(days.sum(), 1)
    shared = (shared + _POOL_DAYS * everything) / (weight + _POOL_DAYS)[:, None]
    posterior = total + _POOL_DAYS * shared[pool]
    posterior = np.exp(posterior - posterior.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    return 1.0 / (posterior @ (1.0 / _SIZES))[:, None]


def negbin_quantile(
    mean: np.ndarray, size: np.ndarray, u: np.ndarray, unit: float = 1.0
) -> np.ndarray:
    """Quantiles of the negative binomial for many probabilities a row at once.

    Parameters
    ----------
    mean : numpy.ndarray, shape (n_series, h)
    size : numpy.ndarray, shape (n_series, 1) or (n_series, h)
        In multiples of `unit`.
    u : numpy.ndarray, shape (n_series, h, n)
        Probabilities in [0, 1).
    unit : float
        Step of the lattice on which sales live.

    Returns
    -------
    numpy.ndarray, shape (n_series, h, n), float32
    """
    shape = u.shape
    m = np.asarray(mean, dtype=float).ravel() / unit
    a = np.broadcast_to(size, mean.shape).ravel()
    u = u.reshape(len(m), -1)
    out = np.zeros(u.shape, dtype=np.float32)
    large = np.flatnonzero(m > _LARGE)
    if large.size:
        out[large] = _gamma_quantile(m[large], a[large], u[large])
    small = np.flatnonzero((m > 0) & (m <= _LARGE))
    scale = 1 + m[small] / a[small]
    # Beyond it about 1e-9: nine standard deviations, or the exponential tail of a small size.
    top = np.ceil(m[small] + np.maximum(9 * np.sqrt(m[small] * scale), 20 * scale) + 12).astype(int)
    order = small[np.argsort(top, kind="stable")]
    top = np.sort(top, kind="stable")
    start = 0
    while start < len(order):
        # Rows of similar support share a table, whose size is bounded.
        stop = start + 1
        while stop < len(order) and top[stop] <= 1.5 * top[start] + 8:
            stop += min(256, len(order) - stop)
            if top[stop - 1] * (stop - start) > _CHUNK:
                break
        rows = order[start:stop]
        out[rows] = _table_quantile(m[rows], a[rows], u[rows], int(top[stop - 1]))
        start = stop
    return (out * np.float32(unit)).reshape(shape)


def pit_bounds(
    fitted: np.ndarray,
    actual: np.ndarray,
    gone: np.ndarray,
    size: np.ndarray,
    unit: float,
    censored: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative probability below and up to each outcome, shape (n_series, n_origins, h).

    An outcome that is a lower bound lies anywhere above: the upper end is 1.
    """
    y = np.where(gone, 0.0, np.rint(actual / unit))
    f = np.maximum(np.where(gone, 1.0, fitted / unit), _FLOOR)
    a = size[:, :, None]
    p = a / (a + f)
    hi = special.betainc(a, y + 1, p)
    lo = np.where(y > 0, special.betainc(a, np.maximum(y, 1), p), 0.0)
    if censored is not None:
        hi = np.where(censored, 1.0, hi)
    return lo.astype(np.float32), hi.astype(np.float32)


def sales_unit(y: np.ndarray) -> float:
    """Return the step of the lattice that sales live on: 1, 0.1, 0.01 or 0.001."""
    for unit in (1.0, 0.1, 0.01):
        steps = y / unit
        if np.all(np.abs(steps - np.rint(steps)) < 1e-4 * (1 + np.abs(steps))):
            return unit
    return 0.001


def floats(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the arrays as float64."""
    return tuple(np.asarray(x, dtype=float) for x in arrays)


def unusable(fitted: np.ndarray, actual: np.ndarray, missing: np.ndarray | None) -> np.ndarray:
    """Mark the cells without a residual."""
    gone = ~np.isfinite(fitted) | ~np.isfinite(actual)
    return gone if missing is None else gone | np.asarray(missing, dtype=bool)


def chunks(n_series: int, cells: int) -> list[slice]:
    """Cut the series so that a piece of `cells` per series stays within a bounded size."""
    step = max(1, _CHUNK // max(cells, 1))
    return [slice(i, min(i + step, n_series)) for i in range(0, n_series, step)]


def _pools(level: np.ndarray) -> np.ndarray:
    """Number the pool of each series: bands of similar mean, about 40 series each."""
    n_pools = max(1, min(12, len(level) // 40))
    ranks = np.argsort(np.argsort(level, kind="stable"), kind="stable")
    return ranks * n_pools // len(level)


def _table_quantile(m: np.ndarray, a: np.ndarray, u: np.ndarray, top: int) -> np.ndarray:
    x = np.arange(1, top + 1)
    logs = np.empty((len(m), top + 1))
    logs[:, 0] = -a * np.log1p(m / a)
    steps = np.log(x - 1 + a[:, None]) - np.log(x) - np.log1p(a / m)[:, None]
    np.cumsum(steps, axis=1, out=logs[:, 1:])
    logs[:, 1:] += logs[:, :1]
    cdf = np.cumsum(np.exp(logs), axis=1)
    cdf[:, -1] = 2.0
    # One search for all rows: row i lives on (3 i, 3 i + 2].
    shift = 3.0 * np.arange(len(m))[:, None]
    found = np.searchsorted((cdf + shift).ravel(), (u + shift).ravel(), side="left")
    return found.reshape(u.shape) - (top + 1) * np.arange(len(m))[:, None]


def _gamma_quantile(m: np.ndarray, a: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Rounded gamma with the same mean and variance, from a table of its quantiles."""
    shape = m / (1 + m / a)
    knots = special.ndtr(np.linspace(-4.8, 4.8, 193))
    table = special.gammaincinv(shape[:, None], knots[None, :]) * (m / shape)[:, None]
    position = np.clip((special.ndtri(np.clip(u, 1e-7, 1 - 1e-7)) + 4.8) * 20, 0, 191.999)
    left = position.astype(int)
    part = position - left
    rows = np.arange(len(m))[:, None]
    return np.rint(table[rows, left] * (1 - part) + table[rows, left + 1] * part)
