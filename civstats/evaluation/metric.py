"""What a score is here: a sum over forecast rows divided by another, then perhaps a root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from civstats.evaluation.distributions import Distribution

Part = Literal["mean", "median", "lo", "hi"]
Kind = Literal["plain", "censored"]
Scale = Literal["squared", "seasonal"]


@dataclass(frozen=True)
class View:
    """The rows of one regime as a metric sees them: the target and one model's forecasts.

    Attributes
    ----------
    actual : numpy.ndarray, shape (n,)
        The regime's target, units per day.
    window : numpy.ndarray, shape (n,), int
        Number of the row's series and cutoff, so that totals over the horizon can be formed.
    n_windows : int
        One more than the largest possible `window`.
    read : callable
        ``read(part, level)`` returns a forecast column on these rows, shape (n,).
    level : float, optional
        Level of the interval being scored, percent.
    scale : callable, optional
        ``scale(which)`` returns what the row's errors are scaled by, NaN where unknown, (n,).
    distribution : Distribution, optional
        The model's predictive distributions on these rows.
    stock : numpy.ndarray, shape (n,), optional
        Units that could have been sold; NaN where unknown.
    is_censored : numpy.ndarray of bool, shape (n,), optional
        Whether demand is known only to have been at least `actual`.
    """

    actual: np.ndarray
    window: np.ndarray
    n_windows: int
    read: Callable[[Part, float | None], np.ndarray]
    level: float | None = None
    scale: Callable[[Scale], np.ndarray] | None = None
    distribution: Distribution | None = None
    stock: np.ndarray | None = None
    is_censored: np.ndarray | None = None

    @property
    def mean(self) -> np.ndarray:
        """The mean forecast, shape (n,)."""
        return self.read("mean", None)

    @property
    def median(self) -> np.ndarray:
        """The median forecast, shape (n,)."""
        return self.read("median", None)

    @property
    def lo(self) -> np.ndarray:
        """Lower end of the interval, shape (n,)."""
        return self.read("lo", self.level)

    @property
    def hi(self) -> np.ndarray:
        """Upper end of the interval, shape (n,)."""
        return self.read("hi", self.level)


@dataclass(frozen=True)
class Metric:
    """A row of the metric table.

    Because every score is a ratio of sums over rows, pooling, cutoffs and resampling are
    written once, for all of them.

    Attributes
    ----------
    name : str
    errors : callable
        From a `View` to the numerator's part of each row, shape (n,).
    per : {"rows", "units"}
        Divide by the number of rows, or by the sum of the target.
    root : bool
        Take the square root of the ratio.
    by_level : bool
        Scored once for each interval level.
    unit : {"row", "window"}
        What `n` counts: rows, or totals over a series' window.
    kind : {"plain", "censored"}
        Whether it takes the target for what it is, or a stockout day's sales for a bound.
    scaled_by : {"squared", "seasonal"}, optional
        Rows without that scale are left out.
    needs : {"distribution", "family", "stock"}
        What it cannot be had without, beyond the forecast's columns.
    rewards_mean : bool
        Whether it is the mean that does best, which heavy censoring leaves unidentified.
    """

    name: str
    errors: Callable[[View], np.ndarray]
    per: Literal["rows", "units"] = "rows"
    root: bool = False
    by_level: bool = False
    unit: Literal["row", "window"] = "row"
    kind: Kind = "plain"
    scaled_by: Scale | None = None
    needs: frozenset[str] = frozenset()
    rewards_mean: bool = False

    def finish(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        """Divide (nothing by nothing, or by zero sales, is undefined: NaN) and take the root."""
        out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
        np.divide(numerator, denominator, out=out, where=denominator > 0)
        return np.sqrt(out) if self.root else out


def weights(window: np.ndarray, n_windows: int) -> np.ndarray:
    """Return one over the number of rows of each row's window, shape (n,).

    Examples
    --------
    >>> weights(np.array([0, 0, 2]), 3)
    array([0.5, 0.5, 1. ])
    """
    share: np.ndarray = 1 / np.maximum(np.bincount(window, minlength=n_windows), 1)[window]
    return share


def split_root(part: np.ndarray, window: np.ndarray, n_windows: int) -> np.ndarray:
    """Split the root of each window's mean over its rows, to first order.

    A window's rows have the root for their plain mean, exactly, and move with their own part as
    the root does: so a mean of roots is a mean over rows, and days can be resampled.

    Parameters
    ----------
    part : numpy.ndarray, shape (n,)
        Not negative.
    window : numpy.ndarray of int, shape (n,)
    n_windows : int

    Returns
    -------
    numpy.ndarray, shape (n,)

    Examples
    --------
    >>> float(split_root(np.array([1.0, 17.0]), np.zeros(2, dtype=int), 1).mean())
    3.0
    """
    count = np.maximum(np.bincount(window, minlength=n_windows), 1)
    mean = (np.bincount(window, weights=part, minlength=n_windows) / count)[window]
    root = np.sqrt(mean)
    out = np.zeros(len(root))
    np.divide(part - mean, 2 * root, out=out, where=root > 0)
    return np.asarray(root + out)
