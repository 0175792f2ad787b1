"""The table of mechanisms: each turns a panel's demand into sales, stock and flags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import (
    CENSORED,
    IN_STOCK_SHARE,
    RECAPTURED,
    STOCK,
    CivstatsError,
    Y,
    check_share,
    series_index,
)
from civstats.stockouts.simulate.calibrate import find
from civstats.stockouts.simulate.covariates import promise, trade_calendar
from civstats.stockouts.simulate.layout import true_demand, whole_units
from civstats.stockouts.simulate.outages import Outages, starts_needed
from civstats.stockouts.simulate.policy import InventoryPolicy, Shop
from civstats.stockouts.simulate.recapture import Recapture
from civstats.stockouts.simulate.serve import Server

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Mechanism:
    """How stockouts come about.

    Attributes
    ----------
    run : callable
        ``run(panel, *, rate, rng, recapture, **options)`` -> new columns: sales and flags.
    description : str
        One line for a report.
    """

    run: Callable[..., Columns]
    description: str


def random(
    panel: pd.DataFrame,
    *,
    rate: float,
    rng: np.random.Generator,
    recapture: Recapture | None,
    run_length: float = 1.5,
) -> Columns:
    """Empty whole days regardless of demand; the stock of the other days is not known (NaN).

    Parameters
    ----------
    panel, rate, rng, recapture
        As in `simulate_stockouts`.
    run_length : float
        Mean length of an outage before overlaps, days (geometric); 1 makes days independent.
    """
    order = rng.random(len(panel), dtype=np.float32)
    at_most = starts_needed(len(panel), rate, "random")
    out = Outages(series_index(panel), order, run_length, rng, at_most).hit(rate, "random")
    cover = np.where(out, np.float32(0), np.float32(np.nan))
    if recapture is None:
        y = np.where(out, np.float32(0), true_demand(panel))
        return {Y: y, STOCK: cover, CENSORED: out}
    return _columns(*Server(panel, rng=rng, recapture=recapture).serve(cover))


def promotion(
    panel: pd.DataFrame,
    *,
    rate: float,
    rng: np.random.Generator,
    recapture: Recapture | None,
    run_length: float = 1.5,
    capped: float = 0.5,
    cover: tuple[float, float] = (0.0, 1.5),
    promo_hazard: float = 3.0,
    event_hazard: float = 2.0,
    promise_power: float = 2.0,
) -> Columns:
    """Empty or cap days on which covariates promise high demand.

    An outage starts with a hazard that grows with promotions, events, and what weekday and SNAP
    promise by the panel's past; the day's own demand has no part in it. The stock of a capped day
    is a uniform multiple of what past observed sales and the same covariates make the shop
    expect. A capped day is flagged, and counts for the rate, if demand reached the cap; in-stock
    days without a cap have no known stock (NaN).

    Parameters
    ----------
    panel, rate, rng, recapture
        As in `simulate_stockouts`.
    run_length : float
        Mean length of an outage before overlaps, days (geometric).
    capped : float
        Share of the hit days on which stock is short rather than nil, in [0, 1].
    cover : tuple of float
        Bounds of the multiple; the lower, the tighter the caps.
    promo_hazard, event_hazard : float
        Factors on the hazard of a day with a promotion, an event.
    promise_power : float
        Exponent of the promise in the hazard.
    """
    check_share("capped", capped)
    low, high = cover
    if not 0 <= low <= high < np.inf:
        raise CivstatsError(f"cover must hold two numbers 0 <= low <= high, but got {cover!r}")
    if min(promo_hazard, event_hazard) <= 0:
        raise CivstatsError("promo_hazard and event_hazard must be positive")
    calendar = trade_calendar(panel)
    profile = promise(panel, true_demand(panel))
    hazard = profile ** np.float32(promise_power)
    hazard[calendar.promo] *= np.float32(promo_hazard)
    hazard[calendar.event] *= np.float32(event_hazard)
    order = rng.exponential(size=len(panel)).astype(np.float32) / hazard
    outages = Outages(series_index(panel), order, run_length, rng)
    multiple = rng.uniform(low, high, len(panel)).astype(np.float32)
    multiple[rng.random(len(panel), dtype=np.float32) >= capped] = 0
    profile[calendar.promo] *= np.float32(1.5)
    server = Server(panel, rng=rng, recapture=recapture, profile=profile)

    def columns(share: float) -> Columns:
        hit = outages.union(share)
        return _columns(*server.serve(np.where(hit, multiple, np.float32(np.nan))))

    found = find(
        lambda x: float(columns(x)[CENSORED].mean()), rate, 0.0, 1.0,
        "promotion", "a lower capped or cover",
    )  # fmt: skip
    return columns(found)


def inventory(
    panel: pd.DataFrame,
    *,
    rate: float,
    rng: np.random.Generator,
    recapture: Recapture | None,
    policy: InventoryPolicy | None = None,
) -> Columns:
    """Reorder by past observed sales and known covariates; what runs short is flagged.

    Parameters
    ----------
    panel, rate, rng, recapture
        As in `simulate_stockouts`.
    policy : InventoryPolicy, optional
        Its safety factor is replaced by the one that hits the rate.
    """
    policy = policy or InventoryPolicy()
    shop = Shop(panel, seed=rng, recapture=recapture)
    run = shop.run(shop.calibrate(policy, rate))
    return _columns(run.stock, run.sales, run.recaptured)


def part_day(
    panel: pd.DataFrame,
    *,
    rate: float,
    rng: np.random.Generator,
    recapture: Recapture | None,
    run_length: float = 1.0,
    beta: tuple[float, float] = (1.0, 1.0),
) -> Columns:
    """Close the shelf for a share of the day, by the clock: sales ~ Binomial(demand, share).

    A matter of exposure: nothing is flagged as censored, and no stock is known.

    Parameters
    ----------
    panel, rate, rng, recapture
        As in `simulate_stockouts`; the rate counts days with ``in_stock_share < 1``.
    run_length : float
        Mean number of days in a row with an outage, before overlaps (geometric).
    beta : tuple of float
        Parameters of the Beta distribution of the share in stock on such a day.
    """
    whole_units(panel, true_demand(panel), "part_day")
    if not min(beta) > 0:
        raise CivstatsError(f"beta must hold two positive numbers, but got {beta!r}")
    order = rng.random(len(panel), dtype=np.float32)
    at_most = starts_needed(len(panel), rate, "part_day")
    out = Outages(series_index(panel), order, run_length, rng, at_most).hit(rate, "part_day")
    share = np.ones(len(panel), np.float32)
    share[out] = np.minimum(rng.beta(*beta, size=int(out.sum())), np.nextafter(np.float32(1), 0))
    server = Server(panel, rng=rng, recapture=recapture)
    columns = _columns(*server.serve(np.full(len(panel), np.nan, np.float32), share))
    return {**columns, IN_STOCK_SHARE: share}


def _columns(stock: np.ndarray, sales: np.ndarray, recaptured: np.ndarray | None) -> Columns:
    # A missing stock compares false: plenty is never an empty shelf.
    columns = {Y: sales, STOCK: stock, CENSORED: sales >= stock}
    return columns if recaptured is None else {**columns, RECAPTURED: recaptured}


MECHANISMS: dict[str, Mechanism] = {
    "random": Mechanism(random, "whole days without stock, drawn independently of demand"),
    "promotion": Mechanism(
        promotion,
        "whole days without stock, or a cap on what can be sold, more likely on promotions, events and "
        "days that promise high demand",
    ),
    "inventory": Mechanism(
        inventory,
        "a periodic-review order-up-to policy that knows past sales only; the shelf runs empty when "
        "demand exceeds what is on hand",
    ),
    "part_day": Mechanism(part_day, "outages by the clock that cost a share of the day's demand"),
}
