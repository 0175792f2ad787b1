"""Whether what the decision layer says of money holds: against the counterfactuals of a simulated shop.

Run ``python analyses/value_study.py --help``; every option has a default. What a replication found
is kept in the folder's ``parts``: a run that was cut short goes on where it stopped, and a run with
more replications does those that are new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from rich.console import Console
from value_study_fits import MODELS, PARTS, Found, Task, run_task
from value_study_worlds import H

from civstats._io import atomic
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    floors = {
        "replications": 2, "series": 6, "days": 120, "paths": 50, "parameter_draws": 0, "top": 1,
        "filter_rounds": 1, "rounds": 1, "rows": 100, "origins": 1, "jobs": 1, "treated": 0,
    }  # fmt: skip
    for name, least in floors.items():
        if config[name] < least:
            raise CivstatsError(
                f"--{name.replace('_', '-')} must be {least} or more, but got {config[name]}"
            )
    if not config["rates"] or not all(0 < r < 1 for r in config["rates"]):
        raise CivstatsError(
            "--rates must be percentages above 0 and below 100, comma-separated, but got "
            f"{', '.join(f'{100 * r:g}' for r in config['rates']) or 'none'}"
        )
    unknown = [m for m in config["models"] if m not in MODELS]
    if unknown or not config["models"]:
        raise CivstatsError(
            f"--models must be some of {', '.join(MODELS)}, but got {', '.join(unknown) or 'none'}"
        )


def tasks_of(config: dict) -> list[Task]:
    """List the study's units of work; the first replications run under all treatments."""
    first = config["seed"]
    return [
        Task(seed, rate, model, treatment)
        for seed in range(first, first + config["replications"])
        for rate in config["rates"]
        for model in config["models"]
        for treatment in MODELS[model]
        if treatment == "censor" or seed - first < config["treated"]
    ]


def settings(config: dict) -> str:
    """Return what a kept part depends on besides its task."""
    free = ("replications", "rates", "models", "treated", "seed", "jobs")
    return repr(sorted((k, v) for k, v in config.items() if k not in free))


def kept(folder: Path, task: Task) -> bool:
    """Whether a task's tables lie in the folder; the last of them is written last."""
    return (folder / f"{task.name}-{PARTS[-1]}.parquet").exists()


def keep(folder: Path, task: Task, config: dict) -> None:
    """Do a task and write its tables."""
    found = run_task(task, config)
    for part in PARTS:
        with atomic(folder / f"{task.name}-{part}.parquet") as temporary:
            getattr(found, part).to_parquet(temporary, index=False)


def work(config: dict, folder: Path) -> Iterator[int]:
    """Do all tasks that are not done, in processes; yield how many are."""
    from joblib import Parallel, delayed

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "settings.txt"
    if note.exists() and note.read_text() != settings(config):
        raise CivstatsError(
            f"{folder} holds replications of other settings: choose another --out, or remove it"
        )
    note.write_text(settings(config))
    left = [t for t in tasks_of(config) if not kept(folder, t)]
    jobs = Parallel(n_jobs=config["jobs"], return_as="generator_unordered")
    done = len(tasks_of(config)) - len(left)
    for _ in jobs(delayed(keep)(folder, task, config) for task in left):
        done += 1
        yield done


def gather(config: dict, folder: Path) -> Found:
    """Read the tables of all tasks that are done, in the order of the tasks."""
    tasks = [t for t in tasks_of(config) if kept(folder, t)]
    if not tasks:
        raise CivstatsError(f"{folder} holds no replication yet")
    found = Found(
        *(
            pd.concat(
                [pd.read_parquet(folder / f"{t.name}-{part}.parquet") for t in tasks],
                ignore_index=True,
            )
            for part in PARTS
        )
    )
    return replace(found, worlds=found.worlds.drop_duplicates(["seed", "rate"]))


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from civstats.study import Study

    check(config)
    study = Study(out, config)
    total = len(tasks_of(config))
    with study.stage("replications"), console.status("simulating, fitting") as status:
        for done in work(config, out / "parts"):
            status.update(f"{done} of {total} fits")
            if not console.is_terminal and done % 10 == 0:
                console.print(f"{done} of {total} fits")
    with study.stage("report"):
        publish(gather(config, out / "parts"), config, study)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def publish(found: Found, config: dict, study: Study) -> None:
    """Write everything the study leaves, once all of it is known."""
    from value_study_report import build
    from value_study_tables import Shown

    from civstats._csv import write_csv

    shown = Shown.of(found)
    report = build(shown, config, study.stages)
    study.folder.mkdir(parents=True, exist_ok=True)
    for name, table in shown.files().items():
        write_csv(table, study.folder / f"{name}.csv")
    with atomic(study.folder / "replications.parquet") as temporary:
        found.held.to_parquet(temporary, index=False)
    report.write(study.folder)


def _rates(text: str) -> list[float]:
    try:
        return [float(word) / 100 for word in text.split(",") if word.strip()]
    except ValueError:
        raise CivstatsError(f"--rates must be numbers in percent, but got {text!r}") from None


@app.command()
def main(
    replications: Annotated[int, typer.Option(help="Worlds, each under every rate.")] = 200,
    treated: Annotated[
        int, typer.Option(help="Of them, how many run under ignore and mask as well.")
    ] = 50,
    rates: Annotated[
        str, typer.Option(help="Days with a stockout in percent, comma-separated.")
    ] = "15,30",
    models: Annotated[
        str, typer.Option(help=f"Some of {', '.join(MODELS)}, comma-separated.")
    ] = "LocalLevel,LightGBM",
    series: Annotated[int, typer.Option(help="Series of a world.")] = 24,
    days: Annotated[int, typer.Option(help="Days on record: two years tell the season.")] = 740,
    paths: Annotated[int, typer.Option(help="Joint paths, and draws of what was lost.")] = 400,
    parameter_draws: Annotated[
        int, typer.Option(help="Demand filter: draws of what its series share.")
    ] = 12,
    filter_rounds: Annotated[
        int, typer.Option(help="Demand filter: rounds of estimation at most.")
    ] = 2,
    top: Annotated[int, typer.Option(help="Size of the top of a ranking.")] = 6,
    rounds: Annotated[int, typer.Option(help="LightGBM: trees at most.")] = 100,
    learning_rate: Annotated[float, typer.Option(help="LightGBM.")] = 0.08,
    rows: Annotated[int, typer.Option(help="LightGBM: training rows at most.")] = 30_000,
    origins: Annotated[int, typer.Option(help="LightGBM: calibration origins.")] = 52,
    seed: Annotated[int, typer.Option(help="First of the seeds.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/value_study"),
) -> None:
    """Hold realised losses, gains of levers and rankings against a simulated shop's counterfactuals."""
    try:
        config = {
            "replications": replications,
            "treated": treated,
            "rates": _rates(rates),
            "models": [m.strip() for m in models.split(",") if m.strip()],
            "series": series,
            "days": days,
            "h": H,
            "paths": paths,
            "parameter_draws": parameter_draws,
            "filter_rounds": filter_rounds,
            "top": top,
            "rounds": rounds,
            "learning_rate": learning_rate,
            "rows": rows,
            "origins": origins,
            "seed": seed,
            "jobs": jobs,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
