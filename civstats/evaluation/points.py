"""Scores of point forecasts: WAPE and MASE with the median, RMSE, RMSSE and bias with the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from civstats.evaluation.metric import Metric, Scale, View, split_root, weights
from civstats.schema import ForecastError


def _pair(actual: ArrayLike, forecast: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, f = np.asarray(actual, dtype=float), np.asarray(forecast, dtype=float)
    if a.shape != f.shape:
        raise ForecastError(f"actual has shape {a.shape}, forecast {f.shape}; they must agree")
    bad = ~(np.isfinite(a) & np.isfinite(f))
    if bad.any():
        raise ForecastError(
            f"{int(bad.sum())} value(s) missing or infinite, first at {bad.argmax()}"
        )
    return a, f


def wape(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Weighted absolute percentage error, ``sum |f - a| / sum a``; NaN where nothing was sold.

    Absolute error rewards the median: hand it medians, and never read it without the bias
    (Kolassa 2020, "Why the best point forecast depends on the error or accuracy measure").

    Raises
    ------
    ForecastError
        If a value is missing or infinite, or the shapes differ.

    Examples
    --------
    >>> wape([4, 0], [3, 1])
    0.5
    """
    a, f = _pair(actual, forecast)
    return float(np.abs(f - a).sum() / a.sum()) if a.sum() > 0 else float("nan")


def rmse(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Root mean squared error, units; it rewards the mean. NaN without rows.

    Raises
    ------
    ForecastError
        If a value is missing or infinite, or the shapes differ.

    Examples
    --------
    >>> rmse([1, 1], [4, 4])
    3.0
    """
    a, f = _pair(actual, forecast)
    return float(np.sqrt(np.square(f - a).mean())) if a.size else float("nan")


def bias(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Relative bias, ``sum (f - a) / sum a``, of mean forecasts; NaN where nothing was sold.

    Raises
    ------
    ForecastError
        If a value is missing or infinite, or the shapes differ.

    Examples
    --------
    >>> bias([4, 0], [3, 2])
    0.25
    """
    a, f = _pair(actual, forecast)
    return float((f - a).sum() / a.sum()) if a.sum() > 0 else float("nan")


def _absolute(view: View) -> np.ndarray:
    error: np.ndarray = np.abs(view.median - view.actual)
    return error


def _absolute_total(view: View) -> np.ndarray:
    """Split |total error| of each window over its days.

    A day's part is its error times the sign of its window's total error. The parts add up to
    the absolute total error exactly, and make it a sum over days, so that days can be resampled
    (to first order: the sign is held).
    """
    error = view.mean - view.actual
    total = np.bincount(view.window, weights=error, minlength=view.n_windows)
    part: np.ndarray = np.sign(total)[view.window] * error
    return part


def _signed(view: View) -> np.ndarray:
    error: np.ndarray = view.mean - view.actual
    return error


def _squared(view: View) -> np.ndarray:
    error: np.ndarray = np.square(view.mean - view.actual)
    return error


def _over(view: View, which: Scale, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide errors by their rows' scale; rows without one get 0 and are told apart."""
    assert view.scale is not None
    scale = view.scale(which)
    held = np.isfinite(scale)
    out = np.zeros(len(errors))
    np.divide(errors, scale, out=out, where=held)
    return out, held


def _scaled_absolute(view: View) -> np.ndarray:
    return _over(view, "seasonal", np.abs(view.median - view.actual))[0]


def _root_scaled_squared(view: View) -> np.ndarray:
    part, held = _over(view, "squared", np.square(view.mean - view.actual))
    out = np.zeros(len(part))
    window = view.window[held]
    # Windows weigh the same, whatever their number of days.
    out[held] = split_root(part[held], window, view.n_windows) * weights(window, view.n_windows)
    return out


POINTS = (
    Metric("wape", _absolute, per="units"),
    Metric("wape_total", _absolute_total, per="units", unit="window", rewards_mean=True),
    Metric("rmse", _squared, root=True, rewards_mean=True),
    Metric("bias", _signed, per="units", rewards_mean=True),
    Metric("mase", _scaled_absolute, scaled_by="seasonal"),
    Metric("rmsse", _root_scaled_squared, unit="window", scaled_by="squared", rewards_mean=True),
)
"""The table of point scores: a row here adds one to every score frame."""
