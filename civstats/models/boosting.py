"""LightGBM: one global booster, direct for all days ahead, with joint paths from its residuals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from civstats.features.history import SalesGrid, filtered_demand, sales_grid
from civstats.features.known import known_features
from civstats.models._assemble import assemble
from civstats.models._booster import CENSORED_NEGBIN, MeanModel, balance, train_mean
from civstats.models._boosting_checks import check_censorable, check_settings
from civstats.models._design import Design, KnownTable
from civstats.models._level_state import with_launches
from civstats.models._negbin import negbin_size
from civstats.models.base import Forecaster, register
from civstats.schema import (
    DS,
    ID,
    Forecast,
    ForecastError,
    check_h,
    known_covariates,
    stockout_days,
)

if TYPE_CHECKING:
    import lightgbm

    from civstats.demand_filter import DemandFilter

_MIN_TRAIN = 56
"""Periods that the booster behind the residuals must have seen at least."""
_FEW = 4
"""Fewer calibration origins than this are not worth a booster of their own."""
_ROWS_PER_SERIES = 1_500
"""Rows of one series beyond this repeat each other: origins overlap."""


@register
class LightGBM(Forecaster):
    """Gradient-boosted trees on features measured from the origin (Ke et al. 2017).

    One booster serves all series and all days ahead: the day ahead is a feature, lags and rolling
    means are those known at the origin, so no forecast feeds another. Under ``mask`` stockout days
    are no targets and leave no trace in the features. Under ``censor`` the loss is the censored
    negative binomial likelihood (:mod:`civstats.censoring`), its dispersion estimated along the
    way: a stockout day is a target that demand was at least its sales, a day in stock for a share
    of its hours counts by that share, and the number of trees is where the censored likelihood of
    later days stops rising.

    Quantiles and joint paths come from residuals of a second booster, trained on what was known
    before a stretch of calibration origins and used on it; see :mod:`civstats.models._paths`. The
    panel is too short for that below about 20 weeks: then residuals are in sample, and intervals
    somewhat narrow.

    Parameters
    ----------
    treatment : {"ignore", "mask", "censor"}
    target : {"daily", "next_day", "week_sum"}
        What is predicted: every day up to `h`; the day after the cutoff alone (`h` is 1); or the
        sum over the next 7 days. For the sum `predict` takes a future of exactly 7 days and
        returns one row per series, dated on the last of them, in units per 7 days; under ``mask``
        a week with a stockout day is no target; ``censor`` is not offered for it.
    h : int
        Periods ahead that the booster learns; `predict` refuses later ones.
    objective : {"tweedie", "poisson"}
        Loss of the mean under ``ignore`` and ``mask``.
    dispersion : float, optional
        Under ``censor`` the dispersion of the likelihood, taken as given (``inf`` is the
        Poisson), without zero inflation. By default it is estimated.
    zero_inflated : bool
        Whether ``censor`` may estimate zero inflation, one probability for all series. Without it
        weeks of zeros that no covariate explains pass for dispersion, whose fat upper tail
        over-recovers the censored days; with it the mean of a series whose share of zeros is not
        the common one is biased, which the negative binomial alone is not.
    history : {"exposure", "filter"}
        What the features read on stockout days under ``censor``: units sold over the exposure, or
        what the demand filter, fitted on the history, expects of the day given its sales and the
        days before it.
    n_rounds : int
        Trees; under ``censor`` the most.
    max_rows : int
        Training rows are a random share of all origins x series x periods ahead, at most this
        many.
    train_periods : int
        Periods before the cutoff from which targets are taken.
    origin_step : int
        Periods between training origins.
    calibration_origins : int
        Past origins, `season_length` apart, whose residuals feed the paths. Less on short panels.
    season_length : int
        Periods in a season.
    series_id : bool
        Whether the series is a category for the trees.
    params : dict, optional
        LightGBM parameters that replace the defaults.
    num_threads : int
        0 means all cores (one for small data). Results do not depend on it. LightGBM's threads
        spin while they wait: where other work runs, 1 can be many times quicker than 0, and so is
        ``OMP_WAIT_POLICY=passive`` in the environment.
    seed : int
        Seed of the row sample and of the trees.

    Attributes
    ----------
    booster_ : lightgbm.Booster, optional
        Predicts the log of the mean relative to the series' recent level; none without a sale.
    dispersion_ : float, optional
        Of the censored negative binomial; None under other treatments.
    zero_prob_ : float
        Its zero inflation.

    Raises
    ------
    CivstatsError
        For an unknown target or objective, or a dispersion that is not positive or not used.
    ForecastError
        From `predict`, beyond `h`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=200)
    >>> y = np.random.default_rng(0).poisson(3, 200)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": y}))
    >>> model = LightGBM(h=7, n_rounds=5).fit(panel)
    >>> future = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-07-19", periods=7)})
    >>> model.predict(future, level=[80]).frame.shape
    (7, 7)
    """

    name: ClassVar[str] = "LightGBM"
    treatments: ClassVar[tuple[str, ...]] = ("ignore", "mask", "censor")
    can_update: ClassVar[bool] = True
    own_threads: ClassVar[bool] = True

    booster_: lightgbm.Booster | None
    dispersion_: float | None
    zero_prob_: float
    _filter: DemandFilter | None

    def __init__(
        self,
        *,
        treatment: str = "ignore",
        target: str = "daily",
        h: int = 28,
        objective: str = "tweedie",
        dispersion: float | None = None,
        zero_inflated: bool = False,
        history: str = "exposure",
        n_rounds: int = 200,
        max_rows: int = 400_000,
        train_periods: int = 730,
        origin_step: int = 5,
        calibration_origins: int = 52,
        season_length: int = 7,
        series_id: bool = False,
        params: dict[str, Any] | None = None,
        num_threads: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(treatment=treatment)
        check_settings(treatment, target, objective, dispersion, zero_inflated, history)
        self.history = history
        self.target = target
        self.span = 7 if target == "week_sum" else 1
        self.h = check_h(h) if target == "daily" else 1
        self.objective = objective
        self.dispersion = dispersion
        self.zero_inflated = zero_inflated
        self.n_rounds = n_rounds
        self.max_rows = max_rows
        self.train_periods = train_periods
        self.origin_step = origin_step
        self.calibration_origins = calibration_origins
        self.season_length = season_length
        self.series_id = series_id
        self.params = dict(params or {})
        self.num_threads = num_threads
        self.seed = seed

    @classmethod
    def test_params(cls) -> dict[str, Any]:
        """Return a small model for contract tests."""
        return {"n_rounds": 20, "max_rows": 5_000, "params": {"min_data_in_leaf": 5}}

    def _fit(self, panel: pd.DataFrame) -> None:
        if self.treatment == "censor":
            check_censorable(panel, self.name)
        rng = np.random.default_rng(self.seed)
        self._filter = None
        n = self._admit_history(panel)
        frame = known_features(self._history, series_id=self.series_id)
        self._known = KnownTable(frame, self._grid, self.span)
        reach = self.h + self.span - 1
        calibration = self._calibration(n, reach)
        first = int(calibration[0]) if len(calibration) else n
        oldest = max(1, first - self.train_periods)
        train = np.arange(n - self.span, oldest - 1, -self.origin_step)[::-1]
        origins = np.unique(np.r_[train, calibration, n])
        design = Design(self._grid, self._known, origins, self.season_length, self._targets())
        early = self._boost(design, train, first, rng, stop=True) if len(calibration) else None
        model = self._boost(design, train, n, rng, n_rounds=early.n_rounds if early else None)
        if model is None:
            why = "give a longer history"
            if self.treatment != "ignore" and stockout_days(panel).all():
                why = "every day is a stockout day, which leaves nothing to learn demand from"
            raise ForecastError(
                f"{self.name}: no target to train on up to {self.cutoff_.date()} under treatment "
                f"{self.treatment!r}; {why}"
            )
        self.booster_, self.dispersion_ = model.booster, model.dispersion
        self.zero_prob_ = model.zero_prob
        if early is None:
            past = train[train + reach <= n][-8:]
            self._backcast(design, model, past)
        else:
            self._backcast(design, early, calibration)
        self._model = self._balanced(model)
        self._calibrated = self._grid.ids
        level = self.span * design.level[:, -1:]
        self._size = negbin_size(level, self._fitted, self._actual, None, self._bound)
        self._now = Design(self._grid, self._known, np.array([n]), self.season_length)

    def _update(self, panel: pd.DataFrame) -> None:
        n = self._admit_history(panel)
        self._now = Design(self._grid, self._known, np.array([n]), self.season_length)

    def _predict(
        self, future: pd.DataFrame, *, level: list[float], n_paths: int, seed: int
    ) -> Forecast:
        ahead = self._ahead(future)
        ids = pd.Index(future[ID].unique().astype(object))
        last = future.iloc[self.span - 1 :: self.span]
        mean = self._mean(ids, ahead, known_features(self._history, future))
        return assemble(
            last,
            self.cutoff_,
            mean,
            *self._residuals(ids, ahead),
            model=self.name,
            treatment=self.treatment,
            level=level,
            n_paths=n_paths,
            seed=seed,
        )

    def _admit_history(self, panel: pd.DataFrame) -> int:
        """Keep what a forecast needs of a panel; return its number of periods."""
        self._sold = self._grid = sales_grid(panel, self.treatment)
        if self.history == "filter":
            fitted = self._filter
            if fitted is not None:
                new = panel[~panel[ID].isin(fitted.ids_)]
                fitted = with_launches(fitted, new) if len(new) else fitted
            demand, self._filter = filtered_demand(panel, fitted, n_jobs=self.num_threads or None)
            self._grid = sales_grid(panel, self.treatment, demand)
        self._history = panel[[ID, DS, *known_covariates(panel.columns)]]
        return self._grid.y.shape[1]

    def _targets(self) -> SalesGrid:
        """What is predicted: sales as they are, whatever stands in for them in the features."""
        return self._sold

    def _calibration(self, n: int, reach: int) -> np.ndarray:
        """Origins behind the residuals, evenly spaced up to the last with a full outcome."""
        last = n - reach
        room = min(last - _MIN_TRAIN - reach, int(0.45 * last))
        count = min(self.calibration_origins, room // self.season_length)
        if count < _FEW:
            return np.empty(0, dtype=int)
        return last - self.season_length * np.arange(count)[::-1]

    def _boost(
        self,
        design: Design,
        origins: np.ndarray,
        until: int,
        rng: np.random.Generator,
        *,
        stop: bool = False,
        n_rounds: int | None = None,
    ) -> MeanModel | None:
        """Train on targets that end by `until`; None if there are none.

        With `stop`, a likelihood that can say so also settles the number of trees, on the last
        targets.
        """
        oldest = until - self.train_periods
        origins = origins[(origins >= oldest) & (origins + self.span <= until)]
        if not len(origins):
            return None
        most = min(self.max_rows, _ROWS_PER_SERIES * len(design.start))
        rows = design.sample(origins, self.h, until, most, rng)
        if not len(rows.y):
            return None
        return train_mean(
            rows,
            names=design.names,
            categorical=design.categorical,
            objective=CENSORED_NEGBIN if self.treatment == "censor" else self.objective,
            n_rounds=n_rounds or self.n_rounds,
            late=rows.period >= until - self.h if stop else None,
            dispersion=self.dispersion,
            zero_inflated=self.zero_inflated,
            params=self.params,
            num_threads=self.num_threads,
            seed=self.seed,
        )

    def _backcast(self, design: Design, model: MeanModel, origins: np.ndarray) -> None:
        """Keep forecasts and outcomes of past origins, (n_series, n_origins, h), NaN if none."""
        n_series, n = design.target.shape
        actual = np.full((n_series, len(origins), self.h), np.nan, dtype=np.float32)
        fitted, bound = actual.copy(), np.zeros(actual.shape, dtype=bool)
        for j, origin in enumerate(origins):
            known = design.cells(int(origin), self.h, n)
            series, ahead = np.nonzero(known)
            at = (series, origin + ahead)
            index = np.full(len(series), design.position(origin))
            x = design.matrix(series, index, ahead, design.known.table[design.known.cell(*at)])
            mean = model.predict(x, design.start_of(series, index))
            # Sales of a share of the day are held against that share of its demand.
            fitted[series, j, ahead] = mean * design.exposure[at]
            actual[series, j, ahead] = design.target[at]
            bound[series, j, ahead] = design.censored[at]
        self._fitted, self._actual, self._bound = fitted, actual, bound

    def _balanced(self, model: MeanModel) -> MeanModel:
        """Scale the backcasts to the demand that came, and the model with them."""
        seen = np.isfinite(self._actual)
        factor = balance(
            self._fitted[seen].astype(np.float64),
            self._actual[seen].astype(np.float64),
            self._bound[seen],
            model.dispersion,
            model.zero_prob,
        )
        self._fitted *= np.float32(np.exp(factor))
        return replace(model, shift=model.shift + factor)

    def _mean(self, ids: pd.Index, ahead: np.ndarray, known: pd.DataFrame) -> np.ndarray:
        """Forecast mean, shape (n_ids, n_ahead)."""
        series = np.repeat(self._grid.ids.get_indexer(ids), len(ahead))
        index = np.zeros(len(series), dtype=int)
        x = self._now.matrix(series, index, np.tile(ahead, len(ids)), self._known.blocks(known))
        mean = self._model.predict(x, self._now.start_of(series, index))
        return mean.reshape(len(ids), len(ahead))

    def _ahead(self, future: pd.DataFrame) -> np.ndarray:
        """Positions of the targets ahead, 0 the first."""
        dates = pd.DatetimeIndex(np.sort(future[DS].unique()))
        known = self._grid.dates
        step = known[-1] - known[-2] if len(known) > 1 else pd.Timedelta(days=1)
        ahead = np.rint((dates - known[-1]) / step).astype(int) - 1
        if self.span > 1:
            if len(ahead) != self.span or ahead[-1] != self.span - 1:
                raise ForecastError(
                    f"{self.name} with target {self.target!r} needs a future of exactly the "
                    f"{self.span} days after {self.cutoff_.date()}, but got {len(dates)} day(s) "
                    f"up to {dates[-1].date()}"
                )
            return np.zeros(1, dtype=int)
        if ahead[-1] >= self.h:
            raise ForecastError(
                f"{self.name} has learnt {self.h} period(s) ahead, but future reaches "
                f"{int(ahead[-1]) + 1}; fit it with h={int(ahead[-1]) + 1}"
            )
        return ahead

    def _residuals(
        self, ids: pd.Index, ahead: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Calibration forecasts, outcomes, dispersion, and which outcomes are bounds."""
        row = self._calibrated.get_indexer(ids)
        fitted, actual, bound = (
            a[row][..., ahead] for a in (self._fitted, self._actual, self._bound)
        )
        size = self._size[row]
        # A series that came with an update has no residuals yet.
        fitted[row < 0], actual[row < 0] = np.nan, np.nan
        size[row < 0] = np.median(self._size)
        return fitted, actual, size, bound
