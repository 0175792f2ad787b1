"""PSIS-LOO and the LOO-PIT against exact leaving-out on a grid, bounds included."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

from civstats.censoring import NegBin, Normal, Poisson
from civstats.diagnostics.loo import LEFT_OUT, psis_loo
from civstats.diagnostics.pit import posterior_pit
from civstats.evaluation.calibration import pit_histogram, pit_uniformity
from civstats.schema import CivstatsError, validate_panel

GRID = np.linspace(-1, 3, 801)


def world(seed: int, n: int = 40, mean: float = 4.0, dispersion: float = 3.0) -> pd.DataFrame:
    """One series of negative binomial demand, a third of its days bounds, two days wholly out."""
    rng = np.random.default_rng(seed)
    demand = stats.nbinom.rvs(
        dispersion, dispersion / (dispersion + mean), size=n, random_state=rng
    )
    stock = rng.choice([3, 6, 30], size=n)
    stock[[5, 11]] = 0
    return validate_panel(
        pd.DataFrame(
            {
                "unique_id": "a",
                "ds": pd.date_range("2024-01-01", periods=n),
                "y": np.minimum(demand, stock).astype(float),
                "is_censored": demand >= stock,
            }
        )
    )


def log_terms(panel: pd.DataFrame, eta: np.ndarray, dispersion: float = 3.0) -> np.ndarray:
    """The log-likelihood, shape (len(eta), n)."""
    y, bound = panel["y"].to_numpy(dtype=float), panel["is_censored"].to_numpy()
    p = dispersion / (dispersion + np.exp(eta[:, None]))
    exact = stats.nbinom.logpmf(y, dispersion, p)
    return np.where(bound, stats.nbinom.logsf(y - 1, dispersion, p), exact)


def posterior(panel: pd.DataFrame, without: int | None = None) -> np.ndarray:
    """Posterior over the grid under a N(1, 1) prior."""
    terms = log_terms(panel, GRID)
    if without is not None:
        terms = np.delete(terms, without, axis=1)
    log_p = stats.norm.logpdf(GRID, 1, 1) + terms.sum(axis=1)
    return np.exp(log_p - logsumexp(log_p))


def draws(panel: pd.DataFrame, n: int = 4000, seed: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).choice(GRID, size=n, p=posterior(panel))


def test_each_day_left_out_is_what_the_grid_says():
    panel = world(1)
    eta = draws(panel)
    found = psis_loo(log_terms(panel, eta))
    silent = ((panel["y"] == 0) & panel["is_censored"]).to_numpy()
    assert found.n == (~silent).sum() == 38
    assert found.n_silent == 2
    terms = log_terms(panel, GRID)
    exact = [
        logsumexp(terms[:, i] + np.log(posterior(panel, i) + 1e-300))
        for i in found.pointwise["item"]
    ]
    np.testing.assert_allclose(found.pointwise["elpd"], exact, atol=0.02)
    assert found.elpd == pytest.approx(np.sum(exact), abs=0.1)
    assert found.se == pytest.approx(np.sqrt(38 * np.var(exact)), rel=0.02)
    assert len(found.bad) == 0
    assert found.note == LEFT_OUT["day"]


def test_it_is_arviz_loo():
    panel = world(2)
    eta = draws(panel)
    terms = log_terms(panel, eta)
    live = (terms != 0).any(axis=0)
    idata = az.from_dict(
        {"eta": eta.reshape(4, 1000)}, log_likelihood={"y": terms[:, live].reshape(4, 1000, -1)}
    )
    other = az.loo(idata, pointwise=True, reff=1.0)
    found = psis_loo(terms)
    assert found.elpd == pytest.approx(other.elpd_loo)
    assert found.se == pytest.approx(other.se)
    assert found.p_loo == pytest.approx(other.p_loo)
    assert found.good_k == pytest.approx(other.good_k)
    np.testing.assert_allclose(found.pointwise["k"], other.pareto_k)


def test_groups_leave_out_sums():
    panel = world(3)
    terms = log_terms(panel, draws(panel))
    weeks = np.arange(len(panel)) // 7
    found = psis_loo(terms, groups=weeks, leave_out="week")
    by_hand = psis_loo(np.stack([terms[:, weeks == w].sum(axis=1) for w in range(6)], axis=1))
    pd.testing.assert_frame_equal(found.pointwise, by_hand.pointwise)
    assert "week" in found.note


def test_an_outlier_has_a_large_k_and_is_named():
    rng = np.random.default_rng(0)
    y = np.append(rng.normal(size=9), 12.0)
    mu = rng.normal(y.mean(), 10**-0.5, size=2000)
    found = psis_loo(stats.norm.logpdf(y, mu[:, None]))
    assert found.bad["item"].tolist()[0] == 9
    assert found.bad["k"].iloc[0] > 0.7


def test_the_pit_of_a_day_left_out_is_the_exact_one():
    panel = world(4, n=14)
    eta = draws(panel)
    terms = log_terms(panel, eta)
    loo = psis_loo(terms)
    wide = np.repeat(eta[:, None], len(panel), axis=1)
    found = posterior_pit(panel, wide, NegBin(3.0), loo=loo, seed=5)
    u = np.random.default_rng(5).random(len(panel))
    y, bound = panel["y"].to_numpy(dtype=float), panel["is_censored"].to_numpy()
    live = ~(bound & (y == 0))
    assert len(found) == live.sum()
    p = 3 / (3 + np.exp(GRID))
    expected, blurred = [], []
    for i in np.flatnonzero(live):
        for weight, out in ((posterior(panel, i), expected), (posterior(panel), blurred)):
            low = weight @ stats.nbinom.cdf(y[i] - 1, 3, p)
            high = 1.0 if bound[i] else weight @ stats.nbinom.cdf(y[i], 3, p)
            out.append(low + (high - low) * u[i])
    np.testing.assert_allclose(found["pit"], expected, atol=0.005)
    seen = posterior_pit(panel, wide, NegBin(3.0), seed=5)
    np.testing.assert_allclose(seen["pit"], blurred, atol=0.005)
    assert np.abs(np.subtract(expected, blurred)).max() > 0.015


def test_the_pit_of_the_true_model_is_uniform_and_that_of_ignore_is_not():
    parts = []
    for k in range(12):
        panel = world(100 + k, n=60)
        parts.append(panel.assign(unique_id=f"s{k}"))
    panel = validate_panel(pd.concat(parts, ignore_index=True))
    eta = np.full((2, len(panel)), np.log(4.0))
    found = posterior_pit(panel, eta, NegBin(3.0), seed=1)
    assert stats.kstest(found["pit"], "uniform").pvalue > 0.01
    assert pit_uniformity(found, n_boot=200)["p_value"].iloc[0] > 0.01
    assert len(pit_histogram(found, n_boot=50)) == 10
    wrong = posterior_pit(panel, eta, NegBin(3.0), seed=1, treatment="ignore")
    assert stats.kstest(wrong["pit"], "uniform").pvalue < 1e-4
    masked = posterior_pit(panel, eta, NegBin(3.0), seed=1, treatment="mask")
    assert len(masked) == (~panel["is_censored"]).sum()


def test_continuous_sales_are_not_randomised():
    panel = validate_panel(
        pd.DataFrame(
            {
                "unique_id": "a",
                "ds": pd.date_range("2024-01-01", periods=3),
                "y": [1.5, 2.5, 2.0],
                "is_censored": [False, False, True],
            }
        )
    )
    found = posterior_pit(panel, np.full((1, 3), 2.0), Normal(0.5), seed=0)
    np.testing.assert_allclose(found["pit"][:2], stats.norm.cdf([-1.0, 1.0]))
    assert found["pit"].iloc[2] == pytest.approx(0.5 + 0.5 * np.random.default_rng(0).random(3)[2])


def test_days_whose_k_is_too_large_have_no_pit():
    panel = world(6, n=14)
    panel = panel.assign(y=panel["y"].where(panel.index != 3, 250.0), is_censored=False)
    rng = np.random.default_rng(0)
    eta = rng.normal(1.5, 0.05, size=400)
    loo = psis_loo(log_terms(panel, eta))
    assert 3 in set(loo.bad["item"])
    found = posterior_pit(panel, np.repeat(eta[:, None], 14, axis=1), NegBin(3.0), loo=loo)
    assert panel["ds"].iloc[3] not in set(found["ds"])


def test_what_cannot_be_left_out_is_refused():
    panel = world(7)
    terms = log_terms(panel, draws(panel, 200))
    with pytest.raises(CivstatsError, match="100 draws"):
        psis_loo(terms[:50])
    with pytest.raises(CivstatsError, match=r"1 row.* not finite, first row 4"):
        psis_loo(np.where(np.arange(40) == 4, -np.inf, terms))
    with pytest.raises(CivstatsError, match="leave_out"):
        psis_loo(terms, leave_out="store")
    with pytest.raises(CivstatsError, match="no day says anything"):
        psis_loo(0 * terms)
    with pytest.raises(CivstatsError, match="column"):
        posterior_pit(panel, np.zeros((5, 3)), Poisson())
    with pytest.raises(CivstatsError, match="weights of the LOO"):
        posterior_pit(panel, np.zeros((5, 40)), Poisson(), loo=psis_loo(terms))
