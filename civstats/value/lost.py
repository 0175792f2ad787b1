"""What stockouts lost in the past: joint draws of demand on stockout days, less what was sold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from civstats.schema import DS, ID, PRICE, STOCKOUT, CivstatsError, Y
from civstats.value.inputs import SAMPLE
from civstats.value.margins import MarginPrior, margin_draws

_AT_ONCE = 200_000


def lost_paths(
    recovery: Any,
    *,
    price: pd.Series | pd.DataFrame,
    margin: float | str | pd.Series | MarginPrior = 0.2,
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
    static: pd.DataFrame | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Draw what was lost on past stockout days, demand given observed sales: the realised loss.

    It is about days that have been, and no lever has a part in it; what a lever would bring in
    days to come is :func:`gain_paths`. The two are never added: a lost unit does not come back.

    Parameters
    ----------
    recovery : object
        What a recovery hands back (the demand filter's, or a Bayesian model's): ``frame`` with
        ``unique_id, ds, y, stockout``; ``rows``, the frame's rows with draws; ``samples``
        (n_rows, n_draws), demand on them, column by column one joint world.
    price : pandas.Series or pandas.DataFrame
        Per series, or ``unique_id, ds, price``; the panel itself will do.
    margin : float, str, pandas.Series or MarginPrior
        As for :func:`gain_paths`.
    start, end : str or Timestamp, optional
        First and last day of the span; all days by default.
    static : pandas.DataFrame, optional
    seed : int
        Of the margin's prior.

    Returns
    -------
    xarray.Dataset
        ``units``, ``revenue``, ``value`` (dims ``unique_id, sample``), and per series ``days_out``,
        ``price`` (mean over its stockout days; NaN without one), ``margin``. Attributes:
        ``estimand`` ("lost"), ``start``, ``end``. All series of the frame are in it.

    Raises
    ------
    CivstatsError
        Without draws, where a stockout day of the span has none, or without its price.
    """
    frame, rows, samples = recovery.frame, np.asarray(recovery.rows), recovery.samples
    if samples is None:
        raise CivstatsError("this recovery has no draws: call recover with n_draws above 0")
    days = frame[DS].to_numpy()
    first = days.min() if start is None else pd.Timestamp(start).to_datetime64()
    last = days.max() if end is None else pd.Timestamp(end).to_datetime64()
    inside = (days[rows] >= first) & (days[rows] <= last)
    asked = frame[STOCKOUT].to_numpy(bool) & (days >= first) & (days <= last)
    if int(asked.sum()) != int(inside.sum()):
        raise CivstatsError(
            f"{int(asked.sum())} stockout days lie in the span but {int(inside.sum())} have draws: "
            "recover all series"
        )
    picked = np.flatnonzero(inside)
    at = rows[picked]
    series, ids = pd.factorize(frame[ID].astype(object))
    ids = pd.Index(ids, dtype=object)
    code, n, draws = series[at], len(ids), samples.shape[1]
    unit = _prices(price, frame, at)
    units, revenue = np.zeros((n, draws)), np.zeros((n, draws))
    sold = frame[Y].to_numpy(dtype=float)
    size = max(1, _AT_ONCE // draws)
    for k in range(0, len(at), size):
        i = slice(k, k + size)
        lost = np.maximum(samples[picked[i]] - sold[at[i], None], 0.0)
        np.add.at(units, code[i], lost)
        np.add.at(revenue, code[i], lost * unit[i, None])
    margins = margin_draws(margin, ids, static, draws, int(seed))
    count = np.bincount(code, minlength=n)
    with np.errstate(invalid="ignore"):
        mean_price = np.bincount(code, unit, minlength=n) / count
    both, each = (ID, SAMPLE), (ID,)
    return xr.Dataset(
        {
            "units": (both, units),
            "revenue": (both, revenue),
            "value": (both, revenue * margins),
            "days_out": (each, count),
            "price": (each, mean_price),
            "margin": (each, margins.mean(axis=1)),
        },
        coords={ID: ids.to_numpy(), SAMPLE: np.arange(draws)},
        attrs={
            "estimand": "lost",
            "start": str(pd.Timestamp(first).date()),
            "end": str(pd.Timestamp(last).date()),
        },
    )


def _prices(price: pd.Series | pd.DataFrame, frame: pd.DataFrame, at: np.ndarray) -> np.ndarray:
    """Return the price of each of the rows `at`."""
    names = frame[ID].astype(object).to_numpy()[at]
    if isinstance(price, pd.Series):
        each = pd.Series(price.to_numpy(dtype=float), index=price.index.astype(object))
        unit = each.reindex(names).to_numpy()
    elif isinstance(price, pd.DataFrame) and {ID, DS, PRICE} <= set(price.columns):
        keys = pd.MultiIndex.from_arrays([price[ID].astype(object), price[DS]])
        each = pd.Series(price[PRICE].to_numpy(dtype=float), index=keys)
        unit = each.reindex(pd.MultiIndex.from_arrays([names, frame[DS].to_numpy()[at]])).to_numpy()
    else:
        raise CivstatsError(f"price must be a Series per {ID} or a frame with {ID}, {DS}, {PRICE}")
    bad = ~(np.isfinite(unit) & (np.nan_to_num(unit) >= 0))
    if bad.any():
        raise CivstatsError(
            f"{int(bad.sum())} stockout day(s) have no price, first {names[bad][0]}: fill it"
        )
    return unit
