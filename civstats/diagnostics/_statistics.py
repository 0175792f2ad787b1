"""Statistics of a panel's sales that a model of demand should reproduce, by group of series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import DS, CivstatsError

ALL = "all"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PLAIN = ("mean", "share of zeros", "99 % quantile", "maximum", "dispersion")
_LAGS = {"autocorrelation, 1 day": 1, "autocorrelation, 7 days": 7}
STATISTICS = (*_PLAIN, *_LAGS, *(f"{d} / mean" for d in DAYS))
"""Dispersion is variance over mean within series; autocorrelation is pooled within series."""
TAIL = ("99 % quantile", "maximum", "mean", "dispersion")
"""Statistics that replicated sales above an unknown stock distort."""


@dataclass(frozen=True)
class Layout:
    """Where each row of a panel belongs.

    Attributes
    ----------
    groups : list of str
        ``all`` first.
    members : list of numpy.ndarray or None
        Rows of each group; None is all.
    series, weekday : numpy.ndarray of int, shape (n_rows,)
    """

    groups: list[str]
    members: list[np.ndarray | None]
    series: np.ndarray
    weekday: np.ndarray

    @classmethod
    def of(cls, panel: pd.DataFrame, by: str | None, series: np.ndarray) -> Layout:
        """Read a panel's layout; `by` names a column of groups."""
        groups: list[str] = [ALL]
        members: list[np.ndarray | None] = [None]
        if by is not None:
            if by not in panel.columns:
                raise CivstatsError(f"the panel has no column {by!r} to group by")
            for value, rows in panel.groupby(by, observed=True).indices.items():
                groups.append(str(value))
                members.append(np.sort(rows))
        return cls(groups, members, series, panel[DS].dt.dayofweek.to_numpy())

    def means(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of each group over rows that are not NaN."""
        return np.array([_mean(values if m is None else values[m]) for m in self.members])

    def means_of(self, draws: np.ndarray) -> np.ndarray:
        """Return the means of every draw, (n_draws, n_groups)."""
        return np.array([self.means(row) for row in draws])


def statistics_of(values: np.ndarray, layout: Layout, names: Sequence[str]) -> np.ndarray:
    """Return statistics of one panel, NaN where undefined, shape (n_groups, len(names)).

    Parameters
    ----------
    values : numpy.ndarray, shape (n_rows,)
        Sales, sorted by series and day; NaN on days that are left out.
    layout : Layout
    names : sequence of str
        Some of `STATISTICS`.
    """
    out = np.full((len(layout.groups), len(names)), np.nan)
    # The prior may draw sales beyond any number: such a statistic is undefined, not an error.
    with np.errstate(all="ignore"):
        for g, rows in enumerate(layout.members):
            x = values if rows is None else values[rows]
            series = layout.series if rows is None else layout.series[rows]
            weekday = layout.weekday if rows is None else layout.weekday[rows]
            out[g] = _of_group(x, series, weekday, names)
    return out


def _of_group(
    x: np.ndarray, series: np.ndarray, weekday: np.ndarray, names: Sequence[str]
) -> list[float]:
    live = ~np.isnan(x)
    seen = x[live]
    if not len(seen):
        return [np.nan] * len(names)
    found = {"mean": float(seen.mean()), "share of zeros": float((seen == 0).mean())}
    if "99 % quantile" in names:
        found["99 % quantile"] = float(np.quantile(seen, 0.99))
    found["maximum"] = float(seen.max())
    count = np.bincount(series[live])
    centre = np.bincount(series[live], weights=seen) / np.maximum(count, 1)
    off = np.where(live, x - centre[series], 0.0)
    squares = float((off**2).sum())
    # A series seen once has no variance of its own.
    free = float(np.maximum(count - 1, 0).sum())
    found["dispersion"] = _ratio(squares, free * found["mean"]) if free else np.nan
    for name, lag in _LAGS.items():
        same = series[lag:] == series[:-lag]
        found[name] = _ratio(float((off[lag:] * off[:-lag])[same].sum()), squares)
    sums = np.bincount(weekday[live], weights=seen, minlength=7)
    days = np.bincount(weekday[live], minlength=7)
    for k, day in enumerate(DAYS):
        found[f"{day} / mean"] = _ratio(_ratio(sums[k], days[k]), found["mean"])
    return [found[name] for name in names]


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom else float("nan")


def _mean(values: np.ndarray) -> float:
    seen = values[~np.isnan(values)]
    return float(seen.mean()) if len(seen) else float("nan")
