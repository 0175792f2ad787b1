"""Outages that start where a latent order says: which rows are out, for a target share of rows."""

from __future__ import annotations

import numpy as np

from civstats.schema import CivstatsError, SeriesIndex
from civstats.stockouts.simulate.calibrate import bisect, check_rate


class Outages:
    """Rows in the order in which outages start on them, and how long each would last.

    More starts never bring a row back into stock, so a target rate is found by bisection on the
    number of starts; what the starts depend on sits in `order` alone.

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
        self.n_rows = len(order)
        self.n_starts = min(round(at_most * self.n_rows), self.n_rows)
        first = np.arange(self.n_rows)
        if self.n_starts < self.n_rows:
            first = np.argpartition(order, self.n_starts)[: self.n_starts]
        self._first = first[np.argsort(order[first], kind="stable")]
        last = index.ends[np.searchsorted(index.ends, self._first, side="right")]
        lengths = rng.geometric(1 / run_length, len(first)) if run_length > 1 else 1
        self._stop = np.minimum(self._first + lengths, last)

    def union(self, n_starts: float) -> np.ndarray:
        """Mark the rows that the first `n_starts` outages cover, shape (n_rows,), bool."""
        k = int(n_starts)
        steps = np.zeros(self.n_rows + 1, dtype=np.int32)
        steps[self._first[:k]] = 1  # a row starts one outage at most
        np.subtract.at(steps, self._stop[:k], 1)
        return np.cumsum(steps[:-1], dtype=np.int32) > 0

    def hit(self, rate: float, mechanism: str) -> np.ndarray:
        """Mark a share `rate` of the rows, shape (n_rows,), bool; raise if that is not possible."""
        k = bisect(
            lambda x: float(self.union(x).mean()), rate, 0.0, float(self.n_starts), mechanism,
            "a shorter run_length",
        )  # fmt: skip
        return self.union(k)


def starts_needed(n_rows: int, rate: float, mechanism: str) -> float:
    """Return the share of rows on which outages must start at most; raise on too short a panel.

    Each start puts at least its own row out, so no more starts than rows out are ever needed.
    """
    n = max(round(rate * n_rows), 1)
    check_rate(n / n_rows, rate, mechanism, "a longer panel")
    return n / n_rows
