"""Histories for models that cannot skip a day: stockout days filled from the same series' past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import DS, Y, series_index, stockout_days

LAST = 4
"""How many earlier in-stock values of the same day of the season an imputed value averages."""


@dataclass(frozen=True)
class Histories:
    """The histories of all series, one after another, as a per-series model sees them.

    Attributes
    ----------
    ids : pandas.Index, shape (n_series,)
    sales : numpy.ndarray, shape (n_rows,), float64
        Sales, with stockout days filled where the treatment asks for it.
    observed : numpy.ndarray, shape (n_rows,), bool
        False on filled days: they are no outcome to compare a forecast with.
    starts, ends : numpy.ndarray, shape (n_series,)
        Series i is ``sales[starts[i]:ends[i]]``; it is empty if the series was never in stock.
    last : numpy.ndarray, shape (n_series,), datetime64[ns]
        Last day of each series.
    imputation : str
        What was filled and how, for a reader.
    """

    ids: pd.Index
    sales: np.ndarray
    observed: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    last: np.ndarray
    imputation: str


def histories(panel: pd.DataFrame, treatment: str, season_length: int) -> Histories:
    """Read the histories off a validated panel under ``ignore`` or ``mask``.

    Under ``mask`` a stockout day takes the mean of the last four in-stock values that the series
    had before it on the same day of the season (the same weekday, if ``season_length`` is 7);
    without any, the mean of all in-stock values before it; a history starts at its first in-stock
    day. Nothing of a stockout day's own sales or stock enters, and nothing of the days after it.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated panel that ends at the cutoff.
    treatment : {"ignore", "mask"}
    season_length : int
        Periods per season, 7 for days in weeks.
    """
    index = series_index(panel)
    values = panel[Y].to_numpy(dtype=np.float64, copy=True)
    last = panel[DS].to_numpy()[index.ends - 1]
    if treatment != "mask":
        text = "none: sales are taken for demand on every day"
        seen = np.ones(len(values), dtype=bool)
        return Histories(index.ids, values, seen, index.starts, index.ends, last, text)
    out = stockout_days(panel)
    in_stock_before = np.r_[0, np.cumsum(~out)]
    first = np.searchsorted(in_stock_before, in_stock_before[index.starts], side="right") - 1
    starts = np.minimum(first, index.ends)
    kept = np.arange(len(values)) >= np.repeat(starts, index.lengths)
    rows = np.flatnonzero(out & kept)
    filled, by_season = _fill(values, out, index.codes(), index.starts, rows, season_length)
    values[rows] = filled
    values[~kept] = 0.0
    never = int((starts == index.ends).sum())
    text = _say(len(values), int(out.sum()), len(rows), int(by_season.sum()), never, season_length)
    return Histories(index.ids, values, ~out & kept, starts, index.ends, last, text)


def _fill(
    values: np.ndarray,
    out: np.ndarray,
    codes: np.ndarray,
    begins: np.ndarray,
    rows: np.ndarray,
    season_length: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the imputed value of each of `rows`, and whether its day of the season gave it."""
    phase = (np.arange(len(values)) - begins[codes]) % season_length
    group = codes * season_length + phase
    # Values are gathered one by one, not differenced from a running sum: the result then depends
    # on those values alone, to the last bit, and not on the other series in the panel.
    ranked = np.argsort(group, kind="stable")
    order = ranked[~out[ranked]]
    sorted_group = group[order]
    # In-stock rows of the same group that come before the row; `order` keeps time within a group.
    begin = np.searchsorted(sorted_group, group[rows], side="left")
    position = np.empty(len(values), dtype=np.int64)
    position[ranked] = np.cumsum(~out[ranked]) - ~out[ranked]
    end = position[rows]
    total = np.zeros(len(rows))
    count = np.zeros(len(rows), dtype=np.int64)
    for back in range(1, LAST + 1):
        at = end - back
        has = at >= begin
        total[has] += values[order[at[has]]]
        count += has
    by_season = count > 0
    clean = pd.Series(np.where(out, 0.0, values))
    sums = clean.groupby(codes).cumsum().to_numpy()
    counts = pd.Series(~out).groupby(codes).cumsum().to_numpy()
    # The first kept day of a history is in stock, so an earlier in-stock day always exists.
    general = sums[rows] / np.maximum(counts[rows], 1)
    return np.where(by_season, total / np.maximum(count, 1), general), by_season


def _say(n: int, out: int, filled: int, by_season: int, never: int, season_length: int) -> str:
    if not out:
        return "none: the history holds no stockout day"
    day = "weekday" if season_length == 7 else "period of the season"
    parts = [
        f"{filled} stockout day(s), {filled / n:.1%} of the history, filled from the series' own "
        f"past: {by_season} with the mean of the last {LAST} in-stock values of the same {day}, "
        f"{filled - by_season} with the mean of all earlier in-stock days"
    ]
    if out > filled:
        parts.append(f"{out - filled} before the first in-stock day left out")
    if never:
        parts.append(f"{never} series never in stock, forecast as 0")
    return "; ".join(parts)
