"""Normal and log-normal families against mpmath and scipy, under every kind of censoring."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from scipy import stats

from civstats.censoring import LogNormal, Normal
from civstats.schema import CivstatsError

INTERVALS = [  # (lower, upper) of a N(location 1, scale 2)
    (2.3, 2.3),
    (-40.0, -40.0),
    (0.5, math.inf),
    (60.0, math.inf),
    (-60.0, math.inf),
    (-math.inf, -0.3),
    (-math.inf, -50.0),
    (-1.0, 4.0),
    (30.0, 33.0),
    (-33.0, -30.0),
    (2.0, 2.018),
    (2.0, 2.022),
    (21.0, 21.0001),
    (2.0, 2.0000001),
]


def mp_loglik(low: float, high: float, location: mp.mpf, log_scale: mp.mpf) -> mp.mpf:
    scale = mp.e**log_scale
    if low == high:
        return mp.log(mp.npdf(low, location, scale))
    # erfc from the nearer tail, so that nothing cancels in the reference
    tail = [
        mp.erfc(s * (b - location) / (scale * mp.sqrt(2))) / 2 for b, s in ((low, 1), (high, 1))
    ]
    return mp.log(tail[0] - tail[1])


@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_interval_likelihood_and_derivatives_match_mpmath(low, high):
    with mp.workdps(220):
        f = mp_loglik
        eta, tau = mp.mpf(1), mp.log(2)
        value = f(low, high, eta, tau)
        expected = [
            value,
            mp.diff(lambda e: f(low, high, e, tau), eta, h=mp.mpf(10) ** -50),
            mp.diff(lambda e: f(low, high, e, tau), eta, 2, h=mp.mpf(10) ** -50),
            mp.diff(lambda t: f(low, high, eta, t), tau, h=mp.mpf(10) ** -50),
            mp.diff(lambda t: f(low, high, eta, t), tau, 2, h=mp.mpf(10) ** -50),
            mp.diff(lambda e, t: f(low, high, e, t), (eta, tau), (1, 1), h=mp.mpf(10) ** -50),
        ]
    got = Normal(2.0).interval_loglik(low, high, 1.0)
    np.testing.assert_allclose(
        [float(g) for g in got], [float(e) for e in expected], rtol=2e-9, atol=1e-12
    )


@pytest.mark.parametrize("family", [Normal(1.7), LogNormal(0.8)])
@pytest.mark.parametrize("cens", [False, True])
def test_right_censored_rows_and_exposure_differentiate(family, cens):
    step, y, share = 1e-5, 3.0, 0.6
    values = [family.loglik(y, 0.9 + s * step, cens, share) for s in (-1, 0, 1)]
    grad, hess = family.grad_hess(y, 0.9, cens, share)
    assert grad == pytest.approx((values[2] - values[0]) / (2 * step), abs=1e-8)
    assert hess == pytest.approx((values[2] - 2 * values[1] + values[0]) / step**2, abs=1e-4)


def test_log_normal_matches_scipy():
    family, ref = LogNormal(0.8), stats.lognorm(0.8, scale=np.exp(0.4))
    y = np.array([0.01, 0.5, 2.0, 30.0])
    np.testing.assert_allclose(family.logpdf(y, 0.4), ref.logpdf(y), rtol=1e-12)
    np.testing.assert_allclose(family.log_survival(y, 0.4), ref.logsf(y), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(family.loglik(y, 0.4, True), ref.logsf(y), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(family.cdf(y, 0.4), ref.cdf(y), rtol=1e-12)
    np.testing.assert_allclose(family.quantile([0.1, 0.9], 0.4), ref.ppf([0.1, 0.9]), rtol=1e-12)
    assert family.mean(0.4) == pytest.approx(ref.mean())
    assert family.variance(0.4) == pytest.approx(ref.var())
    for c in (0.3, 2.0, 9.0):
        expected = ref.expect(lambda x: x, lb=c, conditional=True)
        assert family.conditional_mean(c, 0.4) == pytest.approx(expected, rel=1e-6)
    # Exposure multiplies demand.
    assert family.mean(0.4, 0.5) == pytest.approx(0.5 * ref.mean())


def test_log_normal_bounds_at_zero_say_nothing_and_exact_zeros_are_refused():
    family = LogNormal(0.8)
    assert family.loglik(0.0, 2.0, True) == 0.0
    assert family.grad_hess(0.0, 2.0, True) == (0.0, 0.0)
    with pytest.raises(CivstatsError, match="log-normal demand is positive"):
        family.loglik(0.0, 2.0)
    with pytest.raises(CivstatsError, match="lower must not exceed upper"):
        Normal(1.0).interval_loglik([0.0, 2.0], [1.0, 1.0], 0.0)
    with pytest.raises(CivstatsError, match="scale must lie in"):
        LogNormal(-1.0)


@pytest.mark.parametrize(("family", "c"), [(Normal(2.0), 4.0), (LogNormal(0.5), 4.0)])
def test_samplers_keep_the_bound_and_have_the_conditional_mean(family, c):
    draws = family.sample_above(c, 1.0, seed=4, size=40_000)
    assert draws.min() >= c
    mean = float(family.conditional_mean(c, 1.0))
    assert draws.mean() == pytest.approx(mean, abs=4 * draws.std() / 200)
    free = family.sample(1.0, 4, 40_000)
    assert free.mean() == pytest.approx(float(family.mean(1.0)), abs=4 * free.std() / 200)


def test_far_tail_of_the_normal_keeps_its_digits():
    """E[Z - z | Z >= z] is about 1 / z: a difference of nearly equal numbers in the naive form."""
    for z in (5.0, 39.9, 40.1, 1e3, 1e6):
        with mp.workdps(60):
            exact = mp.npdf(z) / (mp.erfc(z / mp.sqrt(2)) / 2) - z
        got = Normal(1.0).conditional_mean(z, 0.0) - z
        assert got == pytest.approx(float(exact), rel=1e-9, abs=2e-16 * z)
        assert Normal(1.0).sample_above(z, 0.0, 1, 100).min() >= z
