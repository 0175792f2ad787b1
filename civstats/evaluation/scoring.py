"""Forecasts joined to their actuals, ready for any score under any bootstrap weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from civstats.evaluation.alignment import align
from civstats.evaluation.intervals import (
    INTERVALS,
    expected_coverage,
    expected_marginal_coverage,
)
from civstats.evaluation.metric import Metric, Part, View
from civstats.evaluation.points import POINTS
from civstats.evaluation.regimes import NEEDED, Regime, choose_regimes
from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import (
    CUTOFF,
    DEMAND,
    DEMAND_MEAN,
    DS,
    ID,
    CivstatsError,
    Forecast,
    ForecastError,
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*POINTS, *INTERVALS)}
"""Every metric by name."""


def choose_metrics(names: Sequence[str] | str | None, levels: Sequence[float]) -> list[Metric]:
    """Return the metrics asked for, by default all that `levels` allow.

    Raises
    ------
    CivstatsError
        For an unknown name, or an interval metric without a level.

    Examples
    --------
    >>> [m.name for m in choose_metrics(None, [])]
    ['wape', 'wape_total', 'rmse', 'bias']
    """
    if names is None:
        return [m for m in METRICS.values() if levels or not m.by_level]
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise CivstatsError(
            f"metrics must be some of {', '.join(METRICS)}, but got {', '.join(unknown) or 'none'}"
        )
    chosen = [METRICS[name] for name in names]
    if not levels and any(m.by_level for m in chosen):
        raise CivstatsError("coverage and width need a level in percent, such as level=80")
    return chosen


@dataclass
class _Rows:
    """The rows of one regime, with what all models share."""

    regime: Regime
    take: np.ndarray | None
    actual: np.ndarray
    mean: np.ndarray | None
    cell: np.ndarray
    cutoff: np.ndarray
    window: np.ndarray
    bottoms: dict[str, np.ndarray] = field(default_factory=dict)

    def of(self, values: np.ndarray) -> np.ndarray:
        return values if self.take is None else values[self.take]


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
        columns = [c for c in (*NEEDED, DEMAND_MEAN) if c in panel.columns]
        held = panel[columns].take(self.aligned.position)
        self.rows = {r.name: self._select(r, held) for r in choose_regimes(regimes, held)}
        self._name = ""
        self._columns: dict[tuple[Part, float | None], np.ndarray] = {}

    def _select(self, regime: Regime, held: pd.DataFrame) -> _Rows:
        mask = regime.rows(held)
        take = None if mask.all() else np.flatnonzero(mask)

        def of(values: np.ndarray) -> np.ndarray:
            return values if take is None else values[take]

        actual = of(held[regime.target].to_numpy(dtype=float))
        finite = np.isfinite(actual)
        if not finite.all():
            rows = of(np.arange(len(held)))
            raise ForecastError(
                f"{int((~finite).sum())} actual(s) ({regime.target}) missing or infinite, first "
                f"{self.aligned.where(int(rows[finite.argmin()]))}; score days with a known actual"
            )
        cutoff = of(self.aligned.cutoff)
        return _Rows(
            regime,
            take,
            actual,
            of(held[DEMAND_MEAN].to_numpy(dtype=float)) if DEMAND_MEAN in held.columns else None,
            of(self.bootstrap.cell),
            cutoff,
            of(self.aligned.series) * self.n_cutoffs + cutoff,
        )

    def read(self, name: str, part: Part, level: float | None) -> np.ndarray:
        """Return a forecast column, checked, in the alignment's order; kept for one model."""
        if name != self._name:
            self._name, self._columns = name, {}
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

    def replicates(
        self, name: str, regime: str, metric: Metric, level: float | None = None
    ) -> np.ndarray:
        """Return the score under every replicate, shape (1 + n_boot, 1 + n_cutoffs).

        Row 0 is the score, column 0 pools all cutoffs.
        """
        rows = self.rows[regime]
        view = View(
            rows.actual,
            rows.window,
            len(self.aligned.ids) * self.n_cutoffs,
            lambda part, at: rows.of(self.read(name, part, at)),
            level,
        )
        if metric.per not in rows.bottoms:
            values = rows.actual if metric.per == "units" else None
            rows.bottoms[metric.per] = self.bootstrap.sums(values, rows.cell)
        top = self.bootstrap.sums(metric.errors(view), rows.cell)
        return metric.finish(top, rows.bottoms[metric.per])

    def count(self, regime: str, metric: Metric) -> np.ndarray:
        """Return the number of rows or windows behind a score, pooled first, (1 + n_cutoffs,)."""
        rows = self.rows[regime]
        cutoff = rows.cutoff
        if metric.unit == "window":
            size = len(self.aligned.ids) * self.n_cutoffs
            cutoff = np.flatnonzero(np.bincount(rows.window, minlength=size)) % self.n_cutoffs
        by_cutoff = np.bincount(cutoff, minlength=self.n_cutoffs)
        count: np.ndarray = np.r_[by_cutoff.sum(), by_cutoff]
        return count

    def expected(self, name: str, regime: str, metric: Metric, level: float | None) -> np.ndarray:
        """Return what a perfect forecast would show, NaN where unknown, (1 + n_cutoffs,)."""
        rows = self.rows[regime]
        unknown = np.full(1 + self.n_cutoffs, np.nan)
        if metric.name == "bias" and rows.mean is not None:
            return self._per_cutoff(rows, rows.mean - rows.actual, rows.actual)
        if metric.name == "coverage" and rows.regime.target == DEMAND and name in self.predictive:
            assert level is not None
            inside = rows.of(self._inside(name, level))
            return self._per_cutoff(rows, inside, np.ones(len(inside)))
        return unknown

    def _per_cutoff(self, rows: _Rows, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        tops, bottoms = (
            np.bincount(rows.cutoff, weights=x, minlength=self.n_cutoffs) for x in (top, bottom)
        )
        tops, bottoms = np.r_[tops.sum(), tops], np.r_[bottoms.sum(), bottoms]
        out = np.full(len(tops), np.nan)
        np.divide(tops, bottoms, out=out, where=bottoms > 0)
        return out

    def _inside(self, name: str, level: float) -> np.ndarray:
        """P(lo <= D <= hi) of each row under the model's own predictive distribution, or NaN."""
        aligned = self.aligned
        out = np.full(len(aligned.series), np.nan)
        lo, hi = self.read(name, "lo", level), self.read(name, "hi", level)
        for forecast in self.predictive[name]:
            cutoffs = aligned.cutoffs.get_indexer(pd.Index(forecast.frame[CUTOFF].unique()))
            mine = np.flatnonzero(np.isin(aligned.cutoff, cutoffs))
            if forecast.marginal is not None:
                ids, ds = (forecast.marginal[c].unique() for c in (ID, DS))
            elif forecast.paths is not None:
                ids, ds = (forecast.paths[c].to_numpy() for c in (ID, DS))
            else:
                continue
            place = pd.Index(ids).get_indexer(aligned.ids)
            day = pd.DatetimeIndex(ds).get_indexer(aligned.days)
            i = place[aligned.series[mine]]
            t = day[aligned.column_day[aligned.column[mine]]]
            mine, i, t = (x[(i >= 0) & (t >= 0)] for x in (mine, i, t))
            grid = np.full((2, len(ids), len(ds)), np.nan)
            grid[0, i, t], grid[1, i, t] = lo[mine], hi[mine]
            if forecast.marginal is not None:
                inside = expected_marginal_coverage(forecast.marginal, grid[0], grid[1])
            elif forecast.paths is not None:
                inside = expected_coverage(forecast.paths.to_numpy(), grid[0], grid[1])
            out[mine] = inside[i, t]
        return out
