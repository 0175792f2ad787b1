"""Whole days out of stock at random: which rows are out, for a target share of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import CivstatsError, SeriesIndex
from civstats.stockouts.simulate.calibrate import bisect, check_rate


def check_run_length(run_length: float) -> float:
    """Return the mean length of an outage in days, or raise if it is not 1 or more."""
    if not isinstance(run_length, (int, float)) or not 1 <= run_length < np.inf:
        raise CivstatsError(f"run_length must be 1 day or more, but got {run_length!r}")
    return float(run_length)


def days_out(
    index: SeriesIndex,
    hazard_order: np.ndarray,
    rate: float,
    run_length: float,
    rng: np.random.Generator,
    mechanism: str,
) -> np.ndarray:
    """Start outages on the rows that come first in `hazard_order`, until `rate` of rows are out.

    Parameters
    ----------
    index : SeriesIndex
    hazard_order : numpy.ndarray, shape (n_rows,)
        The lower, the sooner an outage starts on that row.
    rate : float
    run_length : float
        Mean of the geometric lengths of single outages; they merge where they overlap.
    rng : numpy.random.Generator
    mechanism : str
        Named in the error.

    Returns
    -------
    numpy.ndarray, shape (n_rows,), bool
    """
    n = len(hazard_order)
    starts_at_most = min(int(round(rate * n)), n)
    check_rate(starts_at_most / n, rate, mechanism, "a longer panel")
    # Each start puts at least its own day out, so no more starts than days out are needed.
    first = np.argpartition(hazard_order, starts_at_most - 1)[:starts_at_most] if n else np.empty(0)
    if run_length == 1:
        out = np.zeros(n, dtype=bool)
        out[first] = True
        return out
    first = first[np.argsort(hazard_order[first], kind="stable")]
    last = np.repeat(index.ends, index.lengths)[first]
    stop = np.minimum(first + rng.geometric(1 / run_length, len(first)), last)

    def union(starts: float) -> np.ndarray:
        steps = np.zeros(n + 1, dtype=np.int32)
        k = int(starts)
        np.add.at(steps, first[:k], 1)
        np.add.at(steps, stop[:k], -1)
        return np.cumsum(steps[:-1]) > 0

    k = bisect(lambda x: float(union(x).mean()), rate, 0.0, float(starts_at_most), mechanism,
               "a shorter run_length")  # fmt: skip
    return union(k)


def random_order(panel: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Order rows at random, shape (n_rows,), float32."""
    return rng.random(len(panel), dtype=np.float32)
