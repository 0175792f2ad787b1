"""Whole level paths: backward sampling given all days, and onwards over a horizon."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.demand_filter import _runner
from civstats.demand_filter._inputs import Job
from civstats.demand_filter.grid import Grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.parameters import COLUMNS, FilterParameters
from civstats.demand_filter.state import State
from civstats.schema import CivstatsError

Seed = int | np.random.Generator


@dataclass(frozen=True)
class LevelDraws:
    """Joint draws of the level: column j is one path, the same world on every row of a series.

    Attributes
    ----------
    rows : numpy.ndarray of int, shape (n_kept,)
        Rows of the observations.
    levels : numpy.ndarray of float32, shape (n_kept, n_draws)
    out : numpy.ndarray of bool, shape (n_kept, n_draws), optional
        Whether out of stock; None without hidden availability.
    """

    rows: np.ndarray
    levels: np.ndarray
    out: np.ndarray | None


@dataclass(frozen=True)
class FuturePaths:
    """Joint draws of the level over the days after a state.

    Attributes
    ----------
    ids : pandas.Index, shape (n_series,)
    levels : numpy.ndarray of float32, shape (n_series, n_draws, h)
    out : numpy.ndarray of bool, shape (n_series, n_draws, h), optional
        Whether out of stock; None without hidden availability.
    """

    ids: pd.Index
    levels: np.ndarray
    out: np.ndarray | None


def _entropy(seed: Seed) -> int:
    if isinstance(seed, np.random.Generator):
        return int(seed.integers(2**63))
    return int(seed)


def _keys(entropy: int, ids: pd.Index) -> np.ndarray:
    """Return a seed per series that depends on its name alone, not on its neighbours."""
    names = (
        int.from_bytes(hashlib.blake2b(str(i).encode(), digest_size=8).digest(), "little")
        for i in ids
    )
    states = [
        np.random.SeedSequence([entropy, name]).generate_state(1, np.uint64) for name in names
    ]
    return np.concatenate(states) if states else np.empty(0, dtype=np.uint64)


def sample_levels(
    obs: Observations,
    params: FilterParameters,
    n: int,
    seed: Seed,
    *,
    keep: np.ndarray | None = None,
    grid: Grid | None = None,
    state: State | None = None,
    n_jobs: int | None = None,
    progress: bool | None = False,
) -> LevelDraws:
    """Draw whole level (and availability) paths given all days, by backward sampling.

    Neighbouring days of a path hang together as the posterior says, so that sums over days have
    the right spread (Carter and Kohn, 1994, for the recursion).

    Parameters
    ----------
    obs, params, grid, state, n_jobs, progress
        As in :func:`filter_levels`.
    n : int
        Paths of each series.
    seed : int or numpy.random.Generator
        Source of randomness. A series' draws depend on the seed and its name: the same in any
        subset of series.
    keep : array of bool, shape (n_rows,), optional
        Days to return; all if None. The paths are the same whatever is kept.

    Returns
    -------
    LevelDraws
        Levels are points of the grid.

    Raises
    ------
    CivstatsError
        As :func:`filter_levels`, for n < 1, and for a `keep` of the wrong length.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.demand_filter import FilterParameters, observations, sample_levels
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [2, 3, 1, 2]}))
    >>> sample_levels(observations(panel, "ignore"), FilterParameters(), 10, seed=1).levels.shape
    (4, 10)
    """
    _at_least_one("n", n)
    keep = np.ones(obs.n_rows, dtype=bool) if keep is None else np.asarray(keep)
    if keep.shape != (obs.n_rows,) or keep.dtype != bool:
        raise CivstatsError(
            f"keep must hold {obs.n_rows} booleans, one per row, but has shape {keep.shape} and "
            f"type {keep.dtype}"
        )
    job = Job(obs, params, grid, state)
    keys = _keys(_entropy(seed), obs.ids)
    slots = np.r_[0, np.cumsum(keep)]
    levels = np.empty((slots[-1], n), dtype=np.float32)
    out = np.empty((slots[-1], n), dtype=bool) if params.hidden else None

    def work(series: np.ndarray) -> np.ndarray:
        from civstats.demand_filter._sampling import sample_block

        block = job.block(series)
        kept = keep[block.rows]
        kept_starts = np.zeros(len(series) + 1, dtype=np.int64)
        kept_starts[1:] = np.cumsum(np.add.reduceat(kept, block.starts, dtype=np.int64))
        loglik, edge = np.empty(len(series)), np.empty((len(series), 2))
        drawn = np.empty((kept_starts[-1], n), dtype=np.float32)
        drawn_out = np.empty(drawn.shape if params.hidden else (0, 0), dtype=bool)
        sample_block(
            *block.arguments, _runner.EDGE_LIMIT, keys[series], n, kept, kept_starts,
            loglik, edge, drawn, drawn_out,
        )  # fmt: skip
        job.refuse_impossible(series, loglik)
        for k, i in enumerate(series):
            a, b = slots[obs.starts[i]], slots[obs.ends[i]]
            levels[a:b] = drawn[kept_starts[k] : kept_starts[k + 1]]
            if out is not None:
                out[a:b] = drawn_out[kept_starts[k] : kept_starts[k + 1]]
        return edge

    _runner.work_through(job, work, n_jobs, progress)
    return LevelDraws(np.flatnonzero(keep), levels, out)


def sample_forward(
    state: State, params: FilterParameters, h: int, n: int, seed: Seed
) -> FuturePaths:
    """Draw level (and availability) paths over the h days after a state.

    The first level is a draw of the state; the steps after it are those of the model itself,
    normal and off the grid, so that no end of a grid is felt however long the horizon.

    Parameters
    ----------
    state : State
    params : FilterParameters
        Of the state's series, in its order.
    h : int
        Days ahead.
    n : int
        Paths of each series.
    seed : int or numpy.random.Generator
        A series' draws depend on the seed and its name.

    Returns
    -------
    FuturePaths

    Raises
    ------
    CivstatsError
        For h or n below 1, or parameters that do not fit the state.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.demand_filter import (
    ...     FilterParameters, filter_levels, observations, sample_forward,
    ... )
    >>> days = pd.date_range("2024-01-01", periods=4)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [2, 3, 1, 2]}))
    >>> params = FilterParameters("poisson")
    >>> state = filter_levels(observations(panel, "ignore"), params).state
    >>> sample_forward(state, params, h=7, n=10, seed=1).levels.shape
    (1, 10, 7)
    """
    _at_least_one("h", h)
    _at_least_one("n", n)
    n_series = len(state.ids)
    matrix = params.matrix(n_series)
    if state.n_states != (2 if params.hidden else 1):
        raise CivstatsError("the state and the parameters disagree on hidden availability")
    levels = np.empty((n_series, n, h), dtype=np.float32)
    out = np.empty((n_series, n, h), dtype=bool) if params.hidden else None
    keys = _keys(_entropy(seed), state.ids)
    for i in range(n_series):
        p = dict(zip(COLUMNS, matrix[i], strict=True))
        rng = np.random.default_rng(keys[i])
        below = np.cumsum(state.probabilities(i).reshape(-1))
        last = int(np.flatnonzero(np.diff(below, prepend=0.0) > 0)[-1])
        at = np.minimum(np.searchsorted(below, rng.random(n) * below[-1]), last)
        gone, g = np.divmod(at, int(state.grid.size[i]))
        now = state.grid.levels(i)[g]
        noise = rng.standard_normal((h, n)) * np.sqrt(p["level_var"]) + p["level_drift"]
        for day in range(h):
            now = p["level_mean"] + p["damping"] * (now - p["level_mean"]) + noise[day]
            levels[i, :, day] = now
        if out is not None:
            u = rng.random((h, n))
            is_out = gone == 1
            for day in range(h):
                is_out = np.where(is_out, u[day] >= p["back_rate"], u[day] < p["out_rate"])
                out[i, :, day] = is_out
    return FuturePaths(state.ids, levels, out)


def _at_least_one(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise CivstatsError(f"{name} must be a whole number, 1 or more, but got {value!r}")
