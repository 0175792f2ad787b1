"""What the calendar and the price tag say about a day, before anything is sold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import DS, EVENTS, NO_EVENT, PRICE, PROMO, SNAP, series_index

_NO_EVENT = (NO_EVENT, "", "nan", "None")
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True)
class TradeCalendar:
    """Days on which more is sold than usual, each of shape (n_rows,), bool."""

    promo: np.ndarray
    event: np.ndarray
    weekend: np.ndarray


def trade_calendar(panel: pd.DataFrame) -> TradeCalendar:
    """Mark promotions, events and weekends."""
    return TradeCalendar(promotions(panel), events(panel), weekdays(panel) >= 5)


def weekdays(panel: pd.DataFrame) -> np.ndarray:
    """Day of the week, Monday 0, shape (n_rows,), int8."""
    day, first_weekday = _days(panel)
    table = ((np.arange(day.max() + 1) + first_weekday) % 7).astype(np.int8)
    return table[day]


def _days(panel: pd.DataFrame) -> tuple[np.ndarray, int]:
    """Number each row's day from the panel's first, and give the weekday of that first day."""
    day = panel[DS].to_numpy().view("int64") // _DAY_NS
    first = int(day.min())
    return (day - first).astype(np.int32), (first + 3) % 7


def events(panel: pd.DataFrame) -> np.ndarray:
    """Mark days with a named event, shape (n_rows,), bool."""
    marked = np.zeros(len(panel), dtype=bool)
    for column in EVENTS[::2]:
        if column in panel.columns:
            names = panel[column]
            if not isinstance(names.dtype, pd.CategoricalDtype):
                names = names.astype("category")
            real = ~names.cat.categories.astype(str).isin(_NO_EVENT)
            # Code -1, a missing name, reads the extra last entry.
            marked |= np.r_[real, False][names.cat.codes.to_numpy()]
    return marked


def promotions(panel: pd.DataFrame, *, cut: float = 0.05, memory: float = 1 / 56) -> np.ndarray:
    """Mark promotions: the promo column, else prices `cut` below the item's usual past price.

    Parameters
    ----------
    panel : pandas.DataFrame
        A validated panel.
    cut : float
        Share of the usual price that a day must be below it.
    memory : float
        Weight of a new day in the usual price, an exponential average of past days.

    Returns
    -------
    numpy.ndarray, shape (n_rows,), bool
    """
    if PROMO in panel.columns:
        return np.nan_to_num(panel[PROMO].to_numpy(dtype=np.float32)) > 0
    if PRICE not in panel.columns:
        return np.zeros(len(panel), dtype=bool)
    from civstats.stockouts.simulate.draws import price_cuts

    index = series_index(panel)
    return price_cuts(
        index.starts.astype(np.int64), index.ends.astype(np.int64), panel[PRICE].to_numpy(),
        cut, memory,
    )  # fmt: skip


def promise(panel: pd.DataFrame, demand: np.ndarray) -> np.ndarray:
    """Say how much more than usual a day promises to sell, from its weekday and SNAP alone.

    Factors come from the panel's past: on day t from daily totals before t, shrunk towards 1, so
    neither that day's demand nor anything later has a part in them.

    Parameters
    ----------
    panel : pandas.DataFrame
        A validated panel.
    demand : numpy.ndarray, shape (n_rows,)

    Returns
    -------
    numpy.ndarray, shape (n_rows,), float32
        1 is an ordinary day.
    """
    day, first_weekday = _days(panel)
    n_days = int(day.max()) + 1
    weekday = (np.arange(n_days) + first_weekday) % 7
    total, count = np.bincount(day, demand, n_days), np.bincount(day, minlength=n_days)
    by_weekday = np.ones(n_days)
    for w in range(7):
        by_weekday += np.where(weekday == w, _past_ratio(total, count, weekday == w) - 1, 0)
    factor = by_weekday.astype(np.float32)[day]
    if SNAP in panel.columns:
        snap = np.nan_to_num(panel[SNAP].to_numpy(dtype=np.float32)) > 0
        on, n_on = (
            np.bincount(day[snap], demand[snap], n_days),
            np.bincount(day[snap], None, n_days),
        )
        factor[snap] *= _ratio(on, n_on, total, count).astype(np.float32)[day[snap]]
    return factor


def _past_ratio(total: np.ndarray, count: np.ndarray, days: np.ndarray) -> np.ndarray:
    return _ratio(np.where(days, total, 0), np.where(days, count, 0), total, count)


def _ratio(
    part: np.ndarray, n_part: np.ndarray, total: np.ndarray, count: np.ndarray
) -> np.ndarray:
    """Mean over a part of all earlier days against the mean over all of them, shrunk towards 1."""
    before = [np.r_[0, np.cumsum(x)[:-1]].astype(float) for x in (part, n_part, total, count)]
    units, rows, all_units, all_rows = before
    usual = np.divide(all_units, all_rows, out=np.zeros(len(units)), where=all_rows > 0)
    # Four ordinary days of prior weight, so that one odd day does not make a profile.
    prior = 4 * count.mean()
    expected = usual * (rows + prior)
    return np.divide(units + prior * usual, expected, out=np.ones(len(units)), where=expected > 0)
