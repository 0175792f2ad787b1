"""The decision and the limits in the report of `value_of_instock.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_tables import money_in, percent

from civstats import plots
from civstats.report import Report, literal
from civstats.schema import ID, IN_STOCK_SHARE, parse_alias
from civstats.value import LEVERS

if TYPE_CHECKING:
    from value_pricing import Results


def decide(report: Report, results: Results, config: dict) -> None:
    report.section("Decision")
    total = results.totals["all"].iloc[0]
    ranking = results.ranking
    cutoff = results.backtest.cutoffs[-1]
    k = config["top"]
    summed = ranking["value_mean"].sum()
    share_k = ranking["value_mean"].iloc[:k].sum() / summed if summed > 0 else 0.0
    money = money_in(config)
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
            "error": lambda x: percent(float(x)),
            "captured_top_k": "percent",
        },
        max_rows=60,
    )


def limits(report: Report, results: Results, config: dict, simulated: bool) -> None:
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
