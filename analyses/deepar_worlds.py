"""The panels of `deepar_ablation.py`: synthetic worlds whose law of demand is known, or M5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from score_cells import LEVEL, make
from score_worlds import PLENTY, SETTINGS, Draw, Setting, draw

from civstats.evaluation.distributions import NegBinRows
from civstats.schema import (
    CUTOFF,
    DEMAND,
    DEMAND_MEAN,
    DS,
    ID,
    OUTCOMES,
    STOCK,
    CivstatsError,
    Forecast,
    Y,
    alias,
    quantile_column,
    quantiles_of_levels,
    validate_panel,
)
from civstats.stockouts.simulate import simulate_stockouts

MECHANISMS = ("random", "promotion", "inventory")
TRUTH = "True distribution"
_NODES = 7
_KNOWN = (Y, DEMAND, DEMAND_MEAN)


@dataclass(frozen=True)
class World:
    """A panel with stockouts; its last windows are forecast.

    Attributes
    ----------
    name, mechanism : str
    seed : int
    panel : pandas.DataFrame
        With ``demand``; of M5, that is its sales before the stockouts were laid on them.
    drawn : Draw or None
        What the demand of a synthetic world was drawn from.
    """

    name: str
    mechanism: str
    seed: int
    panel: pd.DataFrame
    drawn: Draw | None = None


def worlds(config: dict) -> Iterator[World]:
    """Make the panels one by one, those of a seed after each other: they share their demand."""
    if config["data"] == "m5":
        yield _m5(config)
        return
    for seed in range(config["seed"], config["seed"] + config["seeds"]):
        for mechanism in config["mechanisms"]:
            name = mechanism if config["seeds"] == 1 else f"{mechanism}, world {seed}"
            yield synthetic(mechanism, name, seed, config)


def synthetic(mechanism: str, name: str, seed: int, config: dict) -> World:
    """Draw a world and cut its demand."""
    setting = Setting(mechanism, config["rate"], SETTINGS[mechanism].text)
    drawn = draw(
        setting,
        n_series=config["series"],
        warm_up=config["days"],
        n_scored=config["h"] * config["windows"],
        farthest=1,
        seed=seed,
    )
    # Shelves that never empty have no stock on record, as in a shop's books.
    stock = drawn.panel[STOCK].where(drawn.panel[STOCK] < PLENTY)
    return World(name, mechanism, seed, drawn.panel.assign(**{STOCK: stock}), drawn)


def _m5(config: dict) -> World:
    from civstats.data.m5 import load_m5

    if config["path"] is None:
        raise CivstatsError("--data m5 needs --path: the Kaggle zip or the unzipped folder")
    days = config["days"] + config["h"] * config["windows"]
    sales = load_m5(
        config["path"],
        stores=[config["store"]],
        departments=[config["department"]],
        top=config["series"] or None,
        last_days=days,
    )
    panel = simulate_stockouts(
        sales, mechanism="inventory", rate=config["rate"], seed=config["seed"]
    )
    name = f"{config['store']} {config['department']}, inventory"
    return World(name, "inventory", config["seed"], panel)


def on_demand(panel: pd.DataFrame) -> pd.DataFrame:
    """Return the panel of a shop that never ran out: sales are demand."""
    demand = panel[DEMAND].astype(panel[Y].dtype)
    kept = panel.drop(columns=[c for c in OUTCOMES if c in panel.columns and c not in _KNOWN])
    return validate_panel(kept.assign(**{Y: demand}))


def cutoffs(panel: pd.DataFrame, h: int, windows: int) -> list[pd.Timestamp]:
    """Return the last days that each window knows."""
    last = pd.Timestamp(panel[DS].max())
    return [last - pd.Timedelta(days=h * k) for k in range(windows, 0, -1)]


def truth(world: World, h: int, windows: int) -> list[Forecast]:
    """Return the law of demand given everything up to each cutoff, a forecast a window.

    A day `k` after the cutoff is a negative binomial mixed over `k` steps of the drift and the
    day's shock, which nobody knows; coefficients, calendar and dispersion are known. Marginals
    only: the drift and shocks that days and series share are in no joint path.
    """
    assert world.drawn is not None
    drawn, panel = world.drawn, world.panel
    n_series, n_days = drawn.known.shape
    ids = panel[ID].to_numpy().reshape(n_series, n_days)[:, 0]
    dates = panel[DS].to_numpy().reshape(n_series, n_days)[0]
    z, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    name = alias(TRUTH, "ignore")
    out = []
    for k in range(windows, 0, -1):
        first = n_days - h * k
        ahead = np.arange(1, h + 1)
        sd = np.sqrt(ahead * drawn.step_sd**2 + drawn.shock_sd**2)
        centre = drawn.known[:, first : first + h] + drawn.level[:, [first - 1]]
        mean = np.exp(centre[:, :, None] + sd[:, None] * z).reshape(-1, _NODES)
        size = np.broadcast_to(np.repeat(drawn.dispersion, h)[:, None], mean.shape)
        law = NegBinRows(np.broadcast_to(weight / weight.sum(), mean.shape), mean, size)
        made = make(law)
        keys = pd.DataFrame(
            {
                ID: pd.Categorical(np.repeat(ids, h), categories=panel[ID].cat.categories),
                DS: np.tile(dates[first : first + h], n_series),
            }
        )
        frame = keys.assign(**{CUTOFF: pd.Timestamp(dates[first - 1]), name: made.mean})
        parts = (made.lo, made.median, made.hi)
        for p, values in zip(quantiles_of_levels([LEVEL]), parts, strict=True):
            frame[quantile_column(name, p)] = values
        marginal = keys.loc[keys.index.repeat(_NODES)].reset_index(drop=True)
        marginal = marginal.assign(
            family="negbin", mean=mean.ravel(), dispersion=size.ravel(), weight=law.weight.ravel()
        )
        out.append(Forecast(frame, TRUTH, "ignore", (LEVEL,), None, marginal))
    return out
