"""Worlds of the filter's own model: levels, demand, and stockouts that see past sales only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.demand_filter.parameters import COUNTS, FilterParameters
from civstats.schema import (
    CENSORED,
    DEMAND,
    DS,
    FLAG_KNOWN,
    ID,
    IN_STOCK_SHARE,
    CivstatsError,
    Y,
    validate_panel,
)

WEEKDAY = (-0.2, -0.3, -0.1, 0.0, 0.1, 0.4, 0.3)
"""Offsets of Monday to Sunday, log units."""
_KNOWN = 0.4
"""Share of days of known status where availability is hidden."""


@dataclass(frozen=True)
class OwnWorld:
    """A world drawn from the filter's model, its truth known.

    Attributes
    ----------
    panel : pandas.DataFrame
        Validated; ``demand`` is true.
    levels : numpy.ndarray of float, shape (n_rows,)
        True levels, off any grid.
    out : numpy.ndarray of bool, shape (n_rows,), optional
        True hidden availability.
    params : FilterParameters
    weekday : tuple of float
        Offsets of Monday to Sunday.
    """

    panel: pd.DataFrame
    levels: np.ndarray
    out: np.ndarray | None
    params: FilterParameters
    weekday: tuple[float, ...]


def draw_world(
    params: FilterParameters,
    n_series: int,
    n_days: int,
    seed: int | np.random.Generator,
    *,
    weekday: Sequence[float] = WEEKDAY,
    outages: float = 0.08,
    part_days: float = 0.08,
    cover: float = 1.2,
    review: int = 3,
) -> OwnWorld:
    """Draw levels, demand and stockouts from the filter's own model.

    Three things cut sales, none of which knows more of demand than past sales tell: a shop that
    orders every `review` days up to `cover` times what sold lately (empty shelves and days cut
    short, more of them the busier the item), outages of whole days, and days that are in stock for
    a known share of their hours. Under hidden availability whole days go out by the model's own two
    states, on six days out of ten nobody notes down whether; only noted days are cut short.

    Parameters
    ----------
    params : FilterParameters
        Of a count family.
    n_series, n_days : int
    seed : int or numpy.random.Generator
    weekday : sequence of float
        Offsets of Monday to Sunday, log units.
    outages, part_days : float
        Shares of days; there are no outages but the model's own under hidden availability.
    cover : float
        Days of recent sales that the shop orders up to, as a multiple of `review`.
    review : int
        Days between orders.

    Returns
    -------
    OwnWorld

    Raises
    ------
    CivstatsError
        For a family that is not of counts.
    """
    if params.family not in COUNTS:
        raise CivstatsError(
            f"worlds are drawn for {', '.join(COUNTS)}, but the family is {params.family}"
        )
    rng = np.random.default_rng(seed)
    shape = (n_series, n_days)
    days = pd.date_range("2024-01-01", periods=n_days)
    x = np.asarray(weekday, dtype=float)[days.dayofweek.to_numpy()]
    level = _levels(params, shape, rng)
    busy = np.ones(shape)
    if params.family != "poisson":
        size = np.broadcast_to(params.dispersion, n_series)
        finite = np.where(np.isfinite(size), size, 1.0)[:, None]
        busy = np.where(np.isfinite(size)[:, None], rng.gamma(finite, 1 / finite, shape), 1.0)
    if params.family == "zero_inflated_negbin":
        busy *= rng.random(shape) >= np.broadcast_to(params.zero_inflation, n_series)[:, None]
    rate = np.exp(level + x) * busy
    out, known = rng.random(shape) < outages, np.ones(shape, dtype=bool)
    if params.hidden:
        out, known = _availability(params, shape, rng), rng.random(shape) < _KNOWN
    cut = known & ~out
    part = cut & (rng.random(shape) < part_days)
    share = np.where(part, rng.uniform(0.2, 0.9, shape), 1.0).astype(np.float32)
    # One gamma factor for the whole day: hours seen and unseen are its Poisson parts.
    seen = rng.poisson(rate * share)
    demand = seen + rng.poisson(rate * (1 - share))
    least = 1 if params.hidden else 0
    sales, capped = _shop(seen, out, cut & ~part, np.exp(params.prior_mean), cover, review, least)
    share[out & known] = 0.0
    flagged = capped | (out & known)
    frame = {
        ID: np.repeat([f"s{i:05d}" for i in range(n_series)], n_days),
        DS: np.tile(days, n_series),
        Y: sales.ravel(),
        CENSORED: flagged.ravel(),
        FLAG_KNOWN: known.ravel(),
        IN_STOCK_SHARE: np.where(capped, np.float32(1), share).ravel(),
        DEMAND: demand.ravel(),
    }
    return OwnWorld(
        validate_panel(pd.DataFrame(frame)),
        level.ravel(),
        out.ravel() if params.hidden else None,
        params,
        tuple(float(v) for v in weekday),
    )


def _levels(
    params: FilterParameters, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Draw level paths of Gaussian steps, shape (n_series, n_days)."""
    n_series, n_days = shape
    mean = params.prior_mean if params.level_mean is None else params.level_mean
    level = np.empty(shape)
    level[:, 0] = params.prior_mean + params.prior_sd * rng.normal(size=n_series)
    for t in range(1, n_days):
        pulled = mean + params.damping * (level[:, t - 1] - mean)
        level[:, t] = pulled + params.drift + params.level_sd * rng.normal(size=n_series)
    return level


def _availability(
    params: FilterParameters, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Draw hidden availability from its stationary start, True when out."""
    leave, back = params.out_rate, params.back_rate
    share = np.where(back > 0, leave / np.maximum(leave + back, 1e-300), 0.0)
    u = rng.random(shape)
    out = np.empty(shape, dtype=bool)
    out[:, 0] = u[:, 0] < share
    for t in range(1, shape[1]):
        out[:, t] = np.where(out[:, t - 1], u[:, t] >= back, u[:, t] < leave)
    return out


def _shop(
    asked: np.ndarray,
    out: np.ndarray,
    limited: np.ndarray,
    first: np.ndarray,
    cover: float,
    review: int,
    least: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Serve from a stock that is ordered up by past sales: sales, and where they met the stock.

    Where a day is not `limited` the back room helps out: sales go through, whatever the shelf had.
    """
    n_series, n_days = asked.shape
    sales, capped = np.zeros_like(asked), np.zeros(asked.shape, dtype=bool)
    usual = np.broadcast_to(first, n_series).astype(float)
    stock = np.zeros(n_series, dtype=int)
    for t in range(n_days):
        if t % review == 0:
            stock = np.maximum(stock, np.ceil(cover * review * usual).astype(int))
        shelf = np.maximum(stock, least)
        cap = limited[:, t] & (asked[:, t] >= shelf)
        sold = np.where(cap, shelf, asked[:, t]) * ~out[:, t]
        sales[:, t], capped[:, t] = sold, cap
        stock = np.maximum(stock - sold, 0)
        usual = 0.9 * usual + 0.1 * sold
    return sales, capped
