"""From gains to decisions: the ranking of series and the totals of groups, with bands."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from civstats.schema import ID, RANKING, CivstatsError
from civstats.value.counterfactual import gain_paths
from civstats.value.inputs import attributes
from civstats.value.levers import Lever
from civstats.value.margins import MarginPrior


def rank_value(
    demand_paths: xr.DataArray,
    availability_paths: xr.Dataset,
    *,
    price: pd.Series | pd.DataFrame,
    margin: float | str | pd.Series | MarginPrior = 0.2,
    lever: str | Lever = "averted",
    share: float = 0.2,
    k: int = 50,
    static: pd.DataFrame | None = None,
    seed: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Rank series by what a lever on their availability is worth over the horizon.

    Parameters
    ----------
    demand_paths, availability_paths, price, margin, lever, share, static, seed
        As for :func:`gain_paths`.
    k : int
        Size of the top for ``prob_top_k``.

    Returns
    -------
    pandas.DataFrame
        As :func:`rank_gains` returns it.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr
    >>> dims = ("unique_id", "sample", "ds")
    >>> at = {"unique_id": ["a", "b"], "sample": range(3), "ds": pd.date_range("2024-01-01", periods=2)}
    >>> demand = xr.DataArray(np.full((2, 3, 2), 4.0), at, dims)
    >>> out = np.zeros((2, 3, 2), bool)
    >>> out[1] = True
    >>> stock = np.where(out, 0, np.inf)
    >>> world = xr.Dataset({k: (dims, v) for k, v in
    ...                     {"out": out, "stock": stock, "share": np.ones((2, 3, 2))}.items()}, at)
    >>> top = rank_value(demand, world, price=pd.Series({"a": 1.0, "b": 5.0}), share=1.0, k=1)
    >>> top[["rank", "unique_id", "units_mean", "value_mean", "prob_top_k"]]
       rank unique_id  units_mean  value_mean  prob_top_k
    0     1         b         8.0         8.0         1.0
    1     2         a         0.0         0.0         0.0
    """
    gains = gain_paths(
        demand_paths,
        availability_paths,
        price=price,
        margin=margin,
        lever=lever,
        share=share,
        static=static,
        seed=seed,
    )
    return rank_gains(gains, k=k, static=static)


def rank_gains(
    gains: xr.Dataset, *, k: int = 50, static: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Rank series by mean value; equal means by identifier.

    Parameters
    ----------
    gains : xarray.Dataset
        As :func:`gain_paths` returns it.
    k : int
        Size of the top. Within a sample, series tied across the border share its places evenly, so
        that a series which gains nothing is not in the top by its name.
    static : pandas.DataFrame, optional
        Attributes by ``unique_id``.

    Returns
    -------
    pandas.DataFrame
        The columns of ``RANKING`` (p10 and p90 are quantiles of the sum over days), the static
        attributes, then ``stockout_probability, demand_mean, lost_mean, price, margin``,
        ``share_of_total`` and ``cumulative_share`` of all rows' mean value (NaN where that is not
        positive); after :func:`net_gains` also ``gross_mean`` and, with a cost, ``cost`` and
        ``return_mean`` (net value, the cost taken off, per unit of money spent).

    Raises
    ------
    CivstatsError
        If handed a past loss, which no lever can bring back, or if `k` is no number of series.
    """
    if gains.attrs.get("estimand", "gain") != "gain":
        raise CivstatsError(
            f"a ranking is of what a lever gains, but this is {gains.attrs['estimand']!r}: "
            "use gain_paths (portfolio totals either)"
        )
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise CivstatsError(f"k must be a whole number of series, 1 or more, but got {k!r}")
    ids = pd.Index(gains[ID].to_numpy(), dtype=object)
    extras = ["stockout_probability", "demand_mean", "lost_mean", "price", "margin"]
    table = pd.DataFrame({ID: ids} | _bands(gains["units"].to_numpy(), gains["value"].to_numpy()))
    table["prob_top_k"] = _top(gains["value"].to_numpy(), int(k))
    known = attributes(static, ids)
    for column in known.columns:
        table[column] = known[column].to_numpy()
    for column in extras:
        table[column] = gains[column].to_numpy()
    if "gross" in gains:
        table["gross_mean"] = gains["gross"].to_numpy().mean(axis=1)
        extras = [*extras, "gross_mean"]
    if "cost" in gains:
        table["cost"] = gains["cost"].to_numpy()
        spent = table["cost"].where(table["cost"] > 0)
        table["return_mean"] = table["value_mean"] / spent
        extras = [*extras, "cost", "return_mean"]
    table = table.sort_values(["value_mean", ID], ascending=[False, True], ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    total = table["value_mean"].sum()
    table["share_of_total"] = table["value_mean"] / (total if total > 0 else np.nan)
    table["cumulative_share"] = table["share_of_total"].cumsum()
    extras = [*extras, "share_of_total", "cumulative_share"]
    return table[[*RANKING, *known.columns, *extras]]


def portfolio(
    gains: xr.Dataset, *, static: pd.DataFrame | None = None, by: str | None = None
) -> pd.DataFrame:
    """Total what a lever gains, over all series or by an attribute, with bands of the total.

    Parameters
    ----------
    gains : xarray.Dataset
        As :func:`gain_paths`, :func:`lost_paths` or :func:`net_gains` returns it.
    static : pandas.DataFrame, optional
        Attributes by ``unique_id``; needed for `by`.
    by : str, optional
        A column of `static`, such as ``dept_id`` or ``store_id``, or ``unique_id``.

    Returns
    -------
    pandas.DataFrame
        ``group, n_series, units_mean, units_p10, units_p50, units_p90, value_...``: quantiles of
        sums within samples, which are not sums of quantiles. Its attribute ``estimand`` says
        whether it is a loss or a gain.

    Raises
    ------
    CivstatsError
        If `static` has no column `by`.
    """
    units, value = gains["units"].to_numpy(), gains["value"].to_numpy()
    ids = pd.Index(gains[ID].to_numpy(), dtype=object)
    if by is None:
        codes, names = np.zeros(len(ids), int), pd.Index(["all"])
    elif by == ID:
        codes, names = np.arange(len(ids)), ids
    else:
        if static is None or by not in static.columns:
            raise CivstatsError(f"no column {by!r} to total by: pass it in static")
        codes, names = pd.factorize(attributes(static, ids, [by])[by].astype(object), sort=True)
        if (codes < 0).any():
            raise CivstatsError(
                f"{int((codes < 0).sum())} series have no {by}, first {ids[codes < 0][0]}: fill it"
            )
    sums = []
    for x in (units, value):
        total = np.zeros((len(names), x.shape[1]))
        np.add.at(total, codes, x)
        sums.append(total)
    counts = np.bincount(codes, minlength=len(names))
    table = pd.DataFrame({"group": names, "n_series": counts} | _bands(*sums, median=True))
    table.attrs["estimand"] = gains.attrs.get("estimand", "gain")
    return table


def _bands(units: np.ndarray, value: np.ndarray, *, median: bool = False) -> dict[str, Any]:
    """Mean and quantiles over samples of sums, both of shape (n, n_samples)."""
    levels = {"p10": 0.1, "p50": 0.5, "p90": 0.9} if median else {"p10": 0.1, "p90": 0.9}
    bands: dict[str, Any] = {}
    for name, x in (("units", units), ("value", value)):
        bands[f"{name}_mean"] = x.mean(axis=1)
        bands |= dict(
            zip(
                (f"{name}_{p}" for p in levels),
                np.quantile(x, list(levels.values()), axis=1),
                strict=True,
            )
        )
    return bands


def _top(value: np.ndarray, k: int) -> np.ndarray:
    """Chance of each series to be among the k largest of its sample, shape (n_series,)."""
    n = len(value)
    if k >= n:
        return np.ones(n)
    border = np.partition(value, n - k, axis=0)[n - k]
    above, tied = value > border, value == border
    places = (k - above.sum(axis=0)) / tied.sum(axis=0)
    return (above + tied * places).mean(axis=1)
