"""Demand of the synthetic world: the mean's parts on the log scale, and counts around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from civstats.data.synthetic.calendar import NAMES, Calendar
from civstats.data.synthetic.layout import Layout
from civstats.data.synthetic.parameters import WorldParameters
from civstats.data.synthetic.prices import Prices, normals

_CATEGORY_LEVEL = np.array([0.35, -0.35, -0.1])  # foods sell more, hobbies less
_WEEKEND = np.array([-0.1, -0.12, -0.1, -0.08, 0.05, 0.2, 0.15])  # from Monday on
_CLOSED = -3.0  # on Christmas the doors are shut but for a few hours


@dataclass(frozen=True)
class Effects:
    """True effects on the log of the demand mean, and the dispersion.

    Attributes
    ----------
    dispersion, elasticity, snap : numpy.ndarray, shape (n_departments,)
    weekly : numpy.ndarray, shape (n_departments, 7)
        Day-of-week effect, Monday first.
    store_weekly : numpy.ndarray, shape (n_stores, 7)
    annual : numpy.ndarray, shape (n_departments, 2)
        Cosine and sine of the yearly wave.
    events : numpy.ndarray, shape (n_departments, n_events)
        In the order of ``calendar.NAMES``; 0 for no event.
    """

    dispersion: np.ndarray
    elasticity: np.ndarray
    snap: np.ndarray
    weekly: np.ndarray
    store_weekly: np.ndarray
    annual: np.ndarray
    events: np.ndarray


def draw_effects(rng: np.random.Generator, world: WorldParameters, layout: Layout) -> Effects:
    """Draw what departments and stores are like."""
    n_departments, n_stores = len(layout.names["dept_id"]), len(layout.names["store_id"])
    amplitude = rng.uniform(*world.annual_amplitude, n_departments)
    phase = rng.uniform(0, 2 * np.pi, n_departments)
    events = world.event_lift + world.event_sd * rng.standard_normal((n_departments, len(NAMES)))
    events[:, NAMES.index("Christmas")] = _CLOSED
    events[:, 0] = 0.0
    return Effects(
        dispersion=rng.uniform(*world.dispersion, n_departments),
        elasticity=rng.uniform(*world.elasticity, n_departments),
        snap=world.snap_lift * np.where(layout.department_category == 0, 1.0, 0.1),
        weekly=_WEEKEND + world.weekly_sd * rng.standard_normal((n_departments, 7)),
        store_weekly=world.store_weekly_sd * rng.standard_normal((n_stores, 7)),
        annual=amplitude[:, None] * np.stack([np.cos(phase), np.sin(phase)], axis=1),
        events=events,
    )


def log_mean(
    rng: np.random.Generator,
    world: WorldParameters,
    layout: Layout,
    calendar: Calendar,
    prices: Prices,
    effects: Effects,
    n_days: int,
) -> np.ndarray:
    """Return the log of each series' demand mean, shape (n_series, all days), float32."""
    item, department = layout.codes["item_id"], layout.codes["dept_id"]
    store, state = layout.codes["store_id"], layout.codes["state_id"]
    n_series, n_items = len(item), len(layout.names["item_id"])
    n_stores = len(layout.names["store_id"])
    extra = len(calendar.days) - n_days

    # Evenly spread quantiles in random order: a world of a few items has M5's heavy tail too.
    item_level = world.base_sd * ndtri((rng.permutation(n_items) + 0.5) / n_items)
    store_level = world.store_sd * ndtri((rng.permutation(n_stores) + 0.5) / n_stores)
    base = np.log(world.base_median) + item_level[item] + store_level[store]
    base += world.series_sd * rng.standard_normal(n_series)
    base += _CATEGORY_LEVEL[layout.codes["cat_id"]]

    total = normals(rng, n_series, n_days, extra)
    total *= np.float32(world.level_sd)
    np.cumsum(total, axis=1, out=total)
    # A random walk around the base level: shifted by a constant, its steps stay as drawn.
    total += (base - total[:, :n_days].mean(axis=1)).astype(np.float32)[:, None]

    days = calendar.days
    yearly = 2 * np.pi * np.asarray(days.dayofyear) / 365.25
    weekday = np.asarray(days.dayofweek)
    by_department = effects.weekly[:, weekday]
    by_department += effects.annual @ np.stack([np.cos(yearly), np.sin(yearly)])
    by_department += effects.events[:, calendar.names].sum(axis=1)
    shocks = world.shock_sd * normals(rng, n_stores, n_days, extra)
    by_store = effects.store_weekly[:, weekday] + shocks
    by_week = _price_effect(world, prices, effects.elasticity[department])
    # Row by row: a few vectors in cache at a time instead of full matrices.
    for i in range(n_series):
        row = by_department[department[i]] + by_store[store[i]] + by_week[i, calendar.week]
        row += effects.snap[department[i]] * calendar.snap[state[i]]
        total[i] += row
    return total


def _price_effect(world: WorldParameters, prices: Prices, elasticity: np.ndarray) -> np.ndarray:
    """Response to the price against the series' own typical price, shape (n_series, n_weeks)."""
    regular = np.log(prices.price / (1 - prices.cut))
    # The reference is fixed in the first week: a series' level is what it sells at that price.
    change = np.log(prices.price) - regular[:, :1]
    return -elasticity[:, None] * change + world.promo_lift * (prices.cut > 0)


def draw_counts(
    rng: np.random.Generator, mean: np.ndarray, dispersion: np.ndarray, n_days: int
) -> np.ndarray:
    """Draw negative binomial counts, shape (n_series, all days), float32.

    Parameters
    ----------
    mean : numpy.ndarray, shape (n_series, all days)
    dispersion : numpy.ndarray, shape (n_series,)
        a in variance = mean + mean^2 / a.
    n_days : int
        Days drawn first, so that they do not depend on how many follow.
    """
    counts = np.empty(mean.shape, dtype=np.float32)
    for part in (slice(None, n_days), slice(n_days, None)):
        rows = max(1, 2_000_000 // max(1, mean[:, part].shape[1]))
        for i in range(0, len(mean), rows):
            block = mean[i : i + rows, part]
            a = dispersion[i : i + rows, None]
            counts[i : i + rows, part] = rng.poisson(
                block * (rng.standard_gamma(a, block.shape) / a)
            )
    return counts


def launch_days(
    rng: np.random.Generator,
    world: WorldParameters,
    layout: Layout,
    calendar: Calendar,
    n_days: int,
) -> np.ndarray:
    """First day of each series, shape (n_series,): a price week's first day, or day 0."""
    item = layout.codes["item_id"]
    n_items = len(layout.names["item_id"])
    late = _choose(rng, n_items, world.launch_share)
    latest = min(world.launch_until * n_days, n_days - 1)
    day = np.where(late, rng.uniform(0, latest, n_items), 0.0)[item]
    # An item reaches its stores within four weeks.
    day += np.where(late[item], rng.uniform(0, 28, len(item)), 0.0)
    day = np.minimum(day, latest).astype(int)
    first_of_week = np.searchsorted(calendar.week, np.arange(calendar.week[-1] + 1))
    return np.where(late[item], first_of_week[calendar.week[day]], 0)


def _choose(rng: np.random.Generator, n: int, share: float) -> np.ndarray:
    """Mark round(share * n) of n at random."""
    return rng.permutation(n) < round(share * n)
