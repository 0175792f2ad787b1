"""Counterfactual sales by common random numbers: what a lever gains, sample by sample."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd
import xarray as xr

from civstats.schema import DS, ID, check_share
from civstats.value.conditional import demand_given_stockout
from civstats.value.inputs import SAMPLE, check_paths, margin_vector, price_table
from civstats.value.levers import World, find_lever

_CELLS = 1_000_000


def gain_paths(
    demand_paths: xr.DataArray,
    availability_paths: xr.Dataset,
    *,
    price: pd.Series | pd.DataFrame,
    margin: float | str | pd.Series = 0.2,
    lever: str = "averted",
    share: float = 0.2,
    static: pd.DataFrame | None = None,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Draw what a lever gains over the horizon: a policy gain, base and improved world on one draw.

    Demand of a capped day is drawn given that the shelf ran empty. Nothing is said about days in
    stock, which gain nothing; expected base sales are therefore the mean demand less
    ``lost_mean``, not a sum over drawn days.

    Parameters
    ----------
    demand_paths : xarray.DataArray
        Dims ``unique_id, sample, ds``, units a day.
    availability_paths : xarray.Dataset
        ``out``, ``stock``, ``share`` on the same dims, as ``Availability.paths`` draws them.
    price : pandas.Series or pandas.DataFrame
        Per series, or ``unique_id, ds, price``.
    margin : float, str or pandas.Series
        Share of the price, for all, a column of `static`, or per series.
    lever : str
        A name in ``LEVERS``.
    share : float
        Its strength, in [0, 1].
    static : pandas.DataFrame, optional
        Attributes by ``unique_id``.
    seed : int or numpy.random.Generator
        The lever's uniforms; a series' own depend on the seed and its identifier alone, so they are
        the same in every strength and in every subset of series.

    Returns
    -------
    xarray.Dataset
        ``units``, ``value`` (dims ``unique_id, sample``; sums over days) and per series
        ``stockout_probability``, ``demand_mean`` and ``lost_mean`` (units over the horizon),
        ``price`` (mean over days), ``margin``. Attributes: ``lever``, ``share``, ``days``,
        ``unreached`` (capped draws whose cap no sample of demand reaches) and ``capped``.

    Raises
    ------
    CivstatsError
        Paths that do not match, a missing price, a share or margin out of range, unknown lever.
    """
    chosen, strength = find_lever(lever), check_share("share", share)
    availability = check_paths(demand_paths, availability_paths)
    ids = pd.Index(demand_paths[ID].to_numpy(), dtype=object)
    days = pd.Index(demand_paths[DS].to_numpy())
    prices, margins = price_table(price, ids, days), margin_vector(margin, ids, static)
    n, samples, horizon = demand_paths.shape
    units, money = np.zeros((n, samples)), np.zeros((n, samples))
    probability, mean, lost = np.zeros(n), np.zeros(n), np.zeros(n)
    entropy = int(seed.integers(2**63) if isinstance(seed, np.random.Generator) else seed)
    unreached = n_capped = 0
    size = max(1, _CELLS // (samples * horizon))
    for k in range(0, n, size):
        i = slice(k, k + size)
        demand = np.asarray(demand_paths.data[i], dtype=np.float32)
        base = World(*(np.asarray(availability[v].data[i]) for v in ("out", "stock", "share")))
        probability[i], mean[i] = base.out.mean(axis=(1, 2)), demand.sum(axis=2).mean(axis=1)
        if not base.out.any():
            continue
        uniform, tie = _uniforms(ids[i], entropy, (samples, horizon))
        capped = base.out & (base.stock > 0) & np.isfinite(base.stock)
        demand, missed = demand_given_stockout(demand, base.stock, capped, tie)
        unreached, n_capped = unreached + missed, n_capped + int(capped.sum())
        sold = base.sales(demand)
        lost[i] = (demand - sold).sum(axis=2).mean(axis=1)
        gain = chosen.improve(base, uniform, strength).sales(demand) - sold
        units[i] = gain.sum(axis=2, dtype=np.float64)
        money[i] = np.einsum("bst,bt->bs", gain, prices[i] * margins[i, None])
    both, each = (ID, SAMPLE), (ID,)
    return xr.Dataset(
        {
            "units": (both, units),
            "value": (both, money),
            "stockout_probability": (each, probability),
            "demand_mean": (each, mean),
            "lost_mean": (each, lost),
            "price": (each, prices.mean(axis=1)),
            "margin": (each, margins),
        },
        coords={ID: ids.to_numpy(), SAMPLE: np.arange(samples)},
        attrs={
            "lever": lever,
            "share": strength,
            "days": horizon,
            "unreached": unreached,
            "capped": n_capped,
        },
    )


def _uniforms(ids: pd.Index, entropy: int, shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Draw each series' uniforms for the lever and for ties, keyed by seed and identifier."""
    both = np.empty((2, len(ids), *shape), np.float32)
    for k, name in enumerate(ids):
        rng = np.random.default_rng([entropy, zlib.crc32(str(name).encode())])
        both[:, k] = rng.random((2, *shape), dtype=np.float32)
    return both[0], both[1]
