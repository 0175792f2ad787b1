"""What the demand filter recovers where the truth is known: means, bands, draws, hyperparameters.

Run ``python analyses/filter_study.py --help``; every option has a default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from filter_worlds import FAMILIES, PLANTED, WORLDS, Found, Task, run_task
from rich.console import Console

from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    for name in ("seeds", "series", "rows", "draws", "ranked", "boot", "jobs"):
        if config[name] < 1:
            raise CivstatsError(f"--{name} must be 1 or more, but got {config[name]}")
    if config["days"] < 60:
        raise CivstatsError(f"--days must be 60 or more, but got {config['days']}")
    if (config["draws"] + 1) % 10:
        raise CivstatsError(
            "--draws must be one less than a multiple of 10, so that bins hold the same number of "
            f"ranks, but got {config['draws']}"
        )
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
    """Run all tasks, in processes."""
    from joblib import Parallel, delayed

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    tasks = [Task(config["seed"], family, ranked=True) for family in (*FAMILIES, PLANTED)]
    tasks += [
        Task(seed, world)
        for seed in range(config["seed"], config["seed"] + config["seeds"])
        for world in config["worlds"]
    ]
    jobs = Parallel(n_jobs=config["jobs"], return_as="generator")
    out = []
    with console.status("simulating, fitting") as status:
        found = jobs(delayed(run_task)(task, config) for task in tasks)
        for done, (task, result) in enumerate(zip(tasks, found, strict=True), start=1):
            out.append(result)
            status.update(f"{done} of {len(tasks)}: {task.world}, seed {task.seed}")
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
    """Write everything the study leaves, once all of it is known."""
    from filter_report import Shown, build
    from filter_tables import rank_tests, score_frame

    from civstats._csv import write_csv

    sums: dict = {}
    for one in found:
        for key, value in one.sums.items():
            sums.setdefault(key, []).append(value)
    scores = score_frame(sums)
    estimates = pd.DataFrame([row for one in found for row in one.estimates])
    ranks = pd.concat([r for one in found for r in one.ranks], ignore_index=True)
    known = ranks["family"].notna()
    own, left = ranks[known].drop(columns=["world", "rate"]), ranks[~known]
    tests = rank_tests(own)
    shown = Shown(scores, estimates, own, tests, left[["world", "rate", "rank"]])
    report = build(shown, config, study.stages)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_csv(scores, study.folder / "scores.csv")
    write_csv(estimates, study.folder / "estimates.csv")
    write_csv(tests, study.folder / "calibration.csv")
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
    ranked: Annotated[
        int, typer.Option(help="Series of each family that ranks are taken of, all known.")
    ] = 4000,
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
            "ranked": ranked,
            "boot": boot,
            "jobs": jobs,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
