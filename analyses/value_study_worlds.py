"""The worlds of `value_study.py`: a shop with stockouts, and what levers would truly have brought."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from civstats.data.synthetic import make_world
from civstats.models.availability import Replenishment
from civstats.schema import CENSORED, DEMAND, DS, ID, OUTCOMES, PRICE, STOCK, Y, validate_panel
from civstats.stockouts.simulate import (
    InventoryPolicy,
    PolicyChange,
    PolicyRun,
    calibrate_policy,
    run_policy,
)
from civstats.value import true_gain, true_gain_between

H = 28
DEPARTMENTS, STORES = 4, 2
MARGIN = 0.3
SHARE = 0.2
LOST, LOST_ALL, WANTED, AVERTED, GONE = "lost", "lost since launch", "wanted", "averted", "gone"
FASTER = {
    "faster": Replenishment(lead_time=1, review_period=1),
    "faster, same level": Replenishment(lead_time=1, review_period=1, keep_level=True),
}
PAST, AHEAD = (LOST, LOST_ALL), (WANTED, AVERTED, GONE, *FASTER)
ESTIMANDS = {
    LOST: f"units lost on the {H} days before the cutoff, given what was sold",
    LOST_ALL: "units lost on all days before the cutoff, given what was sold",
    WANTED: f"demand of the {H} days after the cutoff: no lever, but what all of them rest on",
    AVERTED: f"{SHARE:.0%} of stockout days averted over the {H} days after the cutoff, the luck of "
    "each day included",
    GONE: f"no stockouts at all over the {H} days after the cutoff",
    "faster": "orders placed every day arrive the next day, from the cutoff on; the order-up-to "
    "level covers the shorter time",
    "faster, same level": "the same, up to the order-up-to level of before",
}


@dataclass(frozen=True)
class Case:
    """One replication: a world under one rate of stockouts, cut at its cutoff.

    Attributes
    ----------
    past : pandas.DataFrame
        What is on record at the cutoff.
    window : pandas.DataFrame
        The days after it, outcomes included: for the truth alone.
    known : pandas.DataFrame
        Of the window what is known at the cutoff.
    policy : InventoryPolicy
    truth : dict of str to pandas.DataFrame
        By estimand ``unique_id, units, value``, in the order of the series.
    """

    past: pd.DataFrame
    window: pd.DataFrame
    known: pd.DataFrame
    policy: InventoryPolicy
    truth: dict[str, pd.DataFrame]

    @property
    def start(self) -> pd.Timestamp:
        """First of the last days whose loss is asked for."""
        return pd.Timestamp(self.past[DS].max()) - pd.Timedelta(days=H - 1)


def draw_case(seed: int, rate: float, series: int, days: int) -> Case:
    """Draw a world of `days` days and its next `H`, and let a shop run on it.

    The shop's safety factor is such that a share `rate` of the days up to the cutoff ends empty.
    """
    demand, cutoff = draw_demand(seed, series, days)
    before = validate_panel(demand[demand[DS] <= cutoff])
    policy = calibrate_policy(before, InventoryPolicy(), rate=rate, seed=seed)
    run = run_policy(demand, policy, seed=seed)
    panel = validate_panel(
        demand.assign(**{Y: run.sales, STOCK: run.stock, CENSORED: run.is_censored})
    )
    past = validate_panel(panel[panel[DS] <= cutoff])
    window = validate_panel(panel[panel[DS] > cutoff])
    known = window.drop(columns=[c for c in OUTCOMES if c in window.columns])
    truth = _truth(demand, panel, run, policy, cutoff, seed)
    return Case(past, window, known, policy, truth)


def draw_demand(seed: int, series: int, days: int) -> tuple[pd.DataFrame, pd.Timestamp]:
    """Draw a world's demand, history and the days after it as one panel, and the last past day.

    Worlds begin on different days of the year: the same four weeks ahead in all of them would hold
    the same feasts, and what a model makes of those would not average out.
    """
    start = pd.Timestamp("2020-01-01") + pd.Timedelta(days=37 * seed % 365)
    world = make_world(
        n_series=series,
        n_days=days,
        horizon=H,
        seed=seed,
        start=str(start.date()),
        n_departments=DEPARTMENTS,
        n_stores=STORES,
    )
    later = world.future.merge(world.outcome, on=[ID, DS], validate="one_to_one")
    text = [c for c in world.panel if isinstance(world.panel[c].dtype, pd.CategoricalDtype)]
    parts = [part.astype(dict.fromkeys(text, object)) for part in (world.panel, later)]
    both = pd.concat(parts, ignore_index=True).sort_values([ID, DS], ignore_index=True)
    return validate_panel(both.astype(dict.fromkeys(text, "category"))), world.panel[DS].max()


def _truth(
    demand: pd.DataFrame,
    panel: pd.DataFrame,
    run: PolicyRun,
    policy: InventoryPolicy,
    cutoff: pd.Timestamp,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """What was lost, and what the simulator sells more under every lever, on the very demand."""
    first = cutoff + pd.Timedelta(days=1)
    last_days = (panel[DS] <= cutoff) & (panel[DS] > cutoff - pd.Timedelta(days=H))
    window = panel[panel[DS] > cutoff]
    out = {
        LOST: true_gain(panel[last_days], 1.0, margin=MARGIN),
        LOST_ALL: true_gain(panel[panel[DS] <= cutoff], 1.0, margin=MARGIN),
        WANTED: true_gain_between(
            panel, np.zeros(len(panel)), panel[DEMAND].to_numpy(), start=first, margin=MARGIN
        ),
        AVERTED: true_gain(
            window, SHARE, margin=MARGIN, seed=np.random.default_rng([seed, 20_000])
        ),
        GONE: true_gain(window, 1.0, margin=MARGIN),
    }
    for name, lever in FASTER.items():
        fast = replace(policy, lead_time=lever.lead_time, review_period=lever.review_period)
        change = PolicyChange(fast, first, keep_level=lever.keep_level)
        rerun = run_policy(demand, policy, seed=seed, change=change)
        out[name] = true_gain_between(panel, run.sales, rerun.sales, start=first, margin=MARGIN)
    return {name: table[[ID, "units", "value"]] for name, table in out.items()}


def price_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what a valuation may see of rows that it prices."""
    return rows[[ID, DS, PRICE]]


def short_of(rows: pd.DataFrame) -> float:
    """Return the share of demand that was not sold."""
    return float(1 - rows[Y].sum() / rows[DEMAND].sum())
