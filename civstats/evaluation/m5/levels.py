"""From the series' losses to a level's score, to the mean of the levels, to score rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.evaluation.m5.hierarchy import KEYS, M5_LEVEL, Hierarchy
from civstats.schema import SCORES, ForecastError, parse_alias


def level_means(
    loss: np.ndarray, weight: np.ndarray, hierarchy: Hierarchy
) -> tuple[np.ndarray, np.ndarray]:
    """Weight the losses within levels, and average the levels.

    Parameters
    ----------
    loss : numpy.ndarray, shape (n_all,)
        NaN where a series has no scale: the other weights of its level are raised.
    weight : numpy.ndarray, shape (n_all,)
    hierarchy : Hierarchy

    Returns
    -------
    value : numpy.ndarray, shape (13,)
        The mean of the levels, then the levels 1 to 12; NaN where no weighted series has a scale.
    n : numpy.ndarray, shape (13,), int
        Series scored.
    """
    value, n = np.full(1 + len(KEYS), np.nan), np.zeros(1 + len(KEYS), dtype=int)
    for level, rows in hierarchy.rows.items():
        held = np.isfinite(loss[rows])
        total = weight[rows][held].sum()
        n[level] = held.sum()
        if total > 0:
            value[level] = weight[rows][held] @ loss[rows][held] / total
    value[0], n[0] = value[1:].mean(), n[1:].sum()
    return value, n


def score_rows(
    name: str,
    metric: str,
    regime: str,
    cutoff: pd.Timestamp,
    value: np.ndarray,
    n: np.ndarray,
    note: str,
) -> pd.DataFrame:
    """Lay levels out as rows of the score frame, with one column more: ``m5_level``.

    Examples
    --------
    >>> score_rows("A_mask", "wspl", "all_days", pd.NaT, np.ones(13), np.ones(13), "").shape
    (13, 14)
    """
    model, treatment = parse_name(name)
    frame = pd.DataFrame({M5_LEVEL: [0, *KEYS], "value": value, "n": n})
    frame = frame.assign(
        model=model,
        treatment=treatment,
        regime=regime,
        metric=metric,
        cutoff=cutoff,
        level=np.nan,
        lo=np.nan,
        hi=np.nan,
        expected=np.nan,
        identified=np.isfinite(value),
        note=note,
    )
    return frame[[*SCORES, M5_LEVEL]]


def parse_name(name: str) -> tuple[str, str]:
    """Split ``{Model}_{treatment}``.

    Raises
    ------
    ForecastError
        If it is not of that form.
    """
    try:
        return parse_alias(name)
    except ValueError as error:
        raise ForecastError(str(error)) from error
