"""An estimate of hyperparameters: the point, its covariance, what is known at a boundary."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from civstats.demand_filter._profile import Profile
from civstats.demand_filter._scales import SCALES

AT_END = 0.16
"""How near to an end of the range an estimate counts as being there."""


@dataclass(frozen=True)
class Estimate:
    """What maximum marginal likelihood found for one set of series.

    Attributes
    ----------
    names : tuple of str
    theta : numpy.ndarray, shape (n_names,)
        On the unbounded scales.
    covariance : numpy.ndarray, shape (n_names, n_names)
        Sandwich over series (White 1982); infinite variance at a boundary.
    scores : numpy.ndarray, shape (n_series, n_names)
        Derivatives of each series' log-likelihood at the estimate.
    curvatures : numpy.ndarray, shape (n_series, n_names)
        Second derivatives of the same, the diagonal.
    information : numpy.ndarray, shape (n_names,)
        Observed, the diagonal: less the curvatures' sum. Stored where the series' own are not.
    at_boundary : tuple of bool
        Where the likelihood still rises at the end of the range: the estimate is that end.
    loglik : float
    profiles : dict of str to Profile
        Of the parameters at a boundary.
    """

    names: tuple[str, ...]
    theta: np.ndarray
    covariance: np.ndarray
    scores: np.ndarray
    curvatures: np.ndarray
    information: np.ndarray
    at_boundary: tuple[bool, ...]
    loglik: float
    profiles: dict[str, Profile] = field(default_factory=dict)

    @property
    def in_units(self) -> dict[str, float]:
        """Return the estimates in the parameters' own units."""
        return {n: SCALES[n].back(float(t)) for n, t in zip(self.names, self.theta, strict=True)}

    def interval(self, name: str, probability: float = 0.95) -> tuple[float, float]:
        """Return an interval of a parameter, in its own units.

        Wald's, built on the unbounded scale; at a boundary from the end to where the profile
        likelihood has fallen far enough.
        """
        j = self.names.index(name)
        if name in self.profiles:
            scale, found = SCALES[name], self.profiles[name]
            reached = scale.back(float(self.theta[j] + found.inwards * found.reach(probability)))
            return tuple(sorted((scale.back(float(self.theta[j])), reached)))  # type: ignore[return-value]
        half = stats.norm.ppf(0.5 + probability / 2) * np.sqrt(self.covariance[j, j])
        scale = SCALES[name]
        ends = np.clip(
            [self.theta[j] - half, self.theta[j] + half], scale.to(scale.low), scale.to(scale.high)
        )
        return scale.back(float(ends[0])), scale.back(float(ends[1]))

    def departures(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw how far the truth may lie from the estimate, shape (n, n_names), unbounded scales.

        Normal with the sandwich covariance; at a boundary by the profile likelihood, inwards.
        """
        free = np.isfinite(np.diag(self.covariance))
        covariance = np.where(np.outer(free, free), self.covariance, 0.0)
        out = rng.multivariate_normal(np.zeros(len(free)), covariance, size=n, method="eigh")
        for name, found in self.profiles.items():
            out[:, self.names.index(name)] = found.draw(rng, n)
        return out

    def moved(self, name: str, values: np.ndarray, by: np.ndarray | float) -> np.ndarray:
        """Return values of a parameter, in its own units, moved on the unbounded scale.

        Where the estimate is an end of the range, only values at that end have its departure.
        """
        scale, j = SCALES[name], self.names.index(name)
        ends = scale.to(scale.low), scale.to(scale.high)
        theta = np.clip([scale.to(float(v)) for v in np.ravel(values)], *ends)
        if name in self.profiles:
            by = np.where(np.abs(theta - self.theta[j]) < AT_END, by, 0.0)
        return np.array([scale.back(float(x)) for x in np.clip(theta + by, *ends)])
