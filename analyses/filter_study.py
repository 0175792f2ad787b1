"""What the demand filter recovers where the truth is known: means, bands, draws, hyperparameters.

Run ``python analyses/filter_study.py --help``; every option has a default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import typer
from filter_report import build
from filter_worlds import WORLDS, Found, Key, Sums, Task, run_task
from rich.console import Console

from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    for name in ("seeds", "series", "rows", "draws", "boot", "jobs"):
        if config[name] < 1:
            raise CivstatsError(f"--{name} must be 1 or more, but got {config[name]}")
    if config["days"] < 60:
        raise CivstatsError(f"--days must be 60 or more, but got {config['days']}")
    if not config["rates"] or not all(0 < r < 1 for r in config["rates"]):
        raise CivstatsError(
            "--rates must be percentages above 0 and below 100, comma-separated, but got "
            f"{', '.join(f'{100 * r:g}' for r in config['rates']) or 'none'}"
        )
    unknown = [w for w in config["worlds"] if w not in WORLDS]
    if unknown or not config["worlds"]:
        raise CivstatsError(
            f"--worlds must be some of {', '.join(WORLDS)}, but got {', '.join(unknown) or 'none'}"
        )


def work(config: dict) -> list[Found]:
    """Recover all panels, in processes."""
    from joblib import Parallel, delayed

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    tasks = [
        Task(seed, world, rate)
        for seed in range(config["seed"], config["seed"] + config["seeds"])
        for world in config["worlds"]
        for rate in config["rates"]
    ]
    jobs = Parallel(n_jobs=config["jobs"], return_as="generator")
    out = []
    with console.status("") as status:
        found = jobs(delayed(run_task)(task, config) for task in tasks)
        for done, (task, result) in enumerate(zip(tasks, found, strict=True), start=1):
            out.append(result)
            status.update(f"{done} of {len(tasks)}: {task.world} {task.rate:g}, seed {task.seed}")
    return out


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from civstats.study import Study

    check(config)
    study = Study(out, config)
    with study.stage("filters"):
        found = work(config)
    with study.stage("report"):
        publish(found, config, study)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def publish(found: list[Found], config: dict, study: Study) -> None:
    """Write everything the study leaves."""
    from filter_report import score_frame

    from civstats._csv import write_csv

    sums: dict[Key, list[Sums]] = {}
    for one in found:
        for key, value in one.sums.items():
            sums.setdefault(key, []).append(value)
    scores = score_frame(sums)
    estimates = pd.DataFrame([row for one in found for row in one.estimates])
    ranks = np.concatenate([one.ranks for one in found])
    report = build(scores, estimates, ranks, config, study.stages)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_csv(scores, study.folder / "scores.csv")
    write_csv(estimates, study.folder / "estimates.csv")
    report.write(study.folder)


def _rates(text: str) -> list[float]:
    try:
        return [float(word) / 100 for word in text.split(",") if word.strip()]
    except ValueError:
        raise CivstatsError(f"--rates must be numbers in percent, but got {text!r}") from None


@app.command()
def main(
    series: Annotated[int, typer.Option(help="Series of a world.")] = 100,
    days: Annotated[int, typer.Option(help="Days.")] = 730,
    rates: Annotated[
        str, typer.Option(help="Days with a stockout in percent, comma-separated.")
    ] = "5,15,30,45",
    worlds: Annotated[
        str, typer.Option(help=f"Some of {', '.join(WORLDS)}, comma-separated.")
    ] = ",".join(WORLDS),
    seeds: Annotated[int, typer.Option(help="Worlds of each kind.")] = 3,
    seed: Annotated[int, typer.Option(help="First of the seeds.")] = 0,
    rows: Annotated[
        int, typer.Option(help="Days of each group that shared quantities are estimated from.")
    ] = 100_000,
    draws: Annotated[int, typer.Option(help="Joint draws of demand on stockout days.")] = 99,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 300,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/filter_study"),
) -> None:
    """Hold what the demand filter recovers against known demand, under every treatment."""
    try:
        config = {
            "series": series,
            "days": days,
            "rates": _rates(rates),
            "worlds": [w.strip() for w in worlds.split(",") if w.strip()],
            "seeds": seeds,
            "seed": seed,
            "rows": rows,
            "draws": draws,
            "boot": boot,
            "jobs": jobs,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
