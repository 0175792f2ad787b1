"""What a panel's past says about availability: weighted transitions, caps and levels per series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.models.availability.resample import Pool
from civstats.schema import (
    CENSORED,
    DS,
    FLAG_KNOWN,
    ID,
    IN_STOCK_SHARE,
    PROMO,
    CivstatsError,
    PanelError,
    Y,
    series_index,
    stockout_days,
)


@dataclass(frozen=True)
class Rows:
    """Rows of the panel; all shapes (n_rows,).

    Attributes
    ----------
    codes : numpy.ndarray of int
        Position of the row's series.
    kind : numpy.ndarray of int
        Weekday, and 7 more on promotion: what sales and outages are compared by.
    age : numpy.ndarray of int
        Periods before the cutoff.
    weight, y : numpy.ndarray
    out, known, at_risk : numpy.ndarray of bool
        Stockout day; status known; in stock the period before, both known.
    """

    codes: np.ndarray
    kind: np.ndarray
    age: np.ndarray
    weight: np.ndarray
    y: np.ndarray
    out: np.ndarray
    known: np.ndarray
    at_risk: np.ndarray


@dataclass(frozen=True)
class History:
    """Sufficient statistics of availability, weights fading with age; all shapes (n_series,).

    Attributes
    ----------
    ids : pandas.Index
    period : pandas.Timedelta
        Time between two rows of a series.
    last_known : numpy.ndarray of datetime64
        Last period whose stock status is known; NaT where none is.
    last_out : numpy.ndarray of bool
        Whether the series was out then.
    entry, exit, part, wholly_first, wholly_later : tuple of numpy.ndarray
        Weighted ``(hits, trials)``: in stock -> out; out -> in stock; stockout days lost by the
        clock only; censored days with nothing to sell, on the first and on later days of an outage.
    level : numpy.ndarray
        Weighted mean sales of the days in stock.
    caps, shares : Pool
        Units sold on censored days that sold something; in-stock shares of days lost by the clock.
    ever_censored : bool
        Whether any censored day is known.
    """

    ids: pd.Index
    period: pd.Timedelta
    last_known: np.ndarray
    last_out: np.ndarray
    entry: tuple[np.ndarray, np.ndarray]
    exit: tuple[np.ndarray, np.ndarray]
    part: tuple[np.ndarray, np.ndarray]
    wholly_first: tuple[np.ndarray, np.ndarray]
    wholly_later: tuple[np.ndarray, np.ndarray]
    level: np.ndarray
    caps: Pool
    shares: Pool
    ever_censored: bool

    @property
    def ever_out(self) -> bool:
        """Whether any stockout day is known at all."""
        return self.ever_censored or self.shares.seen.size > 0


def read_history(panel: pd.DataFrame, half_life: float) -> tuple[History, Rows]:
    """Summarise the availability of a validated panel.

    Parameters
    ----------
    panel : pandas.DataFrame
        With ``is_censored`` or ``in_stock_share`` (or both). ``demand`` is never read.
    half_life : float
        Age in periods at which a day counts half.

    Returns
    -------
    History, Rows
        The rows are large and needed once: they are kept apart from what a model keeps.

    Raises
    ------
    CivstatsError
        If the panel carries no flags, or its status is unknown on every row.
    """
    if CENSORED not in panel.columns and IN_STOCK_SHARE not in panel.columns:
        raise CivstatsError(
            f"the panel carries no stockout flags ({CENSORED} or {IN_STOCK_SHARE}), so how often an "
            "item is out cannot be told; add them, or simulate stockouts first"
        )
    if not isinstance(panel[ID].dtype, pd.CategoricalDtype):
        raise PanelError(f"{ID} is not a category: pass the panel through validate_panel first")
    index = series_index(panel)
    n, codes = len(index.ids), index.codes()
    rows = len(panel)
    out = stockout_days(panel)
    known = panel[FLAG_KNOWN].to_numpy() if FLAG_KNOWN in panel.columns else np.ones(rows, bool)
    if not known.any():
        raise CivstatsError(
            f"{FLAG_KNOWN} is False on all {rows} rows: no stock status to learn from"
        )
    ds, y = panel[DS].to_numpy(), panel[Y].to_numpy().astype(float)
    same = np.r_[False, codes[1:] == codes[:-1]]
    steps = np.diff(ds)[same[1:]]
    period = np.median(steps.astype("int64")) if steps.size else pd.Timedelta(1, "D").value
    age = (ds.max() - ds).astype("int64") / period
    weight = 0.5 ** (age / half_life)
    kind = panel[DS].dt.dayofweek.to_numpy()
    if PROMO in panel.columns:
        kind = kind + 7 * (panel[PROMO].to_numpy() > 0)

    def counts(trial: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        i, j = np.flatnonzero(trial & hit), np.flatnonzero(trial)
        return tuple(np.bincount(codes[k], weight[k], minlength=n) for k in (i, j))  # type: ignore

    linked = same & known & np.r_[False, known[:-1]]
    was_out = np.r_[False, out[:-1]]
    share = panel[IN_STOCK_SHARE].to_numpy() if IN_STOCK_SHARE in panel.columns else None
    censored = panel[CENSORED].to_numpy() if CENSORED in panel.columns else np.zeros(rows, bool)
    # A shelf that sold out says C units were there: the lost hours are its consequence, not a cause.
    by_clock = out & ~censored & known
    censored = censored & known
    in_stock = known & ~out
    caps, lost = np.flatnonzero(censored & (y > 0)), np.flatnonzero(by_clock)
    last = np.full(n, -1)
    np.maximum.at(last, codes[known], np.flatnonzero(known))
    sold, days = (np.bincount(codes, weight * in_stock * v, minlength=n) for v in (y, 1.0))
    # A week's worth of the panel's mean keeps the level of a short or all-out series off zero.
    mean = max(sold.sum() / max(days.sum(), 1e-9), 1e-3)
    history = History(
        ids=index.ids,
        period=pd.Timedelta(int(period), "ns"),
        last_known=np.where(last >= 0, ds[last], np.datetime64("NaT")),
        last_out=(last >= 0) & out[last],
        entry=counts(linked & ~was_out, out),
        exit=counts(linked & was_out, ~out),
        part=counts(out & known, by_clock),
        wholly_first=counts(linked & ~was_out & censored, y == 0),
        wholly_later=counts(linked & was_out & censored, y == 0),
        level=(sold + 7 * mean) / (days + 7),
        caps=Pool(y[caps], weight[caps], codes[caps]),
        shares=Pool(share[lost] if share is not None else np.empty(0), weight[lost], codes[lost]),
        ever_censored=bool(censored.any()),
    )
    age = np.rint(age).astype(int)
    return history, Rows(codes, kind, age, weight, y, out, known, linked & ~was_out)
