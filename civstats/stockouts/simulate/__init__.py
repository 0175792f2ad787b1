"""Simulated stockouts with known truth: a panel of demand in, a panel of censored sales out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from civstats.schema import (
    CENSORED,
    DEMAND,
    IN_STOCK_SHARE,
    STOCK,
    CivstatsError,
    PanelError,
    check_share,
    validate_panel,
)
from civstats.stockouts.simulate.layout import true_demand
from civstats.stockouts.simulate.mechanisms import MECHANISMS, Mechanism
from civstats.stockouts.simulate.policy import (
    InventoryPolicy,
    PolicyChange,
    PolicyRun,
    calibrate_policy,
    run_policy,
)
from civstats.stockouts.simulate.recapture import Recapture

__all__ = [
    "MECHANISMS",
    "InventoryPolicy",
    "Mechanism",
    "PolicyChange",
    "PolicyRun",
    "Recapture",
    "calibrate_policy",
    "run_policy",
    "simulate_stockouts",
]

_ON_RECORD = (CENSORED, IN_STOCK_SHARE, STOCK)


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
        If the mechanism or an option is unknown, or the rate is out of reach on this panel.

    Examples
    --------
    >>> days = pd.date_range("2024-01-01", periods=200)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": 3})
    >>> out = simulate_stockouts(panel, mechanism="random", rate=0.05, seed=1)
    >>> float(out.loc[out["is_censored"], "y"].sum())
    0.0
    """
    if mechanism not in MECHANISMS:
        raise CivstatsError(
            f"mechanism must be one of {', '.join(MECHANISMS)}, but got {mechanism!r}"
        )
    run = MECHANISMS[mechanism].run
    known = list(run.__kwdefaults__ or ())
    unknown = [k for k in options if k not in known]
    if unknown:
        raise CivstatsError(
            f"mechanism {mechanism} has no option {', '.join(unknown)}; it takes {', '.join(known)}"
        )
    check_share("rate", rate, closed=False)
    carried = [c for c in _ON_RECORD if c in getattr(panel, "columns", ())]
    if carried:
        raise PanelError(
            f"the panel carries {', '.join(carried)}: its stockouts are on record; use it as it is, "
            "without simulation, or drop the column(s) to simulate on top of its sales"
        )
    frame = validate_panel(panel, freq=freq)
    demand = true_demand(frame)
    columns = run(
        frame, rate=float(rate), rng=np.random.default_rng(seed), recapture=recapture, **options
    )
    # Whole columns are replaced, never written into.
    for name, values in {DEMAND: demand, **columns}.items():
        frame[name] = values
    return validate_panel(frame, freq=freq, copy=False)
