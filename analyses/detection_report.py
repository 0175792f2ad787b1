"""The report of `detection_study.py`: the question, what is found, the limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from detection_sections import asked, excess, mechanisms, own_bar, percent, pick, reliability
from detection_worlds import FAST, RULES, SMOOTHED

from civstats.plots.detection import detection_curves
from civstats.report import Report

if TYPE_CHECKING:
    from detection_excess import Excess

RULE = "zero run"


@dataclass(frozen=True)
class Shown:
    """The frames that the study found; see `detection_tables` and `detection_excess`."""

    scores: pd.DataFrame
    curves: pd.DataFrame
    reliability: pd.DataFrame
    facts: pd.DataFrame
    excess: Excess | None


def build(shown: Shown, config: dict, stages: dict) -> Report:
    """Write the document from what was found."""
    m5 = config["data"] == "m5"
    source = f"draws of stockouts on M5 {config['store']}" if m5 else "synthetic worlds"
    if config["seeds"] == 1:
        source = f"draw of stockouts on M5 {config['store']}" if m5 else "synthetic world"
    report = Report(
        "Stockouts from sales alone",
        f"{config['seeds']} {source}, {config['series']} series, {config['days']} days; flags withheld",
    )
    _facts(report, shown)
    _question(report, config)
    _found(report, shown, config)
    reliability(report, shown)
    own_bar(report, shown)
    mechanisms(report, shown)
    if shown.excess is not None:
        excess(report, shown.excess, shown.facts)
    _limits(report)
    _run(report, stages)
    return report


def _facts(report: Report, shown: Shown) -> None:
    rate = float(shown.facts["rate"].max())
    facts: dict[str, object] = {}
    for level in (5, 15):
        at = {"mechanism": "inventory", "rate": rate, "movers": "fast", "metric": "found"}
        rows = [pick(shown.scores, model=m, level=level, **at) for m in (SMOOTHED, RULE)]
        if all(len(r) for r in rows):
            mine, peer = (percent(r["value"].iloc[0]) for r in rows)
            facts[f"Found at {level} % false alarms"] = (
                mine,
                f"zero-run rule {peer}; inventory, {asked(rate)} of days, fast movers",
            )
    if shown.excess is not None:
        row = shown.excess.departments
        row = row[(row["department"] == "all")].iloc[0]
        facts["M5's excess zero runs"] = (
            percent(row["out"]),
            f"of item-days in {row['sample']}; not proof of a stockout",
        )
    if facts:
        report.facts(facts)


def _question(report: Report, config: dict) -> None:
    report.section("Question and rules")
    report.text(
        "Most retail data has no stockout flag: a day without sales may be a day on which nobody came, "
        "or one on which the shelf was empty. The demand filter with hidden availability weighs the two "
        "for every day, from the item's drifting level, the day of the week, season, events and price, and "
        "from the days around it. Here stockouts are simulated, **the flags are withheld**, and what it says "
        "is held against the truth.\n\n"
        "- A **day out** has an empty shelf from opening to closing. A day on which an item sold and then "
        "ran out **stays invisible**: it looks like a day of low demand.\n"
        "- **False alarms** are counted over in-stock days **without sales**, the only ones on which an "
        "alarm can be raised. Over all days the same alarms would look several times rarer, for every "
        "detector.\n"
        "- The peers are **zero-run rules**: a day is called out if it lies in a run of zeros too long for "
        "the item's own share of days without sales (independent days; also with the share near the run, 56 "
        "days before and after), or longer than one length for all. All are compared at the same rate of "
        "false alarms.\n"
        f"- **Fast movers** sell {FAST:g} a day or more on average. Intervals are 95 %, from a bootstrap over "
        f"series and weeks ({config['boot']} replicates), paired between detectors."
    )


def _found(report: Report, shown: Shown, config: dict) -> None:
    report.section("How much is found")
    scores = shown.scores
    rows = []
    keys = ["mechanism", "rate", "movers"]
    for key, part in scores[scores["metric"] == "found"].groupby(keys, sort=False):
        for level in (5, 15):
            at = pick(part, level=level).set_index("model")
            gain = at.loc[f"{SMOOTHED} - {RULE}"]
            precision = pick(
                scores, metric="precision", model=SMOOTHED, level=level,
                **dict(zip(keys, key, strict=True)),
            )["value"].iloc[0]  # fmt: skip
            rows.append(
                dict(zip(keys, key, strict=True))
                | {
                    "false alarms": level / 100,
                    "filter": at.loc[SMOOTHED, "value"],
                    "zero run": at.loc[RULE, "value"],
                    "near rate": at.loc["zero run, near rate", "value"],
                    "one length": at.loc["zero run, one length", "value"],
                    "filter − zero run, points": _points(gain),
                    "precision": precision,
                }
            )
    table = pd.DataFrame(rows)
    if table.empty:
        report.text("No world had days out to find.")
        return
    shares = ["rate", "false alarms", "filter", "zero run", "near rate", "one length", "precision"]
    for movers, words in (("fast", "one a day or more"), ("slow", "less than one a day")):
        part = table[table["movers"] == movers].drop(columns="movers")
        if len(part):
            report.table(
                part,
                f"Share of days out that are found, items selling {words}.",
                formats={c: "percent" for c in shares} | {"rate": asked, "false alarms": asked},
                labels={"rate": "days with a stockout"},
                name=f"found_{movers}",
                note="Precision is the filter's: share of the days it calls out that were out.",
            )
    report.text(_verdict(scores))
    for rate in sorted(shown.curves["rate"].unique()):
        part = shown.curves[shown.curves["rate"] == rate]
        report.figure(
            detection_curves(
                part,
                f"What sales alone give away, {asked(rate)} of days with a stockout",
                "Share of days out that are found, by the share of in-stock days without sales that is "
                "called out. Grey: chance.",
            ),
            f"found_{round(100 * rate)}",
            f"What detectors find where {asked(rate)} of days have a stockout.",
        )


def _points(row: pd.Series) -> str:
    def one(x: float) -> str:
        return f"{100 * x:+.1f}".replace("-", "−")

    return f"{one(row['value'])} ({one(row['lo'])} to {one(row['hi'])})"


def _verdict(scores: pd.DataFrame) -> str:
    """Say where the filter beats every rule for certain, and where not."""
    lines = []
    peers = [r for r in RULES if "online" not in r]
    for movers in ("fast", "slow"):
        gains = scores[
            (scores["metric"] == "found")
            & (scores["movers"] == movers)
            & scores["model"].isin([f"{SMOOTHED} - {r}" for r in peers])
        ]
        cells = gains.groupby(["mechanism", "rate", "level"], sort=False)["lo"]
        sure, own = cells.min() > 0, gains[gains["model"] == f"{SMOOTHED} - {RULE}"]
        if not len(sure):
            continue
        fails = [f"{m} at {asked(r)}, {a:g} % false alarms" for m, r, a in sure[~sure].index]
        lines.append(
            f"- **{movers} movers**: more than the zero-run rule by the item's own rate for certain (lower "
            f"95 % bound above zero) in {int((own['lo'] > 0).sum())} of {len(own)} cells, more than "
            f"each of the three rules for certain in {int(sure.sum())} of {len(sure)}"
            + (f"; not in: {'; '.join(fails)}." if fails else ".")
        )
        mine = pick(scores, metric="found", model=SMOOTHED, movers=movers)
        chance = mine[100 * mine["lo"] <= mine["level"]]
        if len(chance):
            cells = [
                f"{m} at {asked(r)}, {a:g} % false alarms ({percent(v)})"
                for m, r, a, v in chance[["mechanism", "rate", "level", "value"]].to_numpy()
            ]
            lines.append(
                f"- **Not surely better than chance** for {movers} movers, whatever the rules do: the filter finds "
                f"no more for certain than the share it calls out in {'; '.join(cells)}. A run rule "
                "can do worse than chance there, because the outage starts with a sale."
            )
    return "\n".join(lines)


def _limits(report: Report) -> None:
    report.section("Limits")
    report.text(
        "- Partial days stay invisible: what sold before it ran out counts as the day's demand.\n"
        "- One day without sales of an item that sells one a day proves nothing, for any detector; most single "
        "days out are not found at any sensible rate of false alarms.\n"
        "- Zero inflation cannot be fitted beside hidden availability: both explain zeros. Demand that is "
        "truly zero-inflated is taken for stockouts.\n"
        "- Smoothed probabilities use the days after; a day's own alarm in real time is the online variant, "
        "in [scores.csv](scores.csv).\n"
        "- On M5 with simulated stockouts M5's own excess zero runs count as false alarms of every "
        "detector, and of the filter most, since it finds them best."
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
        "Time and memory of each stage (the whole process tree).",
        formats={"seconds": ".1f", "peak memory, MB": "integer"},
    )
    report.text(
        "All scores are in [scores.csv](scores.csv), the curves in [curves.csv](curves.csv), the "
        "reliability bins in [reliability.csv](reliability.csv), configuration and versions in "
        "[manifest.json](manifest.json)."
    )
