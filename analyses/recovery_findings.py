"""What the recovery study found, as sections of its report: the cost of treatments, what breaks it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from recovery_breaks import BREAKS
from recovery_checks import ONE_WORLD, Found, at, by_world, points, points_interval

from civstats.plots.recovery import recovery, recovery_breaks
from civstats.report import Report, format_number, interval_text


def _one(seeds: int) -> str:
    return f" One world: {ONE_WORLD}." if seeds == 1 else ""


def costs(report: Report, found: Found, seeds: int) -> None:
    """Write what each treatment costs: bias by rate, the gap closed, coverage."""
    one = _one(seeds)
    report.section("What each treatment costs")
    if (found.bias["mechanism"] != "none").any():
        report.figure(
            recovery(found.bias, worlds=seeds),
            "bias_by_rate",
            "Bias against true demand by share of days with a stockout.",
        )
    table = found.recovery
    if not len(table):
        return
    for oracle, name in (("same lags", "gap_lags"), ("full", "gap_full")):
        part = table[table["oracle"] == oracle]
        if not len(part):
            continue
        shown = part[["mechanism", "rate", "model", "treatment"]].assign(
            gap=interval_text(part["gap_closed"], part["lo"], part["hi"], "share"),
            denominator=interval_text(part["gap"], part["gap_lo"], part["gap_hi"]),
            bias=[format_number(x, "percent") for x in part["bias"]],
            difference=[
                points_interval(*x)
                for x in zip(
                    part["bias_difference"],
                    part["bias_difference_lo"],
                    part["bias_difference_hi"],
                    strict=True,
                )
            ],
        )
        title = "the oracle with the same lags" if oracle == "same lags" else "the full oracle"
        report.table(
            shown,
            f"Gap closed between *ignore* and {title}.",
            name=name,
            max_rows=60,
            formats={"rate": "share"},
            labels={
                "gap": "gap closed (95 %)",
                "denominator": "loss of ignore − loss of oracle",
                "difference": "bias − oracle's, points",
            },
            note=f"Negative: worse than ignore. Undefined: no clear gap to close.{one}",
        )
    _farthest(report, table)
    cover = found.scores[
        (found.scores["metric"] == "coverage") & (found.scores["trained_on"] == "sales")
    ]
    shown = cover[["mechanism", "rate", "model", "treatment", "level"]].assign(
        observed=interval_text(cover["value"], cover["lo"], cover["hi"], "percent"),
        expected=cover["expected"].to_numpy(),
    )
    report.table(
        shown[shown["rate"].isin([0.0, 0.3])],
        "Share of demand inside the intervals, and what the model itself expects of them.",
        name="coverage",
        max_rows=60,
        formats={"rate": "share", "expected": "percent", "level": "{:.0f} %"},
        missing="not available",
        full="scores.csv",
        note="Counts are discrete: intervals of slow movers cover more than their level. Rates of 0 "
        f"and 30 % are shown.{one}",
    )


def _farthest(report: Report, table: pd.DataFrame) -> None:
    """Name the cell in which censor is farthest from its oracle: the average hides it."""
    part = table[(table["treatment"] == "censor") & (table["oracle"] == "same lags")]
    part = part[part["bias_difference"].notna()]
    if not len(part):
        return
    row = part.iloc[int(np.argmax(np.abs(part["bias_difference"].to_numpy())))]
    report.text(
        f"*Censor* is farthest from its oracle at {format_number(row['rate'], 'share')} of days "
        f"({row['mechanism']}): {points(row['bias_difference'])} points of bias"
        + ("." if row["seeds"] == 1 else f", {by_world(row)}.")
    )


def breaks(report: Report, found: Found, seeds: int) -> None:
    """Write what happens as the assumptions of the censored likelihood fail."""
    if not len(found.breaks):
        return
    report.section("What breaks it")
    reference = at(found.bias, mechanism="none", rate=0.0, treatment="censor", trained_on="sales")
    oracle = 0.0 if reference is None else float(reference["value"])
    report.text(
        "The censored likelihood is right if its assumptions are: the flags, the recorded sales of a "
        "stockout day, the family and its dispersion, and a stock that tells nothing of demand "
        "beyond the covariates. Each is violated in turn, a little and a lot: flags, sales and dispersion "
        "in worlds that are otherwise those of the inventory mechanism; the buyer who knows more and "
        "the shelf shut by the clock have stockouts of their own, on days at random, so that their "
        "curves do not start from the others' first point. The column `stock` itself is not read: without "
        "it, forecasts are the same to the last bit."
    )
    report.figure(
        recovery_breaks(
            found.breaks,
            oracle,
            {k: b.title for k, b in BREAKS.items()} | {"clock_share": "share of the day known"},
            {"clock_share": "clock"},
            worlds=seeds,
        ),
        "what_breaks_it",
        "Bias against demand as one assumption fails more and more.",
    )
    lines = []
    for kind, part in found.breaks.groupby("kind", sort=False):
        steps = ", ".join(
            f"{row.label}: {format_number(row.value, 'percent')}" for row in part.itertuples()
        )
        b = BREAKS[str(kind)]
        lines.append(f"- **{b.title}.** {b.meaning}. Bias by {b.axis}: {steps}.")
    report.text("\n".join(lines))
    shown = found.breaks.assign(
        assumption=[BREAKS[k].title for k in found.breaks["kind"]],
        bias=interval_text(
            found.breaks["value"], found.breaks["lo"], found.breaks["hi"], "percent"
        ),
        away=[
            points_interval(*x)
            for x in zip(
                *(found.breaks[c] for c in ("from_oracle", "from_oracle_lo", "from_oracle_hi")),
                strict=True,
            )
        ],
    )[["assumption", "label", "bias", "away"]]
    report.table(
        shown,
        "Bias of LightGBM under censor as its assumptions fail.",
        name="breaks",
        max_rows=60,
        labels={
            "assumption": "what is wrong",
            "label": "how much",
            "away": "from the full oracle's, points",
        },
        note=_one(seeds).strip() or None,
    )
