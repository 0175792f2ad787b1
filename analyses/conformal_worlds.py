"""The worlds of `conformal_study.py`: stockouts on known demand, intervals of several kinds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.backtest import cross_validation
from civstats.conformal import censored_conformal, split_conformal
from civstats.data.synthetic import WorldParameters, make_panel
from civstats.evaluation.recovery import WorldSums
from civstats.models import make_forecaster
from civstats.schema import CUTOFF, DEMAND, DS, ID, alias, level_columns
from civstats.stockouts.simulate import simulate_stockouts

AHEAD = 14
MECHANISMS = {
    "random": "whole days out, independently of demand; stock is noted only when it is short",
    "promotion": "days out or short, the likelier the more promotions, events and the calendar "
    "promise; stock is noted only when it is short",
    "inventory": "an order-up-to policy that knows past sales; stock is known every morning",
    "inventory, far": f"the same policy, up to {AHEAD} days ahead: stock then depends on demand after "
    "the cutoff, and the censored bound promises nothing",
}
MODELS = {
    "SeasonalWindowAverage": {"treatment": "mask"},
    "LightGBM": {"treatment": "censor", "num_threads": 1},
}
METHODS = {
    "model": "the model's own ends",
    "ordinary": "split-conformal, stockout days left out",
    "sales": "split-conformal, sales taken for demand",
    "censored": "lower end by conformalized survival analysis, upper end the model's",
    "oracle": "split-conformal on true demand",
}
METRICS = ("lower holds", "upper holds", "coverage", "lower end", "upper end")
Key = tuple[str, float, str, str, float, str]
"""Mechanism, rate, alias, method, level, metric; the last is "n" for the number of rows."""


@dataclass(frozen=True)
class Task:
    """One panel: all models and methods on it."""

    seed: int
    mechanism: str
    rate: float


@dataclass(frozen=True)
class Found:
    """What a task leaves: sums under bootstrap weights, and how the bounds came about."""

    sums: dict[Key, np.ndarray]
    details: pd.DataFrame


def world_of(task: Task, config: dict) -> pd.DataFrame:
    """Draw the panel of a task: movers fast enough for a lower bound to say something."""
    demand = make_panel(
        n_series=config["series"],
        n_days=config["days"],
        seed=task.seed,
        parameters=WorldParameters(base_median=4.0, base_sd=0.8),
    )
    mechanism = task.mechanism.split(",")[0]
    return simulate_stockouts(demand, mechanism=mechanism, rate=task.rate, seed=task.seed)


def run_task(task: Task, config: dict) -> Found:
    """Forecast a panel from many cutoffs, a third each to train, calibrate and test."""
    panel = world_of(task, config)
    h = AHEAD if task.mechanism.endswith("far") else 1
    third = max(1, config["origins"] // h)
    sums: dict[Key, np.ndarray] = {}
    details = []
    for model, settings in MODELS.items():
        horizon = {"h": h} if model == "LightGBM" else {}
        result = cross_validation(
            panel,
            make_forecaster(model, **settings, **horizon),
            h=h,
            n_windows=3 * third,
            refit=False,
            level=config["level"],
            n_paths=0,
            progress=False,
        )
        name = alias(model, settings["treatment"])
        frames, detail = intervals(result.frame, panel, result.cutoffs[-third:], task, config)
        details.append(detail.assign(mechanism=task.mechanism, rate=task.rate, seed=task.seed))
        actual = result.with_actuals(panel)
        test = actual[actual[CUTOFF].isin(result.cutoffs[-third:])]
        weigh = WorldSums(test[[ID, DS]], n_boot=config["boot"], seed=1000 + task.seed, block=7)
        for method, frame in frames.items():
            for level in config["level"]:
                values = measures(frame, test[DEMAND].to_numpy(dtype=float), name, level)
                for metric, x in values.items():
                    sums[task.mechanism, task.rate, name, method, level, metric] = weigh(x)
    return Found(sums, pd.concat(details, ignore_index=True))


def intervals(
    forecasts: pd.DataFrame,
    panel: pd.DataFrame,
    test: list[pd.Timestamp],
    task: Task,
    config: dict,
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Return the test rows' intervals by method, in the forecasts' order."""
    options = {"level": config["level"], "test": test, "score": "residual"}
    stock = "refuse" if task.mechanism.startswith("inventory") else "plenty"
    censored = censored_conformal(forecasts, panel, unknown_stock=stock, **options)
    frames = {
        "model": forecasts[forecasts[CUTOFF].isin(test)].reset_index(drop=True),
        "ordinary": split_conformal(forecasts, panel, **options).frame,
        "sales": split_conformal(forecasts, panel, stockouts="keep", **options).frame,
        "censored": censored.frame,
        "oracle": split_conformal(forecasts, panel, target=DEMAND, **options).frame,
    }
    return frames, censored.details


def measures(
    frame: pd.DataFrame, demand: np.ndarray, name: str, level: float
) -> dict[str, np.ndarray]:
    """What is summed of each row: whether the ends hold demand, and where they are."""
    lo, hi = (frame[c].to_numpy(dtype=float) for c in level_columns(name, level))
    above, below = demand >= lo, demand <= hi
    values = dict(zip(METRICS, (above, below, above & below, lo, hi), strict=True))
    return {k: np.asarray(v, dtype=float) for k, v in values.items()} | {"n": np.ones(len(frame))}
