"""The fits of `value_study.py`: demand and shelves drawn jointly, levers valued, held against the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from value_study_worlds import (
    AVERTED,
    FASTER,
    GONE,
    LOST,
    LOST_ALL,
    MARGIN,
    SHARE,
    WANTED,
    Case,
    draw_case,
    price_of,
    short_of,
)

from civstats.models.availability import Availability, Shelf
from civstats.schema import CENSORED, DEMAND, DS, ID
from civstats.value import (
    averted,
    gain_between,
    gain_paths,
    gone,
    in_true_top,
    lost_paths,
    portfolio,
    rank_gains,
    top_k_regret,
)
from civstats.value.inputs import price_table
from civstats.value.recapture import DEPT_ID

MODELS = {
    "LocalLevel": ("censor", "ignore", "mask"),
    "LightGBM": ("censor", "ignore", "mask"),
    "BayesDemand": ("censor",),
}
SHELF, CHAIN = "shelf", "chain"
AVAILABILITY = {
    SHELF: "the shelf walked along each path of demand from the stock on record",
    CHAIN: "outages drawn from each series' flags alone",
}
LEVELS = ("series", "department", "portfolio")


@dataclass(frozen=True)
class Task:
    """One model under one treatment, on one world under one rate of stockouts."""

    seed: int
    rate: float
    model: str
    treatment: str

    @property
    def name(self) -> str:
        """Name of the files that keep what the task found."""
        return f"{self.seed:05d}-{1000 * self.rate:03.0f}-{self.model}-{self.treatment}"


@dataclass
class Found:
    """What tasks leave: tables to be put one after the other.

    Attributes
    ----------
    held : pandas.DataFrame
        A row per estimand and series, department or portfolio: truth, band, place in the band.
    top : pandas.DataFrame
        Precision and regret of the top k.
    chances : pandas.DataFrame
        P(in the top k) by series, and whether it was.
    worlds : pandas.DataFrame
        What the worlds are like.
    """

    held: pd.DataFrame = field(default_factory=pd.DataFrame)
    top: pd.DataFrame = field(default_factory=pd.DataFrame)
    chances: pd.DataFrame = field(default_factory=pd.DataFrame)
    worlds: pd.DataFrame = field(default_factory=pd.DataFrame)


PARTS = ("held", "top", "chances", "worlds")


def build_model(name: str, treatment: str, config: dict, seed: int) -> Any:
    """Return an unfitted model of the study."""
    from civstats.models import make_forecaster

    params: dict[str, Any] = {"treatment": treatment, "seed": seed}
    if name == "LocalLevel":
        params |= {
            "parameter_draws": config["parameter_draws"],
            "rounds": config["filter_rounds"],
            "n_jobs": 1,
        }
    elif name == "LightGBM":
        params |= {
            "h": config["h"],
            "n_rounds": config["rounds"],
            "max_rows": config["rows"],
            "calibration_origins": config["origins"],
            "num_threads": 1,
            "params": {"learning_rate": config["learning_rate"]},
        }
    return make_forecaster(name, **params)


def run_task(task: Task, config: dict) -> Found:
    """Draw a task's world, fit its model, and hold what it says against the truth."""
    case = draw_case(task.seed, task.rate, config["series"], config["days"])
    named = {"model": task.model, "treatment": task.treatment}
    model = build_model(task.model, task.treatment, config, task.seed).fit(case.past)
    held, tops, chances = [], [], []
    for estimand, drawn in past_losses(model, task.model, case, config, task.seed):
        held.append(hold(drawn, case, estimand).assign(availability="", estimand=estimand))
    forecast = model.predict(case.known, level=[80], n_paths=config["paths"], seed=task.seed + 1)
    worlds: dict[str, Shelf | Availability] = {SHELF: Shelf().fit(case.past)}
    if task.treatment == "censor":
        worlds[CHAIN] = Availability().fit(case.past)
    for kind, availability in worlds.items():
        for estimand, drawn in levers(forecast.paths, availability, case, task.seed + 2):
            key = {"availability": kind, "estimand": estimand}
            held.append(hold(drawn, case, estimand).assign(**key))
            if estimand in (AVERTED, GONE):
                top, chance = ranked(drawn, case, estimand, config["top"])
                tops.append(top.assign(**key))
                chances.append(chance.assign(**key))
    world = pd.DataFrame(
        {
            "out_past": [case.past[CENSORED].mean()],
            "out_ahead": [case.window[CENSORED].mean()],
            "short_past": [short_of(case.past)],
            "short_ahead": [short_of(case.window)],
            "safety_factor": [case.policy.safety_factor],
            "demand_a_day": [case.window[DEMAND].mean()],
        }
    )
    key = {"seed": task.seed, "rate": task.rate}
    tables = (pd.concat(x, ignore_index=True) for x in (held, tops, chances))
    return Found(*(t.assign(**named, **key) for t in (*tables, world)))


def past_losses(
    model: Any, name: str, case: Case, config: dict, seed: int
) -> Iterator[tuple[str, xr.Dataset]]:
    """Draw what was lost, where the model recovers past demand."""
    if name == "LightGBM" or model.treatment == "ignore":
        return
    if name == "LocalLevel":
        from civstats.demand_filter.recovery import recover

        found = recover(
            case.past,
            model.filter_,
            levels=(),
            n_draws=config["paths"],
            parameter_draws=max(config["parameter_draws"], 1),
            seed=seed,
            n_jobs=1,
        )
    else:
        found = model.recover(n_draws=config["paths"], seed=seed)
    price = price_of(case.past)
    yield LOST, lost_paths(found, price=price, margin=MARGIN, start=case.start)
    yield LOST_ALL, lost_paths(found, price=price, margin=MARGIN)


def levers(
    demand: xr.DataArray, availability: Shelf | Availability, case: Case, seed: int
) -> Iterator[tuple[str, xr.Dataset]]:
    """Draw what every lever gains over the days ahead."""
    price = price_of(case.window)
    if isinstance(availability, Shelf):
        yield WANTED, wanted(demand, price)
        base = availability.paths(demand, future=case.known, seed=seed)
    else:
        base = availability.paths(
            list(demand[ID].to_numpy()),
            pd.DatetimeIndex(demand[DS].to_numpy()),
            demand.sizes["sample"],
            seed,
            demand=demand,
        )
    options = {"price": price, "margin": MARGIN}
    for name, lever in ((AVERTED, averted(SHARE)), (GONE, gone())):
        yield name, gain_paths(demand, base, lever=lever, seed=seed, **options)
    if isinstance(availability, Shelf):
        for name, faster in FASTER.items():
            improved = availability.paths(demand, future=case.known, lever=faster, seed=seed)
            yield name, gain_between(demand, base, improved, name=name, **options)


def wanted(demand: xr.DataArray, price: pd.DataFrame) -> xr.Dataset:
    """Sum demand itself over the days ahead, at the margin of its price."""
    ids = pd.Index(demand[ID].to_numpy(), dtype=object)
    money = price_table(price, ids, pd.Index(demand[DS].to_numpy())) * MARGIN
    values = np.einsum("ist,it->is", demand.to_numpy().astype(float), money)
    return xr.Dataset(
        {"units": demand.sum(DS, dtype=float), "value": ((ID, "sample"), values)},
        attrs={"estimand": "demand"},
    )


def hold(drawn: xr.Dataset, case: Case, estimand: str) -> pd.DataFrame:
    """Hold draws of a sum against its truth, by series, department and in all."""
    ids = pd.Index(drawn[ID].to_numpy(), dtype=object)
    truth = case.truth[estimand]
    true = truth.set_index(truth[ID].astype(object)).reindex(ids).fillna(0.0)
    first = case.past.drop_duplicates(ID)
    dept = first.set_index(first[ID].astype(object))[DEPT_ID].astype(object).reindex(ids)
    rng = np.random.default_rng(len(ids))
    rows = []
    for level, by in zip(LEVELS, (ID, DEPT_ID, None), strict=True):
        told = portfolio(drawn, static=case.past, by=by)
        group = {"series": ids, "department": dept.to_numpy(), "portfolio": ["all"] * len(ids)}
        at = pd.Index(told["group"]).get_indexer(group[level])
        for measure in ("units", "value"):
            sums = np.zeros((len(told), drawn.sizes["sample"]))
            np.add.at(sums, at, drawn[measure].to_numpy())
            came = np.bincount(at, true[measure].to_numpy(float), minlength=len(told))
            lo, hi = (told[f"{measure}_{p}"].to_numpy() for p in ("p10", "p90"))
            # Sums of the same prices in another order differ in the last bits.
            slack = 1e-6 * np.maximum(1.0, np.abs(came))
            below = (sums < (came - slack)[:, None]).mean(axis=1)
            upto = (sums <= (came + slack)[:, None]).mean(axis=1)
            within = (sums >= (lo - 1e-6)[:, None]) & (sums <= (hi + 1e-6)[:, None])
            rows.append(
                pd.DataFrame(
                    {
                        "level": level,
                        "group": told["group"].astype(str),
                        "measure": measure,
                        "truth": came,
                        "mean": told[f"{measure}_mean"].to_numpy(),
                        "sd": sums.std(axis=1),
                        "lo": lo,
                        "hi": hi,
                        "inside": (came >= lo - slack) & (came <= hi + slack),
                        "expected": within.mean(axis=1),
                        "pit": below + rng.random(len(told)) * (upto - below),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def ranked(
    drawn: xr.Dataset, case: Case, estimand: str, k: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold a ranking's top k against the true one, and its chances against what came."""
    ranking, truth = rank_gains(drawn, k=k, static=case.past), case.truth[estimand]
    place = in_true_top(truth, k)
    chance = pd.DataFrame(
        {
            "probability": ranking["prob_top_k"].to_numpy(),
            "outcome": place.reindex(ranking[ID].astype(str)).to_numpy(),
        }
    )
    return top_k_regret(ranking, truth, k), chance
