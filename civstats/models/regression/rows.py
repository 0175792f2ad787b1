"""Per-row arguments of the regressions: read as numbers, matched to the data, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from civstats.schema import CivstatsError


@dataclass
class Rows:
    """Which rows of the caller's data are in the model.

    Attributes
    ----------
    total : int
        Rows the caller gave.
    index : pandas.Index or None
        Their labels, where they had any.
    positions : numpy.ndarray of int
        Positions in the caller's data of the rows held now, in their order.
    missing : str
        Which of a formula's columns miss how many values.
    """

    total: int
    index: pd.Index | None
    positions: np.ndarray
    missing: str = ""

    @classmethod
    def of(cls, *data: Any) -> Rows:
        """Return all rows of the first thing that has an index, or of the first."""
        index = next((d.index for d in data if isinstance(d, (pd.Series, pd.DataFrame))), None)
        total = np.shape(data[0])[0] if np.ndim(data[0]) else 0
        return cls(total, index, np.arange(total))

    def say(self, bad: np.ndarray, noun: str = "row(s)") -> str:
        """Say how many of the rows held now are bad and where the caller finds the first."""
        first = self.positions[int(np.argmax(bad))]
        return f"{int(np.sum(bad))} {noun} (first at position {first})"

    def match(self, values: pd.Series | pd.DataFrame, name: str) -> np.ndarray:
        """Return entries matched to the rows held now by index label, or raise."""
        if self.index is None:
            return self.pick(values.to_numpy(), name)
        if len(values) == self.total and values.index.equals(self.index):
            return values.to_numpy()[self.positions]
        labels = self.index[self.positions]
        if values.index.equals(labels):
            return values.to_numpy()
        if not (values.index.is_unique and self.index.is_unique):
            raise CivstatsError(
                f"{name} cannot be matched to the data by index, because labels are repeated "
                f"({len(values)} entries, {self.total} rows of data): pass .to_numpy() to match "
                "by position"
            )
        lacking = ~labels.isin(values.index)
        if lacking.any():
            raise CivstatsError(
                f"{name} has no entry for {self.say(lacking)} (label "
                f"{str(labels[int(lacking.argmax())])!r}), out of {len(labels)}: give it the index of "
                "the data, or pass .to_numpy() to match by position"
            )
        return values.reindex(labels).to_numpy()

    def pick(self, values: np.ndarray, name: str, *between: int) -> np.ndarray:
        """Return entries of the rows held now from an array over all rows, or over these."""
        if values.ndim and values.shape[0] == self.positions.size:
            return values
        if values.ndim and values.shape[0] == self.total:
            return values[self.positions]
        allowed = sorted({self.total, *between, self.positions.size}, reverse=True)
        raise CivstatsError(
            f"{name} has shape {values.shape}, but the data have {self.total} rows, of which "
            f"{self.positions.size} are used: pass one entry per row, so "
            f"{' or '.join(map(str, allowed))}"
        )


def as_numbers(values: Any, name: str) -> np.ndarray:
    """Return an array as floats (booleans as they are), NaN for missing, or raise for text."""
    plain = np.asarray(values)
    if plain.dtype == bool or np.issubdtype(plain.dtype, np.floating):
        return plain
    if np.issubdtype(plain.dtype, np.integer):
        return plain.astype(float)
    if plain.ndim > 1:
        columns = [as_numbers(plain[:, j], f"{name}[:, {j}]") for j in range(plain.shape[1])]
        return np.column_stack(columns).astype(float)
    given = pd.Series(np.atleast_1d(plain).astype(object))
    out = pd.to_numeric(given, errors="coerce")
    unread = (out.isna() & given.notna()).to_numpy()
    if unread.any():
        where = int(unread.argmax())
        raise CivstatsError(
            f"{name} has {int(unread.sum())} value(s) that are neither numbers nor True or "
            f"False, first {given.iloc[where]!r} at position {where}: recode them"
        )
    return out.to_numpy(dtype=float, na_value=np.nan).reshape(plain.shape)


def numeric_data(data: Any, name: str) -> Any:
    """Return endog or exog with numbers only, its labels kept; text raises."""
    if isinstance(data, pd.DataFrame):
        if all(isinstance(t, np.dtype) and t.kind == "f" for t in data.dtypes):
            return data
        columns = [
            as_numbers(data.iloc[:, j], f"{name} column {c!r}") for j, c in enumerate(data.columns)
        ]
        values = np.column_stack(columns).astype(float) if columns else np.empty(data.shape)
        return pd.DataFrame(values, index=data.index, columns=data.columns)
    values = as_numbers(data, name).astype(float, copy=False)
    if isinstance(data, pd.Series):
        return pd.Series(values, index=data.index, name=data.name)
    return values


def as_flags(values: ArrayLike | None, rows: Rows, name: str) -> np.ndarray:
    """Return boolean flags, one per row held, or raise for anything that is not True or False."""
    if values is None:
        return np.zeros(rows.positions.size, dtype=bool)
    flags = np.broadcast_to(as_numbers(values, name), rows.positions.shape)
    if flags.dtype != bool:
        bad = ~np.isin(flags, (0.0, 1.0))
        if bad.any():
            raise CivstatsError(
                f"{name} must hold True or False, but {rows.say(bad)}, do not: recode them, or "
                "pass missing='drop' to drop missing flags"
            )
    return np.array(flags, dtype=bool)


def column(values: Any, name: str, data: pd.DataFrame, rows: Rows) -> Any:
    """Return a column of `data` by name, or an array fitted to it, as floats, NaN for missing."""
    if values is None or (np.isscalar(values) and not isinstance(values, str)):
        return values
    if isinstance(values, str):
        if values not in data.columns:
            raise CivstatsError(
                f"{name}={values!r} is not a column of the data; it has {some(data.columns)}"
            )
        values = data[values].to_numpy()
    elif isinstance(values, pd.Series):
        values = rows.match(values, name)
    else:
        values = rows.pick(np.asarray(values), name)
    return as_numbers(values, name).astype(float)


def some(names: Any, limit: int = 12) -> str:
    """Return names as text, cut where they would fill the screen."""
    names = [str(n) for n in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
