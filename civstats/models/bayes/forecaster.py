"""Hierarchical censored demand in PyMC, as a forecaster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd

from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.layout import observations
from civstats.models.base import Forecaster, register
from civstats.models.bayes import _storage
from civstats.models.bayes._ahead import forecast
from civstats.models.bayes._arguments import check_arguments, note_days
from civstats.models.bayes._hints import find_hints
from civstats.models.bayes._layout import lay_out, mean_day, read_sales
from civstats.models.bayes._posterior import Draws, pointwise, prior_densities
from civstats.models.bayes._prior import draw_prior, replicate
from civstats.models.bayes._recover import recover_days, require_same
from civstats.models.bayes.priors import Priors
from civstats.models.bayes.problems import Problem, find_problems, refuse_fractions
from civstats.schema import (
    TREATMENTS,
    Forecast,
    ForecastError,
    check_level,
)

if TYPE_CHECKING:
    import xarray as xr

    from civstats.censoring import Family
    from civstats.demand_filter._recovery_result import Recovery


@register
class BayesDemand(Forecaster):
    """Hierarchical demand under censoring, its whole posterior drawn by NUTS.

    Demand of a day is a count about exp(level + offset). A series' level starts around what its
    item, store and department sell, partially pooled, and drifts by week: a random walk, its standard
    deviation by department, under which expected demand is a martingale; the offset is a regression on day of week, season, events and price,
    its coefficients pooled over departments. A stockout day contributes log P(D >= y).

    Parameters
    ----------
    treatment : {"ignore", "mask", "censor"}
    family : {"negbin", "poisson", "zero_inflated_negbin", "normal"}
        ``normal`` is for fractional sales: level and offset are then in mean days of the series.
    drift : {"week", None}
        Whether levels drift by week or stay.
    harmonics : int
        Annual sine-cosine pairs.
    covariates : bool
        False leaves all offsets out.
    priors : Priors or mapping of str to Prior, optional
        Replacements by name; see :class:`Priors`.
    draws, tune, chains : int
        The largest of thousands of R-hats is above 1.01 by chance alone unless draws are many: the
        default is for tens of thousands of levels.
    target_accept : float
    sampler : {"nutpie", "numpyro", "pymc"}
        All three call the same compiled likelihood; numpyro and JAX are installed besides.
    parametrisation : {"whitened", "centred", "noncentred"}
        Of the levels; it changes the sampler's work, not the posterior. ``whitened``: standard
        normal numbers pushed through each walk's Gaussian posterior given pseudo-data, so that a
        series is centred as far as its own days allow.
    seed : int
    progress : bool
    n_jobs : int, optional
        Chains at a time; None is one per processor.

    Attributes
    ----------
    idata_ : arviz.InferenceData
        ``posterior``, ``sample_stats``, ``constant_data``.
    problems_ : list of Problem
        What data and arguments cannot tell, with advice.
    model_ : pymc.Model

    Notes
    -----
    The demand filter's estimates start the chains and lay out the levels; they do not enter the
    posterior.

    Examples
    --------
    >>> BayesDemand(treatment="censor", priors={"series_sd": Prior("half_normal", 0.5)}).name
    'BayesDemand'
    """

    name: ClassVar[str] = "BayesDemand"
    treatments: ClassVar[tuple[str, ...]] = TREATMENTS
    cost: ClassVar[Literal["fast", "slow"]] = "slow"
    own_threads: ClassVar[bool] = True

    idata_: Any
    problems_: list[Problem]
    model_: Any
    design_: OffsetDesign | None

    def __init__(
        self,
        *,
        treatment: str = "censor",
        family: str = "negbin",
        drift: str | None = "week",
        harmonics: int = 2,
        covariates: bool = True,
        priors: Priors | Mapping[str, Any] | None = None,
        draws: int = 3000,
        tune: int = 500,
        chains: int = 2,
        target_accept: float = 0.8,
        sampler: str = "nutpie",
        parametrisation: str = "whitened",
        seed: int = 0,
        progress: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(treatment=treatment)
        check_arguments(
            family=family, drift=drift, sampler=sampler, parametrisation=parametrisation, draws=draws,
            tune=tune, chains=chains, harmonics=harmonics, target_accept=target_accept, seed=seed,
            n_jobs=n_jobs, priors=priors,
        )  # fmt: skip
        if isinstance(priors, Priors):
            self.priors = priors
        else:
            self.priors = Priors.of(family).replaced(**dict(priors or {}))
        self.family, self.drift, self.harmonics, self.covariates = (
            family,
            drift,
            harmonics,
            covariates,
        )
        self.draws, self.tune, self.chains, self.target_accept = draws, tune, chains, target_accept
        self.sampler, self.parametrisation, self.seed = sampler, parametrisation, seed
        self.progress, self.n_jobs = progress, n_jobs
        self._compiled: Any = None
        self._structure: Any = None

    @classmethod
    def test_params(cls) -> dict[str, Any]:
        """Return constructor arguments small enough for a contract test in CI."""
        return {"draws": 60, "tune": 120, "chains": 2, "harmonics": 0, "n_jobs": 1}

    def _fit(self, panel: pd.DataFrame) -> None:
        self._build(panel)
        self.sample()

    def build(self, panel: pd.DataFrame) -> BayesDemand:
        """Do everything of :meth:`fit` but sampling."""
        self._build(self._admit(panel))
        return self

    def _learn_design(self, panel: pd.DataFrame) -> OffsetDesign | None:
        return OffsetDesign.learn(panel, harmonics=self.harmonics) if self.covariates else None

    def _build(self, panel: pd.DataFrame) -> None:
        from civstats.models.bayes import _components, _samplers

        _samplers.require(self.sampler)
        obs = observations(panel, self.treatment)
        refuse_fractions(obs, self.family)
        self.design_ = self._learn_design(panel)
        self._layout = lay_out(panel, self.design_, self.drift)
        self.problems_ = find_problems(obs, self._layout, self.chains)
        sales = read_sales(panel, self._layout, self.treatment, self.family)
        hints = find_hints(
            panel, self._layout, sales, self.family, self.treatment, self.harmonics, self.seed,
            self.n_jobs,
        )  # fmt: skip
        self._scale = sales.scale
        arrays = _components.model_arrays(self._layout, sales, hints, self.priors)
        structure = (
            self._layout.structure, hints.slow.tolist(), str(self.priors), self.parametrisation,
            self.family,
        )  # fmt: skip
        if structure == self._structure and self._compiled is not None:
            self._compiled = self._compiled.with_data(**{f"_{n}": a for n, a in arrays.items()
                                                         if f"_{n}" in self._compiled.shared_data})  # fmt: skip
        else:
            self.model_ = _components.build_model(
                self._layout, self.priors, hints, arrays, self.family, self.parametrisation
            )
            self._compiled, self._structure = None, structure
        self._days, self._statics, self._seen = note_days(panel, self.treatment)

    def sample(self) -> BayesDemand:
        """Draw from the posterior of the model that :meth:`build` made."""
        from civstats.models.bayes import _samplers

        if not hasattr(self, "_layout"):
            raise ForecastError("BayesDemand has no data: call fit(panel) or build(panel) first")
        if not hasattr(self, "model_"):
            raise ForecastError(
                "BayesDemand was loaded, and what it was fitted on is not stored with it: fit(panel) "
                "samples anew"
            )
        if self.sampler == "nutpie" and self._compiled is None:
            self._compiled = _samplers.compile_nutpie(self.model_)
        drawn = _samplers.sample(
            self.model_,
            self._compiled,
            sampler=self.sampler,
            draws=self.draws,
            tune=self.tune,
            chains=self.chains,
            cores=self.n_jobs or self.chains,
            target_accept=self.target_accept,
            seed=self.seed,
            progress=self.progress,
        )
        self.idata_ = _storage.tidy(drawn, self._layout, self._days, self._seen)
        self._draws = Draws(self.idata_.posterior, self._layout, self.family, self._scale)
        return self

    def _drawn(self) -> Draws:
        if not hasattr(self, "_draws"):
            raise ForecastError("BayesDemand has no posterior: call fit(panel) first")
        return self._draws

    def predictor(
        self, draws: np.ndarray | None = None, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, Family]:
        """Return linear predictors, shape (n_draws, n_rows), and the family that goes with them.

        Parameters
        ----------
        draws : numpy.ndarray of int, optional
            Positions among the draws of all chains, one after the other; all if None.
        rows : numpy.ndarray of int, optional
            Rows of the fitted panel; all if None.
        """
        return self._drawn().predictor(draws, rows)

    def pointwise(
        self, draws: np.ndarray | None = None, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Return log-likelihoods of days, shape (n_draws, n_rows); 0 where a day says nothing."""
        return pointwise(self._drawn(), self._days, self._seen, draws, rows)

    def replicate(self, n: int, seed: int) -> np.ndarray:
        """Draw whole-day demand of the fitted rows, shape (n, n_rows), draws spread evenly."""
        drawn = self._drawn()
        which = np.linspace(0, drawn.n - 1, n).round().astype(int)
        return replicate(drawn, which, None, np.random.default_rng(seed))

    def prior_draws(self, panel: pd.DataFrame, n: int, seed: int) -> xr.Dataset:
        """Draw parameters and demand from the prior, for the days of a panel.

        Returns
        -------
        xarray.Dataset
            Dim ``sample``; parameters by their names in the posterior, and ``demand`` (sample, row),
            in units of sales. Sales themselves are not read, but for the scale of the normal family.
        """
        layout = lay_out(panel, self._learn_design(panel), self.drift)
        scale = np.ones(len(layout.names["series"]))
        if self.family == "normal":
            scale = mean_day(observations(panel, self.treatment))
        return draw_prior(layout, self.priors, self.family, scale, n, seed)

    def prior_predictive(self, n: int, seed: int) -> xr.Dataset:
        """Draw from the prior for the fitted days; see :meth:`prior_draws`."""
        return draw_prior(self._layout, self.priors, self.family, self._scale, n, seed)

    def log_prior(self) -> dict[str, np.ndarray]:
        """Return the log density of every named prior at the draws, shape (chain, draw)."""
        self._drawn()
        return prior_densities(self.idata_.posterior, self.priors, self._layout)

    def _predict(
        self, future: pd.DataFrame, *, level: list[float], n_paths: int, seed: int
    ) -> Forecast:
        matrix = self.design_.matrix(future) if self.design_ else np.zeros((len(future), 0))
        return forecast(
            self._drawn(), self._layout, self.family, future, matrix, self.cutoff_,
            name=self.name, treatment=self.treatment, level=level, n_paths=n_paths, seed=seed,
        )  # fmt: skip

    def recover(
        self,
        panel: pd.DataFrame | None = None,
        *,
        levels: Sequence[float] = (80, 95),
        n_draws: int = 500,
        seed: int = 0,
    ) -> Recovery:
        """Recover demand on the stockout days of the fitted panel, given at least what sold.

        Parameters
        ----------
        panel : pandas.DataFrame, optional
            The fitted panel, to be sure it is that one.
        levels : sequence of float
            Bands, percent.
        n_draws : int
            Joint draws: sample j is one posterior draw, of all days and series.
        seed : int

        Returns
        -------
        Recovery
            As of the demand filter, without the filtered columns.

        Raises
        ------
        CivstatsError
            For another panel than the fitted one.
        """
        drawn = self._drawn()
        if panel is not None:
            require_same(panel, self._days, self.treatment)
        return recover_days(
            drawn, self._days, self._statics, self, list(check_level(levels)), n_draws, seed
        )

    def save(self, folder: str | Path) -> None:
        """Write ``posterior.nc`` (netCDF) and ``model.json`` and ``layout.npz`` to a folder."""
        self._drawn()
        _storage.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> BayesDemand:
        """Read what :meth:`save` wrote: it predicts and recovers, and can be sampled no further."""
        return _storage.load(cls, Path(folder))
