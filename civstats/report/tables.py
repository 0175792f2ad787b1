"""Data frames to cells of text: numbers a reader can compare, and "undefined" where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import CivstatsError

Format = str | Callable[[object], str]
_NAMED = {"percent": "{:.1%}", "integer": "{:,.0f}", "money": "{:,.2f}", "share": "{:.0%}"}


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes
    ----------
    header : list of str
    numeric : list of bool
        Columns set flush right.
    rows : list of list of str
    n_rows : int
        Rows of the frame; more than ``len(rows)`` where the table was cut.
    """

    header: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    n_rows: int


def make_table(
    frame: pd.DataFrame,
    *,
    formats: Mapping[str, Format] | None = None,
    labels: Mapping[str, str] | None = None,
    max_rows: int = 20,
    missing: str = "undefined",
) -> Table:
    """Turn a frame into text cells.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its index is left out; reset it to show it.
    formats : mapping, optional
        Per column a name (``percent, share, integer, money``), a format spec (``".2f"``), a
        format string (``"{:,.1f} units"``), or a function from value to text. Without one, a
        column of numbers gets about three significant digits, the same decimals in every row.
    labels : mapping, optional
        Column headings.
    max_rows : int
        Longer tables are cut.
    missing : str
        What stands for a missing number. Missing text and dates become a dash.

    Raises
    ------
    CivstatsError
        If `formats` or `labels` name a column that is not there.

    Examples
    --------
    >>> make_table(pd.DataFrame({"bias": [0.1, float("nan")]}), formats={"bias": "percent"}).rows
    [['10.0 %'], ['undefined']]
    """
    unknown = [c for c in {**(formats or {}), **(labels or {})} if c not in frame.columns]
    if unknown:
        raise CivstatsError(
            f"the table has no column(s) {', '.join(map(str, unknown))}; it has "
            f"{', '.join(map(str, frame.columns[:12]))}"
        )
    shown = frame.head(max_rows)
    columns, numeric = [], []
    for k, name in enumerate(shown.columns):
        column = shown.iloc[:, k]
        given = (formats or {}).get(name)
        is_number = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(
            column
        )
        numeric.append(bool(is_number))
        columns.append(_cells(column, given, is_number, missing))
    header = [str((labels or {}).get(c, str(c).replace("_", " "))) for c in shown.columns]
    rows = [list(r) for r in zip(*columns, strict=True)]
    return Table(header, numeric, rows, len(frame))


def _cells(column: pd.Series, given: Format | None, is_number: bool, missing: str) -> list[str]:
    if given is None and is_number:
        given = _spec(column)
    blank = missing if is_number else "–"
    return [_cell(x, given, blank) for x in column.tolist()]


def _spec(column: pd.Series) -> str:
    """Choose the decimals of a column from its typical size, about three significant digits."""
    if pd.api.types.is_integer_dtype(column.dtype):
        return "{:,.0f}"
    values = column.to_numpy(dtype=float, na_value=np.nan)
    size = np.abs(values[np.isfinite(values)])
    size = size[size > 0]
    if not size.size or (size == np.round(size)).all():
        return "{:,.0f}"
    decimals = int(np.clip(2 - np.floor(np.log10(np.median(size))), 0, 4))
    return f"{{:,.{decimals}f}}"


def _cell(value: object, given: Format | None, blank: str) -> str:
    if value is None or value is pd.NA or value is pd.NaT:
        return blank
    if isinstance(value, float) and np.isnan(value):
        return blank
    if callable(given):
        return given(value)
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, float, np.number)):
        return format_number(float(value), given)
    if isinstance(value, pd.Timestamp):
        return (
            value.date().isoformat()
            if value == value.normalize()
            else value.isoformat(" ", "seconds")
        )
    return str(value)


def format_number(value: float, spec: str | None = None) -> str:
    """Write a number by name, spec or format string, with a true minus sign and no minus zero.

    Examples
    --------
    >>> format_number(-0.123, "percent"), format_number(-0.0001, ".2f"), format_number(1240.0)
    ('−12.3 %', '0.00', '1,240')
    """
    if np.isnan(value):
        return "undefined"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    spec = _NAMED.get(spec or "", spec) or "{:,.4g}"
    pattern = spec if "{" in spec else f"{{:{spec}}}"
    text = pattern.format(value).replace("%", " %").replace("  %", " %")
    if value < 0 and not any(c in "123456789" for c in text):
        return pattern.format(0.0).replace("%", " %").replace("  %", " %")
    return re.sub(r"-(?=\d)", "−", text)


def interval_text(
    value: Sequence[float] | pd.Series,
    lo: Sequence[float] | pd.Series,
    hi: Sequence[float] | pd.Series,
    spec: str = ".3g",
) -> list[str]:
    """Write scores with their intervals, ``0.12 (0.10 to 0.14)``, for a column of a table.

    Examples
    --------
    >>> interval_text([0.12], [0.10], [0.14], "percent")
    ['12.0 % (10.0 to 14.0 %)']
    """
    cells = []
    for v, a, b in zip(value, lo, hi, strict=True):
        middle, low, high = (format_number(float(x), spec) for x in (v, a, b))
        if np.isnan(float(a)) or np.isnan(float(b)):
            cells.append(middle)
            continue
        if low.endswith(" %"):
            low = low.removesuffix(" %")
        cells.append(f"{middle} ({low} to {high})")
    return cells
