"""Simulation-based calibration of the Bayesian model: a rank for whatever it reports.

Run ``python analyses/sbc_study.py --help``; every option has a default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from sbc_worlds import CASES, LOST, PLANTED, VALUE, Replicate, build_model, draw, replicates

from civstats.schema import CivstatsError

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    for name, least in (("replicates", 2), ("tune", 50), ("chains", 1), ("ranks", 9)):
        if config[name] < least:
            raise CivstatsError(f"--{name} must be {least} or more, but got {config[name]}")
    if config["draws"] * config["chains"] < config["ranks"]:
        raise CivstatsError(
            f"--draws x --chains must be --ranks ({config['ranks']}) or more, but is "
            f"{config['draws'] * config['chains']}"
        )
    unknown = [c for c in config["cases"] if c not in CASES]
    if unknown or not config["cases"]:
        raise CivstatsError(
            f"--cases must be some of {', '.join(CASES)}, but got {', '.join(unknown) or 'none'}"
        )


def rank_case(case: str, config: dict, made: dict | None = None) -> pd.DataFrame:
    """Rank the truth of one case; a model is compiled once, for all cases that share it."""
    from civstats.diagnostics import sbc_ranks

    sampling = {k: config[k] for k in ("draws", "tune", "chains")}
    made = {} if made is None else made
    key = str(CASES[case])
    if key not in made:
        made[key] = build_model(case, sampling)
    model = made[key]
    worlds = list(replicates(case, config["replicates"], config["seed"], model))

    def truth_of(one: Replicate) -> dict:
        # Under the planted error what was sold on a bound is not what the model is told.
        left_out = (LOST, VALUE) if case == PLANTED else ()
        return {k: v for k, v in one.truth.items() if k not in left_out}

    def fit(one: Replicate) -> dict:
        found = draw(model, one, case, config["ranks"])
        return found | {k: _nothing(config) for k in one.truth if k not in found}

    with console.status(case) as status:
        shown = _counted(worlds, lambda k: status.update(f"{case}: {k} of {len(worlds)}"))
        return sbc_ranks(
            shown, fit, truth_of, n_draws=config["ranks"], seed=config["seed"], model=case
        )


def _nothing(config: dict):
    """Stand in for draws of what the replicate has no truth of."""
    import numpy as np

    return np.zeros((1, config["ranks"]))


def _counted(worlds: list, tell):
    for k, one in enumerate(worlds):
        tell(k)
        yield one


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from sbc_report import build

    from civstats._csv import write_csv
    from civstats.diagnostics import rank_table
    from civstats.study import Study

    check(config)
    study = Study(out, config)
    parts: list[pd.DataFrame] = []
    made: dict = {}
    for case in config["cases"]:
        with study.stage(case):
            parts.append(rank_case(case, config, made))
        study.folder.mkdir(parents=True, exist_ok=True)
        ranks = pd.concat(parts, ignore_index=True)
        write_csv(ranks, study.folder / "ranks.csv")
    table = rank_table(ranks, config["ranks"])
    with study.stage("report"):
        report = build(ranks, table, config, study.stages)
        write_csv(table, study.folder / "calibration.csv")
        report.write(study.folder)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


@app.command()
def main(
    replicates: Annotated[int, typer.Option(help="Truths of each case.")] = 200,
    cases: Annotated[str, typer.Option(help="Models, comma-separated.")] = ",".join(CASES),
    draws: Annotated[int, typer.Option(help="Draws of a chain, before thinning.")] = 1000,
    tune: Annotated[int, typer.Option(help="Tuning steps of a chain.")] = 300,
    chains: Annotated[int, typer.Option(help="Chains.")] = 2,
    ranks: Annotated[
        int, typer.Option(help="Independent draws that a truth is ranked among.")
    ] = 99,
    seed: Annotated[int, typer.Option(help="Of truths, stock and broken ties.")] = 0,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/sbc_study"),
) -> None:
    """Rank what is true among draws given what it sold, for parameters, totals, lost units, money."""
    try:
        config = {
            "replicates": replicates,
            "cases": [c.strip() for c in cases.split(",") if c.strip()],
            "draws": draws,
            "tune": tune,
            "chains": chains,
            "ranks": ranks,
            "seed": seed,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
