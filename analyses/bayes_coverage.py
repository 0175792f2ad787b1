"""Mean demand and lost units of the Bayesian model against worlds whose demand is known.

Run ``python analyses/bayes_coverage.py --help``; every option has a default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from bayes_coverage_work import run_replications
from rich.console import Console

from civstats.report import Report
from civstats.schema import CivstatsError

BIAS, POINTS = 0.02, 0.03
"""Limits: of the mean demand's bias, and of coverage against the model's own expectation."""
EVIDENCE = 0.05
console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def check(config: dict) -> None:
    """Refuse wrong arguments before any work."""
    least = {"replicates": 1, "series": 12, "days": 60, "draws": 50, "tune": 50, "chains": 1}
    for name, value in (least | {"recovered": 20, "jobs": 1}).items():
        if config[name] < value:
            raise CivstatsError(f"--{name} must be {value} or more, but got {config[name]}")
    if config["recovered"] > config["draws"] * config["chains"]:
        raise CivstatsError(
            f"--recovered must be at most --draws x --chains, {config['draws'] * config['chains']}, "
            f"but got {config['recovered']}"
        )
    if not 0 < config["rate"] < 1:
        raise CivstatsError(f"--rate must lie in (0, 1), but got {config['rate']!r}")


def verdicts(found: pd.DataFrame) -> pd.DataFrame:
    """Return what was asked, what was found, and whether it holds.

    The number of totals inside their intervals is held against the middle 95 % of what that many
    draws of a coin of 0.8 give: 12 to 19 of 20.
    """
    from scipy import stats

    n = len(found)
    few, many = (int(v) for v in stats.binom.interval(1 - EVIDENCE, n, 0.8))
    bias = float(found["bias"].mean())
    apart = float((found["covered"] - found["expected"]).mean())
    randomised = float(found["randomised"].mean()) - 0.8
    inside = int(found["lost_inside"].sum())
    rows = [
        ("bias of mean demand", f"within {BIAS:.0%}", f"{bias:+.2%}", abs(bias) < BIAS),
        (
            "80 % intervals of lost units by series and month: coverage less the model's own",
            f"within {100 * POINTS:.0f} points", f"{100 * apart:+.1f} points", abs(apart) <= POINTS,
        ),
        (
            "the same by ranks, ties broken at random: coverage less 80 %",
            f"within {100 * POINTS:.0f} points", f"{100 * randomised:+.1f} points",
            abs(randomised) <= POINTS,
        ),
        (
            "replications whose total of lost units lies in its 80 % interval",
            f"{few} to {many} of {n}", f"{inside} of {n}", few <= inside <= many,
        ),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["question", "asked", "found", "holds"])


def _spread(values: pd.Series) -> str:
    if len(values) < 2:
        return "one replication: no standard error"
    return f"standard error {100 * values.std(ddof=1) / np.sqrt(len(values)):.2f} points"


def build(found: pd.DataFrame, config: dict, stages: dict) -> Report:
    """Write the document."""
    table = verdicts(found)
    held = int(table["holds"].sum())
    report = Report(
        "Does the Bayesian model recover what stockouts hid?",
        f"{len(found)} replications of {config['series']} series x {config['days']} days",
    )
    apart = found["covered"] - found["expected"]
    report.facts(
        {
            "Questions that hold": f"{held} of {len(table)}",
            "Bias of mean demand": (table["found"][0], _spread(found["bias"])),
            "Coverage less expected": (table["found"][1], _spread(apart)),
            "Totals inside": (table["found"][3], f"asked: {table['asked'][3]}"),
        }
    )
    report.section("Answers")
    report.table(table, "What was asked and what was found.", name="answers")
    low = int((found["rhat"] > 1.01).sum())
    report.text(
        f"A synthetic retail world per replication, an inventory policy that is out of stock on "
        f"{config['rate']:.0%} of days, treatment `censor`. Bias: posterior mean demand of all days, in "
        "stock or out, against known demand. Lost units are whole numbers: an interval of a few units "
        "holds more than 80 %, so that its coverage is held against the share of other draws of the "
        f"model that it holds (here {found['expected'].mean():.1%}), and by randomised ranks against "
        "80 %.\n\n"
        f"**Draws**: {config['chains']} chain(s) of {config['draws']} after {config['tune']} steps of "
        f"warm-up, fewer than a study that is reported needs: R-hat is above 1.01 somewhere in {low} of "
        f"{len(found)} fits (highest {found['rhat'].max():.3f}, least ESS {found['ess'].min():.0f}, "
        f"divergences {int(found['divergences'].sum())}). Intervals of so few draws are noisy.\n\n"
        "The world holds what the model leaves out: shocks that all items of a store share on a day. "
        "Every item is sold from the first day, so that one compiled model serves all replications."
    )
    report.section("Replications")
    report.table(
        found.drop(columns=["cpu_s"]),
        "Every replication.",
        name="replications",
        max_rows=60,
        formats={"bias": ".4f", "covered": ".3f", "expected": ".3f", "randomised": ".3f",
                 "rhat": ".3f", "lost_mean": ".0f", "ess": ".0f", "stockout_days": ".3f"},
    )  # fmt: skip
    report.section("How this was run")
    report.text(
        f"{found['cpu_s'].mean():.0f} CPU seconds a fit; stages: "
        + ", ".join(f"{k} {v['seconds']:.0f} s" for k, v in stages.items())
        + ". Numbers are in [replications.csv](replications.csv), configuration and versions in "
        "[manifest.json](manifest.json)."
    )
    return report


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder; replications that lie there are not run again."""
    from civstats._csv import write_csv
    from civstats.study import Study

    check(config)
    study = Study(out, config)
    with study.stage("replications"), console.status("fitting") as status:
        found = run_replications(
            config, out / "parts", lambda k: status.update(f"{k} of {config['replicates']}")
        )
    with study.stage("report"):
        report = build(found, config, study.stages)
        study.folder.mkdir(parents=True, exist_ok=True)
        write_csv(found, study.folder / "replications.csv")
        write_csv(verdicts(found), study.folder / "answers.csv")
        report.write(study.folder)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


@app.command()
def main(
    replicates: Annotated[int, typer.Option(help="Worlds.")] = 20,
    series: Annotated[int, typer.Option(help="Series of a world.")] = 150,
    days: Annotated[int, typer.Option(help="Days.")] = 365,
    rate: Annotated[float, typer.Option(help="Share of stockout days.")] = 0.3,
    draws: Annotated[int, typer.Option(help="Draws of a chain.")] = 150,
    tune: Annotated[int, typer.Option(help="Warm-up of a chain.")] = 200,
    chains: Annotated[int, typer.Option(help="Chains.")] = 2,
    recovered: Annotated[int, typer.Option(help="Joint draws of lost units.")] = 300,
    jobs: Annotated[int, typer.Option(help="Chains at a time.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the first world.")] = 0,
    out: Annotated[Path, typer.Option(help="The study's folder.")] = Path("reports/bayes_coverage"),
) -> None:
    """Hold mean demand and intervals of lost units against known demand, world by world."""
    try:
        config = {
            "replicates": replicates, "series": series, "days": days, "rate": rate, "draws": draws,
            "tune": tune, "chains": chains, "recovered": recovered, "jobs": jobs, "seed": seed,
        }  # fmt: skip
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
