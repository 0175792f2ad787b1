"""The posterior review as a document: gates first, and the rest only if they let it through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from posterior_predictive import calibration, prior_predictive, reproduced
from posterior_sections import agreement, departments, left_out, pooled, sensitivity

from civstats.diagnostics import ADVICE
from civstats.plots.posterior import trace_and_ranks
from civstats.report import Report, format_number, literal

if TYPE_CHECKING:
    from posterior_work import Found

_SHOWN = {"passed": "passed", "failed": "FAILED", "undefined": "NOT CHECKED", "note": "note"}


def build(found: Found, stamp: str, what: str, config: dict, stages: dict) -> Report:
    """Write the document."""
    report = Report("Posterior review of the Bayesian demand model", what)
    if stamp:
        report.callout(literal(stamp), "warning", "Gates not passed")
    _facts(report, found, stamp)
    _gates(report, found, stamp)
    _chains(report, found)
    if found.sales_check is not None:
        prior_predictive(report, found)
        departments(report, found)
        pooled(report, found)
        reproduced(report, found, config)
        calibration(report, found)
        left_out(report, found)
        sensitivity(report, found)
        agreement(report, found)
    else:
        report.section("What was not done")
        report.text(
            "Checks of the model's fit, forest plots and sensitivity were left out: with draws that are not "
            "those of the posterior they would say nothing. Mend the sampling first, or run again with "
            "`--allow-failed-gates` to see them under a stamp."
        )
    _advice(report, found)
    _run(report, stages)
    return report


def _facts(report: Report, found: Found, stamp: str) -> None:
    table = found.gates.set_index("gate")
    held = found.gates[found.gates["status"] != "note"]
    good = int((held["status"] == "passed").sum())
    facts: dict[str, object] = {
        "Gates passed": (
            f"{good} of {len(held)}",
            f"over {int(table.loc['finite draws', 'checked']):,} parameters and totals",
        ),
        "Largest R-hat": (f"{table.loc['R-hat', 'value']:.3f}", str(table.loc["R-hat", "worst"])),
        "Smallest ESS": (
            format_number(
                min(table.loc["bulk ESS", "value"], table.loc["tail ESS", "value"]), ",.0f"
            ),
            "bulk or tail",
        ),
    }
    if len(found.lost):
        row = found.lost.iloc[0]
        facts["Expected lost units"] = (
            format_number(row["mean"], ",.0f"),
            f"80 % band {format_number(row['q10'], ',.0f')} to {format_number(row['q90'], ',.0f')}, "
            f"Monte Carlo error {format_number(row['mcse_mean'], '.2g')}",
        )
    report.facts(facts)


def _gates(report: Report, found: Found, stamp: str) -> None:
    report.section("Gates")
    report.text(
        "A posterior that fails one of these is not used. Every scalar is held against them: parameters, "
        "levels of every week, and the totals reported below."
    )
    table = found.gates
    report.table(
        pd.DataFrame(
            {
                "gate": table["gate"],
                "result": table["status"].map(_SHOWN),
                "value": table["value"],
                "limit": table["limit"],
                "failing": table["failing"],
                "of": table["checked"],
                "worst": table["worst"],
            }
        ),
        "Gates and notes.",
        name="gates",
        formats={"value": ".4g"},
        note="E-BFMI and divergences are counted over chains. Notes are not held against the posterior.",
    )
    bad = table[(table["advice"] != "")]
    for row in bad.itertuples():
        kind = "note" if row.status == "note" else "warning"
        names = ", ".join(row.parameters[:8])
        more = f" and {len(row.parameters) - 8:,} more" if len(row.parameters) > 8 else ""
        where = f" Concerned: {names}{more}." if names else ""
        report.callout(literal(f"{row.gate}: {row.advice}{where}"), kind, "What to do")
    for problem in found.problems:
        report.callout(
            literal(f"{problem.message} {problem.advice}"),
            "warning",
            f"Before sampling: {problem.name}",
        )
    report.table(
        found.sampler,
        "The sampler, chain by chain.",
        name="sampler",
        formats={"e_bfmi": ".2f", "step_size": ".3f", "acceptance": ".2f", "steps": ".1f"},
        labels={"saturated": "trees cut short", "deepest": "deepest tree", "steps": "gradients a draw",
                "e_bfmi": "E-BFMI"},
    )  # fmt: skip


def _chains(report: Report, found: Found) -> None:
    report.section("Chains")
    known = found.parameters.set_index("parameter")
    notes = {
        n: f"R-hat {known.loc[n, 'rhat']:.3f}\nESS {known.loc[n, 'ess_bulk']:,.0f}"
        for n in found.draws
        if n in known.index
    }
    worst = known["rhat"].max()
    if found.draws:
        report.figure(
            trace_and_ranks(
                found.draws,
                f"The largest R-hat of all is {worst:.3f}; the parameters worst off, and the scales",
                notes=notes,
            ),
            "chains",
            "Draws in order, and their ranks, for the parameters with the largest R-hat and the smallest "
            "ESS, and for those that all series share.",
        )
    shared = found.parameters[
        found.parameters["variable"].map(found.parameters["variable"].value_counts()) <= 12
    ]
    report.table(
        shared.drop(columns=["variable", "status", "stuck_chains"]),
        "Shared parameters and reported totals, with the Monte Carlo error of each figure.",
        name="parameters",
        max_rows=60,
        formats={"rhat": ".3f", "ess_bulk": ",.0f", "ess_tail": ",.0f"},
        labels={"rhat": "R-hat", "ess_bulk": "bulk ESS", "ess_tail": "tail ESS"},
        full="parameters.csv",
        note="mcse: Monte Carlo error of the figure before it; report no digit beyond it. Lost units are "
        "expected ones, given each draw's parameters and that demand reached the bound: their bands are "
        "those of what is not known of the parameters, and the units really lost vary more.",
    )


def _advice(report: Report, found: Found) -> None:
    report.section("When a gate fails")
    report.text(
        "\n".join(f"- **{literal(name)}**: {literal(text)}" for name, text in ADVICE.items())
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
        "The draws are in `posterior.nc`, the gates in [diagnostics.json](diagnostics.json), all "
        "parameters in [parameters.csv](parameters.csv), configuration and versions in "
        "[manifest.json](manifest.json)."
    )
