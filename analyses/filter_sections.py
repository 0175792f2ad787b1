"""Sections of the filter study's report: means, bands of the level, recovered demand, calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from filter_tables import DAYS, MEAN_MARGIN, RANK_BINS, smallest
from filter_worlds import (
    FAMILIES,
    LEVELS,
    ORACLE,
    PLANTED,
    RANK_DRAWS,
    RANKED_DAYS,
    SALES,
)

from civstats.demand_filter.calibration import chi_square
from civstats.plots.filter import band_coverage, recovered_mean
from civstats.plots.ranks import rank_histograms
from civstats.report import Report, format_number, interval_text
from civstats.schema import TREATMENTS

if TYPE_CHECKING:
    from filter_report import Shown

DAY_NAMES = {"all_days": "all days", "censored": "days with a stockout", "out": "days wholly out"}
_RATE = {"rate": "days with a stockout"}
_LEFT = {
    ("demand_ratio", "all_days"): "recovered / true demand, all days",
    ("demand_ratio", "censored"): "the same, stockout days alone",
    ("mean_over_oracle", "all_days"): "estimated mean, censor / oracle",
}
_PANELS = ("level, last day", "level, stockout day", "lost, middle third", "lost, all days")


def of(scores: pd.DataFrame, metric: str, **wanted: object) -> pd.DataFrame:
    """Return the rows of one metric."""
    keep = scores["metric"] == metric
    for column, value in wanted.items():
        keep &= scores[column] == value
    return scores[keep]


def _points(frame: pd.DataFrame) -> list[str]:
    """Write differences of shares in points, with intervals."""
    return [
        f"{100 * v:+.1f} ({100 * a:+.1f} to {100 * b:+.1f})".replace("-", "−")
        for v, a, b in frame[["value", "lo", "hi"]].to_numpy()
    ]


def means(report: Report, scores: pd.DataFrame) -> None:
    """Estimated over true mean demand: the handbook trial's table, extended."""
    report.section("Mean demand")
    mean = of(scores, "mean_ratio")
    worst = mean[mean["rate"] == mean["rate"].max()].groupby("treatment")["value"]
    left = pd.concat(
        [
            of(scores, metric, regime=regime, treatment="censor").assign(name=name)
            for (metric, regime), name in _LEFT.items()
        ],
        ignore_index=True,
    )
    far = float((of(left, "mean_over_oracle")["value"] - 1).abs().max())
    report.figure(
        recovered_mean(
            mean,
            left,
            f"Censor stays within {100 * far:.1f} % of what is found with demand known; at the highest "
            f"rate ignore is left with {100 * worst.min()['ignore']:.0f} % of the mean and mask with "
            f"{100 * worst.min()['mask']:.0f} %",
        ),
        "recovered_mean",
        "Estimated over true mean demand by rate, and what error is left under censor.",
    )
    table = mean.assign(text=interval_text(mean["value"], mean["lo"], mean["hi"], ".3f"))
    table = table.pivot_table(
        index=["world", "rate"], columns="treatment", values="text", aggfunc="first", sort=False
    ).reset_index()
    out = of(scores, "share", regime="out")[["world", "rate", "value"]]
    table = table.merge(out.rename(columns={"value": "wholly out"}), on=["world", "rate"])
    report.table(
        table[["world", "rate", "wholly out", SALES, *TREATMENTS, ORACLE]],
        "Estimated over true mean demand, with 95 % intervals.",
        name="mean_table",
        formats={"rate": "share", "wholly out": "percent"},
        labels=_RATE,
        note="Sales: what was sold over what was asked for. What demand happened to be, beside its "
        "mean, is in every column and in the oracle's too: compare with the oracle.",
    )
    wide = left.assign(text=interval_text(left["value"], left["lo"], left["hi"], ".4f"))
    lost = of(scores, "lost_ratio", treatment="censor").assign(name="recovered / true lost units")
    lost = lost.assign(text=interval_text(lost["value"], lost["lo"], lost["hi"], ".3f"))
    table = pd.concat([wide, lost], ignore_index=True).pivot_table(
        index=["world", "rate"], columns="name", values="text", aggfunc="first", sort=False
    )
    report.table(
        table.reset_index(),
        "What error is left under censor, with 95 % intervals.",
        name="left",
        formats={"rate": "share"},
        labels=_RATE,
        note=f"Days in stock are recovered exactly, so the ratio over all days flatters where stockouts are "
        f"rare; the one over stockout days does not. Claimed: within {100 * MEAN_MARGIN:g} %. Lost units are "
        "the difference of demand and sales, so the same error weighs more.",
    )


def bands(report: Report, scores: pd.DataFrame) -> None:
    """How often the bands of the level hold the true mean."""
    report.section("Bands of the level")
    table = of(scores, "coverage")
    table = table.assign(days=table["regime"].map(DAY_NAMES))
    for world in dict.fromkeys(table["world"]):
        mine = table[table["world"] == world]
        at = mine[(mine["level"] == LEVELS[0]) & (mine["treatment"] == "censor")]["value"]
        mask = mine[(mine["level"] == LEVELS[0]) & (mine["treatment"] == "mask")]["value"]
        title = (
            f"World {world}: {LEVELS[0]} % bands cover {100 * at.min():.0f} to {100 * at.max():.0f} % under "
            f"censor, down to {100 * mask.min():.0f} % under mask"
        )
        report.figure(
            band_coverage(mine, title, close_up=(ORACLE, "censor")),
            f"band_coverage_{world}",
            f"Coverage of the level's bands, world {world}.",
        )
    for world in dict.fromkeys(table["world"]):
        mine = table[table["world"] == world]
        plain = mine["treatment"].isin(["ignore", "mask"])
        text = interval_text(mine["value"], mine["lo"], mine["hi"], "percent")
        short = [format_number(v, "percent") for v in mine["value"]]
        mine = mine.assign(
            text=np.where(plain, short, text), band=[f"{k:g} %" for k in mine["level"]]
        )
        wide = mine.pivot_table(
            index=["band", "days", "rate"], columns="treatment", values="text",
            aggfunc="first", sort=False,
        ).reset_index()  # fmt: skip
        wide["band"] = pd.Categorical(wide["band"], [f"{k} %" for k in LEVELS])
        wide["days"] = pd.Categorical(wide["days"], [DAY_NAMES[d] for d in DAYS])
        wide = wide.sort_values(["band", "days", "rate"], ignore_index=True)
        report.table(
            wide[["band", "days", "rate", *TREATMENTS, ORACLE]].astype({"band": str, "days": str}),
            f"World {world}: share of days on which the level's band holds the true mean of demand.",
            name=f"bands_{world}",
            max_rows=60,
            formats={"rate": "share"},
            labels=_RATE,
            full="scores.csv",
        )


def recovered(report: Report, shown: Shown, config: dict) -> None:
    """What the bands and the joint draws of recovered demand hold, everything estimated."""
    report.section("Recovered demand and its draws")
    rows = of(shown.scores, "recovered_coverage")
    excess = of(shown.scores, "recovered_excess")
    table = rows[["world", "rate"]].assign(
        band=[f"{k:g} %" for k in rows["level"]],
        observed=interval_text(rows["value"], rows["lo"], rows["hi"], "percent"),
        expected=rows["expected"],
        gap=_points(excess),
    )
    report.table(
        table,
        "Share of stockout days on which the band of recovered demand holds the true demand.",
        name="recovered_coverage",
        formats={"rate": "share", "expected": "percent"},
        labels={**_RATE, "gap": "observed − expected, points"},
        note="Expected: what the model's own draws say of its bands. Counts are discrete, so that bands "
        "of a right model hold more than their level.",
    )
    ranks = shown.lost_ranks
    if ranks.empty:
        return
    named = ranks.assign(
        row=ranks["world"], column=[f"{100 * r:g} % of days" for r in ranks["rate"]]
    )
    report.figure(
        rank_histograms(
            named,
            config["draws"],
            "Whole-period lost units against their joint draws, everything estimated",
            "Rank of each series' true lost units, all days, among its joint draws; 1 is what a right model "
            "expects of a bar. Grey: 99 % of the bars of a right model.",
            n_bins=10,
        ),
        "lost_ranks",
        "Ranks of true lost units with offsets and hyperparameters estimated.",
    )
    p = {
        key: chi_square(part.to_numpy(), config["draws"], 10)
        for key, part in ranks.groupby(["world", "rate"], sort=False)["rank"]
    }
    table = pd.DataFrame(
        [
            {"world": w, "rate": r, "series": len(part), "mean rank": part.mean() / config["draws"],
             "p-value": p[w, r]}
            for (w, r), part in ranks.groupby(["world", "rate"], sort=False)["rank"]
        ]
    )  # fmt: skip
    report.table(
        table,
        "Chi-square tests of uniform ranks of lost units.",
        name="lost_ranks_table",
        formats={"rate": "share", "mean rank": ".3f", "p-value": ".3f"},
        labels=_RATE,
        note="Series of one world share estimated offsets and hyperparameters (and the retail world's "
        "shocks), so that their ranks are not independent: small p-values are to be expected here, and "
        "say how much the estimation adds. The next section knows everything, and its test is exact.",
    )


def calibration(report: Report, shown: Shown, config: dict) -> None:
    """Simulation-based calibration with everything but level and demand known."""
    report.section("Simulation-based calibration")
    lowest, together, n = smallest(shown.tests)
    planted = shown.tests[shown.tests["family"] == PLANTED]["p_value"].max()
    p0 = FAMILIES["negative binomial"]
    report.text(
        f"Levels (random walk, daily standard deviation {float(p0.level_sd):g}), demand and stockouts of "
        f"{config['ranked']:,} series x {RANKED_DAYS} days are drawn from the filter's own model with "
        "hyperparameters and weekday offsets **known**: a shop that orders by past sales alone, outages of "
        "whole days, and days in stock for a known part of their hours; under hidden availability the "
        "model's own outages, six days in ten without a flag. Where filter and draws are exact, the "
        "rank of the truth among joint draws is uniform for every quantity (Cook, Gelman and Rubin, 2006; "
        "Talts et al., 2018). A series gives one rank a quantity, so ranks are independent and the test "
        "is exact; ties of counts are broken at random.\n\n"
        f"The smallest of {n} p-values is {lowest:.2g}; the chance of one as small among {n} tests of a "
        f"right model is {together:.2g}. With the planted error P(D > c) in the place of P(D >= c) "
        f"the largest p-value is {planted:.1g}."
    )
    named = shown.ranks[shown.ranks["quantity"].isin(_PANELS)]
    title = (
        "The truth is one of the filter's own draws" if together > 0.01
        else "The truth is not one of the filter's own draws everywhere"
    )  # fmt: skip
    report.figure(
        rank_histograms(
            named.assign(row=named["family"], column=named["quantity"]),
            RANK_DRAWS,
            f"{title}, and one planted off-by-one shows",
            "Rank of the truth among joint draws, one rank a series; 1 is what a right model expects of a "
            "bar. Grey: 99 % of the bars of a right model; the one in a hundred outside it is orange.",
            n_bins=RANK_BINS,
        ),
        "calibration",
        "Ranks of the truth with hyperparameters and offsets known, by family and quantity; last row: "
        "the filter with an error planted.",
    )
    wide = shown.tests.pivot_table(
        index="quantity", columns="family", values="p_value", aggfunc="first", sort=False
    )
    report.table(
        wide.reset_index(),
        f"P-values of chi-square tests of uniform ranks, {RANK_BINS} bins.",
        name="calibration_table",
        formats={c: ".2g" for c in wide.columns},
        missing="-",
    )
