"""What a kernel gets for a block of series: the rows, checked, and the grids they run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from civstats.demand_filter.grid import Grid, build_grid, shifts
from civstats.demand_filter.layout import BOUND, IN, OUT, SILENT, Observations
from civstats.demand_filter.parameters import COUNTS, FAMILIES, FilterParameters
from civstats.demand_filter.state import State
from civstats.schema import CivstatsError

_WHOLE = 1e-6


@dataclass(frozen=True)
class Block:
    """Inputs of some series.

    Attributes
    ----------
    rows : slice or numpy.ndarray
        Where their rows stand in the observations.
    n_rows : int
    starts, ends : numpy.ndarray
        Where each series stands within the block.
    grid : Grid
    cell_starts : numpy.ndarray, shape (n_series + 1,)
    arguments : tuple
        The leading arguments of the kernels, up to ``cell_starts``.
    """

    rows: slice | np.ndarray
    n_rows: int
    starts: np.ndarray
    ends: np.ndarray
    grid: Grid
    cell_starts: np.ndarray
    arguments: tuple[Any, ...]


class Job:
    """Observations, parameters and where to start; the grid is replaced where it must grow."""

    def __init__(
        self,
        obs: Observations,
        params: FilterParameters,
        grid: Grid | None,
        state: State | None,
    ) -> None:
        self.obs, self.params = obs, params
        self.matrix = params.matrix(obs.n_series)
        self.n_states = 2 if params.hidden else 1
        self.family = FAMILIES.index(params.family)
        self.grid, self.state = _place(obs, params, grid, state)

    def block(self, series: np.ndarray) -> Block:
        """Return the inputs of some series, by position in ascending order.

        Raises
        ------
        CivstatsError
            For days that the family cannot produce.
        """
        obs = self.obs
        consecutive = series[-1] - series[0] == len(series) - 1
        rows: slice | np.ndarray = (
            slice(int(obs.starts[series[0]]), int(obs.ends[series[-1]]))
            if consecutive
            else obs.rows_of(series)
        )
        lengths = obs.lengths[series]
        ends = np.cumsum(lengths)
        kind, status = obs.kind[rows], obs.status[rows]
        y = _checked(obs, self.params, series, ends, obs.y[rows], kind, status)
        exposure = None if obs.exposure is None else obs.exposure[rows]
        shift, slope = shifts(obs.offset[rows], exposure, self.params.family)
        grid = self.grid.take(series)
        at = grid.cells(self.n_states)
        before = np.empty(0) if self.state is None else self.state.take(series).on(grid)
        arguments = (
            ends - lengths, ends, y, kind, status, shift, slope, self.family, self.n_states,
            self.matrix[series], grid.anchor, grid.spacing, grid.first, grid.size,
            self.state is not None, before, at,
        )  # fmt: skip
        return Block(rows, len(y), ends - lengths, ends, grid, at, arguments)

    def refuse_impossible(self, series: np.ndarray, loglik: np.ndarray) -> None:
        """Raise if the likelihood of a series is 0."""
        lost = ~np.isfinite(loglik)
        if lost.any():
            raise CivstatsError(
                f"{int(lost.sum())} series hold a day that the parameters make impossible, first "
                f"{self.obs.ids[series[int(np.argmax(lost))]]}: check pinned availability and "
                "rates of 0"
            )


def _place(
    obs: Observations, params: FilterParameters, grid: Grid | None, state: State | None
) -> tuple[Grid, State | None]:
    """Return the grid to run on, and the state of these series."""
    if state is None:
        return (build_grid(obs, params) if grid is None else grid), None
    state = state.match(obs.ids)
    if state.n_states != (2 if params.hidden else 1):
        raise CivstatsError(
            "the state and the parameters disagree on hidden availability; continue with the "
            "parameters the state was filtered with"
        )
    if grid is not None:
        return grid, state
    # The new days may lie beyond the old grid: the same lattice, as wide as they ask for.
    new, old = build_grid(obs, params), state.grid
    low = new.anchor + new.spacing * new.first
    high = low + new.spacing * (new.size - 1)
    first = np.floor((low - old.anchor) / old.spacing).astype(np.int64)
    last = np.ceil((high - old.anchor) / old.spacing).astype(np.int64)
    below = np.maximum(old.first - first, 0)
    above = np.maximum(last - (old.first + old.size - 1), 0)
    return old.widened(below, above), state


def _checked(
    obs: Observations,
    params: FilterParameters,
    series: np.ndarray,
    ends: np.ndarray,
    y: np.ndarray,
    kind: np.ndarray,
    status: np.ndarray,
) -> np.ndarray:
    """Return y as the family reads it, or raise for days it cannot produce."""
    speaks, bound = kind != SILENT, kind == BOUND
    given = y
    problem = ""
    bad = np.zeros(0, dtype=bool)
    if params.family in COUNTS:
        y = np.where(bound, np.ceil(y - _WHOLE), np.rint(y))
        off = np.abs(y - given) > _WHOLE * np.maximum(1.0, np.abs(y))
        bad = speaks & ((off & ~bound) | (given < 0))
        problem = "sales of a count family must be whole and >= 0; rescale them to units"
    elif params.family == "lognormal":
        excused = (y == 0) & (status != IN) & params.hidden
        bad = speaks & ~bound & (y <= 0) & ~excused
        problem = "lognormal demand is positive; zeros need another family, or silence"
    if params.hidden and not bad.any():
        bad = speaks & (status == OUT) & (y > 0)
        problem = "a day known to be out of stock cannot have sales"
    if bad.any():
        row = int(np.argmax(bad))
        k = int(np.searchsorted(ends, row, side="right"))
        day = row - (int(ends[k - 1]) if k else 0) + 1
        raise CivstatsError(
            f"{problem}: {int(bad.sum())} row(s), first day {day} of {obs.ids[series[k]]}"
        )
    return y
