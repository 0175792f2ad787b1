"""The demand filter fitted to a panel: offsets and hyperparameters estimated, groups pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from civstats.demand_filter._estimation import (
    Shared,
    first_parameters,
    own_dispersion,
    sample_series,
    with_values,
)
from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.empirical_bayes import Estimate, Heterogeneity, heterogeneity
from civstats.demand_filter.grid import Grid, build_grid
from civstats.demand_filter.groups import Groups, group_series
from civstats.demand_filter.layout import EXACT, SILENT, UNKNOWN, Observations, observations
from civstats.demand_filter.offsets import OffsetCoefficients, Respond, fit_offsets, zero_offsets
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.responses import responses
from civstats.schema import ID, CivstatsError, check_treatment, series_index

__all__ = ["DemandFilter", "Groups", "group_series", "with_values"]

_LEAST_RISE = 1e-5
"""Rise of the log-likelihood per day below which offsets and hyperparameters have settled."""
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
        picked = sample_series(everything, self.groups_, self.sample_rows, self.seed)
        some = everything.take(picked)
        rows = everything.rows_of(picked)
        matrix = self.design_.matrix(panel.iloc[rows]) if self.offsets else np.zeros((len(rows), 0))
        names = self.design_.names if self.offsets else ()
        prior_sd = self.design_.prior_sd if self.offsets else np.zeros(0)
        shared = Shared(self.free, self.groups_.names, self.groups_.of_series[picked], self.n_jobs)
        row_group = np.repeat(shared.member, some.lengths)
        params = first_parameters(some, self.family, self.free)
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
            now = shared.maximise(moved, params, None if whole is None else whole.in_units)
            rise = np.inf if whole is None else now.loglik - whole.loglik
            whole = now
            params = shared.prior(moved, with_values(params, whole.in_units))
            if rise < _LEAST_RISE * some.n_rows:
                break
        assert whole is not None
        self.coefficients_ = found
        tested = [n for n in ("dispersion", "level_sd") if n in whole.names]
        self.heterogeneity_ = {n: heterogeneity(whole, n) for n in tested}
        by_group, parts = shared.by_group(moved, params, whole)
        self.estimates_ = {"all": whole} | parts
        prior_mean, prior_sd_of = shared.group_priors(moved, params, by_group)
        of = self.groups_.of_series
        values = {n: v[of] for n, v in by_group.items()}
        self.parameters_ = replace(
            params, **values, prior_mean=prior_mean[of], prior_sd=prior_sd_of[of]
        )
        if self.individual and "dispersion" in self.free:
            all_days = everything.with_offset(self.offset(panel))
            self.parameters_ = own_dispersion(all_days, self.parameters_, self.n_jobs)
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

    def _respond(self, obs: Observations, params: FilterParameters, grid: Grid) -> Respond:
        return lambda x: responses(obs.with_offset(x), params, grid=grid, n_jobs=self.n_jobs)
