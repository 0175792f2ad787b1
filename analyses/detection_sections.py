"""Sections of the detection report: whether the probabilities hold, the worlds, M5 itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from detection_worlds import SMOOTHED

from civstats.plots.detection import (
    detection_reliability,
    excess_departments,
    excess_examples,
)
from civstats.report import Report, format_number, interval_text
from civstats.schema import P_OUT

if TYPE_CHECKING:
    from detection_excess import Excess
    from detection_report import Shown

_DESCRIBED = {
    "random": "whole days out, two in a row on average, whatever the demand",
    "promotion": "days out or short of stock, mostly when promotions and the calendar promise much",
    "inventory": "an order-up-to policy, orders every 3 to 7 days, arriving 2 to 4 days later",
    "inventory, daily": "the same policy with orders every day or two: outages of one day",
}


def percent(value: float) -> str:
    return format_number(value, "percent")


def asked(rate: float) -> str:
    """Write a rate that was asked for, without needless decimals."""
    return f"{100 * rate:.3g} %"


def pick(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    keep = np.ones(len(frame), dtype=bool)
    for column, value in wanted.items():
        same = (
            np.isclose(frame[column], value)
            if column in ("rate", "level")
            else frame[column] == value
        )
        keep &= np.asarray(same)
    return frame[keep]


def reliability(report: Report, shown: Shown) -> None:
    report.section("Whether the probabilities hold")
    if shown.reliability.empty:
        return
    report.figure(
        detection_reliability(
            shown.reliability,
            "How often days were out, by the probability that they were",
            "Days without sales, binned by their smoothed P(out); bars 95 %. On the diagonal a probability "
            "means what it says.",
        ),
        "reliability",
        "Reliability of the probabilities, parameters and offsets estimated from the same sales.",
    )
    rows = pick(shown.scores, metric="out_of_zeros")[
        ["mechanism", "rate", "movers", "expected", "value", "lo", "hi"]
    ].copy()
    rows["truly out"] = interval_text(rows["value"], rows["lo"], rows["hi"], "percent")
    report.table(
        rows[["mechanism", "rate", "movers", "expected", "truly out"]],
        "Share of days without sales that were out: what the model says, and the truth.",
        formats={"rate": asked, "expected": "percent"},
        labels={"rate": "days with a stockout", "expected": "the model says"},
    )
    if not any(str(m).startswith("inventory") for m in shown.facts["mechanism"]):
        return
    report.text(
        "Where outages are whole days that come independently of demand, the probabilities hold, for slow "
        "movers too. Where a shop's own orders cause them, three things go wrong, and none of them can be seen "
        "in sales:\n\n"
        "- **Slow movers**: the last unit leaves with the last sale, the zeros that follow look like slow "
        "demand, and a lower level explains them as well as an empty shelf. The model says too little, and its "
        "order among the days is no better than chance.\n"
        "- **Outages of one day** have no memory: they are zero inflation, which a smaller dispersion explains "
        "as well. The rate of coming back runs to the end of its range, and what the model says is not to be "
        "believed.\n"
        "- **Part days** cut the high days off, which makes demand look less dispersed and its zeros rarer "
        "than they are.\n\n"
        "Rates of its own for every series (shrunk to the department's) were tried on one world and moved neither "
        "curve nor what is found; rates by pace of sale made it worse, since for slow movers alone they run to the "
        "ends of their range. Departments pool."
    )


def own_bar(report: Report, shown: Shown) -> None:
    rows = shown.scores[shown.scores["metric"].isin(["false_alarms", "precision_own_bar"])]
    rows = rows[rows["model"] == SMOOTHED]
    if rows.empty:
        return
    wide = rows.pivot_table(
        index=["mechanism", "rate", "movers", "level"],
        columns="metric",
        values=["value", "expected"],
        sort=False,
    )
    table = pd.DataFrame(
        {
            "false alarms asked": wide["expected", "false_alarms"],
            "came": wide["value", "false_alarms"],
            "precision promised": wide["expected", "precision_own_bar"],
            "precision": wide["value", "precision_own_bar"],
        }
    ).reset_index()
    report.subsection("A bar set without truth")
    report.text(
        "In practice nobody knows the truth by which the curves above were drawn. `detect` sets its bar where "
        "the **model's own** expected share of false alarms is what was asked for."
    )
    shares = ["rate", "false alarms asked", "came", "precision promised", "precision"]
    report.table(
        table.drop(columns="level"),
        "False alarms asked for and those that came; precision promised and had.",
        formats={c: "percent" for c in shares} | {"rate": asked},
        labels={"rate": "days with a stockout"},
        max_rows=40,
    )


def mechanisms(report: Report, shown: Shown) -> None:
    report.section("The worlds")
    lines = [
        f"- **{m}**: {_DESCRIBED[m]}." for m in _DESCRIBED if m in set(shown.facts["mechanism"])
    ]
    report.text("\n".join(lines))
    shares = ["rate", "flagged", "part_day", "out", P_OUT, "zero"]
    report.table(
        shown.facts[["mechanism", *shares, "stay_out", "out_rate", "back_rate"]],
        "Means over worlds.",
        formats={c: "percent" for c in shares} | {"rate": asked},
        labels={
            "rate": "asked",
            "flagged": "days with a stockout",
            "part_day": "of these after a sale (invisible)",
            "out": "days out",
            P_OUT: "the model says out",
            "zero": "days without sales",
            "stay_out": "days an outage lasts",
            "out_rate": "fitted: goes out",
            "back_rate": "fitted: comes back",
        },
        note="The first row is a world without any stockout: what the model says there is all error.",
    )


def excess(report: Report, found: Excess, facts: pd.DataFrame) -> None:
    report.section("What it says of M5 itself")
    none = percent(float(facts.loc[facts["mechanism"] == "none", P_OUT].iloc[0]))
    table = found.departments
    whole = table[table["department"] == "all"].set_index("sample")
    words = "; ".join(
        f"**{percent(r['out'])}** ({percent(r['lo'])} to {percent(r['hi'])}) of item-days in {s}"
        for s, r in whole.iterrows()
    )
    report.text(
        f"On raw M5, nothing simulated, the expected share of item-days in **excess zero runs** is {words}. "
        "An excess zero run is a stretch of days without sales that drifting demand, weekday, season, events "
        "and price do not explain. Item-days start with an item's first price and leave out store closings "
        "and delisted items, whose shares are given beside."
    )
    rows = table.copy()
    rows["out"] = interval_text(table["out"], table["lo"], table["hi"], "percent")
    columns = [
        "sample", "department", "series", "zeros", "out", "of_zeros", "sure", "long", "delisted", "closed",
    ]  # fmt: skip
    report.table(
        rows[columns],
        "Item-days in excess zero runs by department.",
        formats={c: "percent" for c in ("zeros", "of_zeros", "sure", "long", "delisted", "closed")},
        labels={
            "zeros": "days without sales",
            "out": "in excess zero runs",
            "of_zeros": "of days without sales",
            "sure": "P(out) of one half or more",
            "long": "of these in 7 days or more",
        },
        full="excess.csv",
        name="excess",
    )
    first = table["sample"].iloc[0]
    report.figure(
        excess_departments(
            table,
            "Zeros that demand does not explain, by department",
            "Share of item-days on sale, expected; bars 95 %, bootstrap over series.",
        ),
        "excess_departments",
        "Excess zero runs of raw M5 by department.",
    )
    if len(found.examples):
        report.figure(
            excess_examples(
                found.examples,
                f"One series of each department of {first}, drawn at random",
                "Among those with a suspect run of 7 days or more. Black: units sold a day. Orange: the "
                "probability of having been out (full height is 1). Blue: told apart (delisted, closed).",
            ),
            "excess_examples",
            "Examples of excess zero runs, the last 500 days.",
        )
    rates = "; ".join(
        f"{s}: goes out on {percent(f['out_rate'])} of days in stock, comes back on {percent(f['back_rate'])} "
        f"of days out (outages of {1 / f['back_rate']:.0f} days on average)"
        for s, f in found.facts.items()
    )
    report.text(f"Fitted: {rates}.")
    report.callout(
        "**What this proves, and what not.** It proves that a model in which every item is always for sale "
        "does not describe M5: runs of zeros are far too long and end too abruptly. It does not prove empty "
        "shelves. The same runs are left by an item out of season, taken off the shelf or moved, "
        "replaced by another pack, delisted in all but name and sold off once more, or by records that were "
        "lost. M5 has no flag that could tell. In the world without stockouts above the same estimate is "
        f"{none}, in single days, so long runs are no artefact of the method on data that the model describes; "
        "but it is a share under this model of demand, and demand that stops and starts for other reasons is "
        "in it.",
        kind="warning",
    )
