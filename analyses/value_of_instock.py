"""What is being in stock worth: from a panel to scores, a ranking and a report.

Run ``python analyses/value_of_instock.py --help``; every option has a default.
"""

from __future__ import annotations

import os

# Before any OpenMP library is loaded: threads that spin while they wait make a busy machine crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from value_inputs import check, check_panel, fit_for, load, with_stockouts

from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from value_pricing import Results

    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _words(name: str, text: str | None) -> list[str] | None:
    """Split a comma-separated option."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise CivstatsError(f"--{name} {text!r} names nothing; leave it out or name at least one")
    return words


def _numbers(text: str) -> list[float]:
    """Read a comma-separated option of numbers."""
    try:
        return [float(word) for word in _words("level", text) or []]
    except ValueError:
        raise CivstatsError(f"level must hold numbers in percent, but got {text!r}") from None


def _number(name: str, text: str) -> float:
    """Read an option that must be a number."""
    try:
        return float(text)
    except ValueError:
        raise CivstatsError(f"--{name} must be a number, but got {text!r}") from None


NOT_PASSED = 3
"""Exit code of a study that rests on a posterior that fails its gates."""


def _number_or_word(text: str) -> float | str:
    """Read a number, or leave a column's name as it is."""
    try:
        return float(text)
    except ValueError:
        return text


def run(config: dict, out: Path) -> list[str]:
    """Run the study and write its folder; return what posteriors do not pass."""
    from value_gates import failures
    from value_models import make_models
    from value_pricing import price_levers
    from value_scoring import backtest_and_score, score_one_step

    from civstats.study import Study, fingerprint

    check(config)
    models = make_models(config)
    study = Study(out, config)
    with study.stage("load"), console.status("Loading the panel"):
        panel = load(config)
    with study.stage("stockouts"), console.status("Stockouts"):
        panel = with_stockouts(panel, config)
        check_panel(panel, config)
        models = fit_for(panel, models, config)
        study.facts["data_fingerprint"] = fingerprint(panel)
    backtest, scores = backtest_and_score(panel, models, config, study)
    with study.stage("one step ahead"):
        one_step = score_one_step(panel, models, config)
    with study.stage("value"), console.status("Pricing the levers"):
        results = price_levers(panel, backtest, scores, one_step, config)
    with study.stage("report"), console.status("Writing the report"):
        publish(results, config, study)
    # What ran, with the defaults that only the data could settle.
    study.config = dict(config)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")
    return [
        f"{name}, fitted up to {cut:%d %b %Y}: {text}"
        for (name, cut), text in failures(backtest).items()
    ]


def publish(results: Results, config: dict, study: Study) -> None:
    """Write everything the study leaves, once all of it is known."""
    from value_files import write_tables
    from value_report import build

    from civstats._csv import write_csv

    report = build(results, config, study.stages)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_csv(results.scores, study.folder / "scores.csv")
    if results.one_step.scores is not None:
        write_csv(results.one_step.scores, study.folder / "scores_one_step.csv")
    write_tables(results, study.folder)
    study.save_parquet(results.backtest.frame, "forecasts.parquet")
    report.write(study.folder)


@app.command()
def main(
    data: Annotated[
        str, typer.Option(help="Where the panel comes from: synthetic, m5 or file.")
    ] = "synthetic",
    path: Annotated[
        Path | None, typer.Option(help="M5: the Kaggle zip or folder. file: csv or parquet.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Stores, comma-separated.")] = None,
    department: Annotated[str | None, typer.Option(help="Departments, comma-separated.")] = None,
    series: Annotated[
        int | None, typer.Option(help="Number of series: the best sellers; synthetic: how many.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(help="Days of history to keep; synthetic: to make (730).")
    ] = None,
    mechanism: Annotated[
        str | None,
        typer.Option(
            help="random, promotion, inventory, part_day, or none for a panel with flags."
        ),
    ] = None,
    rate: Annotated[float, typer.Option(help="Share of days with a simulated stockout.")] = 0.15,
    models: Annotated[
        str | None,
        typer.Option(
            help="Models, comma-separated, or all. By default one of each family on the embedded panel, "
            "else the quick ones."
        ),
    ] = None,
    treatment: Annotated[
        str,
        typer.Option(help="ignore, mask, censor, comma-separated; all: what each model honours."),
    ] = "all",
    h: Annotated[int, typer.Option(help="Days ahead.")] = 28,
    windows: Annotated[int, typer.Option(help="Backtest windows.")] = 3,
    one_step: Annotated[
        int,
        typer.Option(help="Last days that are forecast one day ahead too; 0 leaves that out."),
    ] = 28,
    level: Annotated[
        str, typer.Option(help="Interval levels in percent, comma-separated.")
    ] = "80,95",
    lever: Annotated[
        str, typer.Option(help="averted, gone, service_level or replenishment (needs stock).")
    ] = "averted",
    share: Annotated[
        float, typer.Option(help="Strength of the lever, in [0, 1]; the level of service_level.")
    ] = 0.2,
    lead_time: Annotated[
        int, typer.Option(help="Days within which orders arrive under faster replenishment.")
    ] = 1,
    availability: Annotated[
        str,
        typer.Option(
            help="chain: outages from flags; shelf: stock walked along demand; auto: shelf if it fits."
        ),
    ] = "auto",
    past: Annotated[int, typer.Option(help="Last days before the cutoff whose loss is told.")] = 91,
    margin: Annotated[
        str, typer.Option(help="Margin as a share of the price, or the column that holds it.")
    ] = "0.2",
    margin_sd: Annotated[float, typer.Option(help="How far the margin may be off (sd).")] = 0.0,
    recapture: Annotated[
        str,
        typer.Option(
            help="Share of lost units that customers buy after all, or estimate: from the panel."
        ),
    ] = "0.5",
    recapture_sd: Annotated[float, typer.Option(help="How far that share may be off (sd).")] = 0.2,
    cost: Annotated[
        float | None, typer.Option(help="Cost of the lever in money, per series that it changes.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="Sign before money; $ for synthetic and m5, none for file.")
    ] = None,
    rank_with: Annotated[
        str | None, typer.Option(help="Forecast to price with, such as LightGBM_mask.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Size of the top; 50, or a quarter of fewer than 200.")
    ] = None,
    paths: Annotated[
        int | None, typer.Option(help="Joint sample paths; 1,000 for synthetic, else 500.")
    ] = None,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates of the scores.")] = 500,
    jobs: Annotated[int, typer.Option(help="Processes for the backtest.")] = 2,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
    allow_failed_gates: Annotated[
        bool,
        typer.Option("--allow-failed-gates", help="Succeed with a stamp where a posterior fails."),
    ] = False,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path(
        "reports/value_of_instock"
    ),
) -> None:
    """Forecast demand under stockouts, score it honestly, and rank what being in stock is worth."""
    try:
        config = {
            "data": data,
            "path": None if path is None else str(path),
            "store": _words("store", store),
            "department": _words("department", department),
            "series": series,
            "days": days,
            "mechanism": mechanism,
            "rate": rate,
            "models": _words("models", models),
            "treatment": _words("treatment", treatment),
            "h": h,
            "windows": windows,
            "one_step": one_step,
            "level": _numbers(level),
            "lever": lever,
            "share": share,
            "lead_time": lead_time,
            "availability": availability,
            "past": past,
            "margin": _number_or_word(margin),
            "margin_sd": margin_sd,
            "recapture": recapture if recapture == "estimate" else _number("recapture", recapture),
            "recapture_sd": recapture_sd,
            "cost": cost,
            "currency": ("" if data == "file" else "$") if currency is None else currency,
            "rank_with": rank_with,
            "top": top,
            "paths": (1000 if data == "synthetic" else 500) if paths is None else paths,
            "boot": boot,
            "jobs": jobs,
            "seed": seed,
        }
        failed = run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None
    if failed and not allow_failed_gates:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        typer.echo(
            f"error: {failed[0]}{more} The report is stamped; --allow-failed-gates goes on with it.",
            err=True,
        )
        raise typer.Exit(NOT_PASSED)


if __name__ == "__main__":
    app()
