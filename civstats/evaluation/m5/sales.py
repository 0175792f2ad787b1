"""A long panel as the matrix M5's scores are made of: sales by day, and what the last days earned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import (
    DS,
    ID,
    PRICE,
    STATIC,
    CivstatsError,
    PanelError,
    series_index,
)

WEIGHT_DAYS = 28
_DAY = np.timedelta64(1, "D").astype("timedelta64[ns]")


@dataclass(frozen=True)
class Sales:
    """Sales of every series that exists at the cutoff.

    Attributes
    ----------
    series : pandas.DataFrame
        ``unique_id`` and the static attributes the panel has, a row per series.
    days : pandas.DatetimeIndex, shape (n_days,)
        From the panel's first day to the cutoff.
    history : numpy.ndarray, shape (n_series, n_days), float32
        Zero before a series' first day.
    window : numpy.ndarray, shape (n_series, h), float32, optional
        The days after the cutoff; None where the panel does not hold them all.
    dollars : numpy.ndarray, shape (n_series,)
        Units times price over the last 28 days of the history.
    n_later : int
        Series left out because they begin after the cutoff.
    """

    series: pd.DataFrame
    days: pd.DatetimeIndex
    history: np.ndarray
    window: np.ndarray | None
    dollars: np.ndarray
    n_later: int


def read_sales(panel: pd.DataFrame, cutoff: pd.Timestamp, h: int, target: str) -> Sales:
    """Read a validated daily panel.

    Raises
    ------
    PanelError
        For missing columns, sales that are missing, gaps, a series that ends before the days that
        are scored, fewer than 28 days up to the cutoff, or a day with sales but without a price.
    """
    missing = [c for c in (ID, DS, target, PRICE) if c not in panel.columns]
    if missing:
        raise PanelError(f"the panel lacks column(s) {', '.join(missing)}")
    if not isinstance(panel[ID].dtype, pd.CategoricalDtype):
        raise PanelError(f"{ID} is not a category: pass the panel through validate_panel first")
    index = series_index(panel)
    stamps = panel[DS].to_numpy().astype("datetime64[ns]", copy=False)
    first, last = stamps.min(), stamps.max()
    cut = np.datetime64(cutoff, "ns")
    n_days = int((cut - first) // _DAY) + 1
    if n_days < WEIGHT_DAYS or cut > last:
        raise PanelError(
            f"{cutoff.date()} is no cutoff for a panel from {pd.Timestamp(first).date()} to "
            f"{pd.Timestamp(last).date()}: the weights need {WEIGHT_DAYS} days up to it"
        )
    begin, end = (
        ((stamps[at] - first) // _DAY).astype(int) for at in (index.starts, index.ends - 1)
    )
    held = last >= cut + h * _DAY
    _check_whole(index.ids, index.lengths, begin, end, n_days + h if held else n_days, first)
    kept = np.flatnonzero(begin < n_days)
    width = n_days + h if held else n_days
    wide = np.zeros((len(kept), width), dtype=np.float32)
    prices = np.full((len(kept), WEIGHT_DAYS), np.nan)
    values, price = panel[target].to_numpy(), panel[PRICE].to_numpy()
    for row, i in enumerate(kept.tolist()):
        start, from_day, to_day = index.starts[i], begin[i], min(end[i] + 1, width)
        wide[row, from_day:to_day] = values[start : start + to_day - from_day]
        early = max(from_day, n_days - WEIGHT_DAYS)
        prices[row, early - n_days :] = price[start + early - from_day : start + n_days - from_day]
    _check_finite(wide, index.ids[kept], target)
    if price.dtype == np.float32:
        # A price of 9.58 is 9.5799999 in single precision: take what was printed.
        prices = np.round(prices, 4)
    static = [c for c in STATIC if c in panel.columns]
    series = panel[[ID, *static]].iloc[index.starts[kept]].reset_index(drop=True)
    return Sales(
        series,
        pd.date_range(first, cutoff, freq="D"),
        wide[:, :n_days],
        wide[:, n_days:] if held else None,
        _dollars(wide[:, n_days - WEIGHT_DAYS : n_days], prices, index.ids[kept]),
        len(index.ids) - len(kept),
    )


def check_cutoff(cutoff: str | pd.Timestamp) -> pd.Timestamp:
    """Return a cutoff as a day.

    Raises
    ------
    CivstatsError
        If it is none.
    """
    try:
        stamp = pd.Timestamp(cutoff)
    except (ValueError, TypeError) as error:
        raise CivstatsError(f"cutoff must be a day, but got {cutoff!r}") from error
    if stamp is pd.NaT or stamp.tz is not None or stamp != stamp.normalize():
        raise CivstatsError(f"cutoff must be a day without a time zone, but got {cutoff!r}")
    return stamp


def _dollars(units: np.ndarray, prices: np.ndarray, ids: pd.Index) -> np.ndarray:
    sold = units > 0
    bare = sold & np.isnan(prices)
    if bare.any():
        i = int(bare.any(axis=1).argmax())
        raise PanelError(
            f"{int(bare.sum())} day(s) with sales but without a price among the last {WEIGHT_DAYS} "
            f"up to the cutoff, first of {ids[i]}; weights are dollars: fill in the prices"
        )
    product = np.zeros(prices.shape)
    np.multiply(units, prices, out=product, where=sold)
    total: np.ndarray = product.sum(axis=1)
    return total


def _check_whole(
    ids: pd.Index,
    lengths: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    needed: int,
    first: np.datetime64,
) -> None:
    gaps = (end - begin + 1 != lengths) | ids.duplicated()
    if gaps.any():
        raise PanelError(
            f"{int(gaps.sum())} series with gaps or out of order, first {ids[int(gaps.argmax())]}; "
            "pass the panel through validate_panel, one row a day"
        )
    short = end < needed - 1
    if short.any():
        day = pd.Timestamp(first) + pd.Timedelta(days=needed - 1)
        raise PanelError(
            f"{int(short.sum())} series end before {day.date()}, first {ids[int(short.argmax())]}; "
            "aggregates need every series: fill in the days or drop the series"
        )


def _check_finite(wide: np.ndarray, ids: pd.Index, target: str) -> None:
    # A sum is not finite if a part is not, and costs no mask of the whole matrix.
    bad = ~np.isfinite(wide.sum(axis=1))
    if bad.any():
        raise PanelError(
            f"{int(bad.sum())} series with {target} missing or infinite, first "
            f"{ids[int(bad.argmax())]}; M5's scores need every day"
        )
