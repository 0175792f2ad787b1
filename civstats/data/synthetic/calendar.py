"""The synthetic world's calendar: price weeks, holidays and SNAP days, by rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd
from dateutil.easter import EASTER_ORTHODOX, easter

from civstats.schema import NO_EVENT

_SATURDAY = 2  # 1970-01-03, in days since 1970-01-01: price weeks begin on Saturdays, as in M5


def _nth(month: int, weekday: int, n: int) -> Callable[[int], date]:
    """Return the rule "n-th weekday of a month" (n = -1: the last)."""

    def rule(year: int) -> date:
        if n > 0:
            first = date(year, month, 1)
            return first + timedelta((weekday - first.weekday()) % 7 + 7 * (n - 1))
        last = date(year + month // 12, month % 12 + 1, 1) - timedelta(1)
        return last - timedelta((last.weekday() - weekday) % 7)

    return rule


def _fixed(month: int, day: int) -> Callable[[int], date]:
    return lambda year: date(year, month, day)


_EVENTS: tuple[tuple[str, str, Callable[[int], date]], ...] = (
    ("NewYear", "National", _fixed(1, 1)),
    ("MartinLutherKingDay", "National", _nth(1, 0, 3)),
    ("SuperBowl", "Sporting", _nth(2, 6, 1)),
    ("ValentinesDay", "Cultural", _fixed(2, 14)),
    ("PresidentsDay", "National", _nth(2, 0, 3)),
    ("StPatricksDay", "Cultural", _fixed(3, 17)),
    ("Easter", "Cultural", easter),
    ("OrthodoxEaster", "Religious", lambda year: easter(year, EASTER_ORTHODOX)),
    ("Cinco De Mayo", "Cultural", _fixed(5, 5)),
    ("Mother's day", "Cultural", _nth(5, 6, 2)),
    ("MemorialDay", "National", _nth(5, 0, -1)),
    ("Father's day", "Cultural", _nth(6, 6, 3)),
    ("NBAFinalsEnd", "Sporting", _nth(6, 6, 3)),
    ("IndependenceDay", "National", _fixed(7, 4)),
    ("LaborDay", "National", _nth(9, 0, 1)),
    ("ColumbusDay", "National", _nth(10, 0, 2)),
    ("Halloween", "Cultural", _fixed(10, 31)),
    ("VeteransDay", "National", _fixed(11, 11)),
    ("Thanksgiving", "National", _nth(11, 3, 4)),
    ("Christmas", "National", _fixed(12, 25)),
)

NAMES = (NO_EVENT, *sorted(name for name, _, _ in _EVENTS))
TYPES = (NO_EVENT, *sorted({kind for _, kind, _ in _EVENTS}))

_SNAP = (  # days of the month, as in M5's California, Texas and Wisconsin
    (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    (1, 3, 5, 6, 7, 9, 11, 12, 13, 15),
    (2, 3, 5, 6, 8, 9, 11, 12, 14, 15),
)


@dataclass(frozen=True)
class Calendar:
    """Days with what is known about them.

    Attributes
    ----------
    days : pandas.DatetimeIndex, shape (n_days,)
    week : numpy.ndarray, shape (n_days,)
        Number of the price week, from 0.
    names, types : numpy.ndarray, shape (2, n_days)
        Codes into ``NAMES`` and ``TYPES`` of the first and the second event of a day.
    snap : numpy.ndarray, shape (n_states, n_days), bool
    """

    days: pd.DatetimeIndex
    week: np.ndarray
    names: np.ndarray
    types: np.ndarray
    snap: np.ndarray


def make_calendar(start: pd.Timestamp, n_days: int, n_states: int) -> Calendar:
    """Build the calendar of `n_days` days from `start`."""
    days = pd.date_range(start, periods=n_days, freq="D")
    ordinal = days.to_numpy().astype("datetime64[D]").astype(np.int64)
    week = (ordinal - _SATURDAY) // 7
    names = np.zeros((2, n_days), dtype=np.int8)
    types = np.zeros((2, n_days), dtype=np.int8)
    for year in range(days[0].year, days[-1].year + 1):
        for name, kind, rule in _EVENTS:
            t = (pd.Timestamp(rule(year)) - start).days
            if 0 <= t < n_days:
                slot = int(names[0, t] > 0)
                names[slot, t] = NAMES.index(name)
                types[slot, t] = TYPES.index(kind)
    # States beyond the third pay out on the days of one before them, shifted.
    dates = [(np.add(_SNAP[k % 3], k // 3) - 1) % 28 + 1 for k in range(n_states)]
    snap = np.stack([np.isin(days.day, d) for d in dates])
    return Calendar(days, week - week[0], names, types, snap)
