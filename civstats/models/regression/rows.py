"""Per-row arguments of the regressions: flags, and columns named in a formula's data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from civstats.schema import CivstatsError


def as_flags(values: ArrayLike | None, n: int, name: str) -> np.ndarray:
    """Return boolean flags, or raise for anything that is not True or False."""
    if values is None:
        return np.zeros(n, dtype=bool)
    flags = np.asarray(values)
    if flags.dtype != bool:
        flags = flags.astype(float)
        bad = ~np.isin(flags, (0.0, 1.0))
        if bad.any():
            raise CivstatsError(
                f"{name} must hold True or False, but {int(bad.sum())} row(s) do not, first at "
                f"position {int(bad.argmax())}; pass missing='drop' to drop missing flags"
            )
    return flags.astype(bool)


def column(values: Any, name: str, data: pd.DataFrame) -> np.ndarray | None:
    """Return a column of `data` by name, or an array as it is, as floats with NaN for missing."""
    if values is None or (np.isscalar(values) and not isinstance(values, str)):
        return values  # type: ignore[return-value]
    if isinstance(values, str):
        if values not in data.columns:
            raise CivstatsError(
                f"{name}={values!r} is not a column of the data; it has {', '.join(data.columns)}"
            )
        values = data[values]
    elif isinstance(values, pd.Series):
        values = values.reindex(data.index) if not values.index.equals(data.index) else values
    given = pd.Series(np.asarray(values, dtype=object))
    out = pd.to_numeric(given, errors="coerce")
    unread = out.isna() & given.notna()
    if unread.any():
        raise CivstatsError(
            f"{name} has {int(unread.sum())} value(s) that are neither numbers nor True or False, "
            f"first {given[unread].iloc[0]!r}: recode them"
        )
    return out.to_numpy(dtype=float, na_value=np.nan)


def check_lengths(endog: Any, missing_idx: np.ndarray | None, arrays: dict[str, Any]) -> None:
    """Raise unless every array has one entry per row of the data."""
    # A formula has already dropped rows of endog: compare with what it dropped them from.
    rows = np.shape(endog)[:1] if missing_idx is None else np.shape(missing_idx)
    for name, values in arrays.items():
        if isinstance(values, np.ndarray) and values.shape != rows:
            raise CivstatsError(
                f"{name} has shape {values.shape}, but the data have {rows[0]} rows: pass one "
                "entry per row"
            )
