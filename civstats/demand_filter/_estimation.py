"""What a fitted filter estimates from a sample of series: shared parameters, and priors by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.empirical_bayes import (
    SCALES,
    Estimate,
    individual,
    maximise,
    shrink,
)
from civstats.demand_filter.grid import build_grid
from civstats.demand_filter.groups import Groups
from civstats.demand_filter.layout import EXACT, SILENT, Observations
from civstats.demand_filter.offsets import (
    OffsetCoefficients,
    Respond,
    fit_offsets,
    zero_offsets,
)
from civstats.demand_filter.parameters import COUNTS, FilterParameters
from civstats.demand_filter.passes import log_likelihood, smooth_levels
from civstats.demand_filter.responses import responses
from civstats.demand_filter.results import LevelSummary

_LEAST_RISE = 1e-5
"""Rise of the log-likelihood per day below which offsets and hyperparameters have settled."""
_WEAK_SD = 1.5
_LEAST_SD = 0.05
_WORTH = 5.0
"""Series that the whole counts for in a group's prior."""


def with_values(params: FilterParameters, values: Mapping[str, Any]) -> FilterParameters:
    """Return parameters with some of them replaced, by name."""
    return replace(params, **values)


def sample_series(obs: Observations, groups: Groups, rows: int, seed: int) -> np.ndarray:
    """Return the positions of series, ascending, that hold about `rows` days of each group."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(obs.n_series)
    member, length = groups.of_series[order], obs.lengths[order]
    picked = np.zeros(len(order), dtype=bool)
    for g in range(len(groups.names)):
        mine = np.flatnonzero(member == g)
        before = np.cumsum(length[mine]) - length[mine]
        picked[mine[before < rows]] = True
    return np.sort(order[picked])


def first_parameters(obs: Observations, family: str, free: tuple[str, ...]) -> FilterParameters:
    """Return where estimation starts: the crude mean of sales, and wide."""
    spoken = obs.kind == EXACT
    mean = float(obs.y[spoken].mean()) if spoken.any() else 1.0
    start: dict[str, Any] = {n: SCALES[n].start for n in free}
    sd = _WEAK_SD
    if family in COUNTS:
        centre = np.log(max(mean, 1e-3))
    elif family == "lognormal":
        logs = np.log(obs.y[spoken & (obs.y > 0)])
        centre = float(logs.mean()) if logs.size else 0.0
        start["dispersion"] = 0.5
    else:
        centre, sd = mean, max(float(obs.y[spoken].std()), 1e-3) if spoken.any() else 1.0
        start |= {"dispersion": sd, "level_sd": 0.05 * sd}
    return FilterParameters(family, prior_mean=centre, prior_sd=sd, **start)


@dataclass(frozen=True)
class Settled:
    """Offsets and hyperparameters of a sample that no longer raise its likelihood.

    Attributes
    ----------
    obs : Observations
        The sample, offsets included.
    params : FilterParameters
        The same for all series.
    whole : Estimate
    coefficients : OffsetCoefficients
    """

    obs: Observations
    params: FilterParameters
    whole: Estimate
    coefficients: OffsetCoefficients


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
        found = zero_offsets(design.names if design else (), len(self.names))
        whole: Estimate | None = None
        for k in range(rounds):
            if design and design.names:
                found = fit_offsets(
                    self._respond(obs, params), matrix, row_group, design.prior_sd, found,
                    max_rounds=20 if k == 0 else 6,
                )  # fmt: skip
            moved = obs.with_offset(found.offsets(matrix, row_group))
            now = self.maximise(moved, params, None if whole is None else whole.in_units)
            rise = np.inf if whole is None else now.loglik - whole.loglik
            whole = now
            params = self.prior(moved, with_values(params, whole.in_units))
            if rise < _LEAST_RISE * obs.n_rows:
                break
        assert whole is not None
        return Settled(moved, params, whole, found)

    def again(self, settled: Settled, offset: np.ndarray) -> Settled:
        """Estimate the hyperparameters under other offsets."""
        moved = settled.obs.with_offset(offset)
        whole = self.maximise(moved, settled.params, settled.whole.in_units)
        params = self.prior(moved, with_values(settled.params, whole.in_units))
        return replace(settled, obs=moved, params=params, whole=whole)

    def _respond(self, obs: Observations, params: FilterParameters) -> Respond:
        grid = build_grid(obs, params)
        return lambda x: responses(obs.with_offset(x), params, grid=grid, n_jobs=self.n_jobs)

    def maximise(
        self, obs: Observations, params: FilterParameters, start: dict[str, float] | None
    ) -> Estimate:
        """Return the hyperparameters that all series of `obs` would share."""
        grid = build_grid(obs, params)

        def loglik(values: dict[str, float]) -> np.ndarray:
            return log_likelihood(obs, with_values(params, values), grid=grid, n_jobs=self.n_jobs)

        begin = start or {n: float(np.mean(getattr(params, n))) for n in self.free}
        return maximise(loglik, self.free, begin)

    def prior(self, obs: Observations, params: FilterParameters) -> FilterParameters:
        """Move the prior of the first level to what the series show (an EM step)."""
        mean, second, _ = first_levels(obs, params, self._smoothed(obs, params))
        spread = np.sqrt(np.var(mean) + second.mean())
        return replace(
            params, prior_mean=float(mean.mean()), prior_sd=float(max(spread, _LEAST_SD))
        )

    def by_group(
        self, obs: Observations, params: FilterParameters, whole: Estimate
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
            found[name] = self.maximise(obs.take(series), params.take(series), whole.in_units)
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
        return means, np.maximum(np.sqrt(spreads), _LEAST_SD)

    def _smoothed(self, obs: Observations, params: FilterParameters) -> LevelSummary:
        found = smooth_levels(obs, params, summaries=("smoothed",), n_jobs=self.n_jobs).smoothed
        assert found is not None
        return found


def own_dispersion(
    obs: Observations, params: FilterParameters, n_jobs: int | None
) -> FilterParameters:
    """Give every series a dispersion of its own, shrunk to its group's."""
    grid = build_grid(obs, params)

    def loglik(dispersion: np.ndarray) -> np.ndarray:
        tried = replace(params, dispersion=dispersion)
        return log_likelihood(obs, tried, grid=grid, n_jobs=n_jobs)

    own = individual(loglik, np.asarray(params.dispersion), "dispersion")
    return replace(params, dispersion=own)


def first_levels(
    obs: Observations, params: FilterParameters, level: LevelSummary
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and variance of the first levels, and which series they are of.

    A series of zeros says only that its level is low: its posterior would follow the prior down and
    the prior follow it, without end. It counts as half a sale in all its days; a series that no day
    speaks of does not count.
    """
    mean, second = level.mean[obs.starts], np.square(level.sd[obs.starts])
    days = np.add.reduceat((obs.kind != SILENT).astype(float), obs.starts)
    known = days > 0
    if not known.any():
        return mean, second, ~known
    zeros = known & (np.add.reduceat(np.where(obs.kind != SILENT, obs.y, 0.0), obs.starts) == 0)
    if params.family in COUNTS:
        mean = np.where(zeros, np.log(0.5 / np.maximum(days, 1.0)), mean)
        second = np.where(zeros, 0.0, second)
    return mean[known], second[known], known
