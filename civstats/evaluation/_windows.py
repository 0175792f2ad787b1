"""Whether the forecast windows are whole: holes are refused, what is unequal is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.schema import DS, ID, ForecastError

if TYPE_CHECKING:
    from civstats.evaluation.alignment import Alignment


def refuse_gaps(aligned: Alignment, calendar: np.ndarray) -> None:
    """Raise where no series has a forecast for a day inside a window.

    Parameters
    ----------
    aligned : Alignment
    calendar : numpy.ndarray of datetime64, shape (n,)
        Days between the first and the last forecast one on which a forecast series has an actual.

    Raises
    ------
    ForecastError
        If such a day lies between the first and the last of a window.
    """
    days = aligned.days.to_numpy()
    lost: list[tuple[np.datetime64, int]] = []
    for k in range(len(aligned.cutoffs)):
        mine = days[aligned.column_day[aligned.column_cutoff == k]]
        inside = calendar[(calendar > mine[0]) & (calendar < mine[-1])]
        lost += [(day, k) for day in np.setdiff1d(inside, mine)]
    if lost:
        day, k = lost[0]
        raise ForecastError(
            f"{len(lost)} day(s) inside a window without a forecast of any series (first "
            f"{pd.Timestamp(day).date()}, cutoff {aligned.cutoffs[k].date()}): forecast the whole "
            "window, or score its parts one at a time"
        )


def window_remarks(aligned: Alignment, panel: pd.DataFrame) -> np.ndarray:
    """Say what is unequal between windows, pooled first, then by cutoff, shape (1 + n_cutoffs,).

    A series may be launched or delisted, and the last window may be cut short: that is no mistake,
    but the pooled score then weighs cutoffs, days ahead and series unequally. Empty where nothing is.

    Parameters
    ----------
    aligned : Alignment
    panel : pandas.DataFrame
        With the days before the cutoffs.
    """
    n_series, n_cutoffs = len(aligned.ids), len(aligned.cutoffs)
    said: list[list[str]] = [[] for _ in range(1 + n_cutoffs)]
    length = np.bincount(aligned.column_cutoff, minlength=n_cutoffs)
    if len(np.unique(length)) > 1:
        said[0].append(f"windows are unequal: {length.min()} to {length.max()} days")
    begin = _periods_to_first(aligned, panel)
    if len(np.unique(begin)) > 1:
        said[0].append(f"windows begin {begin.min()} to {begin.max()} periods after their cutoff")
    rows = np.bincount(aligned.series * n_cutoffs + aligned.cutoff, minlength=n_series * n_cutoffs)
    rows = rows.reshape(n_series, n_cutoffs)
    absent, cut = rows == 0, (rows > 0) & (rows < length)
    able = absent & _could(aligned, panel, absent) if absent.any() else absent
    parts = [(said[0], slice(None), "at some cutoff")]
    parts += [(said[1 + k], slice(k, k + 1), "here") for k in range(n_cutoffs)]
    for words, which, where in parts:
        n, m, short = (int(x[:, which].any(axis=1).sum()) for x in (absent, able, cut))
        if n:
            whole = f", {m} of them though the panel has its history and window" if m else ""
            words.append(f"{n} of {n_series} series without a forecast {where}{whole}")
        if short:
            words.append(f"{short} of {n_series} series without sales on some days of a window")
    return np.array(["; ".join(words) for words in said], dtype=object)


def _periods_to_first(aligned: Alignment, panel: pd.DataFrame) -> np.ndarray:
    """Return how many of the panel's periods each window begins after its cutoff, (n_cutoffs,)."""
    calendar = np.sort(panel[DS].unique())
    starts = np.flatnonzero(np.diff(aligned.column_cutoff, prepend=-1))
    first = aligned.days.to_numpy()[aligned.column_day[starts]]
    after = np.searchsorted(calendar, aligned.cutoffs.to_numpy(), side="right")
    begin: np.ndarray = np.searchsorted(calendar, first) - after + 1
    return begin


def _could(aligned: Alignment, panel: pd.DataFrame, absent: np.ndarray) -> np.ndarray:
    """Mark series and cutoffs with history before the cutoff and a row on every day after it."""
    some = aligned.ids[np.flatnonzero(absent.any(axis=1))]
    part = panel.loc[panel[ID].isin(some), [ID, DS]]
    series = pd.Index(aligned.ids).get_indexer(pd.Index(part[ID].astype(object)))
    ds, days = part[DS].to_numpy(), aligned.days.to_numpy()
    out = np.zeros(absent.shape, dtype=bool)
    for k in np.flatnonzero(absent.any(axis=0)):
        window = days[aligned.column_day[aligned.column_cutoff == k]]
        held, known = (
            np.bincount(series[take], minlength=len(absent))
            for take in (np.isin(ds, window), ds <= aligned.cutoffs.to_numpy()[k])
        )
        out[:, k] = (held == len(window)) & (known > 0)
    return out
