"""Uncertainty of a score: the two-way bootstrap over series and days."""

from __future__ import annotations

import numpy as np

from civstats.schema import CivstatsError

MAX_GROUPS = 2000
"""Series beyond this number are resampled in random groups, see `TwoWayBootstrap`."""


class TwoWayBootstrap:
    """Crossed multinomial weights for series and days, and the weighted sums under them.

    Series share days (weather, promotions), so resampling series alone makes intervals too
    narrow. Each replicate draws series and, apart from that, calendar days, with replacement; a
    cell counts as often as its series times its day was drawn (the pigeonhole bootstrap: Owen
    2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1). It is conservative: noise
    that neither series nor days share counts up to three times in the variance.

    All sums use the same weights, so that models, treatments and regimes are compared pairwise.

    Parameters
    ----------
    series, column : numpy.ndarray, shape (n,), int
        Each row's series, and its column (one day of one cutoff's window).
    n_series : int
    column_day, column_cutoff : numpy.ndarray, shape (n_columns,), int
        Each column's calendar day and cutoff; columns are sorted by cutoff. A day weighs the
        same in every window it belongs to.
    n_boot : int
        Replicates; 0 for none.
    seed : int or numpy.random.Generator
    block : int
        Days are drawn in blocks of this many consecutive scored days: 7 keeps weeks together
        where days depend on each other.
    over : tuple of str
        What is resampled. Leaving out days gives the (too narrow) series bootstrap.

    Notes
    -----
    More than `MAX_GROUPS` series are first put into that many random groups of equal size,
    which are then resampled as one. That leaves the variance unbiased and cuts the work; its
    own error is about 1 / sqrt(2 MAX_GROUPS), 1.6 % of a standard error.
    """

    def __init__(
        self,
        series: np.ndarray,
        column: np.ndarray,
        n_series: int,
        column_day: np.ndarray,
        column_cutoff: np.ndarray,
        *,
        n_boot: int = 500,
        seed: int | np.random.Generator = 0,
        block: int = 1,
        over: tuple[str, ...] = ("series", "days"),
    ) -> None:
        for name, value, least in (("n_boot", n_boot, 0), ("block", block, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise CivstatsError(f"{name} must be a whole number >= {least}, but got {value!r}")
        rng = np.random.default_rng(seed)
        n_days = int(column_day.max()) + 1
        n_blocks = -(-n_days // block)
        n_groups = min(n_series, MAX_GROUPS) if n_boot else 1
        group = np.arange(n_series) % n_groups
        if n_series > n_groups:
            group = rng.permutation(group)
        self.n_boot = n_boot
        self.n_columns = len(column_day)
        self.n_groups = n_groups
        self.starts = np.flatnonzero(np.diff(column_cutoff, prepend=-1))
        self.cell = group[series] * self.n_columns + column
        # Row 0 weighs everything once: the score itself.
        self._series = np.ones((1 + n_boot, n_groups))
        self._days = np.ones((1 + n_boot, self.n_columns))
        if "series" in over:
            self._series[1:] = _multinomial(rng, n_groups, n_boot)
        if "days" in over:
            drawn = _multinomial(rng, n_blocks, n_boot)
            self._days[1:] = drawn[:, column_day // block]
        self.estimable = n_boot > 0 and (
            ("series" in over and n_groups > 1) or ("days" in over and n_blocks > 1)
        )

    def sums(self, values: np.ndarray | None, cell: np.ndarray) -> np.ndarray:
        """Sum values under every replicate's weights.

        Parameters
        ----------
        values : numpy.ndarray, shape (m,), optional
            By default each row counts 1.
        cell : numpy.ndarray, shape (m,), int
            The rows' entries of the attribute `cell`.

        Returns
        -------
        numpy.ndarray, shape (1 + n_boot, 1 + n_cutoffs)
            Row 0 is unweighted. Column 0 pools all cutoffs.
        """
        size = self.n_groups * self.n_columns
        table = np.bincount(cell, weights=values, minlength=size).astype(float, copy=False)
        by_column = (self._series @ table.reshape(self.n_groups, self.n_columns)) * self._days
        by_cutoff = np.add.reduceat(by_column, self.starts, axis=1)
        return np.column_stack([by_cutoff.sum(axis=1), by_cutoff])

    def interval(self, replicates: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the percentile interval of each column, NaN where it cannot be had.

        Parameters
        ----------
        replicates : numpy.ndarray, shape (1 + n_boot, k)
            A statistic under every replicate's weights, row 0 unweighted. Replicates in which it
            is undefined are left out; if more than half are, so is the interval.
        confidence : float
            Percent.
        """
        lo = np.full(replicates.shape[1], np.nan)
        hi = lo.copy()
        if not self.estimable:
            return lo, hi
        tail = (1 - confidence / 100) / 2
        for k in range(replicates.shape[1]):
            draws = replicates[1:, k]
            draws = draws[np.isfinite(draws)]
            if np.isfinite(replicates[0, k]) and 2 * len(draws) >= self.n_boot:
                lo[k], hi[k] = np.quantile(draws, [tail, 1 - tail])
        return lo, hi


def _multinomial(rng: np.random.Generator, n: int, n_boot: int) -> np.ndarray:
    """How often each of n things is drawn in n draws, shape (n_boot, n)."""
    drawn = rng.integers(0, n, size=(n_boot, n)) + n * np.arange(n_boot)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_boot * n).reshape(n_boot, n).astype(float)
