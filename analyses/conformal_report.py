"""The report of `conformal_study.py`: both ends by mechanism, how the bounds came about, limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from conformal_worlds import AHEAD, MECHANISMS, METHODS, METRICS, Found, Key

from civstats.evaluation.recovery import pool, ratio
from civstats.plots.conformal import interval_ends
from civstats.report import Report, format_number, interval_text
from civstats.schema import SCORES, parse_alias

_SHOWN = "LightGBM"
_ENDS = {"lower holds": "lower", "upper holds": "upper"}


def score_frame(found: Sequence[Found]) -> pd.DataFrame:
    """Return every figure with its interval: ``mechanism, rate, method`` and the score columns.

    ``expected`` is what the method promises; it is missing where nothing is promised.
    """
    sums: dict[Key, list[dict[str, np.ndarray]]] = {}
    for one in found:
        for key, value in one.sums.items():
            sums.setdefault(key, []).append({"sum": value})
    records = []
    for (mechanism, rate, name, method, level, metric), worlds in sums.items():
        if metric == "n":
            continue
        rows = pool(sums[mechanism, rate, name, method, level, "n"], "sum")
        estimate = ratio(pool(worlds, "sum"), rows)
        model, treatment = parse_alias(name)
        records.append(
            {
                "mechanism": mechanism,
                "rate": rate,
                "method": method,
                "model": model,
                "treatment": treatment,
                "regime": "demand",
                "metric": metric,
                "level": level,
                "cutoff": pd.NaT,
                "value": estimate.value,
                "lo": estimate.lo,
                "hi": estimate.hi,
                "n": int(rows[0]),
                "expected": promised(mechanism, method, metric, level),
                "identified": True,
                "note": "",
            }
        )
    return pd.DataFrame(records, columns=["mechanism", "rate", "method", *SCORES])


def promised(mechanism: str, method: str, metric: str, level: float) -> float:
    """Return the share that a method promises for demand, NaN where it promises nothing."""
    end, both = 0.5 + level / 200, level / 100
    if method == "oracle":
        return {"lower holds": end, "upper holds": end, "coverage": both}.get(metric, np.nan)
    if method == "ordinary" and mechanism == "random":
        return {"lower holds": end, "upper holds": end, "coverage": both}.get(metric, np.nan)
    if metric == "lower holds" and (
        method == "sales" or (method == "censored" and mechanism != "inventory, far")
    ):
        return end
    return np.nan


def verdicts(scores: pd.DataFrame) -> tuple[int, int, pd.DataFrame]:
    """Return how many promises were made and how many are not refuted, and those that are.

    A promise is refuted if the whole interval of the share lies below it.
    """
    made = scores[scores["expected"].notna()]
    broken = made[made["hi"] < made["expected"]]
    return len(made), len(made) - len(broken), broken


def build(scores: pd.DataFrame, details: pd.DataFrame, config: dict, stages: dict) -> Report:
    """Write the document."""
    level = min(config["level"])
    report = Report(
        "Conformal intervals under stockouts",
        f"{config['seeds']} world(s) of each kind, {config['series']} series; intervals are tested on "
        f"{config['origins']} days",
    )
    worst = "inventory" if "inventory" in config["mechanisms"] else config["mechanisms"][-1]
    at = {"mechanism": worst, "rate": max(config["rates"]), "level": level, "model": _SHOWN}
    facts: dict[str, object] = {}
    for words, method, metric in (
        ("Censored: demand at or above the lower end", "censored", "lower holds"),
        ("Ordinary: demand at or below the upper end", "ordinary", "upper holds"),
        ("Ordinary: demand inside", "ordinary", "coverage"),
    ):
        row = _of(scores, metric, method=method, **at).iloc[0]
        goal = level / 100 if metric == "coverage" else 0.5 + level / 200
        facts[words] = (
            format_number(row["value"], "percent"),
            f"{worst}, {format_number(at['rate'], 'percent')} of days with a stockout, {_SHOWN}; nominal "
            f"{format_number(goal, 'percent')}, interval {format_number(row['lo'], 'percent')} to "
            f"{format_number(row['hi'], 'percent')}",
        )
    report.facts(facts)
    report.section("Question")
    report.text(
        "A conformal interval holds the outcome as often as it says, whatever the model, if the days "
        "it was calibrated on are like the day it is for. Days in stock are not: where demand causes "
        "the stockout they are the days of low demand. Which end of which interval still holds "
        "**demand**? Forecasts are made each day for the next, parameters frozen, unless said "
        "otherwise; scores are residuals of the forecast mean.\n\n"
        + "\n".join(f"- **{m}**: {MECHANISMS[m]}." for m in config["mechanisms"])
        + "\n\nIntervals:\n\n"
        + "\n".join(f"- **{m}**: {words}." for m, words in METHODS.items())
    )
    _promises(report, scores)
    _ends(report, scores, config, level)
    _table(report, scores, level)
    _bounds(report, details, level)
    _limits(report, config)
    _run(report, stages)
    return report


def _of(scores: pd.DataFrame, metric: str, **wanted: object) -> pd.DataFrame:
    keep = scores["metric"] == metric
    for column, value in wanted.items():
        keep &= scores[column] == value
    return scores[keep]


def _promises(report: Report, scores: pd.DataFrame) -> None:
    made, kept, broken = verdicts(scores)
    lines = [
        f"{kept} of {made} promises are kept, in that the interval of the share reaches what was "
        "promised."
    ]
    for row in broken.itertuples():
        lines.append(
            f"- Not kept: {row.method}, {row.model} {row.treatment}, {row.mechanism} at "
            f"{format_number(row.rate, 'percent')}, {row.metric} at level {row.level:g}: "
            f"{format_number(row.value, 'percent')} ({format_number(row.lo, 'percent')} to "
            f"{format_number(row.hi, 'percent')}) of {format_number(row.expected, 'percent')}."
        )
    report.text("\n\n".join([lines[0], "\n".join(lines[1:])]) if len(lines) > 1 else lines[0])


def _ends(report: Report, scores: pd.DataFrame, config: dict, level: float) -> None:
    report.section("Both ends")
    rate = max(config["rates"])
    parts = []
    for metric, end in _ENDS.items():
        part = _of(scores, metric, model=_SHOWN, level=level, rate=rate)
        parts.append(part.assign(group=part["mechanism"], end=end))
    table = pd.concat(parts, ignore_index=True)
    table = table[table["method"] != "model"]
    near = table[(table["end"] == "lower") & (table["method"] == "censored")]
    near = near[near["mechanism"] != "inventory, far"]
    far = table[(table["end"] == "upper") & (table["method"] == "ordinary")]
    title = (
        f"Demand reaches the censored lower end on {_range(near['value'])} of days where that is "
        f"promised; the ordinary upper end holds it on {_range(far['value'])}"
    )
    subtitle = (
        f"{_SHOWN}, {level:g} % intervals, {100 * rate:g} % of days with a stockout; the line is what each "
        "end is to hold, lines at dots are 95 % intervals. Hollow: the model's own end, with no promise."
    )
    report.figure(
        interval_ends(table, 0.5 + level / 200, title, subtitle, ("censored",)),
        "interval_ends",
        "How often either end of an interval holds demand.",
    )


def _range(values: pd.Series) -> str:
    low, high = (format_number(x, ".0%") for x in (values.min(), values.max()))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _table(report: Report, scores: pd.DataFrame, level: float) -> None:
    for name, part in scores[scores["level"] == level].groupby(["model", "treatment"], sort=False):
        part = part.assign(
            text=np.where(
                part["metric"].isin(METRICS[:3]),
                interval_text(part["value"], part["lo"], part["hi"], "percent"),
                [format_number(v, ".2f") for v in part["value"]],
            )
        )
        index = ["mechanism", "rate", "method"]
        wide = part.pivot_table(
            index=index, columns="metric", values="text", aggfunc="first", sort=False
        ).reset_index()
        report.table(
            wide[[*index, *METRICS]],
            f"{name[0]} {name[1]}, {level:g} % intervals: shares of test rows, and mean ends in units.",
            name=f"ends_{name[0].lower()}",
            max_rows=60,
            formats={"rate": "share"},
            full="scores.csv",
        )


def _bounds(report: Report, details: pd.DataFrame, level: float) -> None:
    report.section("How the bounds came about")
    part = details[details["level"] == level]
    sums = part.groupby(["mechanism", "rate", "name"], sort=False)
    table = sums[["n", "kept", "effective"]].sum().reset_index()
    table["lowest_chance"] = sums["lowest_chance"].min().to_numpy()
    for column in ("kept", "effective"):
        table[column] = table[column] / table["n"]
    report.table(
        table,
        "Calibration rows whose stock reached the threshold, and what they count for after weighing.",
        name="bounds",
        max_rows=40,
        formats={
            "rate": "share",
            "kept": "percent",
            "effective": "percent",
            "lowest_chance": ".2f",
        },
        labels={"n": "calibration rows", "lowest_chance": "lowest chance of enough stock"},
        note="A row for each class of the forecast mean, with its threshold, is in bounds.csv.",
    )


def _limits(report: Report, config: dict) -> None:
    report.section("Limits")
    far = (
        f"- Up to {AHEAD} days ahead under an inventory policy nothing is promised. That a bound holds "
        "there too in these worlds is an observation.\n"
        if "inventory, far" in config["mechanisms"]
        else ""
    )
    report.text(
        "- A promise is an average over series and days. Counts are discrete: ends hold more than "
        "the nominal share, the slower the item, the more.\n"
        "- Calibration and test days follow each other; levels drift and shops have shocks by the day, "
        "so they are exchangeable only roughly. Intervals resample series and weeks.\n"
        "- Of the censored interval the upper end is the model's: nothing of what sold out says how far "
        "demand went.\n" + far + "- That a promise is not refuted here is no proof that it is kept."
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
        "All figures are in [scores.csv](scores.csv), the thresholds and weights of every bound in "
        "[bounds.csv](bounds.csv), configuration and versions in [manifest.json](manifest.json)."
    )
