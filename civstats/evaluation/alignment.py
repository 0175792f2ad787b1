"""Joins forecasts to the actuals of a panel, row by row, and refuses what does not match."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.evaluation._windows import refuse_gaps
from civstats.evaluation.metric import Part
from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    ForecastError,
    PanelError,
    level_columns,
    parse_alias,
    quantile_column,
)


@dataclass(frozen=True)
class Alignment:
    """Forecast rows in canonical order (series, cutoff, day) and where their actuals are.

    A *column* is one day of one cutoff's window; columns are sorted by cutoff, then day.

    Attributes
    ----------
    series, column : numpy.ndarray, shape (n,), int
        Number of each row's series (panel order) and column.
    position : numpy.ndarray, shape (n,), int
        Row of the panel that holds the actual.
    cutoffs : pandas.DatetimeIndex, shape (n_cutoffs,)
    days : pandas.DatetimeIndex, shape (n_days,)
    column_cutoff, column_day : numpy.ndarray, shape (n_columns,), int
    ids : pandas.Index, shape (n_series,)
    names : tuple of str
        Columns ``{Model}_{treatment}`` found in the forecasts.
    """

    forecasts: pd.DataFrame
    order: np.ndarray | None
    series: np.ndarray
    column: np.ndarray
    position: np.ndarray
    cutoffs: pd.DatetimeIndex
    days: pd.DatetimeIndex
    column_cutoff: np.ndarray
    column_day: np.ndarray
    ids: pd.Index
    names: tuple[str, ...]

    @property
    def cutoff(self) -> np.ndarray:
        """Number of each row's cutoff, shape (n,)."""
        cutoff: np.ndarray = self.column_cutoff[self.column]
        return cutoff

    def where(self, row: int) -> str:
        """Name a row for an error message."""
        day = self.days[self.column_day[self.column[row]]]
        return f"{self.ids[self.series[row]]} on {day.date()}"

    def read(self, name: str, part: Part, level: float | None = None) -> np.ndarray:
        """Return a model's forecast column in canonical order, float64, shape (n,).

        Raises
        ------
        ForecastError
            If the column is absent, or a value is missing or infinite.
        """
        if part == "mean":
            column = name
        elif part == "median":
            column = quantile_column(name, 0.5)
        else:
            lo, hi = level_columns(name, 80.0 if level is None else level)
            column = lo if part == "lo" else hi
        if column not in self.forecasts.columns:
            mend = (
                "ask for other metrics" if part == "median" else "ask for other levels or metrics"
            )
            raise ForecastError(f"the forecasts lack column {column}: rerun the backtest or {mend}")
        raw = self.forecasts[column]
        if not pd.api.types.is_numeric_dtype(raw):
            raise ForecastError(f"forecast column {column} must be numeric, but is {raw.dtype}")
        values = raw.to_numpy(dtype=float, na_value=np.nan)
        if self.order is not None:
            values = values[self.order]
        finite = np.isfinite(values)
        if not finite.all():
            raise ForecastError(
                f"{int((~finite).sum())} row(s) of {column} missing or infinite (first "
                f"{self.where(int(np.argmin(finite)))}): a forecast is scored whole or not at all"
            )
        return values


def align(forecasts: pd.DataFrame, panel: pd.DataFrame) -> Alignment:
    """Join a wide forecast frame to a validated panel on series and day.

    Raises
    ------
    ForecastError
        For missing columns, unknown series, repeated rows, days not after their cutoff, days
        without an actual, or days of a window that have an actual but no forecast, be it of one
        series or of all.
    PanelError
        If the panel repeats a series and day.
    """
    names = _names(forecasts)
    if forecasts.empty:
        raise ForecastError("the forecasts have no rows")
    series, ids, panel_series = _number_series(forecasts[ID], panel[ID])
    cutoff, cutoffs = _number_dates(forecasts, CUTOFF)
    day, days = _number_dates(forecasts, DS)
    early = days.to_numpy()[day] <= cutoffs.to_numpy()[cutoff]
    if early.any():
        i = int(early.argmax())
        raise ForecastError(
            f"{int(early.sum())} forecast row(s) for a day not after its cutoff (first "
            f"{ids[series[i]]} on {days[day[i]].date()}); a forecast is made before its day"
        )
    pair = cutoff * len(days) + day
    used = np.flatnonzero(np.bincount(pair, minlength=len(cutoffs) * len(days)))
    number = np.zeros(len(cutoffs) * len(days), dtype=np.int64)
    number[used] = np.arange(len(used))
    column, column_cutoff, column_day = number[pair], used // len(days), used % len(days)

    cell = series * len(used) + column
    order = None
    step = np.diff(cell)
    if (step < 0).any():
        order = np.argsort(cell, kind="stable")
        cell, series, column = cell[order], series[order], column[order]
        step = np.diff(cell)
    repeated = np.flatnonzero(step == 0)
    found, calendar = _actuals(panel, panel_series, days, len(ids))
    aligned = Alignment(
        forecasts,
        order,
        series,
        column,
        found[series, column_day[column]],
        cutoffs,
        days,
        column_cutoff,
        column_day,
        ids,
        names,
    )
    if repeated.size:
        raise ForecastError(
            f"{repeated.size} forecast row(s) repeat a series, day and cutoff (first "
            f"{aligned.where(int(repeated[0]))}); drop the repeats"
        )
    lost = aligned.position < 0
    if lost.any():
        raise ForecastError(
            f"{int(lost.sum())} forecast row(s) without an actual in the panel (first "
            f"{aligned.where(int(lost.argmax()))}); score days the panel holds"
        )
    _refuse_holes(aligned, cell, found)
    refuse_gaps(aligned, calendar)
    return aligned


def _names(forecasts: pd.DataFrame) -> tuple[str, ...]:
    missing = [c for c in (ID, DS, CUTOFF) if c not in forecasts.columns]
    if missing:
        raise ForecastError(f"the forecasts lack column(s) {', '.join(missing)}")
    repeated = forecasts.columns[forecasts.columns.duplicated()].unique()
    if len(repeated):
        raise ForecastError(f"forecast column(s) named twice: {', '.join(map(str, repeated))}")
    names, rest = [], []
    for column in forecasts.columns.drop([ID, DS, CUTOFF]):
        try:
            parse_alias(str(column))
            names.append(str(column))
        except ValueError:
            rest.append(str(column))
    stray = [c for c in rest if not any(c.startswith(f"{name}-") for name in names)]
    if stray:
        raise ForecastError(
            f"column(s) {', '.join(stray[:5])} are no forecasts of the form Model_treatment; drop them"
        )
    if not names:
        raise ForecastError("the forecasts hold no column of the form Model_treatment")
    return tuple(names)


def _number_series(wanted: pd.Series, held: pd.Series) -> tuple[np.ndarray, pd.Index, np.ndarray]:
    """Number the forecast series in panel order; panel rows of other series get -1."""
    if wanted.isna().any():
        raise ForecastError(f"{int(wanted.isna().sum())} forecast row(s) without {ID}")
    held_codes, categories = number_ids(held)
    wanted_codes, uniques = number_ids(wanted)
    place = categories.get_indexer(uniques)
    present = np.bincount(wanted_codes, minlength=len(uniques)) > 0
    unknown = present & (place < 0)
    if unknown.any():
        raise ForecastError(
            f"{int(unknown.sum())} series of the forecasts are not in the panel, first "
            f"{uniques[int(unknown.argmax())]}"
        )
    kept = np.sort(place[present])
    number = np.full(len(categories), -1, dtype=np.int64)
    number[kept] = np.arange(len(kept))
    return number[place][wanted_codes], pd.Index(categories[kept]), number[held_codes]


def number_ids(ids: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Return codes and categories; plain identifiers are numbered in sorted order."""
    if isinstance(ids.dtype, pd.CategoricalDtype):
        return ids.cat.codes.to_numpy(), ids.cat.categories
    codes, uniques = pd.factorize(ids, sort=True)
    return codes, pd.Index(uniques)


def _number_dates(frame: pd.DataFrame, column: str) -> tuple[np.ndarray, pd.DatetimeIndex]:
    if not pd.api.types.is_datetime64_dtype(frame[column]) or frame[column].isna().any():
        raise ForecastError(f"{column} must be datetime64 without a time zone and without gaps")
    codes, uniques = pd.factorize(frame[column].astype("datetime64[ns]"), sort=True)
    return codes, pd.DatetimeIndex(uniques)


def _actuals(
    panel: pd.DataFrame, series: np.ndarray, days: pd.DatetimeIndex, n_series: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the panel row of each series and day, -1 where there is none, (n_series, n_days).

    And the days on which one of the series has a row, from the first to the last of `days`.
    """
    # The panel is often a hundred times longer than the forecasts: cut it down first.
    dates = panel[DS].to_numpy().astype("datetime64[ns]", copy=False)
    known = days.to_numpy()
    rows = np.flatnonzero((dates >= known[0]) & (dates <= known[-1]) & (series >= 0))
    calendar = np.sort(pd.unique(dates[rows]))
    place = np.minimum(np.searchsorted(known, dates[rows]), len(known) - 1)
    match = known[place] == dates[rows]
    rows, place = rows[match], place[match]
    cell = series[rows] * len(known) + place
    table = np.full(n_series * len(known), -1, dtype=np.int64)
    table[cell] = rows
    if (table >= 0).sum() < len(rows):
        raise PanelError(
            f"the panel repeats {len(rows) - int((table >= 0).sum())} series and date(s) of the "
            "scored days; pass it through validate_panel"
        )
    return table.reshape(n_series, len(known)), calendar


def _refuse_holes(aligned: Alignment, cell: np.ndarray, found: np.ndarray) -> None:
    """Raise where a series' window has forecasts for some days but not for others with sales."""
    n_columns = len(aligned.column_day)
    if len(cell) == len(aligned.ids) * n_columns:
        return
    flat = np.zeros(len(aligned.ids) * n_columns, dtype=bool)
    flat[cell] = True
    present = flat.reshape(len(aligned.ids), n_columns)
    starts = np.flatnonzero(np.diff(aligned.column_cutoff, prepend=-1))
    begun = np.logical_or.reduceat(present, starts, axis=1)[:, aligned.column_cutoff]
    hole = begun & ~present & (found[:, aligned.column_day] >= 0)
    if hole.any():
        i, k = (int(x[0]) for x in np.nonzero(hole))
        raise ForecastError(
            f"{int(hole.sum())} day(s) without a forecast inside a window that has others (first "
            f"{aligned.ids[i]} on {aligned.days[aligned.column_day[k]].date()}, cutoff "
            f"{aligned.cutoffs[aligned.column_cutoff[k]].date()}): forecast the whole window"
        )
