"""Does each score rank the true distribution first? Scores x mechanisms, from many replications.

Run ``python analyses/score_study.py --help``; every option has a default.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from score_cells import replicate
from score_worlds import SETTINGS, draw

from civstats.schema import CivstatsError, check_h

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Task = tuple[str, int]
"""Setting, replication."""


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    for name in ("series", "days", "jobs", "windows", "near_days", "sample_rows"):
        if config[name] < 1:
            raise CivstatsError(
                f"--{name.replace('_', '-')} must be 1 or more, but got {config[name]}"
            )
    for name, least in (
        ("replications", 2),
        ("warm_up", 30),
        ("boot", 100),
        ("panel_series", 0),
        ("trees", 0),
    ):
        if config[name] < least:
            option = name.replace("_", "-")
            raise CivstatsError(f"--{option} must be {least} or more, but got {config[name]}")
    check_h(config["h"])
    unknown = [name for name in config["settings"] if name not in SETTINGS]
    if unknown or not config["settings"]:
        raise CivstatsError(
            f"--settings must be some of {', '.join(SETTINGS)}, but got "
            f"{', '.join(unknown) or 'none'}"
        )
    if not config["horizons"] or min(config["horizons"]) < 1:
        raise CivstatsError(
            "--horizons must be whole numbers of days, 1 or more, but got "
            f"{', '.join(map(str, config['horizons'])) or 'none'}"
        )


def run_task(task: Task, config: dict) -> pd.DataFrame:
    """Draw one world and score it at every horizon: the same days, less and less known of them."""
    name, number = task
    drawn = draw(
        SETTINGS[name],
        n_series=config["series"],
        warm_up=config["warm_up"],
        n_scored=config["days"],
        farthest=max(config["horizons"]),
        # Settings do not share worlds, so that what they say is independent.
        seed=config["seed"] + 100_000 * list(SETTINGS).index(name) + number,
    )
    frames = []
    for h in config["horizons"]:
        values = replicate(drawn, h, curve=SETTINGS[name].mechanism == "inventory")
        frame = pd.DataFrame(
            [(*cell, value) for cell, value in values.items()],
            columns=["regime", "metric", "contender", "value"],
        )
        frames.append(frame.assign(setting=name, h=h, replication=number))
    short = float(drawn.column("is_censored").mean())
    return pd.concat(frames, ignore_index=True).assign(short=short)


def work(config: dict) -> pd.DataFrame:
    """Run all replications, in processes, with a bar."""
    from rich.progress import Progress

    tasks = [(name, k) for name in config["settings"] for k in range(config["replications"])]
    frames = []
    with Progress(console=console, disable=not console.is_terminal) as bar:
        step = bar.add_task("replications", total=len(tasks))
        for frame in _results(tasks, config):
            frames.append(frame)
            bar.advance(step)
    return pd.concat(frames, ignore_index=True)


def _results(tasks: list[Task], config: dict) -> Iterator[pd.DataFrame]:
    if config["jobs"] == 1:
        yield from (run_task(task, config) for task in tasks)
        return
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=config["jobs"], return_as="generator", batch_size=4)
    yield from pool(delayed(run_task)(task, config) for task in tasks)


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from score_models import run as run_models
    from score_report import build
    from score_verdicts import against, first

    from civstats._csv import write_csv
    from civstats.study import Study, fingerprint

    check(config)
    study = Study(out, config)
    with study.stage("replications"):
        values = work(config)
    trained = None
    if config["panel_series"]:
        with study.stage("trained models"), console.status("") as status:
            trained = run_models(config, status.update)
        study.facts["data_fingerprint"] = fingerprint(trained.panel)
    with study.stage("report"):
        pairs = against(values)
        cells = first(values, pairs)
        report = build(cells, pairs, values, trained, config, study.stages)
        study.folder.mkdir(parents=True, exist_ok=True)
        study.save_parquet(values, "replications.parquet")
        write_csv(pairs, study.folder / "contenders.csv")
        write_csv(cells, study.folder / "cells.csv")
        if trained is not None:
            write_csv(trained.scores, study.folder / "scores.csv")
            write_csv(trained.coverage, study.folder / "coverage.csv")
            write_csv(trained.pairs, study.folder / "differences.csv")
            study.save_parquet(trained.forecasts, "forecasts.parquet")
        report.write(study.folder)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return sorted({int(word) for word in _words(text)})
    except ValueError:
        raise CivstatsError(f"--horizons must be whole numbers of days, but got {text!r}") from None


@app.command()
def main(
    replications: Annotated[int, typer.Option(help="Worlds of each setting.")] = 200,
    settings: Annotated[
        str, typer.Option(help=f"Some of {', '.join(SETTINGS)}, comma-separated.")
    ] = ",".join(SETTINGS),
    horizons: Annotated[str, typer.Option(help="Days ahead, comma-separated.")] = "1,28",
    series: Annotated[int, typer.Option(help="Series of a world.")] = 300,
    days: Annotated[int, typer.Option(help="Scored days of a world.")] = 28,
    warm_up: Annotated[int, typer.Option(help="Days before the first cutoff.")] = 120,
    panel_series: Annotated[
        int, typer.Option(help="Trained models: series; 0 leaves them out.")
    ] = 240,
    panel_days: Annotated[int, typer.Option(help="Trained models: days.")] = 730,
    h: Annotated[int, typer.Option(help="Trained models: days ahead.")] = 28,
    windows: Annotated[int, typer.Option(help="Trained models: windows of that length.")] = 5,
    near_days: Annotated[
        int, typer.Option(help="Trained models: days forecast one day ahead.")
    ] = 28,
    trees: Annotated[int, typer.Option(help="LightGBM: trees; 0: its default.")] = 0,
    sample_rows: Annotated[
        int, typer.Option(help="LocalLevel: days of a department behind what is shared.")
    ] = 20_000,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 500,
    seed: Annotated[int, typer.Option(help="First of the seeds.")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes over replications.")] = 2,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/score_study"),
) -> None:
    """Hold the truth against distortions of itself under every score, then score trained models."""
    try:
        config = {
            "replications": replications,
            "settings": _words(settings),
            "horizons": _numbers(horizons),
            "series": series,
            "days": days,
            "warm_up": warm_up,
            "panel_series": panel_series,
            "panel_days": panel_days,
            "h": h,
            "windows": windows,
            "near_days": near_days,
            "trees": trees,
            "sample_rows": sample_rows,
            "boot": boot,
            "seed": seed,
            "jobs": jobs,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
