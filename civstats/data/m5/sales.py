"""M5's sales file: the chosen rows as a matrix, series x day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.data.m5.parse import header, parse, pick_lines
from civstats.data.m5.source import Source
from civstats.schema import STATIC, DataError

Keys = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sales:
    """Sales of the chosen series, in order of their identifiers.

    Attributes
    ----------
    ids : numpy.ndarray of str, shape (n_series,)
        Item and store, ``FOODS_3_090_CA_3``.
    keys : dict of str to numpy.ndarray of str, shape (n_series,)
        ``item_id, dept_id, cat_id, store_id, state_id``.
    units : numpy.ndarray of int, shape (n_series, n_days)
    days : list of str
        Labels ``d_1, d_2, ...`` of the columns of `units`.
    """

    ids: np.ndarray
    keys: Keys
    units: np.ndarray
    days: list[str]

    def take(self, rows: np.ndarray) -> Sales:
        """Return the sales of some of the series."""
        keys = {k: v[rows] for k, v in self.keys.items()}
        return Sales(self.ids[rows], keys, self.units[rows], self.days)


def read_sales(source: Source, choose: Callable[[Keys], np.ndarray]) -> Sales:
    """Read the sales of the rows that `choose` picks.

    Parameters
    ----------
    source : Source
    choose : callable
        Takes the keys of all rows and returns the positions of the rows wanted.

    Raises
    ------
    DataError
        Missing column, repeated series, sales that are missing, negative or not whole.
    """
    name = source.sales
    where = f"{name} in {source.path}"
    data = source.read(name)
    days = _days(header(data), where)
    frame = parse(data, where, STATIC, dict.fromkeys(STATIC, "String"))
    keys = {k: frame[k].to_numpy() for k in STATIC}
    _check_keys(keys, where)
    ids = (keys["item_id"] + "_" + keys["store_id"]).astype(str)
    repeated = pd.Index(ids).duplicated()
    if repeated.any():
        raise DataError(
            f"{where}: {int(repeated.sum())} row(s) repeat a series, first "
            f"{ids[int(np.argmax(repeated))]}; drop the repeats"
        )
    rows = choose(keys)
    # In order of the names, so that a panel read back from a file has its series in this order.
    rows = rows[np.argsort(ids[rows])]
    picked = False
    if len(rows) < len(ids):
        data, picked = pick_lines(data, np.sort(rows), len(ids))
    units = _units(data, days, where)[np.argsort(np.argsort(rows)) if picked else rows]
    units = _whole(units, ids[rows], days, where)
    return Sales(ids[rows], {k: v[rows] for k, v in keys.items()}, units, days)


def _days(columns: list[str], where: str) -> list[str]:
    days = [c for c in columns if c.startswith("d_") and c[2:].isdigit()]
    if not days:
        raise DataError(f"{where} has no sales columns d_1, d_2, ...; is it the M5 sales file?")
    first = int(days[0][2:])
    if days != [f"d_{k}" for k in range(first, first + len(days))]:
        raise DataError(
            f"{where}: the columns {days[0]} .. {days[-1]} skip or repeat days; "
            "use the file as Kaggle provides it"
        )
    return days


def _check_keys(keys: Keys, where: str) -> None:
    for column, values in keys.items():
        empty = pd.isna(values)
        if empty.any():
            raise DataError(
                f"{where}: {int(empty.sum())} row(s) without {column}, first in line "
                f"{int(np.argmax(empty)) + 2}; fill or drop them"
            )


def _units(data: bytes, days: list[str], where: str) -> np.ndarray:
    """Parse the sales; a float matrix, NaN where a cell is no number, if they are not all whole."""
    import polars as pl

    try:
        # 16 bits halve the memory of all of M5, whose busiest day sold 763 units.
        frame = pl.read_csv(
            data, columns=days, schema_overrides=dict.fromkeys(days, pl.Int16), infer_schema=False
        )
    except pl.exceptions.PolarsError:
        frame = parse(data, where, days, dict.fromkeys(days, "String"))
        frame = frame.with_columns(pl.all().cast(pl.Float64, strict=False))
    return frame.to_numpy(order="c")


def _whole(units: np.ndarray, ids: np.ndarray, days: list[str], where: str) -> np.ndarray:
    """Return the sales as integers, or raise where they are none."""
    if units.dtype.kind == "i" and units.min(initial=0) >= 0:
        return units
    bad = ~(np.isfinite(units) & (units >= 0) & (units == np.floor(units)))
    if not bad.any():
        return units.astype(np.int32)
    row, day = (int(x[0]) for x in np.nonzero(bad))
    raise DataError(
        f"{where}: {int(bad.sum())} value(s) of sales are missing, negative or not whole, first "
        f"{ids[row]} on {days[day]} ({units[row, day]:g}); units sold are whole numbers, and a "
        "file cut short must be downloaded again"
    )
