"""Forecast rows in one order, split in calibration and test, with the panel's columns beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    CivstatsError,
    ForecastError,
    PanelError,
    alias,
    level_columns,
    parse_alias,
    quantile_column,
    quantiles_of_levels,
)

Dates = Sequence[pd.Timestamp | str]


@dataclass(frozen=True)
class ConformalForecasts:
    """Forecasts of the test cutoffs with conformal intervals.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``unique_id, ds, cutoff`` and per model ``{Model}_{treatment}``, ``-median`` where it was
        there, ``-lo-80, -hi-80, ...``; sorted by series, day and cutoff.
    details : pandas.DataFrame
        How each end came about, a row per model, level and group; see the function that made it.
    """

    frame: pd.DataFrame
    details: pd.DataFrame


@dataclass(frozen=True)
class Parts:
    """The rows of each purpose, in canonical order; ``ahead`` counts days of a window from 1."""

    calibration: pd.DataFrame
    test: pd.DataFrame
    training: pd.DataFrame
    n_late: int


def split_rows(
    forecasts: pd.DataFrame,
    test: Dates | None,
    calibration: Dates | None,
    training: Dates | None,
    *,
    trained: bool,
) -> Parts:
    """Divide forecasts by their cutoffs: training, calibration, test, in this order of time.

    Outcomes after the first test cutoff are not known when the test forecasts are made: such rows
    of earlier cutoffs are left out.

    Raises
    ------
    ForecastError
        For missing columns, unknown cutoffs, cutoffs in two parts, an empty part.
    """
    missing = [c for c in (ID, DS, CUTOFF) if c not in forecasts.columns]
    if missing:
        raise ForecastError(f"the forecasts lack column(s) {', '.join(missing)}")
    rows = forecasts.copy(deep=False)
    # One order whatever the caller's: sums, and so the last bits, must not depend on it.
    rows[ID] = _category(rows[ID])
    rows = rows.sort_values([ID, DS, CUTOFF], ignore_index=True)
    repeated = int(rows.duplicated([ID, DS, CUTOFF]).sum())
    if repeated:
        raise ForecastError(f"{repeated} forecast row(s) repeat a series, day and cutoff")
    rows["ahead"] = rows.groupby(CUTOFF)[DS].rank("dense").astype(int)
    there = [pd.Timestamp(x) for x in np.sort(rows[CUTOFF].unique())]
    wanted = {"test": _dates(test, there, "test") or there[-1:]}
    before = [x for x in there if x < min(wanted["test"])]
    half = len(before) // 2 if trained and calibration is None and training is None else 0
    wanted["calibration"] = _dates(calibration, there, "calibration") or [
        x for x in before[half:] if x not in _dates(training, there, "training")
    ]
    wanted["training"] = []
    if trained:
        wanted["training"] = _dates(training, there, "training") or [
            x for x in before if x < min(wanted["calibration"], default=there[0])
        ]
    for name, cutoffs in wanted.items():
        if not cutoffs and (trained or name != "training"):
            least = 3 if trained else 2
            raise ForecastError(
                f"no cutoff is left for {name}: the forecasts have {len(there)}, and {least} or more "
                "are needed (the last for the test); raise n_windows in the backtest"
            )
    every = [x for cutoffs in wanted.values() for x in cutoffs]
    if len(set(every)) < len(every):
        raise ForecastError(
            "a cutoff serves two purposes; calibration, test and training must differ"
        )
    if max([*wanted["calibration"], *wanted["training"]]) > min(wanted["test"]):
        raise ForecastError("a calibration cutoff comes after a test cutoff; test the last ones")
    now = min(wanted["test"])
    parts = {k: rows[rows[CUTOFF].isin(v)].reset_index(drop=True) for k, v in wanted.items()}
    known = {k: parts[k][parts[k][DS] <= now] for k in ("calibration", "training")}
    late = len(parts["calibration"]) - len(known["calibration"])
    if known["calibration"].empty or (trained and known["training"].empty):
        raise ForecastError(
            f"no calibration day is over by the test cutoff {now.date()}; leave more days between "
            "the cutoffs, or calibrate on earlier ones"
        )
    old = {k: v.reset_index(drop=True) for k, v in known.items()}
    return Parts(old["calibration"], parts["test"], old["training"], late)


def outcomes(rows: pd.DataFrame, panel: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns of the panel beside forecast rows, in the rows' order.

    Raises
    ------
    PanelError
        If a column or a row is not there.
    """
    lacking = [c for c in columns if c not in panel.columns]
    if lacking:
        raise PanelError(f"the panel has no column {', '.join(lacking)}")
    held = panel.loc[panel[DS].between(rows[DS].min(), rows[DS].max()), [ID, DS, *columns]]
    ids = pd.Categorical(held[ID], categories=rows[ID].cat.categories)
    held = held.assign(**{ID: ids})[ids.codes >= 0]
    joined = rows[[ID, DS]].merge(held, on=[ID, DS], how="left", indicator=True)
    if len(joined) != len(rows):
        raise PanelError("the panel repeats a series and day; pass it through validate_panel")
    lost = (joined["_merge"] != "both").to_numpy()
    if lost.any():
        first = rows[lost].iloc[0]
        raise PanelError(
            f"the panel lacks {int(lost.sum())} of the rows needed, first {first[ID]} on "
            f"{first[DS].date()}; pass the panel that was cross-validated"
        )
    return joined[list(columns)]


def model_names(forecasts: pd.DataFrame, names: Sequence[str] | None) -> list[str]:
    """Return the columns of point forecasts: those asked for, or all of the form Model_treatment.

    Raises
    ------
    ForecastError
        If there is none, or one that was asked for is not there.
    """
    if names is not None:
        missing = [c for c in names if c not in forecasts.columns]
        if missing or not len(names):
            raise ForecastError(f"the forecasts lack column(s) {', '.join(missing) or 'asked for'}")
        return list(names)
    found = []
    for column in map(str, forecasts.columns):
        try:
            parse_alias(column)
        except ValueError:
            continue
        found.append(column)
    if not found:
        raise ForecastError("the forecasts hold no column of the form Model_treatment")
    return found


def read(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return a forecast column as numbers, all finite.

    Raises
    ------
    ForecastError
        If it is not there, or a value is missing or infinite.
    """
    if column not in rows.columns:
        raise ForecastError(
            f"the forecasts lack column {column}: rerun the backtest with that level"
        )
    values = rows[column].to_numpy(dtype=float)
    bad = ~np.isfinite(values)
    if bad.any():
        first = rows[bad].iloc[0]
        raise ForecastError(
            f"{int(bad.sum())} row(s) of {column} missing or infinite, first {first[ID]} on "
            f"{first[DS].date()}"
        )
    return values


def spread_of(mean: np.ndarray, scale: str | None) -> np.ndarray:
    """Return what a residual is divided by, positive.

    Raises
    ------
    CivstatsError
        If `scale` is unknown.
    """
    if scale is None:
        return np.ones_like(mean)
    if scale not in ("sqrt", "mean"):
        raise CivstatsError(f"scale must be 'sqrt', 'mean' or None, but got {scale!r}")
    # One unit more: a forecast of nothing is not without spread.
    wide = np.maximum(mean, 0) + 1
    return np.sqrt(wide) if scale == "sqrt" else wide


def interval_frame(
    test: pd.DataFrame,
    name: str,
    tag: str,
    ends: dict[float, tuple[np.ndarray, np.ndarray]],
    integer: bool,
) -> pd.DataFrame:
    """Lay out the columns of one model; levels nest, and the median stays inside."""
    model, treatment = parse_alias(name)
    new = alias(model + tag, treatment)
    columns = {new: read(test, name)}
    median = quantile_column(name, 0.5)
    lo, hi = np.full(len(test), np.inf), np.full(len(test), -np.inf)
    if median in test.columns:
        columns[quantile_column(new, 0.5)] = middle = read(test, median)
        lo, hi = (np.floor(middle), np.ceil(middle)) if integer else (middle, middle)
    for level in sorted(ends):
        # Only ever wider: coverage cannot suffer.
        lo, hi = np.minimum(lo, ends[level][0]), np.maximum(hi, ends[level][1])
        columns.update(zip(level_columns(new, level), (lo, hi), strict=True))
    order = [new, *(quantile_column(new, p) for p in quantiles_of_levels(list(ends)))]
    return pd.DataFrame({c: columns[c] for c in order if c in columns})


def whole_units(values: np.ndarray, what: str) -> None:
    """Refuse fractions where whole units are asked for."""
    odd = int((values != np.rint(values)).sum())
    if odd:
        raise PanelError(f"{odd} calibration row(s) with fractional {what}; pass integer=False")


def assemble(
    test: pd.DataFrame, columns: list[pd.DataFrame], details: list[dict]
) -> ConformalForecasts:
    """Put the models side by side, and hold each to the forecast contract."""
    frame = pd.concat([test[[ID, DS, CUTOFF]], *columns], axis=1)
    for part in columns:
        bad = ~np.isfinite(part.to_numpy()) | (part.to_numpy() < 0)
        if bad.any():
            raise ForecastError(
                f"{part.columns[0]}: {int(bad.any(axis=1).sum())} row(s) infinite or negative"
            )
    return ConformalForecasts(frame, pd.DataFrame(details))


def _category(ids: pd.Series) -> pd.Series:
    if isinstance(ids.dtype, pd.CategoricalDtype):
        return ids.cat.remove_unused_categories()
    return ids.astype("category")


def _dates(given: Dates | None, there: list[pd.Timestamp], what: str) -> list[pd.Timestamp]:
    if given is None:
        return []
    dates = sorted({pd.Timestamp(x) for x in given})
    unknown = [x for x in dates if x not in there]
    if unknown or not dates:
        raise ForecastError(
            f"{what}: {len(unknown)} cutoff(s) without forecasts"
            + (f", first {unknown[0].date()}" if unknown else "; name at least one")
        )
    return dates
