"""Simulated stockouts with known truth: a panel of demand in, a panel of censored sales out."""

from civstats.stockouts.simulate.mechanisms import MECHANISMS, Mechanism, simulate_stockouts
from civstats.stockouts.simulate.policy import (
    InventoryPolicy,
    PolicyRun,
    calibrate_policy,
    run_policy,
)
from civstats.stockouts.simulate.recapture import Recapture

__all__ = [
    "MECHANISMS",
    "InventoryPolicy",
    "Mechanism",
    "PolicyRun",
    "Recapture",
    "calibrate_policy",
    "run_policy",
    "simulate_stockouts",
]
