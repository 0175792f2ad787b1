"""WRMSSE and WSPL of forecasts, weighted and averaged as the M5 competition did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.evaluation.alignment import Alignment, align
from civstats.evaluation.intervals import pinball
from civstats.evaluation.m5.hierarchy import (
    BOTTOM,
    OFFICIAL_SIZES,
    Hierarchy,
)
from civstats.evaluation.m5.levels import level_means, parse_name, score_rows
from civstats.evaluation.m5.paths import path_losses
from civstats.evaluation.m5.sales import check_cutoff, read_sales
from civstats.evaluation.metric import Part
from civstats.evaluation.scaled import M5_LEVELS
from civstats.evaluation.scales import one_step_changes
from civstats.schema import (
    CUTOFF,
    DEMAND,
    DS,
    ID,
    ForecastError,
    PanelError,
    Y,
    check_h,
    quantiles_of_levels,
)

if TYPE_CHECKING:
    import xarray as xr

_H = 28
_FIRST_DAY = pd.Timestamp("2011-01-29")


class M5Scorer:
    """The scale and the weight of every series of M5's twelve levels at a cutoff, and the scores.

    A series' error over the `h` days after the cutoff is measured in units of its one-day changes
    up to the cutoff, from its first sale on (an aggregate's: from the aggregate's first): RMSSE of
    the mean, in units of the root mean squared change, and SPL of nine quantiles, in units of the
    mean absolute change. Series of a level are weighted by their dollar sales (units times price)
    over the last 28 days up to the cutoff, and the levels alike (Makridakis, Spiliotis and
    Assimakopoulos 2022, "M5 accuracy competition"; with Chen et al., "The M5 uncertainty
    competition", International Journal of Forecasting 38).

    On a part of M5 the levels are those of the series at hand: the same arithmetic, another number;
    :attr:`caveat` and each row's ``note`` say so. A series without a change before the cutoff has
    no scale: it is left out, its level's other weights are raised to sum to one, and if it had a
    weight, the caveat says so.

    Parameters
    ----------
    panel : pandas.DataFrame
        From :func:`civstats.schema.validate_panel`, daily, with price and the five static
        attributes, from the start of sales to the cutoff or beyond. Left unchanged. Series that
        begin after the cutoff are left out.
    cutoff : str or pandas.Timestamp
        Last day of training: 2016-04-24 is day 1913, 2016-05-22 day 1941.
    h : int
        Days scored.
    target : str
        Column that is scored.

    Attributes
    ----------
    hierarchy : Hierarchy
        The series of all levels.
    weights : pandas.DataFrame
        ``m5_level, unique_id, key_1, key_2, dollars, weight, absolute_change, squared_change``: a
        row per series of the levels 1 to 12. Weights sum to one within a level; changes are the
        scales of SPL and, before the root, of RMSSE, NaN where there is none.
    days : pandas.DatetimeIndex, shape (h,)
        The days scored.
    caveat : str
        Why the scores are not the competition's; empty if they are.

    Raises
    ------
    CivstatsError
        For arguments outside their range.
    PanelError
        For a panel that lacks columns, days, prices, or attributes that nest.

    Examples
    --------
    >>> from civstats.data.m5 import load_m5  # doctest: +SKIP
    >>> scorer = M5Scorer(load_m5("m5-forecasting-accuracy.zip"), "2016-04-24")  # doctest: +SKIP
    >>> scorer.wrmsse(forecast.frame)  # doctest: +SKIP
    """

    def __init__(
        self, panel: pd.DataFrame, cutoff: str | pd.Timestamp, *, h: int = _H, target: str = Y
    ) -> None:
        self.cutoff, self.target, h = check_cutoff(cutoff), target, check_h(h)
        self._sales = sales = read_sales(panel, self.cutoff, h, target)
        self.hierarchy = Hierarchy(sales.series)
        self.days = pd.date_range(self.cutoff, periods=h + 1, freq="D")[1:]
        dollars = self.hierarchy.all_totals(sales.dollars)
        if dollars[0] <= 0:
            raise PanelError(
                f"nothing was sold in the 28 days up to {self.cutoff.date()}: no series has a weight"
            )
        absolute, squared = np.empty(len(dollars)), np.empty(len(dollars))
        for level, totals in self.hierarchy.totals(sales.history):
            start = self.hierarchy.rows[level].start
            for i, y in enumerate(totals, start):
                absolute[i], squared[i] = one_step_changes(y)
        self.weights = self.hierarchy.frame.assign(
            dollars=dollars,
            weight=dollars / dollars[0],
            absolute_change=absolute,
            squared_change=squared,
        )
        self.caveat = self._caveat()

    def _caveat(self) -> str:
        parts = []
        n = self.hierarchy.sizes[BOTTOM]
        if tuple(self.hierarchy.sizes.values()) != OFFICIAL_SIZES:
            parts.append(f"{n:,} of {OFFICIAL_SIZES[-1]:,} series")
        elif self._sales.days[0] != _FIRST_DAY:
            parts.append(f"history from {self._sales.days[0].date()}, not {_FIRST_DAY.date()}")
        if self._sales.n_later:
            parts.append(f"{self._sales.n_later:,} series launched after the cutoff left out")
        lost = self.weights["squared_change"].isna() & (self.weights["weight"] > 0)
        if lost.any():
            parts.append(f"{int(lost.sum()):,} series with a weight but without a scale left out")
        if len(self.days) != _H:
            parts.append(f"{len(self.days)} days, not {_H}")
        if self.target != Y:
            parts.append(f"of {self.target}, not sales")
        return f"not M5's official score: {'; '.join(parts)}" if parts else ""

    def totals(self, m5_level: int) -> np.ndarray:
        """Return the history of a level's series, as rows of `weights`, (n_series, n_days)."""
        for level, sums in self.hierarchy.totals(self._sales.history):
            if level == m5_level:
                return sums
        raise ForecastError(f"m5_level must be one of 1 to 12, but got {m5_level!r}")

    def wrmsse(self, forecasts: pd.DataFrame) -> pd.DataFrame:
        """Score the means of bottom-level forecasts, summed up to every level.

        Parameters
        ----------
        forecasts : pandas.DataFrame
            ``unique_id, ds, cutoff`` and ``{Model}_{treatment}``, of one or several models: every
            bottom series on every one of `days`.

        Returns
        -------
        pandas.DataFrame
            The score frame's columns and ``m5_level``: by model a row for each level, and the mean
            of the twelve, the score itself, as level 0. `n` counts series.

        Raises
        ------
        ForecastError
            For a forecast that is missing or not finite, or of other series, days or cutoffs.
        PanelError
            If the panel ends before the days that are scored.
        """
        actual = self._actual()
        aligned = self._align(forecasts, self.hierarchy.rows[BOTTOM], actual)
        frames = []
        for name in aligned.names:
            mean = aligned.read(name, "mean").reshape(-1, len(self.days))
            errors = self.hierarchy.all_totals(mean) - actual
            loss = np.sqrt(np.square(errors).mean(axis=1) / self.weights["squared_change"])
            frames.append(self._frame(name, "wrmsse", loss.to_numpy()))
        return pd.concat(frames, ignore_index=True)

    def wspl(self, forecasts: pd.DataFrame) -> pd.DataFrame:
        """Score forecasts of the nine quantiles of all series of all levels.

        Parameters
        ----------
        forecasts : pandas.DataFrame
            As for :meth:`wrmsse`, but of every ``unique_id`` of `weights` (M5: 42,840), with the
            median and the intervals of levels 50, 67, 95 and 99.

        Returns
        -------
        pandas.DataFrame
            As from :meth:`wrmsse`.

        Raises
        ------
        ForecastError, PanelError
            As from :meth:`wrmsse`.
        """
        actual = self._actual()
        aligned = self._align(forecasts, slice(0, len(self.weights)), actual)
        frames = []
        probabilities = quantiles_of_levels(M5_LEVELS)
        for name in aligned.names:
            loss = np.zeros(len(actual))
            for p in probabilities:
                part: Part = "median" if p == 0.5 else "lo" if p < 0.5 else "hi"
                level = round(abs(2 * p - 1) * 100, 6)
                quantile = aligned.read(name, part, level).reshape(actual.shape)
                loss += pinball(actual, quantile, p).mean(axis=1) / len(probabilities)
            frames.append(self._frame(name, "wspl", loss / self._absolute))
        return pd.concat(frames, ignore_index=True)

    def wspl_from_paths(
        self, paths: xr.DataArray | Iterable[xr.DataArray], name: str
    ) -> pd.DataFrame:
        """Score the quantiles of joint bottom-level paths, summed up to every level path by path.

        Parameters
        ----------
        paths : xarray.DataArray, or iterable of them
            A forecast's paths, dims ``unique_id, sample, ds``: all bottom series, or blocks of
            them, such as a generator makes one after the other (M5's 1,000 samples would fill
            3.4 GB). Sample k is the same world in all blocks. Best with an item's stores together:
            sums by item are held until its last store has come.
        name : str
            ``{Model}_{treatment}``.

        Returns
        -------
        pandas.DataFrame
            As from :meth:`wrmsse`.

        Raises
        ------
        ForecastError, PanelError
            As from :meth:`wrmsse`, and for blocks with unequal numbers of samples.
        """
        parse_name(name)
        probabilities = quantiles_of_levels(M5_LEVELS)
        loss = path_losses(paths, self.hierarchy, self._actual(), self.days, probabilities)
        return self._frame(name, "wspl", loss / self._absolute)

    @property
    def _absolute(self) -> np.ndarray:
        return self.weights["absolute_change"].to_numpy()

    def _actual(self) -> np.ndarray:
        """Return what came at all levels, shape (n_all, h)."""
        if self._sales.window is None:
            raise PanelError(
                f"the panel ends before {self.days[-1].date()}: there is nothing to score the "
                f"{len(self.days)} days after {self.cutoff.date()} against"
            )
        return self.hierarchy.all_totals(self._sales.window)

    def _align(self, forecasts: pd.DataFrame, rows: slice, actual: np.ndarray) -> Alignment:
        """Check forecasts of the series in `rows`, and put them in their order."""
        ids = pd.Index(self.weights[ID].iloc[rows])
        n, h = len(ids), len(self.days)
        # The categories keep the order of the rows, which an alignment follows.
        outcomes = pd.DataFrame(
            {
                ID: pd.Categorical.from_codes(np.repeat(np.arange(n), h), categories=ids),
                DS: np.tile(self.days.to_numpy(), n),
                self.target: actual[rows].ravel(),
            }
        )
        if CUTOFF in forecasts.columns and (forecasts[CUTOFF] != self.cutoff).any():
            others = forecasts.loc[forecasts[CUTOFF] != self.cutoff, CUTOFF]
            raise ForecastError(
                f"{len(others)} forecast row(s) of another cutoff, first {others.iloc[0]}; this "
                f"scorer is of {self.cutoff.date()}: hand it that cutoff's rows, others to their own"
            )
        aligned = align(forecasts, outcomes)
        if len(aligned.ids) < n:
            lost = ~np.isin(ids, aligned.ids)
            raise ForecastError(
                f"{int(lost.sum())} of {n} series without a forecast, first {ids[lost][0]}: every "
                "series counts in the aggregates"
                + ("" if rows.start else "; to score all levels from the bottom, give paths")
            )
        if len(aligned.days) < h:
            raise ForecastError(
                f"forecasts of {len(aligned.days)} of the {h} days from {self.days[0].date()} to "
                f"{self.days[-1].date()}: forecast them all, or build the scorer with another h"
            )
        return aligned

    def _frame(self, name: str, metric: str, loss: np.ndarray) -> pd.DataFrame:
        regime = "demand" if self.target == DEMAND else "all_days"
        value, n = level_means(loss, self.weights["weight"].to_numpy(), self.hierarchy)
        return score_rows(name, metric, regime, self.cutoff, value, n, self.caveat)
