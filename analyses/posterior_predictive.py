"""Sections of the posterior review: what the model says of data like those it was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots import pit_plot
from civstats.plots.posterior_checks import check_plot
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
