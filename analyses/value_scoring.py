"""Backtests of `value_of_instock.py` and their scores: the horizon that is priced, and one day ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from value_models import build_one
from value_pricing import decision_model

from civstats.schema import (
    CENSORED,
    CUTOFF,
    DEMAND_MEAN,
    DS,
    FLAG_KNOWN,
    ID,
    Y,
)

if TYPE_CHECKING:
    import xarray as xr

    from civstats.backtest import Backtest
    from civstats.models import Forecaster
    from civstats.study import Study

FLAGSHIPS = ("LightGBM", "LocalLevel")
"""Whose forecasts are followed day by day; any others that can be only where none of them ran."""
KEPT = 1_000_000_000
"""Bytes of paths that may be kept of all windows."""
SAMPLES = 100
"""Draws of availability behind the bias that a model itself expects."""


def backtest_and_score(
    panel: pd.DataFrame, models: Sequence[Forecaster], config: dict, study: Study
) -> tuple[Backtest, pd.DataFrame]:
    """Forecast the last windows and score them, with the bias that selection alone makes."""
    from civstats.backtest import cross_validation
    from civstats.evaluation import evaluate

    with study.stage("backtest"):
        backtest = cross_validation(
            panel,
            models,
            h=config["h"],
            n_windows=config["windows"],
            level=config["level"],
            n_paths=config["paths"],
            seed=config["seed"],
            n_jobs=config["jobs"],
            keep_paths=_kept(panel, models, config),
        )
    with study.stage("evaluate"):
        scores = evaluate(
            backtest.frame,
            panel,
            level=config["level"],
            n_boot=config["boot"],
            block=7,
            seed=config["seed"],
            predictive=backtest.all_forecasts.values(),
            availability=availability_ahead(panel, backtest, config),
            # Of all mechanisms this one alone draws stock without a look at demand.
            stock_independent=config["mechanism"] == "random",
        )
    return backtest, scores


def _kept(panel: pd.DataFrame, models: Sequence[Forecaster], config: dict) -> bool:
    """Keep every window's paths where they are few: a model without a family is scored by them."""
    cells = panel[ID].nunique() * config["h"] * config["paths"] * config["windows"]
    return 4 * cells * len(models) < KEPT


def availability_ahead(
    panel: pd.DataFrame, backtest: Backtest, config: dict
) -> dict[pd.Timestamp, xr.Dataset]:
    """Draw availability after each cutoff from what was known at it.

    Only where the true mean is not known: with it, what a perfect forecast shows is known without a
    model. How demand moves the chance of an outage follows the mean of the forecast that is priced.
    """
    import xarray as xr

    from civstats.models.availability import Availability

    if DEMAND_MEAN in panel.columns:
        return {}
    name = decision_model(backtest, config["rank_with"])
    draws = {}
    for cutoff, rows in backtest.frame.groupby(CUTOFF):
        table = rows.pivot_table(index=ID, columns=DS, values=name, observed=True)
        mean = xr.DataArray(
            table.to_numpy(),
            dims=(ID, DS),
            coords={ID: np.asarray(table.index, dtype=object), DS: table.columns.to_numpy()},
        )
        model = Availability().fit(panel[panel[DS] <= cutoff])
        draws[pd.Timestamp(cutoff)] = model.paths(
            list(table.index),
            pd.DatetimeIndex(table.columns),
            n_paths=SAMPLES,
            seed=config["seed"],
            demand=mean,
        )
    return draws


@dataclass(frozen=True)
class OneStep:
    """What forecasts of the next day alone showed; `skipped` says why there are none.

    One day ahead an inventory policy's stock is independent of demand, given what was known at the
    cutoff: there scores that use a stockout day for its bound are proper.
    """

    skipped: str = ""
    days: int = 0
    first: pd.Timestamp | None = None
    scores: pd.DataFrame | None = None
    histogram: pd.DataFrame | None = None
    uniformity: pd.DataFrame | None = None
    curve: pd.DataFrame | None = None


def score_one_step(panel: pd.DataFrame, models: Sequence[Forecaster], config: dict) -> OneStep:
    """Forecast each of the last days from the day before, parameters frozen, and score it."""
    from civstats.backtest import cross_validation
    from civstats.evaluation import evaluate
    from civstats.evaluation.calibration import (
        calibration_curve,
        pit,
        pit_histogram,
        pit_uniformity,
    )

    chosen = _followed(models)
    reason = _reason(panel, chosen, config)
    if reason:
        return OneStep(skipped=reason)
    backtest = cross_validation(
        panel,
        [build_one(m.name, m.treatment, {**config, "h": 1}) for m in chosen],
        h=1,
        step_size=1,
        n_windows=config["one_step"],
        refit=False,
        level=config["level"],
        n_paths=0,
        seed=config["seed"],
        n_jobs=config["jobs"],
    )
    predictive = list(backtest.all_forecasts.values())
    common = {"n_boot": config["boot"], "seed": config["seed"]}
    scores = evaluate(backtest.frame, panel, level=config["level"], predictive=predictive, **common)
    values = pit(backtest.frame, panel, predictive, regime="censored", seed=config["seed"])
    return OneStep(
        days=config["one_step"],
        first=backtest.cutoffs[0],
        scores=scores,
        histogram=pit_histogram(values, **common),
        uniformity=pit_uniformity(values, **common),
        curve=calibration_curve(values, **common),
    )


def _followed(models: Sequence[Forecaster]) -> list[Forecaster]:
    able = [m for m in models if m.can_update]
    return [m for m in able if m.name in FLAGSHIPS] or able


def _reason(panel: pd.DataFrame, models: list[Forecaster], config: dict) -> str:
    """Say why one day ahead is not scored, empty if it is."""
    if config["one_step"] == 0:
        return "They were switched off (`--one-step 0`)."
    if CENSORED not in panel.columns:
        return f"The panel has no `{CENSORED}`: of no day is it known that its sales are a bound."
    last = panel[panel[DS] > panel[DS].max() - pd.Timedelta(days=config["one_step"])]
    if FLAG_KNOWN in last.columns and not last[FLAG_KNOWN].any():
        return f"The stock status of the last {config['one_step']} days is not known."
    y = panel[Y].to_numpy()
    if (y != np.rint(y)).any():
        return "Sales are no whole numbers, and these scores are of counts."
    if not models:
        return "No model that ran can take in new days with its parameters frozen."
    return ""
