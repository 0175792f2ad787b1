"""Count families against scipy where it is right, mpmath in the tails, and their own samplers."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from civstats.censoring import NegBin, Poisson, ZeroInflatedNegBin
from civstats.schema import CivstatsError

MU = np.array([0.03, 0.4, 2.0, 5.0, 37.0, 400.0])[:, None]
Y = np.array([0, 1, 2, 5, 8, 15, 16, 17, 40, 300])[None, :]


def scipy_of(dispersion: float, mu: np.ndarray):
    if np.isinf(dispersion):
        return stats.poisson(mu)
    return stats.nbinom(dispersion, dispersion / (dispersion + mu))


@pytest.mark.parametrize("dispersion", [0.05, 0.7, 2.0, 30.0, 1e3, np.inf])
def test_pmf_survival_and_cdf_match_scipy(dispersion):
    ref, family = scipy_of(dispersion, MU), NegBin(dispersion)
    np.testing.assert_allclose(family.logpmf(Y, np.log(MU)), ref.logpmf(Y), rtol=1e-10, atol=1e-10)
    # P(D >= c) is scipy's logsf(c - 1): ties are censored. scipy loses digits below 1e-200.
    expected = ref.logsf(Y - 1)
    near = expected > -400
    np.testing.assert_allclose(
        family.log_survival(Y, np.log(MU))[near], expected[near], rtol=1e-10, atol=1e-10
    )
    np.testing.assert_allclose(family.cdf(Y, np.log(MU)), ref.cdf(Y), rtol=1e-10, atol=1e-14)
    assert family.cdf([-1, np.inf], 1.0).tolist() == [0.0, 1.0]


def mp_survival(c: float, eta: mp.mpf, dispersion: float) -> mp.mpf:
    """P(D >= c) by mpmath's incomplete gamma or beta function: none of the module's recurrences."""
    mu = mp.e**eta
    if math.isinf(dispersion):
        return mp.gammainc(c, 0, mu, regularized=True)
    return mp.betainc(c, dispersion, 0, mu / (mu + mp.mpf(dispersion)), regularized=True)


def mp_log_pmf(y: float, eta: mp.mpf, dispersion: float) -> mp.mpf:
    mu = mp.e**eta
    if math.isinf(dispersion):
        return y * mp.mpf(eta) - mu - mp.loggamma(y + 1)
    a = mp.mpf(dispersion)
    rising = mp.loggamma(y + a) - mp.loggamma(a) - mp.loggamma(y + 1)
    return rising + y * mp.log(mu / (mu + a)) - a * mp.log1p(mu / a)


FAR = [  # (c, mu, dispersion): far tails and degenerate corners
    (5000, 5.0, math.inf),
    (5000, 5.0, 2.0),
    (5000, 5.0, 1e12),
    (50, 0.05, 0.5),
    (8, 1e-8, 2.0),
    (8, 1e-8, math.inf),
    (1, 1e-8, 1e12),
    (6, 5.0, 1e12),
    (12, 40.0, 1e-3),
    (300, 1000.0, 0.1),
    (1100, 1000.0, 50.0),
    (900, 1000.0, 50.0),
    (2068, 421.9, 0.1),
]


@pytest.mark.parametrize(("c", "mu", "dispersion"), FAR)
def test_tails_match_mpmath(c, mu, dispersion):
    family, eta = NegBin(dispersion), math.log(mu)
    with mp.workdps(60):
        expected = mp.log(mp_survival(c, mp.mpf(eta), dispersion))
        pmf = mp_log_pmf(c, mp.mpf(eta), dispersion)
        score = mp.diff(lambda e: mp.log(mp_survival(c, e, dispersion)), mp.mpf(eta), h=1e-15)
        curve = mp.diff(lambda e: mp.log(mp_survival(c, e, dispersion)), mp.mpf(eta), 2, h=1e-12)
        # E[D | D >= c] from the score identity: score = (E[D | D >= c] - mu) a / (a + mu).
        odds = 0 if math.isinf(dispersion) else mp.e ** mp.mpf(eta) / dispersion
        excess = mp.e ** mp.mpf(eta) + score * (1 + odds) - c
    assert float(family.log_survival(c, eta)) == pytest.approx(float(expected), rel=1e-10)
    assert float(family.logpmf(c, eta)) == pytest.approx(float(pmf), rel=1e-10)
    grad, hess = family.grad_hess(c, eta, True)
    assert float(grad) == pytest.approx(float(score), rel=1e-9)
    assert float(hess) == pytest.approx(float(curve), rel=1e-8)
    assert float(family.conditional_mean(c, eta)) == pytest.approx(float(c + excess), rel=1e-10)


@pytest.mark.parametrize("dispersion", [0.3, 2.0, math.inf])
@pytest.mark.parametrize("y", [0, 3, 20])
def test_exact_derivatives_match_mpmath(y, dispersion):
    with mp.workdps(40):
        first = mp.diff(lambda e: mp_log_pmf(y, e, dispersion), 1.3)
        second = mp.diff(lambda e: mp_log_pmf(y, e, dispersion), 1.3, 2)
    grad, hess = NegBin(dispersion).grad_hess(y, 1.3)
    assert float(grad) == pytest.approx(float(first), rel=1e-12, abs=1e-12)
    assert float(hess) == pytest.approx(float(second), rel=1e-12)


@pytest.mark.parametrize("is_censored", [False, True])
@pytest.mark.parametrize("c", [1, 4, 30, 700])
@pytest.mark.parametrize("dispersion", [0.3, 2.0, 50.0])
def test_dispersion_derivatives_match_mpmath(c, dispersion, is_censored):
    def value(eta, t):
        a = mp.e**t
        if is_censored:
            return mp.log(mp_survival(c, eta, a))
        return mp_log_pmf(c, eta, a)

    eta, t = mp.log(5), mp.log(mp.mpf(dispersion))
    with mp.workdps(50):
        first = mp.diff(lambda s: value(eta, s), t, h=1e-14)
        second = mp.diff(lambda s: value(eta, s), t, 2, h=1e-12)
        cross = mp.diff(value, (eta, t), (1, 1), h=1e-12)
    got = NegBin(dispersion).dispersion_derivatives(c, math.log(5), is_censored)
    np.testing.assert_allclose(
        [float(g) for g in got], [float(first), float(second), float(cross)], rtol=1e-7
    )


@settings(max_examples=60, deadline=None)
@given(
    c=st.integers(1, 3000),
    eta=st.floats(-25, 9),
    dispersion=st.floats(1e-2, 1e6),
)
def test_tail_is_coherent_everywhere(c, eta, dispersion):
    """Identities that hold at any parameter: no branch of the mathematics may break them."""
    family = NegBin(dispersion)
    here, above = family.log_survival([c, c + 1], eta)
    # S(c) = f(c) + S(c + 1)
    assert here == pytest.approx(np.logaddexp(family.logpmf(c, eta), above), rel=1e-9, abs=1e-11)
    # E[D - c | D >= c] = E[D - c - 1 | D >= c + 1] + 1, weighted by S(c + 1) / S(c)
    excess, further = family.conditional_mean([c, c + 1], eta) - [c, c]
    assert excess == pytest.approx(further * np.exp(above - here), rel=1e-7, abs=1e-9 * c)
    grad, hess = family.grad_hess(c, eta, True)
    assert grad >= 0
    assert hess <= 0


def test_full_day_out_says_exactly_nothing():
    eta = np.array([-800.0, -18.0, 0.0, 3.0, 600.0])
    for family in (Poisson(), NegBin(2.0), NegBin(1e12), ZeroInflatedNegBin(2.0, 0.4)):
        assert (family.loglik(0, eta, True) == 0.0).all()
        grad, hess = family.grad_hess(0, eta, True)
        assert (grad == 0.0).all()
        assert (hess == 0.0).all()
    assert (NegBin(2.0).dispersion_derivatives(0, eta, True)[0] == 0.0).all()


def test_infinite_dispersion_is_the_poisson_and_1e12_meets_it():
    y, eta, cens = np.arange(60), np.linspace(-18, 4, 60), np.arange(60) % 2 == 0
    for close, rtol in ((NegBin(np.inf), 0.0), (NegBin(1e12), 1e-9)):
        np.testing.assert_allclose(
            close.loglik(y, eta, cens), Poisson().loglik(y, eta, cens), rtol=rtol
        )
        for a, b in zip(
            close.grad_hess(y, eta, cens), Poisson().grad_hess(y, eta, cens), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-15 if rtol else 0.0)


def test_extreme_predictors_stay_finite():
    eta = np.array([-700.0, -50.0, 50.0, 300.0])
    for family in (Poisson(), NegBin(0.5), NegBin(1e12)):
        assert np.isfinite(family.loglik(7, eta[:2])).all()
        assert np.isfinite(family.loglik(7, eta, True)).all()
        assert np.isfinite(family.grad_hess(7, eta, True)).all()
        assert np.isfinite(family.conditional_mean(7, eta)).all()
    assert np.isnan(NegBin(2.0).log_survival(3, np.nan))


def test_exposure_scales_the_mean_and_never_enters_as_survival():
    family, share = NegBin(2.0), 0.4
    np.testing.assert_allclose(
        family.loglik(3, 1.0, exposure=share), family.loglik(3, 1.0 + np.log(share))
    )
    assert family.loglik(0, 1.0, exposure=0.0) == 0.0
    assert family.loglik(1, 1.0, exposure=0.0) == -np.inf
    assert family.grad_hess(0, 1.0, exposure=0.0) == (0.0, 0.0)


@pytest.mark.parametrize(
    "family", [Poisson(), NegBin(0.6), NegBin(40.0), ZeroInflatedNegBin(2.0, 0.35)]
)
@pytest.mark.parametrize("c", [0, 1, 6, 60])
def test_sampler_keeps_the_bound_and_has_the_conditional_mean(family, c):
    draws = family.sample_above(c, np.log(4.0), seed=3, size=40_000)
    assert draws.min() >= c
    assert (draws == np.rint(draws)).all()
    error = draws.std() / 200.0
    assert draws.mean() == pytest.approx(
        float(family.conditional_mean(c, np.log(4.0))), abs=4 * error
    )


def test_sampler_matches_the_law_beyond_double_precision():
    """At c a thousand times the mean the cdf is 1: only relative arithmetic still samples."""
    family, eta, c = NegBin(0.5), np.log(0.2), 200
    assert family.cdf(c - 1, eta) == 1.0
    draws = family.sample_above(c, eta, seed=1, size=20_000)
    for step in (1, 2, 4):
        share = np.exp(family.log_survival(c + step, eta) - family.log_survival(c, eta))
        assert (draws >= c + step).mean() == pytest.approx(share, abs=0.012)
    # The bisection used for wide laws: mean a million.
    wide = NegBin(3.0).sample_above(2_000_000, np.log(1e6), seed=2, size=4000)
    assert wide.min() >= 2_000_000
    assert wide.mean() == pytest.approx(
        float(NegBin(3.0).conditional_mean(2_000_000, np.log(1e6))), abs=4 * wide.std() / 63
    )


def test_sampler_shapes_and_seed():
    eta, c = np.log([[1.0, 2.0, 3.0]]), np.array([[2], [5]])
    a = NegBin([0.5, 1.0, 2.0]).sample_above(c, eta, 5, size=(7,))
    assert a.shape == (7, 2, 3)
    assert (a == NegBin([0.5, 1.0, 2.0]).sample_above(c, eta, 5, size=(7,))).all()
    assert (a != NegBin([0.5, 1.0, 2.0]).sample_above(c, eta, 6, size=(7,))).any()


@pytest.mark.parametrize("dispersion", [0.05, 2.0, np.inf])
def test_quantiles_match_scipy_and_invert_the_cdf(dispersion):
    prob = np.array([0.0, 1e-6, 0.05, 0.3, 0.5, 0.9, 0.975, 1 - 1e-9])
    family = NegBin(dispersion)
    got = family.quantile(prob, np.log(MU))
    np.testing.assert_array_equal(got[:, 1:], scipy_of(dispersion, MU).ppf(prob[1:]))
    assert (family.cdf(got, np.log(MU)) >= prob).all()
    assert (family.quantile(1.0, 0.0), family.quantile(0.0, 0.0)) == (np.inf, 0.0)
    assert np.isnan(family.quantile(1.5, 0.0))


def test_zero_inflation_matches_its_definition():
    family, part, eta, p = ZeroInflatedNegBin(2.0, 0.35), NegBin(2.0), np.log(3.0), 0.35
    pmf = (1 - p) * np.exp(part.logpmf(np.arange(200), eta)) + p * (np.arange(200) == 0)
    np.testing.assert_allclose(np.exp(family.logpmf(np.arange(200), eta)), pmf, rtol=1e-12)
    c = np.arange(1, 30)
    np.testing.assert_allclose(
        np.exp(family.log_survival(c, eta)), pmf[::-1].cumsum()[::-1][c], rtol=1e-10
    )
    np.testing.assert_allclose(family.cdf(c, eta), pmf.cumsum()[c], rtol=1e-12)
    k = np.arange(200)
    assert family.mean(eta) == pytest.approx((k * pmf).sum())
    assert family.variance(eta) == pytest.approx((k**2 * pmf).sum() - (k * pmf).sum() ** 2)
    assert family.conditional_mean(0, eta) == pytest.approx((k * pmf).sum())
    assert family.quantile([0.2, 0.35, 0.36, 0.9], eta).tolist() == [
        float((pmf.cumsum() < q).sum()) for q in (0.2, 0.35, 0.36, 0.9)
    ]
    step = 1e-5
    for y, cens in ((0, False), (0, True), (4, False), (4, True)):
        values = [family.loglik(y, eta + s * step, cens) for s in (-1, 0, 1)]
        grad, hess = family.grad_hess(y, eta, cens)
        assert grad == pytest.approx((values[2] - values[0]) / (2 * step), abs=1e-8)
        assert hess == pytest.approx((values[2] - 2 * values[1] + values[0]) / step**2, abs=1e-4)


def test_counts_from_float32_tenths_are_taken_and_fractions_refused():
    tenths = np.float32([0.1, 0.7, 1.9]) * np.float32(10)
    np.testing.assert_allclose(
        NegBin(2.0).loglik(tenths, 0.0), NegBin(2.0).loglik([1, 7, 19], 0.0), rtol=1e-12
    )
    with pytest.raises(CivstatsError, match=r"2 value\(s\), first at position 1"):
        Poisson().loglik([1, 0.5, -1], 0.0)
    with pytest.raises(CivstatsError, match="dispersion must lie in"):
        NegBin(0.0)
    with pytest.raises(CivstatsError, match="zero_prob"):
        ZeroInflatedNegBin(1.0, 1.0)
    with pytest.raises(CivstatsError, match="exposure must be finite"):
        Poisson().loglik(1, 0.0, exposure=-0.1)
    with pytest.raises(CivstatsError, match="is_censored must hold True or False"):
        Poisson().loglik([1.0], 0.0, [np.nan])


def test_absurd_parameters_end_in_numbers_and_in_time():
    """An exploding fit visits such points: no sum may run for ever there."""
    eta, c, dispersion = (
        a.ravel()
        for a in np.meshgrid([-700.0, -30.0, 20.0, 45.0, 689.0], [0, 7, 5000], [1e-12, 1.0, 1e13])
    )
    family = NegBin(dispersion)
    for values in (
        family.loglik(c, eta, True),
        *family.grad_hess(c, eta, True),
        *family.dispersion_derivatives(c, eta, True),
        family.conditional_mean(c, eta),
        family.sample_above(c, eta, seed=0),
        family.quantile(0.9, eta),
    ):
        assert np.isfinite(values).all()
