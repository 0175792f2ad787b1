"""Forecasts one day ahead of small worlds whose demand is known, without a model to fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from civstats.schema import level_columns
from civstats.stockouts.simulate import simulate_stockouts
from tests.stockouts.simulate.world import negbin_world

NAME = "Point_censor"


def shop_world(mechanism="inventory", rate=0.3, *, n_series=80, n_days=150, seed=0, **kwargs):
    """Panel of a mechanism, series of different sizes."""
    demand = negbin_world(n_series, n_days, spread=0.7, seed=seed, **kwargs)
    return simulate_stockouts(demand, mechanism=mechanism, rate=rate, seed=seed)


def one_day_ahead(panel, *, days=100, bias=0.3, quantiles=True, seed=5):
    """Forecasts of the last days, each from the day before; `bias` by series, in log units."""
    rng = np.random.default_rng(seed)
    rows = panel[panel["ds"] > panel["ds"].max() - pd.Timedelta(days=days)]
    codes = rows["unique_id"].cat.codes.to_numpy()
    off = np.exp(bias * rng.standard_normal(codes.max() + 1))[codes]
    mean = rows["demand_mean"].to_numpy(dtype=float) * off
    frame = rows[["unique_id", "ds"]].assign(cutoff=rows["ds"] - pd.Timedelta(days=1))
    frame[NAME] = mean
    if quantiles:
        law = stats.nbinom(2, 2 / (2 + mean))
        frame[f"{NAME}-median"] = law.ppf(0.5)
        for level in (80, 95):
            tail = (1 - level / 100) / 2
            lo, hi = level_columns(NAME, level)
            frame[lo], frame[hi] = law.ppf(tail), law.ppf(1 - tail)
    return frame.reset_index(drop=True)


def last_cutoffs(forecasts, n):
    """The last n cutoffs."""
    return [pd.Timestamp(x) for x in np.sort(forecasts["cutoff"].unique())[-n:]]


def demand_of(frame, panel):
    """True demand beside forecasts."""
    keys = frame[["unique_id", "ds"]]
    return keys.merge(panel, on=["unique_id", "ds"], how="left")["demand"].to_numpy(dtype=float)


def error_of(hit, frame):
    """Standard error of a share of rows, days as clusters."""
    by_day = pd.Series(np.asarray(hit, float)).groupby(frame["ds"].to_numpy()).mean()
    return float(by_day.std(ddof=1) / np.sqrt(len(by_day)))
