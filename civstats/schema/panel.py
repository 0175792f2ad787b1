"""The panel contract: validation at the door, and the index of a sorted panel's series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema.columns import (
    CENSORED,
    DEMAND,
    DS,
    FLAG_KNOWN,
    ID,
    IN_STOCK_SHARE,
    STATIC,
    STOCK,
    Y,
)
from civstats.schema.errors import PanelError

_DAY_NS = 86_400_000_000_000
_FLOATS = (Y, STOCK, IN_STOCK_SHARE, DEMAND, "demand_mean", "recaptured", "price")
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


def validate_panel(panel: pd.DataFrame, *, freq: str = "D") -> pd.DataFrame:
    """Return the panel in canonical form (dtypes, order), or raise on any breach of the contract.

    Parameters
    ----------
    panel : pandas.DataFrame
        Long frame, one row per series and period, with at least ``unique_id, ds, y``.
    freq : str
        Pandas frequency alias of the periods: ``"D"``, ``"W-SUN"``, ``"MS"``, ...

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
    codes = frame[ID].cat.codes.to_numpy()
    ticks = _ticks(frame[DS], freq)
    same = codes[1:] == codes[:-1]
    if not _is_sorted(codes, ticks, same):
        order = np.lexsort((ticks, codes))
        frame = frame.iloc[order]
        codes, ticks = codes[order], ticks[order]
        same = codes[1:] == codes[:-1]
    frame = frame.reset_index(drop=True)
    problems = _column_problems(frame)
    problems += _order_problems(frame, ticks, same, freq)
    problems += _stock_problems(frame)
    problems += _static_problems(frame, same)
    if problems:
        raise PanelError("; ".join(problems))
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
    frame[DS] = frame[DS].astype("datetime64[ns]")
    for column, label in ((ID, "identifier"), (DS, "date")):
        n = int(frame[column].isna().sum())
        if n:
            raise PanelError(f"{n} row(s) without {label} ({column}); fill or drop them")
    if not isinstance(frame[ID].dtype, pd.CategoricalDtype):
        frame[ID] = frame[ID].astype("category")
    else:
        # Unused categories would come back as empty series in every groupby.
        used = np.bincount(frame[ID].cat.codes, minlength=len(frame[ID].cat.categories)) > 0
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


def _is_sorted(codes: np.ndarray, ticks: np.ndarray, same: np.ndarray) -> bool:
    return bool(((codes[1:] > codes[:-1]) | (same & (ticks[1:] >= ticks[:-1]))).all())


def _ticks(ds: pd.Series, freq: str) -> np.ndarray:
    """Number the periods of `freq`, so that consecutive periods differ by one."""
    nanoseconds = ds.to_numpy().view("int64")
    if freq == "D":
        days = nanoseconds // _DAY_NS
        off = np.flatnonzero(days * _DAY_NS != nanoseconds)
        if off.size:
            raise PanelError(
                f"{off.size} row(s) with a time of day, first {ds.iloc[off[0]]}; "
                f"use panel['{DS}'].dt.normalize()"
            )
        return days.astype(np.int32)
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


def _where(frame: pd.DataFrame, bad: np.ndarray) -> str:
    """Name the first offending row."""
    i = int(np.argmax(bad))
    return f"first {frame[ID].iloc[i]} on {frame[DS].iloc[i].date()}"


def _count(frame: pd.DataFrame, bad: np.ndarray, text: str, mend: str) -> list[str]:
    n = int(bad.sum())
    return [f"{n} row(s) {text} ({_where(frame, bad)}): {mend}"] if n else []


def _column_problems(frame: pd.DataFrame) -> list[str]:
    y = frame[Y].to_numpy()
    problems = _count(frame, np.isnan(y), "with missing sales", "sales of a day without sale are 0")
    with np.errstate(invalid="ignore"):
        problems += _count(frame, np.isinf(y), "with infinite sales", "mend the source")
        problems += _count(frame, y < 0, "with negative sales", "net returns out or clip at 0")
        for column in (STOCK, DEMAND, "demand_mean", "recaptured", "price"):
            if column in frame.columns:
                x = frame[column].to_numpy()
                problems += _count(
                    frame,
                    (x < 0) | np.isinf(x),
                    f"with negative or infinite {column}",
                    "mend the source",
                )
        if IN_STOCK_SHARE in frame.columns:
            share = frame[IN_STOCK_SHARE].to_numpy()
            problems += _count(
                frame,
                ~((share >= 0) & (share <= 1)),
                f"with {IN_STOCK_SHARE} outside [0, 1]",
                "clip it",
            )
    return problems


def _order_problems(
    frame: pd.DataFrame, ticks: np.ndarray, same: np.ndarray, freq: str
) -> list[str]:
    step = np.diff(ticks)
    later = np.zeros(len(frame), dtype=bool)
    later[1:] = same & (step == 0)
    problems = _count(frame, later, "repeat a series and date", "aggregate or drop the repeats")
    later[1:] = same & (step > 1)
    return problems + _count(
        frame, later, f"follow a gap in the {freq} calendar", "insert the missing periods"
    )


def _stock_problems(frame: pd.DataFrame) -> list[str]:
    if STOCK not in frame.columns:
        return []
    y, stock = frame[Y].to_numpy(), frame[STOCK].to_numpy()
    problems = _count(
        frame, y > stock, f"sold more than {STOCK}", "stock is what could be sold that day"
    )
    if CENSORED in frame.columns:
        flag = frame[CENSORED].to_numpy()
        known = frame[FLAG_KNOWN].to_numpy() if FLAG_KNOWN in frame.columns else True
        problems += _count(
            frame,
            flag & (y < stock),
            f"flagged {CENSORED} with units left",
            f"a censored day ends with {Y} == {STOCK}",
        )
        problems += _count(
            frame,
            ~flag & (y == stock) & known,
            f"ended empty without the flag {CENSORED}",
            "ties are censored: demand was at least the stock",
        )
    return problems


def _static_problems(frame: pd.DataFrame, same: np.ndarray) -> list[str]:
    problems = []
    changed = np.zeros(len(frame), dtype=bool)
    for column in STATIC:
        if column in frame.columns:
            codes = frame[column].cat.codes.to_numpy()
            changed[1:] = same & (codes[1:] != codes[:-1])
            problems += _count(
                frame, changed, f"change {column} within a series", "static attributes are constant"
            )
    return problems
