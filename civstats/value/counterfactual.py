"""Counterfactual sales by common random numbers: what a lever gains, sample by sample."""

from __future__ import annotations

import zlib

import numpy as np
import pandas as pd
import xarray as xr

from civstats.schema import DS, ID, check_share
from civstats.value.conditional import demand_given_stockout
from civstats.value.inputs import SAMPLE, check_paths, price_table
from civstats.value.levers import Lever, World
from civstats.value.margins import MarginPrior, margin_draws

_CELLS = 1_000_000


def gain_paths(
    demand_paths: xr.DataArray,
    availability_paths: xr.Dataset,
    *,
    price: pd.Series | pd.DataFrame,
    margin: float | str | pd.Series | MarginPrior = 0.2,
    lever: str | Lever = "averted",
    share: float = 0.2,
    static: pd.DataFrame | None = None,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Draw what a lever gains over the horizon: a policy gain, base and improved world on one draw.

    Demand of a capped day is drawn given that the shelf ran empty. Nothing is said about days in
    stock, which gain nothing; expected base sales are therefore the mean demand less
    ``lost_mean``, not a sum over drawn days. Availability that was drawn along the demand paths
    themselves (attribute ``joint``, as a shelf that is walked along them has it) is taken as it is.

    Parameters
    ----------
    demand_paths : xarray.DataArray
        Dims ``unique_id, sample, ds``, units a day.
    availability_paths : xarray.Dataset
        ``out``, ``stock``, ``share`` on the same dims, as ``Availability.paths`` draws them.
    price : pandas.Series or pandas.DataFrame
        Per series, or ``unique_id, ds, price``.
    margin : float, str, pandas.Series or MarginPrior
        Share of the price, for all, a column of `static`, per series, or drawn once per sample.
    lever : str or Lever
        A name in ``LEVERS``, or levers as :func:`averted`, :func:`gone` and :func:`service_level`
        make them and ``+`` combines them.
    share : float
        Strength of a lever given by name, in [0, 1].
    static : pandas.DataFrame, optional
        Attributes by ``unique_id``.
    seed : int or numpy.random.Generator
        The lever's uniforms; a series' own depend on the seed and its identifier alone, so they are
        the same in every strength and in every subset of series.

    Returns
    -------
    xarray.Dataset
        ``units``, ``revenue``, ``value`` (revenue times margin; dims ``unique_id, sample``; sums
        over days) and per series
        ``stockout_probability``, ``demand_mean`` and ``lost_mean`` (units over the horizon),
        ``price`` (mean over days), ``margin``. Attributes: ``estimand`` ("gain"),
        ``lever``, ``share``, ``description``, ``days``, ``unreached`` (capped draws whose cap no sample of demand reaches) and ``capped``.

    Raises
    ------
    CivstatsError
        Paths that do not match, a missing price, a share or margin out of range, unknown lever.
    """
    chosen = lever if isinstance(lever, Lever) else Lever(lever, check_share("share", share))
    availability = check_paths(demand_paths, availability_paths)
    ids = pd.Index(demand_paths[ID].to_numpy(), dtype=object)
    days = pd.Index(demand_paths[DS].to_numpy())
    n, samples, horizon = demand_paths.shape
    entropy = int(seed.integers(2**63) if isinstance(seed, np.random.Generator) else seed)
    prices, margins = (
        price_table(price, ids, days),
        margin_draws(margin, ids, static, samples, entropy),
    )
    units, money = np.zeros((n, samples)), np.zeros((n, samples))
    probability, mean, lost = np.zeros(n), np.zeros(n), np.zeros(n)
    joint = bool(availability.attrs.get("joint", False))
    unreached = n_capped = 0
    size = max(1, _CELLS // (samples * horizon))
    blocks = [slice(k, k + size) for k in range(0, n, size)]
    for i in blocks:
        probability[i] = np.asarray(availability["out"].data[i]).mean(axis=(1, 2))
        mean[i] = np.asarray(demand_paths.data[i], dtype=np.float32).sum(axis=2).mean(axis=1)
    # The strength of a service level and the top sellers need all series at once.
    back = chosen.back(ids, probability, mean)
    for i in blocks:
        demand = np.asarray(demand_paths.data[i], dtype=np.float32)
        base = World(*(np.asarray(availability[v].data[i]) for v in ("out", "stock", "share")))
        if not base.out.any():
            continue
        uniform, tie = _uniforms(ids[i], entropy, (samples, horizon))
        capped = base.out & (base.stock > 0) & np.isfinite(base.stock)
        if not joint:
            demand, missed = demand_given_stockout(demand, base.stock, capped, tie)
            unreached, n_capped = unreached + missed, n_capped + int(capped.sum())
        sold = base.sales(demand)
        lost[i] = (demand - sold).sum(axis=2).mean(axis=1)
        improved = base.averted(base.out & (uniform < back[i, None, None]))
        gain = improved.sales(demand) - sold
        units[i] = gain.sum(axis=2, dtype=np.float64)
        money[i] = np.einsum("bst,bt->bs", gain, prices[i])
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
        attrs={
            "estimand": "gain",
            "lever": lever if isinstance(lever, str) else chosen.label,
            "share": chosen.strength,
            "description": chosen.describe(),
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
