"""The panel of DeepAR's benchmark as arrays for the peer, and its samples as a forecast."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    OUTCOMES,
    PRICE,
    STATIC,
    Forecast,
    Y,
    alias,
    quantile_column,
    quantiles_of_levels,
    stockout_days,
)
from civstats.stockouts.simulate import simulate_stockouts

NAME = "DeepAR"
PEER = "GluonTS"


def load(config: dict) -> pd.DataFrame:
    """Load the demand and cut it by an inventory policy."""
    if config["path"] is None:
        from civstats.data.synthetic import make_panel

        demand = make_panel(n_series=config["series"], n_days=config["days"], seed=config["seed"])
    else:
        from civstats.data.m5 import load_m5

        demand = load_m5(
            config["path"], stores="CA_1", departments="FOODS_3", top=config["series"],
            last_days=config["days"],
        )  # fmt: skip
    return simulate_stockouts(
        demand, mechanism="inventory", rate=config["rate"], seed=config["seed"]
    )


def parted(panel: pd.DataFrame, h: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the days before the cutoff, and what is known of the `h` days after it."""
    cutoff = panel[DS].max() - pd.Timedelta(days=h)
    later = panel[panel[DS] > cutoff]
    history = panel[panel[DS] <= cutoff].reset_index(drop=True)
    future = later.drop(columns=[c for c in OUTCOMES if c in later]).reset_index(drop=True)
    return history, future


def as_arrays(history: pd.DataFrame, future: pd.DataFrame) -> tuple[dict[str, np.ndarray], str]:
    """Return the panel as the peer reads it, and its first day.

    Returns
    -------
    dict
        ``target`` (n_series, n_days), NaN on stockout days; ``start`` (n_series,), first day of
        each series; ``static`` (n_series, n_attributes), codes; ``known`` (n_series, n_features,
        n_days + h): log price relative to the series' mean, promotion, event, SNAP.
    str
    """
    ids = history[ID].cat.categories
    days = pd.date_range(history[DS].min(), future[DS].max())
    n = (history[DS].max() - days[0]).days + 1
    target = np.full((len(ids), n), np.nan, dtype=np.float32)
    sales = history[Y].to_numpy(dtype=np.float32).copy()
    sales[stockout_days(history)] = np.nan
    at = history[ID].cat.codes.to_numpy(), (history[DS] - days[0]).dt.days.to_numpy()
    target[at] = sales
    present = np.zeros_like(target, dtype=bool)
    present[at] = True
    columns = _known(pd.concat([history, future], ignore_index=True))
    known = np.zeros((len(ids), len(columns), len(days)), dtype=np.float32)
    both = pd.concat([history[[ID, DS]], future[[ID, DS]]], ignore_index=True)
    row = ids.get_indexer(both[ID].astype(str))
    for j, values in enumerate(columns):
        known[row, j, (both[DS] - days[0]).dt.days.to_numpy()] = values
    attributes = [c for c in STATIC if c in history.columns]
    first = history.groupby(ID, observed=True, sort=True)[attributes].first()
    static = np.stack([pd.factorize(first[c].astype(str))[0] for c in attributes], axis=1)
    arrays = {"target": target, "start": present.argmax(axis=1), "static": static, "known": known}
    return arrays, str(days[0].date())


def _known(both: pd.DataFrame) -> list[np.ndarray]:
    """Return the features that the peer gets, a value per row."""
    out = []
    if PRICE in both.columns:
        log = np.log(both[PRICE].astype(float).clip(lower=0.01))
        out.append((log - log.groupby(both[ID].astype(str)).transform("mean")).to_numpy())
    for name in ("promo", "snap"):
        if name in both.columns:
            out.append(both[name].astype(float).to_numpy())
    events = [c for c in both.columns if c.startswith("event_type")]
    if events:
        texts = both[events].astype(str)
        for kind in sorted(set(np.unique(texts.to_numpy())) - {"none", "", "nan", "None"}):
            out.append((texts == kind).any(axis=1).to_numpy(dtype=float))
    return [np.nan_to_num(x).astype(np.float32) for x in out]


def as_forecast(
    samples: np.ndarray, history: pd.DataFrame, future: pd.DataFrame, level: float
) -> Forecast:
    """Return the peer's samples, (n_series, n_samples, h), as a forecast."""
    import xarray as xr

    frame = future[[ID, DS]].sort_values([ID, DS], ignore_index=True)
    name = alias(PEER, "mask")
    frame[CUTOFF] = history[DS].max()
    # Floating-point noise of the peer's scaling: its family is one of counts.
    counts = np.maximum(np.rint(samples), 0.0).astype(np.float32)
    frame[name] = counts.mean(axis=1, dtype=float).ravel()
    for p in quantiles_of_levels([level]):
        found = np.quantile(counts, p, axis=1, method="inverted_cdf")
        frame[quantile_column(name, p)] = found.ravel()
    ids = history[ID].cat.categories
    dates = np.sort(future[DS].unique())
    paths = xr.DataArray(counts, dims=(ID, "sample", DS), coords={ID: ids.to_numpy(), DS: dates})
    return Forecast(frame, PEER, "mask", (level,), paths, None)
