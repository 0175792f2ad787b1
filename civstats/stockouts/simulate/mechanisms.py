"""The table of mechanisms, and the one door through which a panel gets simulated stockouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from civstats.schema import (
    CENSORED,
    DEMAND,
    IN_STOCK_SHARE,
    RECAPTURED,
    STOCK,
    CivstatsError,
    PanelError,
    Y,
    check_share,
    series_index,
    validate_panel,
)
from civstats.stockouts.simulate.outages import check_run_length, days_out, random_order
from civstats.stockouts.simulate.policy import InventoryPolicy, Shop, true_demand
from civstats.stockouts.simulate.recapture import Recapture

_FLAGS = (CENSORED, IN_STOCK_SHARE, STOCK)


@dataclass(frozen=True)
class Mechanism:
    """How stockouts come about.

    Attributes
    ----------
    run : callable
        ``run(panel, *, rate, rng, recapture, **options)`` -> dict of new columns, ``y`` and flags.
    description : str
        One line for a report.
    """

    run: Callable[..., dict[str, np.ndarray]]
    description: str


def simulate_stockouts(
    panel: pd.DataFrame,
    *,
    mechanism: str,
    rate: float,
    seed: int | np.random.Generator,
    recapture: Recapture | None = None,
    freq: str = "D",
    **options: Any,
) -> pd.DataFrame:
    """Cut a panel's demand by stockouts of a known mechanism, at a known rate.

    Parameters
    ----------
    panel : pandas.DataFrame
        A panel without flags. Its ``demand`` is what customers want; without that column its
        ``y`` is taken for demand (for M5: "M5 sales before the simulated stockouts").
    mechanism : str
        A name in `MECHANISMS`.
    rate : float
        Share of the panel's series-days that are stockout days, in (0, 1), hit within 0.01.
    seed : int or numpy.random.Generator
    recapture : Recapture, optional
        Where lost units go; by default they are lost for good.
    freq : str
        Frequency of the panel.
    **options
        Of the mechanism: see its function in `MECHANISMS`.

    Returns
    -------
    pandas.DataFrame
        A validated panel: the input's columns, ``y`` cut, ``demand`` as it was, ``stock``,
        ``is_censored``; ``in_stock_share`` where outages go by the clock; with `recapture` the
        units each row owes to others' losses, ``recaptured``.

    Raises
    ------
    PanelError
        If the panel breaks the contract or carries stockouts already.
    CivstatsError
        If the mechanism is unknown, or cannot reach the rate on this panel.

    Examples
    --------
    >>> days = pd.date_range("2024-01-01", periods=200)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": 3})
    >>> out = simulate_stockouts(panel, mechanism="random", rate=0.05, seed=1)
    >>> int(out["is_censored"].sum())
    10
    """
    if mechanism not in MECHANISMS:
        raise CivstatsError(
            f"mechanism must be one of {', '.join(MECHANISMS)}, but got {mechanism!r}"
        )
    check_share("rate", rate, closed=False)
    carried = [c for c in _FLAGS if c in getattr(panel, "columns", ())]
    if carried:
        raise PanelError(
            f"the panel carries {', '.join(carried)}: its stockouts are on record; use it as it is, "
            "without simulation, or drop the column(s) to simulate on top of its sales"
        )
    frame = validate_panel(panel, freq=freq)
    demand = true_demand(frame)
    columns = MECHANISMS[mechanism].run(
        frame, rate=float(rate), rng=np.random.default_rng(seed), recapture=recapture, **options
    )
    return validate_panel(frame.assign(**{DEMAND: demand, **columns}), freq=freq)


def _random(
    panel: pd.DataFrame,
    *,
    rate: float,
    rng: np.random.Generator,
    recapture: Recapture | None,
    run_length: float = 1.5,
) -> dict[str, np.ndarray]:
    """Empty whole days regardless of demand; `run_length` is the mean length of an outage."""
    run_length = check_run_length(run_length)
    out = days_out(
        series_index(panel), random_order(panel, rng), rate, run_length, rng, "random"
    )
    stock = np.where(out, np.float32(0), np.float32(np.nan))
    return {Y: np.where(out, np.float32(0), true_demand(panel)), STOCK: stock, CENSORED: out}


def _inventory(
    panel: pd.DataFrame,
    *,
    rate: float,
    rng: np.random.Generator,
    recapture: Recapture | None,
    policy: InventoryPolicy | None = None,
) -> dict[str, np.ndarray]:
    """Order up to a level from past sales; the safety factor of `policy` is chosen for the rate."""
    policy = policy or InventoryPolicy()
    shop = Shop(panel, policy, seed=rng, recapture=recapture)
    run = shop.run(shop.calibrate(policy, rate))
    columns = {Y: run.sales, STOCK: run.stock, CENSORED: run.is_censored}
    if run.recaptured is not None:
        columns[RECAPTURED] = run.recaptured
    return columns


MECHANISMS: dict[str, Mechanism] = {
    "random": Mechanism(_random, "whole days out of stock, independent of demand"),
    "inventory": Mechanism(
        _inventory, "an order-up-to policy that knows past sales only runs dry for days at a time"
    ),
}
