"""Stock on record read as an order-up-to policy: what was ordered, by which rule, what is under way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pandas as pd

from civstats.models.availability._safety import fit_safety
from civstats.schema import (
    DS,
    EVENTS,
    ID,
    PRICE,
    PROMO,
    STOCK,
    CivstatsError,
    ForecastError,
    Y,
    series_index,
)
from civstats.stockouts.simulate import InventoryPolicy
from civstats.stockouts.simulate.covariates import trade_calendar

_KNOWN = (ID, DS, PRICE, PROMO, *EVENTS)
# Past days from which the policy is read: enough to tell lead times apart, recent enough to hold.
_READ = 365


@dataclass(frozen=True)
class Rule:
    """How each series orders; arrays of shape (n_series,).

    Attributes
    ----------
    review, lead, phase : numpy.ndarray of int
        Orders are placed after closing on days d with ``(d + phase) % review == 0``, d counted
        from the panel's first day, and arrive `lead` days later.
    safety : float
    cover : numpy.ndarray of int, optional
        Days that the order-up-to level is to last; review period and lead time by default.
    """

    review: np.ndarray
    lead: np.ndarray
    phase: np.ndarray
    safety: float
    cover: np.ndarray | None = None

    @property
    def days(self) -> np.ndarray:
        """Days that the order-up-to level is to last."""
        return self.review + self.lead if self.cover is None else self.cover

    def faster(self, review: int | None, lead: int | None, *, keep_level: bool = False) -> Rule:
        """Return the rule with review period and lead time no longer than those given."""
        short = self.review if review is None else np.minimum(self.review, review)
        return replace(
            self,
            review=short,
            lead=self.lead if lead is None else np.minimum(self.lead, lead),
            phase=self.phase * short // self.review,
            cover=self.days if keep_level else None,
        )


@dataclass(frozen=True)
class Shelves:
    """The past, series by day; NaN before a series' first day.

    Attributes
    ----------
    ids, days : pandas.Index
    stock, sales, profile, level, seen : numpy.ndarray, shape (n_series, n_days)
        Opening stock, sales, known factors, and the shop's smoothed sales after each day with the
        number of days they rest on.
    first : numpy.ndarray of int, shape (n_series,)
    known : pandas.DataFrame
        Rows of the covariates that the profile reads.
    uplifts : tuple of float
    """

    ids: pd.Index
    days: pd.DatetimeIndex
    stock: np.ndarray
    sales: np.ndarray
    profile: np.ndarray
    level: np.ndarray
    seen: np.ndarray
    first: np.ndarray
    known: pd.DataFrame
    uplifts: tuple[float, float, float]

    def profile_ahead(self, future: pd.DataFrame | None, days: pd.DatetimeIndex) -> np.ndarray:
        """Return the known factors of the days to come, shape (n_series, n_days)."""
        if future is None:
            weekend = np.where(days.dayofweek >= 5, self.uplifts[0], 1.0)
            return np.broadcast_to(weekend, (len(self.ids), len(days)))
        columns = [c for c in _KNOWN if c in self.known.columns and c in future.columns]
        both = pd.concat([self.known[columns], future[columns]], ignore_index=True)
        both[ID] = pd.Categorical(both[ID].astype(object), categories=self.ids)
        both = both[both[ID].notna()].sort_values([ID, DS], kind="stable", ignore_index=True)
        table = _table(both, _profile(both, self.uplifts), self.ids, days)
        if np.isnan(table).any():
            raise ForecastError(
                f"future lacks {int(np.isnan(table).sum())} series-day(s) of the demand paths: "
                "pass the known covariates of all, or none"
            )
        return table


def read_shelves(panel: pd.DataFrame, policy: InventoryPolicy) -> Shelves:
    """Lay a panel's stock and sales out by series and day, and replay what the shop has learnt."""
    if STOCK not in panel.columns:
        raise CivstatsError(
            f"the panel has no {STOCK}: a shelf needs each day's opening stock; use Availability, which "
            "needs flags alone"
        )
    y, stock = panel[Y].to_numpy(float), panel[STOCK].to_numpy(float)
    unknown, odd = np.isnan(stock), stock < y
    for bad, what in ((unknown, f"no {STOCK}"), (odd, f"{STOCK} below {Y}")):
        if bad.any():
            raise CivstatsError(
                f"{int(bad.sum())} row(s) have {what}, first {panel[ID].iloc[int(bad.argmax())]}: a shelf "
                "needs each day's opening stock; use Availability, which needs flags alone"
            )
    index = series_index(panel)
    ids = pd.Index(index.ids, dtype=object)
    days = pd.date_range(panel[DS].min(), panel[DS].max(), freq="D")
    uplifts = (policy.weekend_uplift, policy.promo_uplift, policy.event_uplift)
    known = panel[[c for c in _KNOWN if c in panel.columns]]
    opening, sold, profile = (
        _table(panel, v, ids, days) for v in (stock, y, _profile(panel, uplifts))
    )
    there = ~np.isnan(opening)
    first = there.argmax(axis=1)
    gaps = ~there & (np.arange(len(days)) >= first[:, None])
    if gaps.any():
        raise CivstatsError(
            f"{int(gaps.any(axis=1).sum())} series have gaps or end before {days[-1].date()}, first "
            f"{ids[int(gaps.any(axis=1).argmax())]}: stock carries over, so each day is needed"
        )
    level, seen = _learnt(opening, sold, profile, policy)
    return Shelves(ids, days, opening, sold, profile, level, seen, first, known, uplifts)


def learn(
    level: np.ndarray, seen: np.ndarray, x: np.ndarray, out: np.ndarray, policy: InventoryPolicy
) -> tuple[np.ndarray, np.ndarray]:
    """Update smoothed sales; a shelf that ended empty can raise the estimate, never lower it."""
    use = ~(out & (x <= level))
    seen = seen + use
    weight = np.maximum(policy.memory, 1 / (seen + policy.prior_days))
    return np.where(use, level + weight * (x - level), level), seen


def _learnt(
    stock: np.ndarray, sales: np.ndarray, profile: np.ndarray, policy: InventoryPolicy
) -> tuple[np.ndarray, np.ndarray]:
    level = np.full(len(stock), policy.prior_level)
    seen = np.zeros(len(stock))
    levels, counts = np.empty(stock.shape), np.empty(stock.shape)
    for t in range(stock.shape[1]):
        there = ~np.isnan(stock[:, t])
        x = np.where(there, sales[:, t] / profile[:, t], 0)
        new, count = learn(level, seen, x, sales[:, t] >= stock[:, t], policy)
        level, seen = np.where(there, new, level), np.where(there, count, seen)
        levels[:, t], counts[:, t] = level, seen
    return levels, counts


def cover(profile: np.ndarray, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum the profile and its square over the `days` days after each; ones beyond the end."""
    padded = np.concatenate([profile, np.ones((len(profile), days))], axis=1)
    sums = [
        np.cumsum(np.concatenate([np.zeros((len(p), 1)), p], axis=1), axis=1)
        for p in (padded, padded**2)
    ]
    t = np.arange(profile.shape[1])
    first, second = (s[:, t + 1 + days] - s[:, t + 1] for s in sums)
    return first, second


def need(
    level: np.ndarray, sums: tuple[np.ndarray, np.ndarray], dispersion: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of what the shop expects to sell until the next arrival."""
    mean = level * sums[0]
    return mean, np.sqrt(mean + level**2 * sums[1] / dispersion)


def infer(past: Shelves, policy: InventoryPolicy) -> tuple[Rule, np.ndarray]:
    """Read each series' review days and lead time, and the safety factor, from past deliveries.

    After an order the position (closing stock and all that is under way) is the order-up-to level.
    For every possible pair of review period and lead time that position is known from the record;
    the pair under which it lies closest to the rule's level, with one safety factor for all series,
    is taken. Given the pairs, the safety factor is that of maximum likelihood.
    """
    n, n_days = past.stock.shape
    profile = np.nan_to_num(past.profile, nan=1.0)
    closing = past.stock - past.sales
    came = np.zeros((n, n_days))
    came[:, 1:] = np.nan_to_num(past.stock[:, 1:] - closing[:, :-1])
    total = np.cumsum(came, axis=1)
    candidates = list(product(np.unique(policy.review_period), np.unique(policy.lead_time)))
    z, spread, phases, count = (np.full((len(candidates), n), np.nan) for _ in range(4))
    squares = np.full((len(candidates), n), np.nan)
    for c, (review, lead) in enumerate(candidates):
        s = np.arange(max(n_days - lead - _READ, 0), n_days - lead)
        ordered = np.asarray(came[:, s + lead] > 0)
        ordered &= s >= (past.first + policy.launch_days + 1)[:, None]
        by_phase = np.stack([(ordered & (s % review == r)).sum(axis=1) for r in range(review)])
        phases[c] = (review - by_phase.argmax(axis=0)) % review
        position = closing[:, s] + total[:, s + lead] - total[:, s]
        first, second = cover(profile, int(review + lead))
        mean, sd = need(past.level[:, s], (first[:, s], second[:, s]), policy.dispersion)
        ratio = np.where(ordered, (position - mean) / sd, 0.0)
        count[c] = ordered.sum(axis=1)
        n_orders = np.maximum(count[c], 1)
        z[c], squares[c] = ratio.sum(axis=1) / n_orders, (ratio**2).sum(axis=1) / n_orders
        # Orders on days that are none by this review period speak against it.
        strange = count[c] - by_phase.max(axis=0)
        spread[c] = np.where(count[c] > 0, squares[c] - z[c] ** 2 + strange, np.inf)
    best, pick = spread.argmin(axis=0), np.arange(n)
    known = count[best, pick] >= 3
    safety = float(np.median(z[best, pick][known])) if known.any() else policy.safety_factor
    # With the safety factor shared, a wrong lead time shows by its level too, not its spread alone.
    bias = np.where(np.isfinite(spread), (z - safety) ** 2, 0.0)
    best = np.where(known, (spread + bias).argmin(axis=0), 0)
    review, lead = np.asarray(candidates)[best].T
    residual = np.sqrt(np.maximum(squares - z**2, 0) + bias)[best, pick]
    residual[~known] = np.nan
    rule = Rule(review, lead, phases[best, pick].astype(int), safety)
    if known.any():
        rule = replace(rule, safety=_safety(past, policy, rule, came, known))
    return rule, residual


def _safety(
    past: Shelves, policy: InventoryPolicy, rule: Rule, came: np.ndarray, known: np.ndarray
) -> float:
    """Estimate the safety factor from the review days of the series whose rhythm is known."""
    n_days = past.stock.shape[1]
    profile = np.nan_to_num(past.profile, nan=1.0)
    closing = past.stock - past.sales
    total = np.cumsum(came, axis=1)
    parts = []
    for review, lead in np.unique(np.stack([rule.review, rule.lead])[:, known], axis=1).T:
        i = np.flatnonzero(known & (rule.review == review) & (rule.lead == lead))
        s = np.arange(max(n_days - lead - _READ, 0), n_days - lead)
        due = (s + rule.phase[i, None]) % review == 0
        due &= s >= (past.first[i] + policy.launch_days + 1)[:, None]
        first, second = cover(profile[i], int(review + lead))
        mean, sd = need(past.level[np.ix_(i, s)], (first[:, s], second[:, s]), policy.dispersion)
        before = closing[np.ix_(i, s)] + total[np.ix_(i, s + lead - 1)] - total[np.ix_(i, s)]
        parts.append(np.stack([x[due] for x in (mean, sd, before, came[np.ix_(i, s + lead)])]))
    return fit_safety(
        *np.concatenate(parts, axis=1), min_level=policy.min_level, pack_size=policy.pack_size
    )


def _table(
    panel: pd.DataFrame, values: np.ndarray, ids: pd.Index, days: pd.DatetimeIndex
) -> np.ndarray:
    table = np.full((len(ids), len(days)), np.nan)
    row = ids.get_indexer(pd.Index(panel[ID].astype(object)))
    column = days.get_indexer(pd.DatetimeIndex(panel[DS]))
    use = (row >= 0) & (column >= 0)
    table[row[use], column[use]] = values[use]
    return table


def _profile(panel: pd.DataFrame, uplifts: tuple[float, float, float]) -> np.ndarray:
    """Known factors on a day's expected sales, shape (n_rows,)."""
    calendar = trade_calendar(panel)
    factor = np.where(calendar.weekend, uplifts[0], 1.0)
    factor[calendar.promo] *= uplifts[1]
    factor[calendar.event] *= uplifts[2]
    return factor
