"""Whole distributions of days, series by series: for what the summaries do not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from civstats.demand_filter._inputs import Job
from civstats.demand_filter._plan import Plan
from civstats.demand_filter.grid import Grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.results import Levels
from civstats.demand_filter.state import State
from civstats.schema import CivstatsError


@dataclass(frozen=True)
class SeriesPosterior:
    """Distributions of the level on some days of one series; valid during the visit alone.

    Attributes
    ----------
    series : int
        Position of the series.
    rows : numpy.ndarray of int, shape (n_days,)
        Rows of the observations.
    levels : numpy.ndarray, shape (G,)
    filtered, smoothed : numpy.ndarray, shape (n_days, n_states, G)
        Probabilities given the days up to each row, and given all days; with hidden availability
        state 0 is in stock, 1 out.
    """

    series: int
    rows: np.ndarray
    levels: np.ndarray
    filtered: np.ndarray
    smoothed: np.ndarray


def visit_posteriors(
    obs: Observations,
    params: FilterParameters,
    visit: Callable[[SeriesPosterior], None],
    *,
    keep: np.ndarray | None = None,
    grid: Grid | None = None,
    state: State | None = None,
    n_jobs: int | None = None,
    progress: bool | None = False,
) -> Levels:
    """Run both passes and hand every series' distributions to a function, once.

    Memory stays bounded: distributions live as long as the call that sees them. Calls come from
    several threads and in any order; a function that fills its own rows of an array needs no lock,
    and compiled code that releases the lock runs side by side.

    Parameters
    ----------
    obs, params, grid, state, n_jobs, progress
        As in :func:`filter_levels`.
    visit : callable
        Gets a :class:`SeriesPosterior`; must copy what it wants to keep.
    keep : array of bool, shape (n_rows,), optional
        Days to hand over; all if None. Series without such a day are visited with no days.

    Returns
    -------
    Levels
        Without summaries: likelihood, transitions, state, grid.

    Raises
    ------
    CivstatsError
        As :func:`filter_levels`, and for a `keep` of the wrong length.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.demand_filter import FilterParameters, observations, visit_posteriors
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [2, 3, 1, 2]}))
    >>> chance = np.empty(4)
    >>> def above_one(day):
    ...     chance[day.rows] = day.smoothed[:, 0, day.levels > 0].sum(axis=1)
    >>> levels = visit_posteriors(observations(panel, "ignore"), FilterParameters(), above_one)
    >>> chance.round(2)
    array([0.92, 0.92, 0.92, 0.92])
    """
    if keep is None:
        keep = np.ones(obs.n_rows, dtype=bool)
    keep = np.asarray(keep)
    if keep.shape != (obs.n_rows,) or keep.dtype != bool:
        raise CivstatsError(
            f"keep must hold {obs.n_rows} booleans, one per row, but has shape {keep.shape} and "
            f"type {keep.dtype}"
        )

    def hand_over(series: int, grid: Grid, days: np.ndarray) -> None:
        start = int(obs.starts[series])
        rows = start + np.flatnonzero(keep[start : obs.ends[series]])
        visit(SeriesPosterior(series, rows, grid.levels(0), days[:, 0], days[:, 1]))

    job = Job(obs, params, grid, state)
    wants = ("transitions",) if params.hidden else ()
    plan = Plan(job, smooth=True, wants=wants, keep=keep, visit=hand_over)
    plan.run(n_jobs, progress)
    return plan.result()
