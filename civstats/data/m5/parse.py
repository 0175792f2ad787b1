"""One csv table of M5 from bytes to a polars frame, with errors a user can act on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from civstats.schema import DataError

if TYPE_CHECKING:
    import polars as pl


def header(data: bytes) -> list[str]:
    """Return the column names of a csv file."""
    end = data.find(b"\n")
    line = data if end < 0 else data[:end]
    return [c.strip().strip('"') for c in line.decode("utf-8-sig", "replace").split(",")]


def require(found: Sequence[str], needed: Sequence[str], where: str) -> None:
    """Raise if a needed column is missing.

    Raises
    ------
    DataError
    """
    missing = [c for c in needed if c not in found]
    if missing:
        raise DataError(
            f"{where} lacks column(s) {', '.join(missing)} (it begins with "
            f"{', '.join(list(found)[:6])}); use the file as Kaggle provides it"
        )


def parse(
    data: bytes, where: str, needed: Sequence[str], dtypes: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Parse a csv file.

    Parameters
    ----------
    data : bytes
    where : str
        Name of the file, for errors.
    needed : sequence of str
        Columns that must be there.
    dtypes : mapping of str to str, optional
        Read only these columns, as these polars types; without it all columns, as text.

    Raises
    ------
    DataError
        Not a csv file, a column missing, or a cell that is not of its column's type.
    """
    import polars as pl

    require(header(data), needed, where)
    try:
        return pl.read_csv(
            data,
            columns=list(dtypes) if dtypes else None,
            schema_overrides={c: getattr(pl, t) for c, t in dtypes.items()} if dtypes else None,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{where} cannot be read as csv: {line}; mend the file or download it again"
        ) from error


def pick_lines(data: bytes, rows: np.ndarray, n_rows: int) -> tuple[bytes, bool]:
    """Keep the header and some rows of a csv file, so that only they need parsing.

    Returns
    -------
    data : bytes
    picked : bool
        False if lines and rows do not match one to one (blank lines, line breaks in quotes);
        the data come back whole then.
    """
    lines = data.split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) != n_rows + 1:
        return data, False
    return b"\n".join([lines[0], *(lines[i + 1] for i in rows.tolist())]), True


def codes(column: pl.Series, names: np.ndarray) -> np.ndarray:
    """Code a categorical column by its place in sorted `names`; len(names) where it is none."""
    import polars as pl

    used = column.drop_nulls().unique()
    physical, text = used.to_physical().to_numpy(), used.cast(pl.String).to_numpy().astype(str)
    table = np.full(int(physical.max(initial=0)) + 2, len(names), dtype=np.int32)
    place = np.minimum(np.searchsorted(names, text), len(names) - 1)
    known = names[place] == text
    table[physical[known]] = place[known]
    return table[column.to_physical().fill_null(len(table) - 1).to_numpy()]
