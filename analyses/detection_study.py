"""How many stockouts sales alone give away, against a zero-run rule, and what they say of M5.

Run ``python analyses/detection_study.py --help``; every option has a default.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer
from detection_worlds import MECHANISMS, Found, Task, run_task
from rich.console import Console

from civstats.schema import CivstatsError, check_share

if TYPE_CHECKING:
    from detection_excess import Excess

    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Source(StrEnum):
    """Whose demand the stockouts cut."""

    synthetic = "synthetic"
    m5 = "m5"


def tasks_of(config: dict) -> list[Task]:
    """List the study's units of work, a world at a time; the first is a world without stockouts."""
    out = [Task(config["seed"], "none", 0.0)]
    for seed in range(config["seed"], config["seed"] + config["seeds"]):
        for mechanism in config["mechanisms"]:
            out += [Task(seed, mechanism, rate) for rate in config["rates"]]
    return out


def work(config: dict, base: pd.DataFrame | None) -> dict[tuple[str, float], list[Found]]:
    """Run all tasks in processes; what was found, a list over worlds."""
    from joblib import Parallel, delayed

    tasks = tasks_of(config)
    results: dict[tuple[str, float], list[Found]] = {}
    jobs = Parallel(n_jobs=config["jobs"], return_as="generator")
    found = jobs(delayed(run_task)(task, config, base) for task in tasks)
    with console.status("simulating, fitting") as status:
        for done, (task, one) in enumerate(zip(tasks, found, strict=True), start=1):
            results.setdefault((task.mechanism, task.rate), []).append(one)
            status.update(
                f"{done} of {len(tasks)}: world {task.seed}, {task.mechanism} {task.rate:g}"
            )
    return results


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    for name in (
        "seeds", "series", "days", "rounds", "sample_rows", "excess_series", "boot", "jobs",
    ):  # fmt: skip
        if config[name] < 1:
            option = name.replace("_", "-")
            raise CivstatsError(f"--{option} must be 1 or more, but got {config[name]}")
    for rate in config["rates"]:
        check_share("rate", rate, closed=False)
    unknown = [x for x in config["mechanisms"] if x not in MECHANISMS]
    if unknown or not config["mechanisms"] or not config["rates"]:
        raise CivstatsError(
            f"--mechanisms must be some of {'; '.join(MECHANISMS)}, but got "
            f"{'; '.join(unknown) or 'none'}; --rates needs one too"
        )
    if config["data"] == "m5" and config["path"] is None:
        raise CivstatsError("--data m5 needs --path: the Kaggle zip or the unzipped folder")


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from civstats.study import Study, fingerprint

    check(config)
    study = Study(out, config)
    base, excess = None, None
    if config["data"] == "m5":
        from detection_excess import sample_stores, survey

        with study.stage("load"):
            base = sample_stores(config, config["store"], config["series"])
            study.facts["data_fingerprint"] = fingerprint(base)
        with study.stage("m5 itself"), console.status("what M5 itself shows"):
            excess = survey(config)
    with study.stage("fits"):
        results = work(config, base)
    with study.stage("report"):
        publish(results, excess, config, study)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def publish(
    results: dict[tuple[str, float], list[Found]],
    excess: Excess | None,
    config: dict,
    study: Study,
) -> None:
    """Write everything the study leaves, once all of it is known."""
    from detection_report import Shown, build
    from detection_tables import facts_frame, frames

    from civstats._csv import write_csv

    scores, curves, reliability = frames(results, config["boot"])
    shown = Shown(scores, curves, reliability, facts_frame(results), excess)
    report = build(shown, config, study.stages)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_csv(scores, study.folder / "scores.csv")
    write_csv(curves, study.folder / "curves.csv")
    write_csv(reliability, study.folder / "reliability.csv")
    if excess is not None:
        write_csv(excess.departments, study.folder / "excess.csv")
    report.write(study.folder)


def _words(text: str, mark: str = ",") -> list[str]:
    return [word.strip() for word in text.split(mark) if word.strip()]


def _rates(text: str) -> list[float]:
    try:
        return [float(word) / 100 for word in _words(text)]
    except ValueError:
        raise CivstatsError(f"rates must be numbers in percent, but got {text!r}") from None


@app.command()
def main(
    data: Annotated[
        Source, typer.Option(help="Whose demand the stockouts cut.")
    ] = Source.synthetic,
    path: Annotated[Path | None, typer.Option(help="M5: the Kaggle zip or folder.")] = None,
    store: Annotated[str, typer.Option(help="M5: store whose sales are cut.")] = "CA_1",
    series: Annotated[int, typer.Option(help="Series of a world; of M5 a random sample.")] = 60,
    days: Annotated[int, typer.Option(help="Days of a world; of M5 the last.")] = 540,
    mechanisms: Annotated[
        str, typer.Option(help="How stockouts come about, separated by semicolons.")
    ] = "; ".join(MECHANISMS),
    rates: Annotated[
        str, typer.Option(help="Days with a stockout in percent, comma-separated.")
    ] = "5,15",
    seeds: Annotated[int, typer.Option(help="Worlds (of M5: draws of stockouts).")] = 3,
    seed: Annotated[int, typer.Option(help="First of the seeds.")] = 0,
    sample_rows: Annotated[
        int, typer.Option(help="Days of a department that parameters are estimated from.")
    ] = 5000,
    rounds: Annotated[int, typer.Option(help="Rounds of the filter's fit at most.")] = 2,
    excess_series: Annotated[
        int, typer.Option(help="M5 itself: series sampled, of the store and of all stores.")
    ] = 800,
    excess_days: Annotated[int, typer.Option(help="M5 itself: last days.")] = 800,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 500,
    jobs: Annotated[int, typer.Option(help="Processes.")] = 1,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/detection"),
) -> None:
    """Detect simulated stockouts with the flags withheld; ask M5 how often it looks out of stock."""
    try:
        config = {
            "data": data.value,
            "path": None if path is None else str(path),
            "store": store,
            "series": series,
            "days": days,
            "mechanisms": _words(mechanisms, ";"),
            "rates": _rates(rates),
            "seeds": seeds,
            "seed": seed,
            "sample_rows": sample_rows,
            "rounds": rounds,
            "excess_series": excess_series,
            "excess_days": excess_days,
            "boot": boot,
            "jobs": jobs,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
