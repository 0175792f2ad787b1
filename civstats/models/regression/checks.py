"""Checks of shapes, missing and infinite values before a regression is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from civstats.models.regression.rows import Rows, some
from civstats.schema import CivstatsError


def check_shapes(endog: Any, exog: Any, n: int, arrays: dict[str, Any]) -> None:
    """Raise unless endog is a vector, exog a matrix, and every array has `n` entries."""
    shape, wide = np.shape(endog), np.shape(exog)
    if not shape or (len(shape) > 1 and shape[1:] != (1,)):
        raise CivstatsError(f"endog has shape {shape}: pass one number per row")
    if len(wide) not in (1, 2):
        raise CivstatsError(f"exog has shape {wide}: pass one row per observation")
    if shape[0] != wide[0]:
        raise CivstatsError(
            f"endog has {shape[0]} rows and exog {wide[0]}: pass one row of each per observation"
        )
    labelled = [d.index for d in (endog, exog) if isinstance(d, (pd.Series, pd.DataFrame))]
    if len(labelled) == 2 and not labelled[0].equals(labelled[1]):
        bad = np.asarray(labelled[0] != labelled[1])
        raise CivstatsError(
            f"endog and exog have different index labels in {int(bad.sum())} of {bad.size} rows, "
            f"first at position {int(bad.argmax())}: reindex one like the other, or pass "
            ".to_numpy() to match by position"
        )
    for name, values in arrays.items():
        if isinstance(values, np.ndarray) and values.shape != (n,):
            raise CivstatsError(
                f"{name} has shape {values.shape}, but the data have {n} rows: pass one entry per "
                "row"
            )


def check_complete(
    endog: Any,
    exog: Any,
    arrays: dict[str, Any],
    rows: Rows,
    dropped: np.ndarray | None,
    missing: str,
) -> None:
    """Raise for missing values that nobody asked to drop, for none left, and for infinity.

    Parameters
    ----------
    endog, exog : array_like
        Without the rows in `dropped`.
    arrays : dict
        Further arrays, with these rows.
    rows : Rows
        All rows.
    dropped : numpy.ndarray of bool or None
        Rows that a formula has dropped.
    missing : {"none", "drop", "raise"}
        What to do with the rest.
    """
    n = rows.positions.size
    kept = np.flatnonzero(~dropped) if dropped is not None else np.arange(n)
    lacking = {} if dropped is None else {"formula": dropped}
    wide = np.asarray(exog, dtype=float)
    data = {"endog": np.asarray(endog, float).reshape(-1), "exog": wide, **arrays}
    infinite: dict[str, np.ndarray] = {}
    for name, values in data.items():
        if values is None or name in ("upper", "left", "right"):
            continue
        values = np.asarray(values, dtype=float)
        values = values if values.ndim else np.full(n, values)
        where = kept if name in ("endog", "exog") else np.arange(n)
        for found, test in ((lacking, np.isnan), (infinite, np.isinf)):
            bad = np.zeros(n, dtype=bool)
            found_bad = test(values)
            bad[where] = found_bad if values.ndim == 1 else found_bad.any(axis=1)
            if bad.any():
                found[name] = bad
    if lacking and missing != "drop":
        name, bad = next(iter(lacking.items()))
        raise CivstatsError(
            f"{name} must not be missing, but {rows.say(bad)} of {n} are: fill them or pass "
            "missing='drop'"
        )
    gone = np.any(list(lacking.values()), axis=0) if lacking else np.zeros(n, dtype=bool)
    if gone.all():
        counts = {name: f"{name} ({int(bad.sum())} of {n})" for name, bad in lacking.items()}
        if rows.missing and "formula" in counts:
            counts["formula"] = rows.missing
        raise CivstatsError(
            f"no complete row is left to fit: all {n} row(s) miss a value, in "
            f"{', '.join(counts.values()) or 'endog'}; check these columns and the merge they "
            "came from"
        )
    for name, bad in infinite.items():
        bad = bad & ~gone
        if not bad.any():
            continue
        if name != "endog":
            raise CivstatsError(
                f"{name} must be finite, but {rows.say(bad)} are infinite: replace or drop them"
            )
        flags = arrays.get("censored")
        flagged = np.zeros(n, bool) if flags is None else np.equal(flags, 1.0)
        raise CivstatsError(
            f"endog must be finite, but {rows.say(bad)} are infinite ({int((flagged & bad).sum())} "
            "of them flagged as censored): an infinite bound is no bound, so give the known "
            "finite bound and its flag, or drop the row"
        )


def check_new_data(
    exog: np.ndarray, names: list[str], exposure: Any = None, offset: Any = None
) -> None:
    """Raise unless a design matrix for prediction has the model's columns, arrays its rows."""
    if exog.ndim != 2 or exog.shape[1] != len(names):
        raise CivstatsError(
            f"exog has shape {exog.shape}, but the model has {len(names)} column(s): {some(names)}"
        )
    for name, values in (("exposure", exposure), ("offset", offset)):
        if np.ndim(values) and np.shape(values) != exog.shape[:1]:
            raise CivstatsError(
                f"{name} has shape {np.shape(values)}, but exog has {exog.shape[0]} rows: pass "
                "one entry per row, or a single number"
            )
