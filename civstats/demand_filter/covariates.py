"""The regressors of the offsets: day of week, annual terms, events, price and other covariates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from civstats.schema import (
    DS,
    EVENTS,
    ID,
    NO_EVENT,
    PRICE,
    STATIC,
    PanelError,
    known_covariates,
    series_index,
)

_MIN_YEARS = 1.5
"""History from which a season of the year can be told from the level."""
_YEAR = 365.25
_FEW_DAYS = 5
"""Dates with a covariate that is seldom other than 0, below which it is left out."""


@dataclass(frozen=True)
class OffsetDesign:
    """Turns days into regressors, the same way for history and future.

    Every column is a departure: day of week sums to zero over the week, an annual term over the
    year, price is the log against the series' own median. The level stays what an ordinary day
    sells at the ordinary price.

    Attributes
    ----------
    names : tuple of str
        Columns of the matrix.
    prior_sd : numpy.ndarray, shape (n_names,)
        Scale of each coefficient, log units: weakly informative, it matters for rare events only.
    left_out : tuple of str
        Covariates of the history that are no regressors, with the reason.
    """

    names: tuple[str, ...]
    prior_sd: np.ndarray
    harmonics: int = 0
    days_of_week: bool = True
    events: tuple[str, ...] = ()
    event_columns: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    centres: dict[str, float] = field(default_factory=dict)
    reference: pd.Series | None = None
    left_out: tuple[str, ...] = ()

    @classmethod
    def learn(cls, history: pd.DataFrame, *, harmonics: int = 2) -> OffsetDesign:
        """Settle the columns on a validated panel.

        Parameters
        ----------
        history : pandas.DataFrame
            Keys and covariates only are read.
        harmonics : int
            Annual sine-cosine pairs; none on less than a year and a half.
        """
        dates = pd.DatetimeIndex(history[DS].unique())
        span = (dates.max() - dates.min()).days + 1
        weekly = len(dates) > 1 and int(np.diff(np.sort(dates.asi8)).min()) // 86_400_000_000_000
        days_of_week = len(dates) < 2 or weekly == 1
        names: list[str] = []
        scale: list[float] = []
        if days_of_week:
            names += [f"day_of_week_{k}" for k in range(6)]
            scale += [0.5] * 6
        harmonics = harmonics if span >= _MIN_YEARS * _YEAR else 0
        for k in range(1, harmonics + 1):
            names += [f"annual_cos_{k}", f"annual_sin_{k}"]
            scale += [0.5] * 2
        covariates = [c for c in known_covariates(history.columns) if c not in STATIC]
        event_columns = tuple(c for c in EVENTS if c in covariates and c.startswith("event_name"))
        found: set[str] = set()
        for column in event_columns:
            found |= {str(v) for v in history[column].dropna().unique()} - {NO_EVENT}
        events = tuple(sorted(found))
        names += [f"event_{e}" for e in events]
        scale += [1.0] * len(events)
        numbers, centres, left_out = _numbers(history, covariates)
        names += numbers
        scale += [1.0] * len(numbers)
        reference = None
        if PRICE in covariates:
            reference = _reference(history)
            names.append("log_price")
            scale.append(2.0)
        return cls(
            tuple(names),
            np.array(scale),
            harmonics,
            days_of_week,
            events,
            event_columns,
            tuple(numbers),
            centres,
            reference,
            left_out,
        )

    def matrix(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the regressors of rows, shape (n_rows, n_names), float32.

        Raises
        ------
        PanelError
            If a covariate of the history is missing.
        """
        missing = [c for c in (*self.event_columns, *self.numbers) if c not in rows.columns]
        if self.reference is not None and PRICE not in rows.columns:
            missing.append(PRICE)
        if missing:
            raise PanelError(
                f"the demand filter was fitted with the covariate(s) {', '.join(missing)}: add "
                "their planned values to future, or drop them from the panel before fitting"
            )
        out = np.zeros((len(rows), len(self.names)), dtype=np.float32)
        codes, unique = pd.factorize(rows[DS])
        out[:, : 6 * self.days_of_week + 2 * self.harmonics] = self._calendar(unique)[codes]
        j = 6 * self.days_of_week + 2 * self.harmonics
        place = {name: j + k for k, name in enumerate(self.events)}
        for column in self.event_columns:
            values = rows[column].astype("category")
            target = np.array([place.get(str(c), -1) for c in values.cat.categories] + [-1])
            at = target[values.cat.codes.to_numpy()]
            named = np.flatnonzero(at >= 0)
            out[named, at[named]] = 1.0
        j += len(self.events)
        for k, column in enumerate(self.numbers):
            number = rows[column].to_numpy(dtype=np.float32, na_value=np.nan)
            out[:, j + k] = np.where(np.isnan(number), 0, number - self.centres[column])
        if self.reference is not None:
            out[:, -1] = self._log_price(rows)
        return out

    @property
    def tree_features(self) -> tuple[str, ...]:
        """Names of the columns of :meth:`features`."""
        month = ("month",) if self.harmonics else ()
        event = ("event",) if self.events else ()
        price = () if self.reference is None else ("log_price", "usual_log_price")
        return ("group", "day_of_week", "day_of_month", *month, *event, *self.numbers, *price)

    def features(self, rows: pd.DataFrame, group: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """Return what trees may read of rows, shape (n_rows, n_features), float32.

        A day's own covariates, the group of its series and its usual price; nothing of other days,
        so that a day has the same offset whatever days it is asked with, and nothing that counts
        time on, which trees would use for the level. The month is left out where the regression has
        no annual terms either. Missing values are NaN.

        Parameters
        ----------
        rows : pandas.DataFrame
            As for :meth:`matrix`.
        group : numpy.ndarray of int, shape (n_rows,)
        matrix : numpy.ndarray
            :meth:`matrix` of the rows.
        """
        codes, unique = pd.factorize(rows[DS])
        days = pd.DatetimeIndex(unique)
        calendar = [days.dayofweek, days.day, *([days.month] if self.harmonics else [])]
        columns = [np.asarray(group), *(np.asarray(c)[codes] for c in calendar)]
        first = len(self.names) - len(self.numbers) - (self.reference is not None)
        if self.events:
            events = matrix[:, first - len(self.events) : first]
            named = events.any(axis=1)
            columns.append(np.where(named, events.argmax(axis=1) + 1, 0))
        for k, name in enumerate(self.numbers):
            known = rows[name].notna().to_numpy()
            columns.append(np.where(known, matrix[:, first + k], np.nan))
        if self.reference is not None:
            usual = self._usual(rows)
            columns += [_log(rows[PRICE]) - usual, usual]
        return np.column_stack(columns).astype(np.float32)

    def _calendar(self, dates: pd.Index) -> np.ndarray:
        days = pd.DatetimeIndex(dates)
        columns = []
        if self.days_of_week:
            weekday = np.asarray(days.dayofweek)
            # Effect coding: Sunday is minus the sum of the others.
            columns += [
                np.where(weekday == k, 1.0, np.where(weekday == 6, -1.0, 0.0)) for k in range(6)
            ]
        angle = 2 * np.pi * np.asarray(days.dayofyear) / _YEAR
        for k in range(1, self.harmonics + 1):
            columns += [np.cos(k * angle), np.sin(k * angle)]
        if not columns:
            return np.zeros((len(days), 0), dtype=np.float32)
        return np.column_stack(columns).astype(np.float32)

    def _log_price(self, rows: pd.DataFrame) -> np.ndarray:
        change = _log(rows[PRICE]) - self._usual(rows)
        return np.where(np.isfinite(change), change, 0.0)

    def _usual(self, rows: pd.DataFrame) -> np.ndarray:
        """Median log price of each row's series, NaN where none is known."""
        assert self.reference is not None
        ids = rows[ID].astype("category")
        usual = self.reference.reindex(ids.cat.categories.astype(object)).to_numpy(dtype=float)
        return np.asarray(usual[ids.cat.codes.to_numpy()])


def _log(price: pd.Series) -> np.ndarray:
    values = price.to_numpy(dtype=float, na_value=np.nan)
    # A price of 0 says that none was set, not that the item was free.
    return np.log(np.where(values > 0, values, np.nan))


def _reference(history: pd.DataFrame) -> pd.Series:
    """Median log price of each series, NaN where none is known."""
    index = series_index(history)
    log_price = _log(history[PRICE])
    medians = pd.Series(log_price).groupby(index.codes()).median()
    return pd.Series(medians.to_numpy(), index=pd.Index(np.asarray(index.ids, dtype=object)))


def _numbers(
    history: pd.DataFrame, covariates: list[str]
) -> tuple[list[str], dict[str, float], tuple[str, ...]]:
    """Numeric covariates that vary on enough dates, their centres, and what was left out."""
    names, centres, left_out = [], {}, []
    for column in covariates:
        values = history[column]
        if column == PRICE or column in EVENTS:
            continue
        if not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values)):
            left_out.append(f"{column} (text: recode it as numbers)")
            continue
        numbers = values.to_numpy(dtype=np.float32, na_value=np.nan)
        usual = float(np.nanmedian(numbers)) if np.isfinite(numbers).any() else 0.0
        other = np.isfinite(numbers) & (numbers != usual)
        dates = history.loc[other, DS].nunique() if other.any() else 0
        if dates >= _FEW_DAYS:
            names.append(column)
            centres[column] = usual
        else:
            left_out.append(f"{column} (other than {usual:g} on {dates} date(s) only)")
    return names, centres, tuple(left_out)
