"""What the lever is worth, from joint paths of demand and availability; what a run found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from value_inputs import check_choice

from civstats.schema import DEMAND, DS, ID, PRICE, parse_alias

if TYPE_CHECKING:
    import xarray as xr
    from value_scoring import OneStep

    from civstats.backtest import Backtest


@dataclass(frozen=True)
class Results:
    """What a run found, for the report."""

    panel: pd.DataFrame
    backtest: Backtest
    scores: pd.DataFrame
    one_step: OneStep
    ranking: pd.DataFrame
    totals: dict[str, pd.DataFrame]
    gains: xr.Dataset
    chosen: str
    truth: pd.DataFrame | None
    by_treatment: pd.DataFrame | None


def decision_model(backtest: Backtest, asked: str | None) -> str:
    """Choose whose paths are priced: the one asked for, or LightGBM under its best treatment.

    "Best" is fixed beforehand (censor before mask before ignore) and not by any score: the truth
    that could choose is not there on real data, and in-stock scores favour the wrong treatment.
    """
    with_paths = [a for a, f in backtest.forecasts.items() if f.paths is not None]
    if asked is not None:
        check_choice("--rank-with", asked, with_paths)
        return asked
    order = {"censor": 0, "mask": 1, "ignore": 2}
    return min(with_paths, key=lambda a: ("LightGBM" not in a, order[parse_alias(a)[1]]))


def price_lever(
    panel: pd.DataFrame, backtest: Backtest, scores: pd.DataFrame, one_step: OneStep, config: dict
) -> Results:
    """Price the lever on the last window, from joint paths of demand and availability."""
    from civstats.models.availability import Availability
    from civstats.value import gain_paths, portfolio, rank_gains, true_gain

    cutoff = backtest.cutoffs[-1]
    chosen = decision_model(backtest, config["rank_with"])
    paths = backtest.forecasts[chosen].paths
    ids, days = paths[ID].to_numpy(), pd.DatetimeIndex(paths[DS].to_numpy())
    window = panel[(panel[DS] > cutoff) & panel[ID].isin(ids)]
    draws = (
        Availability()
        .fit(panel[panel[DS] <= cutoff])
        .paths(ids, days, n_paths=paths.sizes["sample"], seed=config["seed"], demand=paths)
    )

    def gains_of(name: str) -> xr.Dataset:
        return gain_paths(
            backtest.forecasts[name].paths,
            draws,
            price=window[[ID, DS, PRICE]],
            margin=config["margin"],
            lever=config["lever"],
            share=config["share"],
            seed=config["seed"],
        )

    config["top"] = min(config["top"] or max(1, min(50, len(ids) // 4)), len(ids))
    gains = gains_of(chosen)
    ranking = rank_gains(gains, k=config["top"], static=window)
    totals = {"all": portfolio(gains)}
    for column in ("dept_id", "store_id"):
        if (
            column in window.columns
            and len(window[column].cat.remove_unused_categories().cat.categories) > 1
        ):
            totals[column] = portfolio(gains, static=window, by=column)
    truth = by_treatment = None
    if DEMAND in window.columns:
        truth = true_gain(window, config["share"], margin=config["margin"])
        rows = []
        for name, forecast in backtest.forecasts.items():
            if forecast.paths is not None:
                found = gains if name == chosen else gains_of(name)
                rows.append(_against_truth(name, found, truth, config["top"]))
        by_treatment = pd.DataFrame(rows)
    return Results(
        panel, backtest, scores, one_step, ranking, totals, gains, chosen, truth, by_treatment
    )


def _against_truth(name: str, gains: xr.Dataset, truth: pd.DataFrame, k: int) -> dict:
    """Hold a forecast's valuation against what the lever would have gained in the simulation."""
    from civstats.value import portfolio, rank_gains

    total = portfolio(gains).iloc[0]
    gained = truth.set_index(truth[ID].astype(str))["value"]
    order = rank_gains(gains, k=k)[ID].astype(str)
    model, treatment = parse_alias(name)
    best = gained.sort_values(ascending=False).iloc[:k].sum()
    return {
        "model": model,
        "treatment": treatment,
        "value_mean": total["value_mean"],
        "value_p10": total["value_p10"],
        "value_p90": total["value_p90"],
        "value_true": gained.sum(),
        "error": total["value_mean"] / gained.sum() - 1 if gained.sum() > 0 else np.nan,
        "captured_top_k": gained.loc[order.iloc[:k]].sum() / best if best > 0 else np.nan,
    }
