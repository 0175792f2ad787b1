"""The report of `value_of_instock.py`: problem, data, method, results, decision, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats import plots
from civstats.report import Report, literal
from civstats.schema import (
    CENSORED,
    DEMAND,
    DS,
    FLAG_KNOWN,
    ID,
    IN_STOCK_SHARE,
    STATIC,
    Y,
    known_covariates,
    parse_alias,
    stockout_days,
)
from civstats.stockouts.simulate import MECHANISMS
from civstats.value import LEVERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from value_of_instock import Results

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
    _problem(report, results)
    _data(report, results, config, simulated)
    _method(report, results, config)
    _results(report, results, config)
    _decision(report, results, config)
    _limits(report, results, config, simulated)
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
    report.text(
        "Configuration, versions and data fingerprint are in [manifest.json](manifest.json)."
    )
    return report


def _pooled(results: Results, alias: str, regime: str, metric: str) -> pd.Series | None:
    model, treatment = parse_alias(alias)
    scores = results.scores
    found = scores[
        (scores["model"] == model)
        & (scores["treatment"] == treatment)
        & (scores["regime"] == regime)
        & (scores["metric"] == metric)
        & scores["cutoff"].isna()
    ]
    return found.iloc[0] if len(found) else None


def _percent(value: float, digits: int = 1, sign: str = "+") -> str:
    """Write a share in percent, kept on one line by no-break spaces."""
    if not np.isfinite(value):
        return "undefined"
    return f"{100 * value:{sign}.{digits}f}\u00a0%".replace("-", "−")


def _money_in(config: dict) -> Callable[[float], str]:
    """How money is written: cents below a hundred, the currency's sign before it."""

    def money(value: float) -> str:
        return config["currency"] + (f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}")

    return money


def _out_share(panel: pd.DataFrame) -> float:
    """Share of stockout days among the days whose status is known."""
    known = panel[FLAG_KNOWN].to_numpy() if FLAG_KNOWN in panel.columns else slice(None)
    return float(stockout_days(panel)[known].mean())


def _facts(report: Report, results: Results, config: dict) -> None:
    total = results.totals["all"].iloc[0]
    money = _money_in(config)
    facts: dict[str, object] = {
        "Days with a stockout": (f"{100 * _out_share(results.panel):.1f} %", "of all series-days")
        if FLAG_KNOWN not in results.panel.columns
        else (f"{100 * _out_share(results.panel):.1f} %", "of the days whose status is known"),
        "Value of the lever": (
            money(total["value_mean"]),
            f"80 % band {money(total['value_p10'])} to {money(total['value_p90'])}, "
            f"{config['h']} days",
        ),
        "Units it brings": (
            f"{total['units_mean']:,.0f}",
            f"80 % band {total['units_p10']:,.0f} to {total['units_p90']:,.0f}",
        ),
    }
    best = _pooled(results, results.chosen, "demand", "bias")
    if best is not None:
        facts["Bias against true demand"] = (
            _percent(best["value"]),
            f"{results.chosen}, interval {_percent(best['lo'])} to {_percent(best['hi'])}",
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
            f"Stockout flags are the panel's own: {100 * _out_share(panel):.1f} % of series-days"
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
        f"as known ahead ({_covariates(results.panel)}), never sales, stock or flags. Every model returns "
        "joint sample paths: each day's marginal is negative binomial about the forecast mean, its "
        f"dispersion from forecasts at past origins, and whole {config['h']}-day residual vectors of "
        "those origins, a series' own or a similar one's, the same origin for all series, give the "
        "dependence over days and between series."
        + (
            f" {left_out} series-window(s) without history at their cutoff were left out."
            if left_out
            else ""
        )
    )
    report.text(" ".join([*_treated(results), _SCORED]))


_SCORED = (
    "Daily WAPE is scored with the median, RMSE and bias with the mean, and WAPE on window totals with "
    "the mean: a mean that is too low can win on daily WAPE, so WAPE never stands without bias. "
    "Intervals of scores are 95 % bootstrap intervals over series **and** weeks, since series share days."
)


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


def _results(report: Report, results: Results, config: dict) -> None:
    scores = results.scores
    report.section("Results")
    known = bool((scores["regime"] == "demand").any())
    report.subsection("What the naive evaluation says, and what is true")
    caption = plots.naive_evaluation_caption(scores)
    report.figure(plots.naive_evaluation(scores), "naive-evaluation", caption)
    report.table(
        _bias_table(scores, known),
        "Bias of the mean forecast, (forecast − outcome) / outcome, pooled over windows, with 95 % "
        "intervals: the same forecasts judged three ways."
        if known
        else "Bias of the mean forecast, (forecast − outcome) / outcome, pooled over windows, with 95 % "
        "intervals.",
        max_rows=60,
        name="bias",
        note="A perfect forecast is not unbiased on sales: its row holds the bias that the true mean "
        "demand shows on the same days."
        if _perfect_known(scores)
        else "A perfect forecast of demand need not be unbiased on sales: where high demand causes the "
        "stockout, in-stock days are low-demand days, and it looks too high on them.",
    )
    report.table(
        _error_table(scores),
        "Errors and interval coverage, pooled over windows.",
        max_rows=60,
        name="errors",
        full="scores.csv",
        note="RMSE in units a day, with the mean; WAPE daily with the median, and on each series' window "
        "total with the mean. Errors compare down a column, not across: the outcomes differ.",
    )
    report.subsection("Do the intervals cover?")
    report.figure(
        plots.coverage(scores),
        "coverage",
        "Share of outcomes inside the prediction intervals. Counts are discrete, so an honest 80 % "
        "interval covers more than 80 % of slow-moving demand"
        + (
            "; ticks mark what each model itself expects of its own intervals. "
            if scores.loc[scores["metric"] == "coverage", "expected"].notna().any()
            else ". "
        )
        + "Where high demand causes the stockout, in-stock days are low-demand days, and coverage on them "
        "is too flattering.",
    )
    report.subsection("What the forecasts look like")
    examples, hit = _examples(results)
    level = 80.0 if 80.0 in results.backtest.level else results.backtest.level[0]
    report.figure(
        plots.example_series(
            results.panel,
            results.backtest.frame,
            examples,
            results.chosen,
            level=level,
            cutoff=results.backtest.cutoffs[-1],
        ),
        "examples",
        f"{'Series that stockouts hit' if hit else 'Series'}, from slow to fast, with {level:g} % bands "
        f"of {results.chosen}; stockout days are marked.",
    )


_WORDS = {"all_days": "all days", "in_stock": "in stock", "demand": "demand"}


def _perfect_known(scores: pd.DataFrame) -> bool:
    return bool(scores.loc[scores["metric"] == "bias", "expected"].notna().any())


def _by_model(scores: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    pooled = scores[scores["cutoff"].isna()]
    groups = pooled.groupby(["model", "treatment"], sort=False, observed=True)
    return [(str(m), str(t), part) for (m, t), part in groups]


def _bias_table(scores: pd.DataFrame, known: bool) -> pd.DataFrame:
    """One row per model and treatment; what a perfect forecast would show comes first."""
    rows = []
    for model, treatment, part in _by_model(scores):
        bias = part[part["metric"] == "bias"].set_index("regime")
        if known and not rows and bias["expected"].notna().any():
            rows.append(
                {"model": "a perfect forecast", "treatment": "—"}
                | {
                    word: _percent(bias.at[regime, "expected"])
                    for regime, word in _WORDS.items()
                    if regime in bias.index
                }
            )
        row = {"model": model, "treatment": treatment}
        for regime, word in _WORDS.items():
            if regime in bias.index:
                b = bias.loc[regime]
                row[word] = (
                    f"{_percent(b['value'])} ({_percent(b['lo'], 0)} to\u00a0{_percent(b['hi'], 0)})"
                )
        rows.append(row)
    return pd.DataFrame(rows)


def _error_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model, treatment and regime: errors, and the coverage of each level."""
    rows = []
    for model, treatment, part in _by_model(scores):
        for regime, word in _WORDS.items():
            mine = part[part["regime"] == regime]
            if mine.empty:
                continue
            point = mine[mine["level"].isna()].set_index("metric")["value"]
            cover = mine[mine["metric"] == "coverage"].set_index("level")["value"].sort_index()
            rows.append(
                {
                    "model": model,
                    "treatment": treatment,
                    "scored on": word,
                    "RMSE": f"{point['rmse']:.3f}" if np.isfinite(point["rmse"]) else "undefined",
                    "WAPE": _percent(point["wape"], sign=""),
                    "of totals": _percent(point["wape_total"], sign=""),
                }
                | {f"{k:g} % covers": _percent(v, sign="") for k, v in cover.items()}
            )
    return pd.DataFrame(rows)


def _examples(results: Results, n: int = 4) -> tuple[list[str], bool]:
    """Choose series with stockouts before the cutoff, from slow to fast; else any series."""
    cutoff = results.backtest.cutoffs[-1]
    recent = results.panel[
        (results.panel[DS] > cutoff - pd.Timedelta(days=120)) & (results.panel[DS] <= cutoff)
    ]
    table = pd.DataFrame(
        {
            "out": pd.Series(stockout_days(recent), index=recent.index)
            .groupby(recent[ID], observed=True)
            .mean(),
            "y": recent.groupby(recent[ID], observed=True)[Y].mean(),
        }
    )
    forecast = set(results.backtest.forecasts[results.chosen].frame[ID].astype(str))
    table = table[table.index.astype(str).isin(forecast)]
    hit = table[(table["out"] > 0.03) & (table["out"] < 0.6)]
    pool = (hit if len(hit) >= n else table).sort_values("y")
    at = np.unique((np.linspace(0.45, 0.995, n) * (len(pool) - 1)).astype(int))
    return [str(x) for x in pool.index[at]], len(hit) >= n


def _decision(report: Report, results: Results, config: dict) -> None:
    report.section("Decision")
    total = results.totals["all"].iloc[0]
    ranking = results.ranking
    cutoff = results.backtest.cutoffs[-1]
    k = config["top"]
    summed = ranking["value_mean"].sum()
    share_k = ranking["value_mean"].iloc[:k].sum() / summed if summed > 0 else 0.0
    money = _money_in(config)
    lever = LEVERS[config["lever"]].describe(config["share"]).replace("%", " %")
    report.text(
        f"**The lever**: {lever}; over the {config['h']} days after {cutoff:%d %b %Y}. Demand comes from "
        f"`{results.chosen}`; stockouts from each series' own history, shrunk to its department's, and "
        "more or less likely with the demand that is expected, as far as history shows. Base and improved "
        "world share every draw, so no series can lose. A unit is worth its price times a margin of "
        f"{100 * config['margin']:g} %."
    )
    if summed <= 0:
        report.callout(
            "Nothing to gain: no stockout is on record before the cutoff, or nothing is sold, so no lever "
            "on availability is worth anything here.",
            kind="key",
        )
        return
    report.callout(
        f"The lever is worth **{money(total['value_mean'])}** in margin (80 % band "
        f"{money(total['value_p10'])} to {money(total['value_p90'])}), {total['units_mean']:,.0f} units. "
        f"The first {k} of {len(ranking)} series hold {100 * share_k:.0f} % of it. Start with "
        f"{', '.join(literal(str(x)) for x in ranking[ID].iloc[:3])}.",
        kind="key",
    )
    report.figure(
        plots.ranking(
            ranking,
            top=min(20, len(ranking)),
            period=f"{config['h']} days",
            k=k,
            currency=config["currency"],
        ),
        "ranking",
        "What the lever is worth, series by series: mean and the band from p10 to p90 of the sum over "
        "days (from joint paths; sums of daily quantiles would be far too wide).",
    )
    columns = {
        "rank": "rank",
        ID: "series",
        "units_mean": "units",
        "value_mean": "value",
        "value_p10": "p10",
        "value_p90": "p90",
        "prob_top_k": f"P(top {k})",
        "stockout_probability": "P(out)",
        "demand_mean": "demand",
        "price": "price",
    }
    report.table(
        ranking[list(columns)].head(15),
        "The first of the ranking.",
        labels=columns,
        formats={
            "units_mean": ".1f",
            "value_mean": "money",
            "value_p10": "money",
            "value_p90": "money",
            "prob_top_k": "share",
            "stockout_probability": "percent",
            "demand_mean": ".1f",
            "price": "money",
        },
        note="Demand: units over the horizon. ranking.csv holds all rows.",
    )
    for column, word in (("dept_id", "department"), ("store_id", "store")):
        if column in results.totals:
            report.table(
                results.totals[column][
                    ["group", "n_series", "units_mean", "value_mean", "value_p10", "value_p90"]
                ],
                f"By {word}: the bands are of the {word}'s sum.",
                labels={
                    "group": word,
                    "n_series": "series",
                    "units_mean": "units",
                    "value_mean": "value",
                    "value_p10": "p10",
                    "value_p90": "p90",
                },
                formats={
                    "units_mean": ".1f",
                    "value_mean": "money",
                    "value_p10": "money",
                    "value_p90": "money",
                },
            )
    if results.truth is not None:
        _held_against_truth(report, results, k, config)


def _held_against_truth(report: Report, results: Results, k: int, config: dict) -> None:
    truth = results.truth.set_index(results.truth[ID].astype(str))["value"]
    report.subsection("Held against what came")
    report.text(
        "Demand is known here, so what the same lever would have gained in those very days is "
        "known. It is one realisation, and the figures below say how close the valuation came."
    )
    report.figure(
        plots.ranking_truth(results.ranking, truth, k=k, currency=config["currency"]),
        "ranking-truth",
        "Expected against true gain, and how much of all true gain the first of the ranking capture.",
    )
    report.table(
        results.by_treatment,
        f"The lever's total by forecast, against the truth; captured: true gain of the forecast's top {k} "
        f"as a share of that of the best {k} in hindsight.",
        labels={
            "value_mean": "value",
            "value_p10": "p10",
            "value_p90": "p90",
            "value_true": "truth",
            "captured_top_k": "captured",
        },
        formats={
            "value_mean": "money",
            "value_p10": "money",
            "value_p90": "money",
            "value_true": "money",
            "error": lambda x: _percent(float(x)),
            "captured_top_k": "percent",
        },
        max_rows=60,
    )


def _limits(report: Report, results: Results, config: dict, simulated: bool) -> None:
    report.section("Limits")
    treatment = parse_alias(results.chosen)[1]
    points = [
        "The value is gross: units that a customer would have bought as a substitute or later are not "
        "taken off.",
        "Stockout probabilities are extrapolated from each series' past and follow its expected demand; "
        "they know no replenishment plans.",
        "Prices are taken as they are; nothing here is a price elasticity.",
        f"The horizon that is priced is the last window of the backtest ({config['h']} days after "
        f"{results.backtest.cutoffs[-1]:%d %b %Y}), so that it can be checked.",
    ]
    if treatment != "censor":
        points.insert(
            0,
            f"Demand comes from a forecast under `{treatment}`. Where stockouts are caused by high "
            "demand it is too low, and so is the value.",
        )
    if config["left_out"]:
        points.append(
            f"Sales are not whole numbers, so {', '.join(config['left_out'])}, whose likelihood is one of "
            "counts, did not run."
        )
    if config["series"] and config["data"] != "synthetic":
        points.append(
            "The series are the best sellers of the whole history, the days that are forecast included."
        )
    if config["data"] == "m5":
        points.append(
            "M5 holds items that sell nothing for months and come back; a forecast from past sales "
            "cannot see that coming, and neither can the ranking."
        )
    if simulated:
        points.append(
            "Stockouts are simulated: the mechanism decides how far sales mislead. Real stockouts mix "
            "several."
        )
    if IN_STOCK_SHARE in results.panel.columns:
        points.append(
            "Outages by the clock lose a share of the day; a model under `mask` drops the day whole."
        )
    report.text("\n".join(f"- {p}" for p in points))
