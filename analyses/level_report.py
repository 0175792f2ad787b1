"""The report of `level_study.py`: question, data, scores, differences, stockouts on top, limits."""

from __future__ import annotations

import pandas as pd
from level_runs import ETS, LEVEL, Found

from civstats.plots.scaled import scaled_ratios
from civstats.report import Report, format_number, interval_text
from civstats.schema import CUTOFF, DS, ID

NAMES = {"rmsse": "RMSSE", "scaled_pinball": "scaled pinball"}
PINBALL_ROOM, LOSS_ROOM = -0.05, 0.03
"""Targets: pinball this much below every baseline's, and the most that stockouts may cost."""


def build(found: Found, panel: pd.DataFrame, config: dict, stages: dict) -> Report:
    """Write the document from what was found."""
    cutoffs = found.forecasts[CUTOFF].nunique()
    report = Report(
        "The demand filter as a forecaster",
        f"{panel[ID].nunique():,} series, {cutoffs} windows of {config['h']} days up to "
        f"{panel[DS].max():%d %b %Y}",
    )
    _question(report, config)
    _setting(report, found, panel, config)
    _scores(report, found)
    _stockouts(report, found, config)
    _limits(report, config)
    report.section("How this was run")
    report.table(
        pd.DataFrame({"model": list(found.seconds), "seconds": list(found.seconds.values())}),
        "Fitting and predicting, all windows together.",
        formats={"seconds": ".1f"},
        name="seconds",
    )
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
        "All scores are in [scores.csv](scores.csv), paired differences in "
        "[differences.csv](differences.csv), configuration and versions in "
        "[manifest.json](manifest.json)."
    )
    return report


def _question(report: Report, config: dict) -> None:
    report.section("Question")
    report.text(
        "The demand filter holds the posterior of every series' drifting level. Pushed forward, it "
        "is a forecaster: mixtures of negative binomials for each day, without sampling. How does "
        "it compare, on the mean and on nine quantiles, with the usual methods for intermittent "
        "sales and with gradient boosting?"
    )
    if config["data"] == "m5":
        report.text(
            "M5's sales carry no stockout flags, so availability is a **hidden state**: weeks of "
            "zeros that the level does not explain are held for outages. What is scored are sales, "
            "and so the forecast is one of sales: demand times the availability that the state at "
            "the cutoff lets expect."
        )


def _setting(report: Report, found: Found, panel: pd.DataFrame, config: dict) -> None:
    report.section("Data, models and scores")
    options = ", ".join(f"{k}={v}" for k, v in LEVEL.items())
    report.text(
        f"One configuration of LocalLevel, fixed beforehand on 300 series of another store (WI_3): "
        f"{options}. It is fitted before the first window and then takes each window's history with "
        "its parameters frozen; so is LightGBM. The other models are refitted at every cutoff, or "
        "have nothing to estimate. Intervals of the baselines are this library's, from residuals "
        "of past origins, negative binomial and calibrated: harder to beat than the methods' own.\n\n"
        "- **RMSSE**: root of a series' mean squared error over a window, in units of its mean "
        "squared one-day change since its first sale; the mean over series and windows, unweighted.\n"
        "- **Scaled pinball**: mean pinball loss of the nine quantiles of the M5 competition (0.5 to "
        "99.5 %), in units of the mean absolute one-day change.\n\n"
        "Intervals resample series and days (two-way bootstrap); differences are paired. "
        f"Series without a change before the cutoff have no scale: {found.facts['unscaled']['all']} "
        "window(s) are left out for that."
    )


def _table(report: Report, found: Found, part: str, caption: str) -> None:
    pooled = found.scores[(found.scores["part"] == part) & found.scores["cutoff"].isna()]
    shown = pooled[["model", "treatment"]].drop_duplicates().reset_index(drop=True)
    for metric, title in NAMES.items():
        rows = pooled[pooled["metric"] == metric]
        shown[title] = interval_text(rows["value"], rows["lo"], rows["hi"], ".4f")
    report.table(shown, caption, name=f"scores_{part}", full="scores.csv")


def _against(report: Report, found: Found, part: str, caption: str) -> None:
    rows = found.differences[found.differences["part"] == part]
    shown = rows[["metric", "b"]].assign(
        metric=rows["metric"].map(NAMES),
        difference=interval_text(rows["difference"], rows["lo"], rows["hi"], ".4f"),
        ratio=interval_text(rows["ratio"], rows["ratio_lo"], rows["ratio_hi"], "percent"),
    )
    report.table(
        shown,
        caption,
        name=f"differences_{part}",
        labels={"b": "against", "difference": "difference (95 %)", "ratio": "ratio − 1 (95 %)"},
        note="Below zero: LocalLevel is better.",
    )


def _scores(report: Report, found: Found) -> None:
    report.section("Scores")
    _table(report, found, "all", "Scores of all series; lower is better.")
    rows = found.differences[found.differences["part"] == "all"]
    if len(found.sample):
        ets = found.differences[
            (found.differences["part"] == "sample") & found.differences["b"].str.startswith(ETS)
        ]
        rows = pd.concat([rows, ets])
    report.figure(
        scaled_ratios(
            rows,
            "LocalLevel against the others",
            "Score divided by the other model's, less 1, with 95 % intervals"
            + ("; AutoETS on its sample of series" if len(found.sample) else ""),
        ),
        "scaled_ratios",
        "Ratio of LocalLevel's score to each other model's.",
    )
    _against(report, found, "all", "LocalLevel less each other model, all series.")
    if len(found.sample):
        n = found.sample[ID].nunique()
        _table(report, found, "sample", f"Scores of the {n} series that AutoETS was run on.")
        _against(report, found, "sample", "LocalLevel less each other model, the same series.")
    _verdict(report, rows)


def _verdict(report: Report, rows: pd.DataFrame) -> None:
    lines = []
    for metric, room in (("rmsse", 0.0), ("scaled_pinball", PINBALL_ROOM)):
        part = rows[(rows["metric"] == metric) & ~rows["b"].str.startswith("LightGBM")]
        worst = part.loc[part["ratio"].idxmax()] if len(part) else None
        if worst is not None:
            target = "below" if room == 0 else "5 % below"
            lines.append(
                f"- {NAMES[metric]} is to be {target} every baseline's: the nearest is {worst['b']}, "
                f"at {format_number(worst['ratio'], 'percent')} "
                f"({format_number(worst['ratio_lo'], 'percent')} to "
                f"{format_number(worst['ratio_hi'], 'percent')}): "
                f"{'held' if worst['ratio'] < room else '**not held**'}."
            )
        for row in rows[
            (rows["metric"] == metric) & rows["b"].str.startswith("LightGBM")
        ].itertuples():
            lines.append(
                f"- {NAMES[metric]} against LightGBM: {format_number(row.ratio, 'percent')} "
                f"({format_number(row.ratio_lo, 'percent')} to {format_number(row.ratio_hi, 'percent')})."
            )
    report.text("\n".join(lines))


def _stockouts(report: Report, found: Found, config: dict) -> None:
    if not len(found.stocked_out):
        return
    report.section("Stockouts on top")
    report.text(
        f"An order-up-to policy that knows past sales runs dry on "
        f"{format_number(found.facts['days'], 'percent')} of days; "
        f"{format_number(found.facts['lost'], 'percent')} of units are lost. These days are flagged, "
        "and *censor* uses them as bounds; the absence of a flag proves nothing on a day without "
        "sales, and the hidden state is of the outages that nobody flagged, as before. Both columns "
        "are scored against sales before the simulated stockouts."
    )
    _table(report, found, "stockouts", "Without the stockouts (ignore) and with them (censor).")
    rows = found.differences[found.differences["part"] == "stockouts"]
    lines = [
        f"- {NAMES[row.metric]}: {format_number(row.ratio, 'percent')} "
        f"({format_number(row.ratio_lo, 'percent')} to {format_number(row.ratio_hi, 'percent')}), "
        f"to stay under 3 %: {'held' if row.ratio < LOSS_ROOM else '**not held**'}."
        for row in rows.itertuples()
    ]
    report.text("What the stockouts cost:\n\n" + "\n".join(lines))


def _limits(report: Report, config: dict) -> None:
    report.section("Limits")
    report.text(
        "- Scores are unweighted means over series at the lowest level; M5's official ones weigh by "
        "dollars and average twelve levels of aggregation.\n"
        "- Windows follow each other at the end of the file: one season of one year.\n"
        "- Levels drift independently: the spread of totals over many series holds no shock that "
        "they share beyond calendar, price and events.\n"
        "- That an outage explains a run of zeros does not prove that there was one."
    )
