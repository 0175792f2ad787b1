"""The worlds of `score_study.py`: demand whose distribution is known at every cutoff, and its stockouts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from civstats.data.synthetic import World, WorldParameters, make_world
from civstats.evaluation.distributions import NegBinRows
from civstats.schema import CENSORED, DEMAND, DEMAND_MEAN, STOCK, Y, validate_panel
from civstats.stockouts.simulate import InventoryPolicy, simulate_stockouts

PLENTY = 1e6
"""Units that could be sold on a day without a limit: a shelf that never empties."""
_CALM, _NODES = 0.2, (3, 7)


@dataclass(frozen=True)
class Setting:
    """One way in which demand and stockouts come about.

    Attributes
    ----------
    mechanism : str
        Of `civstats.stockouts.simulate`.
    rate : float
        Share of days with a stockout.
    world : dict
        What differs from the default `WorldParameters`.
    options : dict
        Of the mechanism.
    text : str
        For the report.
    """

    mechanism: str
    rate: float
    text: str
    world: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


_RESTLESS = {"level_sd": 0.1, "base_median": 3.0, "base_sd": 0.7}
SETTINGS = {
    "random": Setting(
        "random",
        0.15,
        "whole days out of stock, drawn independently of demand; other days have plenty",
    ),
    "promotion": Setting(
        "promotion",
        0.15,
        "whole days out, or a cap, more likely on days that promise high demand; other days have "
        "plenty",
    ),
    "inventory": Setting(
        "inventory",
        0.15,
        "an order-up-to policy that knows past sales only, reviewed every one or two days, "
        "delivered after two to four",
    ),
    "slow orders": Setting(
        "inventory",
        0.30,
        "the same policy, reviewed every 14 days and delivered after 7, with demand that drifts "
        "fast: a daily standard deviation of 0.1 of the log level instead of 0.02",
        _RESTLESS,
        {"policy": InventoryPolicy(review_period=14, lead_time=7)},
    ),
}


@dataclass(frozen=True)
class Draw:
    """One drawn world, days in columns.

    Attributes
    ----------
    known, level : numpy.ndarray, shape (n_series, n_days)
        Log of the demand mean: the part known ahead (base, calendar, prices), and the drift.
    dispersion : numpy.ndarray, shape (n_series,)
    step_sd, shock_sd : float
        Standard deviation of the drift's daily step, of the shock that a store's series share.
    panel : pandas.DataFrame
        With its stockouts, `stock` filled on days with plenty; sorted by series and day.
    first : int
        First scored day; all later ones are scored.
    """

    known: np.ndarray
    level: np.ndarray
    dispersion: np.ndarray
    step_sd: float
    shock_sd: float
    panel: pd.DataFrame
    first: int

    @property
    def scored(self) -> np.ndarray:
        """Numbers of the scored days."""
        return np.arange(self.first, self.known.shape[1])

    def column(self, name: str) -> np.ndarray:
        """Return a panel column on the scored days, series by series, shape (n,), float64."""
        values = self.panel[name].to_numpy(dtype=float).reshape(self.known.shape)
        return values[:, self.first :].ravel()

    def truth(self, h: int) -> NegBinRows:
        """Return the law of demand on the scored days given everything up to `h` days before.

        The drift of h days and the day's shock are not known: negative binomials mixed over a
        normal on the log scale, by Gauss-Hermite quadrature.

        Returns
        -------
        NegBinRows
            Rows as in :meth:`column`.
        """
        sd = float(np.sqrt(h * self.step_sd**2 + self.shock_sd**2))
        z, weight = np.polynomial.hermite_e.hermegauss(_NODES[sd >= _CALM])
        days = self.scored
        centre = (self.known[:, days] + self.level[:, days - h]).reshape(-1, 1)
        mean = np.exp(centre + sd * z)
        size = np.broadcast_to(np.repeat(self.dispersion, len(days))[:, None], mean.shape)
        return NegBinRows(np.broadcast_to(weight / weight.sum(), mean.shape), mean, size)


def draw(
    setting: Setting, *, n_series: int, warm_up: int, n_scored: int, farthest: int, seed: int
) -> Draw:
    """Draw a world and cut its demand by stockouts.

    Parameters
    ----------
    setting : Setting
    n_series, n_scored : int
    warm_up : int
        Days in which the policy learns; no forecast looks back into them but for its cutoff.
    farthest : int
        Largest number of days ahead: as many days come before the first scored one.
    seed : int
    """
    world = WorldParameters(**{"launch_share": 0.0, **setting.world})
    # One stream per part of a world: the same seed draws the same world without drift or shocks.
    calm, still = replace(world, shock_sd=0.0), replace(world, shock_sd=0.0, level_sd=0.0)
    # After the panel's end the drift is a free random walk; before it, it is centred.
    sizes = {"n_series": n_series, "n_days": warm_up, "horizon": farthest + n_scored - 1}
    drawn, without, known = (
        make_world(**sizes, seed=seed, parameters=p) for p in (world, calm, still)
    )
    log_known, log_level = _log_mean(known, n_series), _log_mean(without, n_series)
    later = pd.concat([drawn.future, drawn.outcome[[Y, DEMAND, DEMAND_MEAN]]], axis=1)
    demand = pd.concat([drawn.panel, later[drawn.panel.columns]], ignore_index=True)
    panel = simulate_stockouts(
        validate_panel(demand),
        mechanism=setting.mechanism,
        rate=setting.rate,
        seed=seed,
        **setting.options,
    )
    panel = panel.assign(**{STOCK: panel[STOCK].fillna(PLENTY).astype("float32")})
    n_days = log_known.shape[1]
    departments = drawn.panel["dept_id"].to_numpy().reshape(n_series, warm_up)[:, 0]
    return Draw(
        known=log_known,
        level=log_level - log_known,
        dispersion=drawn.departments["dispersion"].loc[departments].to_numpy(dtype=float),
        step_sd=world.level_sd,
        shock_sd=world.shock_sd,
        panel=panel,
        first=n_days - n_scored,
    )


def _log_mean(world: World, n_series: int) -> np.ndarray:
    parts = (
        frame[DEMAND_MEAN].to_numpy(dtype=float).reshape(n_series, -1)
        for frame in (world.panel, world.outcome)
    )
    return np.log(np.hstack(list(parts)))


def outcomes(drawn: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return sales, demand, stock and stockout flags of the scored days, each of shape (n,)."""
    y, demand, stock = (drawn.column(c) for c in (Y, DEMAND, STOCK))
    return y, demand, stock, drawn.column(CENSORED) > 0
