"""The demand filter as a forecaster: a drifting level per series, with exact predictive mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from civstats.demand_filter import DemandFilter, Observations, filter_levels, update
from civstats.demand_filter._offset_error import coefficient_errors, departures_of
from civstats.demand_filter.parameters import COUNTS
from civstats.models._level_ahead import mixture_ahead, paths_ahead
from civstats.models._level_state import (
    World,
    advance,
    capped,
    concatenate,
    draw_parameters,
    highest_level,
    joined,
    rested,
    spoken,
    with_launches,
)
from civstats.models.base import Forecaster, register
from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    TREATMENTS,
    CivstatsError,
    Forecast,
    ForecastError,
    alias,
    quantile_column,
    quantiles_of_levels,
    series_index,
)


@register
class LocalLevel(Forecaster):
    """Local level model for counts: the demand filter's last level, pushed forward.

    Demand of a day is a count about exp(level + offset); the level is a random walk under which
    expected demand is a martingale (it falls by half its variance a day), or returns to a mean of
    the series; offsets are learned from day of week, season, events and price. Parameters
    come from empirical Bayes, the level's posterior from the exact filter
    (:mod:`civstats.demand_filter`). Days ahead are mixtures over the level's predictive
    distribution, and mean and quantiles are those of the mixtures, without sampling. Paths draw
    whole levels, then counts.

    With `hidden` availability, for data without flags, forecasts are of **demand**; with `sales`
    they are of sales, demand times the availability that the hidden state expects.

    Parameters
    ----------
    treatment : {"ignore", "mask", "censor"}
    hidden : bool
        Whether availability is a hidden state on days whose status is unknown.
    sales : bool
        Forecast sales instead of demand; needs `hidden`.
    trust_unflagged, flags_apart : bool
        What stockout flags say of the hidden state; see
        :class:`civstats.demand_filter.DemandFilter`.
    family : {"negbin", "poisson", "zero_inflated_negbin"}
    damped, group, offsets, harmonics, individual, sample_rows, rounds
        As for :class:`civstats.demand_filter.DemandFilter`.
    parameter_draws : int
        Draws of what series share, over which forecasts are averaged: hyperparameters from their
        sandwich covariance, coefficients of the offsets from theirs. 0 takes the estimates for
        true; sums over many series are then too sure of themselves. Each costs a pass over the
        history.
    n_jobs : int, optional
        Threads; None is one per processor. Results do not depend on it.
    seed : int
        Of the sample of series behind the estimates, and of the parameter draws.

    Attributes
    ----------
    filter_ : DemandFilter

    Raises
    ------
    CivstatsError
        For options that do not go together, and sales that are no counts.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=60)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [0, 2, 1] * 20}))
    >>> model = LocalLevel(rounds=1).fit(panel)
    >>> future = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-01", periods=7)})
    >>> model.predict(future, n_paths=0).name
    'LocalLevel_ignore'

    Notes
    -----
    The level of a series is at most twice the highest that any day's sales speak of: it matters
    for a series that was never in stock, which has the prior of its group.

    The mean that a damped level returns to is known for no series: forecasts are averaged over two
    values, a standard deviation above and below what was estimated.

    Levels of different series drift independently: the spread of a total over many series holds
    no shock that all of them share beyond the offsets.
    """

    name: ClassVar[str] = "LocalLevel"
    treatments: ClassVar[tuple[str, ...]] = TREATMENTS
    can_update: ClassVar[bool] = True
    own_threads: ClassVar[bool] = True

    filter_: DemandFilter
    _errors: np.ndarray | None = None
    _spoken: pd.Index

    def __init__(
        self,
        *,
        treatment: str = "ignore",
        hidden: bool = False,
        sales: bool = False,
        trust_unflagged: bool = True,
        flags_apart: bool = False,
        family: str = "negbin",
        damped: bool = False,
        group: str | Sequence[str] = "dept_id",
        offsets: str | bool | None = "regression",
        harmonics: int = 2,
        individual: bool = False,
        sample_rows: int = 100_000,
        rounds: int = 4,
        parameter_draws: int = 0,
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(treatment=treatment)
        if family not in COUNTS:
            raise CivstatsError(
                f"family must be one of {', '.join(COUNTS)}, but got {family!r}: {self.name} "
                "forecasts counts"
            )
        if sales and not hidden:
            raise CivstatsError(
                "sales=True needs hidden=True: without a state of availability sales are demand"
            )
        if isinstance(parameter_draws, bool) or not isinstance(parameter_draws, int):
            raise CivstatsError(f"parameter_draws must be a whole number, got {parameter_draws!r}")
        if parameter_draws < 0:
            raise CivstatsError(f"parameter_draws must be 0 or more, but got {parameter_draws}")
        self.sales, self.parameter_draws = sales, parameter_draws
        self.n_jobs, self.seed = n_jobs, seed
        self._options: dict[str, Any] = {
            "treatment": treatment,
            "family": family,
            "hidden": hidden,
            "trust_unflagged": trust_unflagged,
            "flags_apart": flags_apart,
            "damped": damped,
            "group": group,
            "offsets": offsets,
            "harmonics": harmonics,
            "individual": individual,
            "sample_rows": sample_rows,
            "rounds": rounds,
            "n_jobs": n_jobs,
            "seed": seed,
        }
        DemandFilter(**self._options)

    @classmethod
    def test_params(cls) -> dict[str, Any]:
        """Return constructor arguments small enough for a contract test in CI."""
        return {"rounds": 1, "n_jobs": 1}

    def _fit(self, panel: pd.DataFrame) -> None:
        self.filter_ = DemandFilter(**self._options).fit(panel)
        self._top, self._spoken = 0.0, pd.Index([], dtype=object)
        self._moves = draw_parameters(self.filter_, self.parameter_draws, self.seed)
        self._errors = coefficient_errors(self.filter_, self.parameter_draws, self.seed)
        self._worlds = self._first_worlds(self.filter_, panel, self._moves)
        self._note_days(panel)

    def _first_worlds(self, fitted: DemandFilter, panel: pd.DataFrame, every: list) -> list[World]:
        """Filter series from their first day on, under every draw of the parameters."""
        obs = self._noted(fitted.observations(panel))
        at = fitted.ids_.get_indexer(obs.ids)
        out = []
        for params, offset in zip(every, self._offsets(panel, obs.offset, len(every)), strict=True):
            mine = params.take(at)
            found = filter_levels(obs.with_offset(offset), mine, summaries=(), n_jobs=self.n_jobs)
            out.append(World(mine, found.state))
        return out

    def _noted(self, obs: Observations) -> Observations:
        """Remember how high levels may be, and of which series anything is known."""
        self._top = max(self._top, highest_level(obs))
        self._spoken = self._spoken.union(spoken(obs))
        return obs

    def _offsets(self, rows: pd.DataFrame, offset: np.ndarray, n: int) -> np.ndarray:
        """Return the offsets of rows in each of n worlds, shape (n, n_rows)."""
        if self._errors is None or not len(self._errors):
            return np.broadcast_to(offset, (n, len(offset)))
        # A level that was learned under one offset goes on under the same.
        return offset + departures_of(self.filter_, rows, self._errors).astype(float)

    def _note_days(self, panel: pd.DataFrame) -> None:
        """Remember each series' last day and the panel's step in time."""
        index = series_index(panel)
        self._last = pd.Series(panel[DS].to_numpy()[index.ends - 1], index=index.ids)
        dates = np.sort(panel[DS].unique())
        gaps = np.diff(dates) if len(dates) > 1 else np.array([np.timedelta64(1, "D")])
        # Months and quarters differ in length: their mean counts them right, the least does not.
        step = gaps.min() if gaps.min() < np.timedelta64(28, "D") else gaps.mean()
        self._step = pd.Timedelta(step)

    def _update(self, panel: pd.DataFrame) -> None:
        index = series_index(panel)
        before = self._last.reindex(index.ids).to_numpy()
        row_before = np.repeat(before, index.lengths)
        days = panel[DS].to_numpy()
        launched = np.isnat(row_before)
        later = ~launched & (days > row_before)
        self._refuse_gap(panel, index.ids, index.starts, before)
        worlds = self._worlds
        if later.any():
            worlds = self._continued(worlds, _part(panel, later))
        if launched.any():
            new = _part(panel, launched)
            self.filter_ = with_launches(self.filter_, new)
            self._moves = draw_parameters(self.filter_, self.parameter_draws, self.seed)
            if self._errors is not None:
                more = coefficient_errors(self.filter_, self.parameter_draws, self.seed)
                assert more is not None
                known = self._errors.shape[1]
                self._errors = np.concatenate([self._errors, more[:, known:]], axis=1)
            first = self._first_worlds(self.filter_, new, self._moves)
            worlds = [joined(a, b) for a, b in zip(worlds, first, strict=True)]
        self._worlds = worlds
        kept = self._last
        self._note_days(panel)
        self._last = self._last.combine_first(kept)

    def _refuse_gap(
        self, panel: pd.DataFrame, ids: pd.Index, starts: np.ndarray, before: np.ndarray
    ) -> None:
        late = ~np.isnat(before) & (panel[DS].to_numpy()[starts] > before)
        if late.any():
            raise ForecastError(
                f"{self.name}: the history of {int(late.sum())} series begins after the last day "
                f"of theirs that was seen, first {ids[int(np.argmax(late))]}; pass the whole history"
            )

    def _continued(self, worlds: list[World], panel: pd.DataFrame) -> list[World]:
        obs = self._noted(self.filter_.observations(panel))
        ids = worlds[0].state.ids
        at = ids.get_indexer(obs.ids)
        rest = np.setdiff1d(np.arange(len(ids)), at)
        out = []
        offsets = self._offsets(panel, obs.offset, len(worlds))
        for world, offset in zip(worlds, offsets, strict=True):
            now, mine = obs.with_offset(offset), world.params.take(at)
            moved = update(world.state, now, mine, summaries=(), n_jobs=self.n_jobs)
            state = concatenate([world.state.take(rest), moved.state]).match(ids)
            out.append(World(world.params, state))
        return out

    def _predict(
        self, future: pd.DataFrame, *, level: list[float], n_paths: int, seed: int
    ) -> Forecast:
        dates = pd.DatetimeIndex(future[DS].iloc[: future[DS].nunique()])
        h = len(dates)
        ids = pd.Index(future[ID].iloc[::h].astype(object))
        steps = self._steps(dates, self.cutoff_)
        worlds = [self._at_cutoff(w, ids) for w in self._worlds]
        known = self.filter_.offset(future)
        offset = self._offsets(future, known, len(worlds)).reshape(len(worlds), len(ids), h)
        mixture = mixture_ahead(worlds, steps, offset, sales=self.sales, n_jobs=self.n_jobs)
        column = alias(self.name, self.treatment)
        keys = future[[ID, DS]]
        frame = pd.DataFrame({ID: keys[ID].array, DS: keys[DS].array, CUTOFF: self.cutoff_})
        frame[column] = mixture.mean()
        probabilities = quantiles_of_levels(level)
        for p, values in zip(probabilities, mixture.quantiles(probabilities).T, strict=True):
            frame[quantile_column(column, p)] = values
        paths = None
        if n_paths:
            import xarray as xr

            paths = xr.DataArray(
                paths_ahead(worlds, steps, offset, n_paths, seed, sales=self.sales),
                dims=(ID, "sample", DS),
                coords={ID: ids.to_numpy(), "sample": np.arange(n_paths), DS: dates},
            )
        marginal = mixture.marginal(keys)
        return Forecast(frame, self.name, self.treatment, tuple(level), paths, marginal)

    def _steps(self, later: pd.DatetimeIndex, earlier: Any) -> np.ndarray:
        """Count periods from `earlier` to `later`."""
        out: np.ndarray = np.rint((later - earlier) / self._step).astype(int)
        return out

    def _at_cutoff(self, world: World, ids: pd.Index) -> World:
        """Return the world of some series, those that ended earlier brought to the cutoff."""
        at = world.state.ids.get_indexer(ids)
        state, params = world.state.take(at), world.params.take(at)
        ends = pd.DatetimeIndex(self._last.reindex(ids))
        late = -self._steps(ends, self.cutoff_)
        state = rested(
            advance(state, params, late, self.n_jobs),
            params,
            ~ids.isin(self._spoken),
            self.n_jobs,
        )
        return World(params, capped(state, self._top))


def _part(panel: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    part = panel[rows].reset_index(drop=True)
    return part.assign(**{ID: part[ID].cat.remove_unused_categories()})
