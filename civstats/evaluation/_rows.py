"""The scored rows of a regime, with what all models share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from civstats.evaluation.alignment import Alignment
from civstats.evaluation.regimes import Regime
from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import CENSORED, DEMAND_MEAN, STOCK, ForecastError


@dataclass
class Rows:
    """The rows of one regime, with what all models share.

    Attributes
    ----------
    regime : Regime
    take : numpy.ndarray of int, optional
        Which aligned rows; None for all.
    actual, mean, stock : numpy.ndarray, shape (n,)
        Target, true mean and stock; the last two None where the panel has none.
    is_censored : numpy.ndarray of bool, shape (n,)
    cell, cutoff, window : numpy.ndarray of int, shape (n,)
        Bootstrap cell, number of the cutoff, number of the series and cutoff.
    bottoms : dict
        Denominators under every replicate, by what they count.
    """

    regime: Regime
    take: np.ndarray | None
    actual: np.ndarray
    mean: np.ndarray | None
    stock: np.ndarray | None
    is_censored: np.ndarray
    cell: np.ndarray
    cutoff: np.ndarray
    window: np.ndarray
    bottoms: dict[str, np.ndarray] = field(default_factory=dict)

    def of(self, values: np.ndarray) -> np.ndarray:
        """Return the regime's rows of values in the alignment's order."""
        return values if self.take is None else values[self.take]


def select(
    regime: Regime, held: pd.DataFrame, aligned: Alignment, bootstrap: TwoWayBootstrap
) -> Rows:
    """Return a regime's rows of the scored panel rows.

    Raises
    ------
    ForecastError
        If a target is missing or infinite.
    """
    mask = regime.rows(held)
    take = None if mask.all() else np.flatnonzero(mask)

    def of(values: np.ndarray) -> np.ndarray:
        return values if take is None else values[take]

    def column(name: str) -> np.ndarray | None:
        return of(held[name].to_numpy(dtype=float)) if name in held.columns else None

    actual = of(held[regime.target].to_numpy(dtype=float))
    finite = np.isfinite(actual)
    if not finite.all():
        rows = of(np.arange(len(held)))
        raise ForecastError(
            f"{int((~finite).sum())} actual(s) ({regime.target}) missing or infinite, first "
            f"{aligned.where(int(rows[finite.argmin()]))}; score days with a known actual"
        )
    is_censored = np.zeros(len(actual), dtype=bool)
    stock = column(STOCK)
    if CENSORED in held.columns:
        is_censored = of(held[CENSORED].to_numpy(dtype=bool))
        if stock is not None:
            # A shelf that ended empty sold its whole stock.
            stock = np.where(is_censored & np.isnan(stock), actual, stock)
    cutoff = of(aligned.cutoff)
    return Rows(
        regime,
        take,
        actual,
        column(DEMAND_MEAN),
        stock,
        is_censored,
        of(bootstrap.cell),
        cutoff,
        of(aligned.series) * len(aligned.cutoffs) + cutoff,
    )


def per_cutoff(
    n_cutoffs: int, cutoff: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> np.ndarray:
    """Return ratios of sums, pooled first, then by cutoff; NaN over nothing, (1 + n_cutoffs,)."""
    tops, bottoms = (np.bincount(cutoff, weights=x, minlength=n_cutoffs) for x in (top, bottom))
    tops, bottoms = np.r_[tops.sum(), tops], np.r_[bottoms.sum(), bottoms]
    out = np.full(len(tops), np.nan)
    np.divide(tops, bottoms, out=out, where=bottoms > 0)
    return out
