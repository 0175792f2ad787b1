"""From a mean and calibration residuals to a Forecast: quantiles, marginals, joint paths."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.models._negbin import sales_unit
from civstats.models._paths import residual_paths, residual_quantiles
from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    Forecast,
    alias,
    quantile_column,
    quantiles_of_levels,
)


def assemble(
    keys: pd.DataFrame,
    cutoff: pd.Timestamp,
    mean: np.ndarray,
    fitted: np.ndarray,
    actual: np.ndarray,
    size: np.ndarray,
    censored: np.ndarray | None = None,
    *,
    model: str,
    treatment: str,
    level: list[float],
    n_paths: int,
    seed: int,
) -> Forecast:
    """Build the forecast of the rows of `keys`.

    Parameters
    ----------
    keys : pandas.DataFrame
        ``unique_id, ds``, rectangular, sorted by series and time.
    mean : numpy.ndarray, shape (n_series, n_days)
    fitted, actual : numpy.ndarray, shape (n_series, n_origins, n_days)
        As for :func:`civstats.models._paths.residual_paths`.
    size : numpy.ndarray, shape (n_series, 1)
        Dispersion of each series.
    censored : numpy.ndarray of bool, shape (n_series, n_origins, n_days), optional
        Where `actual` is a lower bound.
    """
    probabilities = quantiles_of_levels(level)
    quantiles = residual_quantiles(mean, fitted, actual, None, probabilities, size=size)
    column = alias(model, treatment)
    frame = pd.DataFrame({ID: keys[ID].array, DS: keys[DS].array, CUTOFF: cutoff})
    frame[column] = mean.ravel()
    for j, p in enumerate(probabilities):
        frame[quantile_column(column, p)] = quantiles[..., j].ravel().astype(float)
    marginal = None
    if sales_unit(actual[np.isfinite(actual)]) == 1:
        marginal = frame[[ID, DS]].assign(
            family="negbin", mean=mean.ravel(), dispersion=np.repeat(size[:, 0], mean.shape[1])
        )
    paths = None
    if n_paths:
        import xarray as xr

        rng = np.random.default_rng(seed)
        paths = xr.DataArray(
            residual_paths(mean, fitted, actual, None, n_paths, rng, size=size, censored=censored),
            dims=(ID, "sample", DS),
            coords={
                ID: keys[ID].iloc[:: mean.shape[1]].astype(object).to_numpy(),
                "sample": np.arange(n_paths),
                DS: keys[DS].iloc[: mean.shape[1]].to_numpy(),
            },
        )
    return Forecast(frame, model, treatment, tuple(level), paths, marginal)
