"""Joint sample paths for any mean forecast, from its residual vectors on past origins.

Two parts that are kept apart on purpose. The **marginal** of a series and day is negative binomial
about the forecast mean, its dispersion estimated from the out-of-sample residuals of the series
and shrunk to series of similar mean; it cannot go below zero and its mean is the forecast's. The
**dependence** over days and series is that of whole residual vectors: a path takes one past origin,
the same for all series, and with it the ranks that the outcomes of that origin had in their
predictive distributions (empirical copula; Clark et al. 2004, "The Schaake shuffle"). A year holds
13 vectors of 28 days that do not overlap, too few for the tails of a series' total, so on half of
the paths a series takes the vector of a series of similar mean, still from the path's origin.
Held-out origins on M5 (CA_1, FOODS_3): 28-day totals covered 79 and 93 % (nominal 80 and 95) against
75 and 89 % with own vectors alone; on the synthetic world 83 and 95 % against 80 and 92 %.
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

_LENT = 0.5
"""Share of paths on which a series takes the vector of a neighbour: its own origins are few."""
_DOUBT = 0.2
"""Variance, over the number of origins, of a level error that every path gets of its own: what
estimating dependence from so few origins leaves open."""
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
    order = np.argsort(mean.mean(axis=1), kind="stable")
    lo, hi = pit_bounds(fitted, actual, gone, size, unit, censored)
    lo, hi, gone = _fill(lo, hi, gone, order, rng)
    level = _vector_level(lo, hi, gone)
    for rows in chunks(n_series, n_paths * h):
        if n_origins:
            source = _sources(order, rows, n_paths, rng)
            at = (source, origins)
            doubt = min(_DOUBT / n_origins, 0.05)
            scores = _scores(lo[at], hi[at], gone[at], level[at], doubt, rng)
        else:
            scores = rng.standard_normal((rows.stop - rows.start, h, n_paths))
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


def _fill(
    lo: np.ndarray, hi: np.ndarray, gone: np.ndarray, order: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give a vector without a known day that of a series of similar mean, on the same origin.

    Shocks that all series shared on that origin then reach the series too.
    """
    lost: np.ndarray = np.all(gone, axis=2)
    if not lost.any():
        return lo, hi, gone
    lo, hi, gone = lo.copy(), hi.copy(), gone.copy()
    rank = np.argsort(order)
    for origin in np.flatnonzero(lost.any(axis=0)):
        lenders = order[~lost[order, origin]]
        if len(lenders):
            takers = np.flatnonzero(lost[:, origin])
            near = np.searchsorted(rank[lenders], rank[takers])
            near = near + rng.integers(-_NEIGHBOURS, _NEIGHBOURS + 1, len(takers))
            lender = lenders[np.clip(near, 0, len(lenders) - 1)]
            for x in (lo, hi, gone):
                x[takers, origin] = x[lender, origin]
    return lo, hi, gone


def _sources(order: np.ndarray, rows: slice, n_paths: int, rng: np.random.Generator) -> np.ndarray:
    """Series whose vector a path takes, its own or a neighbour's, shape (n_rows, n_paths)."""
    own = np.arange(rows.start, rows.stop)[:, None]
    shape = (len(own), n_paths)
    step = rng.integers(1, _NEIGHBOURS + 1, shape) * rng.choice([-1, 1], shape)
    near = np.clip(np.argsort(order)[own] + step, 0, len(order) - 1)
    return np.where(rng.random(shape) < _LENT, order[near], own)


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


def _scores(
    lo: np.ndarray,
    hi: np.ndarray,
    gone: np.ndarray,
    level: np.ndarray,
    doubt: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Normal scores of the vectors that paths take, shape (n_series, h, n_paths)."""
    # A fresh position within the jump of each path's count: it is not part of the residual.
    u = lo + (hi - lo) * rng.random(lo.shape, dtype=np.float32)
    scores = special.ndtri(np.clip(u, np.float32(1e-6), np.float32(1 - 1e-6)))
    if gone.any():
        fresh = rng.standard_normal(lo.shape, dtype=np.float32)
        scores = np.where(gone, level[..., :1] + level[..., 1:] * fresh, scores)
    error = rng.standard_normal((*lo.shape[:2], 1), dtype=np.float32)
    return (np.sqrt(1 - doubt) * scores + np.sqrt(doubt) * error).transpose(0, 2, 1)
