"""The boosting fast path against the families, and its dispersion estimate against known truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from civstats.censoring import (
    NegBin,
    Poisson,
    ZeroInflatedNegBin,
    fit_dispersion,
    fit_zero_inflated,
    mean_negative_loglik,
    negbin_objective,
    poisson_objective,
)
from civstats.schema import CivstatsError


def rows(n: int, seed: int = 0, spread: float = 2.0):
    rng = np.random.default_rng(seed)
    eta = rng.normal(0.0, spread, n)
    y = np.rint(
        np.exp(eta) * rng.choice([0.0, 0.1, 0.5, 1.0, 2.0, 30.0], n) + rng.integers(0, 4, n)
    )
    return eta, y, rng.random(n) < 0.4


@pytest.mark.parametrize("dispersion", [0.02, 0.5, 2.0, 100.0, 1e12, np.inf])
def test_objective_is_the_negated_derivative_with_a_floored_hessian(dispersion):
    eta, y, cens = rows(4000)
    eta[:4] = [-18.0, -18.0, 9.0, 8.0]
    y[:4], cens[:4] = [9, 5000, 9000, 3000], True
    family = NegBin(dispersion)
    grad, hess = negbin_objective(eta, y, cens, dispersion, dtype=np.float64)
    slope, curve = family.grad_hess(y, eta, cens)
    np.testing.assert_allclose(grad, -slope, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(hess[~cens], -curve[~cens], rtol=1e-12)
    floor = np.where(y[cens] > 0, np.exp(eta[cens]) / (1 + np.exp(eta[cens]) / dispersion), 0.0)
    np.testing.assert_allclose(hess[cens], np.maximum(-curve[cens], floor), rtol=1e-6, atol=1e-8)
    assert (grad[cens & (y == 0)] == 0).all()
    assert (hess[cens & (y == 0)] == 0).all()
    loss = mean_negative_loglik(eta, y, cens, dispersion)
    assert loss == pytest.approx(-family.loglik(y, eta, cens).mean(), rel=1e-9)


@pytest.mark.parametrize("dispersion", [0.5, 4.0, np.inf])
def test_zero_inflated_objective_meets_the_family(dispersion):
    eta, y, cens = rows(4000)
    family = ZeroInflatedNegBin(dispersion, 0.2)
    grad, hess = negbin_objective(eta, y, cens, dispersion, zero_prob=0.2, dtype=np.float64)
    slope, curve = family.grad_hess(y, eta, cens)
    zero = (y == 0) & ~cens
    assert zero.any()
    np.testing.assert_allclose(grad, -slope, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(hess[~cens & ~zero], -curve[~cens & ~zero], rtol=1e-9)
    assert (hess[zero] >= -curve[zero] - 1e-12).all()
    assert (hess[zero] >= 0).all()
    loss = mean_negative_loglik(eta, y, cens, dispersion, zero_prob=0.2)
    assert loss == pytest.approx(-family.loglik(y, eta, cens).mean(), rel=1e-9)


def test_zero_inflation_is_found_where_it_is_and_nowhere_else():
    rng = np.random.default_rng(3)
    mu = np.exp(rng.normal(1.0, 0.7, 60_000))
    stock = np.ceil(mu * rng.choice([0.6, 1.2, 2.5, 9.0], mu.size))
    for family, truth in ((ZeroInflatedNegBin(3.0, 0.1), 0.1), (NegBin(3.0), 0.0)):
        demand = family.sample(np.log(mu), rng)
        dispersion, zero_prob = fit_zero_inflated(np.minimum(demand, stock), mu, demand >= stock)
        assert dispersion == pytest.approx(3.0, rel=0.1)
        assert zero_prob == pytest.approx(truth, abs=0.01)
        assert truth or zero_prob == 0.0
    assert fit_zero_inflated([3.0, 4.0, 5.0], [4.0, 4.0, 4.0]) == (np.inf, 0.0)


def test_number_of_threads_and_types_change_nothing_that_matters():
    eta, y, cens = rows(200_000)
    one = negbin_objective(eta, y.astype(np.float32), cens, 2.0, n_threads=1)
    two = negbin_objective(eta, y, cens, 2.0, n_threads=2)
    for a, b in zip(one, two, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
    assert mean_negative_loglik(eta, y, cens, 2.0, n_threads=1) == mean_negative_loglik(
        eta, y, cens, 2.0, n_threads=2
    )
    for a, b in zip(
        poisson_objective(eta, y, None), negbin_objective(eta, y, None, np.inf), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_newton_on_the_objective_finds_the_censored_maximum():
    """The floor slows a step down; it must not move the optimum."""
    rng = np.random.default_rng(1)
    demand = NegBin(2.0).sample(np.full(20_000, np.log(5.0)), rng)
    stock = rng.choice([0.0, 2.0, 6.0, 12.0], 20_000)
    y, cens = np.minimum(demand, stock), demand >= stock
    eta = 0.0
    for _ in range(60):
        grad, hess = negbin_objective(np.full(20_000, eta), y, cens, 2.0, dtype=float)
        eta -= np.clip(grad.sum() / hess.sum(), -1, 1)
    best = optimize.minimize_scalar(
        lambda e: -NegBin(2.0).loglik(y, e, cens).sum(), bounds=(0, 3), method="bounded"
    ).x
    assert eta == pytest.approx(best, abs=1e-4)
    assert np.exp(eta) == pytest.approx(5.0, abs=0.15)


@pytest.mark.parametrize("truth", [0.3, 2.0, 20.0])
def test_dispersion_is_recovered_under_censoring(truth):
    rng = np.random.default_rng(2)
    mu = np.exp(rng.normal(1.0, 0.7, 60_000))
    demand = NegBin(truth).sample(np.log(mu), rng)
    stock = np.ceil(mu * rng.choice([0.6, 1.2, 2.5, 9.0], mu.size))
    cens = demand >= stock
    y = np.minimum(demand, stock)
    assert cens.mean() > 0.15
    assert fit_dispersion(y, mu, cens) == pytest.approx(truth, rel=0.15)
    # Bounds taken for sales look far less dispersed.
    assert fit_dispersion(y, mu) > 1.3 * truth


def test_dispersion_of_poisson_or_calmer_data_is_infinite():
    mu = np.full(5000, 4.0)
    assert fit_dispersion(np.full(5000, 4), mu) == np.inf
    poisson = fit_dispersion(Poisson().sample(np.log(mu), seed=5), mu)
    assert poisson > 50


def test_bad_input_is_refused():
    with pytest.raises(CivstatsError, match="vectors of one length"):
        negbin_objective([0.0, 1.0], [1.0], None, 2.0)
    with pytest.raises(CivstatsError, match="dispersion must lie in"):
        negbin_objective([0.0], [1.0], None, -1.0)
    with pytest.raises(CivstatsError, match="mu must lie in"):
        fit_dispersion([1.0], [0.0])
    with pytest.raises(CivstatsError, match="no rows"):
        mean_negative_loglik([], [], None)


def test_what_nothing_identifies_is_the_poisson_without_inflation():
    mu = np.ones(50)
    bounds, zeros = np.arange(50.0) % 4, np.zeros(50)
    every, first = np.ones(50, dtype=bool), np.arange(50) > 0
    for y, cens in ((bounds, every), (zeros, None), (zeros, first)):
        assert fit_dispersion(y, mu, cens) == np.inf
        assert fit_zero_inflated(y, mu, cens) == (np.inf, 0.0)
    with pytest.raises(CivstatsError, match="no rows"):
        fit_dispersion([], [])


def test_a_few_exact_rows_are_enough_for_an_estimate():
    y, cens = np.arange(2000.0) % 2, np.arange(2000) >= 3
    y[:3] = [0.0, 0.0, 90.0]
    mu = np.full(2000, 20.0)
    best = optimize.minimize_scalar(
        lambda t: -NegBin(np.exp(t)).loglik(y, np.log(mu), cens).sum(),
        bounds=(-6, 12),
        method="bounded",
    ).x
    assert np.isfinite(fit_dispersion(y, mu, cens))
    assert fit_dispersion(y, mu, cens) == pytest.approx(np.exp(best), rel=1e-2)
    dispersion, zero_prob = fit_zero_inflated(y, mu, cens)
    assert np.isfinite(dispersion)
    assert 0.0 <= zero_prob < 1.0
