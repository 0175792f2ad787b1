"""Draw the synthetic world and lay it out as a panel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.data.covariates import category
from civstats.data.synthetic.calendar import NAMES, TYPES, Calendar, make_calendar
from civstats.data.synthetic.demand import draw_counts, draw_effects, launch_days, log_mean
from civstats.data.synthetic.layout import Layout, make_layout
from civstats.data.synthetic.parameters import WorldParameters
from civstats.data.synthetic.prices import Prices, make_prices
from civstats.schema import (
    DEMAND,
    DEMAND_MEAN,
    DS,
    ID,
    PRICE,
    PROMO,
    SNAP,
    STATIC,
    CivstatsError,
    Y,
    validate_panel,
)


@dataclass(frozen=True)
class World:
    """A drawn world.

    Attributes
    ----------
    panel : pandas.DataFrame
        The history, validated: keys, ``y, demand, demand_mean``, known covariates, attributes.
    future : pandas.DataFrame
        Known covariates of the days after the panel's end, the same columns without outcomes.
    outcome : pandas.DataFrame
        ``unique_id, ds, y, demand, demand_mean`` of those days: what a planner does not see.
    departments : pandas.DataFrame
        True ``dispersion`` and ``elasticity`` by department.
    """

    panel: pd.DataFrame
    future: pd.DataFrame
    outcome: pd.DataFrame
    departments: pd.DataFrame


def make_panel(
    *,
    n_series: int = 120,
    n_days: int = 730,
    n_departments: int = 6,
    n_stores: int = 4,
    n_states: int = 2,
    start: str = "2022-01-01",
    seed: int | np.random.Generator = 0,
    parameters: WorldParameters | None = None,
) -> pd.DataFrame:
    """Draw a synthetic retail panel with known demand; arguments as in :func:`make_world`.

    Returns
    -------
    pandas.DataFrame
        Validated panel; ``y`` equals ``demand``, since nothing is out of stock yet.

    Raises
    ------
    CivstatsError
        For sizes that make no world.

    Examples
    --------
    >>> panel = make_panel(n_series=8, n_days=60)
    >>> panel["unique_id"].nunique()
    8
    """
    return make_world(
        n_series=n_series,
        n_days=n_days,
        horizon=0,
        n_departments=n_departments,
        n_stores=n_stores,
        n_states=n_states,
        start=start,
        seed=seed,
        parameters=parameters,
    ).panel


def make_world(
    *,
    n_series: int = 120,
    n_days: int = 730,
    horizon: int = 28,
    n_departments: int = 6,
    n_stores: int = 4,
    n_states: int = 2,
    start: str = "2022-01-01",
    seed: int | np.random.Generator = 0,
    parameters: WorldParameters | None = None,
) -> World:
    """Draw an M5-like retail world: its panel, and the days after the panel's end.

    Demand of a series on a day is negative binomial with mean ``demand_mean`` and its
    department's dispersion a (variance = mean + mean^2 / a). The log of the mean is the sum of the
    series' drifting level, day of week (by department and store), time of year, events (by
    department), SNAP days, price, promotion, and a shock that all series of the store share that
    day. ``demand_mean`` is the mean given level and shock.

    Parameters
    ----------
    n_series, n_days, horizon : int
        Series, days of history, days after it.
    n_departments, n_stores, n_states : int
        Departments are nested in three categories, stores in states. Every item is sold in every
        store, but the last item only in as many as fill up `n_series`; a store or department
        that gets no series is left out.
    start : str
        First day.
    seed : int or numpy.random.Generator
        Same seed and sizes, same world. The history does not depend on `horizon`.
    parameters : WorldParameters, optional
        What the world is like; the defaults resemble M5.

    Returns
    -------
    World

    Raises
    ------
    CivstatsError
        For sizes that make no world.

    Examples
    --------
    >>> world = make_world(n_series=8, n_days=60, horizon=14)
    >>> len(world.future)
    112
    """
    sizes = {
        "n_series": n_series,
        "n_days": n_days,
        "n_departments": n_departments,
        "n_stores": n_stores,
        "n_states": n_states,
    }
    _check_sizes(sizes, horizon)
    world = WorldParameters() if parameters is None else parameters
    layout = make_layout(n_series, n_departments, n_stores, n_states)
    calendar = make_calendar(_first_day(start), n_days + horizon, n_states)
    # One stream per part: a change to one part leaves the draws of the others alone.
    streams = np.random.default_rng(seed).spawn(5)
    effects = draw_effects(streams[0], world, layout)
    weeks = int(calendar.week[n_days - 1]) + 1
    prices = make_prices(streams[1], world, layout, weeks, int(calendar.week[-1]) + 1 - weeks)
    mean = log_mean(streams[2], world, layout, calendar, prices, effects, n_days)
    np.exp(mean, out=mean)
    demand = draw_counts(streams[3], mean, effects.dispersion[layout.codes["dept_id"]], n_days)
    launch = launch_days(streams[4], world, layout, calendar, n_days)

    keep = np.arange(n_days) >= launch[:, None]
    history, later = slice(None, n_days), slice(n_days, None)
    panel = _keys(layout, calendar, keep, history)
    panel |= _outcomes(demand, mean, keep, history)
    panel |= _known(layout, calendar, prices, keep, history)
    all_days = np.ones((n_series, horizon), dtype=bool)
    keys = _keys(layout, calendar, all_days, later)
    departments = pd.DataFrame(
        {"dispersion": effects.dispersion, "elasticity": effects.elasticity},
        index=pd.Index(layout.names["dept_id"], name="dept_id"),
    ).iloc[np.unique(layout.codes["dept_id"])]
    return World(
        panel=validate_panel(pd.DataFrame(panel, copy=False), copy=False),
        future=pd.DataFrame(keys | _known(layout, calendar, prices, all_days, later), copy=False),
        outcome=pd.DataFrame(keys | _outcomes(demand, mean, all_days, later), copy=False),
        departments=departments,
    )


def _check_sizes(sizes: dict[str, int], horizon: int) -> None:
    for name, value in (sizes | {"horizon": horizon}).items():
        least = 0 if name == "horizon" else 1
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < least:
            raise CivstatsError(
                f"{name} must be a whole number, {least} or more, but got {value!r}"
            )
    if sizes["n_states"] > sizes["n_stores"]:
        raise CivstatsError(
            f"n_states = {sizes['n_states']} is more than n_stores = {sizes['n_stores']}: "
            "every state has a store"
        )


def _first_day(start: str) -> pd.Timestamp:
    try:
        day = pd.Timestamp(start)
    except ValueError as error:
        raise CivstatsError(f"start must be a day such as 2022-01-01, but got {start!r}") from error
    if pd.isna(day) or day.tz is not None or day != day.normalize():
        raise CivstatsError(f"start must be a day without time or zone, but got {start!r}")
    return day


Columns = dict[str, object]


def _keys(layout: Layout, calendar: Calendar, keep: np.ndarray, part: slice) -> Columns:
    rows = keep.sum(axis=1)
    days = calendar.days[part].to_numpy()
    return {
        ID: category(np.repeat(np.arange(len(rows)), rows), list(layout.ids)),
        DS: np.broadcast_to(days, keep.shape)[keep],
    }


def _outcomes(demand: np.ndarray, mean: np.ndarray, keep: np.ndarray, part: slice) -> Columns:
    units = demand[:, part][keep]
    return {Y: units.copy(), DEMAND: units, DEMAND_MEAN: mean[:, part][keep]}


def _known(
    layout: Layout, calendar: Calendar, prices: Prices, keep: np.ndarray, part: slice
) -> Columns:
    week, rows = calendar.week[part], keep.sum(axis=1)
    columns: Columns = {
        PRICE: prices.price.astype(np.float32)[:, week][keep],
        PROMO: (prices.cut > 0)[:, week][keep],
    }
    for k in range(2):
        for stem, codes, names in (
            ("event_name", calendar.names, NAMES),
            ("event_type", calendar.types, TYPES),
        ):
            daily = np.broadcast_to(codes[k, part], keep.shape)
            columns[f"{stem}_{k + 1}"] = category(daily[keep], names)
    columns[SNAP] = calendar.snap[layout.codes["state_id"]][:, part][keep]
    for c in STATIC:
        used, codes = np.unique(layout.codes[c], return_inverse=True)
        columns[c] = category(np.repeat(codes, rows), [layout.names[c][k] for k in used])
    return columns
