"""Checks shared by the censored families: counts, exposure, parameters, seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from civstats.schema import CivstatsError

ROUNDING = 1e-6  # tenths of a float32 file times ten are whole numbers only to about this


def first_bad(bad: np.ndarray) -> str:
    """Say how many entries are bad and where the first one stands."""
    where = int(np.flatnonzero(bad.reshape(-1))[0])
    return f"{int(bad.sum())} value(s), first at position {where}"


def settled(values: ArrayLike) -> np.ndarray:
    """Return float64 values, each within rounding of a whole number replaced by it."""
    values = np.asarray(values, dtype=np.float64)
    whole = np.rint(values) + 0.0  # no minus zero
    with np.errstate(invalid="ignore"):
        near = np.abs(values - whole) <= ROUNDING * np.maximum(1.0, np.abs(values))
    return np.where(near, whole, values)


def bound(c: ArrayLike) -> np.ndarray:
    """Return the smallest whole number >= 0 that is not below a bound, rounding forgiven."""
    return np.maximum(np.ceil(settled(c)), 0.0)


def counts(y: ArrayLike, name: str = "y") -> np.ndarray:
    """Return float64 whole numbers >= 0, or raise."""
    whole = settled(y)
    good = np.isfinite(whole) & (whole >= 0) & (whole == np.rint(whole))
    if not good.all():
        raise CivstatsError(
            f"{name} must hold whole numbers >= 0 for a count family, but {first_bad(~good)} is "
            "not: rescale to units, drop the rows, or use a continuous family"
        )
    return whole


def exposure_of(exposure: ArrayLike) -> np.ndarray:
    """Return the exposure as float64, or raise if it is negative or not finite."""
    values = np.asarray(exposure, dtype=np.float64)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise CivstatsError(
            f"exposure must be finite and >= 0, but {first_bad(bad)} is not: it is the share of "
            "the day's demand that falls in the hours in stock"
        )
    return values


def flags(is_censored: ArrayLike | None) -> np.ndarray:
    """Return the censoring flags as bool; None means all exact."""
    if is_censored is None:
        return np.zeros((), dtype=bool)
    values = np.asarray(is_censored)
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise CivstatsError(
            "is_censored must hold True or False, but holds other values: turn missing flags into "
            "dropped rows first"
        )
    return values.astype(bool)


def positive(name: str, value: ArrayLike, *, infinite: bool = False) -> None:
    """Raise unless every entry is positive (and finite unless `infinite`)."""
    values = np.asarray(value, dtype=np.float64)
    bad = ~(values > 0) | (np.isinf(values) & (not infinite))
    if bad.any():
        top = "inf]" if infinite else "inf)"
        raise CivstatsError(f"{name} must lie in (0, {top}, but {first_bad(bad)} does not")


def uniforms(seed: int | np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return uniforms on the open interval (0, 1)."""
    rng = np.random.default_rng(seed)
    # random() can return 0, whose quantile is the edge of the support or minus infinity.
    return np.maximum(rng.random(shape), 2.0**-54)
