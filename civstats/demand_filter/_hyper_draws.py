"""How far hyperparameters may lie from their estimates: draws from the groups' hierarchical posterior."""

from __future__ import annotations

import numpy as np

from civstats.demand_filter.empirical_bayes import Estimate, shrink

_SPREADS = np.linspace(0.0, 2.0, 81)
_SPREAD_SD = 0.5
"""Of the half-normal prior of how far groups lie apart, on the unbounded scales (Gelman 2006)."""


def draw_moves(
    estimates: dict[str, Estimate], names: list[str], n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw n departures of every group's hyperparameters, shape (n, n_groups, n_names).

    What a group's estimate was shrunk by holds here too: theta_g ~ N(m, tau^2), its estimate
    ~ N(theta_g, V_g). Drawn are tau, then m, then theta_g (the posterior of Rubin's eight schools,
    1981), less the shrunken estimate, a parameter at a time on its unbounded scale. So all groups
    share the error of m, and each has one of its own that its data leave. V_g is the larger of
    sandwich and inverse curvature, as a sandwich over a handful of series is too small. A group
    without an estimate, launched after the fit, moves with the whole.

    Parameters
    ----------
    estimates : dict of str to Estimate
        Of "all" and of the groups.
    names : list of str
        Groups.
    n : int
    rng : numpy.random.Generator
    """
    whole = estimates["all"]
    pooled = whole.departures(rng, n)
    out = np.repeat(pooled[:, None], len(names), axis=1)
    fitted = np.flatnonzero([name in estimates for name in names])
    if len(fitted) < 2:
        return out
    groups = [estimates[names[g]] for g in fitted]
    theta = np.stack([g.theta for g in groups])
    variance = np.stack([_variance(g) for g in groups])
    shrunk = shrink(whole, groups)
    for j in range(len(whole.names)):
        known = np.isfinite(variance[:, j]) & (variance[:, j] > 0)
        if known.sum() < 2 or whole.names[j] in whole.profiles:
            continue
        centre, spread, own = _eight_schools(theta[known, j], variance[known, j], n, rng)
        out[:, fitted[known], j] = own - shrunk[known, j]
        for g in fitted[~known]:
            free = centre + spread * rng.standard_normal(n)
            out[:, g, j] = free - shrunk[fitted == g, j]
    return out


def _variance(group: Estimate) -> np.ndarray:
    with np.errstate(divide="ignore"):
        model = np.where(group.information > 0, 1 / group.information, np.inf)
    return np.maximum(np.diag(group.covariance), model)


def _eight_schools(
    estimate: np.ndarray, variance: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw centre, spread (n,) and each group's value (n, n_groups)."""
    total = variance + np.square(_SPREADS)[:, None]
    weight = 1 / total
    sums = weight.sum(axis=1)
    centre = (weight * estimate).sum(axis=1) / sums
    log = -0.5 * (np.log(total).sum(axis=1) + np.log(sums))
    log -= 0.5 * (weight * np.square(estimate - centre[:, None])).sum(axis=1)
    log -= 0.5 * np.square(_SPREADS / _SPREAD_SD)
    chance = np.exp(log - log.max())
    pick = rng.choice(len(_SPREADS), size=n, p=chance / chance.sum())
    middle = centre[pick] + rng.standard_normal(n) / np.sqrt(sums[pick])
    between = np.square(_SPREADS[pick])[:, None]
    share = between / (between + variance)
    mean = share * estimate + (1 - share) * middle[:, None]
    own = mean + np.sqrt(share * variance) * rng.standard_normal(share.shape)
    return middle, _SPREADS[pick], own
