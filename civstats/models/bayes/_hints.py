"""Where sampling starts, and what days say of their week's level: the demand filter's estimates.

Nothing here enters the posterior: the model is reparametrised and started with these numbers, and
any others would give the same distribution, more slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from civstats.censoring import NegBin, Normal, Poisson, ZeroInflatedNegBin
from civstats.demand_filter import DemandFilter
from civstats.demand_filter.layout import BOUND, SILENT
from civstats.models.bayes import _walk_kernels as kernels
from civstats.models.bayes._known import Known, tell
from civstats.models.bayes._layout import Layout, Sales

_ROUNDS = 12
_SAMPLE_ROWS = 60_000
_FIRST_WEEKS = 12
_SERIES_SD, _ITEM_SD = 0.5, 1.0


@dataclass(frozen=True)
class Hints:
    """Estimates around which the model is laid out.

    Attributes
    ----------
    coefficients : numpy.ndarray, shape (n_departments, n_regressors)
    between_sd : numpy.ndarray, shape (n_regressors,)
    dispersion, zero_prob, noise, drift_sd : numpy.ndarray, shape (n_departments,)
    level, pseudo, info : numpy.ndarray, shape (n_nodes,)
        Mode of the levels; the level that a node's own days speak for, and how loudly.
    weekly : numpy.ndarray, shape (n_nodes, n_slow)
        Mean over a node's days of the regressors that a level can mimic.
    slow : numpy.ndarray of int, shape (n_slow,)
        Which regressors those are.
    known : Known
        What the days say of the coefficients.
    intercept : float
    department, store, item : numpy.ndarray
        Effects of departments and stores, levels of items, at the series' first weeks.
    item_strength : numpy.ndarray, shape (n_items,)
    department_strength, store_strength : float
        What series say of them, given the spread of items and series.
    """

    coefficients: np.ndarray
    between_sd: np.ndarray
    dispersion: np.ndarray
    zero_prob: np.ndarray
    noise: np.ndarray
    drift_sd: np.ndarray
    level: np.ndarray
    pseudo: np.ndarray
    info: np.ndarray
    weekly: np.ndarray
    slow: np.ndarray
    known: Known
    intercept: float
    department: np.ndarray
    store: np.ndarray
    item: np.ndarray
    item_strength: np.ndarray
    department_strength: float
    store_strength: float


def find_hints(
    panel: pd.DataFrame,
    layout: Layout,
    sales: Sales,
    family: str,
    treatment: str,
    harmonics: int,
    seed: int,
    n_jobs: int | None,
) -> Hints:
    """Fit the demand filter, then find the mode of the weekly levels given its estimates."""
    n, k = len(layout.names["department"]), len(layout.names["regressor"])
    if family == "normal":
        panel = panel.assign(y=(sales.obs.y * 0 + panel["y"] / sales.scale[layout.series]))
    fitted = DemandFilter(
        treatment=treatment,
        family=family,
        offsets="regression" if k else None,
        harmonics=harmonics,
        rounds=2,
        sample_rows=_SAMPLE_ROWS,
        n_jobs=n_jobs,
        seed=seed,
    ).fit(panel)
    params = fitted.parameters_
    first = np.zeros(n, dtype=np.int64)
    first[layout.department] = np.arange(len(layout.department))

    def by_department(values: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, float), (len(layout.department),))[first].copy()

    spread = by_department(params.dispersion)
    counts = family != "normal"
    beta = fitted.coefficients_.groups if k else np.zeros((n, 0))
    between = fitted.coefficients_.between_sd if k else np.zeros(0)
    dispersion = np.clip(spread, 0.05, 200.0) if counts else np.ones(n)
    noise = np.ones(n) if counts else np.maximum(spread, 1e-3)
    zero = np.clip(by_department(params.zero_inflation), 0.002, 0.9)
    drift = np.clip(np.sqrt(7.0) * by_department(params.level_sd), 0.01, 1.0)
    row = layout.row_department
    offset = np.einsum("rk,rk->r", layout.matrix, beta[row]) if k else np.zeros(len(row))
    family_rows = {
        "poisson": lambda: Poisson(),
        "negbin": lambda: NegBin(dispersion[row]),
        "zero_inflated_negbin": lambda: ZeroInflatedNegBin(dispersion[row], zero[row]),
        "normal": lambda: Normal(noise[row]),
    }[family]()
    level, pseudo, info, weight = _mode(layout, sales, family_rows, offset, drift, counts)
    weekly, slow = _slow(layout, weight, info)
    known = tell(layout, sales, family_rows, offset, beta, level, info, drift)
    return Hints(
        beta, between, dispersion, zero, noise, drift, level, pseudo, info, weekly, slow, known,
        *_first_weeks(layout, level, info),
    )  # fmt: skip


def _first_weeks(layout: Layout, level: np.ndarray, info: np.ndarray) -> tuple[Any, ...]:
    """Return what the first weeks say of intercept, departments, stores and items."""
    first = level[layout.starts[:-1]]
    ends = np.minimum(layout.starts[:-1] + _FIRST_WEEKS, layout.starts[1:])
    sums = np.r_[0.0, np.cumsum(info)]
    error = 1 / np.maximum(sums[ends] - sums[layout.starts[:-1]], 1e-3)

    def mean_by(code: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
        return np.bincount(code, values, minlength=n) / np.bincount(code, minlength=n)

    store = mean_by(layout.store, first, len(layout.names["store"]))
    store = store - store.mean()
    rest = first - store[layout.store]
    n_items = len(layout.names["item"])
    item = mean_by(layout.item, rest, n_items)
    item_strength = np.bincount(layout.item, 1 / (_SERIES_SD**2 + error), minlength=n_items)
    n = len(layout.names["department"])
    department = mean_by(layout.department, rest, n)
    spread = _ITEM_SD**2 + 1 / np.median(item_strength) if layout.has_items else 1.0
    members = (
        np.bincount(layout.item_department) if layout.has_items else np.bincount(layout.department)
    )
    intercept = float(department.mean())
    return (
        intercept,
        department - intercept,
        store,
        item,
        item_strength,
        float(np.median(members) / spread),
        float((np.bincount(layout.store) / (_SERIES_SD**2 + np.median(error))).min()),
    )


def _mode(
    layout: Layout, sales: Sales, family: Any, offset: np.ndarray, drift: np.ndarray, counts: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the levels' mode, pseudo-data and their information, and that of every row.

    Newton's method on all levels at once: a random walk seen through pseudo-data in every round.
    """
    obs, n = sales.obs, layout.n_nodes
    speaks = obs.kind != SILENT
    share = np.ones(obs.n_rows) if obs.exposure is None else obs.exposure
    total = np.bincount(layout.series[speaks], obs.y[speaks], minlength=obs.n_series)
    days = np.bincount(layout.series[speaks], minlength=obs.n_series)
    mean = (total + 0.05) / (days + 1.0)
    base = np.log(mean) if counts else mean
    base = np.where(days > 0, base, base[days > 0].mean() if (days > 0).any() else 0.0)
    level = base[layout.node_series]
    spread, steps = np.full(obs.n_series, 1.0), drift[layout.department]
    bound = obs.kind == BOUND
    pseudo, info, weight = level.copy(), np.zeros(n), np.zeros(obs.n_rows)
    for _ in range(_ROUNDS):
        slope, curve = family.grad_hess(obs.y, level[layout.node] + offset, bound, share)
        slope = np.where(speaks, slope, 0.0)
        weight = np.where(speaks, np.maximum(-curve, 0.0), 0.0)
        spoken: np.ndarray = np.bincount(layout.node, weight, minlength=n)
        push = np.bincount(layout.node, slope, minlength=n)
        known = spoken > 1e-8
        info = np.where(known, spoken, 0.0)
        pseudo = np.where(known, level + np.clip(push / np.where(known, info, 1.0), -3, 3), level)
        moved, pivot, middle = np.empty(n), np.empty(n), np.empty(n)
        kernels.walk_forward(
            np.zeros(n), base, steps, spread, pseudo, info, layout.starts, moved, pivot, middle
        )
        step = moved - level
        level = level + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-4:
            break
    return level, pseudo, info, weight


def _slow(layout: Layout, weight: np.ndarray, info: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weekly means of regressors whose weekly means vary, and which they are."""
    k, n = layout.matrix.shape[1], layout.n_nodes
    means, kept = [], []
    for j in range(k):
        x = layout.matrix[:, j].astype(np.float64)
        mean = np.bincount(layout.node, weight * x, minlength=n) / np.where(info > 0, info, 1.0)
        square = np.bincount(layout.node, weight * x**2, minlength=n).sum()
        if (info * mean**2).sum() > 0.25 * square > 0:
            means.append(mean)
            kept.append(j)
    weekly = np.column_stack(means) if means else np.zeros((n, 0))
    return weekly, np.array(kept, dtype=np.int64)
