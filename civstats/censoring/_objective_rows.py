"""Rows, blocks and tables of the fast paths for gradient boosting."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from civstats.censoring import _check
from civstats.schema import CivstatsError

TABLE_MAX = 4096  # counts beyond it take the general path
BLOCK = 65_536  # rows of one partial sum: the total does not depend on the number of threads


@lru_cache(maxsize=64)
def ratio_table(alpha: float, size: int) -> np.ndarray:
    k = np.arange(size, dtype=np.float64)
    return (1.0 + alpha * k) / (k + 1.0)


def log_pmf_table(alpha: float, size: int) -> np.ndarray:
    """Return the part of log P(D = y) that is free of eta, y = 0 .. size - 1."""
    rising = np.concatenate([[0.0], np.cumsum(np.log1p(alpha * np.arange(size - 1)))])
    return rising - special.gammaln(np.arange(size) + 1.0)


def alpha(dispersion: float) -> float:
    _check.positive("dispersion", dispersion, infinite=True)
    return 1.0 / float(dispersion)


def zero_prob(zero_prob: float) -> float:
    if not 0 <= zero_prob < 1:
        raise CivstatsError(f"zero_prob must lie in [0, 1), but got {zero_prob!r}")
    return float(zero_prob)


def rows(
    eta: ArrayLike, y: ArrayLike, is_censored: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    eta = np.ascontiguousarray(eta, dtype=np.float64)
    y = np.asarray(y)
    y = np.ascontiguousarray(y, dtype=y.dtype if y.dtype in (np.float32, np.float64) else float)
    cens = np.zeros(y.shape, bool) if is_censored is None else _check.flags(is_censored)
    if not (eta.ndim == 1 and eta.shape == y.shape == cens.shape):
        raise CivstatsError(
            f"eta, y and is_censored must be vectors of one length, but have shapes {eta.shape}, "
            f"{y.shape} and {cens.shape}"
        )
    return eta, y, np.ascontiguousarray(cens)


def spread(work: Callable[[int, int], Any], n: int, n_threads: int | None) -> list[Any]:
    """Run work(start, stop) over blocks of rows, in threads; the kernels release the lock."""
    blocks = [(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK)]
    threads = min(n_threads or os.cpu_count() or 1, len(blocks))
    if threads <= 1:
        return [work(*b) for b in blocks]
    # A pool per call costs 0.1 ms and, unlike one kept, survives a fork.
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda b: work(*b), blocks))
