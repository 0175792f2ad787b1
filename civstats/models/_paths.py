"""Joint sample paths for any mean forecast, from its residual vectors on past origins.

Two parts that are kept apart on purpose. The **marginal** of a series and day is negative binomial
about the forecast mean, its dispersion estimated from the out-of-sample residuals of the series
and shrunk to series of similar mean; it cannot go below zero and its mean is the forecast's. The
**dependence** over days and series is that of whole residual vectors: a path takes one past origin,
the same for all series, and with it the ranks that the outcomes of that origin had in their
predictive distributions (empirical copula; Clark et al. 2004, "The Schaake shuffle").
"""

from __future__ import annotations

import numpy as np
from scipy import special

_SIZES = np.geomspace(0.03, 300.0, 33)
"""Candidates of the negative binomial's dispersion (size): variance = mean + mean^2 / size."""
_POOL_DAYS = 200.0
"""Days that the pool of similar series is worth beside a series' own days."""
_SMOOTH = 0.5
"""Bandwidth of the smoothed bootstrap, in standard deviations of a normal score."""
_LARGE = 60.0
"""Mean from which a gamma replaces the table of negative binomial probabilities."""
_CHUNK = 4_000_000


def residual_paths(
    mean: np.ndarray,
    fitted: np.ndarray,
    actual: np.ndarray,
    missing: np.ndarray | None,
    n_paths: int,
    rng: np.random.Generator,
    *,
    size: np.ndarray | None = None,
) -> np.ndarray:
    """Draw joint paths of demand about a mean forecast.

    Parameters
    ----------
    mean : numpy.ndarray, shape (n_series, h)
        The forecast, units per day.
    fitted, actual : numpy.ndarray, shape (n_series, n_origins, h)
        Forecasts made at past origins and what came; out of sample, or the paths are too narrow.
        The vectors of an origin hold the same calendar days for all series. NaN where unknown.
    missing : numpy.ndarray of bool, shape (n_series, n_origins, h), optional
        Days that carry no residual (stockouts under ``mask``, days before launch), beside NaN.
    n_paths : int
        Number of paths.
    rng : numpy.random.Generator
        Source of randomness.
    size : numpy.ndarray, shape (n_series, 1), optional
        Dispersion from :func:`negbin_size`, where it is known already.

    Returns
    -------
    numpy.ndarray, shape (n_series, n_paths, h), float32
        Never negative; whole numbers if all sales are (otherwise multiples of 0.1, 0.01 or 0.001).
        Path k is one world for all series. The mean over paths is `mean` up to Monte Carlo error,
        which stratification makes small. A forecast of 0 gives paths of 0.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> past = rng.poisson(2.0, size=(3, 26, 7)).astype(float)
    >>> paths = residual_paths(np.full((3, 7), 2.0), np.full(past.shape, 2.0), past, None, 100, rng)
    >>> paths.shape
    (3, 100, 7)
    """
    mean, fitted, actual = _floats(mean, fitted, actual)
    gone = _gone(fitted, actual, missing)
    unit = sales_unit(actual[~gone])
    if size is None:
        size = negbin_size(mean, fitted, actual, gone)
    n_series, n_origins, h = actual.shape
    paths = np.empty((n_series, n_paths, h), dtype=np.float32)
    if n_paths == 0:
        return paths
    # Every origin equally often: less Monte Carlo error than drawing with replacement.
    origins = rng.permuted(np.arange(n_paths) % max(n_origins, 1))
    mix = _mixing_weights(origins, n_origins, rng)
    lo, hi = _pit_bounds(fitted, actual, gone, size, unit)
    level = _vector_level(lo, hi, gone)
    for rows in _chunks(n_series, n_paths * h):
        scores = _scores(lo[rows], hi[rows], gone[rows], level[rows], origins, mix, rng)
        ranks = np.argsort(np.argsort(scores, axis=2), axis=2)
        u = (ranks + rng.random(ranks.shape)) / n_paths
        drawn = negbin_quantile(mean[rows], size[rows], u, unit)
        paths[rows] = drawn.transpose(0, 2, 1)
    return paths


def residual_quantiles(
    mean: np.ndarray,
    fitted: np.ndarray,
    actual: np.ndarray,
    missing: np.ndarray | None,
    probabilities: np.ndarray | list[float],
    *,
    size: np.ndarray | None = None,
) -> np.ndarray:
    """Quantiles of the marginals that :func:`residual_paths` draws from, without drawing.

    Parameters
    ----------
    mean, fitted, actual, missing, size
        As for :func:`residual_paths`.
    probabilities : array_like, shape (n_probabilities,)
        In (0, 1), increasing.

    Returns
    -------
    numpy.ndarray, shape (n_series, h, n_probabilities)
        Smallest values whose cumulative probability reaches the asked one; never crossing.
    """
    mean, fitted, actual = _floats(mean, fitted, actual)
    gone = _gone(fitted, actual, missing)
    if size is None:
        size = negbin_size(mean, fitted, actual, gone)
    p = np.broadcast_to(np.asarray(probabilities, dtype=float), (*mean.shape, len(probabilities)))
    return negbin_quantile(mean, size, p, sales_unit(actual[~gone]))


def negbin_size(
    mean: np.ndarray, fitted: np.ndarray, actual: np.ndarray, missing: np.ndarray | None
) -> np.ndarray:
    """Estimate the dispersion of each series from residuals, shrunk to series of similar mean.

    The profile likelihood of a series on a grid of sizes, plus that of its pool worth
    a fixed number of days (a power prior; Ibrahim and Chen 2000), and the posterior mean of the
    inverse size under it.

    Returns
    -------
    numpy.ndarray, shape (n_series, 1)
        Size a of the negative binomial, in units of :func:`sales_unit`:
        variance = mean + mean^2 / a.
    """
    mean, fitted, actual = _floats(mean, fitted, actual)
    gone = _gone(fitted, actual, missing)
    unit = sales_unit(actual[~gone])
    n_series = len(mean)
    days = (~gone).sum(axis=(1, 2))
    total = np.zeros((n_series, len(_SIZES)))
    for rows in _chunks(n_series, actual[0].size):
        use = ~gone[rows]
        y = np.where(use, actual[rows], 0.0) / unit
        # A forecast of exactly 0 before a sale would make every size impossible.
        f = np.maximum(np.where(use, fitted[rows], 0.0) / unit, 1e-2)
        for j, a in enumerate(_SIZES):
            terms = special.gammaln(y + a) - special.gammaln(a) - y * np.log1p(a / f)
            terms -= a * np.log1p(f / a)
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
    top = np.ceil(m[small] + 9 * np.sqrt(m[small] + m[small] ** 2 / a[small]) + 12).astype(int)
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


def sales_unit(y: np.ndarray) -> float:
    """Return the step of the lattice that sales live on: 1, 0.1, 0.01 or 0.001."""
    for unit in (1.0, 0.1, 0.01):
        steps = y / unit
        if np.all(np.abs(steps - np.rint(steps)) < 1e-4 * (1 + np.abs(steps))):
            return unit
    return 0.001


def _floats(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(x, dtype=float) for x in arrays)


def _gone(fitted: np.ndarray, actual: np.ndarray, missing: np.ndarray | None) -> np.ndarray:
    gone = ~np.isfinite(fitted) | ~np.isfinite(actual)
    return gone if missing is None else gone | np.asarray(missing, dtype=bool)


def _chunks(n_series: int, cells: int) -> list[slice]:
    step = max(1, _CHUNK // max(cells, 1))
    return [slice(i, min(i + step, n_series)) for i in range(0, n_series, step)]


def _pools(level: np.ndarray) -> np.ndarray:
    """Number the pool of each series: bands of similar mean, about 40 series each."""
    n_pools = max(1, min(12, len(level) // 40))
    ranks = np.argsort(np.argsort(level, kind="stable"), kind="stable")
    return ranks * n_pools // len(level)


def _pit_bounds(
    fitted: np.ndarray, actual: np.ndarray, gone: np.ndarray, size: np.ndarray, unit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cumulative probability below and up to each outcome, shape (n_series, n_origins, h)."""
    y = np.where(gone, 0.0, np.rint(actual / unit))
    f = np.maximum(np.where(gone, 1.0, fitted / unit), 1e-2)
    a = size[:, :, None]
    p = a / (a + f)
    hi = special.betainc(a, y + 1, p)
    lo = np.where(y > 0, special.betainc(a, np.maximum(y, 1), p), 0.0)
    return lo.astype(np.float32), hi.astype(np.float32)


def _vector_level(lo: np.ndarray, hi: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """What the known days of a vector say about its unknown days, shape (n_series, n_origins, 2).

    One-factor model of a vector's normal scores, z_d = sqrt(rho) L + sqrt(1 - rho) e_d, with rho
    from the products of neighbouring days: mean and standard deviation of an unknown day.
    """
    middle = special.ndtri(np.clip((lo + hi) / 2, 1e-4, 1 - 1e-4))
    middle = np.where(gone, 0.0, middle)
    known = ~gone
    pairs = known[..., 1:] & known[..., :-1]
    squares = (middle**2).sum() / max(known.sum(), 1)
    products = (middle[..., 1:] * middle[..., :-1]).sum() / max(pairs.sum(), 1)
    # Of the squares of true normal scores, not of mid-ranks, which are narrower for slow movers.
    rho = float(np.clip(products, 0.0, 0.9)) if squares > 0 else 0.0
    n = known.sum(axis=2)
    weight = rho / (1 - rho + n * rho)
    mean = weight * middle.sum(axis=2)
    sd = np.sqrt(np.clip(1 - rho * n * weight, 1e-6, None))
    return np.stack([mean, sd], axis=2)


def _mixing_weights(origins: np.ndarray, n_origins: int, rng: np.random.Generator) -> np.ndarray:
    """Weights over origins that fill the gaps between a few of them, shape (n_paths, n_origins).

    A weighted sum of residual vectors has their covariance. Weights have length one, sum to zero
    and leave out the path's own origin: otherwise the scale of all scores of a path would vary
    together, and with skewed demand that is a shock shared by every series.
    """
    weights = rng.standard_normal((len(origins), n_origins))
    if n_origins < 4:
        return weights
    own = np.zeros(weights.shape, dtype=bool)
    own[np.arange(len(origins)), origins] = True
    weights -= np.where(own, 0, weights).sum(axis=1, keepdims=True) / (n_origins - 1)
    weights[own] = 0.0
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def _scores(
    lo: np.ndarray,
    hi: np.ndarray,
    gone: np.ndarray,
    level: np.ndarray,
    origins: np.ndarray,
    mix: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Normal scores of the paths, shape (n_series, h, n_paths): resampled, then smoothed."""
    n_series, n_origins, h = lo.shape
    n_paths = len(origins)
    if n_origins == 0:
        return rng.standard_normal((n_series, h, n_paths))
    fill = level[..., :1] + level[..., 1:] * rng.standard_normal(lo.shape)
    once = lo + (hi - lo) * rng.random(lo.shape)
    once = np.where(gone, fill, special.ndtri(np.clip(once, 1e-6, 1 - 1e-6)))
    kernel = np.tensordot(once, mix.astype(once.dtype), axes=(1, 1))
    taken = lo[:, origins]
    # A fresh position within the jump of each path's count: it is not part of the residual.
    drawn = taken + (hi[:, origins] - taken) * rng.random(taken.shape, dtype=np.float32)
    drawn = special.ndtri(np.clip(drawn, 1e-6, 1 - 1e-6))
    drawn = np.where(gone[:, origins], fill[:, origins], drawn)
    smooth = _SMOOTH if n_origins >= 4 else 0.0
    return np.sqrt(1 - smooth**2) * drawn.transpose(0, 2, 1) + smooth * kernel


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
