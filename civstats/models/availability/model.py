"""Forecasts of stockouts: a two-state Markov chain per series, shrunk to its department."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.models.availability.common import entry_tilt, learn_common
from civstats.models.availability.history import History, read_history
from civstats.models.availability.resample import Resampler
from civstats.models.availability.shrinkage import BetaBinomial
from civstats.schema import DS, ID, CivstatsError, ForecastError, series_index

if TYPE_CHECKING:
    import xarray as xr

_BLOCK = 128
_PARTS = ("entry", "exit", "part", "wholly_first", "wholly_later")


class Availability:
    """When each series will be out of stock, and what there is to sell then.

    Each series is in stock or out, a two-state Markov chain with its own chance to run out and to
    come back, learnt from its own flags and shrunk to its department's (hierarchical beta-binomial).
    Old days fade. Every sample draws those chances from their posterior, the departments' parts
    shared by their series, so sums over series keep the common uncertainty.

    On a day out, the units there are zero with a shrunk chance of its own (one for the first day of
    an outage, one for the later days); otherwise they are resampled from the series' past caps or,
    the less it has of them the more often, from its department's relative to the level of sales.

    Parameters
    ----------
    half_life : float
        Age in periods at which a day counts half. Half a year is a compromise: on simulated
        inventory worlds, whose shops do not change, a year predicts the days out of 28 days 0.007
        nats a series better and three months 0.010 worse; real shops drift.
    group : str, optional
        Column of the groups to shrink to; the whole panel where it is absent.
    own_caps : float
        Number of own caps at which the series' own and the department's are resampled equally often.

    Attributes
    ----------
    probability_ : pandas.DataFrame
        Per series (index): long-run ``probability`` of a stockout day, its ``p10`` and ``p90``.
    elasticity_ : float
        Power of a day's relative expected demand that the chance of an outage's begin follows.
    shift_ : float
        Standard deviation of the log of a month's common factor on those chances.
    cutoff_ : pandas.Timestamp
    series_ : pandas.Index

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=60)
    >>> out = np.arange(60) % 10 < 2
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.where(out, 0, 3),
    ...                       "is_censored": out})
    >>> model = Availability().fit(validate_panel(panel))
    >>> model.paths(["a"], pd.date_range("2024-03-01", periods=7), n_paths=50).out.shape
    (1, 50, 7)
    """

    cutoff_: pd.Timestamp
    series_: pd.Index
    history_: History

    def __init__(
        self, *, half_life: float = 180.0, group: str | None = "dept_id", own_caps: float = 5.0
    ) -> None:
        for name, value in (("half_life", half_life), ("own_caps", own_caps)):
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                raise CivstatsError(f"{name} must be a positive number, but got {value!r}")
        self.half_life, self.group, self.own_caps = float(half_life), group, float(own_caps)

    def fit(self, panel: pd.DataFrame) -> Availability:
        """Learn from the flags of a validated panel that ends at the cutoff.

        Raises
        ------
        CivstatsError
            If the panel carries no flags.
        """
        history, rows = read_history(panel, self.half_life)
        starts = series_index(panel).starts
        self._group = np.zeros(len(starts), int)
        if self.group is not None and self.group in panel.columns:
            self._group = pd.factorize(panel[self.group].iloc[starts])[0]
            self._group -= min(0, self._group.min())  # a missing department is one of its own
        rates = {k: getattr(history, k) for k in _PARTS}
        self._rates = {k: BetaBinomial.fit(*v, group=self._group) for k, v in rates.items()}
        self._pools = {
            k: Resampler(getattr(history, k), self._group, self.own_caps)
            for k in ("caps", "shares")
        }
        means = {k: self._rates[k].posterior_mean() for k in ("entry", "exit")}
        self.elasticity_, self.shift_ = learn_common(
            rows, history.level, self._group, means["entry"], means["exit"], self.half_life
        )
        self.history_, self.series_ = history, history.ids
        self.cutoff_ = pd.Timestamp(panel[DS].max())
        self.probability_ = self._summary()
        return self

    def paths(
        self,
        ids: Sequence[str],
        days: Sequence[pd.Timestamp],
        n_paths: int = 500,
        seed: int | np.random.Generator = 0,
        *,
        demand: xr.DataArray | None = None,
    ) -> xr.Dataset:
        """Draw joint paths of availability.

        Parameters
        ----------
        ids : sequence of str
            Series of the fitted panel.
        days : sequence of datetimes
            Increasing, after the cutoff.
        n_paths : int
        seed : int or numpy.random.Generator
        demand : xarray.DataArray, optional
            Demand paths (or their means) with dims ``unique_id, ds`` among others: an outage is then
            the likelier to begin the more is expected that day, as it was in the past
            (``elasticity_``). Without it every day is alike.

        Returns
        -------
        xarray.Dataset
            Dims ``unique_id, sample, ds``: ``out`` (bool), ``stock`` (units there on a day out, 0
            when wholly out; +inf in stock and on days lost by the clock) and ``share`` (of the day
            in stock, below 1 only on days lost by the clock).

        Raises
        ------
        ForecastError
            Not fitted, unknown series, days not after the cutoff or not increasing.
        """
        import xarray as xr

        series, ds = self._check(ids, days, n_paths)
        rng = np.random.default_rng(seed)
        shape = (len(series), n_paths, len(ds))
        out = np.empty(shape, bool)
        stock = np.full(shape, np.inf, np.float32)
        lost = self.history_.shares.seen.size > 0
        # Without days lost by the clock the share is one number, not a third cube in memory.
        share = np.ones(shape, np.float32) if lost else np.broadcast_to(np.float32(1), shape)
        steps, gaps = self._steps(series, ds)
        groups = {k: v.draw_groups(n_paths, rng) for k, v in self._rates.items()}
        tilt = np.ones((len(series), len(ds)))
        if demand is not None:
            tilt = entry_tilt(demand, self.series_[series], ds, self.elasticity_)
        # One departure from the usual per sample, shared by all series: a bad month is bad for all.
        shift = np.exp(self.shift_ * rng.standard_normal(n_paths) - self.shift_**2 / 2)
        for k in range(0, len(series), _BLOCK):
            block = slice(k, k + _BLOCK)
            chance = self._draw(groups, series[block], rng)
            chance["entry"] *= shift
            first = self._run(
                out[block], chance, tilt[block], series[block], gaps[block], steps, rng
            )
            self._fill(out[block], first, stock[block], share[block], chance, series[block], rng)
        dims = (ID, "sample", DS)
        return xr.Dataset(
            {"out": (dims, out), "stock": (dims, stock), "share": (dims, share)},
            coords={
                ID: np.asarray(self.series_[series], dtype=object),
                "sample": np.arange(n_paths),
            }
            | {DS: ds.to_numpy()},
        )

    def _check(
        self, ids: Sequence[str], days: Sequence[pd.Timestamp], n_paths: int
    ) -> tuple[np.ndarray, pd.DatetimeIndex]:
        if not hasattr(self, "cutoff_"):
            raise ForecastError("Availability is not fitted: call fit(panel) first")
        if isinstance(n_paths, bool) or not isinstance(n_paths, (int, np.integer)) or n_paths < 1:
            raise ForecastError(f"n_paths must be a whole number, 1 or more, but got {n_paths!r}")
        series = self.series_.get_indexer(pd.Index(ids))
        if (series < 0).any():
            raise ForecastError(
                f"paths asks for {int((series < 0).sum())} series without history at the cutoff, "
                f"first {pd.Index(ids)[series < 0][0]}; drop them or fit on a panel that holds them"
            )
        ds = pd.DatetimeIndex(list(days))
        early = int((ds <= self.cutoff_).sum())
        if not len(ds) or early or not (ds.is_monotonic_increasing and ds.is_unique):
            raise ForecastError(
                f"days must be increasing and after the cutoff {self.cutoff_.date()}: {len(ds)} "
                f"day(s), {early} on or before it; pass the days of the forecast"
            )
        return series, ds

    def _steps(self, series: np.ndarray, ds: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
        """Periods between the days asked for, and from each series' last known day to the first."""
        period = self.history_.period.value
        steps = np.rint(np.diff(ds.asi8) / period).astype(int)
        last = pd.DatetimeIndex(self.history_.last_known[series])
        gap = np.rint((ds.asi8[0] - last.asi8.astype(float)) / period)
        # Nothing known: far enough back that the chain has forgotten where it began.
        return np.maximum(steps, 1), np.where(last.isna(), 10_000, np.maximum(gap, 1)).astype(int)

    def _constants(self) -> dict[str, float]:
        """Chances that are known because the whole panel shows only one kind."""
        caps, lost = self.history_.caps.seen.size, self.history_.shares.seen.size
        wholly = {} if caps else {"wholly_first": 1.0, "wholly_later": 1.0}
        if not self.history_.ever_out:
            # Not one stockout: nothing tells how one would look, and every lever is worth nothing.
            return {"entry": 0.0, "part": 0.0, **wholly}
        if not lost:
            return {"part": 0.0, **wholly}
        return wholly if self.history_.ever_censored else {"part": 1.0, **wholly}

    def _draw(
        self,
        groups: dict[str, tuple[np.ndarray, np.ndarray]],
        series: np.ndarray,
        rng: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        """Draw the chances of some series, each of shape (n_series, n_paths)."""
        drawn = {k: v.draw(groups[k], series, rng) for k, v in self._rates.items()}
        return drawn | {k: np.full_like(drawn[k], v) for k, v in self._constants().items()}

    def _summary(self, n: int = 400) -> pd.DataFrame:
        rng = np.random.default_rng(0)
        groups = {k: v.draw_groups(n, rng) for k, v in self._rates.items()}
        blocks = []
        for k in range(0, len(self.series_), _BLOCK):
            chance = self._draw(groups, np.arange(len(self.series_))[k : k + _BLOCK], rng)
            share = chance["entry"] / (chance["entry"] + chance["exit"])
            blocks.append(np.c_[share.mean(axis=1), np.quantile(share, (0.1, 0.9), axis=1).T])
        return pd.DataFrame(
            np.concatenate(blocks),
            index=pd.Index(self.series_, name=ID),
            columns=["probability", "p10", "p90"],
        )

    def _run(
        self,
        out: np.ndarray,
        chance: dict[str, np.ndarray],
        tilt: np.ndarray,
        series: np.ndarray,
        gaps: np.ndarray,
        steps: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Run the chains into `out`; return which days out begin an outage."""
        # After k periods: P(out) = p + (state - p) (1 - entry - exit)^k, p the long-run share.
        state = np.broadcast_to(self.history_.last_out[series, None], chance["entry"].shape)
        first = np.empty(out.shape, bool)
        for t in range(out.shape[2]):
            entry = np.minimum(chance["entry"] * tilt[:, t, None], 0.99)
            both = entry + chance["exit"]
            longrun = entry / both
            k = gaps[:, None] if t == 0 else int(steps[t - 1])
            now = rng.random(state.shape) < longrun + (state - longrun) * (1 - both) ** k
            first[:, :, t] = now & ~state
            out[:, :, t] = state = now
        return first

    def _fill(
        self,
        out: np.ndarray,
        first: np.ndarray,
        stock: np.ndarray,
        share: np.ndarray,
        chance: dict[str, np.ndarray],
        series: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Put the units there, or the share of the day in stock, on the days out."""
        i, s, t = np.nonzero(out)
        by_clock = rng.random(len(i)) < chance["part"][i, s]
        if by_clock.any():
            j = np.flatnonzero(by_clock)
            share[i[j], s[j], t[j]] = self._pools["shares"](series[i[j]], None, rng)
        i, s, t = i[~by_clock], s[~by_clock], t[~by_clock]
        wholly = np.where(
            first[i, s, t], chance["wholly_first"][i, s], chance["wholly_later"][i, s]
        )
        capped = rng.random(len(i)) >= wholly
        units = np.zeros(len(i), np.float32)
        if capped.any():
            units[capped] = self._pools["caps"](series[i[capped]], self.history_.level, rng)
        stock[i, s, t] = units
