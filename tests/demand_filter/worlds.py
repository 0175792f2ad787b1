"""Small worlds for the tests of the filter."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.demand_filter import BOUND, EXACT, IN, SILENT, UNKNOWN, Observations


def one(y, kind=None, status=None, offset=None, exposure=None, name="a"):
    """Observations of one series."""
    y = np.asarray(y, dtype=float)
    n = len(y)
    kind = np.full(n, EXACT) if kind is None else kind
    status = np.where(y > 0, IN, UNKNOWN) if status is None else status
    offset = np.zeros(n) if offset is None else offset
    return Observations(pd.Index([name]), [0], [n], y, kind, status, offset, exposure)


def many(n=12, days=120, seed=0, size=2.0, level_sd=0.05, hidden=False, log_mean=0.5):
    """Series of different lengths with bounds and silent days; returns them and their levels."""
    rng = np.random.default_rng(seed)
    lengths = days - rng.integers(0, days // 2, n)
    parts = []
    for length in lengths:
        level = rng.normal(log_mean, 0.8) + np.cumsum(rng.normal(0, level_sd, length))
        demand = rng.poisson(np.exp(level) * rng.gamma(size, 1 / size, length))
        stock = np.where(rng.random(length) < 0.4, 0, rng.poisson(np.exp(level)))
        short = (rng.random(length) < 0.3) & (stock <= demand)
        y = np.where(short, stock, demand)
        if hidden:
            gone = np.zeros(length, dtype=bool)
            for t in range(1, length):
                gone[t] = rng.random() < (0.7 if gone[t - 1] else 0.1)
            y, short = np.where(gone, 0, demand), np.zeros(length, dtype=bool)
        kind = np.where(short, np.where(y > 0, BOUND, SILENT), EXACT)
        parts.append((y, kind, level))
    y, kind, level = (np.concatenate(p) for p in zip(*parts, strict=True))
    ends = np.cumsum(lengths)
    status = np.where(y > 0, IN, UNKNOWN)
    ids = pd.Index([f"s{i}" for i in range(n)])
    return Observations(ids, ends - lengths, ends, y, kind, status, np.zeros(len(y))), level
