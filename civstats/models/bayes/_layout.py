"""A panel as the model reads it: weeks, groups, regressors, and days that share a mean collapsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.groups import Groups, group_series
from civstats.demand_filter.layout import BOUND, EXACT, Observations, observations
from civstats.schema import DS

WEEK = np.timedelta64(7, "D")
BLOCKS = ("day_of_week", "annual", "event", "other")
"""Kinds of regressors; the spread of coefficients over departments is shared within one."""


def descent_of(family: str) -> float:
    """Return by which share of its variance a step of the level falls.

    Half of it where demand is the level's exponential, so that expected demand is a martingale;
    a symmetric walk of the log would have it grow without end.
    """
    return 0.0 if family == "normal" else 0.5


@dataclass(frozen=True)
class Layout:
    """What does not depend on sales.

    Attributes
    ----------
    names : dict of str to list of str
        Labels of ``series, department, item, store, regressor``.
    department, item, store : numpy.ndarray of int, shape (n_series,)
    item_department : numpy.ndarray of int, shape (n_items,)
    dates : numpy.ndarray of datetime64, sorted
    origin : numpy.datetime64
        First day of the first week.
    starts : numpy.ndarray of int, shape (n_series + 1,)
        Series s holds the nodes ``starts[s]:starts[s + 1]``.
    week : numpy.ndarray of int, shape (n_nodes,)
        Week of each node, from 0.
    series, date, node : numpy.ndarray of int, shape (n_rows,)
        Position of each row's series, date and node.
    matrix : numpy.ndarray of float32, shape (n_rows, n_regressors)
    by_date : numpy.ndarray of bool, shape (n_regressors,)
        Regressors that all series share on a date.
    block : numpy.ndarray of int, shape (n_regressors,)
    prior_sd : numpy.ndarray, shape (n_regressors,)
    """

    names: dict[str, list[str]]
    department: np.ndarray
    item: np.ndarray
    store: np.ndarray
    item_department: np.ndarray
    dates: np.ndarray
    origin: np.datetime64
    starts: np.ndarray
    week: np.ndarray
    series: np.ndarray
    date: np.ndarray
    node: np.ndarray
    matrix: np.ndarray
    by_date: np.ndarray
    block: np.ndarray
    prior_sd: np.ndarray

    @property
    def structure(self) -> tuple[Any, ...]:
        """All that a compiled model has built in, which other data of the same shape leave."""
        arrays = (
            self.starts, self.by_date, self.department, self.item, self.store,
            self.item_department, self.block, self.prior_sd,
        )  # fmt: skip
        return (self.names, *(a.tolist() for a in arrays))

    @property
    def n_nodes(self) -> int:
        """Number of levels."""
        return len(self.week)

    @property
    def node_series(self) -> np.ndarray:
        """Series of each node."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @property
    def has_items(self) -> bool:
        """Whether an item is sold in several stores, so that it can be told from its series."""
        return 1 < len(self.names["item"]) < len(self.names["series"])

    @property
    def has_stores(self) -> bool:
        """Whether there are several stores."""
        return len(self.names["store"]) > 1

    @property
    def has_departments(self) -> bool:
        """Whether there are several departments."""
        return len(self.names["department"]) > 1

    @property
    def drifts(self) -> bool:
        """Whether some series has more than one level."""
        return self.n_nodes > len(self.names["series"])

    @property
    def row_department(self) -> np.ndarray:
        """Department of each row."""
        return self.department[self.series]


def lay_out(panel: pd.DataFrame, design: OffsetDesign | None, drift: str | None) -> Layout:
    """Return the layout of a validated panel."""
    obs = observations(panel, "ignore")
    departments = group_series(panel, ("dept_id",))
    items, stores = _items(panel, departments), group_series(panel, ("store_id",))
    lengths = obs.lengths
    series = np.repeat(np.arange(obs.n_series), lengths)
    days = panel[DS].to_numpy().astype("datetime64[ns]")
    dates, date = np.unique(days, return_inverse=True)
    origin = dates[0]
    week = (days - origin) // WEEK if drift else np.zeros(len(days), dtype=np.int64)
    first, last = week[obs.starts], week[obs.ends - 1]
    count = (last - first + 1).astype(np.int64)
    starts = np.r_[0, np.cumsum(count)]
    node = starts[series] + week - first[series]
    node_week = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, count)
    if design is None:
        names: tuple[str, ...] = ()
        matrix, prior_sd = np.zeros((len(panel), 0), dtype=np.float32), np.zeros(0)
    else:
        names, matrix, prior_sd = design.names, design.matrix(panel), design.prior_sd
    item_department = np.zeros(len(items.names), dtype=np.int64)
    item_department[items.of_series] = departments.of_series
    return Layout(
        {
            "series": [str(i) for i in obs.ids],
            "department": departments.names,
            "item": items.names,
            "store": stores.names,
            "regressor": list(names),
        },
        departments.of_series.astype(np.int64),
        items.of_series.astype(np.int64),
        stores.of_series.astype(np.int64),
        item_department,
        dates,
        origin,
        starts,
        node_week,
        series,
        date,
        node,
        matrix,
        _same_on_a_date(matrix, date, len(dates)),
        np.array([_block(n) for n in names], dtype=np.int64),
        prior_sd,
    )


def _items(panel: pd.DataFrame, departments: Groups) -> Groups:
    """Return items; one label in several departments is as many items."""
    items = group_series(panel, ("item_id",))
    pairs = np.unique(np.c_[items.of_series, departments.of_series], axis=0)
    if len(pairs) == len(items.names):
        return items
    return group_series(panel, ("dept_id", "item_id"))


def _block(name: str) -> int:
    return next((k for k, b in enumerate(BLOCKS[:3]) if name.startswith(b)), 3)


def _same_on_a_date(matrix: np.ndarray, date: np.ndarray, n_dates: int) -> np.ndarray:
    """Say which regressors take one value on every date."""
    one = np.zeros(n_dates, dtype=np.int64)
    one[date] = np.arange(len(date))
    out = np.zeros(matrix.shape[1], dtype=bool)
    for k in range(matrix.shape[1]):
        out[k] = bool((matrix[:, k] == matrix[one[date], k]).all())
    return out


@dataclass(frozen=True)
class Cells:
    """Days of one kind that share a mean, counted together.

    Attributes
    ----------
    row : numpy.ndarray of int, shape (n_cells,)
        One of the rows of each cell.
    days : numpy.ndarray, shape (n_cells,)
    value : numpy.ndarray, shape (n_cells,)
        Units of all its days where exact; the bound.
    """

    row: np.ndarray
    days: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Sales:
    """What the days of a layout say under a treatment.

    Attributes
    ----------
    obs : Observations
        Sales in units, divided by `scale` for the normal family.
    scale : numpy.ndarray, shape (n_series,)
        Units of 1 on the level's scale: 1 for counts, a mean day of the series for the normal.
    exact, bound : Cells
    above : numpy.ndarray, shape (n_thresholds, n_departments)
        How many exact days of a department sold more than 0, 1, 2, ... units.
    """

    obs: Observations
    scale: np.ndarray
    exact: Cells
    bound: Cells
    above: np.ndarray


def read_sales(panel: pd.DataFrame, layout: Layout, treatment: str, family: str) -> Sales:
    """Read what the panel's days say, and collapse those that share a mean."""
    obs = observations(panel, treatment)
    scale = np.ones(obs.n_series)
    # Whole numbers that were stored in a short format are whole again.
    units = np.rint(obs.y)
    if family == "normal":
        scale = mean_day(obs)
        units = obs.y / scale[layout.series]
    obs = Observations(
        obs.ids, obs.starts, obs.ends, units, obs.kind, obs.status, obs.offset, obs.exposure,
    )  # fmt: skip
    code = _mean_code(layout, obs)
    exact = np.flatnonzero(obs.kind == EXACT)
    bound = np.flatnonzero(obs.kind == BOUND)
    if family == "normal":
        seen, least = (Cells(r, np.ones(len(r)), obs.y[r]) for r in (exact, bound))
        return Sales(obs, scale, seen, least, np.zeros((0, len(layout.names["department"]))))
    zero = (obs.y == 0) & (family == "zero_inflated_negbin")
    cells = _collapse(exact, code[exact] * 2 + zero[exact], obs.y)
    same = _collapse(bound, (code[bound], obs.y[bound]), obs.y)
    at_bound = Cells(same.row, same.days, obs.y[same.row])
    return Sales(obs, scale, cells, at_bound, _above(obs, layout, exact))


def mean_day(obs: Observations) -> np.ndarray:
    """Return mean sales of each series' days that speak; the panel's where none sold."""
    speaks = obs.kind != 2
    codes = np.repeat(np.arange(obs.n_series), obs.lengths)[speaks]
    total = np.bincount(codes, obs.y[speaks], minlength=obs.n_series)
    days = np.bincount(codes, minlength=obs.n_series)
    usual = total.sum() / max(days.sum(), 1)
    mean = total / np.maximum(days, 1)
    return np.where(mean > 0, mean, usual if usual > 0 else 1.0)


def _mean_code(layout: Layout, obs: Observations) -> np.ndarray:
    """Number rows so that rows of one number have the same level and offset."""
    dated = layout.matrix[:, layout.by_date]
    one = np.zeros(len(layout.dates), dtype=np.int64)
    one[layout.date] = np.arange(len(layout.date))
    _, kind = np.unique(dated[one], axis=0, return_inverse=True)
    code = kind.ravel()[layout.date]
    others = [layout.matrix[:, k] for k in np.flatnonzero(~layout.by_date)]
    if obs.exposure is not None:
        others.append(np.where(obs.kind == EXACT, obs.exposure, 1.0))
    for column in others:
        _, part = np.unique(column, return_inverse=True)
        _, code = np.unique(code * (int(part.max()) + 1) + part, return_inverse=True)
    return layout.node * (int(code.max()) + 1) + code


def _collapse(
    rows: np.ndarray, key: np.ndarray | tuple[np.ndarray, np.ndarray], y: np.ndarray
) -> Cells:
    if isinstance(key, tuple):
        _, part = np.unique(key[1], return_inverse=True)
        key = key[0] * (len(rows) + 1) + part
    _, first, cell = np.unique(key, return_index=True, return_inverse=True)
    days = np.bincount(cell, minlength=len(first)).astype(np.float64)
    return Cells(rows[first], days, np.bincount(cell, y[rows], minlength=len(first)))


def _above(obs: Observations, layout: Layout, exact: np.ndarray) -> np.ndarray:
    n = len(layout.names["department"])
    y = obs.y[exact].astype(np.int64)
    top = int(y.max(initial=0))
    table = np.zeros((top + 1, n))
    np.add.at(table, (y, layout.row_department[exact]), 1.0)
    # Days that sold exactly k, summed from the top: days that sold at least k.
    return np.cumsum(table[::-1], axis=0)[::-1][1:]
