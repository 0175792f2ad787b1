"""Panel and model of `posterior_review.py`, from its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from civstats.schema import CENSORED, DS, ID, CivstatsError, check_share, check_treatment

if TYPE_CHECKING:
    from civstats.models.bayes import BayesDemand

FAMILIES = ("negbin", "poisson", "zero_inflated_negbin", "normal")
DEFAULTS = {
    "synthetic": {"series": 40, "days": 365, "rate": 0.3},
    "m5": {"series": 60, "days": 365, "rate": 0.15},
}
"""Sizes that sample in minutes; every one of them is an option."""
LEAST_DRAWS = 100


def check(config: dict) -> None:
    """Refuse wrong arguments before any data is read."""
    check_treatment(config["treatment"])
    if config["family"] not in FAMILIES:
        raise CivstatsError(
            f"--family must be one of {', '.join(FAMILIES)}, but got {config['family']!r}"
        )
    floors = {
        "series": 2, "days": 28, "draws": 50, "tune": 50, "chains": 1, "checked": 50, "rows": 100,
        "boot": 50, "seed": 0,
    }  # fmt: skip
    for name, least in floors.items():
        if config[name] < least:
            raise CivstatsError(f"--{name} must be {least} or more, but got {config[name]}")
    if config["draws"] * config["chains"] < LEAST_DRAWS:
        raise CivstatsError(
            f"--draws x --chains must be {LEAST_DRAWS} or more, which the checks of the posterior "
            f"need, but is {config['draws'] * config['chains']}"
        )
    if config["rate"]:
        check_share("rate", config["rate"], closed=False)
    if config["data"] == "m5" and config["path"] is None:
        raise CivstatsError("--data m5 needs --path: the Kaggle zip or the unzipped folder")


def load(config: dict) -> pd.DataFrame:
    """Load the panel, and cut it by simulated stockouts where asked for."""
    from civstats.stockouts.simulate import simulate_stockouts

    if config["data"] == "synthetic":
        from civstats.data.synthetic import make_panel

        panel = make_panel(
            n_series=config["series"], n_days=config["days"], n_departments=3, n_stores=2,
            seed=config["seed"],
        )  # fmt: skip
    else:
        from civstats.data.m5 import load_m5

        panel = load_m5(
            config["path"], stores=[config["store"]], departments=[config["dept"]],
            top=config["series"], last_days=config["days"],
        )  # fmt: skip
    if config["rate"] and CENSORED not in panel.columns:
        panel = simulate_stockouts(
            panel, mechanism=config["mechanism"], rate=config["rate"], seed=config["seed"]
        )
    return panel


def build_model(config: dict) -> BayesDemand:
    """Return the model, unfitted."""
    from civstats.models.bayes import BayesDemand

    return BayesDemand(
        treatment=config["treatment"],
        family=config["family"],
        drift="week" if config["drift"] else None,
        draws=config["draws"],
        tune=config["tune"],
        chains=config["chains"],
        target_accept=config["target_accept"],
        sampler=config["sampler"],
        seed=config["seed"],
    )


def described(panel: pd.DataFrame, config: dict) -> str:
    """Say what was modelled, for the subtitle."""
    what = (
        "synthetic panel"
        if config["data"] == "synthetic"
        else f"M5 {config['store']} {config['dept']}"
    )
    return (
        f"{what}, {panel[ID].nunique()} series, {panel[DS].nunique()} days, {config['family']}, "
        f"stockout days: {config['treatment']}"
    )
