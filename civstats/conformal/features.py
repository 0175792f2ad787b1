"""What is known at a cutoff of a later day's stock: history of outages, calendar, covariates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    NO_EVENT,
    PRICE,
    PanelError,
    known_covariates,
    stockout_days,
)

_MEMORY = 28
"""Days over which the share of stockout days is taken."""


def chance_features(
    rows: pd.DataFrame,
    panel: pd.DataFrame,
    mean: np.ndarray,
    threshold: np.ndarray,
    future: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return the features of forecast rows from which the chance of enough stock is learnt.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``unique_id, ds, cutoff, ahead``.
    panel : pandas.DataFrame
        Validated. Of the days after a row's cutoff only known covariates are read.
    mean, threshold : numpy.ndarray, shape (n_rows,)
        Forecast, and the threshold, units.
    future : pandas.DataFrame, optional
        Known covariates of days beyond the panel.

    Returns
    -------
    pandas.DataFrame
        ``unique_id, mean, threshold, weekday, ahead, out_before`` (the cutoff's own day was a
        stockout day), ``out_share`` (of the 28 days up to it); numeric covariates, whether there is
        an event, the log of the price over its mean in the series. NaN where not known.

    Raises
    ------
    PanelError
        If the panel is not validated.
    """
    if not isinstance(panel[ID].dtype, pd.CategoricalDtype):
        raise PanelError(f"{ID} is not a category: pass the panel through validate_panel first")
    days = rows[DS].to_numpy()
    out = pd.DataFrame(
        {
            ID: rows[ID].to_numpy(),
            "mean": mean,
            "threshold": threshold,
            "weekday": pd.DatetimeIndex(days).dayofweek,
            "ahead": rows["ahead"].to_numpy(dtype=float),
        }
    )
    before, share = _outages(rows, panel)
    # The farther ahead, the less the last day says.
    out["out_before"], out["out_share"] = before / out["ahead"].to_numpy(), share
    known = _covariates(rows, panel, future)
    return pd.concat([out, known], axis=1)


def _outages(rows: pd.DataFrame, panel: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Whether a series' last day up to the cutoff was a stockout day; the share of the last days."""
    frame = panel[[ID, DS]].assign(out=stockout_days(panel))
    codes = frame[ID].cat.codes.to_numpy().astype(np.int64)
    ns = frame[DS].to_numpy().astype("datetime64[ns]").astype(np.int64)
    order = np.lexsort((ns, codes))
    codes, ns, out = codes[order], ns[order], frame["out"].to_numpy()[order]
    # One number that sorts by series, then day.
    unique, day = np.unique(ns, return_inverse=True)
    key = codes * (len(unique) + 1) + day + 1
    mine = frame[ID].cat.categories.get_indexer(pd.Index(rows[ID].astype(object))).astype(np.int64)
    cutoff = rows[CUTOFF].to_numpy().astype("datetime64[ns]").astype(np.int64)
    asked = mine * (len(unique) + 1) + np.searchsorted(unique, cutoff, side="right")
    last = np.searchsorted(key, asked, side="right") - 1
    first = np.searchsorted(key, mine * (len(unique) + 1), side="left")
    some = (last >= first) & (mine >= 0)
    held = np.concatenate([[0], np.cumsum(out)])
    start = np.maximum(last + 1 - _MEMORY, first)
    n = np.maximum(last + 1 - start, 1)
    before = np.where(some, out[np.maximum(last, 0)], False).astype(float)
    share = np.where(some, (held[last + 1] - held[np.minimum(start, last + 1)]) / n, np.nan)
    return before, share


def _covariates(
    rows: pd.DataFrame, panel: pd.DataFrame, future: pd.DataFrame | None
) -> pd.DataFrame:
    columns = known_covariates(panel.columns)
    usable = [c for c in columns if pd.api.types.is_numeric_dtype(panel[c].dtype)]
    events = [c for c in columns if c.startswith("event_name")]
    held = panel.loc[panel[DS].between(rows[DS].min(), rows[DS].max()), [ID, DS, *usable, *events]]
    if future is not None:
        later = future[[c for c in held.columns if c in future.columns]]
        held = pd.concat([held.astype({ID: object}), later.astype({ID: object})])
        held = held.drop_duplicates([ID, DS])
    ids = pd.Categorical(held[ID], categories=rows[ID].cat.categories)
    held = held.assign(**{ID: ids})[ids.codes >= 0]
    joined = rows[[ID, DS]].merge(held, on=[ID, DS], how="left", validate="many_to_one")
    found = {c: joined[c].to_numpy(dtype=float) for c in usable}
    if PRICE in found:
        prices = panel.groupby(ID, observed=True)[PRICE].mean()
        usual = prices.reindex(rows[ID].astype(object)).to_numpy(dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[PRICE] = np.log(found[PRICE] / usual)
    if events:
        there = joined[events].astype(object)
        found["event"] = ((there != NO_EVENT) & there.notna()).any(axis=1).to_numpy(dtype=float)
    return pd.DataFrame(found, index=range(len(rows)))
