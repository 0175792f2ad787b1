"""Resampling of past caps: a series' own and, where those are few, its department's, rescaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pool:
    """What was seen on past stockout days, by series, to be resampled.

    Attributes
    ----------
    seen, weights : numpy.ndarray, shape (n_seen,)
    series : numpy.ndarray, shape (n_seen,)
        Position of the series, non-decreasing.
    """

    seen: np.ndarray
    weights: np.ndarray
    series: np.ndarray


class Resampler:
    """Draws from a pool for given series.

    Parameters
    ----------
    pool : Pool
    group : numpy.ndarray of int, shape (n_series,)
        Group of each series.
    strength : float
        Weight of a series' own days at which its own and its group's are drawn equally often.
    """

    def __init__(self, pool: Pool, group: np.ndarray, strength: float) -> None:
        self.pool, self.group, self.strength = pool, group, strength
        self.own = _Sampler(pool, pool.series, len(group))
        self.groups = _Sampler(pool, group[pool.series], int(group.max()) + 1)
        self.panel = _Sampler(pool, np.zeros_like(pool.series), 1)
        self.counts = bool((pool.seen == np.rint(pool.seen)).all())

    def __call__(
        self, series: np.ndarray, level: np.ndarray | None, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw one value for each entry of `series`.

        Parameters
        ----------
        series : numpy.ndarray of int, shape (n,)
        level : numpy.ndarray, shape (n_series,), optional
            Scale of each series; values borrowed from another series are rescaled by it.
        rng : numpy.random.Generator
        """
        weight = self.own.total[series]
        own = rng.random(len(series)) * (weight + self.strength) < weight
        value = np.empty(len(series))
        value[own] = self.pool.seen[self.own.draw(series[own], rng)]
        borrower = series[~own]
        group = self.group[borrower]
        bare = self.groups.total[group] <= 0
        pick = np.empty(len(group), int)
        pick[~bare] = self.groups.draw(group[~bare], rng)
        pick[bare] = self.panel.draw(np.zeros(int(bare.sum()), int), rng)
        borrowed = self.pool.seen[pick]
        if level is not None:
            borrowed = borrowed * level[borrower] / level[self.pool.series[pick]]
            if self.counts:
                # Counts stay counts: rounded at random, which keeps the mean, and never to none.
                borrowed = np.maximum(np.floor(borrowed + rng.random(len(borrowed))), 1)
        value[~own] = borrowed
        return value


class _Sampler:
    """Weighted resampling within groups."""

    def __init__(self, pool: Pool, group: np.ndarray, n: int) -> None:
        self.order = np.argsort(group, kind="stable")
        self.total = np.bincount(group, pool.weights, minlength=n)
        self.cumulative = np.cumsum(pool.weights[self.order])
        self.ends = np.cumsum(np.bincount(group, minlength=n))

    def draw(self, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a position in the pool for each entry of `group` (groups that hold something)."""
        if not len(group):
            return np.empty(0, int)
        low, high = np.r_[0, self.ends[:-1]][group], self.ends[group] - 1
        before = np.where(low > 0, self.cumulative[low - 1], 0.0)
        target = before + rng.random(len(group)) * (self.cumulative[high] - before)
        found = np.searchsorted(self.cumulative, target, side="right")
        return self.order[np.clip(found, low, high)]
