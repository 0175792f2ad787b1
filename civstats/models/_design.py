"""Rows of a direct global model: origins x series x days ahead, in LightGBM's terms."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from civstats.features.history import SalesGrid, history_features

_SCALED = ("lag_", "mean_", "decay_", "spread_", "season_mean_")
"""History features measured against the series' level, so that trees share what they learn."""


@dataclass(frozen=True)
class Rows:
    """Rows for training.

    Attributes
    ----------
    x : numpy.ndarray, shape (n_rows, n_features), float32
    y : numpy.ndarray, shape (n_rows,), float64
        Target.
    start : numpy.ndarray, shape (n_rows,), float64
        Recent mean of the series at the origin, in units of the target; boosting starts there.
    censored : numpy.ndarray of bool, shape (n_rows,)
        Where the target is a lower bound.
    exposure : numpy.ndarray, shape (n_rows,), float64
        Share of the target's demand that its hours in stock see; 1 where the target is a bound.
    period : numpy.ndarray of int, shape (n_rows,)
        The target's (first) period.
    cell : numpy.ndarray of int, shape (n_rows,)
        The target's row in the panel.
    """

    x: np.ndarray
    y: np.ndarray
    start: np.ndarray
    censored: np.ndarray
    exposure: np.ndarray
    period: np.ndarray
    cell: np.ndarray

    def take(self, rows: np.ndarray) -> Rows:
        """Return some of the rows."""
        return Rows(*(getattr(self, f.name)[rows] for f in fields(self)))


class KnownTable:
    """Known features as numbers, addressed by series and period.

    Parameters
    ----------
    frame : pandas.DataFrame
        From :func:`civstats.features.known.known_features`, a row per row of the panel.
    grid : SalesGrid
    span : int
        Periods in a target. With more than one, numbers are averaged over them and categories
        that change within a series are left out.
    """

    def __init__(self, frame: pd.DataFrame, grid: SalesGrid, span: int = 1) -> None:
        lengths = grid.end - grid.start
        first = np.cumsum(lengths) - lengths
        self.span = span
        self.categories = {
            c: frame[c].cat.categories
            for c in frame.columns
            if isinstance(frame[c].dtype, pd.CategoricalDtype)
        }
        self.names = [
            c
            for c in frame.columns
            if span == 1 or c not in self.categories or _constant(frame[c].cat.codes, first)
        ]
        self.categories = {c: v for c, v in self.categories.items() if c in self.names}
        self._first = first - grid.start
        # The rows of a series' last periods reach into the next series; no target ends there.
        self.table = self._average(self.encode(frame), len(frame))

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return numbers; categories as codes of the training categories, NaN for unseen ones."""
        out = np.empty((len(frame), len(self.names)), dtype=np.float32)
        for j, name in enumerate(self.names):
            if name in self.categories:
                known = self.categories[name]
                column = frame[name]
                position = np.r_[known.get_indexer(column.cat.categories), -1]
                codes = position[column.cat.codes.to_numpy()]
                out[:, j] = np.where(codes >= 0, codes, np.nan)
            else:
                out[:, j] = frame[name].to_numpy(dtype=np.float32)
        return out

    def blocks(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode a rectangular future, a row per series and target, series first."""
        return self._average(self.encode(frame), len(frame))[:: self.span]

    def cell(self, series: np.ndarray, period: np.ndarray) -> np.ndarray:
        """Return the panel's row of a series and period."""
        return self._first[series] + period

    def _average(self, values: np.ndarray, n: int) -> np.ndarray:
        if self.span == 1:
            return values
        numeric = np.array([c not in self.categories for c in self.names])
        out = values.copy()
        sums = np.zeros((n, int(numeric.sum())), dtype=np.float64)
        for k in range(self.span):
            sums[: n - k] += values[k:, numeric]
        out[:, numeric] = sums / self.span
        return out


class Design:
    """History features at many origins, joined to known features on demand.

    Parameters
    ----------
    grid : SalesGrid
    known : KnownTable
    origins : numpy.ndarray of int
        Increasing numbers of known periods.
    season_length : int
    target : SalesGrid, optional
        What is predicted, if other than the grid that the features read.
    """

    def __init__(
        self,
        grid: SalesGrid,
        known: KnownTable,
        origins: np.ndarray,
        season_length: int,
        target: SalesGrid | None = None,
    ) -> None:
        self.known, self.origins = known, origins
        self.span, self.season_length = known.span, season_length
        self.start = grid.start
        target = grid if target is None else target
        self.target = _sums(target.y, self.span)
        self.censored = target.censored
        self.exposure = np.where(target.censored, np.float32(1), target.exposure)
        features = history_features(grid, origins, season_length=season_length)
        self.level = features.level
        self.names = [*features.names, *features.season_names, "level", "ahead", *known.names]
        self.categorical = [n for n in known.names if n in known.categories]
        scaled = [n.startswith(_SCALED) for n in features.names]
        self._steady = features.steady
        self._steady[..., scaled] /= self.level[..., None]
        self._season = features.season / self.level[..., None, None].astype(np.float32)

    def position(self, origins: np.ndarray) -> np.ndarray:
        """Return the positions of origins."""
        return np.searchsorted(self.origins, origins)

    def matrix(
        self, series: np.ndarray, index: np.ndarray, ahead: np.ndarray, known: np.ndarray
    ) -> np.ndarray:
        """Return the features of rows (series, position of the origin, target ahead from 0)."""
        x = np.empty((len(series), len(self.names)), dtype=np.float32)
        a = self._steady.shape[2]
        b = a + self._season.shape[3]
        x[:, :a] = self._steady[series, index]
        x[:, a:b] = self._season[series, index, ahead % self.season_length]
        x[:, b] = self.level[series, index]
        x[:, b + 1] = ahead
        x[:, b + 2 :] = known
        return x

    def start_of(self, series: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Return what boosting starts from, the level in units of the target."""
        return self.span * self.level[series, index]

    def cells(self, origin: int, h: int, until: int) -> np.ndarray:
        """Cells (series x target ahead) of an origin with a known target that ends by `until`."""
        period = origin + np.arange(h)
        inside = period + self.span <= until
        y = self.target[:, np.where(inside, period, 0)]
        return np.isfinite(y) & inside & (self.start < origin)[:, None]

    def sample(
        self, origins: np.ndarray, h: int, until: int, max_rows: int, rng: np.random.Generator
    ) -> Rows:
        """Draw training rows: the same share of every origin's known cells, at random."""
        cells = [self.cells(t, h, until) for t in origins]
        share = min(1.0, max_rows / max(sum(int(c.sum()) for c in cells), 1))
        # Drawn for all cells, so that the draw of one does not depend on which others exist.
        drawn = [np.nonzero(c & (rng.random(c.shape, dtype=np.float32) < share)) for c in cells]
        series = np.concatenate([d[0] for d in drawn])
        ahead = np.concatenate([d[1] for d in drawn])
        index = np.repeat(self.position(origins), [len(d[0]) for d in drawn])
        period = self.origins[index] + ahead
        cell = self.known.cell(series, period)
        x = self.matrix(series, index, ahead, self.known.table[cell])
        at = (series, period)
        y, exposure = (a[at].astype(np.float64) for a in (self.target, self.exposure))
        return Rows(x, y, self.start_of(series, index), self.censored[at], exposure, period, cell)


def _constant(codes: pd.Series, first: np.ndarray) -> bool:
    changes = np.flatnonzero(np.diff(codes.to_numpy())) + 1
    return bool(np.isin(changes, first).all())


def _sums(y: np.ndarray, span: int) -> np.ndarray:
    """Sums over `span` periods from each period on, NaN where one is missing."""
    if span == 1:
        return y
    out = np.full(y.shape, np.nan, dtype=np.float32)
    n = y.shape[1] - span + 1
    if n > 0:
        out[:, :n] = sum(y[:, k : k + n] for k in range(span))
    return out
