"""What the passes hand back: summaries of the level, the likelihood, and the state to go on from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.demand_filter.grid import Grid
from civstats.demand_filter.state import State


@dataclass(frozen=True)
class LevelSummary:
    """The level's distribution by row, each array of shape (n_rows,).

    Attributes
    ----------
    mean, sd : numpy.ndarray
        Of the level: log units, units for the normal family.
    rate : numpy.ndarray
        E[exp(level)], so that ``rate * exp(offset) * exposure`` is the mean of a count (of its
        count part, if zero-inflated); the level's mean for the normal family.
    p_out : numpy.ndarray or None
        Probability of being out of stock; None without hidden availability.
    """

    mean: np.ndarray
    sd: np.ndarray
    rate: np.ndarray
    p_out: np.ndarray | None


@dataclass(frozen=True)
class Levels:
    """Result of the passes over observations; rows are the rows of the observations.

    Attributes
    ----------
    ids : pandas.Index, shape (n_series,)
    starts, ends : numpy.ndarray, shape (n_series,)
    loglik : numpy.ndarray, shape (n_series,)
        Log marginal likelihood of each series (of the new days, where a state was continued).
    day_loglik : numpy.ndarray, shape (n_rows,), optional
        Log-likelihood of each day given the days before it.
    predicted : LevelSummary, optional
        Given the days before.
    filtered : LevelSummary, optional
        Given the days up to and with this one.
    smoothed : LevelSummary, optional
        Given all days.
    quantiles : numpy.ndarray, shape (n_rows, k), optional
        Quantiles of the smoothed level.
    lag_covariance : numpy.ndarray, shape (n_rows,), optional
        Covariance of the level of a day and of the day before, given all days; 0 on first days.
    transitions : numpy.ndarray, shape (n_series, 2, 2), optional
        Expected numbers of nights from availability (in, out) to availability (in, out).
    state : State
        The filtered distribution of the last days.
    grid : Grid
        The grids in the end used.
    n_widened : int
        Number of series whose grid had to be widened and which were run again.
    """

    ids: pd.Index
    starts: np.ndarray
    ends: np.ndarray
    loglik: np.ndarray
    day_loglik: np.ndarray | None
    predicted: LevelSummary | None
    filtered: LevelSummary | None
    smoothed: LevelSummary | None
    quantiles: np.ndarray | None
    lag_covariance: np.ndarray | None
    transitions: np.ndarray | None
    state: State
    grid: Grid
    n_widened: int
