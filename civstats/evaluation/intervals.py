"""Scores of prediction intervals: coverage, width, pinball and Winkler; the coverage a model expects."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from civstats.evaluation.distributions import DrawRows, NegBinRows, components
from civstats.evaluation.metric import Metric, View
from civstats.schema import ForecastError

_CHUNK = 32_000_000


def _ends(lo: ArrayLike, hi: ArrayLike, *others: ArrayLike) -> list[np.ndarray]:
    arrays = [np.asarray(x, dtype=float) for x in (lo, hi, *others)]
    if len({x.shape for x in arrays}) > 1:
        raise ForecastError(f"shapes differ: {', '.join(str(x.shape) for x in arrays)}")
    bad = ~np.logical_and.reduce([np.isfinite(x) for x in arrays])
    if bad.any():
        raise ForecastError(
            f"{int(bad.sum())} value(s) missing or infinite, first at {bad.argmax()}"
        )
    if (arrays[0] > arrays[1]).any():
        raise ForecastError(
            f"{int((arrays[0] > arrays[1]).sum())} interval(s) end before they begin"
        )
    return arrays


def coverage(actual: ArrayLike, lo: ArrayLike, hi: ArrayLike) -> float:
    """Share of actuals inside the closed interval [lo, hi]; NaN without rows.

    Counts are discrete: the true model's nominal 80 % interval covers more than 80 %. Hold the
    observed share against `expected_coverage`, not against the nominal level alone.

    Raises
    ------
    ForecastError
        If a value is missing or infinite, the shapes differ, or an interval is inverted.

    Examples
    --------
    >>> coverage([1, 5], [0, 0], [3, 3])
    0.5
    """
    low, high, a = _ends(lo, hi, actual)
    return float(((low <= a) & (a <= high)).mean()) if a.size else float("nan")


def width(lo: ArrayLike, hi: ArrayLike) -> float:
    """Mean width of the intervals, units; NaN without rows.

    Raises
    ------
    ForecastError
        If a value is missing or infinite, the shapes differ, or an interval is inverted.

    Examples
    --------
    >>> width([0, 1], [3, 2])
    2.0
    """
    low, high = _ends(lo, hi)
    return float((high - low).mean()) if low.size else float("nan")


def pinball(actual: ArrayLike, quantile: ArrayLike, probability: float) -> np.ndarray:
    """Return the pinball (quantile) loss of each row, not doubled.

    Examples
    --------
    >>> pinball([3.0, 1.0], [2.0, 2.0], 0.75)
    array([0.75, 0.25])
    """
    gap = np.asarray(actual, dtype=float) - np.asarray(quantile, dtype=float)
    return np.maximum(probability * gap, (probability - 1) * gap)


def winkler_rows(actual: ArrayLike, lo: ArrayLike, hi: ArrayLike, level: float) -> np.ndarray:
    """Return each row's interval score: width, and misses at 2 / (1 - level) each unit.

    Winkler (1972); proper for the central interval of that level (Gneiting and Raftery 2007).

    Parameters
    ----------
    actual, lo, hi : array_like, shape (n,)
    level : float
        Percent.

    Examples
    --------
    >>> winkler_rows([1.0, 5.0], [0.0, 0.0], [3.0, 3.0], 80)
    array([ 3., 23.])
    """
    low, high, a = _ends(lo, hi, actual)
    miss = np.maximum(low - a, 0) + np.maximum(a - high, 0)
    return high - low + miss * 2 / (1 - level / 100)


def expected_coverage(paths: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """P(lo <= D <= hi) under a model's own predictive paths.

    Parameters
    ----------
    paths : numpy.ndarray, shape (n_series, n_samples, h)
        Draws of demand, units.
    lo, hi : numpy.ndarray, shape (n_series, h)
        Ends of the interval; NaN where there is no forecast.

    Returns
    -------
    numpy.ndarray, shape (n_series, h)
        Share of the samples inside, NaN where `lo` is NaN. Where the ends are quantiles of these
        very samples the share is too high by order 1 / n_samples.

    Raises
    ------
    ForecastError
        If the shapes do not agree or a path is missing or infinite.

    Examples
    --------
    >>> expected_coverage(np.array([[[0.0], [1.0], [2.0], [9.0]]]), np.zeros((1, 1)), np.full((1, 1), 2.0))
    array([[0.75]])
    """
    n_series, n_samples, h = paths.shape
    if lo.shape != (n_series, h) or hi.shape != (n_series, h):
        raise ForecastError(f"paths have shape {paths.shape}, the interval's ends {lo.shape}")
    out = np.empty((n_series, h))
    step = max(1, _CHUNK // max(1, n_samples * h))
    for start in range(0, n_series, step):
        part = slice(start, start + step)
        if not np.isfinite(paths[part]).all():
            raise ForecastError("paths hold missing or infinite values")
        rows = DrawRows(paths[part].transpose(0, 2, 1).reshape(-1, n_samples))
        out[part] = rows.inside(lo[part].ravel(), hi[part].ravel()).reshape(-1, h)
    return out


def expected_marginal_coverage(
    marginal: pd.DataFrame, lo: np.ndarray, hi: np.ndarray
) -> np.ndarray:
    """P(lo <= D <= hi) under a model's own marginal distributions, exactly.

    Parameters
    ----------
    marginal : pandas.DataFrame
        ``unique_id, ds, family, mean, dispersion``, rectangular, sorted by series and time. A
        mixture has the same number of rows for every day, next to each other, and a ``weight``.
    lo, hi : numpy.ndarray, shape (n_series, h)
        Ends of the interval; NaN where there is no forecast.

    Returns
    -------
    numpy.ndarray, shape (n_series, h)

    Raises
    ------
    ForecastError
        For a family other than ``negbin``, or shapes that do not agree.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"unique_id": "a", "ds": 0, "family": "negbin", "mean": 5.0, "dispersion": 2.0}
    >>> low, high = np.ones((1, 1)), np.full((1, 1), 11.0)
    >>> expected_marginal_coverage(pd.DataFrame([row]), low, high).round(4)
    array([[0.8403]])
    """
    rows = NegBinRows(*components(marginal, lo.size))
    return rows.inside(lo.ravel(), hi.ravel()).reshape(lo.shape)


def _covered(view: View) -> np.ndarray:
    return ((view.lo <= view.actual) & (view.actual <= view.hi)).astype(float)


def _width(view: View) -> np.ndarray:
    distance: np.ndarray = view.hi - view.lo
    return distance


def _tail(view: View) -> float:
    assert view.level is not None
    return (1 - view.level / 100) / 2


def _pinball(view: View) -> np.ndarray:
    tail = _tail(view)
    below, above = pinball(view.actual, view.lo, tail), pinball(view.actual, view.hi, 1 - tail)
    mean: np.ndarray = (below + above) / 2
    return mean


def _winkler(view: View) -> np.ndarray:
    return winkler_rows(view.actual, view.lo, view.hi, view.level or 80.0)


INTERVALS = (
    Metric("coverage", _covered, by_level=True),
    Metric("width", _width, by_level=True),
    Metric("winkler", _winkler, by_level=True),
    Metric("pinball", _pinball, by_level=True),
)
"""The table of interval scores, each computed at every level. `pinball` is the mean pinball loss of
the interval's two ends, `winkler` the same thing in units of width: 4 / (1 - level) times it."""
