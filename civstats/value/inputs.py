"""Checks and alignment of what a valuation is handed: paths, prices, margins, attributes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from civstats.schema import DS, ID, PRICE, STATIC, CivstatsError, check_share

DIMS = (ID, "sample", DS)
SAMPLE = "sample"


def check_paths(demand: xr.DataArray, availability: xr.Dataset) -> xr.Dataset:
    """Return the availability in the order of `demand`, or raise where the two do not match.

    Raises
    ------
    CivstatsError
        For wrong dims, different series, samples or days, or demand that is not finite and >= 0.
    """
    missing = [v for v in ("out", "stock", "share") if v not in availability]
    if missing:
        raise CivstatsError(f"availability paths lack {', '.join(missing)}: use Availability.paths")
    for name, paths in (("demand", demand), *((v, availability[v]) for v in ("out", "stock"))):
        if tuple(paths.dims) != DIMS:
            raise CivstatsError(
                f"{name} paths have dims {tuple(paths.dims)}, not ({', '.join(DIMS)}): transpose them"
            )
    if demand.sizes[SAMPLE] != availability.sizes[SAMPLE]:
        raise CivstatsError(
            f"demand has {demand.sizes[SAMPLE]} samples and availability "
            f"{availability.sizes[SAMPLE]}: draw both with the same n_paths"
        )
    for dim, what in ((ID, "series"), (DS, "days")):
        ours, theirs = pd.Index(demand[dim].to_numpy()), pd.Index(availability[dim].to_numpy())
        if not ours.is_unique:
            raise CivstatsError(f"demand paths repeat {int(ours.duplicated().sum())} {what}")
        odd = ours.symmetric_difference(theirs)
        if len(odd):
            raise CivstatsError(
                f"demand and availability differ in {len(odd)} {what}, first {odd[0]}: "
                "ask both for the same ones"
            )
        if not ours.equals(theirs):
            availability = availability.sel({dim: ours.to_numpy()})
    lowest, highest = float(demand.min(skipna=False)), float(demand.max(skipna=False))
    if not (lowest >= 0 and np.isfinite(highest)):
        raise CivstatsError(
            f"demand paths range from {lowest:g} to {highest:g}: they must be finite and 0 or more"
        )
    return availability


def price_table(price: pd.Series | pd.DataFrame, ids: pd.Index, days: pd.Index) -> np.ndarray:
    """Return prices by series and day, shape (n_series, n_days).

    Parameters
    ----------
    price : pandas.Series or pandas.DataFrame
        Per series (indexed by ``unique_id``), or a frame ``unique_id, ds, price``.

    Raises
    ------
    CivstatsError
        For a price that is missing, infinite or negative: how many, and the first.
    """
    if isinstance(price, pd.DataFrame):
        lacking = [c for c in (ID, DS, PRICE) if c not in price.columns]
        if lacking:
            raise CivstatsError(f"the price frame lacks column(s) {', '.join(lacking)}")
        row, column = ids.get_indexer(pd.Index(price[ID])), days.get_indexer(pd.Index(price[DS]))
        table = np.full((len(ids), len(days)), np.nan)
        use = (row >= 0) & (column >= 0)
        table[row[use], column[use]] = price[PRICE].to_numpy(dtype=float)[use]
    elif isinstance(price, pd.Series):
        if not price.index.is_unique:
            raise CivstatsError(
                f"price repeats {int(price.index.duplicated().sum())} series: give each one price, "
                f"or a frame with {ID}, {DS}, {PRICE}"
            )
        each = pd.Series(price.to_numpy(dtype=float), index=pd.Index(price.index.astype(object)))
        table = np.repeat(each.reindex(ids).to_numpy()[:, None], len(days), axis=1)
    else:
        raise CivstatsError(
            f"price must be a Series per {ID} or a frame with {ID}, {DS}, {PRICE}, "
            f"but is {type(price).__name__}"
        )
    bad = ~np.isfinite(table) | (np.nan_to_num(table) < 0)
    if bad.any():
        i, t = (int(x[0]) for x in np.nonzero(bad))
        raise CivstatsError(
            f"{int(bad.sum())} series-day(s) in {int(bad.any(axis=1).sum())} series have a missing, "
            f"infinite or negative price, first {ids[i]} on {pd.Timestamp(days[t]).date()}: fill "
            "them or leave those series out"
        )
    return table


def margin_vector(
    margin: float | str | pd.Series, ids: pd.Index, static: pd.DataFrame | None
) -> np.ndarray:
    """Return the margin of each series, a share of the price, shape (n_series,).

    Parameters
    ----------
    margin : float, str or pandas.Series
        One for all, a column of `static`, or one per series.

    Raises
    ------
    CivstatsError
        For a margin outside [0, 1] or missing: how many, and the first.
    """
    if isinstance(margin, str):
        if static is None or margin not in static.columns:
            raise CivstatsError(f"no column {margin!r} to take the margin from: pass it in static")
        margin = attributes(static, ids, [margin])[margin]
    if not isinstance(margin, pd.Series):
        return np.full(len(ids), check_share("margin", margin))
    each = pd.Series(margin.to_numpy(dtype=float), index=pd.Index(margin.index.astype(object)))
    values = each.reindex(ids).to_numpy()
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        i = int(np.argmax(bad))
        raise CivstatsError(
            f"{int(bad.sum())} series have no margin in [0, 1], first {ids[i]} ({values[i]:g}): "
            "a margin is a share of the price"
        )
    return values


def attributes(
    static: pd.DataFrame | None, ids: pd.Index, columns: list[str] | None = None
) -> pd.DataFrame:
    """Return static attributes by series, in the order of `ids`.

    Parameters
    ----------
    static : pandas.DataFrame, optional
        With ``unique_id`` as a column or as the index; a whole panel will do.
    columns : list of str, optional
        Those of ``STATIC`` that are there by default.
    """
    if static is None:
        return pd.DataFrame(index=ids)
    keep = [c for c in STATIC if c in static.columns] if columns is None else columns
    keys = pd.Index(static[ID] if ID in static.columns else static.index).astype(object)
    first = ~keys.duplicated()
    table = static.loc[first, keep].set_axis(keys[first])
    absent = ids.difference(table.index)
    if len(absent):
        raise CivstatsError(
            f"static lacks {len(absent)} of the series, first {absent[0]}: pass the attributes of all"
        )
    return table.reindex(ids)
