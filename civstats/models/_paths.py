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

from civstats.models._negbin import (
    chunks,
    floats,
    negbin_quantile,
    negbin_size,
    pit_bounds,
    sales_unit,
    unusable,
)

_SMOOTH = 0.5
"""Bandwidth of the smoothed bootstrap, in standard deviations of a normal score."""
_NEIGHBOURS = 10
"""Series of similar mean, on either side, that may lend a residual vector."""


def residual_paths(
    mean: np.ndarray,
    fitted: np.ndarray,
    actual: np.ndarray,
    missing: np.ndarray | None,
    n_paths: int,
    rng: np.random.Generator,
    *,
    size: np.ndarray | None = None,
    censored: np.ndarray | None = None,
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
    censored : numpy.ndarray of bool, shape (n_series, n_origins, h), optional
        Where `actual` is a lower bound: the residual lies anywhere above it.

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
    mean, fitted, actual = floats(mean, fitted, actual)
    gone = unusable(fitted, actual, missing)
    unit = sales_unit(actual[~gone])
    if size is None:
        size = negbin_size(mean, fitted, actual, gone, censored)
    n_series, n_origins, h = actual.shape
    paths = np.empty((n_series, n_paths, h), dtype=np.float32)
    if n_paths == 0:
        return paths
    # Every origin equally often: less Monte Carlo error than drawing with replacement.
    origins = rng.permuted(np.arange(n_paths) % max(n_origins, 1))
    mix = _mixing_weights(origins, n_origins, rng)
    lo, hi = pit_bounds(fitted, actual, gone, size, unit, censored)
    lo, hi, gone = _lend(lo, hi, gone, mean.mean(axis=1), rng)
    level = _vector_level(lo, hi, gone)
    for rows in chunks(n_series, n_paths * h):
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
    mean, fitted, actual = floats(mean, fitted, actual)
    gone = unusable(fitted, actual, missing)
    if size is None:
        size = negbin_size(mean, fitted, actual, gone)
    p = np.broadcast_to(np.asarray(probabilities, dtype=float), (*mean.shape, len(probabilities)))
    return negbin_quantile(mean, size, p, sales_unit(actual[~gone]))


def _lend(
    lo: np.ndarray, hi: np.ndarray, gone: np.ndarray, mean: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give a vector without a known day that of a series of similar mean, on the same origin.

    Shocks that all series shared on that origin then reach the series too.
    """
    lost: np.ndarray = np.all(gone, axis=2)
    if not lost.any():
        return lo, hi, gone
    lo, hi, gone = lo.copy(), hi.copy(), gone.copy()
    order = np.argsort(mean, kind="stable")
    for origin in np.flatnonzero(lost.any(axis=0)):
        lenders = order[~lost[order, origin]]
        if len(lenders):
            takers = np.flatnonzero(lost[:, origin])
            near = np.searchsorted(mean[lenders], mean[takers])
            near = near + rng.integers(-_NEIGHBOURS, _NEIGHBOURS + 1, len(takers))
            lender = lenders[np.clip(near, 0, len(lenders) - 1)]
            for x in (lo, hi, gone):
                x[takers, origin] = x[lender, origin]
    return lo, hi, gone


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
    away = gone[:, origins]
    if away.any():
        # Fresh on every path: ties would be broken alike for all series.
        known = level[:, origins]
        fresh = known[..., :1] + known[..., 1:] * rng.standard_normal(drawn.shape)
        drawn = np.where(away, fresh, drawn)
    smooth = _SMOOTH if n_origins >= 4 else 0.0
    return np.sqrt(1 - smooth**2) * drawn.transpose(0, 2, 1) + smooth * kernel
