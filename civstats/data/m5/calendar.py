"""M5's calendar: dates, price weeks, events and SNAP days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.data.covariates import code_dtype
from civstats.data.m5.parse import parse
from civstats.data.m5.source import CALENDAR, Source
from civstats.schema import EVENTS, NO_EVENT, DataError

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Calendar:
    """What is known about each day.

    Attributes
    ----------
    dates : pandas.DatetimeIndex, shape (n_days,)
    labels : list of str
        ``d_1, d_2, ...``.
    week : numpy.ndarray, shape (n_days,)
        Position of the day's price week among `weeks`.
    weeks : numpy.ndarray, shape (n_weeks,)
        M5's week numbers (``wm_yr_wk``), increasing.
    events : dict of str to numpy.ndarray, shape (n_days,)
        Codes of the four event columns.
    event_categories : dict of str to list of str
        What they code: "none" first; the same for first and second event of a day.
    snap : dict of str to numpy.ndarray of bool, shape (n_days,)
        By state.
    """

    dates: pd.DatetimeIndex
    labels: list[str]
    week: np.ndarray
    weeks: np.ndarray
    events: dict[str, np.ndarray]
    event_categories: dict[str, list[str]]
    snap: dict[str, np.ndarray]

    def snap_of(self, state: str) -> np.ndarray:
        """SNAP days of a state.

        Raises
        ------
        DataError
            If the calendar has no column for it.
        """
        if state not in self.snap:
            raise DataError(f"{CALENDAR} lacks column snap_{state}; add it, or leave {state} out")
        return self.snap[state]


def read_calendar(source: Source) -> Calendar:
    """Read the calendar.

    Raises
    ------
    DataError
        Missing column, dates or weeks that cannot be read, days that skip or repeat.
    """
    where = f"{CALENDAR} in {source.path}"
    frame = parse(source.read(CALENDAR), where, ("date", "d", "wm_yr_wk", *EVENTS))
    if frame.is_empty():
        raise DataError(f"{where} has no rows; download it again")
    text = pd.Series(frame["date"].to_list(), dtype=object)
    dates = pd.DatetimeIndex(pd.to_datetime(text, format="%Y-%m-%d", errors="coerce"))
    if dates.isna().any():
        i = int(np.argmax(dates.isna()))
        raise DataError(
            f"{where}: {text[i]!r} in line {i + 2} is not a date; write it as 2011-01-29"
        )
    steps = np.flatnonzero(np.diff(dates.to_numpy()) != np.timedelta64(1, "D"))
    if steps.size:
        raise DataError(
            f"{where}: days skip or repeat {steps.size} time(s), first after "
            f"{dates[steps[0]].date()}; mend the file or download it again"
        )
    numbers = pd.to_numeric(pd.Series(frame["wm_yr_wk"].to_list()), errors="coerce")
    if numbers.isna().any() or not numbers.is_monotonic_increasing:
        raise DataError(
            f"{where}: wm_yr_wk must hold week numbers that never fall; download it again"
        )
    weeks, week = np.unique(numbers.to_numpy(dtype=np.int64), return_inverse=True)
    codes: dict[str, np.ndarray] = {}
    categories: dict[str, list[str]] = {}
    for pair in (EVENTS[0::2], EVENTS[1::2]):
        used = {x for c in pair for x in frame[c].drop_nulls().to_list()}
        names = [NO_EVENT, *sorted(used - {NO_EVENT})]
        for c in pair:
            codes[c] = _codes(frame[c], names)
            categories[c] = names
    return Calendar(
        dates=dates,
        labels=frame["d"].to_list(),
        week=week,
        weeks=weeks,
        events=codes,
        event_categories=categories,
        snap={
            c.removeprefix("snap_"): (frame[c] == "1").fill_null(False).to_numpy()
            for c in frame.columns
            if c.startswith("snap_")
        },
    )


def _codes(column: pl.Series, names: list[str]) -> np.ndarray:
    code = {x: k for k, x in enumerate(names)}
    return np.array([0 if x is None else code[x] for x in column.to_list()], code_dtype(len(names)))
