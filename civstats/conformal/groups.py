"""Groups of forecast rows that are calibrated apart, so that slow movers do not pay for fast ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from civstats.conformal._rows import outcomes
from civstats.schema import ID, STATIC

SIZE, AHEAD = "size", "ahead"
_MISSES = 5
"""Misses at either end that a size class should hold at the highest level: fewer are noise."""


def size_classes(mean: np.ndarray, least: int) -> np.ndarray:
    """Return the lower edges of classes of the forecast mean, increasing, the first zero.

    Each class spans a factor of two, or as many as it takes to hold `least` rows; the highest are
    filled first.

    Parameters
    ----------
    mean : numpy.ndarray, shape (n,)
        Of the calibration rows.
    least : int

    Examples
    --------
    >>> size_classes(np.array([0.1] * 9 + [3.0] * 9 + [5.0, 40.0]), 4)
    array([0., 2.])
    """
    power = np.floor(np.log2(np.clip(mean, 0.125, 2.0**20)))
    edges, held = [], 0
    for k in np.unique(power)[::-1]:
        held += int((power == k).sum())
        if held >= least:
            edges.append(2.0**k)
            held = 0
    # What is left over at the bottom joins the class above it.
    return np.array([0.0, *edges[::-1][1:]])


def group_rows(
    rows: Sequence[pd.DataFrame],
    means: Sequence[np.ndarray],
    panel: pd.DataFrame,
    by: str | None,
    use: np.ndarray,
    level: float,
) -> list[np.ndarray]:
    """Return the group of every row; the first rows are those calibrated on, where `use` is true.

    A class is a matter of the forecast, known before the outcome, so that each is a conformal
    problem of its own (Mondrian: Vovk, Gammerman and Shafer 2005). The edges look at how many
    calibration rows there are, not at what came of them.
    """
    if by == SIZE:
        least = int(np.ceil(2 * _MISSES / (1 - level / 100)))
        edges = size_classes(means[0][use], least)
        return [edges[np.searchsorted(edges, np.maximum(m, 0), side="right") - 1] for m in means]
    return [_labels(x, panel, by) for x in rows]


def _labels(rows: pd.DataFrame, panel: pd.DataFrame, by: str | None) -> np.ndarray:
    if by is None:
        return np.zeros(len(rows), dtype=int)
    if by == AHEAD:
        return rows[AHEAD].to_numpy()
    if by == ID:
        return rows[ID].astype(object).to_numpy()
    if by in STATIC and by in panel.columns:
        # Known without a row of that day: the panel may end before the test days.
        first = panel.drop_duplicates(ID).set_index(ID)[by].astype(object)
        return first.reindex(rows[ID].astype(object)).to_numpy()
    return outcomes(rows, panel, [by])[by].astype(object).to_numpy()
