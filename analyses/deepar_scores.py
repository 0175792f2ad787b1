"""Scores of `deepar_ablation.py`: bias, WAPE, CRPS, coverage beside the truth's, and pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from deepar_fits import NEURAL, TREES, DeepAROnDemand, Forecasts, LightGBMOnDemand, Row
from deepar_worlds import TRUTH, World
from score_cells import LEVEL

from civstats.evaluation import METRICS, evaluate
from civstats.evaluation.metric import Metric, View
from civstats.evaluation.pairwise import pairwise
from civstats.evaluation.scoring import Scorer
from civstats.schema import alias

SCORED = ("bias", "wape", "wape_total", "rmse", "crps", "coverage", "width", "winkler")
DEMAND_REGIME = "demand"
WEEK = 7
BEST = alias(TRUTH, "ignore")
TWIN = {
    NEURAL: alias(DeepAROnDemand.name, "ignore"),
    TREES: alias(LightGBMOnDemand.name, "ignore"),
}
"""What a kind of model shows when it was trained on demand."""


def _expected(view: View) -> np.ndarray:
    assert view.distribution is not None
    return view.distribution.inside(view.lo, view.hi)


EXPECTED = Metric("expected_coverage", _expected, by_level=True, needs=frozenset({"distribution"}))
"""Probability that a model gives its own interval, row by row."""


@dataclass(frozen=True)
class Scores:
    """What was found in one world.

    Attributes
    ----------
    scores : pandas.DataFrame
        Score frame.
    gaps : pandas.DataFrame
        A row per model: ``bias``, and ``coverage`` of demand, less what a perfect forecast shows,
        with intervals; see `gaps_of`.
    pairs : pandas.DataFrame
        Frames of pairs: CRPS and bias against demand, of M5 the CRPS of sales too.
    """

    scores: pd.DataFrame
    gaps: pd.DataFrame
    pairs: pd.DataFrame


def score(world: World, made: Forecasts, rows: list[Row], config: dict) -> Scores:
    """Score all models of a world."""
    real = world.drawn is None
    regimes = ["all_days", "in_stock", DEMAND_REGIME] if real else [DEMAND_REGIME]
    common = {"predictive": made.predictive, "n_boot": config["boot"], "seed": config["seed"]}
    scores = evaluate(
        made.frame, world.panel, level=[LEVEL], regimes=regimes, metrics=SCORED, block=WEEK,
        **common,
    )  # fmt: skip
    # Whole horizons resampled together would need several windows; series carry what days of one
    # origin share, and are resampled too.
    weekly = common | {"block": WEEK}
    pairs = [
        pairwise(made.frame, world.panel, metric="crps", regime=regime, **weekly)
        for regime in regimes
    ]
    if not real:
        pairs.append(
            pairwise(made.frame, world.panel, metric="bias", regime=DEMAND_REGIME, **weekly)
        )
    gaps = gaps_of(world, made, rows, common)
    return Scores(*(x.assign(world=world.name) for x in (scores, gaps, pd.concat(pairs))))


def gaps_of(world: World, made: Forecasts, rows: list[Row], common: dict) -> pd.DataFrame:
    """Hold bias and coverage of demand against a perfect forecast's, on the same resampled rows.

    Returns
    -------
    pandas.DataFrame
        ``column, label, kind``; ``bias, bias_lo, bias_hi``: against demand; ``coverage``,
        ``coverage_lo``, ``coverage_hi``; ``own``: the coverage that the model itself expects;
        ``expected``: the coverage that the true distribution expects of its interval; ``gap,
        gap_lo, gap_hi``: coverage less that; ``excess, excess_lo, excess_hi``: coverage less what
        the true distribution's interval covered of the same days; ``beyond, beyond_lo, beyond_hi``:
        bias less that of the same kind of model trained on demand, which is what stockouts cost.
        Shares, not points. What needs the truth is NaN without it.
    """
    scorer = Scorer(made.frame, world.panel, regimes=DEMAND_REGIME, block=WEEK, **common)

    def pooled(name: str, metric: Metric) -> np.ndarray:
        level = LEVEL if metric.by_level else None
        return scorer.replicates(name, DEMAND_REGIME, metric, level)[:, :1]

    covered, expected = None, None
    if BEST in scorer.aligned.names:
        covered, expected = pooled(BEST, METRICS["coverage"]), pooled(BEST, EXPECTED)
    records = []
    for row in rows:
        bias, coverage = (pooled(row.column, METRICS[m]) for m in ("bias", "coverage"))
        record: dict[str, object] = {"column": row.column, "label": row.label, "kind": row.kind}
        record |= _with_interval(scorer, "bias", bias)
        record |= _with_interval(scorer, "coverage", coverage)
        record["own"] = float(pooled(row.column, EXPECTED)[0, 0])
        nothing = np.full_like(coverage, np.nan)
        record["expected"] = float("nan") if expected is None else float(expected[0, 0])
        gap = nothing if expected is None else coverage - expected
        excess = nothing if covered is None else coverage - covered
        record |= _with_interval(scorer, "gap", gap) | _with_interval(scorer, "excess", excess)
        oracle = TWIN.get(row.kind, "")
        beyond = nothing
        if oracle in scorer.aligned.names:
            beyond = bias - pooled(oracle, METRICS["bias"])
        record |= _with_interval(scorer, "beyond", beyond)
        records.append(record)
    return pd.DataFrame(records)


def _with_interval(scorer: Scorer, name: str, values: np.ndarray) -> dict[str, float]:
    if np.isnan(values[0, 0]):
        return dict.fromkeys((name, f"{name}_lo", f"{name}_hi"), float("nan"))
    lo, hi = (float(x[0]) for x in scorer.bootstrap.interval(values, 95.0))
    return {name: float(values[0, 0]), f"{name}_lo": lo, f"{name}_hi": hi}
