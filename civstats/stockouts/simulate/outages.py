"""Outages that start where a latent order says: which rows are out, for a target share of rows."""

from __future__ import annotations

import numpy as np

from civstats.schema import CivstatsError, SeriesIndex
from civstats.stockouts.simulate.calibrate import check_rate, find

_GRID = 100_000


class Outages:
    """Rows in the order in which outages start on them, and how long each would last.

    More starts never bring a row back into stock, so a target rate is found by searching the
    share of starts; what the starts depend on sits in `order` alone.

    Parameters
    ----------
    index : SeriesIndex
    order : numpy.ndarray, shape (n_rows,)
        The lower, the sooner an outage starts on that row.
    run_length : float
        Mean of the geometric lengths of single outages, days; they merge where they overlap.
    rng : numpy.random.Generator
    at_most : float
        Share of rows on which an outage may start; the smaller, the quicker.

    Raises
    ------
    CivstatsError
        If `run_length` is not 1 or more.
    """

    def __init__(
        self,
        index: SeriesIndex,
        order: np.ndarray,
        run_length: float,
        rng: np.random.Generator,
        at_most: float = 1.0,
    ) -> None:
        if not isinstance(run_length, (int, float)) or not 1 <= run_length < np.inf:
            raise CivstatsError(f"run_length must be 1 day or more, but got {run_length!r}")
        self._n_rows = len(order)
        n_starts = min(round(at_most * self._n_rows), self._n_rows)
        if n_starts < self._n_rows:
            bound = np.partition(order, n_starts)[n_starts]
            self._row = np.flatnonzero(order < bound).astype(np.int32)
        else:
            self._row = np.arange(self._n_rows, dtype=np.int32)
        self._order = order[self._row]
        self._stop = self._row + np.int32(1)
        if run_length > 1:
            # A geometric length is an exponential one rounded up.
            scale = -1 / np.log1p(-1 / run_length)
            lengths = np.ceil(scale * rng.standard_exponential(len(self._row), dtype=np.float32))
            last = np.repeat(index.ends.astype(np.int32), index.lengths)[self._row]
            self._stop = np.minimum(
                self._row + np.clip(lengths, 1, self._n_rows).astype(np.int32), last
            )
        step = max(len(self._row) // _GRID, 1)
        self._grid = np.sort(self._order[::step])

    def _started(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Return first row and stop of the outages that a share of possible starts begins."""
        if share <= 0:
            return self._row[:0], self._stop[:0]
        if share >= 1:
            return self._row, self._stop
        n = len(self._grid)
        keep = self._order < np.interp(share * n, np.arange(n) + 0.5, self._grid)
        return self._row[keep], self._stop[keep]

    def size(self, share: float) -> float:
        """Return the share of rows that are out."""
        row, stop = self._started(share)
        if not len(row):
            return 0.0
        # Rows ascend and no outage leaves its series: what is new is what no earlier one covers.
        stop = np.maximum.accumulate(stop)
        new = stop - np.maximum(row, np.r_[row[:1], stop[:-1]])
        return float(new.sum()) / self._n_rows

    def union(self, share: float) -> np.ndarray:
        """Mark the rows that are out, shape (n_rows,), bool."""
        row, stop = self._started(share)
        out = np.zeros(self._n_rows, dtype=bool)
        out[row] = True
        while (longer := row + 1 < stop).any():
            row, stop = row[longer] + 1, stop[longer]
            out[row] = True
        return out

    def hit(self, rate: float, mechanism: str) -> np.ndarray:
        """Mark a share `rate` of the rows, shape (n_rows,), bool; raise if that is not possible."""
        found = find(self.size, rate, 0.0, 1.0, mechanism, "a shorter run_length")
        return self.union(found)


def starts_needed(n_rows: int, rate: float, mechanism: str) -> float:
    """Return the share of rows on which outages must start at most; raise on too short a panel.

    Each start puts at least its own row out, so no more starts than rows out are ever needed.
    """
    n = max(round(rate * n_rows), 1)
    check_rate(n / n_rows, rate, mechanism, "a longer panel")
    return n / n_rows
