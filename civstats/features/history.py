"""Features from past sales, measured from the origin: lags, rolling means, launches, last sales.

The origin t is the number of known periods: a feature at t reads periods before t and nothing
else. Under ``mask`` a stockout day is missing, as if nobody had looked: no feature reads its sales
or its stock. Under ``censor`` a mean is all units sold over the exposure, the periods that were not
cut short: the maximum likelihood estimate of a geometric demand with right-censored days, which a
booster can bend to the family at hand, where the masked mean has lost the busy days.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.schema import (
    DS,
    LEVEL_FILTERED,
    RECOVERED_FILTERED,
    TRUTH,
    CivstatsError,
    Y,
    check_treatment,
    series_index,
    stockout_days,
    treated_sales,
)

if TYPE_CHECKING:
    from civstats.demand_filter import DemandFilter

LAGS = (1, 7, 14, 28)
WINDOWS = (7, 28, 56, 91)
SEASON_CYCLES = (4, 8)
HALF_LIVES = (14, 60)
ZERO_WINDOW = 28
OLD = 364
_NS_PER_DAY = 86_400_000_000_000
_MOST_KEPT = 3
_KEPT: dict[str, tuple[np.ndarray, DemandFilter]] = {}
"""Answers of :func:`filtered_demand` by the panel's content, the oldest first."""


@dataclass(frozen=True)
class SalesGrid:
    """Sales of all series on one calendar.

    Attributes
    ----------
    ids : pandas.Index, shape (n_series,)
    dates : pandas.DatetimeIndex, shape (n_periods,)
    y : numpy.ndarray, shape (n_series, n_periods), float32
        Sales; NaN where the series has no row, on stockout days under ``mask``, and on days
        without information (out from the first hour) under ``censor``.
    exposure : numpy.ndarray, shape (n_series, n_periods), float32
        What a period counts in a mean: 1 where sales are known, 0 where `y` is NaN or a lower
        bound, the share of the day in stock on days lost by the clock under ``censor``.
    censored : numpy.ndarray of bool, shape (n_series, n_periods)
        Where `y` is a lower bound of demand; nowhere but under ``censor``.
    start : numpy.ndarray, shape (n_series,)
        Position of the first row of each series.
    end : numpy.ndarray, shape (n_series,)
        Position after the last row of each series.
    """

    ids: pd.Index
    dates: pd.DatetimeIndex
    y: np.ndarray
    exposure: np.ndarray
    censored: np.ndarray
    start: np.ndarray
    end: np.ndarray


_FILTER = {"group": (), "sample_rows": 20_000, "rounds": 2}
"""A history needs the level of each series, not the last digit of what series share."""


def filtered_demand(
    panel: pd.DataFrame,
    fitted: DemandFilter | None = None,
    *,
    treatment: str = "censor",
    n_jobs: int | None = 1,
) -> tuple[np.ndarray, DemandFilter]:
    """Return sales with stockout days replaced by what the days so far say of their demand.

    On a stockout day the demand filter's E[D | days up to it], never a smoothed value: that has
    seen the days after it, which are what a lag is to help predict. Under ``mask`` not even the
    day's own sales are read: its value is the mean that the in-stock days before it expect.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated, whole units; no day after the cutoff.
    fitted : DemandFilter, optional
        Under the same treatment, with parameters to keep; fitted on the panel if None.
    treatment : {"censor", "mask"}
        What the filter learns from a stockout day.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    demand : numpy.ndarray of float32, shape (n_rows,)
        Sales on all other days.
    fitted : DemandFilter

    Notes
    -----
    Many models ask for the same panel's: the last few answers are kept, by the panel's content.
    """
    from civstats.demand_filter import DemandFilter
    from civstats.demand_filter.recovery import recover

    key = None if fitted is not None else treatment + _content(panel)
    if key is not None and key in _KEPT:
        demand, fitted = _KEPT[key]
        return demand.copy(), fitted
    if fitted is None:
        fitted = DemandFilter(treatment=treatment, n_jobs=n_jobs, **_FILTER).fit(panel)  # type: ignore[arg-type]
    found = recover(panel, fitted, levels=(), n_jobs=n_jobs).frame
    demand = found[RECOVERED_FILTERED].to_numpy()
    if treatment == "mask":
        # A masked filter's recovery still takes the day's own sales for a bound of its demand.
        level = found[LEVEL_FILTERED].to_numpy()
        demand = np.where(stockout_days(panel), level, panel[Y].to_numpy()).astype(np.float32)
    if key is not None:
        while len(_KEPT) >= _MOST_KEPT:
            _KEPT.pop(next(iter(_KEPT)))
        _KEPT[key] = demand.copy(), fitted
    return demand, fitted


def _content(panel: pd.DataFrame) -> str:
    """Return a digest of the columns that the filter may read."""
    read = panel[[c for c in panel.columns if c not in TRUTH]]
    digest = hashlib.blake2b(repr([(c, str(t)) for c, t in read.dtypes.items()]).encode())
    digest.update(pd.util.hash_pandas_object(read, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def sales_grid(
    panel: pd.DataFrame, treatment: str = "ignore", demand: np.ndarray | None = None
) -> SalesGrid:
    """Put the sales of a validated panel on a grid of series and periods.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated. Its periods are days if any two dates are a day apart, otherwise the dates
        that occur.
    treatment : {"ignore", "mask", "censor"}
        ``ignore`` takes sales as they are; under ``mask`` stockout days are missing; under
        ``censor`` they are bounds, or sales of a share of the day.
    demand : numpy.ndarray, shape (n_rows,), optional
        Under ``censor``: what stands for demand on every day, from :func:`filtered_demand`. All days
        then count in full, and none is a bound.
    """
    check_treatment(treatment)
    index = series_index(panel)
    ns = panel[DS].to_numpy().astype("datetime64[ns]").astype(np.int64)
    unique = np.unique(ns)
    if len(unique) > 1 and np.diff(unique).min() == _NS_PER_DAY:
        n = (unique[-1] - unique[0]) // _NS_PER_DAY + 1
        unique = unique[0] + _NS_PER_DAY * np.arange(n)
    position = np.searchsorted(unique, ns)
    sales, exposure, bound = treated_sales(panel, treatment)
    if demand is not None:
        sales, exposure, bound = demand, np.ones_like(exposure), np.zeros_like(bound)
    shape = (len(index.ids), len(unique))
    at = (index.codes(), position)
    y, weight = np.full(shape, np.nan, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    censored = np.zeros(shape, dtype=bool)
    y[at], weight[at], censored[at] = sales, exposure, bound
    start, end = position[index.starts], position[index.ends - 1] + 1
    return SalesGrid(index.ids, pd.DatetimeIndex(unique), y, weight, censored, start, end)


@dataclass(frozen=True)
class HistoryFeatures:
    """Features at origins.

    Attributes
    ----------
    names : list of str
        Names of the features that hold for every day ahead.
    steady : numpy.ndarray, shape (n_series, n_origins, n_names), float32
    season_names : list of str
        Names of the features that depend on the day of the season ahead.
    season : numpy.ndarray, shape (n_series, n_origins, season_length, n_season_names), float32
        Entry r belongs to days ahead d (0 the first) with ``d % season_length == r``.
    level : numpy.ndarray, shape (n_series, n_origins), float64
        Recent mean of sales, shrunk to the mean over series and positive: a yardstick for the
        other features, not a forecast.
    """

    names: list[str]
    steady: np.ndarray
    season_names: list[str]
    season: np.ndarray
    level: np.ndarray

    def at(self, ahead: int) -> dict[str, np.ndarray]:
        """All features for the day `ahead` (0 the first), name to shape (n_series, n_origins)."""
        out = {n: self.steady[..., j] for j, n in enumerate(self.names)}
        r = ahead % self.season.shape[2]
        return out | {n: self.season[..., r, j] for j, n in enumerate(self.season_names)}


def history_features(
    grid: SalesGrid, origins: np.ndarray | list[int], *, season_length: int = 7
) -> HistoryFeatures:
    """Compute lags, rolling means and the rest at several origins.

    Parameters
    ----------
    grid : SalesGrid
        From :func:`sales_grid`, which also settles how stockout days count.
    origins : array_like of int, shape (n_origins,)
        Numbers of known periods, each from 1 to the grid's length.
    season_length : int
        Periods in a season: 7 for days of the week.

    Returns
    -------
    HistoryFeatures
        ``lag_k`` is k periods back from the first day ahead (NaN if missing), ``mean_w`` the mean
        over the known of the last w periods, ``decay_w`` that with half-life w, ``spread_28``
        their standard deviation, ``zeros_28`` the share of zeros,
        ``known_28`` the share of periods in stock, ``since_sale`` the periods since the last known
        sale, ``age`` the periods since launch up to 364, ``season_mean_c`` the mean over the last c periods
        of the same season.

    Raises
    ------
    CivstatsError
        For an origin outside the grid.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=10)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": range(10)})
    >>> features = history_features(sales_grid(validate_panel(panel)), [10])
    >>> float(features.at(0)["lag_7"][0, 0]), float(features.at(0)["mean_7"][0, 0])
    (3.0, 6.0)
    """
    t = np.asarray(origins, dtype=int)
    n_periods = grid.y.shape[1]
    if t.size and (t.min() < 1 or t.max() > n_periods):
        raise CivstatsError(f"origins must lie in [1, {n_periods}], but got {t.min()} to {t.max()}")
    # A bound is no value: it counts among the units sold, not among the values seen.
    seen = np.isfinite(grid.y) & ~grid.censored
    exact = np.where(seen, grid.y, 0).astype(np.float64)
    sold = np.where(np.isfinite(grid.y), grid.y, 0).astype(np.float64)
    exposure = grid.exposure.astype(np.float64)
    columns: dict[str, np.ndarray] = {}
    for k in LAGS:
        back = np.maximum(t - k, 0)
        columns[f"lag_{k}"] = np.where((t >= k) & seen[:, back], grid.y[:, back], np.nan)
    sums, counts = _running(sold), _running(exposure)
    for w in WINDOWS:
        columns[f"mean_{w}"] = _mean(_window(sums, t, w), _window(counts, t, w))
    w = ZERO_WINDOW
    n = _window(_running(seen), t, w)
    first = _mean(_window(_running(exact), t, w), n)
    square = _mean(_window(_running(exact**2), t, w), n)
    columns[f"spread_{w}"] = np.sqrt(np.maximum(square - first**2, 0))
    columns[f"zeros_{w}"] = _mean(_window(_running(seen & (exact == 0)), t, w), n)
    age = np.maximum(t - grid.start[:, None], 0)
    columns[f"known_{w}"] = _mean(_window(counts, t, w), np.minimum(age, w))
    for w in HALF_LIVES:
        columns[f"decay_{w}"] = _mean(*_decayed(sold, exposure, t, w))
    columns["since_sale"] = _since_sale(sold > 0, t)
    # Capped: an uncapped age is the date in disguise, and tomorrow's is beyond the training range.
    columns["age"] = np.where(age > 0, np.minimum(age, OLD), np.nan)
    season = _season_means(sold, exposure, t, season_length)
    return HistoryFeatures(
        names=list(columns),
        steady=np.stack([c.astype(np.float32) for c in columns.values()], axis=2),
        season_names=[f"season_mean_{c}" for c in SEASON_CYCLES],
        season=season,
        level=_level(sold, exposure, t),
    )


def _running(x: np.ndarray) -> np.ndarray:
    """Sums over the periods before each origin, shape (n_series, n_periods + 1)."""
    out = np.zeros((x.shape[0], x.shape[1] + 1))
    np.cumsum(x, axis=1, out=out[:, 1:])
    return out


def _window(sums: np.ndarray, t: np.ndarray, w: int) -> np.ndarray:
    return sums[:, t] - sums[:, np.maximum(t - w, 0)]


def _mean(total: np.ndarray, n: np.ndarray) -> np.ndarray:
    out = np.full(total.shape, np.nan)
    np.divide(total, n, out=out, where=n > 0)
    return out


def _decayed(
    y: np.ndarray, exposure: np.ndarray, t: np.ndarray, half_life: float
) -> tuple[np.ndarray, np.ndarray]:
    """Exponentially weighted sums of sales and of exposure at each origin."""
    keep = 0.5 ** (1.0 / half_life)
    total = np.zeros((len(y), len(t)))
    weight = np.zeros_like(total)
    a, b = np.zeros(len(y)), np.zeros(len(y))
    wanted: dict[int, list[int]] = {}
    for j, origin in enumerate(t):
        wanted.setdefault(int(origin), []).append(j)
    by_day, exposure_by_day = y.T.copy(), exposure.T.copy()
    for day in range(max(wanted, default=0)):
        a = a * keep + by_day[day]
        b = b * keep + exposure_by_day[day]
        for j in wanted.get(day + 1, ()):
            total[:, j], weight[:, j] = a, b
    return total, weight


def _since_sale(sold: np.ndarray, t: np.ndarray) -> np.ndarray:
    last = np.maximum.accumulate(np.where(sold, np.arange(sold.shape[1]), -1), axis=1)[:, t - 1]
    return np.where(last >= 0, t - last, np.nan)


def _season_means(y: np.ndarray, exposure: np.ndarray, t: np.ndarray, s: int) -> np.ndarray:
    """Means over the last cycles, shape (n_series, n_origins, season, n_cycles)."""
    out = np.empty((len(y), len(t), s, len(SEASON_CYCLES)), dtype=np.float32)
    total = np.zeros((len(y), len(t), s))
    count = np.zeros_like(total)
    ahead = np.arange(s)
    done = 0
    for j, cycles in enumerate(SEASON_CYCLES):
        for c in range(done + 1, cycles + 1):
            day = t[:, None] + ahead - s * c
            use = (day >= 0) & (day < y.shape[1])
            day = np.where(use, day, 0)
            total += np.where(use, y[:, day], 0)
            count += np.where(use, exposure[:, day], 0)
        done = cycles
        out[..., j] = _mean(total, count)
    return out


def _level(y: np.ndarray, exposure: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Recent mean with a week of the average series as prior, never zero."""
    total, weight = _decayed(y, exposure, t, 28.0)
    n = weight.sum(axis=0)
    prior = np.where(n > 0, total.sum(axis=0) / np.maximum(n, 1e-9), 1.0)
    return np.maximum((total + 0.25 * np.maximum(prior, 0.01)) / (weight + 0.25), 1e-3)
