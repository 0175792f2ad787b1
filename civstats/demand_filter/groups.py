"""Which series share hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import STATIC, CivstatsError, series_index


@dataclass(frozen=True)
class Groups:
    """Which series share hyperparameters.

    Attributes
    ----------
    names : list of str
    of_series : numpy.ndarray of int, shape (n_series,)
    """

    names: list[str]
    of_series: np.ndarray


def group_series(panel: pd.DataFrame, columns: Sequence[str]) -> Groups:
    """Return the groups of a panel's series by static columns; one group where it has none.

    Raises
    ------
    CivstatsError
        For a name that is neither a column of the panel nor one of the schema's static columns.
    """
    unknown = [c for c in columns if c not in panel.columns and c not in STATIC]
    if unknown:
        raise CivstatsError(
            f"group has {len(unknown)} unknown column(s), {', '.join(unknown)}: name column(s) of "
            f"the panel that do not change within a series, such as {', '.join(STATIC)}"
        )
    index = series_index(panel)
    present = [c for c in columns if c in panel.columns]
    if not present:
        return Groups(["all series"], np.zeros(len(index.ids), dtype=int))
    labels = panel[present].iloc[index.starts].astype(str).agg(" / ".join, axis=1)
    codes, names = pd.factorize(labels, sort=True)
    # "all" is the name of the whole among the estimates.
    return Groups([str(n) if n != "all" else "all (group)" for n in names], codes)
