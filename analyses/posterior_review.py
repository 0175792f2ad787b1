"""Fit the Bayesian demand model, review its posterior, and say whether it may be used.

Run ``python analyses/posterior_review.py --help``; every option has a default.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from posterior_inputs import DEFAULTS, build_model, check, described, load
from rich.console import Console

from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from posterior_work import Found

    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
NOT_PASSED = 3
"""Exit code of a study whose posterior fails its gates."""


class Source(StrEnum):
    """Whose sales are modelled."""

    synthetic = "synthetic"
    m5 = "m5"


def run(config: dict, out: Path) -> str:
    """Run the study, write its folder and return the stamp of gates that are not passed."""
    from posterior_work import diagnose, require_counts, review

    from civstats.diagnostics import check_gates
    from civstats.study import Study, fingerprint

    check(config)
    study = Study(out, config)
    with study.stage("load"):
        panel = load(config)
        require_counts(config, panel)
        study.facts["data_fingerprint"] = fingerprint(panel)
    with study.stage("fit"), console.status("sampling"):
        model = build_model(config).fit(panel)
    # Draws first: whatever else goes wrong, they took the longest.
    study.folder.mkdir(parents=True, exist_ok=True)
    model.save(study.folder)
    with study.stage("gates"), console.status("gates"):
        found = diagnose(model, panel)
    stamp = check_gates(found.gates, allow=True)
    if not stamp or config["allow_failed_gates"]:
        with study.stage("checks"), console.status("checks"):
            review(model, panel, config, found)
    with study.stage("report"):
        publish(found, stamp, model, described(panel, config), config, study)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")
    return stamp


def publish(found: Found, stamp: str, model: object, what: str, config: dict, study: Study) -> None:
    """Write everything the study leaves, once all of it is known."""
    from posterior_report import build

    from civstats._csv import write_csv

    report = build(found, stamp, what, config, study.stages)
    write_csv(found.parameters, study.folder / "parameters.csv")
    for name in (
        "prior_check",
        "sales_check",
        "demand_check",
        "sensitivity",
        "pooling",
        "agreement",
    ):
        table = getattr(found, name)
        if table is not None:
            write_csv(table, study.folder / f"{name}.csv")
    study.save_json(
        {
            "passed": not stamp,
            "stamp": stamp,
            "gates": found.gates.assign(
                parameters=[p[:50] for p in found.gates["parameters"]]
            ).to_dict("records"),
            "sampler": found.sampler.to_dict("records"),
            "problems": [
                {"name": p.name, "message": p.message, "advice": p.advice} for p in found.problems
            ],
        },
        "diagnostics.json",
    )
    report.write(study.folder)


@app.command()
def main(
    data: Annotated[Source, typer.Option(help="Whose sales.")] = Source.synthetic,
    path: Annotated[Path | None, typer.Option(help="M5: the Kaggle zip or folder.")] = None,
    store: Annotated[str, typer.Option(help="M5: the store.")] = "CA_1",
    dept: Annotated[str, typer.Option(help="M5: the department.")] = "FOODS_3",
    series: Annotated[
        int | None, typer.Option(help="Series; M5: the best sellers.", show_default="40, M5: 60")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Last days.", show_default="365")] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Days with a simulated stockout in percent; 0: none.", show_default="30, M5: 15"
        ),
    ] = None,
    mechanism: Annotated[str, typer.Option(help="How they come about.")] = "inventory",
    treatment: Annotated[str, typer.Option(help="ignore, mask or censor.")] = "censor",
    family: Annotated[str, typer.Option(help="Family of daily demand.")] = "negbin",
    drift: Annotated[bool, typer.Option(help="Levels drift by week.")] = True,
    draws: Annotated[int, typer.Option(help="Draws of a chain.")] = 3000,
    tune: Annotated[int, typer.Option(help="Tuning steps of a chain.")] = 500,
    chains: Annotated[int, typer.Option(help="Chains.")] = 2,
    target_accept: Annotated[float, typer.Option(help="Higher: smaller steps.")] = 0.8,
    sampler: Annotated[str, typer.Option(help="nutpie, numpyro or pymc.")] = "nutpie",
    checked: Annotated[int, typer.Option(help="Replicated panels.")] = 200,
    rows: Annotated[int, typer.Option(help="Days left out one at a time, at most.")] = 5000,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates of the PIT.")] = 300,
    allow_failed_gates: Annotated[
        bool, typer.Option("--allow-failed-gates", help="Go on, and stamp the report.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path(
        "reports/posterior_review"
    ),
) -> None:
    """Fit the hierarchical model to sales with stockouts and hold its posterior against its gates."""
    try:
        usual = DEFAULTS[data.value]
        config = {
            "data": data.value,
            "path": None if path is None else str(path),
            "store": store,
            "dept": dept,
            "series": usual["series"] if series is None else series,
            "days": usual["days"] if days is None else days,
            "rate": usual["rate"] if rate is None else rate / 100,
            "mechanism": mechanism,
            "treatment": treatment,
            "family": family,
            "drift": drift,
            "draws": draws,
            "tune": tune,
            "chains": chains,
            "target_accept": target_accept,
            "sampler": sampler,
            "checked": checked,
            "rows": rows,
            "boot": boot,
            "allow_failed_gates": allow_failed_gates,
            "seed": seed,
        }
        stamp = run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None
    if stamp and not allow_failed_gates:
        typer.echo(f"error: {stamp} See {out / 'report.html'} for what to do.", err=True)
        raise typer.Exit(NOT_PASSED)


if __name__ == "__main__":
    app()
