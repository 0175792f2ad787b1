"""The decision in the report of `value_of_instock.py`: what was lost, what levers bring, where to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from value_outlook import outlook
from value_page import interactive
from value_tables import band, money_in, percent, share_of
from value_where import where_to_begin

from civstats import plots
from civstats.report import Report, literal
from civstats.schema import ID

if TYPE_CHECKING:
    from value_pricing import Results


def decide(report: Report, results: Results, config: dict) -> None:
    """Write the section; it can be read alone."""
    report.section("Decision")
    cutoff = results.backtest.cutoffs[-1]
    h = config["h"]
    report.text(
        f"Two questions, kept apart and never added. **What was lost**: sales that empty shelves took in the "
        f"{config['past']} days up to {cutoff:%d %b %Y}; they are gone. **What could be gained**: what a lever "
        f"on availability would bring in the {h} days after that. Both are margin, and both come as a range: "
        "an 80 % band runs from a value that the truth falls short of one time in ten (p10) to one that it "
        "exceeds one time in ten (p90)."
    )
    if not results.levers["units_mean"].to_numpy().any():
        report.callout(
            "Nothing to gain: no stockout is on record before the cutoff, or nothing is sold, so no lever "
            "on availability is worth anything here.",
            kind="key",
        )
        return
    report.callout(_in_short(results, config), kind="key")
    _assumptions(report, results, config)
    _lost(report, results, config)
    _levers(report, results, config)
    where_to_begin(report, results, config)
    interactive(report, results, config)
    outlook(report, results)
    if results.truth is not None:
        _held_against_truth(report, results, config)


def _in_short(results: Results, config: dict) -> str:
    """The answer in a paragraph."""
    money, k = money_in(config), config["top"]
    ranking, main, cost = results.ranking, results.total("gain").iloc[0], config["cost"]
    # Of those that are worth their cost.
    k = min(k, int((ranking["value_mean"] > 0).sum()))
    parts = []
    lost = results.total("lost")
    if len(lost):
        row = lost.iloc[0]
        parts.append(
            f"In the last {config['past']} days stockouts took about {row['units_mean']:,.0f} units, "
            f"**{money(row['gross_mean'])}** of margin ({band(row, 'gross', money)})."
        )
    held = share_of(ranking, k)
    parts.append(
        f"In the coming {config['h']} days the lever “{results.choice.title}” brings "
        f"**{money(main['value_mean'])}** net ({band(main, 'value', money)}); "
        f"{money(main['gross_mean'])} before what customers would have bought anyway"
        + (
            " is taken off."
            if cost is None
            else f" and {money(cost)} in each series it changes are taken off."
        )
    )
    if held > 0 and cost is not None:
        # Losses further down would make any share of the whole a riddle.
        first = ranking["value_mean"].iloc[:k].sum()
        parts.append(
            f"Begin with the first {k} of {len(ranking):,} series, worth {money(first)}"
            + ("; the others cost more than they bring. " if k < config["top"] else ". ")
            + f"On top are {', '.join(literal(str(x)) for x in ranking[ID].iloc[:3])}."
        )
    elif held > 0:
        parts.append(
            f"Begin with the first {k} of {len(ranking):,} series: they hold {100 * held:.0f} % of that. On "
            f"top are {', '.join(literal(str(x)) for x in ranking[ID].iloc[:3])}."
        )
    if k == 0:
        parts.append("No series is worth its cost.")
        return " ".join(parts)
    sure = ranking["prob_top_k"].to_numpy(float)[:k]
    parts.append(
        f"The order is less sure than the sum: one of the first {k} belongs among the best {config['top']} with a chance of "
        f"{100 * sure.mean():.0f} % on average."
    )
    return " ".join(parts)


def _assumptions(report: Report, results: Results, config: dict) -> None:
    """What the figures rest on, for somebody who reads nothing else."""
    margin, sd = config["margin"], config["margin_sd"]
    said = (
        f"the column `{literal(margin)}`, a share of the price"
        if isinstance(margin, str)
        else f"{100 * margin:g} % of the price"
    )
    lo, hi = np.quantile(results.recaptured, [0.1, 0.9])
    cost = config["cost"]
    points = [
        f"**Demand** comes from `{results.chosen}`. "
        + (
            "Demand and stockouts are drawn together, world by world: a world of high demand empties its own "
            "shelves. "
            if results.outages.base == "shelf"
            else "Stock is not on record, so outages are drawn from each series' own flags: their chance rises "
            "with expected demand, but the luck of a day's demand does not move it. "
        )
        + "The world with the lever shares every draw with the one without it.",
        f"**Margin**: {said}"
        + (
            f", give or take {100 * sd:g} points (one standard deviation, the same in every series)."
            if sd
            else "."
        ),
        f"**Net of recapture**: {100 * results.recaptured.mean():.0f} % of lost units ({100 * lo:.0f} to "
        f"{100 * hi:.0f} % in an 80 % band) are taken to be bought after all, as a substitute or later, at the same "
        f"margin. {_evidence(results, config)}",
        "**Cost**: "
        + (
            "none was given, so a lever is worth pulling in a series if it costs less than the net value there."
            if cost is None
            else f"the lever costs {money_in(config)(cost)} in each series that it changes, taken off the net "
            "value; the other levers are shown before cost."
        ),
    ]
    report.text("\n".join(f"- {p}" for p in points))


def _evidence(results: Results, config: dict) -> str:
    """Where the share of recapture comes from, and what the panel says of it."""
    found = results.past.recapture
    used = config["recapture"] == "estimate" and found is not None
    text = (
        "The share is the panel's own estimate, weighed with a prior of 50 %, give or take 20."
        if used
        else "That is an assumption (`--recapture`), not a finding."
    )
    if found is None:
        return text
    shown = [f"{100 * x:.0f}".replace("-", "−") for x in (found.substitute, found.later)]
    text += (
        f" The panel's own figures: sister items sold {shown[0]} % of the units lost that day (standard error "
        f"{100 * found.substitute_se:.0f}), and the item itself {shown[1]} % ({100 * found.later_se:.0f}) in the "
        f"{found.within_days} days after, beyond what is usual. Where demand itself empties shelves they are no measure: the first is too low, and "
        "the second mixes what customers come back for with busy days in a row and with shelves still short."
    )
    if min(found.substitute, found.later) < 0:
        text += " Below zero means less was sold than usual: a shelf that was empty is not full at once."
    return text


def _lost(report: Report, results: Results, config: dict) -> None:
    past = results.past
    report.subsection("What was lost")
    if past.skipped:
        report.text(f"**Not told.** {past.skipped}")
        return
    total, money = results.total("lost").iloc[0], money_in(config)
    text = (
        f"From {past.start:%d %b %Y} to {past.end:%d %b %Y} demand behind empty shelves, given all that was sold "
        f"before and after, exceeded sales by {total['units_mean']:,.0f} units ({band(total, 'units', '{:,.0f}'.format)}), "
        f"{money(total['gross_mean'])} of margin. Net of what customers bought instead it is "
        f"{money(total['value_mean'])} ({band(total, 'value', money)}). No lever brings that back."
    )
    if past.truth is not None:
        units, value = past.truth["units"].sum(), past.truth["value"].sum()
        inside = total["units_p10"] <= units <= total["units_p90"]
        text += (
            f" Demand is known here: {units:,.0f} units were lost in truth, {money(value)} of margin before recapture; the "
            f"estimate of units is {percent(total['units_mean'] / units - 1) if units else 'not'} off, the truth "
            f"{'inside' if inside else 'outside'} its band."
        )
    report.text(text)
    _groups(report, results, "lost", "Lost", config)


def _groups(report: Report, results: Results, estimand: str, head: str, config: dict) -> None:
    """Totals by department and store, one table."""
    tables = [
        results.total(estimand, by).assign(word=word)
        for by, word in (("all", "all"), ("dept_id", "department"), ("store_id", "store"))
        if len(results.total(estimand, by))
    ]
    table = pd.concat(tables, ignore_index=True)
    table["group"] = np.where(table["word"] == "all", "all series", table["group"])
    columns = ["group", "n_series", "units_mean"]
    columns += [f"gross_{c}" for c in ("mean", "p10", "p50", "p90")]
    columns += [f"value_{c}" for c in ("mean", "p10", "p50", "p90")]
    labels = {"group": "", "n_series": "series", "units_mean": "units"}
    for kind, word in (("gross", "gross"), ("value", "net")):
        labels |= {f"{kind}_mean": word} | {
            f"{kind}_{p}": f"{word} {p}" for p in ("p10", "p50", "p90")
        }
    report.table(
        table[columns],
        f"{head} by department and store, {config['currency'] or 'money'}: the bands are those of each sum, "
        "which are not sums of bands.",
        labels=labels,
        formats={"units_mean": ",.0f"} | {c: "money" for c in columns[3:]},
        max_rows=60,
        full="totals.csv",
        name=f"{estimand}-groups",
    )


def _levers(report: Report, results: Results, config: dict) -> None:
    report.subsection("What a lever would gain")
    table, currency = results.levers, config["currency"]
    report.text(
        "\n".join(
            f"- **{literal(r['name'])}**: {literal(r['description'])}." for _, r in table.iterrows()
        )
    )
    has_goods = results.outages.base == "shelf"
    report.text(
        "A stockout day that is averted sells all that was wanted that day; no series can lose by it, and a "
        "stronger lever never gains less. "
        + (
            "Faster replenishment is another matter: the shop is run again on the same demand, with its own rule and "
            "shorter lead times. What is saved today may be missing tomorrow, and the rule orders less ahead when "
            "goods come faster, so a series may lose."
            if has_goods
            else "Faster replenishment is not priced: it needs the stock of every day on record."
        )
    )
    report.figure(
        plots.lever_values(table, currency=currency, period=f"{config['h']} days"),
        "levers",
        "What each lever would bring in all. All share the same draws of demand and stockouts.",
    )
    columns = [
        "name",
        "units_mean",
        "gross_mean",
        "value_mean",
        "value_p10",
        "value_p50",
        "value_p90",
    ]
    labels = {"name": "lever", "units_mean": "units", "gross_mean": "gross", "value_mean": "net"}
    labels |= {f"value_{p}": f"net {p}" for p in ("p10", "p50", "p90")}
    if table["cost"].notna().any():
        spent = table["cost"].where(table["cost"] > 0)
        table = table.assign(returns=table["value_mean"] / spent)
        columns += ["cost", "returns"]
        labels |= {"returns": "return on cost"}
    formats: dict = {c: "money" for c in columns[2:]} | {"units_mean": ",.1f"}
    if "returns" in columns:
        formats["returns"] = lambda x: percent(float(x), 0)
    report.table(
        table[columns],
        f"Levers, {config['currency'] or 'money'} in {config['h']} days, all series together. The ranking below is for "
        "the first.",
        labels=labels,
        formats=formats,
        missing="–",
        full="levers.csv",
        name="levers-table",
    )
    _groups(report, results, "gain", f"Gained by “{results.choice.title}”", config)


def _held_against_truth(report: Report, results: Results, config: dict) -> None:
    assert results.truth is not None
    truth = results.truth.set_index(results.truth[ID].astype(str))["value"]
    k = config["top"]
    report.subsection("Held against what came")
    report.text(
        "Demand is known here, so what the same lever would have gained in those very days is "
        "known. It is one realisation, and the figures below say how close the valuation came, before recapture: "
        "in this simulation no lost unit is bought elsewhere."
    )
    report.figure(
        plots.ranking_truth(results.gross_ranking, truth, k=k, currency=config["currency"]),
        "ranking-truth",
        "Expected against true gain, and how much of all true gain the first of the ranking capture.",
    )
    money = dict.fromkeys(("value_mean", "value_p10", "value_p90", "value_true"), "money")
    report.table(
        results.by_treatment,
        f"The lever's total by forecast, before recapture, against the truth. In the top: share of the forecast's top "
        f"{k} that is in the true top {k}; captured: true gain of the forecast's top {k} as a share of that of "
        f"the best {k} in hindsight (the rest is regret).",
        labels={
            "value_mean": "value",
            "value_p10": "p10",
            "value_p90": "p90",
            "value_true": "truth",
            "precision": "in the top",
            "captured_top_k": "captured",
        },
        formats=money
        | {"error": lambda x: percent(float(x)), "precision": "share", "captured_top_k": "percent"},
        max_rows=60,
        name="by-forecast",
    )
