"""Load M5 as a panel: sales, prices and events merged, days before launch dropped."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from civstats.data.covariates import category, code_dtype
from civstats.data.m5.calendar import Calendar, read_calendar
from civstats.data.m5.prices import read_prices
from civstats.data.m5.sales import Keys, Sales, read_sales
from civstats.data.m5.select import Choice, best_sellers, select_rows
from civstats.data.m5.source import CALENDAR, PRICES, open_source
from civstats.schema import (
    DS,
    EVENTS,
    ID,
    PRICE,
    SNAP,
    STATIC,
    DataError,
    Y,
    check_h,
    validate_panel,
)

log = logging.getLogger(__name__)


def load_m5(
    path: str | Path,
    *,
    stores: Choice = None,
    states: Choice = None,
    departments: Choice = None,
    items: Choice = None,
    top: int | None = None,
    last_days: int | None = None,
) -> pd.DataFrame:
    """Load M5 sales with prices, events and attributes as a validated panel.

    An item's first price week in a store is its launch: earlier days are not zeros but nothing,
    and get no rows; a series launched after the file's end is left out. A later week without a price keeps its days, with a missing price. (M5 itself
    has no such week, and no sales before a launch; files in which an item sells before its first
    price week are refused.)

    Parameters
    ----------
    path : str or pathlib.Path
        The Kaggle zip, the folder it unzips to, or a folder that holds the zip. The evaluation
        sales file is read if it is there, else the validation file; ``panel.attrs["source"]``
        and the log say which.
    stores, states, departments, items : str or sequence of str, optional
        Keep only these (``"CA_1"``, ``"CA"``, ``"FOODS_3"``, ``"FOODS_3_090"``); together they
        narrow the choice.
    top : int, optional
        Of the series chosen, keep those that sold most units over the days loaded; ties go by
        name.
    last_days : int, optional
        Keep only the last days of the file.

    Returns
    -------
    pandas.DataFrame
        One row per series and day from launch on, sorted: ``unique_id`` (item and store), ``ds,
        y, price``, two events a day and their types ("none" for no event), ``snap`` (of the
        store's state), and ``item_id, dept_id, cat_id, store_id, state_id``.

    Raises
    ------
    DataError
        Files that are missing, damaged or not M5's; unknown names; a selection without series.

    Examples
    --------
    >>> panel = load_m5("m5-forecasting-accuracy.zip", stores="CA_1", top=10)  # doctest: +SKIP
    """
    source = open_source(path)
    wanted = {"store_id": stores, "state_id": states, "dept_id": departments, "item_id": items}

    def choose(keys: Keys) -> np.ndarray:
        return select_rows(keys, wanted)

    sales = read_sales(source, choose)
    calendar = read_calendar(source)
    first = _first_day(sales, calendar)
    skip = 0 if last_days is None else len(sales.days) - _check_last_days(last_days, sales)
    if top is not None:
        totals = sales.units[:, skip:].sum(axis=1, dtype=np.int64)
        sales = sales.take(best_sellers(sales.ids, totals, top))
    prices = read_prices(source, calendar, sales.keys["item_id"], sales.keys["store_id"])
    launch = _launch_days(sales, calendar, prices, first)
    offered = np.flatnonzero(launch < len(sales.days))
    if len(offered) < len(launch):
        log.info("%d series launch after %s: left out", len(launch) - len(offered), sales.days[-1])
        sales, prices, launch = sales.take(offered), prices[offered], launch[offered]
    panel = _panel(sales, calendar, prices, first, np.maximum(launch, skip))
    del sales, prices
    panel = validate_panel(panel, copy=False)
    panel.attrs["source"] = source.sales
    log.info("%s of %s: %s rows", source.sales, source.path, f"{len(panel):,}")
    return panel


def load_future(path: str | Path, panel: pd.DataFrame, *, h: int = 28) -> pd.DataFrame:
    """Load the covariates known for the `h` days after the end of an M5 panel.

    Parameters
    ----------
    path : str or pathlib.Path
        As for :func:`load_m5`.
    panel : pandas.DataFrame
        From :func:`load_m5`, or a part of it; its last day is the forecast's origin.
    h : int
        Days ahead. The calendar reaches 28 days beyond the evaluation file.

    Returns
    -------
    pandas.DataFrame
        A row per series of the panel and day ahead, with the columns of the panel but for sales.

    Raises
    ------
    DataError
        If the calendar does not reach so far, or the panel lacks the columns that name item,
        store and state.
    """
    h = check_h(h)
    missing = [c for c in (ID, DS, *STATIC) if c not in panel.columns]
    if missing:
        raise DataError(f"the panel lacks column(s) {', '.join(missing)}; take it from load_m5")
    source = open_source(path)
    calendar = read_calendar(source)
    origin = panel[DS].max()
    first = int(calendar.dates.searchsorted(origin)) + 1
    if origin not in calendar.dates or first + h > len(calendar.dates):
        raise DataError(
            f"{CALENDAR} in {source.path} covers {calendar.dates[0].date()} to "
            f"{calendar.dates[-1].date()}, not the {h} day(s) after {origin.date()}; "
            "lower h or cut the panel"
        )
    series = panel.drop_duplicates(ID)[[ID, *STATIC]]
    keys = {c: series[c].astype(str).to_numpy(dtype=object) for c in STATIC}
    prices = read_prices(source, calendar, keys["item_id"], keys["store_id"])
    days = slice(first, first + h)
    rows = np.repeat(np.arange(len(series)), h)
    columns: dict[str, object] = {
        ID: series[ID].array.take(rows),
        DS: np.tile(calendar.dates[days].to_numpy(), len(series)),
        PRICE: prices[:, calendar.week[days]].ravel(),
    }
    for c in EVENTS:
        columns[c] = category(
            np.tile(calendar.events[c][days], len(series)), calendar.event_categories[c]
        )
    columns[SNAP] = np.concatenate([calendar.snap_of(s)[days] for s in keys["state_id"]])
    for c in STATIC:
        columns[c] = series[c].array.take(rows)
    return pd.DataFrame(columns, copy=False)


def _check_last_days(last_days: int, sales: Sales) -> int:
    whole = isinstance(last_days, (int, np.integer)) and not isinstance(last_days, bool)
    if not whole or not 1 <= last_days <= len(sales.days):
        raise DataError(
            f"last_days must be a whole number from 1 to the file's {len(sales.days)} days, "
            f"but got {last_days!r}"
        )
    return int(last_days)


def _first_day(sales: Sales, calendar: Calendar) -> int:
    """Return the calendar's position of the first sales column; the others must follow."""
    try:
        first = calendar.labels.index(sales.days[0])
    except ValueError:
        first = len(calendar.labels)
    if calendar.labels[first : first + len(sales.days)] != sales.days:
        raise DataError(
            f"{CALENDAR} does not hold the days {sales.days[0]} .. {sales.days[-1]} of the sales "
            "file in order; the files do not belong together"
        )
    return first


def _launch_days(sales: Sales, calendar: Calendar, prices: np.ndarray, first: int) -> np.ndarray:
    """Return the sales column of each series' first day on offer, shape (n_series,)."""
    n_days = len(sales.days)
    first_week = (~np.isnan(prices)).argmax(axis=1)
    launch = np.searchsorted(calendar.week[first : first + n_days], first_week)
    early = np.array([sales.units[i, :k].any() for i, k in enumerate(launch)])
    if early.any():
        raise DataError(
            f"{int(early.sum())} series sell before their first price week, first "
            f"{sales.ids[int(np.argmax(early))]}; {PRICES} and the sales file do not belong together"
        )
    if (launch == n_days).all():
        raise DataError("no series is launched within the days of the sales file; widen the choice")
    return launch


def _panel(
    sales: Sales, calendar: Calendar, prices: np.ndarray, first: int, launch: np.ndarray
) -> pd.DataFrame:
    """Lay the matrices out in rows, without the days before each series' launch."""
    days = slice(first, first + len(sales.days))
    rows = len(sales.days) - launch
    ends = np.cumsum(rows)
    n = int(ends[-1])
    dates, week = calendar.dates.to_numpy()[days], calendar.week[days]
    ds, y = np.empty(n, dates.dtype), np.empty(n, np.float32)
    price, snap = np.empty(n, np.float32), np.empty(n, bool)
    # What differs by day, and what by series; codes in the type in which pandas keeps them.
    daily = {c: calendar.events[c][days] for c in EVENTS}
    fixed = {ID: _encode(sales.ids)} | {c: _encode(sales.keys[c]) for c in STATIC}
    codes = {c: np.empty(n, x.dtype) for c, x in daily.items()}
    codes |= {c: np.empty(n, x.dtype) for c, (x, _) in fixed.items()}
    from_days = [(codes[c], x) for c, x in daily.items()]
    from_series = [(codes[c], x.tolist()) for c, (x, _) in fixed.items()]
    states = sales.keys["state_id"]
    by_state = {s: calendar.snap_of(s)[days] for s in set(states)}
    # Series by series: short copies that stay in the processor's cache, no index per row.
    for i, (b, m, k) in enumerate(zip(ends.tolist(), rows.tolist(), launch.tolist(), strict=True)):
        a = b - m
        ds[a:b] = dates[k:]
        y[a:b] = sales.units[i, k:]
        price[a:b] = prices[i, week[k:]]
        snap[a:b] = by_state[states[i]][k:]
        for target, values in from_days:
            target[a:b] = values[k:]
        for target, value in from_series:
            target[a:b] = value[i]
    names = calendar.event_categories | {c: x for c, (_, x) in fixed.items()}
    columns: dict[str, object] = {ID: category(codes[ID], names[ID]), DS: ds, Y: y, PRICE: price}
    columns |= {c: category(codes[c], names[c]) for c in EVENTS}
    columns[SNAP] = snap
    columns |= {c: category(codes[c], names[c]) for c in STATIC}
    return pd.DataFrame(columns, copy=False)


def _encode(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Code names by their place in alphabetical order."""
    names, codes = np.unique(values.astype(str), return_inverse=True)
    return codes.astype(code_dtype(len(names))), names.tolist()
