"""The demand filter fitted to a panel: offsets and hyperparameters estimated, groups pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from civstats.demand_filter._estimation import own_dispersion, sample_series, with_values
from civstats.demand_filter._offset_information import measure
from civstats.demand_filter._offset_rule import OffsetRule
from civstats.demand_filter._shared import Settled, Shared
from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.empirical_bayes import Estimate, Heterogeneity, heterogeneity
from civstats.demand_filter.groups import Groups, group_series
from civstats.demand_filter.layout import EXACT, SILENT, UNKNOWN, Observations, observations
from civstats.demand_filter.offsets import OffsetCoefficients
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.series_means import SeriesMeans
from civstats.demand_filter.tree_offsets import Grown, grow
from civstats.schema import DS, CivstatsError, check_treatment, series_index

__all__ = ["DemandFilter", "Groups", "group_series", "with_values"]

REGRESSION, LIGHTGBM = "regression", "lightgbm"


class DemandFilter:
    """The drifting demand level of every series, its hyperparameters and offsets estimated.

    Demand of a day is F(mean exp(l + x)), the level l a random walk under which expected demand is a
    martingale, the offset x a regression on day of week, season, events and price. Everything shared is estimated by maximum marginal
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
        Whether the level returns to a mean of the series' own (AR(1)), itself shrunk towards its
        group's; otherwise it is a random walk.
    group : str or sequence of str
        Static column(s) whose values pool hyperparameters; what the panel lacks is left out.
    offsets : {"regression", "lightgbm"}, optional
        How offsets are learned: a regression, or trees on top of it where they raise the likelihood
        of series and days held out (interactions, thresholds). None: they are 0. True and False are
        read as the first and the last.
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
    trees_ : Grown, optional
        How many trees helped, and by how much.
    means_ : SeriesMeans, optional
        Where damped levels return to.
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

    Notes
    -----
    What a trees' offset says of a day follows from that day's covariates, its series' group and
    usual price, so that history, future and single new days are read alike; its mean over a series'
    days is taken off, since the level has it. Bands of :func:`~.recovery.recover` hold the error of
    the regression's coefficients, not that of the trees, nor that of a damped level's mean, which
    is put in as estimated (the forecaster averages over it).
    """

    parameters_: FilterParameters
    coefficients_: OffsetCoefficients
    design_: OffsetDesign
    trees_: Grown | None = None
    means_: SeriesMeans | None = None
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
        offsets: str | bool | None = REGRESSION,
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
        self.offsets = _offsets(offsets)
        self.harmonics, self.individual = harmonics, individual
        for name, value, least in (
            ("sample_rows", sample_rows, 1),
            ("rounds", rounds, 1),
            ("harmonics", harmonics, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise CivstatsError(f"{name} must be a whole number >= {least}, but got {value!r}")
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

    @threadpool_limits.wrap(limits=1, user_api="blas")  # its matrices are too small for threads
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
        some, rows = everything.take(picked), panel.iloc[everything.rows_of(picked)]
        shared = Shared(self.free, self.groups_.names, self.groups_.of_series[picked], self.n_jobs)
        design = self.design_ if self.offsets else None
        matrix = design.matrix(rows) if design else np.zeros((len(rows), 0))
        settled = shared.settle(some, self.family, design, matrix, self.rounds)
        self.coefficients_ = settled.coefficients
        self.trees_ = self.means_ = None
        if self.offsets == LIGHTGBM:
            self.trees_ = self._grow_trees(settled, rows, matrix, shared.member)
            if self.trees_.text:
                self.coefficients_ = replace(self.coefficients_, trees=self.trees_.text)
                self.coefficients_ = replace(self.coefficients_, centre=self.tree_centre(panel))
                settled = shared.again(settled, self.offset(rows))
        if design and design.names:
            found = measure(
                settled.obs, settled.params, matrix, max_rows=self.sample_rows, seed=self.seed,
                n_jobs=self.n_jobs,
            )  # fmt: skip
            self.coefficients_ = replace(self.coefficients_, information=found)
        whole, params = settled.whole, settled.params
        tested = [n for n in ("dispersion", "level_sd") if n in whole.names]
        self.heterogeneity_ = {n: heterogeneity(whole, n) for n in tested}
        by_group, parts = shared.by_group(settled.obs, params, whole, settled.means)
        self.estimates_ = {"all": whole} | parts
        of, own = self.groups_.of_series, self.individual and "dispersion" in self.free
        values = {n: v[of] for n, v in by_group.items()}
        if self.damped or own:
            everything = everything.with_offset(self.offset(panel))
        if settled.means is None:
            prior_mean, prior_sd = shared.group_priors(settled.obs, params, by_group)
            priors = {"prior_mean": prior_mean[of], "prior_sd": prior_sd[of]}
            self.parameters_ = with_values(params, values | priors)
        else:
            start = settled.means.spread_to(everything, params, of)
            given = with_values(start.plugged(params), values)
            self.means_ = shared.know(everything, given, start, times=3)
            self.parameters_ = self.means_.plugged(given)
        if own:
            self.parameters_ = own_dispersion(everything, self.parameters_, self.n_jobs)
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
        return self._offset_rule().of(rows)

    def tree_centre(self, panel: pd.DataFrame) -> pd.Series:
        """Return the mean of what the trees say of each series' days: it belongs to the level."""
        return self._offset_rule().centre(panel)

    def _offset_rule(self) -> OffsetRule:
        return OffsetRule(
            self.design_, self.coefficients_, self.ids_, self.groups_.of_series, self.n_jobs
        )

    def _grow_trees(
        self, settled: Settled, rows: pd.DataFrame, matrix: np.ndarray, member: np.ndarray
    ) -> Grown:
        """Grow trees on top of the regression."""
        group = np.repeat(member, settled.obs.lengths)
        return grow(
            settled.obs,
            settled.params,
            self.design_.features(rows, group, matrix),
            self.design_.tree_features,
            rows[DS].to_numpy(),
            member,
            seed=self.seed,
            n_jobs=self.n_jobs,
        )

    def _observe(self, panel: pd.DataFrame) -> Observations:
        obs = observations(panel, self.treatment, hidden=self.hidden)
        if self.hidden and not self.trust_unflagged:
            doubtful = (obs.kind == EXACT) & (obs.y == 0)
            obs = replace(obs, status=np.where(doubtful, UNKNOWN, obs.status).astype(np.uint8))
        if self.hidden and self.flags_apart:
            silent = obs.kind == SILENT
            obs = replace(obs, status=np.where(silent, UNKNOWN, obs.status).astype(np.uint8))
        return obs


def _offsets(kind: str | bool | None) -> str | None:
    if isinstance(kind, bool) or kind is None:
        return REGRESSION if kind else None
    if kind not in (REGRESSION, LIGHTGBM):
        raise CivstatsError(
            f"offsets must be {REGRESSION!r}, {LIGHTGBM!r} or None, but got {kind!r}"
        )
    return kind
