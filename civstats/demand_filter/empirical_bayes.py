"""Hyperparameters by maximum marginal likelihood: pooled, by group with shrinkage, sandwich errors.

The log marginal likelihood of a series comes from the filter's forward pass. It is maximised over
all series together, then over each group, and the groups' estimates are shrunk towards the whole by
a random-effects model (empirical Bayes; Morris 1983), each parameter on its own unbounded scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from civstats.demand_filter._estimate import AT_END, Estimate
from civstats.demand_filter._profile import profile
from civstats.demand_filter._scales import SCALES, bounds_of

LogLikelihood = Callable[[dict[str, float]], np.ndarray]
"""Values of the free parameters to the log marginal likelihood of each series."""


_NEAR = 0.01
"""How near the maximum is looked for, on the unbounded scale: a per cent, mostly."""


def maximise(
    loglik: LogLikelihood, names: tuple[str, ...], start: dict[str, float] | None = None
) -> Estimate:
    """Maximise the summed log marginal likelihood of some series.

    Parameters
    ----------
    loglik : callable
        From values of the free parameters to the log-likelihood of each series, shape (n_series,).
    names : tuple of str
        Free parameters, keys of `SCALES`.
    start : dict, optional
        Where to start, in the parameters' own units.

    Notes
    -----
    By quadratic models in a trust region (COBYQA; Ragonneau 2022): every likelihood is a pass over
    all days, and on so smooth a surface this takes less than half of the passes that a simplex
    does.
    """
    start = start or {}
    bounds = bounds_of(names)
    first = [SCALES[n].to(start.get(n, SCALES[n].start)) for n in names]
    first = [float(np.clip(x, low, high)) for x, (low, high) in zip(first, bounds, strict=True)]

    def each(theta: np.ndarray) -> np.ndarray:
        return loglik({n: SCALES[n].back(float(t)) for n, t in zip(names, theta, strict=True)})

    def loss(theta: np.ndarray) -> float:
        return -float(each(theta).sum())

    found = optimize.minimize(
        loss,
        first,
        method="COBYQA",
        bounds=bounds,
        options={"initial_tr_radius": 0.4, "final_tr_radius": _NEAR, "maxfev": 250},
    )
    return describe(each, names, np.asarray(found.x, dtype=float))


def describe(
    each: Callable[[np.ndarray], np.ndarray], names: tuple[str, ...], theta: np.ndarray
) -> Estimate:
    """Return scores, curvatures and the sandwich covariance at a point of the unbounded scale."""
    k = len(names)
    bounds = np.array(bounds_of(names))
    at_end = (np.abs(theta[:, None] - bounds) < AT_END).any(axis=1)
    here = each(theta)
    step = np.array([SCALES[n].step for n in names])
    steps = np.diag(step)
    up = np.stack([each(theta + s) for s in steps], axis=1)
    down = np.stack([each(theta - s) for s in steps], axis=1)
    scores = (up - down) / (2 * step)
    curvatures = (up + down - 2 * here[:, None]) / step**2
    hessian = np.diag(curvatures.sum(axis=0))
    for i in range(k):
        for j in range(i):
            both = each(theta + steps[i] + steps[j]) + each(theta - steps[i] - steps[j])
            mixed = both + 2 * here - up[:, i] - down[:, i] - up[:, j] - down[:, j]
            hessian[i, j] = hessian[j, i] = float(mixed.sum()) / (2 * step[i] * step[j])
    covariance = np.full((k, k), 0.0)
    inside = np.flatnonzero(~at_end & (np.diag(hessian) < 0))
    if len(inside):
        bread = np.linalg.pinv(-hessian[np.ix_(inside, inside)])
        meat = scores[:, inside].T @ scores[:, inside]
        covariance[np.ix_(inside, inside)] = bread @ meat @ bread
    for j in set(range(k)) - set(inside):
        covariance[j, j] = np.inf
    within = hessian[np.ix_(inside, inside)]
    profiles = {
        names[j]: profile(each, names, theta, int(j), inside, within)
        for j in np.flatnonzero(at_end)
    }
    return Estimate(
        names,
        theta,
        covariance,
        scores,
        curvatures,
        -np.diag(hessian),
        tuple(bool(x) for x in at_end),
        float(here.sum()),
        profiles,
    )


def shrink(whole: Estimate, groups: list[Estimate]) -> np.ndarray:
    """Shrink the groups' estimates towards the whole, a parameter at a time.

    Parameters
    ----------
    whole : Estimate
    groups : list of Estimate

    Returns
    -------
    numpy.ndarray, shape (n_groups, n_names)
        On the unbounded scales. A group whose estimate lies at a boundary, or has no curvature,
        has nothing to say of that parameter and takes the mean of the others.

    Notes
    -----
    theta_g ~ N(m, T), its estimate ~ N(theta_g, V_g): m and T by the method of moments
    (DerSimonian and Laird 1986), the posterior mean given both. The mean is that of the groups, the
    whole where no group has a variance.
    """
    theta = np.stack([g.theta for g in groups])
    variance = np.stack([np.diag(g.covariance) for g in groups])
    out = np.empty_like(theta)
    for j in range(theta.shape[1]):
        known = np.isfinite(variance[:, j]) & (variance[:, j] > 0)
        if known.sum() < 2:
            out[:, j] = np.where(known, theta[:, j], whole.theta[j])
            continue
        v, t = variance[known, j], theta[known, j]
        weight = 1 / v
        centre = np.average(t, weights=weight)
        q = float((weight * np.square(t - centre)).sum())
        spare = weight.sum() - np.square(weight).sum() / weight.sum()
        between = max(0.0, (q - (len(t) - 1)) / spare)
        centre = np.average(t, weights=1 / (v + between))
        out[:, j] = centre
        out[known, j] = centre + between / (between + v) * (t - centre)
    return out


@dataclass(frozen=True)
class Heterogeneity:
    """Whether a parameter differs between series, and by how much.

    Attributes
    ----------
    statistic : float
        Standard normal where it does not; large where it does.
    p_value : float
        One-sided.
    sd : float
        Estimated standard deviation between series on the unbounded scale; 0 if none is seen.
    """

    statistic: float
    p_value: float
    sd: float


def heterogeneity(estimate: Estimate, name: str) -> Heterogeneity:
    """Test whether a parameter is the same for all series.

    The information matrix test of White (1982), which Chesher (1984) showed to be the score test
    against a parameter that varies: s^2 + h, score squared plus curvature of a series, averages to
    0 if the parameter is one for all, and to (variance x information^2) if it is not. Its variance
    is that of the part which the scores do not explain, since the parameters were estimated.
    """
    j = estimate.names.index(name)
    excess = np.square(estimate.scores[:, j]) + estimate.curvatures[:, j]
    left = excess
    if estimate.scores.size:
        beta = np.linalg.lstsq(estimate.scores, excess, rcond=None)[0]
        left = excess - estimate.scores @ beta
    spread = float(np.sqrt(np.square(left - left.mean()).sum()))
    statistic = float(left.sum()) / spread if spread > 0 else 0.0
    information = np.maximum(-estimate.curvatures[:, j], 0.0)
    total = float(np.square(information).sum())
    variance = max(0.0, float(excess.sum()) / total) if total > 0 else 0.0
    return Heterogeneity(statistic, float(stats.norm.sf(statistic)), float(np.sqrt(variance)))


def individual(
    loglik: Callable[[np.ndarray], np.ndarray], centre: np.ndarray, name: str
) -> np.ndarray:
    """Return a parameter of each series, shrunk to its group's value.

    The posterior mode of a normal departure on the unbounded scale, from the series' likelihood at
    a few points and the variance between series that they imply (empirical Bayes).

    Parameters
    ----------
    loglik : callable
        From one value per series to the log-likelihood of each.
    centre : numpy.ndarray, shape (n_series,)
        Values of the groups.
    name : str
        The parameter, a key of `SCALES`.

    Returns
    -------
    numpy.ndarray, shape (n_series,)
    """
    scale = SCALES[name]
    to, back = np.vectorize(scale.to), np.vectorize(scale.back)
    theta = to(centre)
    departures = np.array([-2.4, -1.6, -0.8, -0.4, 0.0, 0.4, 0.8, 1.6, 2.4])
    ends = scale.to(scale.low), scale.to(scale.high)
    values = np.stack([loglik(back(np.clip(theta + d, *ends))) for d in departures], axis=1)
    # Weights of the departures by EM: a normal whose variance is estimated.
    likelihood = np.exp(values - values.max(axis=1, keepdims=True))
    cell = np.gradient(departures)
    sd = 0.5
    for _ in range(100):
        prior = cell * stats.norm.pdf(departures, 0.0, max(sd, 0.02))
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        moved = float(np.sqrt((posterior @ np.square(departures)).mean()))
        if abs(moved - sd) < 1e-4:
            break
        sd = moved
    return np.asarray(back(theta + posterior @ departures))
