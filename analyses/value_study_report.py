"""The report of `value_study.py`: what was claimed, coverage, portfolios, rankings, chances, limits."""

from __future__ import annotations

import numpy as np
import pandas as pd
from value_study_fits import AVAILABILITY, SHELF
from value_study_tables import MARGIN, PLURAL, Shown, claimed, claims
from value_study_worlds import AHEAD, AVERTED, DEPARTMENTS, ESTIMANDS, GONE, PAST, STORES

from civstats.report import Report, format_number

_POINTS = 100


def build(shown: Shown, config: dict, stages: dict) -> Report:
    """Write the document."""
    n = int(shown.totals["replications"].max())
    report = Report(
        "Does the value of being in stock hold?",
        f"{n} simulated shops at each rate of stockouts, {config['series']} series, "
        f"{config['days']} days on record, {config['h']} days ahead",
    )
    _facts(report, shown)
    _question(report, config)
    _claims(report, shown)
    _coverage(report, shown)
    _totals(report, shown)
    _top(report, shown, config)
    _chances(report, shown, config)
    _worlds(report, shown)
    _limits(report, config)
    _run(report, stages)
    return report


def _facts(report: Report, shown: Shown) -> None:
    facts: dict[str, object] = {}
    totals = shown.totals[claimed(shown.totals) & shown.totals["measure"].eq("value")]
    for row in totals[totals["estimand"] == GONE].itertuples():
        facts[f"Portfolio inside, {row.model}, {row.rate:.0%} out"] = (
            f"{row.inside} of {row.replications}",
            f"no stockouts, value; {row.least} to {row.most} are no surprise",
        )
    report.facts(facts)


def _question(report: Report, config: dict) -> None:
    report.section("Question")
    report.text(
        "A ranking of what being in stock is worth rests on three things that nobody sees: demand on "
        "days that ran out, stockouts to come, and what would have been sold without them. In a "
        "simulated shop all three are known. An inventory policy that knows past sales only runs on "
        "known demand; at the cutoff the models are handed what a planner has; then the simulator is "
        "run again, on the very same demand, with the outages averted or with goods arriving faster. "
        "**Do the intervals hold what came as often as they say, over series, over departments, and "
        "for the whole portfolio?**\n\n"
        + "\n".join(f"- **{name}**: {text}." for name, text in ESTIMANDS.items())
        + "\n\nDemand comes in joint paths with draws of what series share. Availability is drawn "
        "in two ways: "
        + "; ".join(f"**{name}**, {text}" for name, text in AVAILABILITY.items())
        + ". A unit is worth its price times a margin, which is known.\n\nSales are counts, and many "
        "series sell little: an interval of whole numbers covers more than 80 %. **Expected** is the "
        "share of its own draws that a model's interval holds; the claim is about the gap to it."
    )


def _claims(report: Report, shown: Shown) -> None:
    report.section("What is claimed")
    table = claims(shown)
    report.table(
        table.assign(within=[f"{a} of {b}" for a, b in table[["within", "cells"]].to_numpy()]).drop(
            columns="cells"
        ),
        f"Claims made before the run: coverage within {_POINTS * MARGIN:g} points of what the model "
        "itself expects; a portfolio inside its 80 % interval as often as chance allows.",
        name="claims",
        labels={"within": "cells that hold", "worst": "farthest off", "where": "which is"},
        note="A cell is a rate, an estimand, and units or value. All cells of a rate share their "
        "worlds, so they err together.",
    )


def _coverage(report: Report, shown: Shown) -> None:
    report.section("Coverage over series and departments")
    for level in ("series", "department"):
        table = shown.coverage[
            (shown.coverage["level"] == level)
            & (shown.coverage["measure"] == "units")
            & (shown.coverage["treatment"] == "censor")
        ]
        report.table(
            _cells(table).assign(
                observed=table["observed"],
                expected=table["expected"],
                gap=[_interval(*x) for x in table[["gap", "gap_lo", "gap_hi"]].to_numpy()],
                bias=[_interval(*x) for x in table[["bias", "bias_lo", "bias_hi"]].to_numpy()],
                holds=np.where(table["holds"], "yes", "no"),
            ),
            f"80 % intervals of units, over {PLURAL[level]}: intervals of the gap (points) and of the bias of "
            "the mean (per cent) are over replications.",
            name=f"coverage-{level}",
            formats={"observed": "percent", "expected": "percent", "rate": "share"},
            max_rows=80,
            full="coverage.csv",
        )


def _totals(report: Report, shown: Shown) -> None:
    report.section("The portfolio")
    table = shown.totals[shown.totals["treatment"] == "censor"]
    report.table(
        _cells(table).assign(
            of=table["measure"],
            inside=[f"{a} of {n}" for a, n in table[["inside", "replications"]].to_numpy()],
            chance=[f"{a} to {b}" for a, b in table[["least", "most"]].to_numpy()],
            below=table["below"],
            above=table["above"],
            bias=[_interval(*x) for x in table[["bias", "bias_lo", "bias_hi"]].to_numpy()],
            spread=table["sd_told"] / table["sd_of_error"],
        ),
        "Replications whose portfolio lies inside its 80 % interval, and how many chance allows.",
        name="totals",
        formats={"rate": "share", "spread": ".2f"},
        labels={
            "below": "truth below",
            "above": "truth above",
            "bias": "bias, %",
            "spread": "spread told / of errors",
        },
        max_rows=80,
        full="totals.csv",
    )


def _top(report: Report, shown: Shown, config: dict) -> None:
    report.section("The top of the ranking")
    report.text(
        f"Of {config['series']} series the first {config['top']} are acted on (as 50 of some hundreds "
        "would be). **Precision** is the share of them that belong to the true first; **regret** is "
        "what acting on them forgoes of what the true first would have gained."
    )
    table = shown.top[shown.top["availability"] == SHELF]
    report.table(
        _cells(table).assign(
            treatment=table["treatment"],
            precision=[
                _interval(*x)
                for x in table[["precision", "precision_lo", "precision_hi"]].to_numpy()
            ],
            regret=[_interval(*x) for x in table[["regret", "regret_lo", "regret_hi"]].to_numpy()],
            replications=table["replications"],
        ),
        "Precision and regret in per cent, by treatment of stockout days.",
        name="top",
        formats={"rate": "share"},
        max_rows=80,
        full="top_k.csv",
    )
    paired = shown.paired[shown.paired["availability"] == SHELF] if len(shown.paired) else None
    if paired is not None:
        report.table(
            _cells(paired).assign(
                against=paired["against"],
                precision=[
                    _interval(*x)
                    for x in paired[["precision", "precision_lo", "precision_hi"]].to_numpy()
                ],
                regret=[
                    _interval(*x) for x in paired[["regret", "regret_lo", "regret_hi"]].to_numpy()
                ],
                replications=paired["replications"],
            ),
            "Censor less the other treatment on the same replications, in points: more precision "
            "and less regret are to its credit.",
            name="paired",
            formats={"rate": "share"},
            max_rows=40,
            full="top_k_paired.csv",
        )


def _chances(report: Report, shown: Shown, config: dict) -> None:
    report.section("Chances to be in the top")
    table = shown.chances[
        (shown.chances["availability"] == SHELF)
        & (shown.chances["treatment"] == "censor")
        & (shown.chances["estimand"] == AVERTED)
    ]
    off = (table["observed"] - table["expected"]).abs() > table["half"]
    report.table(
        _cells(table)
        .drop(columns=["estimand", "availability"])
        .assign(
            chance=[f"{a:.0%} to {b:.0%}" for a, b in table[["lo", "hi"]].to_numpy()],
            n=table["n"],
            expected=table["expected"],
            came=table["observed"],
            half=table["half"],
        ),
        f"Series by their chance to be among the first {config['top']} when a fifth of the outages is "
        f"averted, and how often they were. {int(off.sum())} of {len(table)} bins lie outside their "
        "95 % interval.",
        name="chances",
        formats={k: "percent" for k in ("expected", "came", "half")} | {"rate": "share"},
        labels={"half": "±"},
        max_rows=60,
        full="chances.csv",
    )


def _worlds(report: Report, shown: Shown) -> None:
    report.section("The worlds")
    report.table(
        shown.worlds,
        "Means over replications.",
        formats={"rate": "share"}
        | dict.fromkeys(("out_past", "out_ahead", "short_past", "short_ahead"), "percent"),
        labels={
            "out_past": "days out, past",
            "out_ahead": "days out, ahead",
            "short_past": "demand unsold, past",
            "short_ahead": "demand unsold, ahead",
            "safety_factor": "safety factor",
            "demand_a_day": "demand a day and series",
        },
    )


def _limits(report: Report, config: dict) -> None:
    report.section("Limits")
    report.text(
        f"- The worlds are small ({config['series']} series in {DEPARTMENTS} departments and {STORES} "
        "stores) and simulated; the shop orders by the rule that the shelf assumes, its figures "
        "estimated. A shop that orders by another rule has a large residual (`Shelf.residual_`), "
        "and then the flags' chain is what is left.\n"
        "- With little more than a year on record no model can tell a department's season from "
        "the drift of its items; in a trial with 400 days the filter's intervals covered 66 to 76 % of "
        "departments' demand where 81 % were expected, and with seasons and feasts taken out of the "
        "world 78 %. Hence two years here.\n"
        "- Faster replenishment at the shop's own safety factor need not gain: where that is below "
        "zero (many outages), the order-up-to level falls faster than the days that it must cover. "
        "At the level of before it gains in the mean. No path is claimed to.\n"
        "- LightGBM tells nothing of the past; its gains ahead alone are held against the truth.\n"
        "- The margin is known, nothing is recaptured, and a lever costs nothing."
    )


def _run(report: Report, stages: dict) -> None:
    report.section("How this was run")
    report.table(
        pd.DataFrame(
            [
                {"stage": k, "seconds": v["seconds"], "peak memory, MB": v["peak_memory_mb"]}
                for k, v in stages.items()
            ]
        ),
        "Time and memory of each stage (the whole process tree); replications kept from an earlier "
        "run are not counted.",
        formats={"seconds": ".1f", "peak memory, MB": "integer"},
    )
    report.text(
        "All cells are in [coverage.csv](coverage.csv), [totals.csv](totals.csv), "
        "[top_k.csv](top_k.csv) and [chances.csv](chances.csv); every series, department and portfolio "
        "of every replication is in `replications.parquet`; configuration and versions are in "
        "[manifest.json](manifest.json)."
    )


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    order = {e: k for k, e in enumerate((*PAST, *AHEAD))}
    assert set(table["estimand"]) <= set(order)
    return table[["rate", "estimand", "model", "availability"]].replace({"availability": {"": "—"}})


def _interval(value: float, lo: float, hi: float) -> str:
    if not np.isfinite(value):
        return format_number(value, ".1f")
    return f"{_POINTS * value:+.1f} ({_POINTS * lo:+.1f} to {_POINTS * hi:+.1f})".replace("-", "−")
