"""Histories for models that cannot skip a day: stockout days filled from the same series' past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import DS, SeriesIndex, Y, series_index, stockout_days, treated_sales

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
    outcome : numpy.ndarray, shape (n_rows,), float64
        What a forecast of the day is compared with; NaN where nothing is.
    bound : numpy.ndarray, shape (n_rows,), bool
        Where the outcome is a lower bound of demand.
    share : numpy.ndarray, shape (n_rows,), float64
        Share of the day that the outcome belongs to.
    starts, ends : numpy.ndarray, shape (n_series,)
        Series i is ``sales[starts[i]:ends[i]]``; it is empty if the series was never in stock.
    last : numpy.ndarray, shape (n_series,), datetime64[ns]
        Last day of each series.
    imputation : str
        What was filled and how, for a reader.
    """

    ids: pd.Index
    sales: np.ndarray
    outcome: np.ndarray
    bound: np.ndarray
    share: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    last: np.ndarray
    imputation: str

    @property
    def observed(self) -> np.ndarray:
        """Rows whose sales are demand, shape (n_rows,), bool."""
        return np.isfinite(self.outcome) & ~self.bound & (self.share == 1)


def histories(
    panel: pd.DataFrame,
    treatment: str,
    season_length: int,
    demand: np.ndarray | None = None,
) -> Histories:
    """Read the histories off a validated panel.

    Under ``mask`` a stockout day takes the mean of the last four in-stock values that the series
    had before it on the same day of the season (the same weekday, if ``season_length`` is 7);
    without any, the mean of all in-stock values before it; a history starts at its first in-stock
    day. Nothing of a stockout day's own sales or stock enters, and nothing of the days after it.

    Under ``censor`` a stockout day takes what the demand filter expects its demand to have been,
    given its sales and the days before it; a history starts at the first day that says anything.
    A series without such a day keeps the filter's prior.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated panel that ends at the cutoff.
    treatment : {"ignore", "mask", "censor"}
    season_length : int
        Periods per season, 7 for days in weeks.
    demand : numpy.ndarray, shape (n_rows,), optional
        From :func:`civstats.features.history.filtered_demand`; under ``censor`` alone.
    """
    index = series_index(panel)
    values = panel[Y].to_numpy(dtype=np.float64, copy=True)
    last = panel[DS].to_numpy()[index.ends - 1]
    nowhere, whole = np.zeros(len(values), dtype=bool), np.ones(len(values))
    if demand is not None:
        return _censored(panel, index, demand, last)
    if treatment != "mask":
        text = "none: sales are taken for demand on every day"
        return Histories(
            index.ids, values, values, nowhere, whole, index.starts, index.ends, last, text
        )
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
    outcome = np.where(out | ~kept, np.nan, values)
    return Histories(index.ids, values, outcome, nowhere, whole, starts, index.ends, last, text)


def _censored(
    panel: pd.DataFrame, index: SeriesIndex, demand: np.ndarray, last: np.ndarray
) -> Histories:
    sales, exposure, bound = treated_sales(panel, "censor")
    says = np.isfinite(sales)
    before = np.r_[0, np.cumsum(says)]
    first = np.searchsorted(before, before[index.starts], side="right") - 1
    never = first >= index.ends
    starts = np.where(never, index.starts, first)
    out = int(stockout_days(panel).sum())
    text = "none: the history holds no stockout day"
    if out:
        text = (
            f"{out} stockout day(s), {out / len(sales):.1%} of the history, take the demand filter's "
            "expectation given their sales and the days before them"
        )
    if never.any():
        text += f"; {int(never.sum())} series say nothing on any day: the prior of the filter"
    share = np.where(bound | ~says, 1.0, exposure)
    values, outcome = demand.astype(np.float64), sales.astype(np.float64)
    return Histories(index.ids, values, outcome, bound, share, starts, index.ends, last, text)


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
