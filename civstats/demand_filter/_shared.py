"""Offsets and hyperparameters that series share, estimated in turn on a sample of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from civstats.demand_filter._estimation import (
    LEAST_SD,
    first_levels,
    first_parameters,
    with_values,
)
from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.empirical_bayes import SCALES, Estimate, maximise, shrink
from civstats.demand_filter.grid import Grid, build_grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.offsets import (
    OffsetCoefficients,
    Respond,
    fit_offsets,
    zero_offsets,
)
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.passes import log_likelihood, smooth_levels
from civstats.demand_filter.responses import responses
from civstats.demand_filter.results import LevelSummary
from civstats.demand_filter.series_means import SeriesMeans, crude_means, first_means

_LEAST_RISE = 1e-5
"""Rise of the log-likelihood per day below which offsets and hyperparameters have settled."""
_SPACING = 0.8
"""Of grids while parameters are searched for: a series' log-likelihood is off by some thousandths."""
_WORTH = 5.0
"""Series that the whole counts for in a group's prior."""


@dataclass(frozen=True)
class Settled:
    """Offsets and hyperparameters of a sample that no longer raise its likelihood.

    Attributes
    ----------
    obs : Observations
        The sample, offsets included.
    params : FilterParameters
        Of its series.
    whole : Estimate
    coefficients : OffsetCoefficients
    means : SeriesMeans, optional
        Of damped levels.
    """

    obs: Observations
    params: FilterParameters
    whole: Estimate
    coefficients: OffsetCoefficients
    means: SeriesMeans | None = None


@dataclass(frozen=True)
class Shared:
    """Estimates what series share.

    Attributes
    ----------
    free : tuple of str
        Hyperparameters that are estimated.
    names : list of str
        The groups.
    member : numpy.ndarray of int, shape (n_series,)
        Group of each series of the sample.
    n_jobs : int, optional
    """

    free: tuple[str, ...]
    names: list[str]
    member: np.ndarray
    n_jobs: int | None

    @property
    def damped(self) -> bool:
        """Whether levels return to means, each series to its own."""
        return "damping" in self.free

    def settle(
        self,
        obs: Observations,
        family: str,
        design: OffsetDesign | None,
        matrix: np.ndarray,
        rounds: int,
    ) -> Settled:
        """Estimate offsets and hyperparameters in turn until the likelihood stops rising.

        Parameters
        ----------
        design : OffsetDesign, optional
            None: no offsets.
        matrix : numpy.ndarray, shape (n_rows, n_names)
            Its regressors.
        rounds : int
        """
        row_group = np.repeat(self.member, obs.lengths)
        params = first_parameters(obs, family, self.free)
        means = first_means(obs, params, self.member, len(self.names)) if self.damped else None
        params, means = self.prior(obs, params, means, times=3) if means else (params, None)
        found = zero_offsets(design.names if design else (), len(self.names))
        whole: Estimate | None = None

        def learn(rounds: int, *, regress: bool = False) -> OffsetCoefficients:
            if not (design and design.names):
                return found
            respond = self._respond(obs, params)
            return fit_offsets(
                respond, matrix, row_group, design.prior_sd, found, max_rounds=rounds,
                regress=regress,
            )  # fmt: skip

        for k in range(rounds):
            found = learn(20 if k == 0 else 6)
            moved = obs.with_offset(found.offsets(matrix, row_group))
            now = self.maximise(moved, params, None if whole is None else whole.in_units, means)
            rise = np.inf if whole is None else now.loglik - whole.loglik
            whole = now
            params, means = self.prior(moved, with_values(params, whole.in_units), means)
            if rise < _LEAST_RISE * obs.n_rows:
                break
        assert whole is not None
        found = learn(0, regress=True)
        moved = obs.with_offset(found.offsets(matrix, row_group))
        return Settled(moved, params, whole, found, means)

    def again(self, settled: Settled, offset: np.ndarray) -> Settled:
        """Estimate the hyperparameters under other offsets."""
        moved = settled.obs.with_offset(offset)
        whole = self.maximise(moved, settled.params, settled.whole.in_units, settled.means)
        params = with_values(settled.params, whole.in_units)
        params, means = self.prior(moved, params, settled.means)
        return replace(settled, obs=moved, params=params, whole=whole, means=means)

    def _respond(self, obs: Observations, params: FilterParameters) -> Respond:
        grid = build_grid(obs, params, spacing=_SPACING)
        return lambda x: responses(obs.with_offset(x), params, grid=grid, n_jobs=self.n_jobs)

    def maximise(
        self,
        obs: Observations,
        params: FilterParameters,
        start: dict[str, float] | None,
        means: SeriesMeans | None = None,
    ) -> Estimate:
        """Return the hyperparameters that all series of `obs` would share."""
        grid = build_grid(obs, params, spacing=_SPACING)

        def loglik(values: dict[str, float]) -> np.ndarray:
            tried = with_values(params, values)
            if means is None:
                return log_likelihood(obs, tried, grid=grid, n_jobs=self.n_jobs)
            return means.integrated(self._given_means(obs, tried, means, grid))

        begin = start or {n: float(np.mean(getattr(params, n))) for n in self.free}
        return maximise(loglik, self.free, begin)

    def prior(
        self,
        obs: Observations,
        params: FilterParameters,
        means: SeriesMeans | None,
        *,
        times: int = 1,
    ) -> tuple[FilterParameters, SeriesMeans | None]:
        """Move the prior of the first level, or of the means, to what the series show (EM)."""
        if means is None:
            mean, second, _ = first_levels(obs, params, self._smoothed(obs, params))
            spread = np.sqrt(np.var(mean) + second.mean())
            moved = replace(
                params, prior_mean=float(mean.mean()), prior_sd=float(max(spread, LEAST_SD))
            )
            return moved, None
        for _ in range(times):
            means = self.know(obs, params, means)
            params = means.plugged(params)
            level = self._smoothed(obs, params)
            first, first_var = level.mean[obs.starts], np.square(level.sd[obs.starts])
            means = means.regrouped(crude_means(obs, params), first, first_var)
        return means.plugged(params), means

    def know(
        self, obs: Observations, params: FilterParameters, means: SeriesMeans, *, times: int = 1
    ) -> SeriesMeans:
        """Return what the days say of each series' mean, the groups' means as they are."""
        grid = build_grid(obs, means.plugged(params), spacing=_SPACING)
        return means.updated(self._given_means(obs, params, means, grid), times)

    def _given_means(
        self, obs: Observations, params: FilterParameters, means: SeriesMeans, grid: Grid
    ) -> Callable[[np.ndarray], np.ndarray]:
        return lambda m: log_likelihood(
            obs, means.parameters(params, m), grid=grid, n_jobs=self.n_jobs
        )

    def by_group(
        self,
        obs: Observations,
        params: FilterParameters,
        whole: Estimate,
        means: SeriesMeans | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Estimate]]:
        """Estimate every group and shrink.

        Returns
        -------
        values : dict of str to numpy.ndarray, shape (n_groups,)
            By hyperparameter, after shrinkage.
        found : dict of str to Estimate
            By group, before it.
        """
        if len(self.names) == 1:
            return {n: np.array([v]) for n, v in whole.in_units.items()}, {}
        found = {}
        for g, name in enumerate(self.names):
            series = np.flatnonzero(self.member == g)
            mine = None if means is None else means.take(series)
            found[name] = self.maximise(obs.take(series), params.take(series), whole.in_units, mine)
        theta = shrink(whole, list(found.values()))
        values = {
            n: np.array([SCALES[n].back(float(t)) for t in theta[:, j]])
            for j, n in enumerate(whole.names)
        }
        return values, found

    def group_priors(
        self, obs: Observations, params: FilterParameters, values: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return prior mean and sd of the first level by group, the whole worth a few series more.

        Parameters
        ----------
        values : dict of str to numpy.ndarray, shape (n_groups,)
            Hyperparameters by group.
        """
        mine = with_values(params, {n: v[self.member] for n, v in values.items()})
        mean, second, known = first_levels(obs, params, self._smoothed(obs, mine))
        member, n_groups = self.member[known], len(self.names)
        centre, spread = float(mean.mean()), float(np.var(mean) + second.mean())
        count = np.bincount(member, minlength=n_groups)
        total = np.bincount(member, weights=mean, minlength=n_groups)
        means = (total + _WORTH * centre) / (count + _WORTH)
        square = np.square(mean - means[member]) + second
        spreads = np.bincount(member, weights=square, minlength=n_groups)
        spreads = (spreads + _WORTH * spread) / (count + _WORTH)
        return means, np.maximum(np.sqrt(spreads), LEAST_SD)

    def _smoothed(self, obs: Observations, params: FilterParameters) -> LevelSummary:
        found = smooth_levels(obs, params, summaries=("smoothed",), n_jobs=self.n_jobs).smoothed
        assert found is not None
        return found
