"""What the interactive ranking carries in the page: columns, cells and sparklines, as safe JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from civstats._csv import _cells
from civstats.schema import DS, ID, CivstatsError, Y

LEVELS = 250
"""Heights of a sparkline: finer than the screen, and one byte."""
OUT, MISSING = 254, 255
SPARKLINE = ("mean", "p10", "p90")


def as_json(payload: dict[str, Any]) -> Markup:
    r"""Write JSON that a script element can hold: nothing in it ends the element or opens a comment.

    Examples
    --------
    >>> as_json({"name": "</script><!--"})
    Markup('{"name":"\\u003c/script\\u003e\\u003c!--"}')
    """
    text = json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for risky in "<>&":
        text = text.replace(risky, f"\\u{ord(risky):04x}")
    return Markup(text)


def is_number(column: pd.Series) -> bool:
    """Say whether a column is one of numbers; truth values are words."""
    dtype = column.dtype
    return bool(pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype))


def cells(column: pd.Series) -> list[object]:
    """Return the cells as JSON holds them: numbers as `write_csv` rounds them, text, None."""
    if not is_number(column):
        # Numbers in a column of mixed type stay numbers, so that a download does not escape them.
        plain = column.astype(object).where(column.notna(), None)
        return [x if _whole(x) else None if x is None else _word(x) for x in plain]
    values = column.to_numpy(dtype=float, na_value=np.nan)
    if np.isinf(values).any():
        k = int(np.isinf(values).argmax())
        raise CivstatsError(
            f"column {column.name!r} of the ranking is infinite in {int(np.isinf(values).sum())} "
            f"row(s), first row {k}; make it NaN or a number"
        )
    if pd.api.types.is_integer_dtype(column.dtype):
        return [None if np.isnan(x) else int(x) for x in values]
    return [None if x == "" else json.loads(str(x)) for x in _cells(column)]


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _word(value: Any) -> object:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, pd.Timestamp) and value == value.normalize() and value.tzinfo is None:
        return value.date().isoformat()
    return str(value)


def sparkline_bytes(sparklines: pd.DataFrame, ids: pd.Series) -> dict[str, Any]:
    """Turn sparklines into one short text per series, drawn only when its row is on the screen.

    Parameters
    ----------
    sparklines : pandas.DataFrame
        Long, see :func:`civstats.report.ranking_page`.
    ids : pandas.Series
        The series in the order of the ranking; a series without a sparkline gets none.

    Returns
    -------
    dict
        ``rows``: per series base64 of ``history`` bytes of sales, then ``days`` bytes each of mean,
        p10 and p90; a byte is a height from 0 to 250 in parts of the series' largest value, 254 a
        day out of stock, 255 nothing known. ``top``: that largest value.
    """
    missing = [c for c in (ID, DS, *SPARKLINE) if c not in sparklines.columns]
    if missing:
        raise CivstatsError(
            f"sparklines have no column(s) {', '.join(missing)}; give {ID}, {DS}, mean, p10, p90 and, "
            f"for the past, {Y} and is_out"
        )
    codes = pd.Index(ids).get_indexer(pd.Index(sparklines[ID].astype(object)))
    days, when = np.unique(sparklines[DS].to_numpy(), return_inverse=True)
    # A row of the ranking and a day can meet once only.
    repeated = pd.DataFrame({"row": codes, "day": when})[codes >= 0].duplicated()
    if repeated.any():
        raise CivstatsError(
            f"sparklines hold {int(repeated.sum())} row(s) twice for a series and day; keep one each"
        )
    known = codes >= 0
    at = (codes[known], when[known])
    grids = {}
    for name in (*SPARKLINE, Y):
        grids[name] = np.full((len(ids), len(days)), np.nan)
        if name in sparklines.columns:
            grids[name][at] = sparklines[name].to_numpy(dtype=float, na_value=np.nan)[known]
    out = np.zeros((len(ids), len(days)), dtype=bool)
    if "is_out" in sparklines.columns:
        out[at] = sparklines["is_out"].astype("boolean").fillna(False).to_numpy(dtype=bool)[known]
    ahead = np.isfinite(grids["mean"]).any(axis=0)
    history = int(ahead.argmax()) if ahead.any() else len(days)
    parts = [grids[Y][:, :history], *(grids[name][:, history:] for name in SPARKLINE)]
    values = np.concatenate(parts, axis=1)
    values[~np.isfinite(values)] = np.nan
    top = np.maximum(np.nan_to_num(values, nan=0.0).max(axis=1, initial=0.0), 1e-9)
    heights = np.clip(np.round(LEVELS * values / top[:, None]), 0, LEVELS)
    code = np.where(np.isnan(heights), MISSING, heights).astype(np.uint8)
    code[:, :history][out[:, :history]] = OUT
    has = np.isin(np.arange(len(ids)), codes)
    rows = [
        base64.b64encode(row.tobytes()).decode() if h else None
        for row, h in zip(code, has, strict=True)
    ]
    return {
        "rows": rows,
        "top": [float(f"{x:.3g}") for x in top],
        "history": history,
        "days": len(days) - history,
    }
