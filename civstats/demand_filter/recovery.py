"""Past demand behind sales that stockouts cut short: means, bands, joint draws and lost units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.demand_filter._offset_error import offset_departures, offset_variance
from civstats.demand_filter._recovery import Recovered, own_days, recover_rows
from civstats.demand_filter._recovery_draws import draw_demand, draw_parameters
from civstats.demand_filter.layout import BOUND, SILENT
from civstats.demand_filter.model import DemandFilter
from civstats.schema import (
    DS,
    ID,
    INFORMED,
    LEVEL_FILTERED,
    LEVEL_SMOOTHED,
    LOST,
    P_OUT,
    RECOVERED,
    RECOVERED_FILTERED,
    STATIC,
    STOCKOUT,
    CivstatsError,
    Y,
    check_level,
    level_columns,
    series_index,
)

if TYPE_CHECKING:
    import xarray as xr

_CHUNK = 1_000_000
"""Rows recovered at a time: bounds the memory beside the result."""
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


def recover(
    panel: pd.DataFrame,
    fitted: DemandFilter | None = None,
    *,
    treatment: str | None = None,
    levels: Sequence[float] | float = (80, 95),
    n_draws: int = 0,
    parameter_draws: int = 1,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Recovery:
    """Recover the demand of every past day: expectation, bands and joint draws.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    fitted : DemandFilter, optional
        Fitted on this panel, or on one that holds its series; fitted here if None.
    treatment : {"ignore", "mask", "censor"}, optional
        What the level learns from a stockout day; that of `fitted`, or ``censor``. Under ``mask``
        the level learns nothing from such a day, but given that level the day's own demand is still
        at least what it sold (a cut posterior; Plummer, 2015). Under ``ignore`` nothing is lost.
    levels : sequence of float
        Bands, percent; empty for none.
    n_draws : int
        Joint draws on stockout days; they take 4 bytes a day and draw.
    parameter_draws : int
        Draws of the hyperparameters and of the offsets' coefficients that the samples share; 1
        takes the estimates as given.
    seed : int
        A series' draws depend on it and on the series' name.
    n_jobs : int, optional
        Threads; None is one per processor.

    Returns
    -------
    Recovery

    Raises
    ------
    CivstatsError
        For a treatment that is not the fitted one, or series that were not in the fit.

    Notes
    -----
    The level's bands hold the error of the offsets' coefficients, to first order and as the pooled
    regression sees it (levels known), not that of the hyperparameters, which is small where a group
    has some dozens of series.

    A day in stock for a share s of its hours: the likelihood takes its sales as negative binomial
    with mean mu s and the same dispersion, which is to say that one gamma factor holds for the
    whole day. The rest is then negative binomial with mean mu (1 - s)(a + y) / (a + mu s) and
    dispersion a + y: sales above what the level expects say that the unseen hours were busy, too.
    For a normal demand the day's departure is that of the hours seen, for a log-normal one the
    demand is y / s.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.demand_filter.recovery import recover
    >>> days = pd.date_range("2024-01-01", periods=28)
    >>> y = pd.Series([2, 3, 1, 2] * 7)
    >>> out = y.index % 9 == 8
    >>> panel = pd.DataFrame(
    ...     {"unique_id": "a", "ds": days, "y": y.where(~out, 1), "is_censored": out}
    ... )
    >>> found = recover(validate_panel(panel), levels=[80], n_draws=50)
    >>> bool((found.frame["lost"] >= 0).all()), found.samples.shape
    (True, (3, 50))
    """
    level = tuple(check_level(levels)) if np.size(levels) else ()
    if n_draws < 0 or parameter_draws < 1:
        raise CivstatsError(
            f"n_draws must be 0 or more and parameter_draws 1 or more, but got {n_draws} and "
            f"{parameter_draws}"
        )
    if fitted is None:
        fitted = DemandFilter(treatment=treatment or "censor", n_jobs=n_jobs).fit(panel)
    if treatment not in (None, fitted.treatment):
        raise CivstatsError(
            f"the filter was fitted under treatment {fitted.treatment!r}, not {treatment!r}: fit "
            "one under the treatment wanted"
        )
    index = series_index(panel)
    found = Recovered.empty(len(panel), len(level), hidden=fitted.hidden)
    informed = np.empty(len(index.ids), dtype=bool)
    samples: list[np.ndarray] = []
    for first, last in _chunks(index.lengths):
        start, end = int(index.starts[first]), int(index.ends[last - 1])
        part = panel.iloc[start:end]
        obs = fitted.observations(part)
        day = own_days(fitted, part, obs)
        params = fitted.parameters_of(obs.ids)
        needs = recover_rows(
            obs, day, params, level, found.rows(start, end), n_jobs,
            offset_variance=offset_variance(fitted, part) if level else None,
        )  # fmt: skip
        says = (obs.kind != SILENT) & ~(
            (obs.kind == BOUND) & (obs.y <= 0) & (params.family != "normal")
        )
        informed[first:last] = np.add.reduceat(says, obs.starts) > 0
        if n_draws:
            drawn, moves = [params], [np.zeros(1)]
            if parameter_draws > 1:
                member = fitted.groups_.of_series[fitted.ids_.get_indexer(obs.ids)]
                drawn = draw_parameters(
                    params, obs.ids, fitted.groups_, member, fitted.estimates_,
                    min(parameter_draws, n_draws), seed,
                )  # fmt: skip
                moves = offset_departures(fitted, part, len(drawn), seed)
            samples.append(draw_demand(obs, day, drawn, moves, needs, n_draws, seed, n_jobs))
    statics = panel[[c for c in STATIC if c in panel.columns]].iloc[index.starts]
    return Recovery(
        _frame(panel, found, np.repeat(informed, index.lengths), level),
        fitted,
        level,
        _note(fitted, found, informed),
        np.flatnonzero(found.stockout),
        np.concatenate(samples) if n_draws else None,
        statics.set_axis(index.ids),
    )


def _chunks(lengths: np.ndarray) -> list[tuple[int, int]]:
    """Cut the series into runs of about `_CHUNK` rows."""
    ends = np.cumsum(lengths)
    cuts = [0]
    while cuts[-1] < len(lengths):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        stop = int(np.searchsorted(ends, before + _CHUNK, side="right"))
        cuts.append(max(stop, cuts[-1] + 1))
    return list(pairwise(cuts))


def _frame(
    panel: pd.DataFrame, found: Recovered, informed: np.ndarray, level: tuple[float, ...]
) -> pd.DataFrame:
    columns: dict[str, object] = {ID: panel[ID].array, DS: panel[DS].array, Y: panel[Y].array}
    columns |= {
        STOCKOUT: found.stockout,
        LEVEL_FILTERED: found.level_filtered,
        LEVEL_SMOOTHED: found.level_smoothed,
    }
    for k, value in enumerate(level):
        lo, hi = level_columns(LEVEL_SMOOTHED, value)
        columns |= {lo: found.level_band[2 * k], hi: found.level_band[2 * k + 1]}
    columns |= {RECOVERED_FILTERED: found.demand_filtered, RECOVERED: found.demand}
    for k, value in enumerate(level):
        lo, hi = level_columns(RECOVERED, value)
        columns |= {lo: found.demand_band[2 * k], hi: found.demand_band[2 * k + 1]}
    columns[LOST] = found.demand - panel[Y].to_numpy()
    if found.p_out is not None:
        columns[P_OUT] = found.p_out
    columns[INFORMED] = informed
    return pd.DataFrame(columns, copy=False)


def _note(fitted: DemandFilter, found: Recovered, informed: np.ndarray) -> str:
    days = int(found.stockout.sum())
    parts = [f"treatment {fitted.treatment}: demand recovered on {days} day(s)"]
    if not informed.all():
        parts.append(
            f"{int((~informed).sum())} of {len(informed)} series say nothing of their demand on any "
            "day: their values are the prior of their group"
        )
    return "; ".join(parts)
