"""What the levers are worth, from joint paths of demand and availability; what a run found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from value_inputs import check_choice
from value_levers import Choice, cumulative, gain, main_choice, others
from value_outages import Outages, base_world, coming, find_shelf, judge
from value_past import Past, group_columns, learn_demand, realised_loss, statics

from civstats.schema import DEMAND, DS, ID, parse_alias

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
    chosen: str
    choice: Choice
    ranking: pd.DataFrame
    totals: pd.DataFrame
    levers: pd.DataFrame
    curve: pd.DataFrame
    past: Past
    outages: Outages
    recaptured: np.ndarray
    truth: pd.DataFrame | None
    gross_ranking: pd.DataFrame
    by_treatment: pd.DataFrame | None

    def total(self, estimand: str, by: str = "all") -> pd.DataFrame:
        """Return totals of one estimand, ``lost`` or ``gain``, by all, department, store or series."""
        table = self.totals
        return table[(table["estimand"] == estimand) & (table["by"] == by)]


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


def margin_of(config: dict) -> Any:
    """Return the margin as `civstats.value` takes it: a number, a column, or a prior about either."""
    from civstats.value import MarginPrior

    sd = config["margin_sd"]
    return config["margin"] if sd == 0 else MarginPrior(config["margin"], sd)


def recapture_of(past: Past, n: int, config: dict) -> np.ndarray:
    """Draw the share of lost units that customers buy after all, one per sample."""
    from civstats.value import RecapturePrior

    wanted, sd = config["recapture"], config["recapture_sd"]
    if wanted == "estimate":
        if past.recapture is not None:
            # Not the draws that availability begins with.
            return past.recapture.total(n, np.random.default_rng([config["seed"], 11]))
        wanted = RecapturePrior().mean
    if wanted in (0, 1):
        return np.full(n, float(wanted))
    return RecapturePrior(wanted, sd).draw(n, config["seed"])


def price_levers(
    panel: pd.DataFrame, backtest: Backtest, scores: pd.DataFrame, one_step: OneStep, config: dict
) -> Results:
    """Price past losses and levers on the last window, from joint paths of demand and availability."""
    from civstats.value import net_gains

    cutoffs, cutoff = backtest.cutoffs, backtest.cutoffs[-1]
    chosen = decision_model(backtest, config["rank_with"])
    demand = backtest.forecasts[chosen].paths
    window = coming(panel, demand)
    static = window.drop_duplicates(ID)
    margin = margin_of(config)
    known = learn_demand(panel, cutoffs[0])
    past = realised_loss(panel, cutoff, known, margin, config)
    shelf, why = find_shelf(panel[panel[DS] <= cutoff], config["availability"])
    base = base_world(panel, demand, cutoff, shelf, config)
    outages = judge(panel, cutoffs, known, base, shelf, why)
    n_series = demand.sizes[ID]
    k = config["top"] = min(config["top"] or max(1, min(50, n_series // 4)), n_series)
    main = main_choice(config)

    def net_of(gains: xr.Dataset, cost: float | None = None) -> xr.Dataset:
        share = recapture_of(past, gains.sizes["sample"], config)
        return net_gains(gains, recapture=share, cost=cost)

    gross = gain(main, panel, demand, base, shelf, margin, config)
    before_cost = net_of(gross)
    net = before_cost if config["cost"] is None else net_of(gross, config["cost"])
    cost = float(net["cost"].sum()) if "cost" in net else np.nan
    # Beside each other before cost: what the others cost nobody said.
    rows = [_line(main, gross, before_cost) | {"cost": cost}]
    for other in others(main, k, shelf, config):
        found = gain(other, panel, demand, base, shelf, margin, config)
        rows.append(_line(other, found, net_of(found)))
    tables = [_totals("gain", gross, net, static, panel)]
    if past.gross is not None:
        lost_net = net_of(past.gross)
        tables.insert(0, _totals("lost", past.gross, lost_net, statics(panel), panel))
    totals = pd.concat(tables, ignore_index=True)
    ranking = _ranked(net, static, k, totals, outages)
    truth = _true(main, window, config)
    by_treatment = None
    if truth is not None:
        by_treatment = pd.DataFrame([
            _against_truth(name, gains, truth, k)
            for name, gains in _all_gains(panel, backtest, cutoff, (chosen, gross), main, shelf, config)
        ])  # fmt: skip
    return Results(
        panel=panel,
        backtest=backtest,
        scores=scores,
        one_step=one_step,
        chosen=chosen,
        choice=main,
        ranking=ranking,
        totals=totals,
        levers=pd.DataFrame(rows),
        curve=cumulative(net, ranking[ID].astype(str).to_numpy()),
        past=past,
        outages=outages,
        recaptured=net["recaptured"].to_numpy(),
        truth=truth,
        gross_ranking=_rank(gross, static, k),
        by_treatment=by_treatment,
    )


def _rank(gains: xr.Dataset, static: pd.DataFrame, k: int) -> pd.DataFrame:
    from civstats.value import rank_gains

    return rank_gains(gains, k=k, static=static)


def _line(choice: Choice, gross: xr.Dataset, net: xr.Dataset) -> dict[str, Any]:
    """One lever's totals: units, gross and net value."""
    from civstats.value import portfolio

    before, after = portfolio(gross).iloc[0], portfolio(net).iloc[0]
    bands = ("mean", "p10", "p50", "p90")
    return (
        {"name": choice.title, "description": choice.words}
        | {f"units_{b}": before[f"units_{b}"] for b in bands}
        | {f"gross_{b}": before[f"value_{b}"] for b in bands}
        | {f"value_{b}": after[f"value_{b}"] for b in bands}
        | {"cost": np.nan}
    )


def _totals(
    estimand: str, gross: xr.Dataset, net: xr.Dataset, static: pd.DataFrame, panel: pd.DataFrame
) -> pd.DataFrame:
    """Totals of an estimand by all, department, store and series, gross and net, one below the other."""
    from civstats.value import portfolio

    tables = []
    for by in (None, *group_columns(panel), ID):
        before, after = (portfolio(x, static=static, by=by) for x in (gross, net))
        values = [c for c in before.columns if c.startswith("value_")]
        before = before.rename(columns={c: c.replace("value", "gross") for c in values})
        table = before.assign(**{c: after[c] for c in values})
        table.insert(0, "by", by or "all")
        table.insert(0, "estimand", estimand)
        table["group"] = table["group"].astype(str)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _ranked(
    net: xr.Dataset, static: pd.DataFrame, k: int, totals: pd.DataFrame, outages: Outages
) -> pd.DataFrame:
    """Rank by net value; beside it medians, what the past lost, the chance of tomorrow, the driver."""
    from civstats.value import explain

    table = explain(_rank(net, static, k))
    ids = table[ID].astype(str)
    by_series = totals[totals["by"] == ID].set_index(["estimand", "group"])
    middle = by_series.loc["gain"]
    for c in ("units_p50", "value_p50", "gross_p10", "gross_p50", "gross_p90"):
        table[c] = middle[c].reindex(ids).to_numpy()
    if "lost" in by_series.index.get_level_values(0):
        lost = by_series.loc["lost"].reindex(ids)
        for c in ("units_mean", "units_p10", "units_p90", "value_mean"):
            table[f"lost_{c}"] = lost[c].to_numpy()
    if outages.tomorrow is not None:
        first = outages.tomorrow.set_index(outages.tomorrow[ID].astype(str)).reindex(ids)
        for c, name in (("probability", "mean"), ("lo", "p10"), ("hi", "p90")):
            table[f"out_tomorrow_{name}"] = first[c].to_numpy()
    return table


def _true(choice: Choice, window: pd.DataFrame, config: dict) -> pd.DataFrame | None:
    """Return what the lever would have gained in those very days, where the panel itself says it."""
    from civstats.value import true_gain

    if DEMAND not in window.columns or config["lever"] not in ("averted", "gone"):
        return None
    return true_gain(window, choice.lever.strength, margin=config["margin"])


def _all_gains(
    panel: pd.DataFrame,
    backtest: Backtest,
    cutoff: pd.Timestamp,
    done: tuple[str, xr.Dataset],
    main: Choice,
    shelf: Any,
    config: dict,
) -> Any:
    """Yield the main lever's gross gains by every forecast that has paths."""
    for name, forecast in backtest.forecasts.items():
        if name == done[0]:
            yield done
        elif forecast.paths is not None:
            base = base_world(panel, forecast.paths, cutoff, shelf, config)
            yield name, gain(main, panel, forecast.paths, base, shelf, margin_of(config), config)


def _against_truth(name: str, gains: xr.Dataset, truth: pd.DataFrame, k: int) -> dict:
    """Hold a forecast's valuation against what the lever would have gained in the simulation."""
    from civstats.value import portfolio, rank_gains, top_k_regret

    total, worth = portfolio(gains).iloc[0], float(truth["value"].sum())
    model, treatment = parse_alias(name)
    regret = top_k_regret(rank_gains(gains, k=k), truth, k).iloc[0]
    return {
        "model": model,
        "treatment": treatment,
        "value_mean": total["value_mean"],
        "value_p10": total["value_p10"],
        "value_p90": total["value_p90"],
        "value_true": worth,
        "error": total["value_mean"] / worth - 1 if worth > 0 else np.nan,
        "precision": regret["precision"],
        "captured_top_k": 1 - regret["regret_share"],
    }
