"""Scores that use a stockout day for what it says: demand was at least what was sold.

They are proper only if the stock is independent of demand given what the forecaster knew at the
cutoff. One step ahead that holds under an inventory policy, which sees recorded sales alone; further
ahead stock follows demand after the cutoff, and a forecast that is too low can win.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from civstats.evaluation.alignment import number_ids
from civstats.evaluation.distributions import Distribution
from civstats.evaluation.intervals import pinball
from civstats.evaluation.metric import Metric, View
from civstats.schema import ID, STOCK, CivstatsError

NOT_PROPER = (
    "not proper here: beyond one step ahead stock may follow demand; score one step ahead, or say "
    "stock_independent=True where it cannot"
)
"""Why a censored score is not printed."""


def localised_crps(distribution: Distribution, y: ArrayLike, stock: ArrayLike) -> np.ndarray:
    """Return sum over x < stock of (F(x) - 1{y <= x})^2, shape (n,).

    The CRPS below what could have been sold (the threshold-weighted CRPS of Gneiting and Ranjan
    2011, the threshold being the stock): what lies above was never to be seen and does not count.

    Parameters
    ----------
    distribution : Distribution
    y : array_like, shape (n,)
        Sales, ``min(D, stock)``.
    stock : array_like, shape (n,)
        Units that could have been sold, known on in-stock days too.

    Raises
    ------
    CivstatsError
        Where a stock is missing, sales are above it, or the distribution cannot give a CRPS.

    Examples
    --------
    >>> from civstats.evaluation.distributions import NegBinRows
    >>> one = NegBinRows(np.ones((1, 1)), np.array([[5.0]]), np.array([[2.0]]))
    >>> localised_crps(one, [0.0], [0.0])
    array([0.])
    """
    y, stock = np.asarray(y, dtype=float), np.asarray(stock, dtype=float)
    lost = np.isnan(stock)
    if lost.any():
        raise CivstatsError(
            f"{int(lost.sum())} row(s) without {STOCK}: a localised CRPS needs what could have been "
            "sold on in-stock days too"
        )
    if (y > stock).any():
        raise CivstatsError(f"{int((y > stock).sum())} row(s) sell more than their {STOCK}")
    out = distribution.crps(y, stock)
    if out is None:
        raise CivstatsError("a CRPS needs a family or at least 1,000 draws")
    return out


def censored_pinball(
    y: ArrayLike, quantile: ArrayLike, stock: ArrayLike, probability: float
) -> np.ndarray:
    """Return the pinball loss of the quantile cut at the stock, shape (n,).

    ``rho(y - min(q, C))`` with ``y = min(D, C)``: the quantile of min(D, C) is min(q, C) (Powell
    1986). A quantile above every stock gets no answer from the data.

    Examples
    --------
    >>> censored_pinball([3.0], [2.0], [3.0], 0.9)
    array([0.9])
    """
    cut = np.minimum(np.asarray(quantile, dtype=float), np.asarray(stock, dtype=float))
    return pinball(y, cut, probability)


def censored_log_score(
    distribution: Distribution, y: ArrayLike, is_censored: ArrayLike
) -> np.ndarray:
    """Return -log P(D = y), or -log P(D >= y) on a censored row, shape (n,).

    A full day out of stock (y = 0, censored) scores 0, whatever the forecast.

    Raises
    ------
    CivstatsError
        If the distribution has no family.

    Examples
    --------
    >>> from civstats.evaluation.distributions import NegBinRows
    >>> one = NegBinRows(np.ones((1, 1)), np.array([[5.0]]), np.array([[2.0]]))
    >>> abs(censored_log_score(one, [0.0], [True]))
    array([0.])
    """
    y, cens = np.asarray(y, dtype=float), np.asarray(is_censored, dtype=bool)
    out = np.empty(len(y))
    for flag in (False, True):
        rows = np.flatnonzero(cens == flag)
        some = distribution.take(rows)
        values = some.log_survival(y[rows]) if flag else some.log_pmf(y[rows])
        if values is None:
            raise CivstatsError("a log score needs a family: draws have no density")
        out[rows] = -values
    return out


def most_stocked(panel: pd.DataFrame, ids: pd.Index) -> np.ndarray:
    """Return the largest stock that each series ever had, -inf where none is known, (n_series,).

    Examples
    --------
    >>> frame = pd.DataFrame({"unique_id": ["a", "a", "b"], "stock": [3.0, 9.0, np.nan]})
    >>> most_stocked(frame, pd.Index(["a", "b"]))
    array([  9., -inf])
    """
    codes, categories = number_ids(panel[ID])
    most = np.full(len(categories), -np.inf)
    stock = panel[STOCK].to_numpy(dtype=float)
    known = np.isfinite(stock)
    np.maximum.at(most, codes[known], stock[known])
    values: np.ndarray = most[pd.Index(categories).get_indexer(ids)]
    return values


def _localised(view: View) -> np.ndarray:
    assert view.distribution is not None
    assert view.stock is not None
    return localised_crps(view.distribution, view.actual, view.stock)


def _log_score(view: View) -> np.ndarray:
    assert view.distribution is not None
    assert view.is_censored is not None
    return censored_log_score(view.distribution, view.actual, view.is_censored)


def _pinball(view: View) -> np.ndarray:
    assert view.level is not None
    assert view.stock is not None
    tail = (1 - view.level / 100) / 2
    below = censored_pinball(view.actual, view.lo, view.stock, tail)
    above = censored_pinball(view.actual, view.hi, view.stock, 1 - tail)
    mean: np.ndarray = (below + above) / 2
    return mean


CENSORED_SCORES = (
    Metric(
        "localised_crps", _localised, kind="censored", needs=frozenset({"distribution", "stock"})
    ),
    Metric("censored_log_score", _log_score, kind="censored", needs=frozenset({"family"})),
    Metric(
        "censored_pinball", _pinball, kind="censored", by_level=True, needs=frozenset({"stock"})
    ),
)
"""The table of scores of the regime ``censored``, the smaller the better."""
