"""The demand filter fitted to a panel: offsets and hyperparameters estimated, groups pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.empirical_bayes import (
    SCALES,
    Estimate,
    Heterogeneity,
    heterogeneity,
    individual,
    maximise,
    shrink,
)
from civstats.demand_filter.grid import Grid, build_grid
from civstats.demand_filter.groups import Groups, group_series
from civstats.demand_filter.layout import EXACT, SILENT, UNKNOWN, Observations, observations
from civstats.demand_filter.offsets import OffsetCoefficients, Respond, fit_offsets, zero_offsets
from civstats.demand_filter.parameters import COUNTS, FilterParameters
from civstats.demand_filter.passes import log_likelihood, smooth_levels
from civstats.demand_filter.responses import responses
from civstats.demand_filter.results import LevelSummary
from civstats.schema import ID, CivstatsError, check_treatment, series_index

_LEAST_RISE = 1e-5
"""Rise of the log-likelihood per day below which offsets and hyperparameters have settled."""
_WEAK_SD = 1.5
_CHUNK = 2_000_000


class DemandFilter:
    """The drifting demand level of every series, its hyperparameters and offsets estimated.

    Demand of a day is F(mean exp(l + x)), the level l a random walk, the offset x a regression on
    day of week, season, events and price. Everything shared is estimated by maximum marginal
    likelihood on a sample of series: offsets and hyperparameters in turn until the likelihood stops
    rising, then each group's own, shrunk towards the whole.

    Parameters
    ----------
    treatment : {"ignore", "mask", "censor"}
    family : {"poisson", "negbin", "zero_inflated_negbin", "normal", "lognormal"}
    hidden : bool
        Whether availability is a hidden state on days whose status is unknown.
    trust_unflagged : bool
        Whether a day without a stockout flag was in stock. If not, and with `hidden`, a flag
        proves a stockout but its absence proves nothing on a day without sales.
    flags_apart : bool
        Whether flagged stockouts are of another kind than those of the hidden state (simulated
        ones on top of a shop's own): a flagged day without sales then says nothing of it.
    damped : bool
        Whether the level returns to its mean (AR(1)); otherwise it is a random walk.
    group : str or sequence of str
        Static column(s) whose values pool hyperparameters; what the panel lacks is left out.
    offsets : bool
        Whether offsets are learned; otherwise they are 0.
    harmonics : int
        Annual sine-cosine pairs of the offsets.
    individual : bool
        Whether each series gets a dispersion of its own, shrunk to its group's.
    sample_rows : int
        Days of each group from which the shared quantities are estimated.
    rounds : int
        Most rounds of offsets and hyperparameters in turn.
    n_jobs : int, optional
        Threads; None is one per processor.
    seed : int
        Of the sample of series.

    Attributes
    ----------
    parameters_ : FilterParameters
        One value per series of the panel.
    coefficients_ : OffsetCoefficients
    design_ : OffsetDesign
    groups_ : Groups
    estimates_ : dict of str to Estimate
        By group, before shrinkage; ``"all"`` is the whole.
    heterogeneity_ : dict of str to Heterogeneity
        Whether dispersion and level variance differ between series, by parameter.
    ids_ : pandas.Index

    Examples
    --------
    >>> from civstats.data.synthetic import make_panel
    >>> from civstats.demand_filter import DemandFilter
    >>> fitted = DemandFilter(treatment="ignore", rounds=1).fit(make_panel(n_series=8, n_days=120, seed=1))
    >>> fitted.parameters_.n_series
    8
    """

    parameters_: FilterParameters
    coefficients_: OffsetCoefficients
    design_: OffsetDesign
    groups_: Groups
    estimates_: dict[str, Estimate]
    heterogeneity_: dict[str, Heterogeneity]
    ids_: pd.Index

    def __init__(
        self,
        *,
        treatment: str = "censor",
        family: str = "negbin",
        hidden: bool = False,
        trust_unflagged: bool = True,
        flags_apart: bool = False,
        damped: bool = False,
        group: str | Sequence[str] = "dept_id",
        offsets: bool = True,
        harmonics: int = 2,
        individual: bool = False,
        sample_rows: int = 100_000,
        rounds: int = 4,
        n_jobs: int | None = None,
        seed: int = 0,
    ) -> None:
        self.treatment = check_treatment(treatment)
        # Refuses what does not go together, before any data.
        rate = 0.01 if hidden else None
        FilterParameters(family, dispersion=1.0, out_rate=rate, back_rate=rate)
        if hidden and family == "zero_inflated_negbin":
            raise CivstatsError(
                "zero inflation is not fitted beside hidden availability: both explain zeros; "
                "use family 'negbin'"
            )
        self.family, self.hidden, self.damped = family, hidden, damped
        self.trust_unflagged, self.flags_apart = trust_unflagged, flags_apart
        self.group = (group,) if isinstance(group, str) else tuple(group)
        self.offsets, self.harmonics, self.individual = offsets, harmonics, individual
        self.sample_rows, self.rounds = sample_rows, rounds
        self.n_jobs, self.seed = n_jobs, seed

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the hyperparameters that are estimated."""
        names = [] if self.family == "poisson" else ["dispersion"]
        names.append("level_sd")
        names += ["damping"] if self.damped else []
        names += ["zero_inflation"] if self.family == "zero_inflated_negbin" else []
        return (*names, *(("out_rate", "back_rate") if self.hidden else ()))

    def fit(self, panel: pd.DataFrame) -> DemandFilter:
        """Estimate offsets and hyperparameters on a validated panel.

        Raises
        ------
        CivstatsError
            For days that the family cannot produce.
        """
        self.design_ = OffsetDesign.learn(panel, harmonics=self.harmonics)
        self.groups_ = group_series(panel, self.group)
        index = series_index(panel)
        self.ids_ = index.ids
        everything = self._observe(panel)
        picked = self._sample(everything)
        some = everything.take(picked)
        rows = everything.rows_of(picked)
        matrix = self.design_.matrix(panel.iloc[rows]) if self.offsets else np.zeros((len(rows), 0))
        names = self.design_.names if self.offsets else ()
        prior_sd = self.design_.prior_sd if self.offsets else np.zeros(0)
        member = self.groups_.of_series[picked]
        row_group = np.repeat(member, some.lengths)
        params = self._first(some)
        found = zero_offsets(names, len(self.groups_.names))
        whole: Estimate | None = None
        for k in range(self.rounds):
            grid = build_grid(some, params)
            if names:
                found = fit_offsets(
                    self._respond(some, params, grid),
                    matrix,
                    row_group,
                    prior_sd,
                    found,
                    max_rounds=20 if k == 0 else 6,
                )
            moved = some.with_offset(found.offsets(matrix, row_group))
            now = self._maximise(moved, params, None if whole is None else whole.in_units)
            rise = np.inf if whole is None else now.loglik - whole.loglik
            whole = now
            params = self._prior(moved, with_values(params, whole.in_units), member)
            if rise < _LEAST_RISE * some.n_rows:
                break
        assert whole is not None
        self.coefficients_ = found
        self.estimates_ = {"all": whole}
        tested = [n for n in ("dispersion", "level_sd") if n in whole.names]
        self.heterogeneity_ = {n: heterogeneity(whole, n) for n in tested}
        by_group = self._by_group(moved, params, member, whole)
        prior_mean, prior_sd_of = self._group_priors(moved, params, member, by_group)
        of = self.groups_.of_series
        values = {n: v[of] for n, v in by_group.items()}
        self.parameters_ = replace(
            params, **values, prior_mean=prior_mean[of], prior_sd=prior_sd_of[of]
        )
        if self.individual and "dispersion" in self.free:
            self._own_dispersion(everything, panel)
        return self

    def observations(self, panel: pd.DataFrame) -> Observations:
        """Return a panel's days as the filter reads them, offsets included.

        Its series must be among those of the fit, and its covariates the same.
        """
        obs = self._observe(panel)
        return obs.with_offset(self.offset(panel))

    def parameters_of(self, ids: pd.Index | Sequence[str]) -> FilterParameters:
        """Return the parameters of some series, by name.

        Raises
        ------
        CivstatsError
            For series that were not in the fit.
        """
        at = self.ids_.get_indexer(pd.Index(ids))
        if (at < 0).any():
            raise CivstatsError(
                f"{int((at < 0).sum())} series were not in the fit, first "
                f"{list(ids)[int(np.argmax(at < 0))]}: fit the filter on a panel that has them"
            )
        return self.parameters_.take(at)

    def offset(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the offset of days, past or future, shape (n_rows,)."""
        if not self.offsets:
            return np.zeros(len(rows))
        ids = rows[ID].astype("category")
        at = self.ids_.get_indexer(pd.Index(ids.cat.categories.astype(object)))
        group = np.where(at >= 0, self.groups_.of_series[at], -1)[ids.cat.codes.to_numpy()]
        if (group < 0).any():
            raise CivstatsError(
                f"{int((group < 0).sum())} row(s) are of series that were not in the fit: fit the "
                "filter on a panel that has them"
            )
        out = np.empty(len(rows))
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            out[part] = self.coefficients_.offsets(
                self.design_.matrix(rows.iloc[part]), group[part]
            )
        return out

    def _observe(self, panel: pd.DataFrame) -> Observations:
        obs = observations(panel, self.treatment, hidden=self.hidden)
        if self.hidden and not self.trust_unflagged:
            doubtful = (obs.kind == EXACT) & (obs.y == 0)
            obs = replace(obs, status=np.where(doubtful, UNKNOWN, obs.status).astype(np.uint8))
        if self.hidden and self.flags_apart:
            silent = obs.kind == SILENT
            obs = replace(obs, status=np.where(silent, UNKNOWN, obs.status).astype(np.uint8))
        return obs

    def _sample(self, obs: Observations) -> np.ndarray:
        """Positions of the series from which shared quantities are estimated, ascending."""
        rng = np.random.default_rng(self.seed)
        order = rng.permutation(obs.n_series)
        member, length = self.groups_.of_series[order], obs.lengths[order]
        picked = np.zeros(len(order), dtype=bool)
        for g in range(len(self.groups_.names)):
            rows = np.flatnonzero(member == g)
            before = np.cumsum(length[rows]) - length[rows]
            picked[rows[before < self.sample_rows]] = True
        return np.sort(order[picked])

    def _first(self, obs: Observations) -> FilterParameters:
        """Where estimation starts: the crude mean of sales, and wide."""
        spoken = obs.kind == EXACT
        mean = float(obs.y[spoken].mean()) if spoken.any() else 1.0
        start: dict[str, Any] = {n: SCALES[n].start for n in self.free}
        sd = _WEAK_SD
        if self.family in COUNTS:
            centre = np.log(max(mean, 1e-3))
        elif self.family == "lognormal":
            logs = np.log(obs.y[spoken & (obs.y > 0)])
            centre = float(logs.mean()) if logs.size else 0.0
            start["dispersion"] = 0.5
        else:
            centre, sd = mean, max(float(obs.y[spoken].std()), 1e-3) if spoken.any() else 1.0
            start |= {"dispersion": sd, "level_sd": 0.05 * sd}
        return FilterParameters(self.family, prior_mean=centre, prior_sd=sd, **start)

    def _respond(self, obs: Observations, params: FilterParameters, grid: Grid) -> Respond:
        return lambda x: responses(obs.with_offset(x), params, grid=grid, n_jobs=self.n_jobs)

    def _maximise(
        self, obs: Observations, params: FilterParameters, start: dict[str, float] | None
    ) -> Estimate:
        grid = build_grid(obs, params)

        def loglik(values: dict[str, float]) -> np.ndarray:
            return log_likelihood(obs, with_values(params, values), grid=grid, n_jobs=self.n_jobs)

        begin = start or {n: float(np.mean(getattr(params, n))) for n in self.free}
        return maximise(loglik, self.free, begin)

    def _prior(
        self, obs: Observations, params: FilterParameters, member: np.ndarray
    ) -> FilterParameters:
        """Move the prior of the first level to what the series show (an EM step)."""
        first = smooth_levels(obs, params, summaries=("smoothed",), n_jobs=self.n_jobs).smoothed
        assert first is not None
        mean, second, _ = _first_levels(obs, params, first)
        spread = np.sqrt(np.var(mean) + second.mean())
        return replace(params, prior_mean=float(mean.mean()), prior_sd=float(max(spread, 0.05)))

    def _by_group(
        self, obs: Observations, params: FilterParameters, member: np.ndarray, whole: Estimate
    ) -> dict[str, np.ndarray]:
        """Estimate every group, shrink, and return values by name, shape (n_groups,)."""
        names = self.groups_.names
        if len(names) == 1:
            return {n: np.array([v]) for n, v in whole.in_units.items()}
        found = []
        for g, name in enumerate(names):
            series = np.flatnonzero(member == g)
            part = self._maximise(obs.take(series), params.take(series), whole.in_units)
            self.estimates_[name] = part
            found.append(part)
        theta = shrink(whole, found)
        return {
            n: np.array([SCALES[n].back(float(t)) for t in theta[:, j]])
            for j, n in enumerate(whole.names)
        }

    def _group_priors(
        self,
        obs: Observations,
        params: FilterParameters,
        member: np.ndarray,
        values: dict[str, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Prior mean and sd of the first level by group, the whole worth a few series more."""
        mine = with_values(params, {n: v[member] for n, v in values.items()})
        first = smooth_levels(obs, mine, summaries=("smoothed",), n_jobs=self.n_jobs).smoothed
        assert first is not None
        mean, second, known = _first_levels(obs, params, first)
        member = member[known]
        centre, spread = float(mean.mean()), float(np.var(mean) + second.mean())
        n_groups, worth = len(self.groups_.names), 5.0
        count = np.bincount(member, minlength=n_groups)
        total = np.bincount(member, weights=mean, minlength=n_groups)
        means = (total + worth * centre) / (count + worth)
        square = np.square(mean - means[member]) + second
        spreads = np.bincount(member, weights=square, minlength=n_groups)
        spreads = (spreads + worth * spread) / (count + worth)
        return means, np.maximum(np.sqrt(spreads), 0.05)

    def _own_dispersion(self, everything: Observations, panel: pd.DataFrame) -> None:
        """Give every series a dispersion of its own, shrunk to its group's."""
        obs = everything.with_offset(self.offset(panel))
        grid = build_grid(obs, self.parameters_)

        def loglik(dispersion: np.ndarray) -> np.ndarray:
            params = replace(self.parameters_, dispersion=dispersion)
            return log_likelihood(obs, params, grid=grid, n_jobs=self.n_jobs)

        own = individual(loglik, np.asarray(self.parameters_.dispersion), "dispersion")
        self.parameters_ = replace(self.parameters_, dispersion=own)


def _first_levels(
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


def with_values(params: FilterParameters, values: Mapping[str, Any]) -> FilterParameters:
    """Return parameters with some of them replaced, by name."""
    return replace(params, **values)
