"""Trained models in `score_study.py`: backtests on a synthetic panel, coverage, and gaps by pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.backtest import Backtest, cross_validation
from civstats.data.synthetic import make_panel
from civstats.evaluation import evaluate
from civstats.evaluation.metric import Metric, View
from civstats.evaluation.pairwise import pairwise
from civstats.evaluation.scoring import Scorer
from civstats.models import Forecaster, make_forecaster
from civstats.schema import TREATMENTS, parse_alias
from civstats.stockouts.simulate import simulate_stockouts

LEVEL = 80.0
WEEK = 7
FAR = "28 days ahead"
NEAR = "one day ahead"
PAIRS = {
    FAR: (("crps", "demand"), ("crps", "all_days"), ("crps", "in_stock")),
    NEAR: (
        ("crps", "demand"),
        ("localised_crps", "censored"),
        ("censored_log_score", "censored"),
        ("crps", "all_days"),
        ("crps", "in_stock"),
    ),
}
"""Metric and regime by how far ahead; beyond a day the scores with a bound are not proper."""


def _gap(view: View) -> np.ndarray:
    assert view.distribution is not None
    inside = (view.lo <= view.actual) & (view.actual <= view.hi)
    gap: np.ndarray = inside - view.distribution.inside(view.lo, view.hi)
    return gap


GAP = Metric("coverage_gap", _gap, by_level=True, needs=frozenset({"distribution"}))
"""Observed coverage less what the model expects of the same intervals, row by row."""


@dataclass(frozen=True)
class Trained:
    """What the trained models showed.

    Attributes
    ----------
    panel : pandas.DataFrame
    forecasts : pandas.DataFrame
        Of all models, a column ``horizon`` ahead of the rest.
    scores : pandas.DataFrame
        Score frame with ``horizon``.
    coverage : pandas.DataFrame
        ``horizon, model, treatment, observed, lo, hi, expected, gap, gap_lo, gap_hi, n``.
    pairs : pandas.DataFrame
        Frames of pairs with ``horizon``.
    """

    panel: pd.DataFrame
    forecasts: pd.DataFrame
    scores: pd.DataFrame
    coverage: pd.DataFrame
    pairs: pd.DataFrame


def panel_of(config: dict) -> pd.DataFrame:
    """Draw the default synthetic world and lay inventory stockouts on it."""
    demand = make_panel(
        n_series=config["panel_series"], n_days=config["panel_days"], seed=config["seed"]
    )
    return simulate_stockouts(demand, mechanism="inventory", rate=0.15, seed=config["seed"])


def models(config: dict, h: int) -> list[Forecaster]:
    """Make every model under every treatment."""
    out = []
    for treatment in TREATMENTS:
        trees = {"n_rounds": config["trees"]} if config["trees"] else {}
        common = {"treatment": treatment, "seed": config["seed"]}
        out += [
            make_forecaster("LightGBM", h=h, num_threads=1, **common, **trees),
            make_forecaster("LocalLevel", n_jobs=1, sample_rows=config["sample_rows"], **common),
        ]
    return out


def run(config: dict, say: Callable[[str], None]) -> Trained:
    """Backtest, score, and compare."""
    panel = panel_of(config)
    plans = {
        FAR: {"h": config["h"], "n_windows": config["windows"]},
        NEAR: {"h": 1, "n_windows": config["near_days"], "step_size": 1},
    }
    forecasts, scores, coverages, pairs = [], [], [], []
    for horizon, plan in plans.items():
        say(f"models, {horizon}")
        # Parameters are those of the first cutoff; history goes on.
        result = cross_validation(
            panel,
            models(config, plan["h"]),
            **plan,
            refit=False,
            level=[LEVEL],
            n_paths=0,
            seed=config["seed"],
            progress=False,
        )
        say(f"scores, {horizon}")
        found = _judge(result, panel, horizon, config)
        for frames, frame in zip((scores, coverages, pairs), found, strict=True):
            frames.append(frame.assign(horizon=horizon))
        forecasts.append(result.frame.assign(horizon=horizon))
    first = ["horizon"]
    return Trained(
        panel,
        *(
            pd.concat(frames, ignore_index=True)[
                first + [c for c in frames[0].columns if c not in first]
            ]
            for frames in (forecasts, scores, coverages, pairs)
        ),
    )


def _judge(
    result: Backtest, panel: pd.DataFrame, horizon: str, config: dict
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    common = {
        "predictive": tuple(result.all_forecasts.values()),
        "n_boot": config["boot"],
        "seed": config["seed"],
    }
    scores = evaluate(result.frame, panel, level=[LEVEL], block=WEEK, **common)
    coverage = _coverage(result.frame, panel, common)
    pairs = pd.concat(
        [
            pairwise(result.frame, panel, metric=metric, regime=regime, **common)
            for metric, regime in PAIRS[horizon]
        ],
        ignore_index=True,
    )
    return scores, coverage, pairs


def _coverage(frame: pd.DataFrame, panel: pd.DataFrame, common: dict) -> pd.DataFrame:
    """Coverage of demand against what each model expects, under the same bootstrap weights."""
    from civstats.evaluation import METRICS

    scorer = Scorer(frame, panel, regimes="demand", block=WEEK, **common)
    records = []
    for name in scorer.aligned.names:
        observed, gap = (
            scorer.replicates(name, "demand", metric, LEVEL)[:, :1]
            for metric in (METRICS["coverage"], GAP)
        )
        model, treatment = parse_alias(name)
        record = {"model": model, "treatment": treatment, "observed": float(observed[0, 0])}
        record["lo"], record["hi"] = (
            float(x[0]) for x in scorer.bootstrap.interval(observed, 95.0)
        )
        record["expected"] = record["observed"] - float(gap[0, 0])
        record["gap"] = float(gap[0, 0])
        record["gap_lo"], record["gap_hi"] = (
            float(x[0]) for x in scorer.bootstrap.interval(gap, 95.0)
        )
        record["n"] = len(scorer.rows["demand"].actual)
        records.append(record)
    return pd.DataFrame(records)
