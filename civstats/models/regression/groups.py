"""Groups of a clustered covariance, matched to the rows that the model kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from civstats.models.regression.rows import Rows, some
from civstats.schema import CivstatsError


def cluster_groups(groups: Any, rows: Rows, frame: pd.DataFrame | None, framed: Any) -> np.ndarray:
    """Return group codes of the rows in the model.

    Parameters
    ----------
    groups : str, pandas object or array_like
        A column of the formula's data (or two, for two-way clustering), a Series or frame
        matched by index, or an array with one entry per row given, per row of the subset, or
        per row in the model.
    rows : Rows
        Rows in the model.
    frame : pandas.DataFrame or None
        The formula's data, after its subset.
    framed : numpy.ndarray of bool or None
        Which rows of `frame` are in the model.

    Raises
    ------
    CivstatsError
        For an unknown column, lengths that fit nothing, missing groups, or a single group.
    """
    names = [groups] if isinstance(groups, str) else groups
    if isinstance(names, (list, tuple)) and names and all(isinstance(g, str) for g in names):
        columns = [] if frame is None else list(frame.columns)
        absent = [g for g in names if g not in columns]
        if frame is not None and not absent:
            groups = frame[names].to_numpy()[framed]
        elif isinstance(groups, str) or len(names) not in (rows.total, rows.positions.size):
            raise CivstatsError(
                f"groups={groups!r} is not a column of the formula's data"
                + (f"; it has {some(columns)}" if columns else ": pass the values instead")
            )
    if isinstance(groups, (pd.Series, pd.DataFrame)):
        values = rows.match(groups, "groups")
    else:
        values = np.asarray(groups)
        if framed is not None and values.ndim and values.shape[0] == framed.size:
            values = values[framed]
        values = rows.pick(values, "groups", *([] if framed is None else [framed.size]))
    table = values.reshape(values.shape[0], -1)
    if table.shape[1] > 2:
        raise CivstatsError(
            f"groups has {table.shape[1]} columns: statsmodels clusters by one or two"
        )
    codes = np.column_stack(
        [pd.factorize(table[:, j], use_na_sentinel=True)[0] for j in range(table.shape[1])]
    )
    bad = np.asarray((codes < 0).any(axis=1))
    if bad.any():
        raise CivstatsError(
            f"groups is missing in {rows.say(bad)}, used by the model; fill them or drop the rows "
            "before fitting"
        )
    if (codes.max(axis=0) == 0).any():
        raise CivstatsError(
            f"groups holds a single group for all {len(codes)} rows: a clustered covariance needs "
            "two or more; use cov_type='HC0' or another grouping"
        )
    return codes[:, 0] if table.shape[1] == 1 else codes
