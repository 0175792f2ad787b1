"""A forecaster that gives each series its own univariate model, with residuals for its spread."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from civstats.features.history import filtered_demand
from civstats.models._assemble import assemble
from civstats.models._impute import Histories, histories
from civstats.models._level_state import with_launches
from civstats.models._negbin import negbin_size
from civstats.models.base import Forecaster
from civstats.schema import (
    DS,
    ID,
    CivstatsError,
    Forecast,
    ForecastError,
    check_h,
)

if TYPE_CHECKING:
    from civstats.demand_filter import DemandFilter


class LocalForecaster(Forecaster):
    """Base of the per-series models: histories in, means and calibrated spread out.

    The model of a series sees its own sales and nothing else. What spread it has comes from
    forecasts made at past origins inside the training history, ``season_length`` periods apart and
    the same days for all series (see :mod:`civstats.models._paths`): no interval goes below zero,
    and none is symmetric by force. Outcomes on stockout days do not count under ``mask``, and are
    lower bounds under ``censor``.

    A history shorter than ``min_length`` periods, or one that the library's model cannot be fitted
    to, is forecast by the mean of its last four seasons; ``fallback_`` names those series.

    Parameters
    ----------
    treatment : {"ignore", "mask", "censor"}
        Under ``mask`` stockout days are filled from the past of the series; under ``censor`` with
        what the demand filter, fitted on the history, expects of them given their sales and the
        days before; ``imputation`` says how and how many.
    season_length : int
        Periods per season: 7 for days in weeks, 52 for weeks in years.
    freq : str
        Pandas alias of the panel's periods.
    n_origins : int
        Past origins behind the spread.

    Attributes
    ----------
    imputation : str
        What was filled in the history and how; empty before ``fit``.
    fallback_ : pandas.Index
        Series that the last ``predict`` gave the mean of their last four seasons.
    """

    treatments: ClassVar[tuple[str, ...]] = ("ignore", "mask", "censor")
    min_length: ClassVar[int] = 1
    min_seasons: ClassVar[int] = 0
    max_seasons: ClassVar[int | None] = None

    fallback_: pd.Index

    def __init__(
        self,
        *,
        treatment: str = "ignore",
        season_length: int = 7,
        freq: str = "D",
        n_origins: int = 26,
    ) -> None:
        super().__init__(treatment=treatment)
        self.season_length = check_h(season_length)
        self.freq = freq
        if isinstance(n_origins, bool) or not isinstance(n_origins, int) or n_origins < 1:
            raise CivstatsError(
                f"n_origins must be a whole number, 1 or more, but got {n_origins!r}"
            )
        self.n_origins = n_origins
        self.imputation = ""

    @classmethod
    def test_params(cls) -> dict[str, Any]:
        """Return constructor arguments small enough for a contract test in CI."""
        return {"n_origins": 6}

    def _fit(self, panel: pd.DataFrame) -> None:
        self._take(panel, None)

    def _take(self, panel: pd.DataFrame, fitted: DemandFilter | None) -> None:
        """Keep the histories of a panel; `fitted` is the filter of an earlier fit, if any."""
        demand = None
        if self.treatment == "censor":
            demand, self._filter = filtered_demand(panel, fitted)
        self._history: Histories = histories(panel, self.treatment, self.season_length, demand)
        self.imputation = self._history.imputation
        first = panel[DS].iloc[0]
        rows = int((panel[ID] == panel[ID].iloc[0]).sum())
        if self._periods(self._history.last[0], first)[0] != rows - 1:
            raise CivstatsError(
                f"{self.name}: the panel's days are not consecutive in freq {self.freq!r}; "
                "build the forecaster with the panel's freq"
            )

    def _update(self, panel: pd.DataFrame) -> None:
        # For the models with can_update: their own parameters are constants, the filter's are kept.
        fitted = None
        if self.treatment == "censor":
            new = panel[~panel[ID].isin(self._filter.ids_)]
            fitted = with_launches(self._filter, new) if len(new) else self._filter
        self._take(panel, fitted)

    def _predict(
        self, future: pd.DataFrame, *, level: list[float], n_paths: int, seed: int
    ) -> Forecast:
        history = self._history
        days = future[DS].iloc[: future[DS].nunique()]
        late = self._periods(self.cutoff_, pd.DatetimeIndex(history.last))
        steps = self._periods(pd.DatetimeIndex(days), self.cutoff_)
        asked = history.ids.get_indexer(pd.Index(future[ID].iloc[:: len(days)]))
        mean, fitted, actual, bound, fell = self._means(asked, late[asked], steps)
        self.fallback_ = history.ids[asked[fell]]
        return assemble(
            future[[ID, DS]],
            self.cutoff_,
            mean,
            fitted,
            actual,
            negbin_size(mean, fitted, actual, None, bound),
            bound,
            model=self.name,
            treatment=self.treatment,
            level=level,
            n_paths=n_paths,
            seed=seed,
        )

    def _periods(self, later: Any, earlier: Any) -> np.ndarray:
        """Count the periods from `earlier` to `later` (one of them a single day)."""
        try:
            ends = pd.DatetimeIndex(np.atleast_1d(later)), pd.DatetimeIndex(np.atleast_1d(earlier))
            calendar = pd.date_range(ends[1].min(), ends[0].max(), freq=self.freq)
            at = [calendar.get_indexer(x) for x in ends]
        except ValueError as error:
            raise CivstatsError(f"freq {self.freq!r} is not a pandas alias: {error}") from error
        if (at[0] < 0).any() or (at[1] < 0).any():
            raise ForecastError(
                f"{self.name}: dates off the {self.freq} calendar; build the forecaster with the "
                "panel's freq, and ask for days of that calendar"
            )
        return at[0] - at[1]

    def _means(
        self, asked: np.ndarray, late: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Forecast the asked series, now and at past origins.

        Returns
        -------
        mean : numpy.ndarray, shape (n_series, h)
        fitted, actual : numpy.ndarray, shape (n_series, n_origins, h)
            NaN where there was no history, or no outcome.
        bound : numpy.ndarray of bool, shape (n_series, n_origins, h)
            Where `actual` is a lower bound.
        fell : numpy.ndarray of bool, shape (n_series,)
            Series forecast by the fallback.
        """
        history, reach = self._history, int(steps.max())
        h, m = len(steps), self.season_length
        mean = np.zeros((len(asked), h))
        fitted = np.full((len(asked), self.n_origins, h), np.nan)
        actual = np.full_like(fitted, np.nan)
        bound = np.zeros(actual.shape, dtype=bool)
        fell = np.zeros(len(asked), dtype=bool)
        # Periods before the cutoff at which the past forecasts are made; the latest first.
        back = reach + m * np.arange(self.n_origins)
        for i, series in enumerate(asked):
            rows = slice(history.starts[series], history.ends[series])
            y, outcome = history.sales[rows], history.outcome[rows]
            # A series that ended before the cutoff is forecast from its own last day on.
            ahead = steps + late[i] - 1
            origins = len(y) - (back - late[i])
            usable = np.flatnonzero((origins >= max(self._shortest, 1)) & (origins < len(y)))
            ends = [len(y), *origins[usable].tolist()]
            means, fell[i] = self._one(y, ends, max(reach + int(late[i]), 1))
            mean[i] = means[0][ahead]
            for k, origin, past in zip(usable, ends[1:], means[1:], strict=True):
                fitted[i, k] = past[steps - 1]
                at = origin + steps - 1
                there = at < len(y)
                actual[i, k, there] = outcome[at[there]]
                bound[i, k, there] = history.bound[rows][at[there]]
                fitted[i, k, there] *= history.share[rows][at[there]]
        return mean, fitted, actual, bound, fell

    @property
    def _shortest(self) -> int:
        return max(self.min_length, self.min_seasons * self.season_length)

    def _one(self, y: np.ndarray, ends: list[int], reach: int) -> tuple[list[np.ndarray], bool]:
        """Forecast ``y[:end]`` for each of `ends`, the whole first; clip at zero."""
        if not y.any():
            return [np.zeros(reach)] * len(ends), False
        if len(y) < self._shortest:
            return [self._plain(y[:end], reach) for end in ends], True
        with warnings.catch_warnings():
            # The library divides by zero degrees of freedom on very short or constant stretches.
            warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"statsforecast\.")
            try:
                means = self._forecasts(y, ends, reach)
            except Exception:  # the library raises bare exceptions where no model can be fitted
                return [self._plain(y[:end], reach) for end in ends], True
        good = [bool(np.isfinite(x).all()) for x in means]
        means = [
            np.maximum(x, 0.0) if ok else self._plain(y[:end], reach)
            for x, ok, end in zip(means, good, ends, strict=True)
        ]
        return means, not good[0]

    def _plain(self, y: np.ndarray, reach: int) -> np.ndarray:
        return np.full(reach, y[-4 * self.season_length :].mean() if len(y) else 0.0)

    def _recent(self, y: np.ndarray) -> np.ndarray:
        return y if self.max_seasons is None else y[-self.max_seasons * self.season_length :]

    def _forecasts(self, y: np.ndarray, ends: list[int], reach: int) -> list[np.ndarray]:
        """Mean forecasts of ``y[:end]``, refitted at each end."""
        model = self._model()
        return [model.forecast(y=self._recent(y[:end]), h=reach)["mean"] for end in ends]

    @abstractmethod
    def _model(self) -> Any:
        """Build the library's model."""
