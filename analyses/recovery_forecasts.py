"""Every forecast of the recovery study in one parquet file, written a task at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats._io import atomic
from civstats.schema import CENSORED, CUTOFF, DEMAND, DEMAND_MEAN, DS, ID, Y

if TYPE_CHECKING:
    import pyarrow as pa

LEVELS = (80, 95)
TEXTS = ("mechanism", "model", "treatment", "trained_on")


def interval_names(level: int) -> tuple[str, str]:
    """Return the columns of an interval's ends."""
    return f"lo-{level}", f"hi-{level}"


@cache
def forecast_schema() -> pa.Schema:
    """Return the columns of ``forecasts.parquet``, the same for every task."""
    import pyarrow as pa

    text, day, number = pa.dictionary(pa.int32(), pa.string()), pa.timestamp("ns"), pa.float32()
    columns = {
        ID: text,
        DS: day,
        CUTOFF: day,
        "seed": pa.int64(),
        "mechanism": text,
        "rate": pa.float64(),
        "severity": pa.float64(),
        "model": text,
        "treatment": text,
        "trained_on": text,
        Y: number,
        CENSORED: pa.bool_(),
        DEMAND: number,
        DEMAND_MEAN: number,
        "mean": number,
    }
    columns |= {name: number for level in LEVELS for name in interval_names(level)}
    return pa.schema(list(columns.items()))


class Ledger:
    """The forecasts of one task, fit by fit.

    Parameters
    ----------
    rows : pandas.DataFrame
        What all fits share: series, day, cutoff, demand and, where known, its mean.
    seed : int
        Of the world.
    """

    def __init__(self, rows: pd.DataFrame, seed: int) -> None:
        self.rows = rows.assign(seed=seed)
        self._tables: list[pa.Table] = []

    def add(
        self,
        panel: pd.DataFrame,
        named: Mapping[str, str | float],
        values: Mapping[str, np.ndarray],
    ) -> None:
        """Keep one fit's forecasts.

        Parameters
        ----------
        panel : pandas.DataFrame
            The panel with stockouts, for sales and flags of the scored days.
        named : mapping
            What is the same in all its rows: mechanism, rate, model, ...
        values : mapping
            Mean and interval ends, in the order of the rows.
        """
        import pyarrow as pa

        seen = [c for c in (Y, CENSORED) if c in panel.columns]
        frame = self.rows.merge(panel[[ID, DS, *seen]], on=[ID, DS], how="left", validate="m:1")
        frame = frame.assign(**named, **values)
        frame = frame.assign(**{c: pd.Categorical(frame[c]) for c in (ID, *TEXTS)})
        schema = forecast_schema()
        absent = {c: pd.Series(pd.NA, index=frame.index) for c in set(schema.names) - set(frame)}
        frame = frame.assign(**absent)[schema.names]
        self._tables.append(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))

    def write(self, path: Path) -> None:
        """Write the task's part."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.concat_tables(self._tables).unify_dictionaries(), path)


def merge_parts(folder: Path, path: Path) -> int:
    """Write the tasks' parts as one file, a row group a part; return the number of rows.

    One part is in memory at a time. The file appears whole or not at all.
    """
    import pyarrow.parquet as pq

    n = 0
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, forecast_schema(), compression="zstd") as writer,
    ):
        for part in sorted(folder.glob("*.parquet")):
            table = pq.read_table(part).select(forecast_schema().names)
            writer.write_table(table.unify_dictionaries(), row_group_size=len(table))
            n += len(table)
    return n
