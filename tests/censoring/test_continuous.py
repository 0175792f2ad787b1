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


def mp_upper(z: mp.mpf) -> mp.mpf:
    return mp.erfc(z / mp.sqrt(2)) / 2


def mp_mills(z: mp.mpf) -> mp.mpf:
    """(1 - Phi(z)) / phi(z): beyond 500 as an integral, for erfc of mpmath gives up."""
    if z < 500:
        return mp_upper(z) / mp.npdf(z)
    return mp.quad(lambda x: mp.exp(-z * x - x * x / 2), [k / z for k in (0, 1, 4, 20, 100, 300)])


@pytest.mark.parametrize(
    ("c", "eta", "scale"),
    [
        (1000.0, 0.0, 1e-3),
        (1e300, 0.0, 1e-3),
        (2.0, 0.0, 1e-6),
        (2.0, 0.0, 0.01),
        (1.0001, 0.0, 1e-3),
        (0.9, 0.0, 1e-2),
        (30.0, 1.0, 0.2),
        (3.0, 1.0, 0.5),
        (3.0, 1.0, 0.51),
        (1e300, 0.0, 0.51),
        (1e300, 0.0, 20.0),
        (1e-200, 0.0, 3.0),
        (1e-9, 0.0, 35.0),
    ],
)
def test_lost_units_of_the_log_normal_keep_their_digits(c, eta, scale):
    with mp.workdps(120):
        s = mp.mpf(scale)
        z = (mp.log(mp.mpf(c)) - eta) / s
        excess = c * (mp_mills(z - s) / mp_mills(z) - 1)
    got = float(LogNormal(scale).conditional_mean(c, eta))
    # Half a unit in the last place of the sum is what a double can hold of the excess.
    assert got - c == pytest.approx(float(excess), rel=1e-11, abs=float(np.spacing(c)))
    assert got > c


BETWEEN = [*INTERVALS, (-math.inf, 70.0), (100.0, 100.5), (2001.0, 2003.0), (-90.0, 2.0),
           (-3.0, 2.5), (1.0, 1.3), (-math.inf, -2000.0), (-70.0, 90.0), (-4.0, -3.98)]  # fmt: skip


@pytest.mark.parametrize(("low", "high"), BETWEEN)
def test_interval_mean_of_the_normal_matches_mpmath(low, high):
    with mp.workdps(80):
        a, b = (mp.mpf(v) / 2 - mp.mpf(1) / 2 for v in (low, high))
        if low == high:
            expected = mp.mpf(low)
        elif a > 300 or b < -300:
            side = 1 if a > 300 else -1
            near, far = (a, b) if side == 1 else (-b, -a)
            ends = [0, *[k / near for k in (1, 4, 20, 100)]]
            ends = [e for e in ends if e < far - near] + ([far - near] if far < 1e9 else [])
            weigh = [
                mp.quad(lambda x, p=p: x**p * mp.exp(-near * x - x * x / 2), ends) for p in (0, 1)
            ]
            expected = 1 + 2 * side * (near + weigh[1] / weigh[0])
        else:
            mass = mp_upper(a) - mp_upper(b) if a > -b else mp_upper(-b) - mp_upper(-a)
            expected = 1 + 2 * (mp.npdf(a) - mp.npdf(b)) / mass
        got = Normal(2.0).interval_mean(low, high, 1.0)
        near = min((v for v in (low, high)), key=lambda v: abs(v - 1))
        assert low <= got <= high
        # Of the distance from the bound as many digits as the sum can hold.
        assert float(got - near) == pytest.approx(
            float(expected - near), rel=1e-10, abs=2 * float(np.spacing(abs(near)))
        )


@pytest.mark.parametrize("scale", [1e-3, 0.4, 1.0, 3.0, 7.9, 9.0])
@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 0.5), (0.0, 40.0), (-1.0, 3.0), (2.0, 3.0), (2.0, 2.001), (0.01, 90.0), (50.0, 60.0),
     (2.0, 2.0), (3.0, math.inf), (0.0, math.inf), (0.0, 1e-9)],
)  # fmt: skip
def test_interval_mean_of_the_log_normal_matches_mpmath(scale, low, high):
    with mp.workdps(60):
        s = mp.mpf(scale)
        a = (mp.log(low) - mp.mpf(0.7)) / s if low > 0 else -mp.inf
        b = (mp.log(high) - mp.mpf(0.7)) / s if high < math.inf else mp.inf

        def mass(u, v):
            if abs(u) > 300 and abs(v) > 300 and u * v > 0:
                near, far = sorted((abs(u), abs(v)))
                ends = [near + k / near for k in (0, 1, 4, 20, 100) if near + k / near < far]
                ends += [far] if far < mp.inf else []
                return mp.quad(lambda x: mp.exp(-x * x / 2), ends) / mp.sqrt(2 * mp.pi)
            return mp_upper(u) - mp_upper(v) if u > -v else mp_upper(-v) - mp_upper(-u)

        expected = mp.mpf(low) if low == high else mp.exp(mp.mpf(0.7) + s * s / 2)
        if low != high:
            expected *= mass(a - s, b - s) / mass(a, b)
    got = LogNormal(scale).interval_mean(low, high, 0.7)
    assert got == pytest.approx(float(expected), rel=1e-11)
    assert low <= got <= high


def test_interval_mean_takes_arrays_and_refuses_what_the_likelihood_refuses():
    low = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0]])
    high = np.array([[math.inf, 1.0, 5.0], [math.inf, 2.0, 1.5]])
    for family in (Normal(np.array([1.0, 2.0, 3.0])), LogNormal(np.array([0.1, 9.0, 1.0]))):
        low[0, 1] = high[0, 1] = 1.0
        got = family.interval_mean(low, high, 0.4, 0.8)
        assert got.shape == low.shape
        for i, j in np.ndindex(low.shape):
            one = type(family)(family.scale[j]).interval_mean(low[i, j], high[i, j], 0.4, 0.8)
            assert got[i, j] == one
        right = np.isposinf(high)
        above = family.conditional_mean(low, 0.4, 0.8)
        np.testing.assert_allclose(got[right], above[right], rtol=1e-14)
        with pytest.raises(CivstatsError, match="lower must not exceed upper"):
            family.interval_mean(2.0, 1.0, 0.0)
    assert Normal(1.0).interval_mean(-np.inf, np.inf, 0.3) == 0.3
    with pytest.raises(CivstatsError, match="log-normal demand is positive"):
        LogNormal(1.0).interval_mean(-1.0, 0.0, 0.0)


def test_without_exposure_the_log_normal_leaves_its_bounds():
    """The limits as the exposure vanishes; a bound at or below 0 says nothing then either."""
    family = LogNormal(1.0)
    for c in (0.0, -2.0):
        assert family.loglik(c, 1.0, True, exposure=0.0) == 0.0
        assert family.grad_hess(c, 1.0, True, exposure=0.0) == (0.0, 0.0)
        assert family.log_survival(c, 1.0, exposure=0.0) == 0.0
        assert family.cdf(c, 1.0, exposure=0.0) == 0.0
        assert family.conditional_mean(c, 1.0, exposure=0.0) == 0.0
        assert [float(p) for p in family.interval_loglik(c, 5.0, 1.0, 0.0)] == [0.0] * 6
    assert family.loglik(2.0, 1.0, True, exposure=0.0) == -np.inf
    assert np.isnan(family.loglik(0.0, np.nan, True, exposure=0.0))
    assert family.sample_above([0.0, 2.0], 1.0, 0, 3, exposure=0.0).tolist() == [[0.0, 2.0]] * 3
    assert family.interval_mean([0.0, 2.0], [1.0, 3.0], 1.0, 0.0).tolist() == [0.0, 2.0]
