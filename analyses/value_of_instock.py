"""What is being in stock worth: from a panel to scores, a ranking and a report.

Run ``python analyses/value_of_instock.py --help``; every option has a default.
"""

from __future__ import annotations

import os

# Before any OpenMP library is loaded: threads that spin while they wait make a busy machine crawl.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from civstats.schema import (
    CENSORED,
    DEMAND,
    DS,
    ID,
    IN_STOCK_SHARE,
    PRICE,
    STATIC,
    CivstatsError,
    Y,
    alias,
    check_h,
    check_level,
    check_share,
    check_treatment,
    parse_alias,
    validate_panel,
)

if TYPE_CHECKING:
    import xarray as xr

    from civstats.backtest import Backtest
    from civstats.models import Forecaster
    from civstats.study import Study

console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


SOURCES = ("synthetic", "m5", "file")


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


def load(config: dict) -> pd.DataFrame:
    """Load the panel that the options describe."""
    source, n = config["data"], config["series"]
    stores, departments = config["store"], config["department"]
    if source == "synthetic":
        from civstats.data.synthetic import make_panel

        panel = make_panel(n_series=n or 120, n_days=config["days"] or 730, seed=config["seed"])
        return _choose(panel, stores, departments)
    if config["path"] is None:
        raise CivstatsError(
            f"--data {source} needs --path: "
            + (
                "the Kaggle zip or the unzipped folder"
                if source == "m5"
                else "a csv or parquet file"
            )
        )
    if source == "m5":
        from civstats.data.m5 import load_m5

        return load_m5(
            config["path"], stores=stores, departments=departments, top=n, last_days=config["days"]
        )
    from civstats.data.files import read_panel

    panel = _choose(read_panel(config["path"]), stores, departments)
    if n is not None:
        totals = panel.groupby(ID, observed=True)["y"].sum().sort_values(ascending=False)
        panel = panel[panel[ID].isin(totals.index[:n])]
    if config["days"]:
        panel = panel[panel[DS] > panel[DS].max() - pd.Timedelta(days=config["days"])]
    return validate_panel(panel)


def _choose(
    panel: pd.DataFrame, stores: list[str] | None, departments: list[str] | None
) -> pd.DataFrame:
    """Keep the stores and departments asked for."""
    for column, wanted in (("store_id", stores), ("dept_id", departments)):
        if wanted is None:
            continue
        if column not in panel.columns:
            raise CivstatsError(f"the panel has no {column} to choose by; drop the option")
        there = list(panel[column].cat.categories)
        unknown = [x for x in wanted if x not in there]
        if unknown:
            raise CivstatsError(
                f"unknown {column} {', '.join(unknown)}; there are {', '.join(there)}"
            )
        panel = panel[panel[column].isin(wanted)]
    if panel.empty:
        raise CivstatsError("no series in those stores and departments; widen the choice")
    return validate_panel(panel)


def with_stockouts(panel: pd.DataFrame, config: dict) -> pd.DataFrame:
    """Simulate stockouts; a panel that carries real flags goes through untouched."""
    flagged = CENSORED in panel.columns or IN_STOCK_SHARE in panel.columns
    mechanism = config["mechanism"] or ("none" if flagged else "inventory")
    config["mechanism"] = mechanism
    if mechanism == "none":
        config["rate"] = None
        if not flagged:
            raise CivstatsError(
                "the panel has no stockout flags (is_censored or in_stock_share), so in-stock days are "
                "unknown and nothing can be valued; name a --mechanism to simulate them"
            )
        return panel
    from civstats.stockouts.simulate import simulate_stockouts

    return simulate_stockouts(panel, mechanism=mechanism, rate=config["rate"], seed=config["seed"])


def make_models(config: dict) -> list[Forecaster]:
    """Build every model under every treatment asked for; refuse what a model cannot honour."""
    import inspect

    from civstats.models import make_forecaster, registry

    known = registry()
    names = config["models"] or list(registry(cost="fast"))
    if names == ["all"]:
        names = list(known)
    built = []
    for name in names:
        offered = known[name].treatments if name in known else ()
        treatments = list(offered) if config["treatment"] == ["all"] else config["treatment"]
        takes = inspect.signature(known[name]).parameters if name in known else ()
        given = {k: config[k] for k in ("h", "seed") if k in takes}
        built += [make_forecaster(name, treatment=t, **given) for t in treatments or ["ignore"]]
    if config["rank_with"] is not None:
        _check_choice(
            "--rank-with", config["rank_with"], [alias(m.name, m.treatment) for m in built]
        )
    return built


def _check_choice(option: str, value: str | None, known: Sequence[str]) -> None:
    if value not in known:
        raise CivstatsError(f"unknown {option} {value!r}; there are {', '.join(known)}")


def check_panel(panel: pd.DataFrame, config: dict) -> None:
    """Refuse, before any model is fitted, a panel whose days to come cannot be priced."""
    if PRICE not in panel.columns:
        raise CivstatsError(
            f"the panel has no {PRICE}, so units cannot be turned into money; add it"
        )
    last = panel[panel[DS] > panel[DS].max() - pd.Timedelta(days=config["h"])]
    missing = last[PRICE].isna()
    if missing.any():
        row = last[missing].iloc[0]
        raise CivstatsError(
            f"{int(missing.sum())} row(s) of the last {config['h']} days have no {PRICE}, first "
            f"{row[ID]} on {row[DS].date()}: units cannot be turned into money; fill it"
        )
    for column in STATIC:
        if column in panel.columns and panel[column].isna().any():
            n = panel.loc[panel[column].isna(), ID].nunique()
            raise CivstatsError(f"{n} series have no {column}; fill it or drop the column")


def fit_for(panel: pd.DataFrame, models: list[Forecaster], config: dict) -> list[Forecaster]:
    """Leave out what the sales cannot be: fractional sales have no count likelihood."""
    y = panel[Y].to_numpy()
    fractional = bool((y != np.rint(y)).any())
    config["left_out"] = []
    if config["treatment"] != ["all"] or not fractional:
        return models
    config["left_out"] = [alias(m.name, m.treatment) for m in models if m.treatment == "censor"]
    return [m for m in models if m.treatment != "censor"]


def decision_model(backtest: Backtest, asked: str | None) -> str:
    """Choose whose paths are priced: the one asked for, or LightGBM under its best treatment.

    "Best" is fixed beforehand (censor before mask before ignore) and not by any score: the truth
    that could choose is not there on real data, and in-stock scores favour the wrong treatment.
    """
    with_paths = [a for a, f in backtest.forecasts.items() if f.paths is not None]
    if asked is not None:
        _check_choice("--rank-with", asked, with_paths)
        return asked
    order = {"censor": 0, "mask": 1, "ignore": 2}
    return min(with_paths, key=lambda a: ("LightGBM" not in a, order[parse_alias(a)[1]]))


@dataclass(frozen=True)
class Results:
    """What a run found, for the report."""

    panel: pd.DataFrame
    backtest: Backtest
    scores: pd.DataFrame
    ranking: pd.DataFrame
    totals: dict[str, pd.DataFrame]
    gains: xr.Dataset
    chosen: str
    truth: pd.DataFrame | None
    by_treatment: pd.DataFrame | None


def price_lever(
    panel: pd.DataFrame, backtest: Backtest, scores: pd.DataFrame, config: dict
) -> Results:
    """Price the lever on the last window, from joint paths of demand and availability."""
    from civstats.models.availability import Availability
    from civstats.value import gain_paths, portfolio, rank_gains, true_gain

    cutoff = backtest.cutoffs[-1]
    chosen = decision_model(backtest, config["rank_with"])
    paths = backtest.forecasts[chosen].paths
    ids, days = paths[ID].to_numpy(), pd.DatetimeIndex(paths[DS].to_numpy())
    window = panel[(panel[DS] > cutoff) & panel[ID].isin(ids)]
    draws = (
        Availability()
        .fit(panel[panel[DS] <= cutoff])
        .paths(ids, days, n_paths=paths.sizes["sample"], seed=config["seed"], demand=paths)
    )

    def gains_of(name: str) -> xr.Dataset:
        return gain_paths(
            backtest.forecasts[name].paths,
            draws,
            price=window[[ID, DS, PRICE]],
            margin=config["margin"],
            lever=config["lever"],
            share=config["share"],
            seed=config["seed"],
        )

    config["top"] = min(config["top"] or max(1, min(50, len(ids) // 4)), len(ids))
    gains = gains_of(chosen)
    ranking = rank_gains(gains, k=config["top"], static=window)
    totals = {"all": portfolio(gains)}
    for column in ("dept_id", "store_id"):
        if (
            column in window.columns
            and len(window[column].cat.remove_unused_categories().cat.categories) > 1
        ):
            totals[column] = portfolio(gains, static=window, by=column)
    truth = by_treatment = None
    if DEMAND in window.columns:
        truth = true_gain(window, config["share"], margin=config["margin"])
        rows = []
        for name, forecast in backtest.forecasts.items():
            if forecast.paths is not None:
                found = gains if name == chosen else gains_of(name)
                rows.append(_against_truth(name, found, truth, config["top"]))
        by_treatment = pd.DataFrame(rows)
    return Results(panel, backtest, scores, ranking, totals, gains, chosen, truth, by_treatment)


def _against_truth(name: str, gains: xr.Dataset, truth: pd.DataFrame, k: int) -> dict:
    """Hold a forecast's valuation against what the lever would have gained in the simulation."""
    from civstats.value import portfolio, rank_gains

    total = portfolio(gains).iloc[0]
    gained = truth.set_index(truth[ID].astype(str))["value"]
    order = rank_gains(gains, k=k)[ID].astype(str)
    model, treatment = parse_alias(name)
    best = gained.sort_values(ascending=False).iloc[:k].sum()
    return {
        "model": model,
        "treatment": treatment,
        "value_mean": total["value_mean"],
        "value_p10": total["value_p10"],
        "value_p90": total["value_p90"],
        "value_true": gained.sum(),
        "error": total["value_mean"] / gained.sum() - 1 if gained.sum() > 0 else np.nan,
        "captured_top_k": gained.loc[order.iloc[:k]].sum() / best if best > 0 else np.nan,
    }


def check(config: dict) -> None:
    """Refuse wrong arguments before any data is read."""
    check_h(config["h"])
    check_level(config["level"])
    _check_choice("--data", config["data"], SOURCES)
    floors = {"paths": 50, "boot": 100, "top": 1, "series": 1, "days": 1, "jobs": 1, "seed": 0}
    for name, least in floors.items():
        value = config[name]
        if value is not None and value < least:
            raise CivstatsError(f"--{name} must be {least} or more, but got {value}")
    if config["windows"] < 1:
        raise CivstatsError(f"n_windows must be 1 or more, but got {config['windows']}")
    check_share("rate", config["rate"], closed=False)
    check_share("share", config["share"])
    check_share("margin", config["margin"])
    for treatment in config["treatment"]:
        if treatment != "all":
            check_treatment(treatment)
    from civstats.stockouts.simulate import MECHANISMS
    from civstats.value import LEVERS

    for name, value, known in (
        ("--mechanism", config["mechanism"], [*MECHANISMS, "none", None]),
        ("--lever", config["lever"], list(LEVERS)),
    ):
        if value is not None:
            _check_choice(name, value, [x for x in known if x])


def run(config: dict, out: Path) -> None:
    """Run the study and write its folder."""
    from civstats.backtest import cross_validation
    from civstats.evaluation import evaluate
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
    with study.stage("backtest"):
        backtest = cross_validation(
            panel,
            models,
            h=config["h"],
            n_windows=config["windows"],
            level=config["level"],
            n_paths=config["paths"],
            seed=config["seed"],
            n_jobs=config["jobs"],
        )
    with study.stage("evaluate"), console.status("Scoring"):
        scores = evaluate(
            backtest.frame,
            panel,
            level=config["level"],
            n_boot=config["boot"],
            block=7,
            seed=config["seed"],
            predictive=backtest.all_forecasts.values(),
        )
    with study.stage("value"), console.status("Pricing the lever"):
        results = price_lever(panel, backtest, scores, config)
    with study.stage("report"), console.status("Writing the report"):
        publish(results, config, study)
    # What ran, with the defaults that only the data could settle.
    study.config = dict(config)
    study.save_manifest()
    console.print(f"Report: {out / 'report.html'}")


def publish(results: Results, config: dict, study: Study) -> None:
    """Write everything the study leaves, once all of it is known."""
    from value_report import build

    from civstats._csv import write_csv

    report = build(results, config, study.stages)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_csv(results.scores, study.folder / "scores.csv")
    write_csv(results.ranking, study.folder / "ranking.csv")
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
        str | None, typer.Option(help="Models, comma-separated, or all; the quick ones by default.")
    ] = None,
    treatment: Annotated[
        str,
        typer.Option(help="ignore, mask, censor, comma-separated; all: what each model honours."),
    ] = "all",
    h: Annotated[int, typer.Option(help="Days ahead.")] = 28,
    windows: Annotated[int, typer.Option(help="Backtest windows.")] = 3,
    level: Annotated[
        str, typer.Option(help="Interval levels in percent, comma-separated.")
    ] = "80,95",
    lever: Annotated[str, typer.Option(help="What is changed about availability.")] = "averted",
    share: Annotated[float, typer.Option(help="Strength of the lever, in [0, 1].")] = 0.2,
    margin: Annotated[float, typer.Option(help="Margin as a share of the price.")] = 0.2,
    currency: Annotated[
        str | None, typer.Option(help="Sign before money; $ for synthetic and m5, none for file.")
    ] = None,
    rank_with: Annotated[
        str | None, typer.Option(help="Forecast to price with, such as LightGBM_mask.")
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Size of the top; 50, or a quarter of fewer series.")
    ] = None,
    paths: Annotated[int, typer.Option(help="Joint sample paths.")] = 500,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates of the scores.")] = 500,
    jobs: Annotated[int, typer.Option(help="Processes for the backtest.")] = 2,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
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
            "level": _numbers(level),
            "lever": lever,
            "share": share,
            "margin": margin,
            "currency": ("" if data == "file" else "$") if currency is None else currency,
            "rank_with": rank_with,
            "top": top,
            "paths": paths,
            "boot": boot,
            "jobs": jobs,
            "seed": seed,
        }
        run(config, out)
    except (CivstatsError, OSError) as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
