"""What `level_study.py` runs: panels, models, backtests, and stockouts on top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from civstats.backtest import cross_validation
from civstats.evaluation.scaled import M5_LEVELS, ScaledScorer
from civstats.models import Forecaster, make_forecaster
from civstats.schema import CUTOFF, DEMAND, DS, ID, CivstatsError, validate_panel

LEVEL = {"hidden": True, "sales": True, "individual": True, "rounds": 2}
"""The one configuration of the local level, chosen on 300 series of another store (WI_3)."""
BASELINES = ("SeasonalNaive", "SeasonalWindowAverage", "CrostonSBA", "IMAPA")
MODELS = ("LocalLevel", *BASELINES, "LightGBM")
ETS = "AutoETS"
OURS = "LocalLevel_ignore"


@dataclass(frozen=True)
class Found:
    """What the study found.

    Attributes
    ----------
    forecasts : pandas.DataFrame
        Of all models, whose columns they share.
    sample : pandas.DataFrame
        The same on the sample of series that AutoETS was run on, its columns with them.
    stocked_out : pandas.DataFrame
        The local level's with and without the stockouts laid on top.
    scores, differences : pandas.DataFrame
        ``part`` is ``all``, ``sample`` or ``stockouts``.
    seconds : dict of str to float
    facts : dict
    """

    forecasts: pd.DataFrame
    sample: pd.DataFrame
    stocked_out: pd.DataFrame
    scores: pd.DataFrame
    differences: pd.DataFrame
    seconds: dict[str, float]
    facts: dict[str, Any]


def load(config: dict) -> pd.DataFrame:
    """Load the panel whose sales are forecast."""
    if config["data"] == "m5":
        if config["path"] is None:
            raise CivstatsError("--data m5 needs --path: the Kaggle zip or the unzipped folder")
        from civstats.data.m5 import load_m5

        panel = load_m5(config["path"], stores=config["store"], last_days=config["days"])
        return _random_series(panel, config["series"], config["seed"])
    from civstats.data.synthetic import make_panel

    panel = make_panel(
        n_series=config["series"] or 40, n_days=config["days"] or 500, seed=config["seed"]
    )
    # Its demand is what was sold: no stockouts yet, and no truth for a model to read.
    return validate_panel(panel.drop(columns=[c for c in ("demand", "demand_mean") if c in panel]))


def _random_series(panel: pd.DataFrame, n: int | None, seed: int) -> pd.DataFrame:
    ids = np.asarray(panel[ID].cat.categories)
    if n is None or n >= len(ids):
        return panel
    picked = np.random.default_rng(seed).choice(ids, n, replace=False)
    return validate_panel(panel[panel[ID].isin(picked)])


def make(name: str, treatment: str, config: dict, **extra: Any) -> Forecaster:
    """Build a model as the study runs it."""
    options: dict[str, Any] = {"treatment": treatment, **extra}
    if name == "LocalLevel":
        options |= LEVEL | {"sample_rows": config["sample_rows"], "n_jobs": config["threads"]}
        options["seed"] = config["seed"]
    if name == "LightGBM":
        options |= {"h": config["h"], "num_threads": config["threads"], "seed": config["seed"]}
        if config["trees"]:
            options["n_rounds"] = config["trees"]
    return make_forecaster(name, **options)


def backtest(panel: pd.DataFrame, model: Forecaster, config: dict) -> tuple[pd.DataFrame, float]:
    """Forecast all windows: fitted before the first and updated where the model can be."""
    result = cross_validation(
        panel,
        [model],
        h=config["h"],
        n_windows=config["windows"],
        refit=not model.can_update,
        level=M5_LEVELS,
        n_paths=0,
        seed=config["seed"],
        progress=False,
    )
    return result.frame, result.seconds[result.models[0]]


def joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Put the columns of several models side by side."""
    keys = [ID, DS, CUTOFF]
    out = frames[0]
    for frame in frames[1:]:
        same = len(frame) == len(out) and all(
            (frame[c].to_numpy() == out[c].to_numpy()).all() for c in keys
        )
        if not same:
            raise CivstatsError("two models were asked for different series or days")
        out = pd.concat([out, frame.drop(columns=keys)], axis=1)
    return out


def run(config: dict, panel: pd.DataFrame, say: Callable[[str], None]) -> Found:
    """Run everything, and score it."""
    seconds: dict[str, float] = {}
    frames = {}
    for name in config["models"]:
        say(name)
        frames[name], seconds[name] = backtest(panel, make(name, "ignore", config), config)
    forecasts = joined(list(frames.values()))
    scored = [_score("all", forecasts, panel, config)]
    sample = forecasts.iloc[:0]
    if config["etsseries"]:
        say(ETS)
        part = _random_series(panel, config["etsseries"], config["seed"] + 1)
        ets, seconds[ETS] = backtest(part, make(ETS, "ignore", config), config)
        same = forecasts[forecasts[ID].isin(part[ID].cat.categories)].reset_index(drop=True)
        same[ID] = same[ID].cat.remove_unused_categories()
        sample = joined([same, ets])
        scored.append(_score("sample", sample, part, config))
    stocked_out, facts = forecasts.iloc[:0], {}
    if config["rate"] > 0:
        say("stockouts on top")
        stocked_out, short, facts = _with_stockouts(panel, frames["LocalLevel"], config)
        seconds["LocalLevel, stockouts"] = facts.pop("seconds")
        scored.append(_score("stockouts", stocked_out, short, config, target=DEMAND))
    facts["unscaled"] = {name: n for name, _, _, n in scored}
    scores, differences = (
        pd.concat([s[k].assign(part=s[0]) for s in scored], ignore_index=True) for k in (1, 2)
    )
    return Found(
        forecasts,
        sample,
        stocked_out,
        scores[["part", *(c for c in scores if c != "part")]],
        differences[["part", *(c for c in differences if c != "part")]],
        seconds,
        facts,
    )


def _with_stockouts(
    panel: pd.DataFrame, without: pd.DataFrame, config: dict
) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """Lay inventory stockouts on top, and forecast what would have sold without them."""
    from civstats.stockouts.simulate import simulate_stockouts

    short = simulate_stockouts(
        panel, mechanism="inventory", rate=config["rate"], seed=config["seed"]
    )
    # The simulated stockouts are flagged and come on top of those the shop had, which nobody
    # flagged: the hidden state is of the latter alone, as in the forecast without the former.
    model = make("LocalLevel", "censor", config, trust_unflagged=False, flags_apart=True)
    frame, seconds = backtest(short, model, config)
    lost = 1 - float(short["y"].sum() / short[DEMAND].sum())
    facts = {"seconds": seconds, "days": float(short["is_censored"].mean()), "lost": lost}
    return joined([without, frame]), short, facts


def _score(
    part: str, forecasts: pd.DataFrame, panel: pd.DataFrame, config: dict, target: str = "y"
) -> tuple[str, pd.DataFrame, pd.DataFrame, int]:
    scorer = ScaledScorer(
        forecasts, panel, target=target, n_boot=config["boot"], seed=config["seed"]
    )
    ours = OURS if part != "stockouts" else "LocalLevel_censor"
    regime = "demand" if target == DEMAND else "all_days"
    return part, scorer.scores(regime=regime), scorer.differences(ours), scorer.n_unscaled
