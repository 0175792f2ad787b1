"""The worlds of `filter_study.py`: stockouts on known demand, recovered under every treatment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.data.synthetic import WorldParameters, make_panel
from civstats.demand_filter import DemandFilter
from civstats.demand_filter.recovery import recover
from civstats.evaluation.recovery import WorldSums
from civstats.schema import (
    CENSORED,
    DEMAND,
    DEMAND_MEAN,
    LEVEL_SMOOTHED,
    RECOVERED,
    STOCK,
    TREATMENTS,
    Y,
    level_columns,
    series_index,
    validate_panel,
)
from civstats.stockouts.simulate import simulate_stockouts

LEVELS = (80, 95)
ORACLE = "oracle"
WORLDS = {
    "model": "the filter's own model: a random walk of daily standard deviation 0.03, dispersion 2, "
    "day of week, season, events and prices to be learned",
    "retail": "the synthetic retail world: departments differ in dispersion, and every store has "
    "shocks of its own by the day, which the filter does not know of",
}
Sums = dict[str, np.ndarray]
Key = tuple[str, float, str]
"""World, rate, treatment."""


@dataclass(frozen=True)
class Task:
    """One panel: all treatments on it."""

    seed: int
    world: str
    rate: float


@dataclass(frozen=True)
class Found:
    """What a task leaves.

    Attributes
    ----------
    sums : dict of Key to Sums
        Under bootstrap weights over series and weeks.
    ranks : numpy.ndarray of int
        Rank of each series' true lost units among its joint draws, under ``censor``.
    estimates : list of dict
        Hyperparameters by treatment.
    """

    sums: dict[Key, Sums]
    ranks: np.ndarray
    estimates: list[dict]


def world_of(task: Task, config: dict) -> pd.DataFrame:
    """Draw the panel of a task, its demand known."""
    parameters = None
    if task.world == "model":
        parameters = WorldParameters(level_sd=0.03, shock_sd=0.0, dispersion=(2.0, 2.0))
    demand = make_panel(
        n_series=config["series"], n_days=config["days"], seed=task.seed, parameters=parameters
    )
    return simulate_stockouts(demand, mechanism="inventory", rate=task.rate, seed=task.seed)


def run_task(task: Task, config: dict) -> Found:
    """Recover a panel under every treatment, and with demand known."""
    panel = world_of(task, config)
    sums = WorldSums(panel, n_boot=config["boot"], seed=1000 + task.seed, block=7)
    mean, demand = (panel[c].to_numpy(dtype=float) for c in (DEMAND_MEAN, DEMAND))
    out, estimates, ranks = {}, [], np.empty(0, dtype=int)
    for treatment in (*TREATMENTS, ORACLE):
        known = treatment == ORACLE
        seen = panel
        if known:
            truth = panel.drop(columns=STOCK).assign(**{Y: panel[DEMAND], CENSORED: False})
            seen = validate_panel(truth)
        fitted = DemandFilter(
            treatment="ignore" if known else treatment,
            sample_rows=config["rows"],
            n_jobs=1,
            seed=task.seed,
        ).fit(seen)
        draws = config["draws"] if treatment == "censor" else 0
        found = recover(seen, fitted, levels=LEVELS, n_draws=draws, seed=task.seed, n_jobs=1)
        frame = found.frame
        level = frame[LEVEL_SMOOTHED].to_numpy(dtype=float)
        values = {
            "level": level,
            "mean": mean,
            "demand": demand,
            "sales": panel[Y].to_numpy(dtype=float),
            "recovered": frame[RECOVERED].to_numpy(dtype=float),
            "n": np.ones(len(panel)),
            **_coverage(panel, frame, mean, demand),
        }
        if draws:
            values |= _expected(found, panel)
            ranks = _ranks(found, panel)
        out[task.world, task.rate, treatment] = {k: sums(v) for k, v in values.items()}
        estimates.append(
            {
                "seed": task.seed,
                "world": task.world,
                "rate": task.rate,
                "treatment": treatment,
                **fitted.estimates_["all"].in_units,
            }
        )
    return Found(out, ranks, estimates)


def _coverage(
    panel: pd.DataFrame, frame: pd.DataFrame, mean: np.ndarray, demand: np.ndarray
) -> dict[str, np.ndarray]:
    """Whether bands hold the truth: of the level on all days, on days cut short, on days out."""
    short = panel[CENSORED].to_numpy()
    out = short & (panel[Y].to_numpy() == 0)
    values = {"n_short": short.astype(float), "n_out": out.astype(float)}
    for k in LEVELS:
        low, high = (frame[c].to_numpy(dtype=float) for c in level_columns(LEVEL_SMOOTHED, k))
        inside = (low <= mean) & (mean <= high)
        values |= {
            f"level_{k}_all": inside,
            f"level_{k}_short": inside & short,
            f"level_{k}_out": inside & out,
        }
        low, high = (frame[c].to_numpy(dtype=float) for c in level_columns(RECOVERED, k))
        values[f"recovered_{k}"] = (low <= demand) & (demand <= high) & short
    return {name: np.asarray(x, dtype=float) for name, x in values.items()}


def _expected(found, panel: pd.DataFrame) -> dict[str, np.ndarray]:
    """What the model expects its own bands of demand to hold: counts are discrete."""
    out = {}
    for k in LEVELS:
        low, high = (
            found.frame[c].to_numpy()[found.rows][:, None] for c in level_columns(RECOVERED, k)
        )
        share = ((low <= found.samples) & (found.samples <= high)).mean(axis=1)
        values = np.zeros(len(panel))
        values[found.rows] = share
        # A day that the panel does not flag holds no draw; none of them is counted.
        out[f"expected_{k}"] = values * panel[CENSORED].to_numpy()
    return out


def _ranks(found, panel: pd.DataFrame) -> np.ndarray:
    """Rank of each series' true loss of the whole span among its draws, ties broken at random."""
    index = series_index(panel)
    code = index.codes()[found.rows]
    n = len(index.ids)
    sold = panel[Y].to_numpy()[found.rows]
    lost = np.stack(
        [np.bincount(code, weights=s - sold, minlength=n) for s in found.samples.T], axis=1
    )
    truth = np.bincount(code, weights=panel[DEMAND].to_numpy()[found.rows] - sold, minlength=n)
    hit = np.bincount(code, minlength=n) > 0
    below = (lost < truth[:, None]).sum(axis=1)
    same = (lost == truth[:, None]).sum(axis=1)
    rng = np.random.default_rng(0)
    return (below + rng.integers(0, same + 1))[hit]
