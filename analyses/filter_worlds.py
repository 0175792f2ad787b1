"""The worlds of `filter_study.py`: stockouts on known demand, recovered under every treatment."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from civstats.data.synthetic import WorldParameters, make_panel
from civstats.demand_filter import DemandFilter, FilterParameters
from civstats.demand_filter.calibration import draw_world, rank_among, truth_ranks
from civstats.demand_filter.recovery import Recovery, recover
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
ORACLE, SALES = "oracle", "sales"
WORLDS = {
    "model": "the filter's own model: a random walk of daily standard deviation 0.03, dispersion 2, "
    "day of week, season, events and prices to be learned",
    "retail": "the synthetic retail world: departments differ in dispersion, and every store has "
    "shocks of its own by the day, which the filter does not know of",
}
FAMILIES = {
    "negative binomial": FilterParameters(
        "negbin", dispersion=2.0, level_sd=0.08, prior_mean=0.9, prior_sd=0.8
    ),
    "Poisson": FilterParameters("poisson", level_sd=0.08, prior_mean=0.9, prior_sd=0.8),
    "zero-inflated NB": FilterParameters(
        "zero_inflated_negbin", dispersion=2.0, level_sd=0.08, zero_inflation=0.2,
        prior_mean=0.9, prior_sd=0.8,
    ),
    "hidden availability": FilterParameters(
        "negbin", dispersion=2.0, level_sd=0.08, prior_mean=0.9, prior_sd=0.8,
        out_rate=0.06, back_rate=0.3,
    ),
}  # fmt: skip
"""Models of the calibration with everything known."""
PLANTED = "planted: P(D > c)"
RANKED_DAYS, RANK_DRAWS = 60, 63
Sums = dict[str, np.ndarray]
Key = tuple[str, float, str]
"""World, rate, treatment."""


@dataclass(frozen=True)
class Task:
    """One world's demand: all rates and treatments on it; or ranks of one family's own world."""

    seed: int
    world: str
    ranked: bool = False


@dataclass
class Found:
    """What a task leaves.

    Attributes
    ----------
    sums : dict of Key to Sums
        Under bootstrap weights over series and weeks.
    estimates : list of dict
        Hyperparameters by rate and treatment.
    ranks : list of pandas.DataFrame
        ``world, rate, rank`` of each series' true lost units among its joint draws, all estimated;
        of a ranked task ``family, quantity, series, rank``.
    """

    sums: dict[Key, Sums] = field(default_factory=dict)
    estimates: list[dict] = field(default_factory=list)
    ranks: list[pd.DataFrame] = field(default_factory=list)


def run_task(task: Task, config: dict) -> Found:
    """Recover a world's panels under every treatment, and with demand known; or rank."""
    # Threads of the linear algebra cost more than they bring on matrices of this size.
    with threadpool_limits(1):
        return _ranked(task, config) if task.ranked else _recovered(task, config)


def _ranked(task: Task, config: dict) -> Found:
    """Ranks of the truth in a family's own world, everything but level and demand known."""
    params = FAMILIES.get(task.world, FAMILIES["negative binomial"])
    world = draw_world(params, config["ranked"], RANKED_DAYS, seed=task.seed)
    if task.world == PLANTED:
        # P(D >= y + 1) in the place of P(D >= y): the off-by-one of 1 - F(c).
        cut = world.panel[CENSORED] & (world.panel[Y] > 0)
        world.panel.loc[cut, Y] += 1
    ranks = truth_ranks(world, n_draws=RANK_DRAWS, seed=task.seed, n_jobs=1)
    ranks.insert(0, "family", task.world)
    return Found(ranks=[ranks])


def demand_of(task: Task, config: dict) -> pd.DataFrame:
    """Draw a world without stockouts."""
    parameters = None
    if task.world == "model":
        parameters = WorldParameters(level_sd=0.03, shock_sd=0.0, dispersion=(2.0, 2.0))
    return make_panel(
        n_series=config["series"], n_days=config["days"], seed=task.seed, parameters=parameters
    )


def _recovered(task: Task, config: dict) -> Found:
    demand = demand_of(task, config)
    sums = WorldSums(demand, n_boot=config["boot"], seed=1000 + task.seed, block=7)
    out = Found()
    oracle: tuple[DemandFilter, Recovery] | None = None
    for rate in config["rates"]:
        panel = simulate_stockouts(demand, mechanism="inventory", rate=rate, seed=task.seed)
        for treatment in (*TREATMENTS, ORACLE):
            if treatment != ORACLE:
                fitted, found = _recover(panel, treatment, task, config)
            else:
                # Demand is the same at every rate, and so is what knows it.
                if oracle is None:
                    oracle = _recover(_known(panel), ORACLE, task, config)
                fitted, found = oracle
            key = (task.world, rate, treatment)
            values = _values(panel, found.frame)
            if found.samples is not None:
                values |= _expected(found, panel)
                out.ranks.append(
                    pd.DataFrame({"world": task.world, "rate": rate, "rank": _ranks(found, panel)})
                )
            out.sums[key] = {k: sums(v) for k, v in values.items()}
            out.estimates.append(
                {"seed": task.seed, "world": task.world, "rate": rate, "treatment": treatment}
                | fitted.estimates_["all"].in_units
            )
    return out


def _known(panel: pd.DataFrame) -> pd.DataFrame:
    return validate_panel(panel.drop(columns=STOCK).assign(**{Y: panel[DEMAND], CENSORED: False}))


def _recover(
    panel: pd.DataFrame, treatment: str, task: Task, config: dict
) -> tuple[DemandFilter, Recovery]:
    fitted = DemandFilter(
        treatment="ignore" if treatment == ORACLE else treatment,
        sample_rows=config["rows"],
        n_jobs=1,
        seed=task.seed,
    ).fit(panel)
    n_draws = config["draws"] if treatment == "censor" else 0
    return fitted, recover(panel, fitted, levels=LEVELS, n_draws=n_draws, seed=task.seed, n_jobs=1)


def _values(panel: pd.DataFrame, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what is summed, a value per row: means, recovered units, whether bands hold the truth."""
    mean, demand, sold = (panel[c].to_numpy(dtype=float) for c in (DEMAND_MEAN, DEMAND, Y))
    level, recovered = (frame[c].to_numpy(dtype=float) for c in (LEVEL_SMOOTHED, RECOVERED))
    short = panel[CENSORED].to_numpy()
    values = {
        "n": np.ones(len(panel)),
        "n_short": short,
        "n_out": short & (sold == 0),
        "level": level,
        "mean": mean,
        "demand": demand,
        "sales": sold,
        "recovered": recovered,
        "demand_short": demand * short,
        "recovered_short": recovered * short,
        "lost": (recovered - sold) * short,
        "truly_lost": demand - sold,
    }
    for k in LEVELS:
        low, high = (frame[c].to_numpy(dtype=float) for c in level_columns(LEVEL_SMOOTHED, k))
        inside = (low <= mean) & (mean <= high)
        for days in ("n", "n_short", "n_out"):
            values[f"level_{k}_{days}"] = inside & (values[days] > 0)
        low, high = (frame[c].to_numpy(dtype=float) for c in level_columns(RECOVERED, k))
        values[f"recovered_{k}"] = (low <= demand) & (demand <= high) & short
    return {name: np.asarray(x, dtype=float) for name, x in values.items()}


def _expected(found: Recovery, panel: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what the model's own draws say its bands of demand hold: counts are discrete."""
    out = {}
    for k in LEVELS:
        low, high = (
            found.frame[c].to_numpy()[found.rows][:, None] for c in level_columns(RECOVERED, k)
        )
        values = np.zeros(len(panel))
        values[found.rows] = ((low <= found.samples) & (found.samples <= high)).mean(axis=1)
        # A day that the panel does not flag holds no draw; none of them is counted.
        out[f"expected_{k}"] = values * panel[CENSORED].to_numpy()
    return out


def _ranks(found: Recovery, panel: pd.DataFrame) -> np.ndarray:
    """Rank each series' true loss of the whole span among its draws, ties broken at random."""
    series = series_index(panel).codes()[found.rows]
    starts = np.flatnonzero(np.r_[True, series[1:] != series[:-1]][: len(series)])
    if not len(starts):
        return np.empty(0, dtype=int)
    demand = panel[DEMAND].to_numpy(dtype=float)[found.rows]
    # Sales are the same in truth and in draws: sums of demand rank as sums of lost units do.
    truth = np.add.reduceat(demand, starts)
    drawn = np.add.reduceat(found.samples.astype(float), starts, axis=0)
    return rank_among(truth, drawn, np.random.default_rng(0))
