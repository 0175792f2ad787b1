"""How much of what stockouts cost a forecast a treatment wins back: the gap closed, with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from civstats.evaluation.alignment import number_ids
from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import DS, ID, CivstatsError, PanelError, check_level


class WorldSums:
    """Sums over the scored days of one world, once as they are and under bootstrap weights.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``unique_id, ds`` of the scored rows of one window; values come in the same order.
    n_boot : int
        Replicates over series and days.
    seed : int or numpy.random.Generator
        Worlds with series and days of their own take seeds of their own; worlds that differ only in
        their stockouts share one, since they share what is resampled.
    block : int
        Consecutive days that are resampled together.

    Raises
    ------
    PanelError
        If a series and day stand there twice.

    Examples
    --------
    >>> rows = pd.DataFrame({"unique_id": ["a", "a", "b", "b"],
    ...     "ds": pd.to_datetime(["2024-01-01", "2024-01-02"] * 2)})
    >>> sums = WorldSums(rows, n_boot=10, seed=0, block=1)
    >>> sums(np.array([1.0, 2.0, 3.0, 4.0])).shape, float(sums(np.ones(4))[0])
    ((11,), 4.0)
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        *,
        n_boot: int = 500,
        seed: int | np.random.Generator = 0,
        block: int = 7,
    ) -> None:
        series = np.unique(number_ids(rows[ID])[0], return_inverse=True)[1]
        day = np.unique(rows[DS].to_numpy(), return_inverse=True)[1]
        if not len(rows):
            raise PanelError("there are no rows to score")
        cell = series * (int(day.max()) + 1) + day
        repeated = len(cell) - len(np.unique(cell))
        if repeated:
            raise PanelError(f"{repeated} row(s) repeat a series and date; score each day once")
        days = np.arange(int(day.max()) + 1)
        self._bootstrap = TwoWayBootstrap(
            series,
            day,
            int(series.max()) + 1,
            days,
            np.zeros_like(days),
            n_boot=n_boot,
            seed=seed,
            block=block,
        )

    def __call__(self, values: ArrayLike) -> np.ndarray:
        """Return the sum of one value per row under every replicate, shape (1 + n_boot,)."""
        x = np.asarray(values, dtype=float)
        if x.shape != self._bootstrap.cell.shape or not np.isfinite(x).all():
            raise CivstatsError(
                f"expected {len(self._bootstrap.cell)} finite values, one a row, but got shape "
                f"{x.shape} with {int((~np.isfinite(x)).sum())} missing or infinite"
            )
        return self._bootstrap.sums(x, self._bootstrap.cell)[:, 0]


@dataclass(frozen=True)
class Estimate:
    """A figure with the interval of its replicates; NaN where it is undefined."""

    value: float
    lo: float
    hi: float

    @property
    def identified(self) -> bool:
        """Whether the figure is defined."""
        return bool(np.isfinite(self.value))


@dataclass(frozen=True)
class GapClosed(Estimate):
    """The share of the gap between ``ignore`` and the oracle that a treatment closes.

    Attributes
    ----------
    gap : Estimate
        loss_ignore - loss_oracle, the denominator.
    """

    gap: Estimate


def pool(worlds: Sequence[Mapping[str, np.ndarray]], name: str) -> np.ndarray:
    """Add up one sum over worlds, replicate by replicate.

    Replicate k of the total takes replicate k of every world: worlds whose weights were drawn from
    seeds of their own are resampled independently.

    Raises
    ------
    CivstatsError
        If there is no world, or one lacks the sum.

    Examples
    --------
    >>> pool([{"loss": np.array([1.0, 2.0])}, {"loss": np.array([3.0, 5.0])}], "loss")
    array([4., 7.])
    """
    lacking = sum(name not in world for world in worlds)
    if not worlds or lacking:
        raise CivstatsError(f"{lacking} of {len(worlds)} world(s) lack the sum {name!r}")
    return np.sum([world[name] for world in worlds], axis=0)


def ratio(top: np.ndarray, bottom: np.ndarray, *, confidence: float = 95) -> Estimate:
    """Divide two pooled sums, with an interval; undefined where the divisor is not clearly positive.

    The interval holds every ratio r for which 0 lies in the percentile interval of top - r bottom:
    Fieller's set (1954, "Some problems in interval estimation", Journal of the Royal Statistical
    Society B 16), with replicates in the place of his normal and t. Where all replicates of the
    divisor are positive, that is the percentile interval of their ratios. A replicate whose divisor
    is not positive has no ratio; left out, it would make the interval too narrow, whereas top - r
    bottom still says on which side of r it stands.

    Parameters
    ----------
    top, bottom : numpy.ndarray, shape (1 + n_boot,)
        From :func:`pool`; entry 0 is the sum itself.
    confidence : float
        Percent.

    Returns
    -------
    Estimate
        NaN where the divisor is not positive, or so many of its replicates are not that Fieller's
        set has no end: then any ratio would do. Without replicates a value with no interval.

    Raises
    ------
    CivstatsError
        If the sums differ in their number of replicates.

    Examples
    --------
    >>> ratio(np.array([1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0]))
    Estimate(value=0.5, lo=0.5, hi=0.5)
    >>> ratio(np.array([1.0, 1.0, 1.0]), np.array([2.0, 4.0, -1.0])).identified
    False
    """
    (confidence,) = check_level(confidence)
    x, y = np.asarray(top, dtype=float), np.asarray(bottom, dtype=float)
    if x.shape != y.shape:
        raise CivstatsError(
            f"sums have shapes {x.shape} and {y.shape}; sum them under the same replicates"
        )
    if not y[0] > 0:
        return Estimate(np.nan, np.nan, np.nan)
    value = float(x[0] / y[0])
    if len(x) == 1:
        return Estimate(value, np.nan, np.nan)
    # Less a hair, lest rounding ask for one replicate more than the share.
    least = (100 - confidence) / 200 * (len(x) - 1) - 1e-9
    lo, hi = _lower_end(x[1:], y[1:], least), -_lower_end(-x[1:], y[1:], least)
    if not np.isfinite([lo, hi]).all():
        return Estimate(np.nan, np.nan, np.nan)
    return Estimate(value, lo, hi)


def _lower_end(top: np.ndarray, bottom: np.ndarray, least: float) -> float:
    """Return the least r for which `least` replicates have top - r bottom <= 0; -inf where any r will do."""
    up, down = bottom > 0, bottom < 0
    rises = np.sort(top[up] / bottom[up])
    falls = np.sort(top[down] / bottom[down])
    always = int(((bottom == 0) & (top <= 0)).sum())
    if always + len(falls) >= least:
        return -np.inf
    # With r a replicate of positive divisor comes in at its own ratio, one of negative goes out.
    left = len(falls) - np.searchsorted(falls, rises, side="left")
    enough = always + left + np.arange(1, len(rises) + 1) >= least
    return float(rises[np.argmax(enough)]) if enough.any() else np.inf


def gap_closed(
    loss_ignore: np.ndarray,
    loss: np.ndarray,
    loss_oracle: np.ndarray,
    *,
    confidence: float = 95,
) -> GapClosed:
    """Return (loss_ignore - loss) / (loss_ignore - loss_oracle), with a paired interval.

    1 is a treatment as good as knowing demand, 0 one as bad as taking sales for demand; a loss
    above that of ``ignore`` is negative. All three losses are summed under the same bootstrap
    weights, so what they share cancels.

    Parameters
    ----------
    loss_ignore, loss, loss_oracle : numpy.ndarray, shape (1 + n_boot,)
        Pooled sums of squared errors; entry 0 is the sum itself.
    confidence : float
        Percent.

    Returns
    -------
    GapClosed
        NaN, and not identified, where the interval of loss_ignore - loss_oracle is not wholly above
        zero: with nothing to win back, the share won back is noise over noise. The interval of the
        share is that of :func:`ratio`.

    Raises
    ------
    CivstatsError
        If the losses differ in their number of replicates.

    Examples
    --------
    >>> ignore, censor, oracle = np.full(101, 9.0), np.full(101, 2.0), np.full(101, 1.0)
    >>> gap_closed(ignore, censor, oracle).value
    0.875
    >>> gap_closed(oracle, oracle, oracle).identified
    False
    """
    if not np.shape(loss_ignore) == np.shape(loss) == np.shape(loss_oracle):
        raise CivstatsError(
            f"losses have shapes {np.shape(loss_ignore)}, {np.shape(loss)} and "
            f"{np.shape(loss_oracle)}; sum them under the same replicates"
        )
    gap = _estimate(loss_ignore - loss_oracle, confidence)
    if not gap.lo > 0:
        return GapClosed(np.nan, np.nan, np.nan, gap)
    share = ratio(loss_ignore - loss, loss_ignore - loss_oracle, confidence=confidence)
    return GapClosed(share.value, share.lo, share.hi, gap)


def _estimate(replicates: np.ndarray, confidence: float) -> Estimate:
    """Percentile interval of a sum; without replicates there is none."""
    (confidence,) = check_level(confidence)
    value = float(replicates[0])
    if len(replicates) == 1:
        return Estimate(value, np.nan, np.nan)
    tail = (1 - confidence / 100) / 2
    lo, hi = np.quantile(replicates[1:], [tail, 1 - tail])
    return Estimate(value, float(lo), float(hi))
