"""The forecast contract: what every model hands back, checked on construction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.schema.columns import (
    CUTOFF,
    DS,
    ID,
    OUTCOMES,
    PRICE,
    alias,
    quantile_column,
    quantiles_of_levels,
)
from civstats.schema.errors import ForecastError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Forecast:
    """Forecasts of one model, treatment and cutoff.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``unique_id, ds, cutoff, {Model}_{treatment}`` (the mean, units per day), and
        ``-median, -lo-80, -hi-80, ...``; sorted by series and time.
    model, treatment : str
    level : tuple of float
        Levels of the central prediction intervals, percent.
    paths : xarray.DataArray, optional
        Joint sample paths of demand, dims ``unique_id, sample, ds``: one sample index is one
        world, so sums over days and over series within a sample are draws of the total.
    marginal : pandas.DataFrame, optional
        ``unique_id, ds, family`` and the family's parameters, a row per forecast row (mixtures
        hold several rows with a ``weight``).

    Raises
    ------
    ForecastError
        For a missing, infinite or negative value, or crossing quantiles.
    """

    frame: pd.DataFrame
    model: str
    treatment: str
    level: tuple[float, ...] = ()
    paths: xr.DataArray | None = None
    marginal: pd.DataFrame | None = field(default=None)

    def __post_init__(self) -> None:
        missing = [c for c in (ID, DS, CUTOFF, *self.columns) if c not in self.frame.columns]
        if missing:
            raise ForecastError(f"{self.name}: the forecast lacks column(s) {', '.join(missing)}")
        values = self.frame[self.columns].to_numpy(dtype=float)
        if len(values) == 0:
            raise ForecastError(f"{self.name}: the forecast has no rows")
        bad = ~np.isfinite(values) | (values < 0)
        if bad.any():
            row, column = (int(x[0]) for x in np.nonzero(bad))
            raise ForecastError(
                f"{self.name}: {int(bad.any(axis=1).sum())} row(s) with a missing, infinite or "
                f"negative forecast, first {self.frame[ID].iloc[row]} on "
                f"{self.frame[DS].iloc[row].date()} in {self.columns[column]}"
            )
        steps = np.diff(values[:, 1:], axis=1)
        if (steps < -1e-6 * (1 + np.abs(values[:, 1:-1]))).any():
            row = int(np.nonzero((steps < 0).any(axis=1))[0][0])
            raise ForecastError(
                f"{self.name}: quantiles cross, first {self.frame[ID].iloc[row]} on "
                f"{self.frame[DS].iloc[row].date()}"
            )
        if self.paths is not None and tuple(self.paths.dims) != (ID, "sample", DS):
            raise ForecastError(
                f"{self.name}: paths have dims {tuple(self.paths.dims)}, not ({ID}, sample, {DS})"
            )

    @property
    def name(self) -> str:
        """The column of the mean, ``{Model}_{treatment}``."""
        return alias(self.model, self.treatment)

    @property
    def columns(self) -> list[str]:
        """The mean's column and the quantiles' columns in increasing order of probability."""
        return [
            self.name,
            *(quantile_column(self.name, p) for p in quantiles_of_levels(self.level)),
        ]


def check_future(future: pd.DataFrame) -> None:
    """Refuse a `future` that carries what nobody knows at the cutoff.

    Raises
    ------
    ForecastError
        If it is empty, a key is missing or repeats, days are no dates without time zone, a price
        is no number or below 0, or an outcome (sales, stock, flags, truth) is there.
    """
    missing = [c for c in (ID, DS) if c not in future.columns]
    if missing:
        raise ForecastError(f"future lacks column(s) {', '.join(missing)}")
    leaked = [c for c in OUTCOMES if c in future.columns]
    if leaked:
        raise ForecastError(
            f"future carries {', '.join(leaked)}, unknown at the cutoff; drop them before predicting"
        )
    if not len(future):
        raise ForecastError("future has no rows; give the days to forecast, for every series")
    if not pd.api.types.is_datetime64_dtype(future[DS]):
        raise ForecastError(
            f"{DS} of future must be dates without time zone, but is {future[DS].dtype}; "
            "use pandas.to_datetime, and tz_localize(None) for a time zone"
        )
    repeated = int(future.duplicated([ID, DS]).sum())
    if repeated:
        raise ForecastError(f"future repeats {repeated} series and date(s); drop the repeats")
    if PRICE in future.columns:
        _check_prices(future)


def _check_prices(future: pd.DataFrame) -> None:
    price = future[PRICE]
    if not pd.api.types.is_numeric_dtype(price):
        raise ForecastError(
            f"{PRICE} of future must be numbers, but is {price.dtype}; use pandas.to_numeric"
        )
    bad = (price < 0) | np.isinf(price.to_numpy(dtype=float))
    if bad.any():
        at = future.loc[bad].iloc[0]
        raise ForecastError(
            f"{int(bad.sum())} price(s) of future are negative or infinite, first {at[PRICE]} on "
            f"{at[DS].date()} for {at[ID]}; correct them, or leave unknown prices empty"
        )
