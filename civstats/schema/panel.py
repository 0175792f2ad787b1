"""The panel contract: validation at the door, and the index of a sorted panel's series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema.breaches import blocks, breaches
from civstats.schema.columns import (
    CENSORED,
    DEMAND,
    DEMAND_MEAN,
    DS,
    FLAG_KNOWN,
    ID,
    IN_STOCK_SHARE,
    PRICE,
    RECAPTURED,
    STATIC,
    STOCK,
    Y,
)
from civstats.schema.errors import PanelError

_DAY_NS = 86_400_000_000_000
_FLOATS = (Y, STOCK, IN_STOCK_SHARE, DEMAND, DEMAND_MEAN, RECAPTURED, PRICE)
_FLAGS = (CENSORED, FLAG_KNOWN)


@dataclass(frozen=True)
class SeriesIndex:
    """Where each series of a sorted panel starts and ends.

    Attributes
    ----------
    ids : pandas.Index, shape (n_series,)
        Identifiers in panel order.
    starts, ends : numpy.ndarray, shape (n_series,)
        Row positions: series i is ``panel.iloc[starts[i]:ends[i]]``.
    """

    ids: pd.Index
    starts: np.ndarray
    ends: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of rows of each series, shape (n_series,)."""
        return self.ends - self.starts

    def codes(self) -> np.ndarray:
        """Position of each row's series, shape (n_rows,)."""
        return np.repeat(np.arange(len(self.ids)), self.lengths)


def series_index(panel: pd.DataFrame) -> SeriesIndex:
    """Index the series of a validated panel (contiguous and sorted by series and time)."""
    codes = panel[ID].cat.codes.to_numpy()
    starts = (
        np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]]) if len(codes) else np.empty(0, int)
    )
    ends = np.r_[starts[1:], len(codes)] if len(codes) else np.empty(0, int)
    return SeriesIndex(pd.Index(panel[ID].cat.categories[codes[starts]]), starts, ends)


def stockout_days(panel: pd.DataFrame) -> np.ndarray:
    """Mark the rows on which sales may fall short of demand, shape (n_rows,), bool.

    A row counts if it is censored, or if the item was out for a part of the day
    (``in_stock_share < 1``). Without flag columns no row counts.
    """
    out = np.zeros(len(panel), dtype=bool)
    if CENSORED in panel.columns:
        out |= panel[CENSORED].to_numpy()
    if IN_STOCK_SHARE in panel.columns:
        out |= panel[IN_STOCK_SHARE].to_numpy() < 1
    return out


def validate_panel(panel: pd.DataFrame, *, freq: str = "D", copy: bool = True) -> pd.DataFrame:
    """Return the panel in canonical form (dtypes, order), or raise on any breach of the contract.

    Parameters
    ----------
    panel : pandas.DataFrame
        Long frame, one row per series and period, with at least ``unique_id, ds, y``.
    freq : str
        Pandas frequency alias of the periods: ``"D"``, ``"W-SUN"``, ``"MS"``, ...
    copy : bool
        With False, columns that are in order already are shared with the input instead of
        copied: for a caller, such as a loader, that gives its own frame away.

    Returns
    -------
    pandas.DataFrame
        Sorted by series and time, range index, canonical dtypes. The input is left as it was.

    Raises
    ------
    PanelError
        One line naming every breach: its kind, number of rows, the first place, and the mend.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=3)
    >>> validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [1, 0, 2]})).shape
    (3, 3)
    """
    frame = _canonical(panel)
    ticks = _ticks(frame[DS], freq)
    codes = frame[ID].array.codes
    if not _is_sorted(codes, ticks):
        order = np.lexsort((ticks, codes))
        frame, ticks = frame.take(order), ticks[order]
    elif copy:
        # Column by column: DataFrame.copy would lay all of them out anew, at twice the memory.
        frame = pd.DataFrame({c: frame[c].array.copy() for c in frame}, copy=False)
        frame.attrs = dict(panel.attrs)
    frame.index = pd.RangeIndex(len(frame))
    found = breaches(frame, ticks, freq)
    if found:
        raise PanelError("; ".join(found))
    return frame


def _canonical(panel: pd.DataFrame) -> pd.DataFrame:
    """Cast to canonical dtypes on a shallow copy; raise where a cast has no meaning."""
    if not isinstance(panel, pd.DataFrame):
        raise PanelError(f"a panel is a pandas DataFrame, but got {type(panel).__name__}")
    repeated = panel.columns[panel.columns.duplicated()].unique()
    if len(repeated):
        raise PanelError(f"column name(s) used twice: {', '.join(map(str, repeated))}; rename one")
    missing = [c for c in (ID, DS, Y) if c not in panel.columns]
    if missing:
        raise PanelError(
            f"missing column(s) {', '.join(missing)}; a panel needs {ID}, {DS}, {Y} "
            f"(found: {', '.join(map(str, panel.columns[:8]))})"
        )
    if panel.empty:
        raise PanelError("the panel has no rows")
    frame = panel.copy(deep=False)
    if isinstance(frame[DS].dtype, pd.DatetimeTZDtype):
        raise PanelError(
            f"{DS} has time zone {frame[DS].dt.tz}; use local calendar days: "
            f"panel['{DS}'].dt.tz_localize(None)"
        )
    if not pd.api.types.is_datetime64_dtype(frame[DS]):
        raise PanelError(
            f"{DS} must be datetime64, but is {frame[DS].dtype}; use pandas.to_datetime"
        )
    if frame[DS].dtype != "datetime64[ns]":
        frame[DS] = frame[DS].astype("datetime64[ns]")
    for column, label in ((ID, "identifier"), (DS, "date")):
        n = int(np.count_nonzero(frame[column].isna()))
        if n:
            raise PanelError(f"{n} row(s) without {label} ({column}); fill or drop them")
    if not isinstance(frame[ID].dtype, pd.CategoricalDtype):
        frame[ID] = frame[ID].astype("category")
    else:
        # Unused categories would come back as empty series in every groupby.
        codes = frame[ID].array.codes
        used = np.zeros(len(frame[ID].array.categories), dtype=bool)
        for rows in blocks(len(codes)):
            used[codes[rows]] = True
        if not used.all():
            frame[ID] = frame[ID].cat.remove_unused_categories()
    for column in STATIC:
        if column in frame.columns and not isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = frame[column].astype("category")
    for column in _FLOATS:
        if column in frame.columns and frame[column].dtype != np.float32:
            if not pd.api.types.is_numeric_dtype(frame[column]):
                raise PanelError(f"{column} must be numeric, but is {frame[column].dtype}")
            frame[column] = frame[column].astype("float32")
    for column in _FLAGS:
        if column in frame.columns and frame[column].dtype != bool:
            values = frame[column]
            if values.isna().any() or not values.isin([0, 1]).all():
                raise PanelError(
                    f"{column} must be True or False on every row, but is {values.dtype}"
                    f" with {int(values.isna().sum())} missing; set flag_known=False where unknown"
                )
            frame[column] = values.astype(bool)
    return frame


def _is_sorted(codes: np.ndarray, ticks: np.ndarray) -> bool:
    for rows in blocks(len(codes)):
        c, t = codes[rows], ticks[rows]
        if not ((c[1:] > c[:-1]) | ((c[1:] == c[:-1]) & (t[1:] >= t[:-1]))).all():
            return False
    return True


def _ticks(ds: pd.Series, freq: str) -> np.ndarray:
    """Number the periods of `freq`, so that consecutive periods differ by one."""
    nanoseconds = ds.to_numpy().view("int64")
    if freq == "D":
        ticks = np.empty(len(nanoseconds), dtype=np.int32)
        off = []
        for rows in blocks(len(nanoseconds)):
            days = nanoseconds[rows] // _DAY_NS
            ticks[rows] = days
            # Rows that blocks share are seen twice: positions, not counts.
            off.append(rows.start + np.flatnonzero(days * _DAY_NS != nanoseconds[rows]))
        late = np.unique(np.concatenate(off))
        if late.size:
            raise PanelError(
                f"{late.size} row(s) with a time of day, first {ds.iloc[late[0]]}; "
                f"use panel['{DS}'].dt.normalize()"
            )
        return ticks
    codes, unique = pd.factorize(ds)
    try:
        offset = pd.tseries.frequencies.to_offset(freq)
        calendar = pd.date_range(unique.min(), unique.max(), freq=offset)
    except ValueError as error:
        raise PanelError(f"freq {freq!r} is not a pandas frequency alias: {error}") from error
    position = pd.Series(np.arange(len(calendar)), index=calendar).reindex(unique)
    if position.isna().any():
        first = unique[position.isna().to_numpy()].min()
        raise PanelError(
            f"{int(position.isna().sum())} date(s) off the {freq} calendar, first {first.date()}; "
            "aggregate to that frequency or name another"
        )
    return position.to_numpy().astype(np.int32)[codes]
