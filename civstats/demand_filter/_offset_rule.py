"""From rows of a panel to their offsets: the regression's part, and what trees add."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.offsets import OffsetCoefficients
from civstats.demand_filter.tree_offsets import predict
from civstats.schema import ID, CivstatsError, series_index

_CHUNK = 2_000_000
"""Rows at a time: bounds the memory of their regressors."""


@dataclass(frozen=True)
class OffsetRule:
    """How the offsets of rows follow from their covariates.

    Attributes
    ----------
    design : OffsetDesign
    coefficients : OffsetCoefficients
    ids : pandas.Index
        Series of the fit.
    of_series : numpy.ndarray of int, shape (n_series,)
        Their groups.
    n_jobs : int, optional
    """

    design: OffsetDesign
    coefficients: OffsetCoefficients
    ids: pd.Index
    of_series: np.ndarray
    n_jobs: int | None

    def of(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the offset of days, past or future, shape (n_rows,)."""
        group = self._groups(rows)
        trees, centre = self.coefficients.trees, self.coefficients.centre
        out = np.empty(len(rows))
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            matrix = self.design.matrix(rows.iloc[part])
            out[part] = self.coefficients.offsets(matrix, group[part])
            if trees:
                out[part] += self._trees(rows.iloc[part], group[part], matrix)
        if trees and centre is not None:
            ids = rows[ID].astype("category").cat
            usual = centre.reindex(ids.categories.astype(object)).to_numpy()
            out -= usual[ids.codes.to_numpy()]
        return out

    def centre(self, panel: pd.DataFrame) -> pd.Series:
        """Return the mean of what the trees say of the days of each series."""
        index = series_index(panel)
        group, codes, total = self._groups(panel), index.codes(), np.zeros(len(index.ids))
        for start in range(0, len(panel), _CHUNK):
            part = slice(start, start + _CHUNK)
            matrix = self.design.matrix(panel.iloc[part])
            said = self._trees(panel.iloc[part], group[part], matrix)
            total += np.bincount(codes[part], weights=said, minlength=len(total))
        return pd.Series(total / index.lengths, index=pd.Index(np.asarray(index.ids, dtype=object)))

    def _trees(self, rows: pd.DataFrame, group: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        features = self.design.features(rows, group, matrix)
        return predict(self.coefficients.trees, features, self.n_jobs)

    def _groups(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the group of each row's series, shape (n_rows,)."""
        ids = rows[ID].astype("category")
        at = self.ids.get_indexer(pd.Index(ids.cat.categories.astype(object)))
        group = np.where(at >= 0, self.of_series[at], -1)[ids.cat.codes.to_numpy()]
        if (group < 0).any():
            raise CivstatsError(
                f"{int((group < 0).sum())} row(s) are of series that were not in the fit: fit the "
                "filter on a panel that has them"
            )
        return np.asarray(group)
