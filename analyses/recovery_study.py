"""What each treatment of stockout days costs, and wins back, on demand that is known.

Run ``python analyses/recovery_study.py --help``; every option has a default.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import typer
from recovery_breaks import BREAKS
from recovery_worlds import GRID_MODELS, Key, Sums, Task, run_task
from rich.console import Console

from civstats.schema import CivstatsError, check_h

if TYPE_CHECKING:
    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


SOURCES = ("synthetic", "m5")
LEAST_HISTORY = 112
"""Days before the first window, so that a booster has targets and its residuals."""


def tasks_of(config: dict) -> list[Task]:
    """List the study's units of work, a world at a time."""
    out = []
    for seed in range(config["seed"], config["seed"] + config["seeds"]):
        out.append(Task(seed, "none", "none", 0.0))
        for mechanism in config["mechanisms"]:
            out += [Task(seed, "cell", mechanism, rate) for rate in config["rates"]]
        if config["breaks"]:
            out += [Task(seed, "break", kind, config["break_rate"]) for kind in BREAKS]
    return out


def load_base(config: dict) -> pd.DataFrame | None:
    """Load the panel whose sales are taken for demand; None for a synthetic world a seed."""
    if config["data"] == "synthetic":
        return None
    if config["path"] is None:
        raise CivstatsError("--data m5 needs --path: the Kaggle zip or the unzipped folder")
    from civstats.data.m5 import load_m5

    return load_m5(
        config["path"],
        stores=config["store"],
        departments=config["department"],
        top=config["series"],
        last_days=config["days"],
    )


def work(
    config: dict, base: pd.DataFrame | None, folder: Path | None = None
) -> dict[Key, list[Sums]]:
    """Run all tasks in processes; the sums of every fit, a list over seeds.

    Each task leaves its forecasts in `folder`, if there is one.
    """
    from joblib import Parallel, delayed

    # LightGBM's threads spin while they wait, at the cost of the process beside them.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    tasks = tasks_of(config)
    results: dict[Key, list[Sums]] = {}
    jobs = Parallel(n_jobs=config["jobs"], return_as="generator")
    found = jobs(delayed(run_task)(task, config, base, folder) for task in tasks)
    with console.status("") as status:
        # Results come in the order of the tasks, so that every list is in the order of the seeds.
        for done, (task, sums) in enumerate(zip(tasks, found, strict=True), start=1):
            for key, value in sums.items():
                results.setdefault(key, []).append(value)
            status.update(
                f"{done} of {len(tasks)}: world {task.seed}, {task.mechanism} {task.rate:g}"
            )
    return results


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    from civstats.stockouts.simulate import MECHANISMS

    if config["data"] not in SOURCES:
        raise CivstatsError(f"--data must be {' or '.join(SOURCES)}, but got {config['data']!r}")
    check_h(config["h"])
    for name in ("seeds", "series", "days", "windows", "rounds", "rows", "origins", "boot", "jobs"):
        if config[name] < 1:
            raise CivstatsError(f"--{name} must be 1 or more, but got {config[name]}")
    needed = config["windows"] * config["h"] + LEAST_HISTORY
    if config["days"] < needed:
        raise CivstatsError(
            f"--days must be {needed} or more: {config['windows']} window(s) of {config['h']} days "
            f"are scored, and {LEAST_HISTORY} days must come before them; got {config['days']}"
        )
    if not 0 < config["learning_rate"] <= 1:
        raise CivstatsError(
            f"--learning-rate must be above 0 and at most 1, but got {config['learning_rate']:g}"
        )
    if not config["rates"]:
        raise CivstatsError("--rates must name at least one rate, in percent")
    for option in ("rates", "break_rate"):
        for rate in np.atleast_1d(config[option]):
            if not 0 < rate < 1:
                raise CivstatsError(
                    f"--{option.replace('_', '-')} must lie above 0 and below 100 percent, but got "
                    f"{100 * rate:g}"
                )
    for option, known in (("mechanisms", set(MECHANISMS)), ("models", set(GRID_MODELS))):
        unknown = [x for x in config[option] if x not in known]
        if unknown or not config[option]:
            raise CivstatsError(
                f"--{option} must be some of {', '.join(sorted(known))}, but got "
                f"{', '.join(unknown) or 'none'}"
            )


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from civstats.study import Study, fingerprint

    check(config)
    study = Study(out, config)
    with study.stage("load"):
        base = load_base(config)
        if base is not None:
            study.facts["data_fingerprint"] = fingerprint(base)
    with tempfile.TemporaryDirectory() as folder:
        with study.stage("fits"):
            results = work(config, base, Path(folder))
        with study.stage("report"):
            publish(results, config, study)
            merge_forecasts(Path(folder), study.folder / "forecasts.parquet")
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def merge_forecasts(folder: Path, path: Path) -> None:
    """Write the tasks' forecasts as one file, a row group at a time."""
    import pyarrow.parquet as pq

    from civstats._io import atomic

    texts = ["unique_id", "mechanism", "model", "treatment", "trained_on"]
    with atomic(path) as temporary:
        writer = None
        for part in sorted(folder.glob("*.parquet")):
            table = pq.read_table(part, read_dictionary=texts).replace_schema_metadata(None)
            table = table.unify_dictionaries()
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


def publish(results: dict[Key, list[Sums]], config: dict, study: Study) -> None:
    """Write everything the study leaves, once all of it is known."""
    from recovery_report import Found, build
    from recovery_tables import (
        agreement_frame,
        bias_frame,
        break_frame,
        recovery_frame,
        score_frame,
    )

    from civstats._csv import write_csv

    grid = {key: value for key, value in results.items() if key[0] not in BREAKS}
    found = Found(
        scores=score_frame(grid),
        recovery=recovery_frame(grid),
        agreement=agreement_frame(grid),
        bias=bias_frame(grid),
        breaks=break_frame(results),
    )
    report = build(found, config, study.stages)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_csv(found.scores, study.folder / "scores.csv")
    write_csv(found.recovery, study.folder / "recovery.csv")
    if len(found.breaks):
        write_csv(found.breaks, study.folder / "breaks.csv")
    report.write(study.folder)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _rates(text: str) -> list[float]:
    try:
        return [float(word) / 100 for word in _words(text)]
    except ValueError:
        raise CivstatsError(f"rates must be numbers in percent, but got {text!r}") from None


@app.command()
def main(
    data: Annotated[
        str, typer.Option(help="Whose demand the stockouts cut: synthetic or m5.")
    ] = "synthetic",
    path: Annotated[Path | None, typer.Option(help="M5: the Kaggle zip or folder.")] = None,
    store: Annotated[str, typer.Option(help="M5: stores, comma-separated.")] = "CA_1",
    department: Annotated[str, typer.Option(help="M5: departments, comma-separated.")] = "FOODS_3",
    series: Annotated[int, typer.Option(help="Series; of M5 the best sellers.")] = 120,
    days: Annotated[int, typer.Option(help="Days, the scored ones included.")] = 900,
    h: Annotated[int, typer.Option(help="Days ahead.")] = 28,
    windows: Annotated[int, typer.Option(help="Windows scored, one after the other.")] = 6,
    mechanisms: Annotated[
        str, typer.Option(help="How stockouts come about, comma-separated.")
    ] = "random,promotion,inventory",
    rates: Annotated[
        str, typer.Option(help="Days with a stockout in percent, comma-separated.")
    ] = "5,15,30,45",
    models: Annotated[str, typer.Option(help="Models, comma-separated.")] = ",".join(GRID_MODELS),
    breaks: Annotated[
        bool, typer.Option("--break/--no-break", help="Also what breaks the likelihood.")
    ] = True,
    break_rate: Annotated[
        float, typer.Option(help="Days with a stockout in the broken worlds, percent.")
    ] = 30.0,
    seeds: Annotated[int, typer.Option(help="Worlds (of M5: draws of stockouts).")] = 5,
    seed: Annotated[int, typer.Option(help="First of the seeds.")] = 0,
    rounds: Annotated[int, typer.Option(help="LightGBM: trees at most, the same for all.")] = 100,
    learning_rate: Annotated[float, typer.Option(help="LightGBM: the same for all.")] = 0.08,
    rows: Annotated[int, typer.Option(help="LightGBM: training rows at most.")] = 100_000,
    origins: Annotated[int, typer.Option(help="LightGBM: calibration origins.")] = 16,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 500,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 2,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/recovery_study"),
) -> None:
    """Compare ignore, mask and censor with an oracle, and show what breaks the last."""
    try:
        config = {
            "data": data,
            "path": None if path is None else str(path),
            "store": _words(store),
            "department": _words(department),
            "series": series,
            "days": days,
            "h": h,
            "windows": windows,
            "mechanisms": _words(mechanisms),
            "rates": _rates(rates),
            "models": _words(models),
            "breaks": breaks,
            "break_rate": break_rate / 100,
            "seeds": seeds,
            "seed": seed,
            "rounds": rounds,
            "learning_rate": learning_rate,
            "rows": rows,
            "origins": origins,
            "boot": boot,
            "jobs": jobs,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
