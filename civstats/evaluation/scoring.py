"""Forecasts joined to their actuals, ready for any score under any bootstrap weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.evaluation._rows import Rows, per_cutoff, select
from civstats.evaluation._windows import window_remarks
from civstats.evaluation.alignment import align
from civstats.evaluation.censored import NOT_PROPER, most_stocked
from civstats.evaluation.distributions import MIN_DRAWS, Distribution
from civstats.evaluation.metric import Metric, Part, Scale, View, weights
from civstats.evaluation.metrics import METRICS, choose_metrics
from civstats.evaluation.predictive import read_distributions, refuse_other_means
from civstats.evaluation.regimes import NEEDED, choose_regimes
from civstats.evaluation.scales import check_season, scales
from civstats.evaluation.selection import expected_sales
from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import (
    DEMAND,
    DEMAND_MEAN,
    DS,
    STOCK,
    CivstatsError,
    Forecast,
    ForecastError,
    Y,
    stockout_days,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["METRICS", "Scorer", "choose_metrics"]


class Scorer:
    """Forecasts joined to their actuals, with one set of bootstrap weights for all scores.

    See `evaluate` for the parameters.
    """

    def __init__(
        self,
        forecasts: pd.DataFrame,
        panel: pd.DataFrame,
        *,
        regimes: Sequence[str] | str | None = None,
        n_boot: int = 500,
        seed: int | np.random.Generator = 0,
        block: int = 1,
        predictive: Iterable[Forecast] = (),
        availability: Mapping[pd.Timestamp, xr.Dataset] | None = None,
        season_length: int = 7,
        stock_independent: bool = False,
    ) -> None:
        self.aligned = align(forecasts, panel)
        self.n_cutoffs = len(self.aligned.cutoffs)
        self.bootstrap = TwoWayBootstrap(
            self.aligned.series,
            self.aligned.column,
            len(self.aligned.ids),
            self.aligned.column_day,
            self.aligned.column_cutoff,
            n_boot=n_boot,
            seed=seed,
            block=block,
        )
        self.predictive: dict[str, list[Forecast]] = {}
        for forecast in predictive:
            self.predictive.setdefault(forecast.name, []).append(forecast)
        self.availability = dict(availability or {})
        self.season_length = check_season(season_length)
        self.proper = stock_independent or self._one_step(panel)
        columns = [c for c in (*NEEDED, DEMAND_MEAN) if c in panel.columns]
        held = panel[columns].take(self.aligned.position)
        self._out = stockout_days(held)
        chosen = choose_regimes(regimes, held)
        self.rows = {r.name: select(r, held, self.aligned, self.bootstrap) for r in chosen}
        self.panel = panel
        self._scales: dict[str, tuple[np.ndarray, ...]] = {}
        self._name = ""
        self._columns: dict[tuple[Part, float | None], np.ndarray] = {}
        self._distribution: Distribution | None = None
        self._sales: tuple[np.ndarray, ...] | None = None

    def _one_step(self, panel: pd.DataFrame) -> bool:
        """Whether every forecast is for the first period after its cutoff."""
        calendar = np.unique(panel[DS].to_numpy())
        if len(calendar) < 2:
            return False
        day = self.aligned.days.to_numpy()[self.aligned.column_day]
        cutoff = self.aligned.cutoffs.to_numpy()[self.aligned.column_cutoff]
        # Positions in the panel's calendar: Monday follows Friday where nobody works on weekends.
        after, at = (np.searchsorted(calendar, x, side="right") for x in (cutoff, day))
        return bool(((at - after <= 1) & (day - cutoff <= np.diff(calendar).max())).all())

    def _load(self, name: str) -> None:
        """Make a model the current one: what is read of it is kept until the next."""
        if name != self._name:
            self._name, self._columns, self._sales = name, {}, None
            self._distribution = read_distributions(self.predictive.get(name, ()), self.aligned)
            if self._distribution is not None:
                refuse_other_means(name, self._distribution, self.aligned)

    def read(self, name: str, part: Part, level: float | None) -> np.ndarray:
        """Return a forecast column, checked, in the alignment's order; kept for one model."""
        self._load(name)
        key = (part, level)
        if key not in self._columns:
            values = self.aligned.read(name, part, level)
            self._columns[key] = values
            if part in ("lo", "hi"):
                lo, hi = self.read(name, "lo", level), self.read(name, "hi", level)
                if (lo > hi).any():
                    raise ForecastError(
                        f"{int((lo > hi).sum())} interval(s) of {name} at {level:g} % end before they "
                        f"begin (first {self.aligned.where(int((lo > hi).argmax()))})"
                    )
        return self._columns[key]

    def distribution(self, name: str, regime: str) -> Distribution | None:
        """Return a model's predictive distributions on a regime's rows, None if it has none."""
        self._load(name)
        take, held = self.rows[regime].take, self._distribution
        return held if held is None or take is None else held.take(take)

    def scale(self, regime: str, which: Scale) -> np.ndarray:
        """Return what errors of a regime's rows are scaled by, NaN where unknown, (n,)."""
        rows = self.rows[regime]
        target = rows.regime.target
        if target not in self._scales:
            self._scales[target] = scales(self.panel, target, self.aligned, self.season_length)
        _, squared, seasonal = self._scales[target]
        table = squared if which == "squared" else seasonal
        values: np.ndarray = table.reshape(-1)[rows.window]
        return values

    def obstacle(self, name: str, regime: str, metric: Metric) -> str:
        """Return why a score cannot be had for a model in a regime, empty if it can."""
        rows = self.rows[regime]
        if rows.regime.kind == "censored" and not self.proper:
            return NOT_PROPER
        if "stock" in metric.needs:
            lost = len(rows.actual) if rows.stock is None else int(np.isnan(rows.stock).sum())
            if lost:
                return (
                    f"{lost} row(s) without {STOCK}: needs what could have been sold on every day"
                )
        if metric.scaled_by and not len(rows.actual):
            return "undefined: no day of this regime is scored"
        if metric.scaled_by and not np.isfinite(self.scale(regime, metric.scaled_by)).any():
            return "no series changes before its cutoff: there is nothing to scale by"
        if not metric.needs & {"family", "distribution"}:
            return ""
        self._load(name)
        if self._distribution is None:
            return "needs a predictive distribution: pass it as predictive"
        some = self._distribution.take(np.zeros(1, dtype=int))
        if "family" in metric.needs and some.log_pmf(np.zeros(1)) is None:
            return "needs a family: sample paths have no density"
        if some.crps(np.zeros(1)) is None:
            return f"needs a family or at least {MIN_DRAWS} sample paths"
        counts = some.log_pmf(np.zeros(1)) is not None
        if counts and (rows.actual % 1 != 0).any():
            return f"{int((rows.actual % 1 != 0).sum())} target(s) are no whole numbers: the family is one of counts"
        return ""

    def silent(self, regime: str) -> np.ndarray:
        """Return where all days scored are out from the start, shape (1 + n_cutoffs,).

        P(demand >= 0) = 1, and sales are 0 whatever was asked for: a score would be a hollow 0.
        """
        rows = self.rows[regime]
        if rows.regime.target != Y:
            return np.zeros(1 + self.n_cutoffs, dtype=bool)
        told = rows.cutoff[~(rows.is_censored & (rows.actual <= 0))]
        out = np.bincount(told, minlength=self.n_cutoffs) == 0
        return np.append(out.all(), out)

    @cached_property
    def share_out(self) -> np.ndarray:
        """Share of the forecast days that are stockouts, pooled first, shape (1 + n_cutoffs,)."""
        out = self._out.astype(float)
        return per_cutoff(self.n_cutoffs, self.aligned.cutoff, out, np.ones(len(out)))

    @cached_property
    def most_stocked(self) -> np.ndarray:
        """Most units that each row's series ever had in stock, shape (n,)."""
        return most_stocked(self.panel, self.aligned.ids)[self.aligned.series]

    @cached_property
    def window_remarks(self) -> np.ndarray:
        """What is unequal between windows, shape (1 + n_cutoffs,)."""
        return window_remarks(self.aligned, self.panel)

    def replicates(
        self, name: str, regime: str, metric: Metric, level: float | None = None
    ) -> np.ndarray:
        """Return the score under every replicate, shape (1 + n_boot, 1 + n_cutoffs).

        Row 0 is the score, column 0 pools all cutoffs.

        Raises
        ------
        CivstatsError
            If the score cannot be had (see :meth:`obstacle`).
        """
        reason = self.obstacle(name, regime, metric)
        if reason or metric.kind != self.rows[regime].regime.kind:
            raise CivstatsError(
                f"{metric.name} of {name} in regime {regime}: "
                f"{reason or 'a score of regime ' + ('censored' if metric.kind == 'censored' else 'all_days, in_stock or demand')}"
            )
        rows = self.rows[regime]
        needs = metric.needs & {"family", "distribution"}
        held = self.distribution(name, regime) if needs else None
        view = View(
            rows.actual,
            rows.window,
            len(self.aligned.ids) * self.n_cutoffs,
            lambda part, at: rows.of(self.read(name, part, at)),
            level,
            lambda which: self.scale(regime, which),
            held,
            rows.stock,
            rows.is_censored,
        )
        errors = metric.errors(view)
        impossible = np.isposinf(errors)
        top = self.bootstrap.sums(np.where(impossible, 0.0, errors), rows.cell)
        out = metric.finish(top, self._bottom(rows, regime, metric))
        if metric.name != "width":  # last axis: cutoffs, unless a subclass has another
            out[..., self.silent(regime)[: out.shape[-1]]] = np.nan
        if impossible.any():
            # An outcome of probability 0 costs without end; no weight makes that finite.
            hit = np.bincount(rows.cutoff[impossible], minlength=self.n_cutoffs) > 0
            out[:, np.r_[True, hit]] = np.inf
        return out

    def _bottom(self, rows: Rows, regime: str, metric: Metric) -> np.ndarray:
        key = metric.scaled_by or metric.per
        if key not in rows.bottoms:
            values = rows.actual if metric.per == "units" else None
            if metric.scaled_by:
                held = np.isfinite(self.scale(regime, metric.scaled_by))
                values = held.astype(float)
                if metric.unit == "window":
                    size = len(self.aligned.ids) * self.n_cutoffs
                    values[held] = weights(rows.window[held], size)
            rows.bottoms[key] = self.bootstrap.sums(values, rows.cell)
        return rows.bottoms[key]

    def count(self, regime: str, metric: Metric) -> np.ndarray:
        """Return the number of rows or windows behind a score, pooled first, (1 + n_cutoffs,)."""
        rows = self.rows[regime]
        cutoff, window = rows.cutoff, rows.window
        if metric.scaled_by:
            held = np.isfinite(self.scale(regime, metric.scaled_by))
            cutoff, window = cutoff[held], window[held]
        if metric.unit == "window":
            size = len(self.aligned.ids) * self.n_cutoffs
            cutoff = np.flatnonzero(np.bincount(window, minlength=size)) % self.n_cutoffs
        by_cutoff = np.bincount(cutoff, minlength=self.n_cutoffs)
        return np.append(by_cutoff.sum(), by_cutoff)

    def expected(self, name: str, regime: str, metric: Metric, level: float | None) -> np.ndarray:
        """Return what a perfect forecast would show, NaN where unknown, (1 + n_cutoffs,)."""
        rows = self.rows[regime]
        if metric.name == "bias" and rows.mean is not None:
            return per_cutoff(self.n_cutoffs, rows.cutoff, rows.mean - rows.actual, rows.actual)
        if metric.name == "bias" and regime in ("all_days", "in_stock") and self.availability:
            return self._expected_bias(name, regime)
        seen = rows.regime.target == DEMAND or self.share_out[0] == 0  # sales are demand
        if metric.name == "coverage" and seen and name in self.predictive:
            self._load(name)
            if self._distribution is not None:
                lo, hi = self.read(name, "lo", level), self.read(name, "hi", level)
                inside = rows.of(self._distribution.inside(lo, hi))
                return per_cutoff(self.n_cutoffs, rows.cutoff, inside, np.ones(len(inside)))
        return np.full(1 + self.n_cutoffs, np.nan)

    def _expected_bias(self, name: str, regime: str) -> np.ndarray:
        mean, share, sales, in_stock, _ = self.expected_sales(name)
        cutoff = self.aligned.cutoff
        if regime == "in_stock":
            return per_cutoff(self.n_cutoffs, cutoff, share * mean - in_stock, in_stock)
        return per_cutoff(self.n_cutoffs, cutoff, mean - sales, sales)

    def expected_sales(self, name: str) -> tuple[np.ndarray, ...]:
        """Return what a model expects to be sold, see :func:`selection.expected_sales`."""
        self._load(name)
        if self._sales is None:
            self._sales = expected_sales(self._distribution, self.availability, self.aligned)
        return self._sales
