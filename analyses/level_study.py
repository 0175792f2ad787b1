"""The demand filter as a forecaster against the baselines, and what stockouts on top cost it.

Run ``python analyses/level_study.py --help``; every option has a default.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from level_runs import MODELS, load
from level_runs import run as run_models
from rich.console import Console

from civstats.schema import CivstatsError, check_h, check_share

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Source(StrEnum):
    """Whose sales are forecast."""

    synthetic = "synthetic"
    m5 = "m5"


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    check_h(config["h"])
    for name in ("series", "days"):
        if config[name] is not None and config[name] < 1:
            raise CivstatsError(f"--{name} must be 1 or more, but got {config[name]}")
    for name in ("windows", "sample_rows", "threads"):
        if config[name] < 1:
            option = name.replace("_", "-")
            raise CivstatsError(f"--{option} must be 1 or more, but got {config[name]}")
    for name in ("etsseries", "boot", "trees"):
        if config[name] < 0:
            raise CivstatsError(f"--{name} must be 0 or more, but got {config[name]}")
    if config["rate"]:
        check_share("rate", config["rate"], closed=False)
    unknown = [m for m in config["models"] if m not in MODELS]
    if unknown or "LocalLevel" not in config["models"] or len(config["models"]) < 2:
        raise CivstatsError(
            f"--models must be LocalLevel and some of {', '.join(MODELS[1:])}, but got "
            f"{', '.join(config['models']) or 'none'}"
        )


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from level_report import build

    from civstats._csv import write_csv
    from civstats.study import Study, fingerprint

    check(config)
    study = Study(out, config)
    with study.stage("load"):
        panel = load(config)
        study.facts["data_fingerprint"] = fingerprint(panel)
    with study.stage("forecasts and scores"), console.status("") as status:
        found = run_models(config, panel, lambda name: status.update(name))
    study.facts |= {"seconds": found.seconds} | found.facts
    with study.stage("report"):
        report = build(found, panel, config, study.stages)
        study.folder.mkdir(parents=True, exist_ok=True)
        write_csv(found.scores, study.folder / "scores.csv")
        write_csv(found.differences, study.folder / "differences.csv")
        study.save_parquet(found.forecasts, "forecasts.parquet")
        if len(found.sample):
            study.save_parquet(found.sample, "forecasts_sample.parquet")
        if len(found.stocked_out):
            study.save_parquet(found.stocked_out, "forecasts_stockouts.parquet")
        report.write(study.folder)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@app.command()
def main(
    data: Annotated[Source, typer.Option(help="Whose sales are forecast.")] = Source.synthetic,
    path: Annotated[Path | None, typer.Option(help="M5: the Kaggle zip or folder.")] = None,
    store: Annotated[str, typer.Option(help="M5: stores, comma-separated.")] = "CA_1",
    series: Annotated[
        int | None, typer.Option(help="Series, drawn at random; M5: all, synthetic: 40.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Last days; M5: all, synthetic: 500.")] = None,
    h: Annotated[int, typer.Option(help="Days ahead.")] = 28,
    windows: Annotated[int, typer.Option(help="Windows, one after the other.")] = 3,
    models: Annotated[str, typer.Option(help="Models, comma-separated.")] = ",".join(MODELS),
    etsseries: Annotated[
        int, typer.Option(help="Series that AutoETS is run on, drawn at random; 0: none.")
    ] = 400,
    rate: Annotated[
        float, typer.Option(help="Days with a stockout on top in percent; 0: none.")
    ] = 15.0,
    sample_rows: Annotated[
        int, typer.Option(help="LocalLevel: days of a department behind what is shared.")
    ] = 20_000,
    trees: Annotated[int, typer.Option(help="LightGBM: trees; 0: its default.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of LocalLevel and LightGBM.")] = 2,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 500,
    seed: Annotated[int, typer.Option(help="Of samples, stockouts and bootstrap.")] = 0,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/level_study"),
) -> None:
    """Compare the local level with statsforecast's baselines and LightGBM on M5's own scores."""
    try:
        config = {
            "data": data.value,
            "path": None if path is None else str(path),
            "store": _words(store),
            "series": series,
            "days": days,
            "h": h,
            "windows": windows,
            "models": _words(models),
            "etsseries": etsseries,
            "rate": rate / 100,
            "sample_rows": sample_rows,
            "trees": trees,
            "threads": threads,
            "boot": boot,
            "seed": seed,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
