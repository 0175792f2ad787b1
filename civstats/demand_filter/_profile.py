"""Profile likelihood of a parameter whose estimate is an end of its range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import interpolate, stats

from civstats.demand_filter._scales import SCALES, bounds_of

_FAR = 8.0
"""Deviance up to which the profile is followed: beyond it lies less than a quarter per cent."""
_REFINED = 6
"""Points put where the deviance rises most between two of them."""


@dataclass(frozen=True)
class Profile:
    """Profile likelihood from an end of the range inwards.

    Attributes
    ----------
    distance : numpy.ndarray, shape (n_points,)
        From the end, on the unbounded scale; the first is 0.
    deviance : numpy.ndarray, shape (n_points,)
        Twice the fall of the log-likelihood, the other parameters at their best; rising.
    inwards : float
        1 if the range lies above the end, -1 if below.
    """

    distance: np.ndarray
    deviance: np.ndarray
    inwards: float

    def reach(self, probability: float = 0.95) -> float:
        """Return how far from the end a one-sided confidence interval reaches.

        At a boundary the likelihood ratio is 0 half of the time and chi-squared with one degree of
        freedom otherwise (Self and Liang 1987). As far as the profile was followed, if it is flat.
        """
        limit = stats.chi2.ppf(max(2 * probability - 1, 0.0), 1)
        fine, deviance = self._fine()
        return float(np.interp(limit, deviance, fine))

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draw n departures from the end, of density exp(-deviance / 2), shape (n,)."""
        fine, deviance = self._fine()
        density = np.exp(-deviance / 2)
        cumulative = np.r_[0.0, np.cumsum((density[1:] + density[:-1]) / 2)]
        u = rng.random(n) * cumulative[-1]
        return self.inwards * np.interp(u, cumulative, fine)

    def _fine(self) -> tuple[np.ndarray, np.ndarray]:
        """Return distances evenly apart, and the deviance there, rising as its points do."""
        fine = np.linspace(0.0, self.distance[-1], 400)
        return fine, interpolate.PchipInterpolator(self.distance, self.deviance)(fine)


def profile(
    each: Callable[[np.ndarray], np.ndarray],
    names: tuple[str, ...],
    theta: np.ndarray,
    j: int,
    inside: np.ndarray,
    hessian: np.ndarray,
) -> Profile:
    """Follow the profile likelihood of parameter j from the end it lies at.

    Parameters
    ----------
    each : callable
        From a point of the unbounded scale to the log-likelihood of each series.
    names : tuple of str
    theta : numpy.ndarray, shape (n_names,)
        The estimate.
    inside : numpy.ndarray of int
        The other parameters that are not at an end.
    hessian : numpy.ndarray, shape (n_inside, n_inside)
        Of the log-likelihood in them.

    Notes
    -----
    The other parameters are put at their best by one Newton step with the curvature at the
    estimate, whose rise of the likelihood is added: gradients are some passes over the days, a new
    search would be dozens.
    """
    low, high = bounds_of((names[j],))[0]
    inwards = 1.0 if abs(theta[j] - low) < abs(high - theta[j]) else -1.0
    solve = np.linalg.pinv(-hessian) if len(inside) else np.zeros((0, 0))

    def best(distance: float) -> float:
        at = theta.copy()
        at[j] = np.clip(theta[j] + inwards * distance, low, high)
        slope = np.empty(len(inside))
        for k, i in enumerate(inside):
            move = np.zeros(len(theta))
            move[i] = SCALES[names[i]].step
            slope[k] = (each(at + move).sum() - each(at - move).sum()) / (2 * move[i])
        return float(each(at).sum() + slope @ solve @ slope / 2)

    at_end = best(0.0)
    widest = high - low - abs(theta[j] - (low if inwards > 0 else high))
    found = {0.0: 0.0}
    distance = 0.0
    while distance < widest and found[distance] <= _FAR:
        distance = min(max(2 * distance, SCALES[names[j]].step), widest)
        found[distance] = 2 * (at_end - best(distance))
    for _ in range(_REFINED):
        points = sorted(found)
        rises = np.diff(np.clip([found[d] for d in points], 0.0, _FAR))
        if rises.max() < 0.5:
            break
        k = int(np.argmax(rises))
        middle = (points[k] + points[k + 1]) / 2
        found[middle] = 2 * (at_end - best(middle))
    distances = np.array(sorted(found))
    # The end itself may be a little below the top: the estimate stops within a step of it.
    deviance = np.maximum.accumulate(np.maximum([found[d] for d in distances], 0.0))
    return Profile(distances, deviance, inwards)
