"""Panel, stockouts and models of `value_of_instock.py`, from its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.schema import (
    CENSORED,
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
    validate_panel,
)

if TYPE_CHECKING:
    from civstats.models import Forecaster

SOURCES = ("synthetic", "m5", "file")


def check(config: dict) -> None:
    """Refuse wrong arguments before any data is read."""
    check_h(config["h"])
    check_level(config["level"])
    check_choice("--data", config["data"], SOURCES)
    floors = {
        "paths": 50,
        "boot": 100,
        "top": 1,
        "series": 1,
        "days": 1,
        "jobs": 1,
        "seed": 0,
        "one_step": 0,
        "past": 1,
        "lead_time": 1,
    }
    for name, least in floors.items():
        value = config[name]
        if value is not None and value < least:
            raise CivstatsError(
                f"--{name.replace('_', '-')} must be {least} or more, but got {value}"
            )
    if config["windows"] < 1:
        raise CivstatsError(f"n_windows must be 1 or more, but got {config['windows']}")
    check_share("rate", config["rate"], closed=False)
    check_share("share", config["share"])
    check_worth(config)
    for treatment in config["treatment"]:
        if treatment != "all":
            check_treatment(treatment)
    from civstats.stockouts.simulate import MECHANISMS
    from civstats.value import LEVERS

    for name, value, known in (
        ("--mechanism", config["mechanism"], [*MECHANISMS, "none", None]),
        ("--lever", config["lever"], [*LEVERS, "replenishment"]),
        ("--availability", config["availability"], ["auto", "chain", "shelf"]),
    ):
        if value is not None:
            check_choice(name, value, [x for x in known if x])


def check_worth(config: dict) -> None:
    """Refuse a margin, recapture or cost that cannot be."""
    from civstats.value import MarginPrior, RecapturePrior

    if not isinstance(config["margin"], str):
        check_share("margin", config["margin"])
    MarginPrior(0.5, config["margin_sd"])
    if config["recapture"] not in ("estimate", 0, 1):
        RecapturePrior(config["recapture"], config["recapture_sd"])
    cost = config["cost"]
    if cost is not None and not 0 <= cost < np.inf:
        raise CivstatsError(f"--cost must be money, 0 or more, but got {cost}")


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


def check_choice(option: str, value: str | None, known: Sequence[str]) -> None:
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
    margin = config["margin"]
    if isinstance(margin, str):
        if margin not in panel.columns:
            raise CivstatsError(
                f"--margin {margin!r} is neither a number nor a column of the panel"
            )
        each = panel.groupby(ID, observed=True)[margin].agg(["min", "max"])
        constant = (each["min"] == each["max"]).all() and panel[margin].notna().all()
        if not (constant and each["min"].between(0, 1).all()):
            raise CivstatsError(
                f"column {margin!r} must hold one margin per series, a share of the price in [0, 1]"
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
