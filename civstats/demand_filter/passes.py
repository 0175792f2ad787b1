"""The passes over all series: likelihood, filtered and smoothed levels, and going on from a state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from civstats.demand_filter._inputs import Job
from civstats.demand_filter._plan import SUMMARIES, Plan
from civstats.demand_filter.grid import Grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.results import Levels
from civstats.demand_filter.state import State
from civstats.schema import CivstatsError


def log_likelihood(
    obs: Observations,
    params: FilterParameters,
    *,
    grid: Grid | None = None,
    state: State | None = None,
    n_jobs: int | None = None,
    progress: bool | None = False,
) -> np.ndarray:
    """Return the log marginal likelihood of each series, shape (n_series,).

    A search over parameters is smooth only on a fixed `grid`: build one with
    :func:`build_grid` and pass it to every call.

    Parameters and errors are those of :func:`filter_levels`.
    """
    plan = Plan(Job(obs, params, grid, state), smooth=False)
    plan.run(n_jobs, progress)
    return plan.out["loglik"]


def filter_levels(
    obs: Observations,
    params: FilterParameters,
    *,
    summaries: Sequence[str] = ("filtered",),
    day_loglik: bool = False,
    grid: Grid | None = None,
    state: State | None = None,
    dtype: type = np.float64,
    n_jobs: int | None = None,
    progress: bool | None = False,
) -> Levels:
    """Run the forward pass: each day's level given the days up to it.

    Exact for the chain on the grid (Kitagawa, 1987): no sampling, no Gaussian approximation.

    Parameters
    ----------
    obs : Observations
    params : FilterParameters
    summaries : sequence of {"predicted", "filtered"}
        What to report by row.
    day_loglik : bool
        Report each day's log-likelihood given the days before it.
    grid : Grid, optional
        Grids of your own; widened too where mass reaches their ends.
    state : State, optional
        Continue from these distributions of the day before the first row, instead of the prior.
    dtype : type
        Of the summaries; float32 halves their memory.
    n_jobs : int, optional
        Threads; None is one per processor. Results are the same to the last bit.
    progress : bool, optional
        Draw a bar on stderr; None draws where stderr is a terminal.

    Returns
    -------
    Levels

    Raises
    ------
    CivstatsError
        For days that the family cannot produce, parameters made for other series, or a state that
        lacks a series.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.demand_filter import FilterParameters, filter_levels, observations
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [2, 3, 1, 2]}))
    >>> params = FilterParameters("poisson", level_sd=0.05, prior_sd=1.0)
    >>> levels = filter_levels(observations(panel, "ignore"), params)
    >>> levels.filtered.rate.round(2)
    array([1.67, 2.16, 1.82, 1.86])
    """
    _known(summaries, SUMMARIES[:2])
    wants = ("day_loglik",) if day_loglik else ()
    job = Job(obs, params, grid, state)
    plan = Plan(job, smooth=False, summaries=summaries, wants=wants, dtype=dtype)
    plan.run(n_jobs, progress)
    return plan.result()


def smooth_levels(
    obs: Observations,
    params: FilterParameters,
    *,
    summaries: Sequence[str] = ("filtered", "smoothed"),
    quantiles: Sequence[float] = (),
    lag_covariance: bool = False,
    day_loglik: bool = False,
    grid: Grid | None = None,
    state: State | None = None,
    dtype: type = np.float64,
    n_jobs: int | None = None,
    progress: bool | None = False,
) -> Levels:
    """Run both passes: each day's level given the days up to it, and given all days.

    Parameters
    ----------
    obs, params, day_loglik, grid, state, dtype, n_jobs, progress
        As in :func:`filter_levels`.
    summaries : sequence of {"predicted", "filtered", "smoothed"}
        What to report by row.
    quantiles : sequence of float
        Probabilities in (0, 1) of the smoothed level's quantiles to report.
    lag_covariance : bool
        Report the covariance of neighbouring levels; with mean and sd it is what an EM step for
        `level_sd` and `damping` needs.

    Returns
    -------
    Levels
        `transitions` is filled under hidden availability.

    Raises
    ------
    CivstatsError
        As :func:`filter_levels`, and for probabilities outside (0, 1).
    """
    _known(summaries, SUMMARIES)
    probs = np.asarray(quantiles, dtype=np.float64)
    if probs.ndim != 1 or ((probs <= 0) | (probs >= 1)).any():
        raise CivstatsError(f"quantiles must hold probabilities in (0, 1), but got {quantiles!r}")
    order = np.argsort(probs)
    wants = ["transitions"] if params.hidden else []
    wants += ["lag_covariance"] if lag_covariance else []
    wants += ["day_loglik"] if day_loglik else []
    plan = Plan(
        Job(obs, params, grid, state),
        smooth=True,
        summaries=summaries,
        probs=probs[order],
        wants=wants,
        dtype=dtype,
    )
    plan.run(n_jobs, progress)
    if probs.size:
        plan.out["quantile"] = plan.out["quantile"][:, np.argsort(order)]
    return plan.result()


def update(state: State, obs: Observations, params: FilterParameters, **options: object) -> Levels:
    """Continue a state with new days: the numbers of one pass over everything, on the same grid.

    Parameters
    ----------
    state : State
        Of the day before the first row of `obs`, from ``filter_levels(...).state`` or
        :meth:`State.load`.
    obs : Observations
        The new days alone, of any of the state's series.
    params : FilterParameters
        Those the state was filtered with.
    **options
        As in :func:`filter_levels`.

    Returns
    -------
    Levels
        Of the new days; its `state` goes on.

    Raises
    ------
    CivstatsError
        As :func:`filter_levels`.
    """
    return filter_levels(obs, params, state=state, **options)  # type: ignore[arg-type]


def _known(summaries: Sequence[str], allowed: tuple[str, ...]) -> None:
    unknown = [s for s in summaries if s not in allowed]
    if unknown or isinstance(summaries, str):
        raise CivstatsError(f"summaries are of {', '.join(allowed)}, but got {summaries!r}")
