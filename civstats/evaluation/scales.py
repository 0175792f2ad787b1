"""What errors are scaled by: how much a series itself changes before the cutoff."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.evaluation.alignment import Alignment, number_ids
from civstats.schema import DS, ID, CivstatsError


def one_step_changes(y: np.ndarray) -> tuple[float, float]:
    """Return mean absolute and mean squared change between consecutive days from the first sale on.

    Parameters
    ----------
    y : numpy.ndarray, shape (n_days,)
        Sales up to the cutoff.

    Returns
    -------
    absolute, squared : float
        NaN where fewer than two days are left, or where nothing changes.

    Examples
    --------
    >>> one_step_changes([0, 0, 2, 1, 4])
    (2.0, 5.0)
    """
    y = np.asarray(y, dtype=float)
    sold = np.flatnonzero(y)
    change = np.diff(y[sold[0] :]) if len(sold) else np.empty(0)
    if not change.any():
        return float("nan"), float("nan")
    return float(np.abs(change).mean()), float(np.square(change).mean())


def seasonal_change(y: np.ndarray, season_length: int) -> float:
    """Return the mean absolute change from one season to the next, NaN where it is 0 or unknown.

    The in-sample error of the seasonal naive forecast (Hyndman and Koehler 2006).

    Examples
    --------
    >>> seasonal_change([1, 5, 2, 7], 2)
    1.5
    """
    y = np.asarray(y, dtype=float)
    change = y[season_length:] - y[:-season_length]
    return float(np.abs(change).mean()) if change.any() else float("nan")


def scales(
    panel: pd.DataFrame, target: str, aligned: Alignment, season_length: int = 7
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the scales of every series at every cutoff.

    Parameters
    ----------
    panel : pandas.DataFrame
        With the days before the cutoffs.
    target : str
        Column whose changes are measured.
    aligned : Alignment
        Series and cutoffs.
    season_length : int
        Periods of a season.

    Returns
    -------
    absolute, squared : numpy.ndarray, shape (n_series, n_cutoffs)
        Of one-step changes since the first sale.
    seasonal : numpy.ndarray, same shape
        Mean absolute change over a season.
    """
    codes, categories = number_ids(panel[ID])
    place = pd.Index(aligned.ids).get_indexer(categories)[codes]
    rows = np.flatnonzero(place >= 0)
    days = panel[DS].to_numpy()
    step = np.diff(place[rows])
    if (step < 0).any() or ((step == 0) & (np.diff(days[rows]) < np.timedelta64(0))).any():
        rows = rows[np.lexsort((days[rows], place[rows]))]
    held = panel[target].to_numpy()
    cut = aligned.cutoffs.to_numpy()
    starts = np.searchsorted(place[rows], np.arange(len(aligned.ids) + 1))
    out = np.full((3, len(aligned.ids), len(cut)), np.nan)
    for i in range(len(aligned.ids)):
        mine = rows[starts[i] : starts[i + 1]]
        y = held[mine].astype(float)
        for k, end in enumerate(np.searchsorted(days[mine], cut, side="right")):
            out[:2, i, k] = one_step_changes(y[:end])
            out[2, i, k] = seasonal_change(y[:end], season_length)
    return out[0], out[1], out[2]


def check_season(length: int) -> int:
    """Return a season's length, refused if it is no whole number of periods.

    Raises
    ------
    CivstatsError
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise CivstatsError(
            f"season_length must be a whole number of periods, 1 or more, but got {length!r}"
        )
    return length
