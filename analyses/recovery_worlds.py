"""The worlds of the recovery study: stockouts on known demand, the fits on them, and their sums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recovery_breaks import BREAKS, CLOCK, broken
from recovery_forecasts import LEVELS, Ledger, interval_names

from civstats.evaluation.intervals import expected_marginal_coverage
from civstats.evaluation.recovery import WorldSums
from civstats.features.history import SalesGrid, sales_grid
from civstats.models import make_forecaster
from civstats.models.boosting import LightGBM
from civstats.schema import (
    CENSORED,
    CUTOFF,
    DEMAND,
    DEMAND_MEAN,
    DS,
    ID,
    OUTCOMES,
    Forecast,
    Y,
    alias,
    level_columns,
    validate_panel,
)

GRID_MODELS = {
    "LightGBM": ("ignore", "mask", "censor"),
    "SeasonalWindowAverage": ("ignore", "mask"),
}
Sums = dict[str, np.ndarray]
Key = tuple[str, float, str, str, str]
"""Mechanism, rate (or kind and severity of a break), model, treatment, trained on."""


class OracleLags(LightGBM):
    """LightGBM that learns from true demand but reads the features its treatment would see.

    What separates it from the treatment under test is the labels alone; the full oracle also has
    lags of true demand, which no treatment can have.

    Parameters
    ----------
    truth : pandas.DataFrame
        A validated panel without flags whose ``y`` is demand, the same rows as the history.
    **params
        As for LightGBM.
    """

    def __init__(self, truth: pd.DataFrame, **params: Any) -> None:
        super().__init__(**params)
        self._truth = truth

    def _targets(self) -> SalesGrid:
        return sales_grid(self._truth[self._truth[DS] <= self.cutoff_])


@dataclass(frozen=True)
class Task:
    """One unit of work for a process: all fits on one world under one mechanism or break.

    Attributes
    ----------
    seed : int
        Of the world (synthetic), of its stockouts, and of the fits.
    kind : {"none", "cell", "break"}
    mechanism : str
        A mechanism, or the name of a break.
    rate : float
        Share of days with a stockout.
    """

    seed: int
    kind: str
    mechanism: str
    rate: float


class Bench:
    """A world cut at its first cutoff: fits on the history, sums over the windows after it.

    A model is fitted once, on what is on record at the first cutoff; before every later window its
    history is brought up to date, its parameters frozen.

    Parameters
    ----------
    demand : pandas.DataFrame
        The world without stockouts, history and scored days.
    config : dict
        Of the study.
    seed : int
    """

    def __init__(self, demand: pd.DataFrame, config: dict, seed: int) -> None:
        self.config, self.seed = config, seed
        last, span = demand[DS].max(), pd.Timedelta(days=config["h"])
        self.cutoffs = [last - k * span for k in range(config["windows"], 0, -1)]
        held = DEMAND if DEMAND in demand.columns else Y
        truth = validate_panel(demand.assign(**{Y: demand[held]}))
        self.truth = truth[truth[DS] <= self.cutoffs[0]]
        known = set(self.truth[ID].unique())
        later = demand[(demand[DS] > self.cutoffs[0]) & demand[ID].isin(known)]
        self.windows = [
            later[(later[DS] > cutoff) & (later[DS] <= cutoff + span)].sort_values([ID, DS])
            for cutoff in self.cutoffs
        ]
        scored = pd.concat(self.windows, ignore_index=True)
        lengths = [len(window) for window in self.windows]
        rows = scored[[ID, DS]].assign(**{CUTOFF: pd.DatetimeIndex(self.cutoffs).repeat(lengths)})
        kept = {DEMAND: held, DEMAND_MEAN: DEMAND_MEAN}
        rows = rows.assign(**{k: scored[c] for k, c in kept.items() if c in scored.columns})
        self.ledger = Ledger(rows, seed)
        self.actual = scored[held].to_numpy(dtype=float)
        self.mean = None
        if DEMAND_MEAN in demand.columns:
            self.mean = scored[DEMAND_MEAN].to_numpy(dtype=float)
        # Real sales are the same series and days whatever the stockouts: one set of weights.
        own = config["data"] == "synthetic"
        self.sums = WorldSums(
            scored, n_boot=config["boot"], seed=1000 + (seed if own else 0), block=7
        )

    def fit(
        self,
        panel: pd.DataFrame,
        key: Key,
        *,
        dispersion: float | None = None,
        rate: float | None = None,
    ) -> tuple[Sums, float | None]:
        """Fit on the history of `panel`, forecast, and sum; also the dispersion it settled on.

        The forecasts go into the ledger; `rate` is that of a break, whose key has the severity.
        """
        mechanism, severity, model, treatment, trained_on = key
        params: dict[str, Any] = {"treatment": treatment}
        if model == "LightGBM":
            params |= {
                "h": self.config["h"],
                "n_rounds": self.config["rounds"],
                "max_rows": self.config["rows"],
                "calibration_origins": self.config["origins"],
                "params": {"learning_rate": self.config["learning_rate"]},
                "num_threads": 1,
                "seed": self.seed,
                "dispersion": dispersion,
            }
        oracle = trained_on == "oracle_lags"
        made = OracleLags(self.truth, **params) if oracle else make_forecaster(model, **params)
        parts: list[dict[str, np.ndarray]] = []
        for k, (cutoff, window) in enumerate(zip(self.cutoffs, self.windows, strict=True)):
            history = validate_panel(panel[panel[DS] <= cutoff])
            made = made.update(history) if k else made.fit(history)
            future = window.drop(columns=[c for c in OUTCOMES if c in window.columns])
            forecast = made.predict(future, level=LEVELS, n_paths=0, seed=self.seed)
            parts.append(_columns(forecast, window))
        merged = {c: np.concatenate([part[c] for part in parts]) for c in parts[0]}
        named = {
            "mechanism": mechanism,
            "rate": severity if rate is None else rate,
            "severity": np.nan if rate is None else severity,
            "model": model,
            "treatment": treatment,
            "trained_on": trained_on,
        }
        ends = {
            name: merged[f"{end}_{level}"]
            for level in LEVELS
            for end, name in zip(("low", "high"), interval_names(level), strict=True)
        }
        self.ledger.add(panel, named, {"mean": merged["mean"], **ends})
        return self.score(merged), getattr(made, "dispersion_", None)

    def score(self, forecast: dict[str, np.ndarray]) -> Sums:
        """Sum squared errors, errors and coverage of one forecast under the bootstrap weights."""
        mean, held = forecast["mean"], self.actual if self.mean is None else self.mean
        values = {
            "loss": np.square(mean - held),
            "n": np.ones(len(mean)),
            "error": mean - self.actual,
            "demand": self.actual,
        }
        if self.mean is not None:
            values |= {"error_mean": mean - self.mean, "demand_mean": self.mean}
        for level in LEVELS:
            low, high = forecast[f"low_{level}"], forecast[f"high_{level}"]
            values[f"inside_{level}"] = (low <= self.actual) & (self.actual <= high)
            if f"expected_{level}" in forecast:
                values[f"expected_{level}"] = forecast[f"expected_{level}"]
        return {key: self.sums(np.asarray(x, dtype=float)) for key, x in values.items()}


def _columns(forecast: Forecast, window: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return mean, interval ends and expected coverage in the order of the window's rows."""
    frame = window[[ID, DS]].merge(forecast.frame, on=[ID, DS], how="left", validate="one_to_one")
    name = alias(forecast.model, forecast.treatment)
    out = {"mean": frame[name].to_numpy(dtype=float)}
    for level in LEVELS:
        low, high = (frame[c].to_numpy(dtype=float) for c in level_columns(name, level))
        out |= {f"low_{level}": low, f"high_{level}": high}
        if forecast.marginal is not None:
            shape = (frame[ID].nunique(), -1)
            out[f"expected_{level}"] = expected_marginal_coverage(
                forecast.marginal, low.reshape(shape), high.reshape(shape)
            ).ravel()
    return out


def run_task(
    task: Task, config: dict, base: pd.DataFrame | None, folder: Path | None = None
) -> dict[Key, Sums]:
    """Do all fits of a task.

    Parameters
    ----------
    task : Task
    config : dict
    base : pandas.DataFrame, optional
        The panel whose sales are taken for demand; by default a synthetic world of the task's seed.
    folder : Path, optional
        Where to write the task's forecasts, a parquet file named after it.
    """
    demand = base
    if demand is None:
        from civstats.data.synthetic import make_panel

        demand = make_panel(n_series=config["series"], n_days=config["days"], seed=task.seed)
    bench = Bench(demand, config, task.seed)
    out = {"none": _none, "cell": _cell, "break": _break}[task.kind](bench, demand, task, config)
    if folder is not None:
        name = f"{task.seed:012d}-{task.kind}-{task.mechanism}-{task.rate:g}.parquet"
        bench.ledger.write(folder / name)
    return out


def _none(bench: Bench, demand: pd.DataFrame, task: Task, config: dict) -> dict[Key, Sums]:
    panel = validate_panel(demand.assign(**{CENSORED: False}))
    keys = [("none", 0.0, m, t, "sales") for m in config["models"] for t in GRID_MODELS[m]]
    return {key: bench.fit(panel, key)[0] for key in keys}


def _cell(bench: Bench, demand: pd.DataFrame, task: Task, config: dict) -> dict[Key, Sums]:
    from civstats.stockouts.simulate import simulate_stockouts

    panel = simulate_stockouts(demand, mechanism=task.mechanism, rate=task.rate, seed=task.seed)
    out: dict[Key, Sums] = {}
    for model in config["models"]:
        for treatment in GRID_MODELS[model]:
            key = (task.mechanism, task.rate, model, treatment)
            out[*key, "sales"] = bench.fit(panel, (*key, "sales"))[0]
            if model == "LightGBM" and treatment != "ignore":
                out[*key, "oracle_lags"] = bench.fit(panel, (*key, "oracle_lags"))[0]
    return out


def _break(bench: Bench, demand: pd.DataFrame, task: Task, config: dict) -> dict[Key, Sums]:
    out: dict[Key, Sums] = {}
    settled = None
    for severity in BREAKS[task.mechanism].severities:
        panel = broken(demand, task.mechanism, severity, rate=task.rate, seed=task.seed)
        given = None
        if task.mechanism == "dispersion" and severity != 1.0:
            given = severity * settled
        key = (task.mechanism, severity, "LightGBM", "censor", "sales")
        rate = severity if task.mechanism in CLOCK else task.rate
        out[key], found = bench.fit(panel, key, dispersion=given, rate=rate)
        # The estimate stands first among the severities; the others are multiples of it.
        settled = found if settled is None else settled
    return out
