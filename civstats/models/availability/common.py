"""What a panel's outages have in common: they follow expected demand, and whole months are worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.models.availability.history import Rows
from civstats.schema import DS, ID, ForecastError

if TYPE_CHECKING:
    import xarray as xr

# Periods in a block when the panel's share of days out is followed through time.
_BLOCK = 28
# Before any data: no elasticity, give or take 1; a month's odds off by 5 %, worth two blocks.
_SD_ELASTICITY, _SD_SHIFT, _PRIOR_BLOCKS = 1.0, 0.05, 2.0


@dataclass(frozen=True)
class Cells:
    """Weighted sums over the kinds of days (department x weekday x promotion), shape (n_cells,).

    Attributes
    ----------
    group : numpy.ndarray of int
        Department of the cell.
    sold, level : numpy.ndarray
        Sales, and level of the series, summed over days in stock.
    entries, expected : numpy.ndarray
        Outages begun, and the number that the series' own chances make expected.
    """

    group: np.ndarray
    sold: np.ndarray
    level: np.ndarray
    entries: np.ndarray
    expected: np.ndarray


def entry_elasticity(cells: Cells) -> float:
    """Return the power of a day's relative expected demand that the chance of an outage follows.

    Poisson regression of outages begun on the log of the cell's relative sales, an intercept per
    department, a normal prior that keeps to zero what the data does not show.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.8, 1.0, 1.25])
    >>> level = np.full(3, 1000.0)
    >>> cells = Cells(np.zeros(3, int), x * level, level, 500 * x, np.full(3, 500.0))
    >>> round(entry_elasticity(cells), 2)
    0.98
    """
    use = (cells.expected > 0) & (cells.sold > 0) & (cells.level > 0)
    if not use.any():
        return 0.0
    _, g = np.unique(cells.group[use], return_inverse=True)
    x = np.log(cells.sold[use] / cells.level[use])
    total = np.bincount(g, cells.entries[use])
    slope = 0.0
    for _ in range(50):
        # The intercepts are profiled out: within a department entries are multinomial over cells.
        part = cells.expected[use] * np.exp(slope * (x - x.mean()))
        part /= np.bincount(g, part)[g]
        centre = np.bincount(g, part * x)
        score = (cells.entries[use] - total[g] * part) @ x - slope / _SD_ELASTICITY**2
        information = total @ (np.bincount(g, part * x**2) - centre**2) + 1 / _SD_ELASTICITY**2
        step = np.clip(score / information, -0.5, 0.5)
        slope += step
        if abs(step) < 1e-8:
            break
    return float(slope)


def common_shift(
    age: np.ndarray, out: np.ndarray, expected: np.ndarray, variance: np.ndarray, half_life: float
) -> float:
    """Return the standard deviation of a month's common departure from the usual share of days out.

    The squared log departures of past blocks, less what independent chains explain, pooled with a
    weak prior (moment estimator, as in DerSimonian and Laird, 1986).

    Parameters
    ----------
    age : numpy.ndarray of int, shape (n_days,)
        Age of each calendar day in periods.
    out, expected, variance : numpy.ndarray, shape (n_days,)
        Days out of all series; their expectation, and their variance (with the chains' memory),
        given each series' own chances.
    half_life : float
        Age at which a day counts half.
    """
    block = age // _BLOCK
    k, e, v = (np.bincount(block, x) for x in (out, expected, variance))
    whole = (np.bincount(block) == _BLOCK) & (e > 0)
    k, e, v = k[whole], e[whole], v[whole]
    weight = 0.5 ** (np.flatnonzero(whole) * _BLOCK / half_life)
    prior = _PRIOR_BLOCKS * _SD_SHIFT**2
    if len(k) < 3 or k.sum() == 0:
        return float(np.sqrt(prior / _PRIOR_BLOCKS))
    usual = (weight @ k) / (weight @ e)
    # log(1 + x) of the relative departure; a block without a single outage stays finite.
    excess = np.log1p(np.maximum(k / (usual * e) - 1, -0.9)) ** 2 - v / e**2
    spread = (weight @ excess + prior) / (weight.sum() + _PRIOR_BLOCKS)
    return float(np.sqrt(max(spread, 0.0)))


def learn_common(
    rows: Rows,
    level: np.ndarray,
    group: np.ndarray,
    entry: np.ndarray,
    exit_: np.ndarray,
    half_life: float,
) -> tuple[float, float]:
    """Estimate elasticity and common shift from a panel's rows.

    Parameters
    ----------
    rows : Rows
    level, group, entry, exit_ : numpy.ndarray, shape (n_series,)
        Level of sales, department, daily chances to run out and to come back.
    half_life : float
        Age in periods at which a day counts half.
    """
    longrun, memory = entry / (entry + exit_), np.clip(1 - entry - exit_, -0.9, 0.99)
    # Asymptotic variance of the days spent in a state of a two-state chain, per day.
    scatter = longrun * (1 - longrun) * (1 + memory) / (1 - memory)
    n = 14 * (int(group.max()) + 1)
    cell = group[rows.codes] * 14 + rows.kind
    in_stock = rows.weight * (rows.known & ~rows.out)
    begun = rows.weight * rows.at_risk
    sums = [
        np.bincount(cell, x, minlength=n)
        for x in (
            in_stock * rows.y,
            in_stock * level[rows.codes],
            begun * rows.out,
            begun * entry[rows.codes],
        )
    ]
    i = np.flatnonzero(rows.known)
    out, expected, variance = (
        np.bincount(rows.age[i], x)
        for x in (rows.out[i], longrun[rows.codes[i]], scatter[rows.codes[i]])
    )
    return (
        entry_elasticity(Cells(np.arange(n) // 14, *sums)),
        common_shift(np.arange(len(out)), out, expected, variance, half_life),
    )


def entry_tilt(
    demand: xr.DataArray, ids: pd.Index, ds: pd.DatetimeIndex, elasticity: float
) -> np.ndarray:
    """Return factors on the chance that an outage begins, shape (n_series, n_days), mean one.

    Raises
    ------
    ForecastError
        If `demand` lacks some of the series or days.
    """
    absent = ids.difference(pd.Index(demand[ID].to_numpy()))
    late = ds.difference(pd.DatetimeIndex(demand[DS].to_numpy()))
    if len(absent) or len(late):
        raise ForecastError(
            f"demand lacks {len(absent)} series and {len(late)} day(s) of those asked for, first "
            f"{[*absent, *late][0]}: pass the forecast of the same series and days"
        )
    mean = demand.mean([d for d in demand.dims if d not in (ID, DS)]).transpose(ID, DS)
    table = mean.sel({ID: ids.to_numpy(dtype=object), DS: ds.to_numpy()}).to_numpy().astype(float)
    # Hardly any sale in sight: ratios of two tiny means say nothing about the shelf.
    table += 0.02 + 0.05 * table.mean(axis=1, keepdims=True)
    factor = (table / table.mean(axis=1, keepdims=True)) ** elasticity
    return factor / factor.mean(axis=1, keepdims=True)
