"""The worlds of the detection study: stockouts with the flags withheld, and every detector on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from civstats.schema import (
    CENSORED,
    CHANCE,
    DEMAND,
    DS,
    OUTCOMES,
    P_OUT,
    RUN,
    STOCK,
    Y,
    series_index,
    validate_panel,
)
from civstats.stockouts.detect import detect, fit_availability, zero_run
from civstats.stockouts.simulate import InventoryPolicy, simulate_stockouts

MECHANISMS: dict[str, dict[str, Any]] = {
    "random": {"mechanism": "random", "run_length": 2.0},
    "promotion": {"mechanism": "promotion", "run_length": 2.0},
    "inventory": {"mechanism": "inventory", "policy": InventoryPolicy(review_period=(3, 5, 7))},
    "inventory, daily": {"mechanism": "inventory"},
}
"""Options of the simulator: outages of one to several days, but for the last, mostly of one."""
SMOOTHED, ONLINE = "DemandFilter", "DemandFilter online"
RULES: dict[str, dict[str, Any]] = {
    "zero run": {},
    "zero run, near rate": {"window": 56},
    "zero run, one length": {},
    "zero run online": {"online": True},
}
DETECTORS = (SMOOTHED, ONLINE, *RULES)
FAST = 1.0
"""Units a day from which an item counts as a fast mover."""


@dataclass(frozen=True)
class Task:
    """One world under one mechanism at one rate; the mechanism ``none`` leaves it whole."""

    seed: int
    mechanism: str
    rate: float


@dataclass(frozen=True)
class Found:
    """What the detectors said of the days without sales of one world.

    Attributes
    ----------
    series, day : numpy.ndarray of int, shape (n,)
        Of each day without sales on which the item was for sale.
    out, fast : numpy.ndarray of bool, shape (n,)
        Whether it was out all day, and whether the item is a fast mover.
    scores : dict of str to numpy.ndarray, shape (n,)
        By detector; the larger, the more suspect.
    facts : dict
        Shares over all days: censored, out, part days, the model's mean P(out); rates fitted.
    """

    series: np.ndarray
    day: np.ndarray
    out: np.ndarray
    fast: np.ndarray
    scores: dict[str, np.ndarray]
    facts: dict[str, float]


def make_world(seed: int, config: dict, base: pd.DataFrame | None) -> pd.DataFrame:
    """Return a world without stockouts: synthetic, or a panel whose sales are taken for demand."""
    if base is not None:
        return base
    from civstats.data.synthetic import WorldParameters, make_panel

    return make_panel(
        n_series=config["series"],
        n_days=config["days"],
        n_departments=3,
        seed=seed,
        parameters=WorldParameters(base_median=1.0),
    )


def run_task(task: Task, config: dict, base: pd.DataFrame | None) -> Found:
    """Simulate, withhold the flags, fit, and ask every detector."""
    demand = make_world(task.seed, config, base)
    panel = demand
    if task.mechanism != "none":
        options = MECHANISMS[task.mechanism]
        panel = simulate_stockouts(demand, rate=task.rate, seed=task.seed, **options)
    out = np.zeros(len(panel), dtype=bool)
    short = out
    if CENSORED in panel.columns:
        short = panel[CENSORED].to_numpy()
        out = short & (panel[STOCK].to_numpy() == 0)
    bare = validate_panel(panel.drop(columns=[c for c in OUTCOMES if c in panel and c != Y]))
    # Threads of the linear algebra cost more than they bring on matrices of this size.
    with threadpool_limits(1):
        fitted = fit_availability(
            bare,
            sample_rows=config["sample_rows"],
            rounds=config["rounds"],
            n_jobs=1,
            seed=task.seed,
        )
    smoothed, online = (detect(bare, fitted, online=x, n_jobs=1) for x in (False, True))
    p_out = smoothed.frame[P_OUT].to_numpy()
    asked = (bare[Y].to_numpy() == 0) & np.isfinite(p_out)
    scores = {SMOOTHED: p_out, ONLINE: online.frame[P_OUT].fillna(0.0).to_numpy()}
    for name, rule in RULES.items():
        run = zero_run(bare, **rule)
        scores[name] = (run[RUN] if "length" in name else -run[CHANCE]).to_numpy(dtype=float)
    series = series_index(bare).codes()
    known = DEMAND if DEMAND in panel.columns else Y
    units = np.bincount(series, panel[known]) / np.bincount(series)
    params = fitted.parameters_
    facts = {
        "rows": len(bare),
        "flagged": float(short.mean()),
        "out": float(out.mean()),
        "part_day": float((short & ~out).mean()),
        P_OUT: float(np.nanmean(p_out)),
        "zero": float((bare[Y] == 0).mean()),
        "stay_out": _stay(out, series),
        "out_rate": float(np.mean(params.out_rate)),
        "back_rate": float(np.mean(params.back_rate)),
    }
    for name, movers in (("fast", units[series] >= FAST), ("slow", units[series] < FAST)):
        rows = movers & np.isfinite(p_out)
        facts |= {
            f"out_{name}": float(out[rows].mean()) if rows.any() else np.nan,
            f"p_out_{name}": float(p_out[rows].mean()) if rows.any() else np.nan,
        }
    return Found(
        series[asked],
        pd.factorize(bare[DS], sort=True)[0][asked],
        out[asked],
        (units >= FAST)[series[asked]],
        {k: v[asked].astype(np.float32) for k, v in scores.items()},
        facts,
    )


def _stay(out: np.ndarray, series: np.ndarray) -> float:
    """Mean length of an outage in days."""
    starts = out & ~np.r_[False, out[:-1] & (series[1:] == series[:-1])]
    return float(out.sum() / starts.sum()) if starts.any() else float("nan")
