"""The user's own panel from a csv or parquet file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from civstats.schema import (
    DEMAND,
    DEMAND_MEAN,
    DS,
    ID,
    IN_STOCK_SHARE,
    PRICE,
    STATIC,
    STOCK,
    DataError,
    Y,
    validate_panel,
)

_NUMBERS = (Y, STOCK, IN_STOCK_SHARE, DEMAND, DEMAND_MEAN, PRICE)
_TEXT = (ID, *STATIC)
_MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]


def read_panel(path: str | Path, *, freq: str = "D") -> pd.DataFrame:
    """Read a panel from a ``.csv`` (also ``.csv.gz``) or ``.parquet`` file.

    The file has the panel's columns: at least ``unique_id, ds, y``; flags, stock, covariates and
    static attributes where they are known. Dates are written 2024-01-31. Identifiers stay text
    (``007`` is not 7, and a store may be called NA); other columns of text become categories.

    Parameters
    ----------
    path : str or pathlib.Path
    freq : str
        Pandas frequency alias of the periods.

    Returns
    -------
    pandas.DataFrame
        Validated panel.

    Raises
    ------
    DataError
        The file is missing, of another kind, unreadable, without a needed column, or holds cells
        that are no dates or numbers.
    PanelError
        The rows break the panel contract.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "sales.csv"
    >>> days = ["2024-01-01", "2024-01-02"]
    >>> pd.DataFrame({"unique_id": "a", "ds": days, "y": [3, 0]}).to_csv(path, index=False)
    >>> read_panel(path)["y"].tolist()
    [3.0, 0.0]
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist; give a csv or parquet file in panel columns")
    if path.is_dir():
        raise DataError(f"{path} is a folder; give a csv or parquet file in panel columns")
    suffix = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if suffix == "csv":
        frame = _read_csv(path)
    elif suffix in ("parquet", "pq"):
        frame = _read_parquet(path)
    else:
        raise DataError(f"{path} is neither .csv nor .parquet; save the panel as one of them")
    if frame.empty:
        raise DataError(f"{path} has no rows; a panel has one per series and period")
    frame[DS] = _dates(frame[DS], path)
    for column in _NUMBERS:
        if column in frame.columns:
            frame[column] = _numbers(frame[column], path)
    for column in (ID, *STATIC):
        # Identifiers stay text, whatever the file stored: 7 and "7" are one store.
        if column in frame.columns and not isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = frame[column].astype(str).where(frame[column].notna())
    for column in frame.columns:
        if column != ID and _is_text(frame[column]):
            frame[column] = frame[column].astype("category")
    return validate_panel(frame, freq=freq, copy=False)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        first = pd.read_csv(path, nrows=1, header=None, dtype=str, encoding="utf-8-sig").iloc[0]
        # pandas would rename the second "y" to "y.1", a covariate that knows the sales.
        repeated = first[first.notna() & first.duplicated()].unique()
        if len(repeated):
            raise DataError(
                f"{path} names column(s) {', '.join(repeated)} twice; drop or rename one"
            )
        header = pd.read_csv(path, nrows=0, encoding="utf-8-sig").columns
        _require(list(header), path)
        text = [c for c in header if c in _TEXT]
        return pd.read_csv(
            path,
            dtype=dict.fromkeys((*text, DS), str),
            keep_default_na=False,
            na_values={c: [""] if c in text else _MISSING for c in header},
            encoding="utf-8-sig",
            low_memory=False,
        )
    except DataError:
        raise
    except (ValueError, OSError, EOFError) as error:  # pandas' parser errors are ValueErrors
        raise DataError(f"{path} cannot be read as csv: {_line(error)}; mend the file") from error


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    try:
        table = pq.read_table(path)
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as parquet: {_line(error)}; write it again"
        ) from error
    _require(table.column_names, path)
    return table.to_pandas()


def _require(columns: list[str], path: Path) -> None:
    missing = [c for c in (ID, DS, Y) if c not in columns]
    if missing:
        raise DataError(
            f"{path} lacks column(s) {', '.join(missing)} (it holds "
            f"{', '.join(map(str, columns[:8]))}); rename its columns to the panel's"
        )


def _is_text(values: pd.Series) -> bool:
    return bool(pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values))


def _dates(values: pd.Series, path: Path) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    text = values.astype(str)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*mixed time zones", FutureWarning)
            dates = pd.to_datetime(text, format="ISO8601", errors="coerce")
    except (ValueError, FutureWarning) as error:
        raise DataError(f"{path}: {DS} mixes time zones; use local calendar days") from error
    _refuse(dates.isna() & values.notna(), text, path, "that is no date", "write it as 2024-01-31")
    return dates


def _numbers(values: pd.Series, path: Path) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values):
        return values
    numbers = pd.to_numeric(values, errors="coerce")
    _refuse(
        numbers.isna() & values.notna(),
        values.astype(str),
        path,
        "that is no number",
        "write it with a decimal point and nothing else",
    )
    return numbers


def _refuse(bad: pd.Series, text: pd.Series, path: Path, what: str, mend: str) -> None:
    if bad.any():
        i = int(np.argmax(bad.to_numpy()))
        raise DataError(
            f"{path}: {int(bad.sum())} row(s) with a {text.name} {what}, first "
            f"{text.iloc[i]!r} in row {i + 1}; {mend}"
        )


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
