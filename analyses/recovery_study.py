"""What each treatment of stockout days costs, and wins back, on demand that is known.

Run ``python analyses/recovery_study.py --help``; every option has a default.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from recovery_breaks import BREAKS, broken
from recovery_options import OneLine, check, percentages, refuse, words
from recovery_worlds import GRID_MODELS, Key, Sums, Task, run_task
from rich.console import Console

from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


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
    from civstats.data.m5 import load_m5

    return load_m5(
        config["path"],
        stores=config["store"],
        departments=config["department"],
        top=config["series"],
        last_days=config["days"],
    )


def rehearse(config: dict, base: pd.DataFrame | None) -> None:
    """Cut the first world's demand in every way once: what cannot be had is refused before any fit."""
    from civstats.data.synthetic import make_panel
    from civstats.stockouts.simulate import simulate_stockouts

    demand = base
    if demand is None:
        demand = make_panel(n_series=config["series"], n_days=config["days"], seed=config["seed"])
    for task in tasks_of(config | {"seeds": 1}):
        if task.kind == "cell":
            simulate_stockouts(demand, mechanism=task.mechanism, rate=task.rate, seed=task.seed)
        elif task.kind == "break":
            severity = BREAKS[task.mechanism].severities[0]
            broken(demand, task.mechanism, severity, rate=task.rate, seed=task.seed)


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


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from civstats.study import Study, fingerprint

    config = check(config)
    study = Study(out, config)
    with study.stage("load"):
        base = load_base(config)
        if base is not None:
            study.facts["data_fingerprint"] = fingerprint(base)
        rehearse(config, base)
    with tempfile.TemporaryDirectory(prefix="recovery-") as parts:
        with study.stage("fits"):
            results = work(config, base, Path(parts))
        with study.stage("report"):
            publish(results, config, study, Path(parts))
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def publish(results: dict[Key, list[Sums]], config: dict, study: Study, parts: Path) -> None:
    """Write everything the study leaves, once all of it is known.

    `parts` holds the forecasts of the tasks.
    """
    from recovery_forecasts import merge_parts
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
    # The big file first: what a full disk stops, it stops before anything else is there.
    study.facts["forecasts"] = merge_parts(parts, study.folder / "forecasts.parquet")
    write_csv(found.scores, study.folder / "scores.csv")
    write_csv(found.recovery, study.folder / "recovery.csv")
    if len(found.breaks):
        write_csv(found.breaks, study.folder / "breaks.csv")
    report.write(study.folder)


@app.command(cls=OneLine)
def main(
    data: Annotated[
        str, typer.Option(help="Whose demand the stockouts cut: synthetic or m5.")
    ] = "synthetic",
    path: Annotated[Path | None, typer.Option(help="M5: the Kaggle zip or folder.")] = None,
    store: Annotated[
        str | None, typer.Option(help="M5: stores, comma-separated; CA_1.", show_default=False)
    ] = None,
    department: Annotated[
        str | None,
        typer.Option(help="M5: departments, comma-separated; FOODS_3.", show_default=False),
    ] = None,
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
            "store": words(store),
            "department": words(department),
            "series": series,
            "days": days,
            "h": h,
            "windows": windows,
            "mechanisms": words(mechanisms),
            "rates": percentages("rates", rates),
            "models": words(models),
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
        refuse(str(error))


if __name__ == "__main__":
    app()
