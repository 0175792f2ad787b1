"""Conditional rows against the family classes, scipy and plain sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats

from civstats.censoring import LogNormal, NegBin, Normal
from civstats.censoring import _conditional_rows as given
from civstats.censoring import _row_kernels as rows

LEVELS = np.linspace(-4.0, 5.0, 19)


def above(c, shift, size, levels=LEVELS):
    alpha = 0.0 if math.isinf(size) else 1 / size
    table = np.empty(rows.TABLE)
    rows.fill_constants(table, alpha)
    mean, start, grow = (np.empty(len(levels)) for _ in range(3))
    work = np.empty((4, len(levels)))
    given.above(mean, start, grow, c, levels, np.exp(levels), shift, alpha, table, work)
    return mean, start, grow


def pmf_from(c, start, grow, alpha, n):
    """The pmf of one row from c on, as the recursion says."""
    k = c + np.arange(n)
    steps = np.log(grow) + np.log1p(alpha * k[:-1]) - np.log(k[:-1] + 1)
    return np.exp(np.log(start) + np.r_[0.0, np.cumsum(steps)])


@settings(max_examples=100, deadline=None)
@forall(c=st.integers(0, 300), shift=st.floats(-3, 3), log_size=st.floats(-2, 20))
def test_means_are_those_of_the_family(c, shift, log_size):
    size = math.exp(log_size)
    mean, start, _ = above(float(c), shift, size)
    family = NegBin(size)
    want = family.conditional_mean(c, LEVELS + shift)
    np.testing.assert_allclose(mean, want, rtol=1e-8)
    assert (mean >= c).all()
    hazard = family.logpmf(c, LEVELS + shift) - family.log_survival(c, LEVELS + shift)
    np.testing.assert_allclose(start, np.exp(hazard), rtol=1e-8, atol=1e-300)


@pytest.mark.parametrize("c", [0, 1, 7])
@pytest.mark.parametrize("size", [0.6, 3.0, np.inf])
def test_the_recursion_is_the_conditional_pmf(c, size):
    shift, levels = 0.3, np.array([-1.0, 0.5, 2.0])
    _, start, grow = above(float(c), shift, size, levels)
    alpha = 0.0 if math.isinf(size) else 1 / size
    for g, level in enumerate(levels):
        mu = math.exp(level + shift)
        law = stats.poisson(mu) if alpha == 0 else stats.nbinom(size, size / (size + mu))
        k = c + np.arange(20)
        got = pmf_from(c, start[g], grow[g], alpha, 20)
        np.testing.assert_allclose(got, law.pmf(k) / law.sf(c - 1), rtol=1e-9)


@pytest.mark.parametrize("size", [0.7, 4.0, np.inf])
@pytest.mark.parametrize("share", [0.2, 0.9])
@pytest.mark.parametrize("y", [0, 3, 11])
def test_the_rest_of_a_part_day_is_bayes_over_the_gamma_of_the_day(y, share, size):
    """Against the joint pmf of both parts, one gamma factor shared, by quadrature."""
    level, shift = 0.9, 0.4
    alpha = 0.0 if math.isinf(size) else 1 / size
    mean, start, grow = (np.empty(1) for _ in range(3))
    own = given.rest(mean, start, grow, float(y), share, np.exp([level]), shift, alpha)
    mu = math.exp(level + shift)
    if alpha:
        factor = np.exp(np.linspace(-40, 5, 20_000))
        weight = stats.gamma(size, scale=1 / size).pdf(factor) * factor
    else:
        factor, weight = np.ones(1), np.ones(1)
    weight = weight * stats.poisson.pmf(y, mu * share * factor)
    weight /= weight.sum()
    k = np.arange(400)
    want = (stats.poisson.pmf(k[:, None], mu * (1 - share) * factor) * weight).sum(axis=1)
    got = pmf_from(0, start[0], grow[0], own, 400)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(mean[0], (k * got).sum(), rtol=1e-5)


PROBS = np.array([0.025, 0.1, 0.5, 0.9, 0.975])


@pytest.mark.parametrize("c", [0, 1, 6, 140])
@pytest.mark.parametrize("size", [0.5, 4.0, np.inf])
@pytest.mark.parametrize("scale", [0.0, 3.0, 9.0])
def test_quantiles_of_a_mixture(c, size, scale):
    """Against the summed conditional cdf, for units a day and for thousands."""
    levels = LEVELS + scale
    mean, start, grow = above(float(c), 0.0, size, levels)
    weights = stats.norm.pdf(levels, 1.0 + scale, 0.7)
    mass = 0.15
    weights *= (1 - mass) / weights.sum()
    out = np.empty(len(PROBS))
    alpha = np.full(len(levels), 0.0 if math.isinf(size) else 1 / size)
    given.mixture_quantiles(
        out, PROBS, weights, mean, start, grow, alpha, mass, float(c), np.empty(len(levels))
    )
    family = NegBin(size)

    def cdf(d):
        over = family.log_survival(d + 1, levels) - family.log_survival(c, levels)
        return mass + (weights * -np.expm1(over)).sum()

    for p, d in zip(PROBS, out, strict=True):
        assert d >= c
        assert cdf(d) >= p - 1e-8
        if d > c:
            assert cdf(d - 1) < p + 1e-8


@pytest.mark.parametrize("c", [-np.inf, -60.0, 0.2, 4.0, 30.0])
def test_continuous_means_are_those_of_the_family(c):
    for location in (-1.0, 0.0, 2.5):
        if c > -np.inf:
            want = float(Normal(1.3).conditional_mean(c, location))
            assert given.normal_above(c, location, 1.3) == pytest.approx(want, rel=1e-10)
        else:
            assert given.normal_above(c, location, 1.3) == location
        want = LogNormal(0.6).conditional_mean(np.exp(c), location)
        assert given.log_normal_above(c, location, 0.6) == pytest.approx(float(want), rel=1e-10)


@pytest.mark.parametrize("c", [-np.inf, 0.5, 3.0])
def test_continuous_quantiles(c):
    location, scale = np.array([-0.5, 1.0, 2.0]), 0.8
    weights = np.array([0.2, 0.5, 0.3])
    out = np.empty(len(PROBS))
    given.normal_mixture_quantiles(out, PROBS, weights, location, scale, c)
    law = stats.norm(location, scale)
    below = [(weights * (1 - law.sf(q) / law.sf(c))).sum() for q in out]
    np.testing.assert_allclose(below, PROBS, atol=1e-10)
