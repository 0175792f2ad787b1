"""What each treatment of stockouts does to DeepAR: bias, accuracy and coverage of true demand.

Run ``python analyses/deepar_ablation.py --help``; every option has a default.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from deepar_worlds import MECHANISMS
from rich.console import Console

from civstats.schema import CivstatsError, check_h

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_LEAST = {
    "series": 0, "seeds": 1, "days": 60, "windows": 1, "steps": 1, "threads": 1, "trees": 0,
    "hidden_size": 1, "input_size": 7, "batch_size": 1, "boot": 100,
}  # fmt: skip


class Source(StrEnum):
    """Whose demand is forecast."""

    synthetic = "synthetic"
    m5 = "m5"


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    check_h(config["h"])
    for name, least in _LEAST.items():
        if config[name] < least:
            option = name.replace("_", "-")
            raise CivstatsError(f"--{option} must be {least} or more, but got {config[name]}")
    if config["data"] == "synthetic" and config["series"] < 2:
        raise CivstatsError("--series must be 2 or more, as the figure shows two of them")
    if not 0 < config["rate"] < 1:
        raise CivstatsError(f"--rate must be between 0 and 1, but got {config['rate']}")
    if config["days"] <= config["input_size"] + 2 * config["h"]:
        raise CivstatsError(
            f"--days must be more than the window and two horizons, "
            f"{config['input_size'] + 2 * config['h']}, but got {config['days']}"
        )
    unknown = [m for m in config["mechanisms"] if m not in MECHANISMS]
    if unknown or not config["mechanisms"]:
        raise CivstatsError(
            f"--mechanisms must be some of {', '.join(MECHANISMS)}, but got "
            f"{', '.join(unknown) or 'none'}"
        )
    if config["data"] == "m5" and config["path"] is None:
        raise CivstatsError("--data m5 needs --path: the Kaggle zip or the unzipped folder")


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from deepar_fits import forecast, rows
    from deepar_report import World, build, examples
    from deepar_scores import score
    from deepar_worlds import worlds

    from civstats._csv import write_csv
    from civstats.study import Study, fingerprint

    check(config)
    study = Study(out, config)
    found: list[World] = []
    seconds: list[pd.DataFrame] = []
    shown = rows(config)
    held: dict = {}
    seed = None
    for number, world in enumerate(worlds(config)):
        if world.seed != seed:
            held, seed = {}, world.seed
        with study.stage(f"{world.name}: models"), console.status("") as status:
            made = forecast(world, config, held, _teller(status))
        trained = [row for row in shown if row.label not in made.left_out]
        with study.stage(f"{world.name}: scores"):
            scores = score(world, made, trained, config)
        pictures = examples(world, made, config)
        found.append(
            World(
                world.name, world.mechanism, world.panel, scores, pictures, trained, made.left_out
            )
        )
        times = pd.DataFrame({"column": list(made.seconds), "seconds": list(made.seconds.values())})
        seconds.append(times.assign(world=world.name))
        study.facts[f"data_fingerprint_{number}"] = fingerprint(world.panel)
        study.folder.mkdir(parents=True, exist_ok=True)
        study.save_parquet(made.frame.assign(world=world.name), f"forecasts_{number}.parquet")
        # After each world, so that a long study that is stopped leaves what it has.
        for name in ("scores", "gaps", "pairs"):
            table = pd.concat([getattr(w.scores, name) for w in found], ignore_index=True)
            write_csv(table, study.folder / f"{name}.csv")
    with study.stage("report"):
        report = build(found, shown, pd.concat(seconds, ignore_index=True), config, study.stages)
        write_csv(pd.concat(seconds, ignore_index=True), study.folder / "seconds.csv")
        report.write(study.folder)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def _teller(status):  # type: ignore[no-untyped-def]
    def say(text: str) -> None:
        if console.is_terminal:
            status.update(text)
        else:
            console.print(text)

    return say


@app.command()
def main(
    data: Annotated[Source, typer.Option(help="Whose demand.")] = Source.synthetic,
    path: Annotated[Path | None, typer.Option(help="M5: Kaggle zip or folder.")] = None,
    store: Annotated[str, typer.Option(help="M5: store.")] = "CA_1",
    department: Annotated[str, typer.Option(help="M5: department.")] = "FOODS_3",
    mechanisms: Annotated[
        str, typer.Option(help="Synthetic: how stockouts come about, comma-separated.")
    ] = ",".join(MECHANISMS),
    rate: Annotated[
        float | None, typer.Option(help="Share of stockout days; 0.3, of M5 0.15.")
    ] = None,
    series: Annotated[
        int | None, typer.Option(help="Series; 500, of M5 all; 0: all of M5.")
    ] = None,
    days: Annotated[int, typer.Option(help="Days before the first cutoff.")] = 730,
    h: Annotated[int, typer.Option(help="Days ahead.")] = 28,
    windows: Annotated[int, typer.Option(help="Windows of that length.")] = 3,
    seeds: Annotated[int, typer.Option(help="Synthetic: worlds of each mechanism.")] = 1,
    seed: Annotated[int, typer.Option(help="First of the seeds.")] = 0,
    steps: Annotated[int, typer.Option(help="DeepAR: most steps of training.")] = 400,
    hidden_size: Annotated[int, typer.Option(help="DeepAR: size of the LSTM.")] = 40,
    input_size: Annotated[int, typer.Option(help="DeepAR: days that it reads.")] = 56,
    batch_size: Annotated[int, typer.Option(help="DeepAR: windows per step.")] = 256,
    trees: Annotated[int, typer.Option(help="LightGBM: trees; 0: its default.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch and LightGBM.")] = 2,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 500,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path(
        "reports/deepar_ablation"
    ),
) -> None:
    """Train DeepAR under every treatment of stockouts, beside LightGBM and those who know demand."""
    real = data == Source.m5
    config = {
        "data": data.value,
        "path": None if path is None else str(path),
        "store": store,
        "department": department,
        "mechanisms": [word.strip() for word in mechanisms.split(",") if word.strip()],
        "rate": (0.15 if real else 0.3) if rate is None else rate,
        "series": (0 if real else 500) if series is None else series,
        "days": days,
        "h": h,
        "windows": windows,
        "seeds": seeds,
        "seed": seed,
        "steps": steps,
        "hidden_size": hidden_size,
        "input_size": input_size,
        "batch_size": batch_size,
        "trees": trees,
        "threads": threads,
        "boot": boot,
    }
    try:
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
