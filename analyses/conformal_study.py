"""Do conformal intervals hold demand under stockouts? Ordinary and censored ones side by side.

Run ``python analyses/conformal_study.py --help``; every option has a default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from conformal_report import build, score_frame
from conformal_worlds import MECHANISMS, Found, Task, run_task
from rich.console import Console

from civstats.schema import CivstatsError, check_level

if TYPE_CHECKING:
    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    for name, least in (("seeds", 1), ("series", 2), ("boot", 2), ("jobs", 1), ("origins", 4)):
        if config[name] < least:
            raise CivstatsError(f"--{name} must be {least} or more, but got {config[name]}")
    # The models learn from what lies before the first origin.
    least = 3 * config["origins"] + 90
    if config["days"] < least:
        raise CivstatsError(
            f"--days must be {least} or more with these origins, but got {config['days']}"
        )
    if not config["rates"] or not all(0 < r < 1 for r in config["rates"]):
        raise CivstatsError("--rates must be percentages above 0 and below 100, comma-separated")
    check_level(config["level"])
    unknown = [m for m in config["mechanisms"] if m not in MECHANISMS]
    if unknown or not config["mechanisms"]:
        raise CivstatsError(
            f"--mechanisms must be some of {'; '.join(MECHANISMS)}, but got "
            f"{'; '.join(unknown) or 'none'}"
        )


def work(config: dict) -> list[Found]:
    """Run all panels, in processes."""
    from joblib import Parallel, delayed

    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    tasks = [
        Task(seed, mechanism, rate)
        for seed in range(config["seed"], config["seed"] + config["seeds"])
        for mechanism in config["mechanisms"]
        for rate in config["rates"]
    ]
    jobs = Parallel(n_jobs=config["jobs"], return_as="generator")
    out = []
    with console.status("") as status:
        found = jobs(delayed(run_task)(task, config) for task in tasks)
        for done, (task, result) in enumerate(zip(tasks, found, strict=True), start=1):
            out.append(result)
            status.update(
                f"{done} of {len(tasks)}: {task.mechanism} {task.rate:g}, seed {task.seed}"
            )
    return out


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from civstats.study import Study

    check(config)
    study = Study(out, config)
    with study.stage("forecasts and intervals"):
        found = work(config)
    with study.stage("report"):
        publish(found, config, study)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def publish(found: list[Found], config: dict, study: Study) -> None:
    """Write everything the study leaves."""
    from civstats._csv import write_csv

    scores = score_frame(found)
    details = pd.concat([x.details for x in found], ignore_index=True)
    report = build(scores, details, config, study.stages)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_csv(scores, study.folder / "scores.csv")
    write_csv(details, study.folder / "bounds.csv")
    report.write(study.folder)


def _numbers(text: str, name: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise CivstatsError(f"--{name} must be numbers in percent, but got {text!r}") from None


@app.command()
def main(
    series: Annotated[int, typer.Option(help="Series of a world.")] = 40,
    days: Annotated[int, typer.Option(help="Days.")] = 280,
    origins: Annotated[
        int, typer.Option(help="Days of origins to train on, to calibrate on and to test, each.")
    ] = 42,
    rates: Annotated[
        str, typer.Option(help="Days with a stockout in percent, comma-separated.")
    ] = "15,30",
    mechanisms: Annotated[
        str, typer.Option(help=f"Some of {'; '.join(MECHANISMS)}; parted by semicolons.")
    ] = ";".join(MECHANISMS),
    level: Annotated[str, typer.Option(help="Levels of the intervals, percent.")] = "80,95",
    seeds: Annotated[int, typer.Option(help="Worlds of each kind.")] = 2,
    seed: Annotated[int, typer.Option(help="First of the seeds.")] = 0,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 300,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path(
        "reports/conformal_study"
    ),
) -> None:
    """Hold the ends of conformal intervals against known demand, under every mechanism."""
    try:
        config = {
            "series": series,
            "days": days,
            "origins": origins,
            "rates": [x / 100 for x in _numbers(rates, "rates")],
            "mechanisms": [m.strip() for m in mechanisms.split(";") if m.strip()],
            "level": _numbers(level, "level"),
            "seeds": seeds,
            "seed": seed,
            "boot": boot,
            "jobs": jobs,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
