"""The posterior of the last day of each series: stored without pickle, continued with new days."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from civstats._io import atomic
from civstats.demand_filter.grid import Grid
from civstats.schema import CivstatsError, DataError

_FORMAT = 1
_FIELDS = ("format", "n_states", "ids", "anchor", "spacing", "first", "size", "cells", "n_days")


@dataclass(frozen=True)
class State:
    """Filtered distribution of the last day seen of each series.

    Attributes
    ----------
    ids : pandas.Index, shape (n_series,)
    grid : Grid
    n_states : int
        1, or 2 with hidden availability (first in stock, then out).
    cells : numpy.ndarray of float64
        Probabilities, series after series, each of shape (n_states, size of its grid).
    n_days : numpy.ndarray of int64, shape (n_series,)
        Days seen so far.
    """

    ids: pd.Index
    grid: Grid
    n_states: int
    cells: np.ndarray
    n_days: np.ndarray

    def probabilities(self, series: int) -> np.ndarray:
        """Return the distribution of one series, shape (n_states, size of its grid)."""
        at = self.grid.cells(self.n_states)
        return self.cells[at[series] : at[series + 1]].reshape(self.n_states, -1)

    def take(self, series: np.ndarray | list[int]) -> State:
        """Return some series, by position."""
        series = np.asarray(series, dtype=int)
        at = self.grid.cells(self.n_states)
        parts = [self.cells[at[i] : at[i + 1]] for i in series]
        cells = np.concatenate(parts) if parts else np.empty(0)
        return State(
            self.ids[series], self.grid.take(series), self.n_states, cells, self.n_days[series]
        )

    def match(self, ids: pd.Index) -> State:
        """Return the state of the series named, in that order.

        Raises
        ------
        CivstatsError
            If a series has no state.
        """
        if len(ids) == len(self.ids) and (ids == self.ids).all():
            return self
        at = self.ids.get_indexer(ids)
        if (at < 0).any():
            missing = ids[at < 0]
            raise CivstatsError(
                f"{len(missing)} series have no state to continue, first {missing[0]}; "
                "filter new series from their first day"
            )
        return self.take(at)

    def on(self, grid: Grid) -> np.ndarray:
        """Return the cells on grids that are these or wider ones on the same lattice.

        Raises
        ------
        CivstatsError
            If a grid lies on another lattice, or does not hold the state's.
        """
        mine = self.grid
        shift = mine.first - grid.first
        same = (mine.anchor == grid.anchor) & (mine.spacing == grid.spacing)
        bad = ~same | (shift < 0) | (shift + mine.size > grid.size)
        if bad.any():
            raise CivstatsError(
                f"{int(bad.sum())} series continue on a grid that does not hold their state's, "
                f"first {self.ids[int(np.argmax(bad))]}; leave grid out to let the passes widen it"
            )
        if (mine.size == grid.size).all():
            return self.cells
        old, new = mine.cells(self.n_states), grid.cells(self.n_states)
        out = np.zeros(new[-1])
        for i in range(len(self.ids)):
            block = out[new[i] : new[i + 1]].reshape(self.n_states, -1)
            cells = self.cells[old[i] : old[i + 1]].reshape(self.n_states, -1)
            block[:, shift[i] : shift[i] + mine.size[i]] = cells
            _fill_tails(block, int(shift[i]), int(shift[i] + mine.size[i]))
        return out

    def save(self, path: str | Path) -> None:
        """Write the state to an npz file, whole or not at all."""
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.array(_FORMAT),
                n_states=np.array(self.n_states),
                ids=np.array([str(i) for i in self.ids], dtype=np.str_),
                anchor=self.grid.anchor,
                spacing=self.grid.spacing,
                first=self.grid.first,
                size=self.grid.size,
                cells=self.cells,
                n_days=self.n_days,
            )

    @classmethod
    def load(cls, path: str | Path) -> State:
        """Read a state that :meth:`save` wrote; identifiers come back as text.

        Raises
        ------
        DataError
            If the file is not such a state.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                parts = {name: file[name] for name in _FIELDS}
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} is no stored filter state: {error}") from error
        if int(parts["format"]) != _FORMAT:
            raise DataError(
                f"{path} has format {int(parts['format'])}, this version reads {_FORMAT}"
            )
        grid = Grid(parts["anchor"], parts["spacing"], parts["first"], parts["size"])
        n_states = int(parts["n_states"])
        if len(parts["cells"]) != grid.cells(n_states)[-1]:
            raise DataError(f"{path} is cut short: its grid and its probabilities disagree")
        return cls(pd.Index(parts["ids"]), grid, n_states, parts["cells"], parts["n_days"])


_EDGE, _STRIDE = 4, 4


def _fill_tails(block: np.ndarray, start: int, stop: int) -> None:
    """Continue the tails of a distribution beyond the cells ``start:stop``, in place.

    Zeros there would hold a level back to one cell a day when the new days lie far off. The tails
    go on as a normal's would, from cells clear of the reflecting end.
    """
    if stop - start < 2 * (_EDGE + 2 * _STRIDE):
        return
    for row in block:
        for new, inner in (
            (np.arange(start - 1, -1, -1), start + _EDGE + _STRIDE * np.arange(3)),
            (np.arange(stop, len(row)), stop - 1 - _EDGE - _STRIDE * np.arange(3)),
        ):
            if not len(new) or not (row[inner] > 0).all():
                continue
            a, b, c = np.log(row[inner])
            slope, bend = (3 * a - 4 * b + c) / 2, min(a - 2 * b + c, 0.0)
            steps = np.abs(new - inner[0]) / _STRIDE
            with np.errstate(under="ignore"):
                tail = np.exp(a + min(slope, 0.0) * steps + 0.5 * bend * steps**2)
            row[new] = np.minimum(tail, row[inner[0]])
