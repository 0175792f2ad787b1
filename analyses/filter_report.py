"""The report of `filter_study.py`: claims, the trial's table extended, coverage, ranks, parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from filter_sections import bands, calibration, means, of, recovered
from filter_tables import COVER_MARGIN, MEAN_MARGIN, claims
from filter_worlds import WORLDS

from civstats.report import Report, format_number


@dataclass(frozen=True)
class Shown:
    """What the study found.

    Attributes
    ----------
    scores : pandas.DataFrame
        As `filter_tables.score_frame` returns it.
    estimates : pandas.DataFrame
        Hyperparameters by seed, world, rate and treatment.
    ranks : pandas.DataFrame
        ``family, quantity, series, rank``, all but level and demand known.
    tests : pandas.DataFrame
        As `filter_tables.rank_tests` returns it.
    lost_ranks : pandas.DataFrame
        ``world, rate, rank`` of lost units, everything estimated.
    """

    scores: pd.DataFrame
    estimates: pd.DataFrame
    ranks: pd.DataFrame
    tests: pd.DataFrame
    lost_ranks: pd.DataFrame


def build(shown: Shown, config: dict, stages: dict) -> Report:
    """Write the document."""
    n = config["seeds"]
    report = Report(
        "What the demand filter recovers",
        f"{n} world{'s' if n > 1 else ''} of each kind, {config['series']} series, "
        f"{config['days']} days",
    )
    _facts(report, shown.scores, config)
    _question(report, config)
    _claims(report, shown.scores)
    means(report, shown.scores)
    bands(report, shown.scores)
    recovered(report, shown, config)
    calibration(report, shown, config)
    _hyperparameters(report, shown.estimates, config)
    _limits(report, config)
    _run(report, stages)
    return report


def _facts(report: Report, scores: pd.DataFrame, config: dict) -> None:
    at = {"world": config["worlds"][0], "rate": max(config["rates"])}
    facts: dict[str, object] = {}
    for treatment in ("ignore", "mask", "censor"):
        row = of(scores, "mean_ratio", treatment=treatment, **at).iloc[0]
        facts[f"Estimated / true mean, {treatment}"] = (
            f"{row['value']:.3f}",
            f"{format_number(at['rate'], 'percent')} of days with a stockout, 95 % interval "
            f"{row['lo']:.3f} to {row['hi']:.3f}",
        )
    row = of(scores, "coverage", treatment="censor", regime="censored", level=80, **at).iloc[0]
    facts["80 % bands cover, censor"] = (
        format_number(row["value"], "percent"),
        f"of stockout days, 95 % interval {100 * row['lo']:.1f} to {100 * row['hi']:.1f} %",
    )
    report.facts(facts)


def _question(report: Report, config: dict) -> None:
    report.section("Question")
    report.text(
        "The demand filter follows the level of each series through days on which sales were only a "
        "lower bound of demand. Where demand is known: is the demand that it recovers right on the "
        "whole, do its bands hold the truth as often as they say, and do its joint draws have the "
        "right spread over long spans? Stockouts come from an inventory policy that knows past "
        "sales only. Offsets (day of week, season, events, price) and hyperparameters are "
        "**estimated** throughout, but in the section on calibration.\n\n"
        + "\n".join(f"- **{w}**: {WORLDS[w]}." for w in config["worlds"])
        + "\n\n**Sales** is what was sold. **Ignore** takes sales for demand, **mask** leaves "
        "stockout days out, **censor** takes them for what they say: demand was at least what was "
        "sold. **Oracle** is the same filter fed with true demand: what it misses is not the "
        "stockouts' doing."
    )


def _claims(report: Report, scores: pd.DataFrame) -> None:
    report.section("What is claimed")
    table = claims(scores)
    mean = table["margin"] == MEAN_MARGIN
    shown = table[["claim", "world"]].assign(
        margin=np.where(mean, f"±{100 * MEAN_MARGIN:g} %", f"±{100 * COVER_MARGIN:g} points"),
        worst=[
            f"{100 * v:+.2f} ({100 * a:+.2f} to {100 * b:+.2f})".replace("-", "−")
            for v, a, b in table[["worst", "lo", "hi"]].to_numpy()
        ],
        where=table["where"],
        within=[f"{a} of {b}" for a, b in table[["within", "cells"]].to_numpy()],
        sure=[f"{a} of {b}" for a, b in table[["sure", "cells"]].to_numpy()],
    )
    report.table(
        shown,
        "Claims made of censor before the run, and the cell that is farthest off.",
        name="claims",
        labels={
            "worst": "farthest off, % or points",
            "where": "which is at",
            "within": "cells within the margin",
            "sure": "whole interval within",
        },
        note="A cell is a rate (and, for bands, a level). Its value within the margin is what the "
        "run shows; only where the whole 95 % interval is within does the run prove it. Cells of one "
        "world share their demand, so they err together.",
    )
    inside, all_of = int(table["within"].sum()), int(table["cells"].sum())
    open_ones = [
        f"{row.claim} ({row.world}: {row.within} of {row.cells})"
        for row in table[table["within"] < table["cells"]].itertuples()
    ]
    report.text(
        f"**{inside} of {all_of} cells are within their margin**"
        + (f"; not all are for: {'; '.join(open_ones)}." if open_ones else ".")
    )


def _hyperparameters(report: Report, estimates: pd.DataFrame, config: dict) -> None:
    report.section("Hyperparameters")
    keys = ["world", "rate", "treatment"]
    shown = estimates.groupby(keys, sort=False).mean(numeric_only=True)
    truth = ""
    if "model" in config["worlds"]:
        truth = (
            "In the world of the filter's own model the truth is a dispersion of 2 and a daily "
            "standard deviation of 0.03."
        )
    report.table(
        shown.drop(columns="seed").reset_index(),
        "Estimates over all series, means over worlds.",
        name="hyperparameters",
        max_rows=40,
        formats={"rate": "share", "dispersion": ".2f", "level_sd": ".4f"},
        labels={"rate": "days with a stockout", "level_sd": "daily sd of the level"},
        note=truth,
    )


def _limits(report: Report, config: dict) -> None:
    report.section("Limits")
    lines = [
        "- The worlds are simulated, and the inventory policy sees recorded sales only. A buyer who "
        "knows more of tomorrow's demand than sales tell breaks the likelihood of a bound; nothing "
        "here tests that.",
        "- Bands of the level hold the error of the offsets' coefficients to first order, not that of "
        "the hyperparameters; what is missing shows in the coverage counted.",
        "- Intervals resample series and weeks within worlds. All series of a world share its offsets "
        "and hyperparameters, and the rates of a world its demand: with few worlds the intervals "
        "of coverage are too narrow, and neighbouring rates are not independent evidence.",
        "- Ratios of sums weigh the busy series most; coverage weighs every series-day alike.",
    ]
    if "retail" in config["worlds"]:
        lines.append(
            "- The store-wide daily shocks of the retail world are part of its true mean demand, but no "
            "band of the level can follow them: a level moves slowly."
        )
    report.text("\n".join(lines))


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
        "All figures are in [scores.csv](scores.csv), the estimates of every world in "
        "[estimates.csv](estimates.csv), the histograms of the calibration in "
        "[calibration.csv](calibration.csv), configuration and versions in "
        "[manifest.json](manifest.json)."
    )
