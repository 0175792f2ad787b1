"""A panel as the network reads it: targets, weights, history fed back, flags, scales, features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.features.history import filtered_demand, sales_grid
from civstats.models._level_state import with_launches
from civstats.models.deepar._known import KnownCoding
from civstats.schema import (
    DS,
    ID,
    Y,
    known_covariates,
    series_index,
    stockout_days,
)

if TYPE_CHECKING:
    from civstats.demand_filter import DemandFilter

_PRIOR_DAYS = 7.0
"""Days that the mean of all days before counts for in the mean of the last ones."""
_OVERALL_DAYS = 1.0
"""Days that the mean of all series counts for in that of one."""
_MOST_OVER_SALES = 2.0


@dataclass(frozen=True)
class SeriesData:
    """All series on one calendar; arrays of shape (n_series, n_periods) unless said otherwise.

    Attributes
    ----------
    ids : pandas.Index
    dates : pandas.DatetimeIndex
    target : numpy.ndarray, float32
        Sales, 0 where they say nothing.
    weight : numpy.ndarray, float32
        1 on days that the likelihood reads, 0 elsewhere.
    bound : numpy.ndarray of bool
        Where the target is a lower bound.
    exposure : numpy.ndarray, float32
        Share of the day in the target's mean.
    history : numpy.ndarray, float32
        What is fed back as past demand.
    filled : numpy.ndarray of bool
        Where that is no record of sales.
    touched : numpy.ndarray of bool
        Stockout days, whatever is made of them.
    units, days, bounds : numpy.ndarray, float64, shape (n_series, n_periods + 1)
        Running sums of sales, of days in stock and of days with a bound, for scales.
    overall : numpy.ndarray, float64, shape ()
        Mean of all series over their days in stock.
    start, end : numpy.ndarray of int, shape (n_series,)
    shared : numpy.ndarray, float32, shape (n_periods, n_shared)
        Features that all series have in common.
    own : numpy.ndarray, float32, shape (n_series, n_periods, n_own)
    shared_at, own_at : numpy.ndarray of int
        Their positions among the features.
    static : numpy.ndarray, float32, shape (n_series, n_static)
    """

    ids: pd.Index
    dates: pd.DatetimeIndex
    target: np.ndarray
    weight: np.ndarray
    bound: np.ndarray
    exposure: np.ndarray
    history: np.ndarray
    filled: np.ndarray
    touched: np.ndarray
    units: np.ndarray
    days: np.ndarray
    bounds: np.ndarray
    overall: np.ndarray
    start: np.ndarray
    end: np.ndarray
    shared: np.ndarray
    own: np.ndarray
    shared_at: np.ndarray
    own_at: np.ndarray
    static: np.ndarray

    def scale(self, series: np.ndarray, origin: np.ndarray, window: int) -> np.ndarray:
        """Return the in-stock mean of the last `window` periods before each origin, positive.

        Shrunk to that of all days before, and that to the mean of all series: a launch of which a
        day or two are known is most like itself. Units sold on days that sold out count, those days
        do not: the mean of an exponential whose draws are censored. See :func:`_mean` for its bound.
        """
        first = np.maximum(origin - window, 0)
        past = [x[series, origin] for x in (self.units, self.days, self.bounds)]
        units, days, bounds = (
            p - x[series, first]
            for p, x in zip(past, (self.units, self.days, self.bounds), strict=True)
        )
        prior = _mean(past[0] + _OVERALL_DAYS * self.overall, past[1] + _OVERALL_DAYS, past[2])
        mean = _mean(units + _PRIOR_DAYS * prior, days + _PRIOR_DAYS, bounds)
        return np.maximum(mean, 1e-3).astype(np.float32)

    def digest(self) -> str:
        """Return what tells these data from any other."""
        digest = hashlib.blake2b(repr([str(i) for i in self.ids]).encode(), digest_size=16)
        digest.update(repr((self.dates[0], len(self.dates))).encode())
        for name in ("target", "weight", "bound", "exposure", "history", "filled", "touched",
                     "units", "days", "bounds", "overall", "start", "end", "shared", "own", "static"):  # fmt: skip
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()


def fed_history(
    panel: pd.DataFrame,
    treatment: str,
    fitted: DemandFilter | None,
    n_jobs: int | None,
) -> tuple[np.ndarray, DemandFilter | None]:
    """Return what stands for past demand, by row, and the filter that filled stockout days.

    Under ``mask`` and ``censor`` the filter works under the same treatment; ``ignore`` has none.
    """
    if treatment == "ignore" or not stockout_days(panel).any():
        return panel[Y].to_numpy(dtype=np.float32), fitted
    if fitted is not None:
        new = panel[~panel[ID].isin(fitted.ids_)]
        if len(new):
            new = new.assign(**{ID: new[ID].cat.remove_unused_categories()})
            fitted = with_launches(fitted, new.reset_index(drop=True))
    return filtered_demand(panel, fitted, treatment=treatment, n_jobs=n_jobs)


def series_data(
    panel: pd.DataFrame,
    treatment: str,
    demand: np.ndarray,
    coding: KnownCoding,
    *,
    raw: bool = False,
) -> SeriesData:
    """Lay a panel out.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    treatment : {"ignore", "mask", "censor"}
    demand : numpy.ndarray, shape (n_rows,)
        From :func:`fed_history`.
    coding : KnownCoding
    raw : bool
        Feed sales as they are, stockout days too, and tell the network nothing of them.
    """
    sold = sales_grid(panel, treatment)
    index = series_index(panel)
    at = index.codes(), np.searchsorted(sold.dates, panel[DS].to_numpy())
    known = np.isfinite(sold.y)
    history = np.zeros(sold.y.shape, dtype=np.float32)
    history[at] = panel[Y].to_numpy(dtype=np.float32) if raw else demand
    filled, touched = np.zeros(sold.y.shape, dtype=bool), np.zeros(sold.y.shape, dtype=bool)
    touched[at] = stockout_days(panel)
    if treatment != "ignore" and not raw:
        filled[at] = touched[at]
    units = _running(np.where(known, sold.y, 0))
    days = _running(sold.exposure)
    bounds = _running(known & sold.censored)
    total, lived, sold_out = (x[:, -1].sum() for x in (units, days, bounds))
    overall = _mean(total, max(lived, 1.0), sold_out)
    shared, own, shared_at, own_at = _features(panel, coding, at, sold.y.shape)
    return SeriesData(
        ids=sold.ids,
        dates=sold.dates,
        target=np.where(known, sold.y, 0).astype(np.float32),
        weight=known.astype(np.float32),
        bound=sold.censored,
        # A bound is one of the whole day's demand; only shares by the clock are shares.
        exposure=np.where(known & ~sold.censored, sold.exposure, 1).astype(np.float32),
        history=history,
        filled=filled,
        touched=touched,
        units=units,
        days=days,
        bounds=bounds,
        overall=np.array(overall, dtype=np.float64),
        start=sold.start,
        end=sold.end,
        shared=shared,
        own=own,
        shared_at=shared_at,
        own_at=own_at,
        static=coding.of_series(panel, index.starts),
    )


def covariates_of(panel: pd.DataFrame) -> pd.DataFrame:
    """Return what a forecast needs of a panel's rows besides sales: keys and known covariates."""
    return panel[[ID, DS, *known_covariates(panel.columns)]]


def _mean(units: Any, days: Any, bounds: Any) -> Any:
    """Return units over days in stock, at most twice those over all days that sold something.

    Of a series that sells out day after day nobody knows the mean, and units over no days at all
    would put it anywhere.
    """
    return np.minimum(units / days, _MOST_OVER_SALES * units / (days + bounds))


def _running(x: np.ndarray) -> np.ndarray:
    out = np.zeros((x.shape[0], x.shape[1] + 1))
    np.cumsum(x, axis=1, dtype=np.float64, out=out[:, 1:])
    return out


def _features(
    panel: pd.DataFrame,
    coding: KnownCoding,
    at: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Part features into those of the calendar, stored once, and those of the series."""
    rows = coding.of(covariates_of(panel))
    day = at[1]
    first = np.zeros((shape[1], rows.shape[1]), dtype=np.float32)
    first[day] = rows
    common = np.array([bool((first[day, j] == rows[:, j]).all()) for j in range(rows.shape[1])])
    common = common.astype(bool)
    own = np.zeros((*shape, int((~common).sum())), dtype=np.float32)
    own[at] = rows[:, ~common]
    return first[:, common], own, np.flatnonzero(common), np.flatnonzero(~common)
