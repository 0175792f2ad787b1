"""CSV files that a spreadsheet cannot run, that appear whole, and that repeat to the byte."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from civstats._io import atomic

_RISKY = ("=", "+", "-", "@", "\t", "\r")


def escape_text(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would run as a formula.

    Numbers pass untouched, so a loss of -3 stays a number.

    Examples
    --------
    >>> escape_text("=1+1"), escape_text(-3), escape_text("FOODS_3_090_CA_1")
    ("'=1+1", -3, 'FOODS_3_090_CA_1')
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_RISKY) else value


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a frame as CSV (UTF-8, comma, line feed), whole or not at all; the index is left out.

    float64 is written with 10 significant digits, float32 with 7, whole numbers whole, so that
    equal results give equal bytes; NaN and NaT become empty cells; dates are ISO 8601. Text cells
    and column names that begin with ``= + - @``, tab or carriage return get a leading apostrophe.

    Parameters
    ----------
    frame : pandas.DataFrame
    path : str or Path

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "scores.csv"
    >>> write_csv(pd.DataFrame({"unique_id": ["=1+1", "b"], "units": [-0.5, float("nan")]}), path)
    >>> path.read_text().splitlines()
    ['unique_id,units', "'=1+1,-0.5", 'b,']
    """
    names = [str(escape_text(str(c))) for c in frame.columns]
    columns = [_cells(frame.iloc[:, k]) for k in range(frame.shape[1])]
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for rows in ([names], zip(*columns, strict=True)):
            file.writelines(_line(cells) for cells in rows)


def _line(cells: Iterable[object]) -> str:
    """Join one row; the csv module of Python 3.11 leaves a lone carriage return unquoted."""
    fields = []
    for cell in cells:
        text = str(cell)
        risky = any(c in text for c in ',"\r\n')
        fields.append('"{}"'.format(text.replace('"', '""')) if risky else text)
    # A line of nothing would read as no row at all.
    return '""\n' if fields == [""] else ",".join(fields) + "\n"


def _cells(column: pd.Series) -> list[object]:
    """Return the cells of one column as text or as objects that csv writes in one way only."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        words = [*_cells(pd.Series(dtype.categories)), ""]
        return [words[k] for k in column.cat.codes]
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_integer_dtype(dtype):
        return ["" if x is pd.NA else x for x in column.tolist()]
    if pd.api.types.is_float_dtype(dtype):
        digits = 7 if dtype in (np.float32, np.float16) else 10
        return [_float(x, digits) for x in column.to_numpy(dtype=float, na_value=np.nan).tolist()]
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return [_moment(x) for x in column]
    return [_cell(x) for x in column]


def _float(value: float, digits: int = 10) -> str:
    if np.isnan(value):
        return ""
    if abs(value) < 1e15 and value == int(value):
        return str(int(value))
    return f"{value:.{digits}g}"


def _moment(value: pd.Timestamp) -> str:
    if value is pd.NaT:
        return ""
    midnight = value == value.normalize() and value.tzinfo is None
    return value.date().isoformat() if midnight else value.isoformat()


def _cell(value: object) -> object:
    """Write one cell of a column of mixed or text type."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, (float, np.floating)):
        return _float(float(value), 7 if isinstance(value, np.float32) else 10)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, pd.Timestamp):
        return _moment(value)
    return escape_text(str(value))
