"""M5's official scores of the models at hand: WRMSSE and WSPL over the twelve levels.

Run ``python analyses/m5_scores.py --help``; every option has a default.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console

from civstats.evaluation.m5 import KEYS, M5Scorer
from civstats.report import Report
from civstats.schema import (
    DS,
    ID,
    PRICE,
    SCORES,
    STATIC,
    CivstatsError,
    Y,
    check_h,
    validate_panel,
)

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
MODELS = ("SeasonalNaive", "SeasonalWindowAverage")
MOST = 6
"""Models that a figure can tell apart."""
NAMES = {"wrmsse": "WRMSSE", "wspl": "WSPL"}
PUBLISHED = pd.DataFrame(
    [
        ("winner", 0.520, 0.154),
        ("best benchmark", 0.671, 0.205),
        ("seasonal naive", 0.847, float("nan")),
    ],
    columns=["on days 1942 to 1969", "WRMSSE", "WSPL"],
)
"""Makridakis, Spiliotis and Assimakopoulos (2022); Makridakis et al. (2022)."""


class Source(StrEnum):
    """Whose sales are forecast."""

    synthetic = "synthetic"
    m5 = "m5"


@dataclass(frozen=True)
class Found:
    """What the study found."""

    scores: pd.DataFrame
    forecasts: pd.DataFrame
    seconds: dict[str, float]
    scorer: M5Scorer


def load(config: dict) -> pd.DataFrame:
    """Load the panel."""
    if config["data"] == "m5":
        if config["path"] is None:
            raise CivstatsError("--data m5 needs --path: the Kaggle zip or the unzipped folder")
        from civstats.data.m5 import load_m5

        panel = load_m5(config["path"], stores=config["stores"] or None)
        if not config["covariates"]:
            panel = panel[[ID, DS, Y, PRICE, *STATIC]]
        return panel
    from civstats.data.synthetic import make_panel

    panel = make_panel(n_series=40, n_days=300, seed=config["seed"])
    return validate_panel(panel.drop(columns=["demand", "demand_mean"]))


def score(panel: pd.DataFrame, config: dict, say: Console) -> Found:
    """Forecast the last days of the panel with every model, and score it."""
    from civstats.backtest import cross_validation
    from civstats.models import make_forecaster

    cutoff = panel[DS].max() - pd.Timedelta(days=config["h"])
    scorer = M5Scorer(panel, cutoff, h=config["h"])
    scores: list[pd.DataFrame] = []
    frames: list[pd.DataFrame] = []
    seconds: dict[str, float] = {}
    for name in config["models"]:
        start = time.perf_counter()
        done = cross_validation(
            panel,
            make_forecaster(name, treatment="ignore"),
            h=config["h"],
            n_windows=1,
            n_paths=config["paths"],
            seed=config["seed"],
            progress=False,
        )
        (column,) = done.models
        seconds[name] = time.perf_counter() - start
        frames.append(done.frame if not frames else done.frame[[column]])
        scores.append(scorer.wrmsse(done.frame))
        paths = done.forecasts[column].paths
        if paths is not None:
            scores.append(scorer.wspl_from_paths(paths, column))
        say.print(f"{name}: {seconds[name]:.0f} s")
    found = pd.concat(scores, ignore_index=True)
    return Found(found, pd.concat(frames, axis=1), seconds, scorer)


def build(found: Found, config: dict, stages: dict) -> Report:
    """Write the document."""
    scorer = found.scorer
    report = Report(
        "M5's official scores",
        f"{scorer.hierarchy.sizes[12]:,} series, {scorer.days[0]:%d %b} to "
        f"{scorer.days[-1]:%d %b %Y}",
    )
    report.section("Question")
    report.text(
        "How do the models do on the competition's own terms? **WRMSSE** is the RMSSE of the means, "
        "**WSPL** the scaled pinball loss of nine quantiles; both weigh series by dollar sales over "
        "the last 28 days of training, and average twelve levels of aggregation. Forecasts are of "
        "the lowest level and summed: the means for WRMSSE, joint paths, path by path, for WSPL."
    )
    if scorer.caveat:
        report.callout(f"{scorer.caveat[0].upper()}{scorer.caveat[1:]}.", "warning")
    report.section("Scores")
    from civstats.plots.m5_levels import m5_levels

    shown = list(dict.fromkeys(found.scores["model"]))[:MOST]
    report.figure(
        m5_levels(found.scores[found.scores["model"].isin(shown)], _levels()),
        "scores_by_level",
        "Scores at each level of aggregation, and their mean. At 1 on the left, errors are as large as "
        "the series' own day-to-day changes. Who leads at sums of many series need not lead at single ones.",
    )
    for metric, title in NAMES.items():
        rows = found.scores[found.scores["metric"] == metric]
        if len(rows):
            report.table(_wide(rows), f"{title} by level; lower is better.", name=metric)
    report.text("All rows are in [scores.csv](scores.csv).")
    if config["data"] == "m5":
        _beside(report)
    report.section("Limits")
    report.text(
        f"- One window of {config['h']} days, without an interval: no difference between two models "
        "here is shown to be more than chance.\n"
        f"- WSPL rests on {config['paths']} joint paths; its outermost quantiles are 0.5 and 99.5 %.\n"
        "- What is scored are sales, stockouts and all."
    )
    report.section("How this was run")
    timed = pd.DataFrame({"step": list(found.seconds), "seconds": list(found.seconds.values())})
    report.table(timed, "Fitting and predicting.", formats={"seconds": ".1f"}, name="seconds")
    spent = pd.DataFrame(stages).T.rename_axis("stage").reset_index()
    report.table(spent, "Time and peak memory of the stages.", name="stages")
    return report


def _beside(report: Report) -> None:
    report.section("Beside the published figures")
    report.text(
        "The competition was decided on days 1942 to 1969, which the public files do not hold. "
        "Scores of other days have other weights and other sales: these figures give the "
        "neighbourhood, not a rank."
    )
    report.table(PUBLISHED, "As published.", name="published", missing="not at hand")


def _levels() -> dict[int, str]:
    """Name what each level aggregates to."""
    return {k: " x ".join(c.removesuffix("_id") for c in v) or "total" for k, v in KEYS.items()}


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Lay scores out by level, a column per model."""
    table = rows.pivot_table(index="m5_level", columns="model", values="value", sort=False)
    by = _levels()
    table.insert(0, "series", rows.drop_duplicates("m5_level").set_index("m5_level")["n"])
    labels = [f"{k}: {by[k]}" if k else "mean of the levels" for k in table.index]
    return table.set_axis(labels).rename_axis("level").reset_index()


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from civstats._csv import write_csv
    from civstats.models import registry
    from civstats.study import Study, fingerprint

    check_h(config["h"])
    if config["paths"] < 0:
        raise CivstatsError(f"--paths must be 0 or more, but got {config['paths']}")
    unknown = sorted(set(config["models"]) - set(registry()))
    if unknown or not config["models"]:
        raise CivstatsError(
            f"--models: {', '.join(unknown) or 'none'} unknown; there are {', '.join(registry())}"
        )
    study = Study(out, config)
    with study.stage("load"):
        panel = load(config)
        study.facts["data_fingerprint"] = fingerprint(panel)
    with study.stage("forecasts and scores"):
        found = score(panel, config, console)
    study.facts |= {"seconds": found.seconds, "caveat": found.scorer.caveat}
    with study.stage("report"):
        report = build(found, config, study.stages)
        study.folder.mkdir(parents=True, exist_ok=True)
        write_csv(found.scores[[*SCORES, "m5_level"]], study.folder / "scores.csv")
        study.save_parquet(found.forecasts, "forecasts.parquet")
        report.write(study.folder)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


@app.command()
def main(
    data: Annotated[Source, typer.Option(help="Whose sales are forecast.")] = Source.synthetic,
    path: Annotated[Path | None, typer.Option(help="M5: the Kaggle zip or folder.")] = None,
    stores: Annotated[str, typer.Option(help="M5: stores, comma-separated; none: all.")] = "",
    models: Annotated[str, typer.Option(help="Models, comma-separated.")] = ",".join(MODELS),
    h: Annotated[int, typer.Option(help="Days ahead, the last of the file.")] = 28,
    paths: Annotated[int, typer.Option(help="Joint paths behind WSPL; 0: no WSPL.")] = 200,
    covariates: Annotated[
        bool, typer.Option(help="M5: keep events and SNAP for models that use them.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of paths and synthetic sales.")] = 0,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/m5_scores"),
) -> None:
    """Score models on M5's own terms: WRMSSE and WSPL over twelve levels of aggregation."""
    try:
        config = {
            "data": data.value,
            "path": None if path is None else str(path),
            "stores": _words(stores),
            "models": _words(models),
            "h": h,
            "paths": paths,
            "covariates": covariates,
            "seed": seed,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
