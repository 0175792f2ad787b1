"""Days on which nobody asks whether the shelf was empty: not launched, delisted, store closed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betaln

from civstats.schema import DS, PRICE, STATIC, CivstatsError, SeriesIndex, Y, check_share

ON_SALE, NOT_LAUNCHED, DELISTED, CLOSED = 0, 1, 2, 3
_STORE = STATIC[3]


@dataclass(frozen=True)
class DayRules:
    """When a day without sales is no question of stock.

    Attributes
    ----------
    closed_share : float
        A store whose sales of a day are below this share of its usual day is closed.
    closed_usual : float
        Units that a store must usually sell a day for its closing to be told.
    closed_window : int
        Days of which the usual day is the median: half before and half after, or all before
        where the future is not to be read.
    delisted_days : int
        Least length of the run of zeros, up to the series' end, of an item that is delisted (and
        of one before the first sale that was not launched, in a panel without prices).
    delisted_chance : float
        Such a run must also be this improbable for the item's own share of days without sales
        (beta-binomial, uniform prior), so that a slow mover is not taken for a dead one.

    Raises
    ------
    CivstatsError
        For a value outside its range.
    """

    closed_share: float = 0.1
    closed_usual: float = 20.0
    closed_window: int = 56
    delisted_days: int = 56
    delisted_chance: float = 1e-4

    def __post_init__(self) -> None:
        check_share("closed_share", self.closed_share)
        check_share("delisted_chance", self.delisted_chance)
        for name in ("closed_usual", "closed_window", "delisted_days"):
            if not getattr(self, name) >= 1:
                raise CivstatsError(f"{name} must be 1 or more, but got {getattr(self, name)!r}")


def days_apart(
    panel: pd.DataFrame, index: SeriesIndex, rules: DayRules, *, past_only: bool
) -> np.ndarray:
    """Tell days apart on which the item was not for sale, shape (n_rows,), int8.

    Sales, prices and dates alone are read. With `past_only` a day's code depends on nothing after
    that day: an item is delisted from the day on which its run of zeros is long enough, and,
    without prices, not launched until its first sale.
    """
    sold = panel[Y].to_numpy() > 0
    code = np.zeros(len(panel), dtype=np.int8)
    code[_closed(panel, rules, past_only)] = CLOSED
    codes = index.codes()
    before_first = _run_since(sold, index) == _age(index)
    if PRICE in panel.columns:
        priced = np.isfinite(panel[PRICE].to_numpy(dtype=float))
        early = before_first & (_run_since(priced, index) == _age(index))
    elif past_only:
        early = before_first
    else:
        never = before_first[index.ends - 1]
        early = before_first & (_from_end(_dead, sold, index, rules)[index.starts] | never)[codes]
    code[early] = NOT_LAUNCHED
    dead = _dead(sold, index, rules) & ~before_first
    if not past_only:
        tail = _from_end(_run_since, sold, index) == _from_end(_age, index)
        dead = tail & ~before_first & dead[index.ends - 1][codes]
    code[dead] = DELISTED
    return code


def _closed(panel: pd.DataFrame, rules: DayRules, past_only: bool) -> np.ndarray:
    """Mark the days on which a whole store (the panel, where none is named) sells next to nothing."""
    day, days = pd.factorize(panel[DS], sort=True)
    store = np.zeros(len(panel), dtype=int)
    if _STORE in panel.columns:
        store = pd.factorize(panel[_STORE])[0]
    n_stores = int(store.max(initial=0)) + 1
    units = np.bincount(
        store * len(days) + day, panel[Y].to_numpy(dtype=float), n_stores * len(days)
    )
    total = pd.DataFrame(units.reshape(n_stores, len(days)).T)
    least = min(14, rules.closed_window)
    if past_only:
        usual = total.shift(1).rolling(rules.closed_window, min_periods=least).median()
    else:
        usual = total.rolling(rules.closed_window + 1, center=True, min_periods=least).median()
    shut = (usual >= rules.closed_usual) & (total < rules.closed_share * usual)
    return shut.to_numpy().T.ravel()[store * len(days) + day]


def _dead(sold: np.ndarray, index: SeriesIndex, rules: DayRules) -> np.ndarray:
    """Mark days whose run of zeros so far is too long for what the series did before it."""
    run = _run_since(sold, index)
    # Counts over the days before the run.
    before, positive = _age(index) - run, _count(sold, index)
    zeros = before - positive
    log_chance = betaln(zeros + run + 1.0, positive + 1.0) - betaln(zeros + 1.0, positive + 1.0)
    return (run >= rules.delisted_days) & (log_chance < np.log(rules.delisted_chance))


def _age(index: SeriesIndex) -> np.ndarray:
    """Number of days from the series' start, this one included."""
    return 1 + np.arange(int(index.lengths.sum())) - np.repeat(index.starts, index.lengths)


def _run_since(hit: np.ndarray, index: SeriesIndex) -> np.ndarray:
    """Number of days since the last hit of the same series, 0 on a hit; the age before the first."""
    row = np.arange(len(hit))
    first = np.repeat(index.starts, index.lengths)
    last = np.maximum.accumulate(np.where(hit, row, -1))
    return row - np.maximum(last, first - 1)


def _count(hit: np.ndarray, index: SeriesIndex) -> np.ndarray:
    """Number of hits of the same series up to and with each day."""
    total = np.cumsum(hit)
    return total - np.repeat(total[index.starts] - hit[index.starts], index.lengths)


def _from_end(function, *arguments):  # type: ignore[no-untyped-def]
    """Apply a function of days so far to the days still to come."""
    turned = []
    for x in arguments:
        if isinstance(x, SeriesIndex):
            n = int(x.lengths.sum())
            x = SeriesIndex(x.ids[::-1], (n - x.ends)[::-1], (n - x.starts)[::-1])
        turned.append(x[::-1] if isinstance(x, np.ndarray) else x)
    return function(*turned)[::-1]


def run_lengths(sold: np.ndarray, index: SeriesIndex, *, so_far: bool) -> np.ndarray:
    """Length of the run of days without sales that each day is in, 0 on a day with sales."""
    run = _run_since(sold, index)
    if so_far:
        return run
    return np.where(sold, 0, run + _from_end(_run_since, sold, index) - 1)
