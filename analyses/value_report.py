"""The report of `value_of_instock.py`: problem, data, method, results, decision, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from value_decision import decide
from value_gates import stamp
from value_limits import limits
from value_results import results_section
from value_tables import band, money_in, out_share, percent, pooled

from civstats import plots
from civstats.report import Report, literal
from civstats.schema import (
    CENSORED,
    DEMAND,
    DS,
    FLAG_KNOWN,
    ID,
    STATIC,
    Y,
    known_covariates,
    parse_alias,
    stockout_days,
)
from civstats.stockouts.simulate import MECHANISMS

if TYPE_CHECKING:
    from value_pricing import Results

TREATMENT_TEXT = """
A **treatment** says what a model does with a stockout day (it is not a causal treatment):

- **ignore** takes the day's sales for demand;
- **mask** drops the day: no loss, no trace of its value in lags, scalers or histories;
- **censor** uses the day for what it says: that demand was at least the sales where the shelf ended
  empty, and the sales of a share of the day where it was shut by the clock.
"""


def build(results: Results, config: dict, stages: dict) -> Report:
    """Write the document from what was found."""
    panel = results.panel
    simulated = config["mechanism"] != "none"
    report = Report(
        "What being in stock is worth",
        f"{panel[ID].nunique():,} series, {panel[DS].min():%d %b %Y} to {panel[DS].max():%d %b %Y}",
    )
    _facts(report, results, config)
    stamp(report, results.backtest)
    _problem(report, results)
    _data(report, results, config, simulated)
    _method(report, results, config)
    results_section(report, results)
    decide(report, results, config)
    limits(report, results, config, simulated)
    report.section("How this was run")
    report.table(
        pd.DataFrame(
            [
                {"stage": k, "seconds": v["seconds"], "peak memory, MB": v["peak_memory_mb"]}
                for k, v in stages.items()
            ]
        ),
        "Time and memory of each stage (the whole process tree).",
        formats={"seconds": ".1f", "peak memory, MB": "integer"},
    )
    spent = results.backtest.seconds
    report.table(
        pd.DataFrame(
            [{"model": alias, "seconds": seconds} for alias, seconds in spent.items()]
        ).sort_values("seconds", ascending=False, kind="stable"),
        "Of it each model in the backtest, all cutoffs (elapsed; models without threads of their own run side by side).",
        formats={"seconds": ".1f"},
        max_rows=60,
        name="seconds",
    )
    report.text(
        "Configuration, versions and data fingerprint are in [manifest.json](manifest.json)."
    )
    return report


def _facts(report: Report, results: Results, config: dict) -> None:
    money = money_in(config)
    facts: dict[str, object] = {
        "Days with a stockout": (f"{100 * out_share(results.panel):.1f} %", "of all series-days")
        if FLAG_KNOWN not in results.panel.columns
        else (f"{100 * out_share(results.panel):.1f} %", "of the days whose status is known"),
    }
    lost, main = results.total("lost"), results.total("gain").iloc[0]
    if len(lost):
        facts[f"Lost in {config['past']} days"] = (
            money(lost.iloc[0]["gross_mean"]),
            f"margin; {band(lost.iloc[0], 'gross', money)}",
        )
    facts[f"The lever, net, {config['h']} days"] = (
        money(main["value_mean"]),
        f"{band(main, 'value', money)}; {money(main['gross_mean'])} gross",
    )
    best = pooled(results, results.chosen, "demand", "bias")
    if best is not None:
        facts["Bias against true demand"] = (
            percent(best["value"]),
            f"{results.chosen}, interval {percent(best['lo'])} to {percent(best['hi'])}",
        )
    seen = pooled(results, results.chosen, "in_stock", "bias")
    if best is None and seen is not None and np.isfinite(seen["expected"]):
        facts["Bias on in-stock days"] = (
            percent(seen["value"]),
            f"{results.chosen}; of it {percent(seen['expected'])} is selection, as the model expects",
        )
    report.facts(facts)


def _problem(report: Report, results: Results) -> None:
    report.section("Problem")
    report.text(
        "When a product is out of stock, sales stop and demand does not. A forecast trained on sales "
        "learns the empty shelf, so it is too low; an evaluation on sales rewards it for that; and "
        "nobody can say what a better availability would have been worth. This study forecasts "
        "**demand**, scores the forecasts on all days, on days in stock and, where it is known, "
        "against demand itself, and prices a better availability series by series."
    )


def _data(report: Report, results: Results, config: dict, simulated: bool) -> None:
    panel = results.panel
    report.section("Data")
    source = {
        "synthetic": "The panel is **synthetic**: an M5-like retail world whose demand is known",
        "m5": "The panel is **M5** (Walmart unit sales, 2011 to 2016), days before an item's launch left out",
        "file": "The panel is the user's own",
    }[config["data"]]
    zeros = float((panel[Y] == 0).mean())
    report.text(
        f"{source}: {len(panel):,} series-days of {panel[ID].nunique():,} series, "
        f"{panel[Y].mean():.2f} units a day on average, {100 * zeros:.0f} % of days without a sale."
    )
    flagged = stockout_days(panel)
    if simulated:
        known = panel[DEMAND].sum()
        text = (
            f"Stockouts are **simulated** (mechanism `{config['mechanism']}`: "
            f"{MECHANISMS[config['mechanism']].description}), on {100 * flagged.mean():.1f} % of "
            "series-days. "
        )
        if known > 0:
            text += f"They take {100 * (1 - panel[Y].sum() / known):.1f} % of all demand. "
        if CENSORED in panel.columns and panel[CENSORED].any():
            wholly = panel[CENSORED] & (panel[Y] == 0)
            text += (
                f"On {100 * wholly.sum() / max(flagged.sum(), 1):.0f} % of stockout days nothing at all "
                "was sold. "
            )
        if config["data"] == "m5":
            text += (
                "M5 sales may themselves have been cut short; what is called demand here is M5 sales "
                "before the simulated stockouts."
            )
        report.text(text)
    else:
        unknown = int((~panel[FLAG_KNOWN]).sum()) if FLAG_KNOWN in panel.columns else 0
        report.text(
            f"Stockout flags are the panel's own: {100 * out_share(panel):.1f} % of series-days"
            + (f" whose status is known; it is unknown on {unknown:,}. " if unknown else ". ")
            + (
                f"The panel also carries demand itself (`{DEMAND}`), taken here for the truth."
                if DEMAND in panel.columns
                else "What demand was on those days nobody knows, so scores against demand are not "
                "possible here."
            )
        )
    report.figure(
        plots.stockout_overview(panel),
        "stockouts",
        "Where and when the shelf ran empty, and for how long.",
    )


def _method(report: Report, results: Results, config: dict) -> None:
    report.section("Method")
    report.text(TREATMENT_TEXT)
    models = list(dict.fromkeys(parse_alias(a)[0] for a in results.backtest.models))
    cutoffs = ", ".join(f"{c:%d %b %Y}" for c in results.backtest.cutoffs)
    left_out = len(results.backtest.left_out)
    report.text(
        f"Models: {', '.join(models)}. Each is fitted anew at {len(results.backtest.cutoffs)} cutoffs "
        f"({cutoffs}) on the days up to the cutoff and forecasts the {config['h']} days after it; the "
        "panel is cut before any feature is built, and of the days to come a model may see what is taken "
        f"as known ahead ({_covariates(results.panel)}), never sales, stock or flags. Every model "
        f"that is priced returns joint sample paths. {_paths(models)}"
        + (
            f" {left_out} series-window(s) without history at their cutoff were left out."
            if left_out
            else ""
        )
    )
    report.text(" ".join([*_treated(results), _SCORED]))


_SCORED = (
    "Daily WAPE is scored with the median, RMSE, RMSSE and bias with the mean, and WAPE on window totals "
    "with the mean: a mean that is too low can win on daily WAPE, so WAPE never stands without bias. CRPS "
    "scores the whole distribution. Intervals of scores are 95 % bootstrap intervals over series **and** "
    "weeks (days, one day ahead), since series share days. A score that the data do not identify, or that "
    "is not proper where it is asked for, is said to be so instead of printed."
)


_OWN_PATHS = {
    "LocalLevel": "LocalLevel draws level paths from the demand filter's posterior, then counts about them.",
    "DeepAR": "DeepAR draws its paths day by day, each fed what was drawn the day before.",
    "BayesDemand": "BayesDemand draws parameters from its posterior, level paths with them, then counts.",
    "TFT": "TFT gives marginals alone, so it is scored and not priced.",
}


def _paths(models: list[str]) -> str:
    """How each model's joint paths come about."""
    others = [m for m in models if m not in _OWN_PATHS]
    text = [words for m, words in _OWN_PATHS.items() if m in models]
    if others:
        text.append(
            f"For {', '.join(others)} each day's marginal is negative binomial about the forecast mean, its dispersion "
            "from forecasts at past origins, and whole residual vectors of those origins, a series' own or a similar "
            "one's, the same origin for all series, give the dependence over days and between series."
        )
    return " ".join(text)


def _covariates(panel: pd.DataFrame) -> str:
    names = [c for c in known_covariates(panel.columns) if c not in STATIC]
    return ", ".join(["the calendar", *(f"`{literal(c)}`" for c in names)])


def _treated(results: Results) -> list[str]:
    """What the treatments meant to the models that ran."""
    ran = {parse_alias(a) for a in results.backtest.models}
    text = []
    if any(t == "mask" and m != "LightGBM" for m, t in ran):
        text.append(
            "Under `mask` the statsforecast models get stockout days imputed from the same series' past "
            "in-stock days."
        )
    if ("LightGBM", "mask") in ran:
        text.append("Under `mask` LightGBM drops stockout days from its loss and its lags.")
    if ("LightGBM", "censor") in ran:
        text.append(
            "Under `censor` LightGBM's loss is the censored negative binomial likelihood: a day on which "
            "the shelf ended empty contributes P(demand ≥ sales), a full day out nothing, and a day lost "
            "in part by the clock the sales of its share."
        )
    return text
