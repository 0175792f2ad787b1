"""Features known ahead: calendar, events, price, other covariates, static attributes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import DS, ID, NO_EVENT, PRICE, STATIC, PanelError, known_covariates

EVENT_REACH = 7
"""Days before and after an event that are told apart."""
WEEK = 7
_DAY = np.timedelta64(1, "D")


def known_features(
    history: pd.DataFrame,
    future: pd.DataFrame | None = None,
    *,
    series_id: bool = False,
) -> pd.DataFrame:
    """Build the features of a day that need no target.

    Calendar, distance to events, price (level, change against a week before, relative to the
    past of the series and to its department in that store that day), every other known covariate
    as it is, static attributes as categories. What a panel lacks is left out.

    Parameters
    ----------
    history : pandas.DataFrame
        Validated panel up to the cutoff. Only keys, covariates and static attributes are read.
    future : pandas.DataFrame, optional
        Keys and covariates of days after the panel; static attributes are taken from `history`.
    series_id : bool
        Whether the series itself is a category.

    Returns
    -------
    pandas.DataFrame
        A row per row of `future` if given, otherwise per row of `history`, in its order and with
        its index; float32 and category columns.

    Raises
    ------
    PanelError
        If `future` lacks a covariate that `history` has, or has texts where that has numbers or the
        other way round.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=3)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": 0, "price": [2.0, 2.0, 1.0]})
    >>> known_features(validate_panel(panel))["price_to_max"].tolist()
    [1.0, 1.0, 0.5]
    """
    rows = history if future is None else future
    covariates = [c for c in known_covariates(history.columns) if c not in STATIC]
    missing = [c for c in covariates if c not in rows.columns]
    if missing:
        raise PanelError(
            f"future lacks the known covariate(s) {', '.join(missing)} of the panel: add their "
            "planned values, or drop them from the panel before fitting"
        )
    if future is not None:
        _refuse_other_kinds(history, future, covariates)
    out: dict[str, pd.Series | np.ndarray | pd.Categorical] = dict(calendar_features(rows[DS]))
    events = [c for c in covariates if c.startswith("event_name")]
    if events:
        out |= _event_distance(history, future, events)
    if PRICE in covariates:
        out |= _price_features(history, future)
    for column in covariates:
        if column != PRICE:
            out[column] = _plain(rows[column])
    out |= _static(history, rows, series_id)
    return pd.DataFrame(out, index=rows.index)


def calendar_features(ds: pd.Series) -> dict[str, np.ndarray]:
    """Return the calendar features of dates, float32 each.

    Day of week 0 is Monday; ``year_position`` is the share of the year gone by.
    """
    codes, unique = pd.factorize(ds)
    days = pd.DatetimeIndex(unique)
    length = np.where(days.is_leap_year, 366, 365)
    columns = {
        "day_of_week": days.dayofweek,
        "day_of_month": days.day,
        "week_of_year": days.isocalendar().week.to_numpy(),
        "month": days.month,
        "year_position": (days.dayofyear - 1) / length,
    }
    return {k: np.asarray(v, dtype=np.float32)[codes] for k, v in columns.items()}


_NUMBERS = ("boolean", "integer", "floating", "mixed-integer-float", "decimal")
"""What a column of objects may hold, missing values besides, and be one of numbers: a flag that
was joined to more days than it has comes so."""


def _is_number(values: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        return True
    if values.dtype != object:
        return False
    return pd.api.types.infer_dtype(values, skipna=True) in _NUMBERS


def _refuse_other_kinds(history: pd.DataFrame, future: pd.DataFrame, covariates: list[str]) -> None:
    numbers = {c: (_is_number(history[c]), _is_number(future[c])) for c in covariates}
    odd = [c for c, (past, ahead) in numbers.items() if past != ahead and future[c].notna().any()]
    if odd:
        c = odd[0]
        kinds = [("numbers" if k else "texts or categories") for k in numbers[c]]
        raise PanelError(
            f"{len(odd)} known covariate(s) of future are of another kind than the panel's, first "
            f"{c}: {kinds[0]} ({history[c].dtype}) there, {kinds[1]} ({future[c].dtype}) ahead; "
            "give both the same dtype"
        )


def _plain(values: pd.Series) -> np.ndarray | pd.Categorical:
    """Numbers and flags as float32, everything else as categories with `NO_EVENT` for missing."""
    if _is_number(values):
        if values.dtype == object:
            codes, found = pd.factorize(values)
            return np.array([*(float(v) for v in found), np.nan], dtype=np.float32)[codes]
        return values.to_numpy(dtype=np.float32, na_value=np.nan)
    categories = pd.Categorical(values)
    texts = categories.categories.astype(str)
    labels = pd.Index([NO_EVENT]).append(texts[texts != NO_EVENT])
    # -1 (missing) and the texts' own positions, moved to the labels' positions.
    moved = np.r_[labels.get_indexer(texts), 0]
    return pd.Categorical.from_codes(moved[categories.codes], categories=labels)


def _static(
    history: pd.DataFrame, rows: pd.DataFrame, series_id: bool
) -> dict[str, pd.Categorical]:
    columns = [c for c in STATIC if c in history.columns]
    ids = pd.Index(history[ID].cat.categories)
    first = np.full(len(ids), -1)
    codes = history[ID].cat.codes.to_numpy()
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    first[codes[starts]] = starts
    series = codes if rows is history else ids.get_indexer(rows[ID].astype(object))
    out = {c: history[c].array.remove_unused_categories()[first[series]] for c in columns}
    if series_id:
        out[ID] = pd.Categorical.from_codes(series, categories=ids)
    return out


def _event_distance(
    history: pd.DataFrame, future: pd.DataFrame | None, columns: list[str]
) -> dict[str, np.ndarray]:
    """Days to the next and since the last event, capped, whatever the event."""
    frames = [history] if future is None else [history, future]
    dates = np.concatenate([f[DS].to_numpy() for f in frames]).astype("datetime64[D]")
    event = np.concatenate([_any_event(f, columns) for f in frames])
    first = dates.min()
    span = int((dates.max() - first) / _DAY) + 1
    # One calendar for all series: an event anywhere is an event.
    marked = np.zeros(span, dtype=bool)
    marked[((dates[event] - first) / _DAY).astype(int)] = True
    day = np.arange(span)
    last = np.maximum.accumulate(np.where(marked, day, -span))
    coming = np.minimum.accumulate(np.where(marked, day, 2 * span)[::-1])[::-1]
    position = ((frames[-1][DS].to_numpy().astype("datetime64[D]") - first) / _DAY).astype(int)
    reach = EVENT_REACH
    return {
        "is_event": _any_event(frames[-1], columns).astype(np.float32),
        "days_to_event": np.minimum(coming - day, reach).astype(np.float32)[position],
        "days_since_event": np.minimum(day - last, reach).astype(np.float32)[position],
    }


def _any_event(frame: pd.DataFrame, columns: list[str]) -> np.ndarray:
    found = np.zeros(len(frame), dtype=bool)
    for column in columns:
        values = frame[column].astype("category")
        named = np.r_[values.cat.categories.astype(str) != NO_EVENT, False]
        found |= named[values.cat.codes.to_numpy()]
    return found


def _price_features(history: pd.DataFrame, future: pd.DataFrame | None) -> dict[str, np.ndarray]:
    """Price against its own past and against its department; shape (n_rows,) each."""
    codes = history[ID].cat.codes.to_numpy()
    days = history[DS].to_numpy().astype("datetime64[D]")
    ids = pd.Index(history[ID].cat.categories)
    first, last = days.min(), days.max()
    n_known = int((last - first) / _DAY) + 1
    n_days = n_known
    if future is not None:
        ahead = future[DS].to_numpy().astype("datetime64[D]")
        n_days = int((ahead.max() - first) / _DAY) + 1
    price = np.full((len(ids), n_days), np.nan, dtype=np.float32)
    at = (codes, ((days - first) / _DAY).astype(int))
    price[at] = history[PRICE].to_numpy()
    if future is not None:
        # A series that nobody asks about keeps its last price: its department needs it.
        price[:, n_known:] = _last_known(price[:, :n_known])[:, None]
        at = (ids.get_indexer(future[ID].astype(object)), ((ahead - first) / _DAY).astype(int))
        price[at] = future[PRICE].to_numpy()
    known = np.isfinite(price)
    filled = np.where(known, price, 0)
    mean = np.cumsum(filled, axis=1, dtype=np.float64)
    mean /= np.maximum(np.cumsum(known, axis=1, dtype=np.int32), 1)
    highest = np.maximum.accumulate(filled, axis=1)
    before = np.full_like(price, np.nan)
    before[:, WEEK:] = price[:, :-WEEK]
    group = _department(history, ids)
    total = np.zeros((group.max() + 1, n_days))
    count = np.zeros_like(total)
    np.add.at(total, group, filled)
    np.add.at(count, group, known)
    department = total / np.maximum(count, 1)
    own = price[at].astype(np.float64)
    return {
        PRICE: own.astype(np.float32),
        "price_change": _ratio(own, before[at]) - np.float32(1),
        "price_to_mean": _ratio(own, mean[at]),
        "price_to_max": _ratio(own, highest[at]),
        "price_to_department": _ratio(own, department[group[at[0]], at[1]]),
    }


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.full(len(a), np.nan)
    np.divide(a, b, out=out, where=np.isfinite(a) & np.isfinite(b) & (b > 0))
    return out.astype(np.float32)


def _last_known(price: np.ndarray) -> np.ndarray:
    known = np.isfinite(price)
    position = price.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    return np.where(known.any(axis=1), price[np.arange(len(price)), position], np.nan)


def _department(history: pd.DataFrame, ids: pd.Index) -> np.ndarray:
    """Number the department in a store of each series, shape (n_series,)."""
    columns = [c for c in ("dept_id", "store_id") if c in history.columns]
    codes = history[ID].cat.codes.to_numpy()
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    group = np.zeros(len(ids), dtype=int)
    for column in columns:
        labels = history[column].cat.codes.to_numpy().astype(int)
        group[codes[starts]] = group[codes[starts]] * (labels.max() + 2) + labels[starts] + 1
    return np.unique(group, return_inverse=True)[1]
