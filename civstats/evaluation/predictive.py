"""Finds each forecast row's predictive distribution, and refuses what does not belong to it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from civstats.evaluation.alignment import Alignment
from civstats.evaluation.distributions import Distribution, DrawRows, NegBinRows, components
from civstats.schema import CUTOFF, DS, ID, Forecast, ForecastError

_NEAR, _LEAST = 0.02, 0.01
"""How far the mean of a family may lie from the forecast's: relative, and units."""
_ERRORS, _FEW = 8.0, 0.01
"""Standard errors that the mean of draws may lie off besides, and the share of rows beyond them."""


def read_distributions(forecasts: Iterable[Forecast], aligned: Alignment) -> Distribution | None:
    """Return a model's predictive distributions on the rows of an alignment.

    Parameters
    ----------
    forecasts : iterable of Forecast
        Of one model, a cutoff each; marginals are preferred to paths.
    aligned : Alignment

    Returns
    -------
    Distribution or None
        Rows that no forecast covers hold NaN; None if none of them has marginals or paths.

    Raises
    ------
    ForecastError
        For marginals of another family than ``negbin``, of a shape that is not rectangular, or two
        forecasts for the same rows.
    """
    n = len(aligned.series)
    taken = np.zeros(n, dtype=bool)
    families: list[tuple[np.ndarray, tuple[np.ndarray, ...]]] = []
    draws: list[tuple[np.ndarray, np.ndarray]] = []
    for forecast in forecasts:
        rows, at, found = _place(forecast, aligned)
        if found is None or not len(rows):
            continue
        if taken[rows].any():
            first = int(rows[taken[rows].argmax()])
            raise ForecastError(
                f"{forecast.name}: {int(taken[rows].sum())} row(s) have two distributions (first "
                f"{aligned.where(first)}, cutoff {aligned.cutoffs[aligned.cutoff[first]].date()}); "
                "hand in one forecast of a model and cutoff"
            )
        taken[rows] = True
        if isinstance(found, tuple):
            families.append((rows, tuple(x[at] for x in found)))
        else:
            draws.append((rows, found[at]))
    if families and draws:
        raise ForecastError("some cutoffs have marginals and some only paths: hand in one kind")
    if families:
        width = max(part[0].shape[1] for _, part in families)
        arrays = [np.full((n, width), np.nan) for _ in range(3)]
        for rows, part in families:
            # Components that another cutoff has more of weigh nothing.
            for array, values, fill in zip(arrays, part, (0.0, 1.0, 1.0), strict=True):
                array[rows, : values.shape[1]] = values
                array[rows, values.shape[1] :] = fill
        return NegBinRows(*arrays)
    if not draws:
        return None
    width = min(values.shape[1] for _, values in draws)
    out = np.full((n, width), np.nan, dtype=np.float32)
    for rows, values in draws:
        out[rows] = values[:, :width]
    return DrawRows(out)


def _place(
    forecast: Forecast, aligned: Alignment
) -> tuple[np.ndarray, np.ndarray, np.ndarray | tuple[np.ndarray, ...] | None]:
    """Find the aligned rows of one forecast, their place in it, and its distributions by place."""
    nowhere = np.empty(0, dtype=int)
    found: np.ndarray | tuple[np.ndarray, ...]
    if forecast.marginal is not None:
        ids, ds = (forecast.marginal[c].unique() for c in (ID, DS))
        found = components(forecast.marginal, len(ids) * len(ds), forecast.name)
        _refuse_disorder(forecast.marginal, len(ids), len(ds), forecast.name)
    elif forecast.paths is not None:
        ids, ds = (forecast.paths[c].to_numpy() for c in (ID, DS))
        values = forecast.paths.to_numpy()
        if not np.isfinite(values).all():
            raise ForecastError(f"{forecast.name}: paths hold missing or infinite values")
        found = values.transpose(0, 2, 1).reshape(len(ids) * len(ds), -1)
    else:
        return nowhere, nowhere, None
    cutoffs = aligned.cutoffs.get_indexer(pd.Index(forecast.frame[CUTOFF].unique()))
    mine = np.flatnonzero(np.isin(aligned.cutoff, cutoffs))
    i = pd.Index(ids).get_indexer(aligned.ids)[aligned.series[mine]]
    t = pd.DatetimeIndex(ds).get_indexer(aligned.days)[aligned.column_day[aligned.column[mine]]]
    held = (i >= 0) & (t >= 0)
    return mine[held], (i * len(ds) + t)[held], found


def _refuse_disorder(marginal: pd.DataFrame, n_ids: int, n_days: int, name: str) -> None:
    """Raise where marginals are not a full table sorted by series, then day."""
    k = len(marginal) // max(n_ids * n_days, 1)
    i = pd.factorize(marginal[ID])[0].reshape(n_ids, n_days * k)
    t = pd.factorize(marginal[DS])[0].reshape(n_ids, n_days, k)
    if (i != np.arange(n_ids)[:, None]).any() or (t != np.arange(n_days)[:, None]).any():
        raise ForecastError(
            f"{name}: the marginals are not sorted by series, then day, with the same days for every "
            "series; sort them"
        )


def refuse_other_means(name: str, distribution: Distribution, aligned: Alignment) -> None:
    """Raise where the mean in the frame is not that of the distribution beside it.

    A family has the frame's mean but for rounding. The mean of draws is within their Monte Carlo
    error, save for a few rows: heavy tails make draws understate it.

    Parameters
    ----------
    name : str
        Column of the mean.
    distribution : Distribution
        Of the aligned rows; rows without one are passed over.
    aligned : Alignment

    Raises
    ------
    ForecastError
        If they disagree: bias and RMSE would then be of one forecast, CRPS and coverage of another.
    """
    mean, own = aligned.read(name, "mean"), distribution.expectation()
    allowed = _NEAR * mean + _LEAST
    few = 0.0
    if isinstance(distribution, DrawRows):
        n_draws = distribution.draws.shape[1]
        # Rare sales may be in none of the draws: their variance is at least that of a Poisson.
        squares = np.einsum("ij,ij->i", distribution.draws, distribution.draws, dtype=float)
        variance = np.maximum(squares / n_draws - own**2, mean)
        allowed = allowed + _ERRORS * np.sqrt(variance / n_draws)
        few = _FEW
    known = np.isfinite(own)
    off = known & (np.abs(own - mean) > allowed)
    if off.sum() > few * known.sum():
        i = int(off.argmax())
        raise ForecastError(
            f"{name}: in {int(off.sum())} row(s) the distribution has another mean than the frame "
            f"(first {aligned.where(i)}: {own[i]:.3g}, frame {mean[i]:.3g}); hand in the forecasts "
            "that the frame was made of"
        )
