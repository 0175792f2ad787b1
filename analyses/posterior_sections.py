"""Sections of the posterior review: departments, pooling, leaving out, priors, the demand filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots.posterior import pareto_k
from civstats.plots.posterior_forest import forest, pooling
from civstats.report import Report, format_number

if TYPE_CHECKING:
    from posterior_work import Found


def departments(report: Report, found: Found) -> None:
    """Forest plots by department."""
    if found.forest is None or found.forest.empty:
        return
    report.section("Departments")
    n = found.forest["row"].nunique()
    wide = found.forest.groupby("panel")["median"].agg(lambda x: x.max() - x.min())
    title = f"{n} departments side by side" if n > 1 else "One department: what its series share"
    report.figure(
        forest(
            found.forest, title,
            "Posterior medians with 50 % (thick) and 80 % bands; dashed: the median over departments.",
        ),
        "forest",
        "What departments have of their own: effects in logs, weekly sd of the level, dispersion. Range of "
        "medians: " + ", ".join(f"{k} {format_number(float(v), '.2g')}" for k, v in wide.items()) + ".",
    )  # fmt: skip


def pooled(report: Report, found: Found) -> None:
    """Levels alone, partially pooled, together."""
    table = found.pooling
    if table is None or table.empty:
        return
    report.section("Pooling")
    unit = found.facts["level unit"]
    wide = table.pivot_table(index="row", columns="way", values="value", dropna=False, sort=False)
    moved = (wide["no pooling"] - wide["partial pooling"]).abs()
    away = (wide["no pooling"] - wide["complete pooling"]).abs()
    half = len(wide) // 2
    few, many = moved.iloc[:half].median(), moved.iloc[half:].median()
    lines = [
        f"Alone, a level is {away.median():.2f} {unit} (median) from that of all series; pooling moves "
        f"it by {few:.3f} in the upper half of the figure and by {many:.3f} in the lower"
    ]
    none = int(table.loc[table["way"] == "no pooling", "value"].isna().sum())
    title = (
        f"Pooling moves the level of a series by {few:.3f} {unit} (median) where little is known "
        f"exactly, by {many:.3f} where much is"
    )
    report.figure(
        pooling(
            table, title,
            "Level of a series on an ordinary day, by how much it learns from the others; bars: 80 %. "
            "In brackets: days on which its demand is known exactly, the fewest first; of many series both ends.",
            unit="log units a day" if unit == "log units" else "mean days of the series",
        ),
        "pooling",
        "No pooling: the maximum of the series' own censored likelihood. Complete pooling: one level for "
        "all. Alone and together take offsets and dispersion as the posterior has them.",
    )  # fmt: skip
    if none:
        lines.append(
            f"{none} of the series shown have no estimate of their own (nothing but bounds, or nothing sold): "
            "what they get comes from the others"
        )
    report.text("\n".join(f"- {line}." for line in lines))


def left_out(report: Report, found: Found) -> None:
    """PSIS-LOO of days and of series."""
    if found.loo is None:
        return
    report.section("Leaving out")
    rows = []
    for what, loo in (("a day", found.loo), ("a series", found.loo_series)):
        if loo is not None:
            rows.append(
                {
                    "left out": what, "n": loo.n, "elpd": loo.elpd, "se": loo.se, "p_loo": loo.p_loo,
                    "k too large": len(loo.bad), "largest k": float(loo.pointwise["k"].max()),
                    "limit of k": loo.good_k,
                }
            )  # fmt: skip
    report.table(
        pd.DataFrame(rows),
        "Expected log predictive density, survival terms included.",
        name="loo",
        formats={
            "elpd": ",.1f",
            "se": ",.1f",
            "p_loo": ",.1f",
            "largest k": ".2f",
            "limit of k": ".2f",
        },
    )
    loo = found.loo
    bad = len(loo.bad)
    report.figure(
        pareto_k(
            loo.pointwise["k"].to_numpy(), loo.good_k,
            f"{bad} of {loo.n:,} days left out cannot be estimated by reweighting"
            if bad else f"All {loo.n:,} days left out can be estimated by reweighting",
        ),
        "pareto_k",
        "Pareto k of the days left out one at a time.",
    )  # fmt: skip
    notes = [loo.note]
    if found.loo_series is not None:
        notes.append(found.loo_series.note)
    notes.append(
        "Days whose k is too large have no PIT above, and their share of elpd is a guess: refit without "
        "them where a comparison hangs on it."
    )
    report.text("\n".join(f"- {note}" for note in notes))


def sensitivity(report: Report, found: Found) -> None:
    """What priors half or twice as strong would do."""
    table = found.sensitivity
    if table is None or table.empty:
        return
    report.section("Prior sensitivity")
    hit = table[table["verdict"] != "-"]
    report.text(
        "Priors, all together, raised to a power near 1 (Kallioinen et al., 2024): above 0.05 a component "
        "matters. "
        + (
            f"**{len(hit)} of {len(table)} quantities hang on the priors**: look there before anyone else does."
            if len(hit)
            else f"**None of {len(table)} quantities hangs on the priors.**"
        )
    )
    worst = pd.concat([hit, table]).drop_duplicates("parameter")
    worst = worst.sort_values("prior", ascending=False)
    lost = table[table["parameter"].str.startswith("lost units")]
    report.table(
        pd.concat([lost, worst]).drop_duplicates("parameter"),
        "Sensitivity to the priors: lost units first, then the most sensitive.",
        name="sensitivity",
        max_rows=20,
        formats={"prior": ".3f", "likelihood": ".3f", "shift": ".2f", "k": ".2f"},
        labels={
            "mean_x0.5": "mean, priors half as strong", "mean_x2": "mean, twice as strong",
            "shift": "largest move, sd", "k": "Pareto k",
        },
        full="sensitivity.csv",
        note="Means under scaled priors come from weights, not from a refit; beyond k = 0.7 they are a guess.",
    )  # fmt: skip


def agreement(report: Report, found: Found) -> None:
    """Mean demand beside that of the demand filter."""
    table = found.agreement
    if table is None or table.empty:
        return
    report.section("Beside the demand filter")
    ratio = (table["bayes"] / table["filter"]).to_numpy()
    total = float(table["bayes"].sum() / table["filter"].sum())
    lo, mid, hi = np.quantile(ratio, [0.1, 0.5, 0.9])
    report.text(
        "The demand filter carries what sampling cannot: all series of a chain at once. On these series, "
        f"mean demand of the posterior is **{100 * (total - 1):+.1f} %** of the filter's in total; by series the "
        f"ratio is {mid:.3f} (median), {lo:.3f} to {hi:.3f} for four in five."
    )
    off = table.assign(ratio=ratio).sort_values("ratio", key=lambda r: -np.abs(np.log(r)))
    report.table(
        off.head(10),
        "Series on which the two differ most: mean demand a day.",
        name="agreement",
        formats={"ratio": ".3f"},
        labels={"id": "series", "bayes": "posterior", "filter": "demand filter"},
        full="agreement.csv",
    )
