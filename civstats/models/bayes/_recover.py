"""Demand on past stockout days, given that it was at least what sold: joint draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from civstats.censoring import Family, Normal, sample_unseen
from civstats.demand_filter._recovery_result import Recovery
from civstats.demand_filter.layout import BOUND, EXACT
from civstats.models.bayes._posterior import Draws, expected_demand
from civstats.schema import (
    CENSORED,
    DS,
    ID,
    LEVEL_SMOOTHED,
    LOST,
    RECOVERED,
    STOCKOUT,
    CivstatsError,
    Y,
    level_columns,
    stockout_days,
)

_BLOCK = 4_000_000


def require_same(panel: pd.DataFrame, days: pd.DataFrame, treatment: str) -> None:
    """Refuse another panel than the fitted one, whose rows are `days`."""
    mend = "fit on this panel, its days then inform each other"
    if len(panel) != len(days):
        raise CivstatsError(
            f"recover was given {len(panel)} row(s), but {len(days)} were fitted: {mend}"
        )
    out = stockout_days(panel) & (treatment != "ignore")
    pairs = (
        (ID, panel[ID].astype(str).to_numpy(), days[ID].astype(str).to_numpy()),
        (DS, panel[DS].to_numpy(), days[DS].to_numpy()),
        (Y, panel[Y].to_numpy(), days[Y].to_numpy()),
        (CENSORED, out, days[STOCKOUT].to_numpy()),
    )
    for column, given, fitted in pairs:
        off = np.flatnonzero(given != fitted)
        if len(off):
            raise CivstatsError(
                f"recover was given another panel than the fitted one: {column} differs in "
                f"{len(off)} row(s), first in row {off[0]}, {given[off[0]]} for {fitted[off[0]]}; "
                f"{mend}"
            )


def recover_days(
    draws: Draws,
    days: pd.DataFrame,
    statics: pd.DataFrame,
    model: Any,
    levels: list[float],
    n_draws: int,
    seed: int,
) -> Recovery:
    """Recover demand.

    Parameters
    ----------
    draws : Draws
    days : pandas.DataFrame
        The fitted rows: ``unique_id, ds, y, stockout, kind, exposure``, the last two what the day
        says of its own demand.
    """
    rng = np.random.default_rng(seed)
    n = n_draws or min(draws.n, 400)
    which = (
        np.linspace(0, draws.n - 1, n).round().astype(int)
        if n <= draws.n
        else (np.arange(n) % draws.n)
    )
    rows = np.flatnonzero(days[STOCKOUT].to_numpy())
    frame = days[[ID, DS, Y, STOCKOUT]].reset_index(drop=True)
    y = frame[Y].to_numpy(dtype=np.float64)
    smooth, bands = np.empty(len(y)), np.empty((len(levels), 2, len(y)))
    for start in range(0, len(y), max(1, _BLOCK // n)):
        part = np.arange(start, min(start + max(1, _BLOCK // n), len(y)))
        eta, family = draws.predictor(which, part)
        mean = expected_demand(family, eta)
        smooth[part] = mean.mean(axis=0)
        for k, value in enumerate(levels):
            tail = 0.5 - value / 200
            bands[k][:, part] = np.quantile(mean, [tail, 1 - tail], axis=0)
    recovered = y.copy()
    demand = np.empty((len(rows), n), dtype=np.float32)
    kind, share = days["kind"].to_numpy(), days["exposure"].to_numpy(dtype=np.float64)
    for start in range(0, len(rows), max(1, _BLOCK // n)):
        part = np.arange(start, min(start + max(1, _BLOCK // n), len(rows)))
        at = rows[part]
        eta, family = draws.predictor(which, at)
        drawn, expected = _given(family, y[at], kind[at], share[at], eta, rng)
        demand[part] = drawn.T
        recovered[at] = expected
    for name, p in _pairs(LEVEL_SMOOTHED, levels):
        frame[name] = bands[p[0], p[1]].astype(np.float32)
    frame.insert(4, LEVEL_SMOOTHED, smooth.astype(np.float32))
    frame[RECOVERED] = np.maximum(recovered, y).astype(np.float32)
    for name, p in _pairs(RECOVERED, levels):
        tail = 0.5 - levels[p[0]] / 200
        column = frame[Y].to_numpy(dtype=np.float32).copy()
        if len(rows):
            probability = tail if p[1] == 0 else 1 - tail
            column[rows] = np.quantile(demand, probability, axis=1, method="inverted_cdf")
        frame[name] = column
    frame[LOST] = frame[RECOVERED] - frame[Y].astype(np.float32)
    note = "Draws of the posterior: every sample is one draw of all parameters."
    return Recovery(frame, model, tuple(levels), note, rows, demand if n_draws else None, statics)


def _pairs(name: str, levels: list[float]) -> list[tuple[str, tuple[int, int]]]:
    return [(c, (k, j)) for k, v in enumerate(levels) for j, c in enumerate(level_columns(name, v))]


def _given(
    family: Family,
    y: np.ndarray,
    kind: np.ndarray,
    share: np.ndarray,
    eta: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw demand given what a day says, shape (n_draws, n_rows), and its mean by row.

    A bound: D given D >= y. A part of a day: sales plus the unseen rest, given the sales (as
    :func:`civstats.demand_filter.recovery.recover`). Neither: D.
    """
    least = np.where(kind == BOUND, y, -np.inf if isinstance(family, Normal) else 0.0)
    drawn = np.maximum(family.sample_above(least, eta, rng), 0.0)
    expected = np.where(
        np.isfinite(least), family.conditional_mean(least, eta), expected_demand(family, eta)
    )
    exact = kind == EXACT
    if exact.any():
        seen = np.where(exact, y, 0.0)
        rest, more = sample_unseen(family, seen, eta, share, rng)
        drawn = np.where(exact, seen + rest, drawn)
        expected = np.where(exact, seen + more, expected)
    return np.maximum(drawn, np.where(kind == BOUND, y, 0.0)), expected.mean(axis=0)
