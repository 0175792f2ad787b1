"""Scores in units of a series' own day-to-day changes: RMSSE and scaled pinball, as in M5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from civstats.evaluation._notes import join, unscaled
from civstats.evaluation._windows import window_remarks
from civstats.evaluation.alignment import align
from civstats.evaluation.intervals import pinball
from civstats.evaluation.metric import split_root, weights
from civstats.evaluation.scales import one_step_changes, scales
from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import (
    SCORES,
    CivstatsError,
    ForecastError,
    PanelError,
    Y,
    check_level,
    parse_alias,
    quantiles_of_levels,
)

M5_LEVELS = (50.0, 67.0, 95.0, 99.0)
"""Central intervals whose ends, with the median, are the nine quantiles of the M5 competition."""
SCALED = ("rmsse", "scaled_pinball")

__all__ = ["M5_LEVELS", "SCALED", "ScaledScorer", "one_step_changes", "pinball"]


class ScaledScorer:
    """Forecasts joined to their actuals, with the scale of every series at every cutoff.

    RMSSE is the root of a series' mean squared error over a window in units of its mean squared
    one-step change (Hyndman and Koehler 2006; Makridakis, Spiliotis and Assimakopoulos 2022), here
    averaged over series and windows with equal weights. Scaled pinball is the pinball loss,
    averaged over quantiles and the days of a window, in units of the mean absolute one-step change,
    and then over windows in the same way: windows weigh alike, whatever their number of days.

    A series without a change since its first sale before the cutoff has no scale: its window is
    left out, counted in `n_unscaled`, and noted.

    Parameters
    ----------
    forecasts, panel : pandas.DataFrame
        As for :func:`civstats.evaluation.evaluate`; the panel holds the days before the cutoffs.
    levels : sequence of float
        Levels of the intervals, percent, whose ends and median are the quantiles.
    target : str
        Column of the panel that is scored, and whose changes are the scale.
    n_boot, seed, block
        As for :class:`civstats.evaluation.significance.TwoWayBootstrap`.

    Notes
    -----
    For the bootstrap a window's root is split over its days to first order, so that the parts add
    up to it exactly and days can be resampled.
    """

    def __init__(
        self,
        forecasts: pd.DataFrame,
        panel: pd.DataFrame,
        *,
        levels: Sequence[float] = M5_LEVELS,
        target: str = Y,
        n_boot: int = 500,
        seed: int | np.random.Generator = 0,
        block: int = 1,
    ) -> None:
        if target not in panel.columns:
            raise PanelError(f"the panel lacks the column {target} that is to be scored")
        self.probabilities = quantiles_of_levels(check_level(levels))
        self.aligned = aligned = align(forecasts, panel)
        self.names = aligned.names
        self.n_cutoffs = len(aligned.cutoffs)
        held = panel[target].to_numpy(dtype=float)
        self._actual = held[aligned.position]
        if not np.isfinite(self._actual).all():
            raise ForecastError(
                f"{int((~np.isfinite(self._actual)).sum())} actual(s) ({target}) missing or "
                "infinite; score days with a known actual"
            )
        absolute, squared, _ = scales(panel, target, aligned)
        window = (aligned.series, aligned.cutoff)
        self._absolute, self._squared = absolute[window], squared[window]
        self.scaled = np.isfinite(self._squared)
        begun = np.zeros(absolute.shape, dtype=bool)
        begun[window] = True
        self.n_unscaled = int((begun & ~np.isfinite(squared)).sum())
        if not self.scaled.any():
            raise ForecastError("no series changes before its cutoff: there is nothing to scale by")
        self._window = (aligned.series * self.n_cutoffs + aligned.cutoff)[self.scaled]
        self.bootstrap = TwoWayBootstrap(
            aligned.series,
            aligned.column,
            len(aligned.ids),
            aligned.column_day,
            aligned.column_cutoff,
            n_boot=n_boot,
            seed=seed,
            block=block,
        )
        self._cell = self.bootstrap.cell[self.scaled]
        self._weight = weights(self._window, len(aligned.ids) * self.n_cutoffs)
        self._windows = self.bootstrap.sums(self._weight, self._cell)
        bare = (begun & ~np.isfinite(squared)).sum(axis=0)
        left_out = [unscaled(int(n)) for n in np.r_[bare.sum(), bare]]
        self._note = join(np.array(left_out, dtype=object), window_remarks(aligned, panel))

    def errors(self, name: str, metric: str) -> np.ndarray:
        """Return each scored row's part of a score, shape (n,).

        The score is the mean over windows of the means over their rows.
        """
        use = self.scaled
        if metric == "rmsse":
            gap = (self._actual - self.aligned.read(name, "mean"))[use]
            part = np.square(gap) / self._squared[use]
            return split_root(part, self._window, len(self.aligned.ids) * self.n_cutoffs)
        if metric != "scaled_pinball":
            raise CivstatsError(f"metric must be one of {', '.join(SCALED)}, but got {metric!r}")
        total = np.zeros(int(use.sum()))
        for p in self.probabilities:
            total += pinball(self._actual[use], self._quantile(name, p)[use], p)
        return np.asarray(total / len(self.probabilities) / self._absolute[use])

    def _quantile(self, name: str, probability: float) -> np.ndarray:
        if probability == 0.5:
            return self.aligned.read(name, "median")
        level = round(abs(2 * probability - 1) * 100, 6)
        return self.aligned.read(name, "lo" if probability < 0.5 else "hi", level)

    def replicates(self, name: str, metric: str) -> np.ndarray:
        """Return the score under every replicate, shape (1 + n_boot, 1 + n_cutoffs)."""
        top = self.bootstrap.sums(self.errors(name, metric) * self._weight, self._cell)
        out = np.full(top.shape, np.nan)
        np.divide(top, self._windows, out=out, where=self._windows > 0)
        return out

    def scores(self, *, confidence: float = 95, regime: str = "all_days") -> pd.DataFrame:
        """Return the score frame: every model and metric, pooled and by cutoff.

        `n` counts windows.
        """
        (confidence,) = check_level(confidence)
        cutoff = np.flatnonzero(
            np.bincount(self._window, minlength=len(self.aligned.ids) * self.n_cutoffs)
        )
        by_cutoff = np.bincount(cutoff % self.n_cutoffs, minlength=self.n_cutoffs)
        blocks = []
        for name in self.names:
            model, treatment = parse_alias(name)
            for metric in SCALED:
                values = self.replicates(name, metric)
                lo, hi = self.bootstrap.interval(values, confidence)
                blocks.append(
                    pd.DataFrame(
                        {
                            "model": model,
                            "treatment": treatment,
                            "regime": regime,
                            "metric": metric,
                            "level": np.nan,
                            "cutoff": np.r_[np.datetime64("NaT", "ns"), self.aligned.cutoffs],
                            "value": values[0],
                            "lo": lo,
                            "hi": hi,
                            "n": np.r_[by_cutoff.sum(), by_cutoff],
                            "expected": np.nan,
                            "identified": np.isfinite(values[0]),
                            "note": self._note,
                        },
                        columns=list(SCORES),
                    )
                )
        return pd.concat(blocks, ignore_index=True)

    def differences(self, a: str, *, confidence: float = 95) -> pd.DataFrame:
        """Compare one model with every other, paired: the same weights for both.

        Returns
        -------
        pandas.DataFrame
            ``metric, a, b, value_a, value_b, difference, lo, hi, ratio, ratio_lo, ratio_hi``:
            the score of `a` minus that of `b`, and the ratio of both less 1.
        """
        (confidence,) = check_level(confidence)
        if a not in self.names:
            raise ForecastError(f"no forecast column {a}; there are {', '.join(self.names)}")
        rows = []
        for metric in SCALED:
            first = self.replicates(a, metric)[:, :1]
            for b in (n for n in self.names if n != a):
                second = self.replicates(b, metric)[:, :1]
                row = {"metric": metric, "a": a, "b": b}
                row |= {"value_a": first[0, 0], "value_b": second[0, 0]}
                for key, draws in (("", first - second), ("ratio", first / second - 1)):
                    lo, hi = self.bootstrap.interval(draws, confidence)
                    names = [key or "difference", f"{key}_lo".lstrip("_"), f"{key}_hi".lstrip("_")]
                    row |= dict(zip(names, (draws[0, 0], lo[0], hi[0]), strict=True))
                rows.append(row)
        return pd.DataFrame(rows)
