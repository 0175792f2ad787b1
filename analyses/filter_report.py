"""The report of `filter_study.py`: the trial's table extended, coverage, ranks, hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from filter_worlds import LEVELS, ORACLE, WORLDS, Key, Sums

from civstats.evaluation.recovery import Estimate, pool, ratio
from civstats.plots.filter import band_coverage, rank_histogram, recovered_mean
from civstats.report import Report, format_number, interval_text

_DAYS = {"all": "all days", "short": "days with a stockout", "out": "days wholly out"}


def score_frame(sums: Mapping[Key, Sequence[Sums]]) -> pd.DataFrame:
    """Return every figure with its interval: ``world, rate, treatment, metric, value, lo, hi``."""
    records = []

    def add(key: Key, metric: str, found: Estimate, expected: float = np.nan) -> None:
        records.append((*key, metric, found.value, found.lo, found.hi, expected))

    for key, worlds in sums.items():
        total = {name: pool(worlds, name) for name in worlds[0]}
        add(key, "level / true mean", ratio(total["level"], total["mean"]))
        add(key, "recovered / demand", ratio(total["recovered"], total["demand"]))
        if key[2] == "ignore":
            sales = (key[0], key[1], "sales")
            add(sales, "level / true mean", ratio(total["sales"], total["demand"]))
            add(sales, "share of days short", ratio(total["n_short"], total["n"]))
            add(sales, "share of days out", ratio(total["n_out"], total["n"]))
        for k in LEVELS:
            for days, n in (("all", "n"), ("short", "n_short"), ("out", "n_out")):
                add(key, f"level {k} {days}", ratio(total[f"level_{k}_{days}"], total[n]), k / 100)
            if key[2] == "censor":
                expected = float(total[f"expected_{k}"][0] / total["n_short"][0])
                found = ratio(total[f"recovered_{k}"], total["n_short"])
                add(key, f"recovered {k}", found, expected)
    columns = ["world", "rate", "treatment", "metric", "value", "lo", "hi", "expected"]
    return pd.DataFrame(records, columns=columns)


def build(
    scores: pd.DataFrame, estimates: pd.DataFrame, ranks: np.ndarray, config: dict, stages: dict
) -> Report:
    """Write the document."""
    report = Report(
        "What the demand filter recovers",
        f"{config['seeds']} world(s) of each kind, {config['series']} series, {config['days']} days",
    )
    highest = max(config["rates"])
    world = config["worlds"][0]
    facts: dict[str, object] = {}
    for treatment in ("ignore", "mask", "censor"):
        row = _of(scores, "level / true mean", world=world, treatment=treatment, rate=highest)
        facts[f"Estimated / true mean, {treatment}"] = (
            f"{row['value'].iloc[0]:.3f}",
            f"{format_number(highest, 'percent')} of days with a stockout, interval "
            f"{row['lo'].iloc[0]:.3f} to {row['hi'].iloc[0]:.3f}",
        )
    report.facts(facts)
    report.section("Question")
    report.text(
        "The demand filter follows the level of each series through days on which sales were only a "
        "lower bound of demand. Where demand is known: is the demand that it recovers right on the "
        "whole, do its bands hold the truth as often as they say, and do its joint draws have the "
        "right spread over long spans? Stockouts come from an inventory policy that knows past "
        "sales only. Offsets (day of week, season, events, price) and hyperparameters are "
        "**estimated** throughout.\n\n"
        + "\n".join(f"- **{w}**: {WORLDS[w]}." for w in config["worlds"])
        + "\n\n**Oracle** is the same filter fed with true demand."
    )
    _means(report, scores, config)
    _bands(report, scores, world)
    _draws(report, scores, ranks, config)
    report.section("Hyperparameters")
    shown = estimates.groupby(["world", "rate", "treatment"], sort=False).mean(numeric_only=True)
    report.table(
        shown.drop(columns="seed").reset_index(),
        "Estimates over all series, means over worlds.",
        name="hyperparameters",
        max_rows=40,
        formats={"rate": "share", "dispersion": ".2f", "level_sd": ".4f"},
        note="In the world of the filter's own model the truth is a dispersion of 2 and a daily "
        "standard deviation of 0.03.",
    )
    report.section("Limits")
    report.text(
        "- The worlds are simulated. In the first the filter's model is true but for what is "
        "estimated; in the second store-wide daily shocks are not in it, which tie series together "
        "and are read as dispersion.\n"
        "- Bands take offsets and hyperparameters as given: what their estimation adds is in the "
        "coverage that is counted, not in the bands.\n"
        "- Intervals resample series and weeks within the worlds."
    )
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
        "All figures are in [scores.csv](scores.csv), the estimates of every world in "
        "[estimates.csv](estimates.csv), configuration and versions in "
        "[manifest.json](manifest.json)."
    )
    return report


def _of(scores: pd.DataFrame, metric: str, **wanted: object) -> pd.DataFrame:
    keep = scores["metric"] == metric
    for column, value in wanted.items():
        keep &= scores[column] == value
    return scores[keep]


def _means(report: Report, scores: pd.DataFrame, config: dict) -> None:
    report.section("Mean demand")
    mean = _of(scores, "level / true mean")
    worst = mean[mean["treatment"] == "censor"]
    far = float(np.abs(worst["value"] - 1).max())
    title = (
        f"Censor is within {100 * far:.1f} % of the true mean at every rate; ignoring and masking "
        "lose what the shelf lost"
    )
    report.figure(
        recovered_mean(mean, title), "recovered_mean", "Estimated over true mean demand by rate."
    )
    table = mean.assign(text=interval_text(mean["value"], mean["lo"], mean["hi"], ".3f"))
    table = table.pivot_table(
        index=["world", "rate"], columns="treatment", values="text", aggfunc="first", sort=False
    ).reset_index()
    out = _of(scores, "share of days out")[["world", "rate", "value"]]
    table = table.merge(out.rename(columns={"value": "wholly out"}), on=["world", "rate"])
    order = ["world", "rate", "wholly out", "sales", "ignore", "mask", "censor", ORACLE]
    report.table(
        table[order],
        "Estimated over true mean demand, with 95 % intervals.",
        name="mean_table",
        formats={"rate": "share", "wholly out": "share"},
        labels={"rate": "days with a stockout"},
        note="Sales: what was sold over what was asked for. The interval of a ratio holds what a "
        "world's demand does beside its mean.",
    )


def _bands(report: Report, scores: pd.DataFrame, world: str) -> None:
    report.section("Bands of the level")
    parts = []
    for key, name in _DAYS.items():
        part = _of(scores, f"level 80 {key}", world=world)
        parts.append(part.assign(days=name))
    table = pd.concat(parts, ignore_index=True)
    found = table[table["treatment"] == "censor"]
    title = (
        f"80 % bands of the demand mean cover {100 * found['value'].min():.0f} to "
        f"{100 * found['value'].max():.0f} % under censor"
    )
    report.figure(
        band_coverage(table, title),
        "band_coverage",
        f"Coverage of the level's bands, world {world}.",
    )
    rows = []
    for k in LEVELS:
        for key, name in _DAYS.items():
            part = scores[
                (scores["metric"] == f"level {k} {key}")
                & scores["treatment"].isin(["ignore", "mask", "censor", ORACLE])
            ]
            rows.append(part.assign(band=f"{k} %", days=name))
    table = pd.concat(rows, ignore_index=True)
    table = table.assign(text=[format_number(v, "percent") for v in table["value"]])
    wide = table.pivot_table(
        index=["world", "band", "days", "rate"], columns="treatment", values="text",
        aggfunc="first", sort=False,
    ).reset_index()  # fmt: skip
    report.table(
        wide[["world", "band", "days", "rate", "ignore", "mask", "censor", ORACLE]],
        "Share of days on which the level's band holds the true mean of demand.",
        name="bands",
        max_rows=60,
        formats={"rate": "share"},
        full="scores.csv",
    )


def _draws(report: Report, scores: pd.DataFrame, ranks: np.ndarray, config: dict) -> None:
    report.section("Recovered demand and its draws")
    part = pd.concat(
        [_of(scores, f"recovered {k}").assign(band=f"{k} %") for k in LEVELS], ignore_index=True
    )
    shown = part[["world", "rate", "band"]].assign(
        observed=interval_text(part["value"], part["lo"], part["hi"], "percent"),
        expected=part["expected"].to_numpy(),
    )
    report.table(
        shown,
        "Share of stockout days on which the band of recovered demand holds the true demand.",
        name="recovered_coverage",
        formats={"rate": "share", "expected": "percent"},
        note="Expected: what the model's own draws say of its bands. Counts are discrete, so bands "
        "hold more than their level.",
    )
    n_bins = 20 if (config["draws"] + 1) % 20 == 0 else 10
    edges = np.linspace(-0.5, config["draws"] + 0.5, n_bins + 1)
    counts, _ = np.histogram(ranks, bins=edges)
    from scipy import stats

    p_value = float(stats.chisquare(counts).pvalue)
    mean = float(ranks.mean() / config["draws"])
    title = f"The truth's rank among the draws of lost units: mean {mean:.2f} of 0.50"
    report.figure(
        rank_histogram(ranks, config["draws"], title, n_bins),
        "ranks",
        "Ranks of each series' true lost units among joint draws, all worlds and rates.",
    )
    report.text(
        f"{len(ranks)} ranks; a test of uniformity gives p = {p_value:.2g}. Series of one world "
        "share offsets, hyperparameters and, in the retail world, shocks, so that ranks are not "
        "independent and the test is too strict."
    )
