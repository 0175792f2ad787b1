"""What a score is here: a sum over forecast rows divided by another, then perhaps a root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Part = Literal["mean", "median", "lo", "hi"]


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
    """

    actual: np.ndarray
    window: np.ndarray
    n_windows: int
    read: Callable[[Part, float | None], np.ndarray]
    level: float | None = None

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
    """

    name: str
    errors: Callable[[View], np.ndarray]
    per: Literal["rows", "units"] = "rows"
    root: bool = False
    by_level: bool = False
    unit: Literal["row", "window"] = "row"

    def finish(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        """Divide (nothing by nothing, or by zero sales, is undefined: NaN) and take the root."""
        out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
        np.divide(numerator, denominator, out=out, where=denominator > 0)
        return np.sqrt(out) if self.root else out
