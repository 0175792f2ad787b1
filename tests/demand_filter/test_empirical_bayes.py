"""Estimates by marginal likelihood on likelihoods whose answers are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from civstats.demand_filter.empirical_bayes import (
    SCALES,
    Estimate,
    describe,
    heterogeneity,
    individual,
    maximise,
    shrink,
)


def normal(x: np.ndarray):
    """Log-likelihood of log dispersion as the mean of normal observations, (n_series, n_days)."""

    def loglik(values: dict[str, float]) -> np.ndarray:
        return stats.norm.logpdf(x, np.log(values["dispersion"]), 1.0).sum(axis=1)

    return loglik


def described(x: np.ndarray) -> Estimate:
    def each(theta: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(x, theta[0], 1.0).sum(axis=1)

    return describe(each, ("dispersion",), np.array([x.mean()]))


def test_maximum_and_sandwich_are_those_of_a_mean():
    rng = np.random.default_rng(0)
    x = 1.0 + rng.normal(0, 0.4, (200, 1)) + rng.normal(0, 1, (200, 6))
    found = maximise(normal(x), ("dispersion",))
    assert found.theta[0] == pytest.approx(x.mean(), abs=0.02)
    # Days of a series hang together: the error is that of the mean of the series' means.
    error = x.mean(axis=1).std() / np.sqrt(200)
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(error, rel=0.05)
    low, high = found.interval("dispersion")
    assert np.log([low, high]) == pytest.approx(
        found.theta[0] + 1.96 * error * np.r_[-1, 1], abs=0.01
    )


def test_cross_derivatives_enter_the_sandwich():
    """Two parameters that the data cannot tell apart well: a regression on collinear columns."""
    rng = np.random.default_rng(1)
    z = np.stack([np.ones(300), rng.normal(1, 0.3, 300)], axis=1)
    y = z @ [0.5, -2.0] + rng.normal(size=300)

    def each(theta: np.ndarray) -> np.ndarray:
        return stats.norm.logpdf(y, z @ theta, 1.0)

    theta = np.linalg.lstsq(z, y, rcond=None)[0]
    found = describe(each, ("dispersion", "level_sd"), np.array([theta[0], theta[1]]))
    bread = np.linalg.inv(z.T @ z)
    residual = y - z @ theta
    meat = (z * residual[:, None]).T @ (z * residual[:, None])
    np.testing.assert_allclose(found.covariance, bread @ meat @ bread, rtol=1e-4)


def test_few_passes_find_the_maximum():
    """Two parameters that pull on each other, from a poor start."""
    calls = []

    def loglik(values: dict[str, float]) -> np.ndarray:
        a, b = np.log(values["dispersion"]) - 1.2, np.log(values["level_sd"]) + 3.0
        calls.append(values)
        return np.array([-400 * a**2 - 300 * b**2 + 500 * a * b - 50 * a**4])

    found = maximise(loglik, ("dispersion", "level_sd"), {"dispersion": 20.0, "level_sd": 0.3})
    np.testing.assert_allclose(found.theta, [1.2, -3.0], atol=0.02)
    assert len(calls) < 50


def test_jumps_of_the_likelihood_do_not_reach_the_sandwich():
    """On a grid the likelihood jumps where a day takes one move of the level more."""
    rng = np.random.default_rng(4)
    x = rng.normal(-2.0, 1.0, (80, 40))
    jump = 0.1 * rng.gamma(1.0, 1.0, 80)

    def each(theta: np.ndarray) -> np.ndarray:
        smooth = stats.norm.logpdf(x, theta[0], 1.0).sum(axis=1)
        return smooth + jump * (theta[0] > x.mean() + 0.04)

    found = describe(each, ("level_sd",), np.array([x.mean()]))
    error = x.mean(axis=1).std() / np.sqrt(80)
    assert np.sqrt(found.covariance[0, 0]) == pytest.approx(error, rel=0.15)


def test_an_end_of_the_range_is_said():
    found = maximise(lambda v: np.full(5, np.log(v["dispersion"])), ("dispersion",))
    assert found.at_boundary == (True,)
    assert found.in_units["dispersion"] == pytest.approx(SCALES["dispersion"].high, rel=0.1)
    assert np.isinf(found.covariance[0, 0])
    # Five series, each with log-likelihood theta: the deviance at distance d is 10 d.
    low, high = found.interval("dispersion")
    reach = stats.chi2.ppf(0.90, 1) / 10
    assert np.log(low) == pytest.approx(np.log(found.in_units["dispersion"]) - reach, rel=1e-3)
    assert high == pytest.approx(found.in_units["dispersion"])


def too_narrow(n: int = 60, days: int = 30):
    """Normal observations that vary less than they can.

    The second half may have a random effect's variance on top of 1, whose sd is then estimated at
    its lower end.
    """
    rng = np.random.default_rng(11)
    x = rng.normal(0.4, 0.98, (n, days))
    x[n // 2 :] -= 0.05

    def each(theta: np.ndarray) -> np.ndarray:
        mean, sd = theta[0], np.ones((n, 1))
        sd[n // 2 :] = np.sqrt(1 + np.exp(2 * theta[1]))
        return stats.norm.logpdf(x, mean, sd).sum(axis=1)

    return each


def test_at_a_boundary_the_profile_likelihood_says_how_far():
    from scipy import optimize

    each = too_narrow()
    names = ("dispersion", "level_sd")
    end = np.log(SCALES["level_sd"].low)
    mean = optimize.minimize_scalar(lambda m: -each(np.array([m, end])).sum()).x
    found = describe(each, names, np.array([mean, end]))
    assert found.at_boundary == (False, True)

    def best(theta: float) -> float:
        return -optimize.minimize_scalar(lambda m: -each(np.array([m, theta])).sum()).fun

    limit = stats.chi2.ppf(0.90, 1) / 2
    exact = optimize.brentq(lambda t: best(end) - best(t) - limit, end, 0.0)
    low, high = found.interval("level_sd")
    assert low == pytest.approx(SCALES["level_sd"].low)
    assert np.log(high) == pytest.approx(exact, abs=0.03)

    draws = found.departures(np.random.default_rng(0), 4000)
    assert (draws[:, 1] >= 0).all()
    # The density on the unbounded scale is that of the profile, by quadrature.
    at = np.linspace(end, exact + 1.5, 800)
    density = np.exp([best(t) - best(end) for t in at])
    expected = (density * (at - end)).sum() / density.sum()
    assert draws[:, 1].mean() == pytest.approx(expected, rel=0.03)
    moved = found.moved("level_sd", np.array([SCALES["level_sd"].low, 0.2]), 1.0)
    np.testing.assert_allclose(moved, [SCALES["level_sd"].low * np.e, 0.2], rtol=1e-9)


def estimate(theta: float, variance: float) -> Estimate:
    return Estimate(
        ("dispersion",), np.array([theta]), np.array([[variance]]), np.zeros((1, 1)),
        np.zeros((1, 1)), np.zeros(1), (False,), 0.0,
    )  # fmt: skip


def test_shrinkage_is_dersimonian_and_lairds():
    from statsmodels.stats.meta_analysis import combine_effects

    theta, variance = np.array([0.2, 0.9, 1.4, 0.5]), np.array([0.02, 0.05, 0.04, 0.2])
    groups = [estimate(t, v) for t, v in zip(theta, variance, strict=True)]
    out = shrink(estimate(0.7, 0.01), groups)[:, 0]
    found = combine_effects(theta, variance, method_re="dl")
    between, centre = found.tau2, found.mean_effect_re
    np.testing.assert_allclose(out, centre + between / (between + variance) * (theta - centre))


def test_a_group_that_says_nothing_takes_the_others_mean():
    groups = [estimate(0.2, 0.1), estimate(0.3, 0.1), estimate(5.0, np.inf)]
    out = shrink(estimate(0.7, 0.01), groups)[:, 0]
    np.testing.assert_allclose(out, 0.25)
    lone = shrink(estimate(0.7, 0.01), [estimate(5.0, np.inf), estimate(0.2, 0.1)])[:, 0]
    np.testing.assert_allclose(lone, [0.7, 0.2])


def test_heterogeneity_has_its_size_and_power():
    rng = np.random.default_rng(2)
    p_values = [
        heterogeneity(described(rng.normal(0.5, 1, (150, 8))), "dispersion").p_value
        for _ in range(300)
    ]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    x = rng.normal(0.5, 0.5, (400, 1)) + rng.normal(0, 1, (400, 8))
    found = heterogeneity(described(x), "dispersion")
    assert found.p_value < 1e-4
    assert found.sd == pytest.approx(0.5, rel=0.2)


def test_individual_values_are_shrunk_as_a_normal_prior_asks():
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 0.6, 2000)
    seen, information = truth + rng.normal(0, 0.5, 2000), 4.0

    def loglik(dispersion: np.ndarray) -> np.ndarray:
        return -0.5 * information * np.square(np.log(dispersion) - np.log(2.0) - seen)

    out = np.log(individual(loglik, np.full(2000, 2.0), "dispersion")) - np.log(2.0)
    share = 0.36 / (0.36 + 0.25)
    middle = np.abs(seen) < 1.5
    assert np.polyfit(seen[middle], out[middle], 1)[0] == pytest.approx(share, abs=0.06)
    assert np.square(out - truth).mean() < 0.7 * np.square(seen - truth).mean()
