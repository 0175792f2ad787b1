"""Posterior draws read back: linear predictors of days, families, densities of priors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from civstats.censoring import Family, NegBin, Normal, Poisson, ZeroInflatedNegBin
from civstats.demand_filter.layout import BOUND, SILENT
from civstats.models.bayes._layout import Layout
from civstats.models.bayes.priors import Priors
from civstats.schema import Y


class Draws:
    """Draws of all chains, one after the other.

    Parameters
    ----------
    posterior : xarray.Dataset
        Dims ``chain, draw, ...``, or ``sample, ...``.
    layout : Layout
    family : str
    scale : numpy.ndarray, shape (n_series,)
        Units of 1 on the level's scale.
    """

    def __init__(self, posterior: Any, layout: Layout, family: str, scale: np.ndarray) -> None:
        lead = 2 if "chain" in posterior.dims else 1
        self._values = {
            str(n): v.to_numpy().reshape(-1, *v.shape[lead:]) for n, v in posterior.items()
        }
        self._layout, self._family, self._scale = layout, family, scale
        self.n = len(self._values["level"])

    def __getitem__(self, name: str) -> np.ndarray:
        return self._values[name]

    def beta(self, draws: np.ndarray) -> np.ndarray:
        """Return coefficients, shape (n_draws, n_departments, n_regressors)."""
        k, n = len(self._layout.names["regressor"]), len(self._layout.names["department"])
        if k == 0:
            return np.zeros((len(draws), n, 0))
        if "department_coefficient" in self._values:
            return self["department_coefficient"][draws]
        return np.repeat(self["coefficient"][draws][:, None], n, axis=1)

    def drift(self, draws: np.ndarray) -> np.ndarray:
        """Return weekly standard deviations of levels by series, shape (n_draws, n_series)."""
        if "drift_sd" not in self._values:
            return np.zeros((len(draws), len(self._layout.department)))
        return self["drift_sd"][draws][:, self._layout.department]

    def offsets(self, draws: np.ndarray, matrix: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return offsets of rows with regressors `matrix`, shape (n_draws, n_rows)."""
        out = np.zeros((len(draws), len(matrix)))
        beta = self.beta(draws)
        for g in np.unique(group):
            rows = group == g
            out[:, rows] = beta[:, g] @ matrix[rows].T
        return out

    def predictor(
        self, draws: np.ndarray | None = None, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, Family]:
        """Return linear predictors and the family of the fitted rows, shape (n_draws, n_rows)."""
        draws = np.arange(self.n) if draws is None else np.asarray(draws)
        rows = np.arange(len(self._layout.node)) if rows is None else np.asarray(rows)
        lay = self._layout
        group = lay.row_department[rows]
        eta = self["level"][draws][:, lay.node[rows]].astype(np.float64)
        eta += self.offsets(draws, lay.matrix[rows], group)
        return self.in_units(eta, lay.series[rows]), self.family(draws, group, lay.series[rows])

    def in_units(self, eta: np.ndarray, series: np.ndarray) -> np.ndarray:
        """Return predictors in the panel's units: unchanged for counts."""
        return eta * self._scale[series] if self._family == "normal" else eta

    def family(self, draws: np.ndarray, group: np.ndarray, series: np.ndarray) -> Family:
        """Return the family of rows, parameters of shape (n_draws, n_rows)."""
        if self._family == "poisson":
            return Poisson()
        if self._family == "normal":
            return Normal(self["noise"][draws][:, group] * self._scale[series])
        spread = self["dispersion"][draws][:, group]
        if self._family == "negbin":
            return NegBin(spread)
        return ZeroInflatedNegBin(spread, self["zero_prob"][draws][:, group])


def expected_demand(family: Family, eta: np.ndarray) -> np.ndarray:
    """Return the mean of demand, which is never negative: of a normal one, E[max(D, 0)]."""
    if isinstance(family, Normal):
        out: np.ndarray = family.conditional_mean(0.0, eta) * np.exp(family.log_survival(0.0, eta))
        return out
    return family.mean(eta)


def prior_densities(posterior: Any, priors: Priors, layout: Layout) -> dict[str, np.ndarray]:
    """Return the log density of each named prior at the draws, shape (chain, draw)."""
    out = {}
    for name in priors.names:
        if name in posterior and name != "coefficient_scale":
            value = posterior[name].to_numpy()
            density = getattr(priors, name).log_density(value)
            out[name] = density.reshape(*value.shape[:2], -1).sum(axis=-1)
    if "coefficient" in posterior:
        from scipy import stats

        value = posterior["coefficient"].to_numpy()
        density = stats.norm(0, layout.prior_sd * priors.coefficient_scale).logpdf(value)
        out["coefficient"] = density.sum(axis=-1)
    return out


def pointwise(
    draws: Draws,
    days: pd.DataFrame,
    seen: pd.DataFrame,
    which: np.ndarray | None,
    rows: np.ndarray | None,
) -> np.ndarray:
    """Return log-likelihoods of fitted days, shape (n_draws, n_rows); 0 where a day says nothing.

    `days` holds sales, `seen` what each row says (``kind, exposure``) under the model's treatment.
    """
    eta, family = draws.predictor(which, rows)
    at = np.arange(len(days)) if rows is None else np.asarray(rows)
    kind, share = (seen[c].to_numpy()[at] for c in ("kind", "exposure"))
    y = np.where(kind == SILENT, 0.0, days[Y].to_numpy(dtype=float)[at])
    found = family.loglik(y, eta, kind == BOUND, np.where(kind == SILENT, 1.0, share))
    return np.where(kind == SILENT, 0.0, found)
