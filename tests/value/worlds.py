"""Small worlds of demand and availability for the tests of the decision layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

DIMS = ("unique_id", "sample", "ds")


def names(n):
    return [f"s{k:03d}" for k in range(n)]


def demand_of(values, ids=None):
    """Demand paths from an array (series, sample, day)."""
    n, samples, days = values.shape
    at = {"unique_id": ids or names(n), "sample": np.arange(samples)}
    at["ds"] = pd.date_range("2024-01-01", periods=days)
    return xr.DataArray(np.asarray(values, np.float32), at, DIMS)


def world_of(demand, out, cap=0.0, share=1.0):
    """Availability with `out` days that hold `cap` units or go by the clock."""
    stock = np.where(out, np.where(np.asarray(share) < 1, np.inf, cap), np.inf)
    values = {"out": out, "stock": stock, "share": np.where(out, share, 1.0)}
    return xr.Dataset({k: (DIMS, v) for k, v in values.items()}, demand.coords)


def ones(demand):
    return pd.Series(1.0, index=demand["unique_id"].to_numpy())


def random_world(seed, n=6, samples=30, days=9):
    """Independent demand and outages, series of unlike pace and unlike luck."""
    rng = np.random.default_rng(seed)
    pace = rng.gamma(1.5, 2.0, (n, 1, 1))
    demand = demand_of(rng.poisson(pace * rng.gamma(1.5, 1 / 1.5, (n, samples, days))))
    out = rng.random(demand.shape) < rng.beta(2, 4, (n, 1, 1))
    cap = np.where(rng.random(demand.shape) < 0.5, 0, rng.poisson(3, demand.shape))
    return demand, world_of(demand, out, cap)
