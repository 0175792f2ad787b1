"""Errors of the formula engine said in one line, for fitting and for prediction."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from civstats.models.regression.rows import Rows, some
from civstats.schema import CivstatsError


def is_formula_error(error: BaseException) -> bool:
    """Return True for errors raised by the formula engine."""
    return type(error).__module__.split(".")[0] in ("patsy", "formulaic")


def first_line(error: BaseException) -> str:
    """Return what an error says before its source listing."""
    return str(error).strip().split("\n")[0].strip()


def as_frame(data: Any) -> pd.DataFrame:
    """Return a pandas frame of what statsmodels takes: frames, dicts, record arrays."""
    if isinstance(data, pd.DataFrame):
        return data
    try:
        return data.to_pandas() if hasattr(data, "to_pandas") else pd.DataFrame(data)
    except ValueError as error:
        raise CivstatsError(
            f"data cannot be read as a table ({first_line(error)}): pass a DataFrame"
        ) from error


def take_subset(data: pd.DataFrame, subset: Any) -> tuple[pd.DataFrame, Rows]:
    """Return the rows of a subset, and their positions in the data."""
    rows = Rows.of(data)
    if subset is None:
        return data, rows
    try:
        rows.positions = pd.Series(rows.positions, index=data.index).loc[subset].to_numpy()
        return data.loc[subset], rows
    except (KeyError, IndexError, TypeError, ValueError, pd.errors.IndexingError) as error:
        raise CivstatsError(
            f"subset (length {np.size(subset)}) does not fit the data of {len(data)} rows "
            f"({first_line(error)}): pass one True or False per row, or labels of its index"
        ) from error


def used_columns(formula: Any, columns: Any) -> list[str]:
    """Return the columns that a formula names."""
    words = set(re.findall(r"[^\W\d]\w*", str(formula)))
    return [str(c) for c in columns if c in words or f"Q('{c}')" in str(formula)]


def missing_in(formula: Any, data: pd.DataFrame) -> str:
    """Return which columns of a formula miss how many values."""
    counts = {c: int(data[c].isna().sum()) for c in used_columns(formula, data.columns)}
    return ", ".join(f"{c} ({k} of {len(data)})" for c, k in counts.items() if k)


def refuse_formula(error: Exception, formula: Any, data: pd.DataFrame, rows: Rows) -> CivstatsError:
    """Return the one-line error for a formula that the data cannot feed."""
    text, used = first_line(error), used_columns(formula, data.columns)
    missing = np.asarray(data[used].isna().any(axis=1), dtype=bool)
    if "multiple columns" in text:
        return CivstatsError(
            f"the left side of {formula!r} is not a number: text and True or False are read as "
            "categories; convert the column, as by .astype(float)"
        )
    if missing.all() and len(data):
        empty = [c for c in used if data[c].isna().all()]
        return CivstatsError(
            f"no complete row is left to fit: all {len(data)} row(s) miss a value in {formula!r}"
            + (f" (wholly missing: {some(empty)})" if empty else "")
        )
    if "missing values" in text and missing.any():
        return CivstatsError(
            f"{some([c for c in used if data[c].isna().any()])} must not be missing, but "
            f"{rows.say(missing)} are: fill them or pass missing='drop'"
        )
    return CivstatsError(
        f"the formula {formula!r} cannot be read on these data: {text}; the data have "
        f"{some(data.columns)}"
    )


def refuse_numbers_as_text(spec: Any, n: int) -> None:
    """Raise if a column of numbers stored as text has become one category per value."""
    for factor, info in getattr(spec, "factor_infos", {}).items():
        levels = info.categories if info.type == "categorical" else ()
        if len(levels) <= max(10, n // 2) or not all(isinstance(v, str) for v in levels):
            continue
        if pd.to_numeric(pd.Series(levels), errors="coerce").notna().all():
            raise CivstatsError(
                f"{factor.name()} holds numbers stored as text, {len(levels)} levels in {n} rows, "
                "and would get a coefficient per level: convert it with pd.to_numeric"
            )


def refuse_prediction(error: Exception | None, model: Any, new: Any) -> CivstatsError:
    """Return the one-line error for new data that the formula of a fit cannot take."""
    spec = getattr(model, "model_spec", None) or model.data.model_spec
    right = str(model.formula).split("~", 1)[-1]
    has = (
        list(new.columns)
        if isinstance(new, pd.DataFrame)
        else list(new)
        if (isinstance(new, dict))
        else None
    )
    if has is None:
        return CivstatsError(
            f"the model was fitted by the formula {model.formula!r}: predict needs a DataFrame "
            f"with {some(used_columns(right, model.data.frame.columns))}, but got "
            f"{type(new).__name__}; pass transform=False for a design matrix"
        )
    lacking = [c for c in used_columns(right, model.data.frame.columns) if c not in has]
    if lacking:
        return CivstatsError(
            f"the new data lack the column(s) {some(lacking)} of the formula {model.formula!r}; "
            f"they have {some(has)}"
        )
    for factor, info in getattr(spec, "factor_infos", {}).items():
        name = re.sub(r"^C\(\s*(\w+).*\)$", r"\1", factor.name())
        if info.type != "categorical" or name not in has:
            continue
        values = pd.Series(np.asarray(new[name], dtype=object))
        bad = (values.notna() & ~values.isin(list(info.categories))).to_numpy()
        if bad.any():
            return CivstatsError(
                f"{name} has levels that the fit has not seen in {int(bad.sum())} row(s), first "
                f"{values[bad].iloc[0]!r} at position {int(bad.argmax())}: it knows "
                f"{some(info.categories)}; drop or recode these rows"
            )
    cause = None if error is None else error.__cause__ or error
    text = "" if cause is None else first_line(cause)
    return CivstatsError(f"the new data do not fit the formula {model.formula!r}: {text}")
