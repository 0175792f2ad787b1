"""The worked numbers of censored demand, and PIT uniformity, on laws whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from civstats.censoring import LogNormal, NegBin, Normal, Poisson, ZeroInflatedNegBin

ETA = np.log(5.0)
K = np.arange(600)
STOCKS = np.array([6.0, 8.0, 12.0])  # drawn with equal probability
NB = NegBin(2.0)


def population_mean(truth, stocks, law):
    """Return the mean that maximises the expected log-likelihood `law(y, flag, eta)`."""
    weight = np.exp(truth.logpmf(K, ETA))

    def loss(eta):
        total = 0.0
        for c in stocks:
            y, cens = np.minimum(K, c), c <= K
            total -= (weight * law(y, cens, eta)).sum()
        return total

    found = optimize.minimize_scalar(
        loss, bounds=(-1, 4), method="bounded", options={"xatol": 1e-9}
    )
    return np.exp(found.x)


def test_survival_with_ties_recovers_the_mean_and_the_shortcuts_do_not():
    """Poisson(5), stock 6, 38 % of days censored: 5.00; sales for demand 4.51; dropped 3.58."""
    family, stock = Poisson(), np.array([6.0])

    def loglik(y, cens, eta):
        return family.loglik(y, eta, cens)

    assert np.exp(family.log_survival(6, ETA)) == pytest.approx(0.384, abs=5e-4)
    censor = population_mean(family, stock, loglik)
    ignore = population_mean(family, stock, lambda y, cens, eta: family.loglik(y, eta))
    mask = population_mean(
        family, stock, lambda y, cens, eta: np.where(cens, 0.0, family.loglik(y, eta))
    )
    # The off-by-one: a sold-out shelf read as D > c.
    strict = population_mean(family, stock, lambda y, cens, eta: family.loglik(y + cens, eta, cens))
    assert (censor, ignore, mask, strict) == pytest.approx((5.0, 4.51, 3.58, 5.35), abs=5e-3)


def test_random_stock_recovers_the_negative_binomial_too():
    censored = population_mean(NB, STOCKS, lambda y, cens, eta: NB.loglik(y, eta, cens))
    masked = population_mean(
        NB, STOCKS, lambda y, cens, eta: np.where(cens, 0.0, NB.loglik(y, eta))
    )
    assert censored == pytest.approx(5.0, abs=1e-4)
    assert masked == pytest.approx(5.0 * 0.677, abs=0.01)
    assert np.exp(NB.log_survival(STOCKS, ETA)).mean() == pytest.approx(0.22, abs=5e-3)


def test_whole_days_out_at_random_make_mask_and_censor_the_same_fit():
    demand = NB.sample(np.full(5000, ETA), seed=1)
    out = np.random.default_rng(2).random(5000) < 0.3
    y = np.where(out, 0.0, demand)

    def fit(weight, flags):
        return optimize.minimize_scalar(
            lambda e: -(weight * NB.loglik(y, e, flags)).sum(), bounds=(0, 3), method="bounded"
        ).x

    assert fit(1.0, out) == fit(~out, np.zeros(5000, bool))


def test_clock_outages_are_exposure_and_survival_over_recovers():
    rng = np.random.default_rng(3)
    share = np.where(rng.random(40_000) < 0.4, 0.6, 1.0)  # empty from 60 % of the day's demand on
    sales = Poisson().sample(np.full(40_000, ETA), seed=4, exposure=share)

    def fit(flags, exposure):
        found = optimize.minimize_scalar(
            lambda e: -Poisson().loglik(sales, e, flags, exposure).sum(),
            bounds=(0, 3),
            method="bounded",
        )
        return np.exp(found.x) / 5.0

    assert fit(None, share) == pytest.approx(1.0, abs=0.01)
    assert fit(share < 1, 1.0) > 1.08
    assert fit(None, 1.0) < 0.9


@pytest.mark.parametrize(("family", "expected"), [(Poisson(), 0.14), (NB, 0.56)])
def test_perfect_forecast_looks_biased_on_in_stock_days(family, expected):
    pmf = np.exp(family.logpmf(K, ETA))[:8]
    in_stock = (K[:8] * pmf).sum() / pmf.sum()
    assert 5.0 / in_stock - 1.0 == pytest.approx(expected, abs=5e-3)


def test_coverage_of_the_true_model_is_not_nominal():
    low, high = NB.quantile([0.1, 0.9], ETA)
    pmf = np.exp(NB.logpmf(K, ETA))
    inside = (low <= K) & (high >= K)
    assert pmf[inside].sum() == pytest.approx(0.841, abs=2e-3)
    in_stock = np.array([[pmf[inside & (c > K)].sum(), pmf[c > K].sum()] for c in STOCKS]).sum(0)
    assert in_stock[0] / in_stock[1] == pytest.approx(0.895, abs=1e-3)


def test_lost_units_are_drawn_given_the_bound():
    rng = np.random.default_rng(5)
    demand = NB.sample(np.full(60_000, ETA), rng)
    stock = rng.choice(STOCKS, 60_000)
    out = demand >= stock
    truth = (demand - stock)[out].mean()
    lost = NB.sample_above(stock[out], np.full(out.sum(), ETA), rng) - stock[out]
    assert lost.min() >= 0
    assert truth == pytest.approx(3.3, abs=0.2)
    assert lost.mean() == pytest.approx(truth, abs=0.2)
    assert (NB.conditional_mean(stock[out], ETA) - stock[out]).mean() == pytest.approx(
        3.325, abs=0.02
    )
    # What forgetting the bound does.
    careless = NB.sample(np.full(out.sum(), ETA), rng) - stock[out]
    assert (careless < 0).mean() == pytest.approx(0.72, abs=0.01)
    assert careless.mean() == pytest.approx(-2.4, abs=0.2)


@pytest.mark.parametrize(
    ("family", "scale"),
    [
        (Poisson(), 1.0),
        (NB, 1.0),
        (ZeroInflatedNegBin(2.0, 0.4), 1.0),
        (Normal(3.0), 3.0),
        (LogNormal(0.7), 1.0),
    ],
)
def test_censored_pit_is_uniform_for_the_truth_and_only_with_the_censored_days(family, scale):
    rng = np.random.default_rng(6)
    eta = rng.normal(1.4, 0.3, 8000)
    demand = family.sample(eta, rng)
    stock = rng.choice([3.0, 5.0, 9.0], 8000)
    out = demand >= stock
    y = np.minimum(demand, stock)
    u = family.pit(y, eta, out, seed=rng)
    assert ((u >= 0) & (u <= 1)).all()
    assert stats.kstest(u, "uniform").pvalue > 0.01
    assert stats.kstest(u[~out], "uniform").pvalue < 1e-6
    # A wrong forecast is found out.
    assert stats.kstest(family.pit(y, eta + 0.25 * scale, out, seed=rng), "uniform").pvalue < 1e-6
    # Sales taken for demand fail as well.
    assert stats.kstest(family.pit(y, eta, seed=rng), "uniform").pvalue < 1e-6
