"""What the filter sees: ragged series of exact, bound and silent days, flat and in panel order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from civstats.schema import (
    CENSORED,
    FLAG_KNOWN,
    IN_STOCK_SHARE,
    CivstatsError,
    Y,
    series_index,
    stockout_days,
    treated_sales,
)

EXACT, BOUND, SILENT = 0, 1, 2
UNKNOWN, IN, OUT = 0, 1, 2


@dataclass(frozen=True)
class Observations:
    """Days of all series, one after the other; row r is row r of the panel it was built from.

    Attributes
    ----------
    ids : pandas.Index, shape (n_series,)
    starts, ends : numpy.ndarray of int64, shape (n_series,)
        Series i holds the rows ``starts[i]:ends[i]``, one per period, without gaps.
    y : numpy.ndarray of float64, shape (n_rows,)
        Sales of an exact day, the bound of a bound day, 0 on a silent day.
    kind : numpy.ndarray of uint8, shape (n_rows,)
        `EXACT` (demand is y), `BOUND` (demand is at least y) or `SILENT` (nothing but time).
    status : numpy.ndarray of uint8, shape (n_rows,)
        `UNKNOWN`, `IN` (known in stock) or `OUT` (known out); read under hidden availability only.
    offset : numpy.ndarray of float64, shape (n_rows,)
        x, what is added to the level: log units, units for the normal family.
    exposure : numpy.ndarray of float64, shape (n_rows,), optional
        Share of the day's demand that could be seen; scales the mean. None: whole days.

    Raises
    ------
    CivstatsError
        If shapes disagree, series do not follow each other, or a value has no meaning.
    """

    ids: pd.Index
    starts: np.ndarray
    ends: np.ndarray
    y: np.ndarray
    kind: np.ndarray
    status: np.ndarray
    offset: np.ndarray
    exposure: np.ndarray | None = None

    def __post_init__(self) -> None:
        kinds = {
            "starts": np.int64,
            "ends": np.int64,
            "y": np.float64,
            "kind": np.uint8,
            "status": np.uint8,
            "offset": np.float64,
        }
        for name, dtype in kinds.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        if self.exposure is not None:
            exposure = np.ascontiguousarray(self.exposure, dtype=np.float64)
            object.__setattr__(self, "exposure", exposure)
        n = len(self.y)
        rows = [self.kind, self.status, self.offset]
        rows += [] if self.exposure is None else [self.exposure]
        if any(a.shape != (n,) for a in rows):
            raise CivstatsError(f"y, kind, status, offset and exposure must all have {n} rows")
        edges = np.r_[0, self.ends]
        if (
            not len(self.ids) == len(self.starts) == len(self.ends)
            or (self.starts != edges[:-1]).any()
            or (self.ends <= self.starts).any()
            or edges[-1] != n
        ):
            raise CivstatsError("series must follow each other without gaps, a day each at least")
        self._refuse(~np.isfinite(self.offset), "offset must be finite")
        self._refuse((self.kind > SILENT) | (self.status > OUT), "kind or status is unknown")
        self._refuse(
            (self.kind != SILENT) & ~(np.isfinite(self.y)), "y must be finite on days that speak"
        )
        if self.exposure is not None:
            good = np.isfinite(self.exposure) & (self.exposure > 0)
            self._refuse((self.kind != SILENT) & ~good, "exposure must be above 0 and finite")

    def _refuse(self, bad: np.ndarray, text: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            series = int(np.searchsorted(self.ends, row, side="right"))
            raise CivstatsError(
                f"{text}, but {int(bad.sum())} row(s) break this, first day "
                f"{row - int(self.starts[series]) + 1} of {self.ids[series]}"
            )

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids)

    @property
    def n_rows(self) -> int:
        """Number of days of all series."""
        return len(self.y)

    @property
    def lengths(self) -> np.ndarray:
        """Number of days of each series, shape (n_series,)."""
        return self.ends - self.starts

    def with_offset(self, offset: ArrayLike) -> Observations:
        """Return the same days with other offsets, shape (n_rows,)."""
        return replace(self, offset=np.asarray(offset, dtype=np.float64))

    def rows_of(self, series: np.ndarray | list[int]) -> np.ndarray:
        """Return the row numbers of some series, by position, series after series."""
        parts = [np.arange(self.starts[i], self.ends[i]) for i in np.asarray(series, dtype=int)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def take(self, series: np.ndarray | list[int]) -> Observations:
        """Return some series, by position."""
        series = np.asarray(series, dtype=int)
        return self._gather(series, self.rows_of(series), self.lengths[series])

    def slice_days(self, first: int = 0, stop: int | None = None) -> Observations:
        """Return the days ``first:stop`` of every series, counted from its own start.

        Series without such a day are left out.
        """
        low, high, _ = slice(first, stop).indices(int(self.lengths.max(initial=0)))
        low_rows = np.minimum(self.starts + low, self.ends)
        high_rows = np.minimum(self.starts + high, self.ends)
        kept = np.flatnonzero(high_rows > low_rows)
        parts = [np.arange(low_rows[i], high_rows[i]) for i in kept]
        rows = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        return self._gather(kept, rows, (high_rows - low_rows)[kept])

    def _gather(self, series: np.ndarray, rows: np.ndarray, lengths: np.ndarray) -> Observations:
        ends = np.cumsum(lengths)
        return Observations(
            self.ids[series],
            ends - lengths,
            ends,
            self.y[rows],
            self.kind[rows],
            self.status[rows],
            self.offset[rows],
            None if self.exposure is None else self.exposure[rows],
        )


def observations(
    panel: pd.DataFrame,
    treatment: str,
    offset: ArrayLike | None = None,
    *,
    hidden: bool = False,
) -> Observations:
    """Lay a validated panel out for the filter.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated: sorted, without gaps in a series' calendar.
    treatment : {"ignore", "mask", "censor"}
        ``ignore``: every day exact, no flag is read. ``mask``: stockout days are silent. ``censor``:
        censored days are bounds (silent at y = 0), part days enter by exposure.
    offset : array_like, shape (n_rows,), optional
        Offsets x in panel order; 0 if None.
    hidden : bool
        Where the panel (or the treatment) has no flags, days without sales are of unknown status
        instead of known to be in stock.

    Returns
    -------
    Observations

    Raises
    ------
    CivstatsError
        For an unknown treatment, or offsets of the wrong length.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.demand_filter import observations
    >>> days = pd.date_range("2024-01-01", periods=3)
    >>> panel = pd.DataFrame(
    ...     {"unique_id": "a", "ds": days, "y": [2, 0, 3], "is_censored": [False, True, True]}
    ... )
    >>> observations(validate_panel(panel), "censor").kind.tolist()
    [0, 2, 1]
    """
    sales, exposure, bound = treated_sales(panel, treatment)
    index = series_index(panel)
    silent = np.isnan(sales)
    n = len(sales)
    kind = np.full(n, EXACT, dtype=np.uint8)
    kind[silent] = SILENT
    kind[bound] = BOUND
    x = np.zeros(n) if offset is None else np.asarray(offset, dtype=np.float64)
    if x.shape != (n,):
        raise CivstatsError(f"offset must have one value per row, {n}, but has shape {x.shape}")
    part = (kind == EXACT) & (exposure < 1)
    return Observations(
        index.ids,
        index.starts,
        index.ends,
        np.where(silent, 0.0, sales),
        kind,
        _status(panel, treatment, silent, hidden),
        x,
        np.where(part, exposure, np.float32(1)) if part.any() else None,
    )


def _status(panel: pd.DataFrame, treatment: str, silent: np.ndarray, hidden: bool) -> np.ndarray:
    """Say of each row whether the item was in stock, as far as the treatment may know."""
    sold = panel[Y].to_numpy() > 0
    flagged = [c for c in (CENSORED, IN_STOCK_SHARE) if c in panel.columns]
    # Bytes written in place: on all of M5 a column of whole numbers takes 0.4 GB.
    status = np.full(len(panel), UNKNOWN, dtype=np.uint8)
    status[sold] = IN
    if treatment == "ignore" or not flagged:
        if not hidden:
            status[:] = IN
        return status
    known = panel[FLAG_KNOWN].to_numpy() if FLAG_KNOWN in panel.columns else np.True_
    if treatment == "mask":
        # A stockout day may have sold before it ran out; its sales must leave no trace.
        status[silent] = UNKNOWN
        status[known & ~silent] = IN
        return status
    out = stockout_days(panel)
    status[known & ~out] = IN
    status[out & ~silent] = IN
    status[silent & ~sold] = OUT
    return status
