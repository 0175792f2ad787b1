"""Sections of the posterior review that follow its gates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots import pit_plot
from civstats.plots.posterior import pareto_k
from civstats.plots.posterior_checks import check_plot
from civstats.plots.posterior_forest import forest, pooling
from civstats.report import Report, format_number, interval_text

if TYPE_CHECKING:
    from posterior_work import Found

_EXTREME = 0.01
_CAVEAT = (
    "A posterior predictive p-value has seen the data: under the true model it crowds around one "
    "half instead of being uniform. Near 0 or 1 it names what the model cannot reproduce; one half "
    "proves nothing. The statistics hang together, and none of them is a test at its nominal level."
)


def far(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that fewer than one replicate in a hundred reaches."""
    p = table["p_value"]
    return table[2 * np.minimum(p, 1 - p) < _EXTREME]


def prior_predictive(report: Report, found: Found) -> None:
    """What the priors say of sales, before any were seen."""
    report.section("Prior predictive check")
    table = found.prior_check
    assert table is not None
    shown = table[table["group"] == "all"]
    inside = ((shown["observed"] >= shown["lo"]) & (shown["observed"] <= shown["hi"])).sum()
    report.text(
        "Panels drawn from the priors alone, with this panel's stockouts applied, in units of sales. "
        "The priors should leave room for anything a shop could sell, and little for what none could: "
        f"the observed value lies inside 95 % of prior panels for {inside} of {len(shown)} statistics."
    )
    report.table(
        shown.assign(prior=interval_text(shown["replicated"], shown["lo"], shown["hi"], ",.3g"))[
            ["statistic", "observed", "prior", "p_value"]
        ],
        "Observed sales and what the priors expect.",
        name="prior",
        formats={"p_value": ".2f"},
        labels={"prior": "prior median (95 % of panels)", "p_value": "share of panels above"},
        full="prior_check.csv",
    )


def departments(report: Report, found: Found) -> None:
    """Forest plots by department."""
    if found.forest is None or found.forest.empty:
        return
    report.section("Departments")
    n = found.forest["row"].nunique()
    wide = found.forest.groupby("panel")["median"].agg(np.ptp)
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
    wide = table.pivot_table(index=["panel", "row"], columns="way", values="value", sort=False)
    lines = []
    for name, part in wide.groupby(level=0, sort=False):
        if "no pooling" not in part:
            continue
        away = (part["no pooling"] - part["complete pooling"]).abs()
        moved = (part["no pooling"] - part["partial pooling"]).abs()
        if away.notna().any():
            lines.append(
                f"{name}: pooling moves a level by {moved.median():.2f} log units (median), which are "
                f"{away.median():.2f} from that of all series"
            )
    none = int(table.loc[table["way"] == "no pooling", "value"].isna().sum())
    title = "Partial pooling moves the series that say little, and leaves the others alone"
    report.figure(
        pooling(
            table, title,
            "Level of a series on an ordinary day, by how much it learns from the others; bars: 80 %. "
            "In brackets: days on which its demand is known exactly.",
            unit="log units a day",
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


def reproduced(report: Report, found: Found, config: dict) -> None:
    """Posterior predictive checks through the censoring."""
    report.section("Does the model reproduce the sales?")
    table = found.sales_check
    assert table is not None
    out = far(table)
    whole = out[out["group"] == "all"]["statistic"].tolist()
    title = (
        "Replicated sales, stockouts applied, have what the sales have"
        if not len(out)
        else f"{len(out)} of {len(table)} statistics are out of the replicates' reach"
    )
    report.figure(
        check_plot(
            table, title,
            "Diamond: observed; bar: 95 % of replicated panels, stockouts applied. Orange: fewer than one "
            "replicate in a hundred is as far out; hollow: needs a stock that is unknown.",
        ),
        "sales_check",
        "Posterior predictive check in units of sales.",
    )  # fmt: skip
    report.text(
        (
            "For all series together these are out of reach: " + "; ".join(whole) + ". "
            if whole
            else ""
        )
        + _CAVEAT
        + " Days out of stock throughout are left out: they are zero in every replicate. The recorded stock is "
        "taken as it was; under an inventory policy other sales would have led to another."
    )
    _table(report, table, "sales_table", "Observed sales and replicated sales.", "sales_check.csv")
    other = found.demand_check
    if other is not None:
        out = far(other)
        report.figure(
            check_plot(
                other,
                "Completed demand against replicated demand: "
                + ("all within reach" if not len(out) else f"{len(out)} of {len(other)} out of reach"),
                "Diamond: the panel's demand, bounds filled in by draws given D >= y, under the same "
                "parameters as the replicate beside it; no stock is needed.",
            ),
            "demand_check",
            "The same check on completed data (Gelman et al., 2005), the one to read where the stock "
            "of in-stock days is unknown. Filled-in days agree with the model by construction, so "
            "it is blind to the extent that days are bounds.",
        )  # fmt: skip


def _table(report: Report, table: pd.DataFrame, name: str, caption: str, full: str) -> None:
    whole = table[table["group"] == "all"]
    report.table(
        whole.assign(
            replicates=interval_text(whole["replicated"], whole["lo"], whole["hi"], ",.3g")
        )[["statistic", "observed", "replicates", "p_value", "identified"]],
        caption,
        name=name,
        formats={"p_value": ".2f"},
        labels={"replicates": "replicates (95 %)", "p_value": "p-value"},
        full=full,
    )


def calibration(report: Report, found: Found) -> None:
    """The censored PIT of days left out."""
    if found.histogram is None or found.uniformity is None:
        return
    report.section("Calibration")
    p = float(found.uniformity["p_value"].iloc[0])
    n = int(found.uniformity["n"].iloc[0])
    report.figure(
        pit_plot(found.histogram, found.uniformity, what="Days left out, stockouts as bounds"),
        "pit",
        f"Censored, randomised PIT of {n:,} days, each as if left out (PSIS weights).",
    )
    report.text(
        f"Uniformity has a p-value of {format_number(p, '.2g')}, series and weeks resampled. A hump: bands too "
        "wide; a trough: too narrow; a slope: bias. A day's neighbours, which the mixture has seen, include "
        "later ones whose stock may depend on this day's demand: under an inventory policy the PIT "
        "of the true model is uniform only as far as that matters little."
    )


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
