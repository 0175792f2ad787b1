"""Where estimation starts and what single series add: the sample, first levels, own dispersions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from civstats.demand_filter.empirical_bayes import SCALES, individual
from civstats.demand_filter.grid import build_grid
from civstats.demand_filter.groups import Groups
from civstats.demand_filter.layout import EXACT, SILENT, Observations
from civstats.demand_filter.parameters import COUNTS, FilterParameters
from civstats.demand_filter.passes import log_likelihood
from civstats.demand_filter.results import LevelSummary

LEAST_SD = 0.05
"""Least standard deviation of a prior of the level."""
_WEAK_SD = 1.5


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
