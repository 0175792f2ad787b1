"""What a recovery hands back: a frame of days, joint draws on stockout days, sums of lost units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.demand_filter.model import DemandFilter
from civstats.schema import (
    DS,
    ID,
    LOST,
    RECOVERED,
    CivstatsError,
    Y,
    check_level,
    level_columns,
    series_index,
)

if TYPE_CHECKING:
    import xarray as xr

_DRAWS_AT_ONCE = 32


@dataclass(frozen=True)
class Recovery:
    """Past demand of a panel, as far as its sales tell.

    Attributes
    ----------
    frame : pandas.DataFrame
        The rows of the panel, units per day, float32:

        - ``unique_id, ds, y``;
        - ``stockout``: whether sales may fall short of demand on the day;
        - ``level_filtered``, ``level_smoothed``: mean demand of the day, E[exp(l + x)], given the
          days up to it and given all days; ``level_smoothed-lo-80`` ... are its bands, the
          uncertainty of the level alone, on every day;
        - ``recovered``: expected demand given all that was observed: sales on a day in stock,
          E[D | D >= y] where demand is at least y, sales plus the expected rest where the item was
          out for a part of the day, E[D] where it was out throughout;
          ``recovered-lo-80`` ... are quantiles of demand itself (not of its mean), degenerate on
          days in stock;
        - ``recovered_filtered``: the same expectation from the days up to this one, the value that
          a lag may read;
        - ``lost``: ``recovered - y``, never negative;
        - ``p_out``: probability of having been out of stock, under hidden availability;
        - ``informed``: False for all days of a series that was never seen in stock nor sold
          anything: its values are the prior of its group.
    model : DemandFilter
    level : tuple of float
        Of the bands, percent.
    note : str
        What a reader should know of this recovery.
    rows : numpy.ndarray of int, shape (n_stockout_days,)
        Rows of `frame` on which there are draws.
    samples : numpy.ndarray of float32, shape (n_stockout_days, n_draws), optional
        Demand: column j is one world, along one level path per series and one draw of the shared
        parameters. Series differ in their stockout days, so this is sparse; see :meth:`draws`.
    statics : pandas.DataFrame
        Static attributes by series.
    """

    frame: pd.DataFrame
    model: DemandFilter
    level: tuple[float, ...]
    note: str
    rows: np.ndarray
    samples: np.ndarray | None
    statics: pd.DataFrame = field(repr=False)

    def draws(self, ids: Sequence[str] | None = None) -> xr.DataArray:
        """Return the joint draws of demand as an array ``unique_id, sample, ds``.

        Parameters
        ----------
        ids : sequence of str, optional
            Series; all if None. Days are those on which one of them was out of stock; entries are
            NaN where the series itself was not.

        Raises
        ------
        CivstatsError
            If no draws were made, or a series is unknown.
        """
        import xarray as xr

        samples = self._samples()
        codes = self.frame[ID].cat.codes.to_numpy()[self.rows]
        names = self.frame[ID].cat.categories
        wanted = series_index(self.frame).ids if ids is None else pd.Index(ids)
        at = names.get_indexer(wanted)
        if (at < 0).any():
            raise CivstatsError(f"no series {wanted[int(np.argmax(at < 0))]} in this recovery")
        position = np.full(len(names), -1)
        position[at] = np.arange(len(at))
        mine = position[codes] >= 0
        days, day = np.unique(self.frame[DS].to_numpy()[self.rows[mine]], return_inverse=True)
        out = np.full((len(wanted), samples.shape[1], len(days)), np.nan, dtype=np.float32)
        out[position[codes[mine]], :, day] = samples[mine]
        return xr.DataArray(
            out, dims=(ID, "sample", DS), coords={ID: list(wanted), DS: days}, name=RECOVERED
        )

    def lost(
        self,
        by: str | Sequence[str] = (),
        *,
        start: str | pd.Timestamp | None = None,
        end: str | pd.Timestamp | None = None,
        level: Sequence[float] | float = (80, 95),
    ) -> pd.DataFrame:
        """Return lost units over a span, with the bands of the sums (never sums of bands).

        Parameters
        ----------
        by : str or sequence of str
            ``unique_id``, ``ds``, static columns, or several of them; the total if empty.
        start, end : str or Timestamp, optional
            First and last day of the span.
        level : sequence of float
            Bands, percent; not given where no draws were made.

        Returns
        -------
        pandas.DataFrame
            The keys, ``n_days`` (series-days with a stockout), ``lost`` (expected units) and
            ``lost-lo-80, lost-hi-80, ...``; a row per group with a stockout day, sorted by the keys.
        """
        keys = [by] if isinstance(by, str) else list(by)
        unknown = [k for k in keys if k not in (ID, DS, *self.statics.columns)]
        if unknown:
            raise CivstatsError(
                f"lost units are summed by {ID}, {DS} or static columns "
                f"({', '.join(self.statics.columns)}), but got {', '.join(unknown)}"
            )
        days = self.frame[DS].to_numpy()[self.rows]
        inside = np.ones(len(days), dtype=bool)
        if start is not None:
            inside &= days >= pd.Timestamp(start).to_datetime64()
        if end is not None:
            inside &= days <= pd.Timestamp(end).to_datetime64()
        picked = np.flatnonzero(inside)
        rows = self.rows[picked]
        code, table = self._group(rows, keys)
        n = len(table)
        expected = np.bincount(code, self.frame[LOST].to_numpy()[rows].astype(float), minlength=n)
        table = table.assign(n_days=np.bincount(code, minlength=n), **{LOST: expected})
        if self.samples is None:
            return table
        sums = self._sums(picked, rows, code, n)
        for value in check_level(level):
            tail = 0.5 - value / 200
            for name, p in zip(level_columns(LOST, value), (tail, 1 - tail), strict=True):
                table[name] = np.quantile(sums, p, axis=1)
        return table

    def _samples(self) -> np.ndarray:
        if self.samples is None:
            raise CivstatsError("this recovery has no draws: call recover with n_draws above 0")
        return self.samples

    def _group(self, rows: np.ndarray, keys: list[str]) -> tuple[np.ndarray, pd.DataFrame]:
        """Return the group of each row and the table of groups."""
        if not keys:
            return np.zeros(len(rows), dtype=int), pd.DataFrame(index=pd.RangeIndex(1))
        ids = self.frame[ID].to_numpy()[rows]
        columns = {
            k: ids if k == ID
            else self.frame[DS].to_numpy()[rows] if k == DS
            else self.statics[k].astype(object).reindex(ids).to_numpy()
            for k in keys
        }  # fmt: skip
        grouped = pd.DataFrame(columns).groupby(keys, observed=True, sort=True)
        table = grouped.size().reset_index()[keys]
        return grouped.ngroup().to_numpy(), table

    def _sums(self, picked: np.ndarray, rows: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
        """Sum lost units by group within every sample, shape (n, n_draws)."""
        samples = self._samples()
        out = np.zeros((n, samples.shape[1]))
        if not len(rows):
            return out
        order = np.argsort(code, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(code[order]) > 0])
        y = self.frame[Y].to_numpy()[rows[order], None].astype(float)
        for first in range(0, samples.shape[1], _DRAWS_AT_ONCE):
            part = slice(first, first + _DRAWS_AT_ONCE)
            units = samples[picked[order], part] - y
            out[code[order][starts], part] = np.add.reduceat(units, starts, axis=0)
        return out
