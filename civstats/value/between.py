"""The gain between two worlds walked along one draw of demand, where stock carries over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from civstats.schema import DS, ID, PRICE, CivstatsError
from civstats.value.inputs import SAMPLE, check_paths, margin_vector, price_table
from civstats.value.levers import World
from civstats.value.margins import MarginPrior, margin_draws

_CELLS = 1_000_000


def gain_between(
    demand_paths: xr.DataArray,
    base: xr.Dataset,
    improved: xr.Dataset,
    *,
    price: pd.Series | pd.DataFrame,
    margin: float | str | pd.Series | MarginPrior = 0.2,
    name: str = "faster replenishment",
    static: pd.DataFrame | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Draw what is sold more in one world than in another, both walked along the same demand.

    For levers on how goods come. Nothing is claimed path by path: where stock carries over, a day
    that is saved may be paid for by a later one, so the gain of a sample may be negative.

    Parameters
    ----------
    demand_paths : xarray.DataArray
    base, improved : xarray.Dataset
        Availability walked along these very paths (attribute ``joint``), with the same seed.
    price, margin, static
        As for :func:`gain_paths`.
    name : str
        Of the lever.
    seed : int
        Of the margin's prior.

    Returns
    -------
    xarray.Dataset
        As :func:`gain_paths` returns it.

    Raises
    ------
    CivstatsError
        If the worlds were drawn apart from demand, or anything does not match.
    """
    for world in (base, improved):
        if not world.attrs.get("joint", False):
            raise CivstatsError(
                "the two worlds must be walked along the demand paths (a shelf's paths); outages drawn "
                "apart from demand cannot tell what faster replenishment does"
            )
    base, improved = check_paths(demand_paths, base), check_paths(demand_paths, improved)
    ids = pd.Index(demand_paths[ID].to_numpy(), dtype=object)
    prices = price_table(price, ids, pd.Index(demand_paths[DS].to_numpy()))
    n, samples, horizon = demand_paths.shape
    margins = margin_draws(margin, ids, static, samples, int(seed))
    units, money = np.zeros((n, samples)), np.zeros((n, samples))
    probability, mean, lost = np.zeros(n), np.zeros(n), np.zeros(n)
    size = max(1, _CELLS // (samples * horizon))
    for k in range(0, n, size):
        i = slice(k, k + size)
        demand = np.asarray(demand_paths.data[i], dtype=np.float32)
        before, after = (
            World(*(np.asarray(x[v].data[i]) for v in ("out", "stock", "share"))).sales(demand)
            for x in (base, improved)
        )
        units[i] = (after - before).sum(axis=2, dtype=np.float64)
        money[i] = np.einsum("bst,bt->bs", after - before, prices[i])
        probability[i] = np.asarray(base["out"].data[i]).mean(axis=(1, 2))
        mean[i] = demand.sum(axis=2).mean(axis=1)
        lost[i] = (demand - before).sum(axis=2).mean(axis=1)
    both, each = (ID, SAMPLE), (ID,)
    return xr.Dataset(
        {
            "units": (both, units),
            "revenue": (both, money),
            "value": (both, money * margins),
            "stockout_probability": (each, probability),
            "demand_mean": (each, mean),
            "lost_mean": (each, lost),
            "price": (each, prices.mean(axis=1)),
            "margin": (each, margins.mean(axis=1)),
        },
        coords={ID: ids.to_numpy(), SAMPLE: np.arange(samples)},
        attrs={"estimand": "gain", "lever": name, "description": name, "days": horizon},
    )


def true_gain_between(
    panel: pd.DataFrame,
    base_sales: np.ndarray,
    improved_sales: np.ndarray,
    *,
    start: str | pd.Timestamp,
    end: str | pd.Timestamp | None = None,
    margin: float | str | pd.Series = 0.2,
) -> pd.DataFrame:
    """Return what a rerun of the shop on the same demand sold more, by series, over a span.

    Parameters
    ----------
    panel : pandas.DataFrame
        With ``price``; rows in the order of the sales.
    base_sales, improved_sales : numpy.ndarray, shape (n_rows,)
        Of two runs of the inventory simulator with one seed (``PolicyRun.sales``).
    start, end : str or Timestamp
        First and last day.
    margin : float, str or pandas.Series

    Returns
    -------
    pandas.DataFrame
        ``unique_id, units, value``; either sign.
    """
    if not len(panel) == len(base_sales) == len(improved_sales):
        raise CivstatsError(
            f"sales of {len(base_sales)} and {len(improved_sales)} rows do not belong to a panel of "
            f"{len(panel)}: rerun the policy on it"
        )
    lacking = [c for c in (ID, DS, PRICE) if c not in panel.columns]
    if lacking:
        raise CivstatsError(f"the panel has no {', '.join(lacking)}: pass its own rows")
    inside = (panel[DS] >= pd.Timestamp(start)).to_numpy()
    if end is not None:
        inside &= (panel[DS] <= pd.Timestamp(end)).to_numpy()
    more = (np.asarray(improved_sales, float) - np.asarray(base_sales, float))[inside]
    codes, ids = pd.factorize(panel[ID].astype(object)[inside])
    table = pd.DataFrame(
        {
            ID: ids,
            "units": np.bincount(codes, more),
            "value": np.bincount(codes, more * panel[PRICE].to_numpy(float)[inside]),
        }
    )
    table["value"] *= margin_vector(margin, pd.Index(ids, dtype=object), panel)
    return table
