"""The models of `deepar_ablation.py`: every treatment of DeepAR and of LightGBM, and the oracles."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
from deepar_worlds import TRUTH, World, on_demand, truth
from score_cells import LEVEL

from civstats.backtest import cross_validation
from civstats.models import make_forecaster
from civstats.models.base import Forecaster
from civstats.models.boosting import LightGBM
from civstats.models.deepar import DeepAR
from civstats.schema import CUTOFF, DS, ID, Forecast, ForecastError

PATHS = 1_000
"""Sample paths: as many as a CRPS needs."""


class DroppedWindows(DeepAR):
    """DeepAR on windows without a stockout alone."""

    name: ClassVar[str] = "DeepAR dropped windows"


class LossMask(DeepAR):
    """DeepAR that masks the loss, and reads the stockout's sales as history."""

    name: ClassVar[str] = "DeepAR loss mask"


class DeepAROnDemand(DeepAR):
    """DeepAR that was shown demand."""

    name: ClassVar[str] = "DeepAR on demand"


class LightGBMOnDemand(LightGBM):
    """LightGBM that was shown demand."""

    name: ClassVar[str] = "LightGBM on demand"


@dataclass(frozen=True)
class Row:
    """A row of the ablation: a label, and how its model is made."""

    label: str
    column: str
    kind: str
    make: Callable[..., Forecaster] | None
    options: dict[str, Any]


NEURAL, TREES, ORACLE, NAIVE = "DeepAR", "LightGBM", "oracle", "baseline"


def rows(config: dict) -> list[Row]:
    """List what is compared, in the order in which it is shown."""

    def trees(**options: Any) -> Forecaster:
        return make_forecaster("LightGBM", **options)

    def naive(**options: Any) -> Forecaster:
        return make_forecaster("SeasonalNaive", **options)

    raw, mask, censor = ({"treatment": t} for t in ("ignore", "mask", "censor"))
    dropped, loss = raw | {"drop_windows": True}, mask | {"history": "raw"}
    out = [
        Row("raw sales", "DeepAR_ignore", NEURAL, DeepAR, raw),
        Row("windows dropped", f"{DroppedWindows.name}_ignore", NEURAL, DroppedWindows, dropped),
        Row("loss mask only", f"{LossMask.name}_mask", NEURAL, LossMask, loss),
        Row("mask, history filled", "DeepAR_mask", NEURAL, DeepAR, mask),
        Row("censored", "DeepAR_censor", NEURAL, DeepAR, censor),
        Row("LightGBM, raw", "LightGBM_ignore", TREES, trees, raw),
        Row("LightGBM, mask", "LightGBM_mask", TREES, trees, mask),
        Row("LightGBM, censored", "LightGBM_censor", TREES, trees, censor),
    ]
    if config["data"] == "m5":
        out.append(Row("seasonal naive", "SeasonalNaive_ignore", NAIVE, naive, raw))
    out += [
        Row("DeepAR on demand", f"{DeepAROnDemand.name}_ignore", ORACLE, DeepAROnDemand, raw),
        Row("LightGBM on demand", f"{LightGBMOnDemand.name}_ignore", ORACLE, LightGBMOnDemand, raw),
    ]
    if config["data"] != "m5":
        out.append(Row("true distribution", f"{TRUTH}_ignore", ORACLE, None, {}))
    return out


def build(row: Row, config: dict) -> Forecaster:
    """Make the model of a row, unfitted."""
    assert row.make is not None
    if row.kind == NAIVE:
        return row.make(**row.options)
    options = row.options | {"seed": config["seed"], "h": config["h"]}
    options["num_threads"] = config["threads"]
    if "LightGBM" in row.column:
        if config["trees"]:
            options["n_rounds"] = config["trees"]
        return row.make(**options)
    options |= {k: config[k] for k in ("hidden_size", "input_size", "batch_size")}
    lags = tuple(k for k in (7, 14, 28) if k <= config["input_size"])
    options |= {"max_steps": config["steps"], "val_every": max(1, min(100, config["steps"] // 8))}
    return row.make(**options, lags=lags)


@dataclass(frozen=True)
class Forecasts:
    """What the models of one world say.

    Attributes
    ----------
    frame : pandas.DataFrame
        A row per series, cutoff and day, the columns of all models.
    predictive : list of Forecast
        With their distributions.
    seconds : dict of str to float
        By column; training and forecasts. Shared oracles count where they were fitted.
    left_out : dict of str to str
        Why a row could not be trained, by label.
    """

    frame: pd.DataFrame
    predictive: list[Forecast]
    seconds: dict[str, float]
    left_out: dict[str, str] = field(default_factory=dict)


def forecast(
    world: World, config: dict, held: dict[str, list[Forecast]], say: Callable[[str], None]
) -> Forecasts:
    """Fit every model before the first window, then only update it; forecast all windows.

    Parameters
    ----------
    world : World
    config : dict
    held : dict
        Forecasts of oracles by column; what is not in it is put there, since worlds of a seed have
        the same demand.
    say : callable
    """
    predictive: list[Forecast] = []
    seconds: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for row in rows(config):
        say(f"{world.name}: {row.label}")
        start = time.perf_counter()
        if row.column in held:
            made = held[row.column]
        elif row.make is None:
            made = truth(world, config["h"], config["windows"])
        else:
            panel = on_demand(world.panel) if row.kind == ORACLE else world.panel
            try:
                made = _backtest(panel, build(row, config), config)
            except ForecastError as error:
                # Whole windows in stock may not exist: that is a finding, not a failure.
                if not row.options.get("drop_windows"):
                    raise
                left_out[row.label] = str(error)
                continue
        if row.kind == ORACLE:
            held[row.column] = made
        seconds[row.column] = time.perf_counter() - start
        predictive += made
    return Forecasts(_frame(predictive, world.panel), predictive, seconds, left_out)


def _backtest(panel: pd.DataFrame, model: Forecaster, config: dict) -> list[Forecast]:
    result = cross_validation(
        panel,
        [model],
        h=config["h"],
        n_windows=config["windows"],
        refit=not model.can_update,
        level=[LEVEL],
        n_paths=PATHS,
        seed=config["seed"],
        progress=False,
        keep_paths=True,
    )
    return list(result.all_forecasts.values())


def _frame(predictive: list[Forecast], panel: pd.DataFrame) -> pd.DataFrame:
    """Put the columns of all models side by side."""
    keys = [ID, DS, CUTOFF]
    ids = panel[ID].cat.categories
    columns: dict[str, list[pd.DataFrame]] = {}
    for made in predictive:
        frame = made.frame[[*keys, *made.columns]]
        frame = frame.assign(**{ID: pd.Categorical(frame[ID].astype(str), categories=ids)})
        columns.setdefault(made.name, []).append(frame)
    whole = [pd.concat(frames).set_index(keys) for frames in columns.values()]
    return pd.concat(whole, axis=1).sort_index().reset_index()
