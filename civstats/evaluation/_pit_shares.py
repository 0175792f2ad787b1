"""How PIT values fall between edges, forecast by forecast, under every bootstrap replicate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import CUTOFF, DS, ID, CivstatsError

PIT = "pit"
KEYS = ("regime", "model", "treatment")


def edges_of(bins: int) -> np.ndarray:
    """Return the edges of bins of equal width, (bins + 1,), or raise for fewer than two."""
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 2:
        raise CivstatsError(f"bins must be a whole number >= 2, but got {bins!r}")
    return np.linspace(0, 1, bins + 1)


def shares_of(
    values: pd.DataFrame,
    edges: np.ndarray,
    n_boot: int,
    seed: int | np.random.Generator,
    block: int,
) -> Iterator[tuple[dict[str, str], np.ndarray, TwoWayBootstrap]]:
    """Yield each forecast's shares between edges under every replicate, (1 + n_boot, n_bins).

    A frame that names regimes has its forecasts apart by them.
    """
    names = [c for c in KEYS if c in values.columns or c != KEYS[0]]
    if values.empty:
        raise CivstatsError("there are no PIT values")
    for keys, part in values.groupby(names, sort=False, observed=True):
        assert isinstance(keys, tuple)
        series = pd.factorize(part[ID])[0]
        days, ds = pd.factorize(part[DS], sort=True)
        cutoffs = pd.factorize(part[CUTOFF], sort=True)[0]
        pair = cutoffs * len(ds) + days
        used, column = np.unique(pair, return_inverse=True)
        bootstrap = TwoWayBootstrap(
            series,
            column,
            int(series.max()) + 1,
            used % len(ds),
            used // len(ds),
            n_boot=n_boot,
            seed=seed,
            block=block,
        )
        which = np.clip(
            np.searchsorted(edges, part[PIT].to_numpy(), "right") - 1, 0, len(edges) - 2
        )
        total = bootstrap.sums(None, bootstrap.cell)[:, 0]
        shares = np.full((1 + n_boot, len(edges) - 1), np.nan)
        for k in range(len(edges) - 1):
            top = bootstrap.sums((which == k).astype(float), bootstrap.cell)[:, 0]
            np.divide(top, total, out=shares[:, k], where=total > 0)
        # A replicate can draw no series that has the days it drew.
        kept = np.isfinite(shares).all(axis=1)
        yield dict(zip(names, map(str, keys), strict=True)), shares[kept], bootstrap
