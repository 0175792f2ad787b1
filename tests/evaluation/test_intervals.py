"""Coverage: the plain functions, and the worked numbers for counts and in-stock days."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.evaluation import evaluate
from civstats.evaluation.intervals import coverage, expected_coverage, width
from civstats.schema import ForecastError, validate_panel
from tests.evaluation.world import make_forecasts, make_panel, pooled

NB = stats.nbinom(2, 2 / 7)  # mean 5, dispersion 2


def test_the_interval_is_closed():
    assert coverage([0, 1, 2, 3], [1] * 4, [2] * 4) == 0.5
    assert width([1, 1], [2, 4]) == 2
    assert math.isnan(coverage([], [], []))


def test_refuses_inverted_or_missing_ends():
    with pytest.raises(ForecastError, match="1 interval"):
        coverage([1], [2], [1])
    with pytest.raises(ForecastError, match="missing or infinite"):
        width([1.0], [np.nan])
    with pytest.raises(ForecastError, match="shapes differ"):
        width([1.0], [1.0, 2.0])


def test_a_true_negative_binomial_covers_more_than_nominal_and_more_still_in_stock():
    """NB(5, 2), stock drawn from {6, 8, 12} apart from demand; 22 % of days censored.

    Exact: [1, 11] holds 84.03 % of all demand and 89.53 % of the demand below stock.
    """
    rng = np.random.default_rng(0)
    n_series, n_days = 500, 400
    n = n_series * n_days
    demand = NB.rvs(n, random_state=rng)
    stock = rng.choice([6, 8, 12], n)
    days = pd.date_range("2023-01-01", periods=n_days)
    keys = {
        "unique_id": np.repeat([f"s{i:03d}" for i in range(n_series)], n_days),
        "ds": np.tile(days, n_series),
    }
    panel = validate_panel(
        pd.DataFrame(
            {
                **keys,
                "y": np.minimum(demand, stock),
                "is_censored": demand >= stock,
                "stock": stock,
                "demand": demand,
            }
        )
    )
    assert panel["is_censored"].mean() == pytest.approx(0.22, abs=0.005)
    lo, hi = NB.ppf(0.1), NB.ppf(0.9)
    forecasts = pd.DataFrame(
        {
            **keys,
            "cutoff": days[0] - pd.Timedelta(days=1),
            "T_censor": 5.0,
            "T_censor-median": NB.median(),
            "T_censor-lo-80": lo,
            "T_censor-hi-80": hi,
        }
    )
    scores = evaluate(forecasts, panel, level=80, metrics="coverage", n_boot=200)
    truth = pooled(scores, "coverage", "demand", "T_censor", 80)
    in_stock = pooled(scores, "coverage", "in_stock", "T_censor", 80)
    x = np.arange(200)
    inside = (x >= lo) & (x <= hi)
    below = sum(NB.pmf(x) * (x < c) for c in (6, 8, 12))
    exact = NB.pmf(x)[inside].sum(), below[inside].sum() / below.sum()
    assert exact == pytest.approx((0.8403, 0.8953), abs=5e-5)
    assert truth.value == pytest.approx(exact[0], abs=0.003)
    assert in_stock.value == pytest.approx(exact[1], abs=0.003)
    assert truth.lo < exact[0] < truth.hi
    assert in_stock.lo < exact[1] < in_stock.hi


def test_expected_coverage_finds_the_models_own_probability():
    rng = np.random.default_rng(2)
    paths = NB.rvs((3, 4000, 5), random_state=rng).astype(float)
    lo, hi = np.full((3, 5), 1.0), np.full((3, 5), 11.0)
    lo[1, 2] = hi[1, 2] = np.nan
    share = expected_coverage(paths, lo, hi)
    assert np.isnan(share[1, 2])
    assert np.nanmean(share) == pytest.approx(0.8403, abs=0.006)
    np.testing.assert_allclose(share[2, 4], np.mean((paths[2, :, 4] >= 1) & (paths[2, :, 4] <= 11)))
    with pytest.raises(ForecastError, match="paths have shape"):
        expected_coverage(paths, lo[:2], hi[:2])
    paths[0, 0, 0] = np.nan
    with pytest.raises(ForecastError, match="missing or infinite"):
        expected_coverage(paths, lo, hi)


def test_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(2)
    paths = rng.poisson(3, (7, 50, 4)).astype(float)
    lo, hi = np.ones((7, 4)), np.full((7, 4), 4.0)
    whole = expected_coverage(paths, lo, hi)
    monkeypatch.setattr("civstats.evaluation.intervals._CHUNK", 401)
    np.testing.assert_array_equal(expected_coverage(paths, lo, hi), whole)


def test_expected_marginal_coverage_is_that_of_scipy():
    from scipy import stats

    from civstats.evaluation.intervals import expected_marginal_coverage

    rng = np.random.default_rng(5)
    mean, size = rng.gamma(1.0, 4.0, (6, 5)), rng.gamma(2.0, 1.0, (6, 1)) * np.ones((6, 5))
    mean[0, 0] = 0.0
    lo, hi = rng.integers(0, 4, (6, 5)).astype(float), rng.integers(4, 12, (6, 5)).astype(float)
    lo[0, 0] = 0.0
    lo[5, 4] = np.nan
    marginal = pd.DataFrame(
        {
            "unique_id": np.repeat(list("abcdef"), 5),
            "ds": np.tile(pd.date_range("2024-01-01", periods=5), 6),
            "family": "negbin",
            "mean": mean.ravel(),
            "dispersion": size.ravel(),
        }
    )
    got = expected_marginal_coverage(marginal, lo, hi)
    law = stats.nbinom(size, size / (size + mean))
    np.testing.assert_allclose(got, law.cdf(hi) - law.cdf(lo - 1), rtol=1e-9)
    assert got[0, 0] == 1.0
    with pytest.raises(ForecastError, match="expected one negbin row"):
        expected_marginal_coverage(marginal.assign(family="tweedie"), lo, hi)


def test_expected_coverage_of_a_mixture_is_the_weighted_sum():
    from scipy import stats

    from civstats.evaluation.intervals import expected_marginal_coverage

    rows = [("negbin", 2.0, 1.5, 0.5), ("negbin", 6.0, np.inf, 0.3), ("negbin", 0.0, 1.5, 0.2)]
    marginal = pd.DataFrame(rows * 2, columns=["family", "mean", "dispersion", "weight"])
    lo, hi = np.array([[0.0, 1.0]]), np.array([[4.0, 7.0]])
    first, second = stats.nbinom(1.5, 1.5 / 3.5), stats.poisson(6.0)
    expected = [
        0.5 * first.cdf(4) + 0.3 * second.cdf(4) + 0.2,
        0.5 * (first.cdf(7) - first.cdf(0)) + 0.3 * (second.cdf(7) - second.cdf(0)),
    ]
    np.testing.assert_allclose(expected_marginal_coverage(marginal, lo, hi), [expected], rtol=1e-12)
    with pytest.raises(ForecastError, match="as many with a weight"):
        expected_marginal_coverage(marginal.iloc[:5], lo, hi)


def test_pinball_and_winkler_are_scikit_learns_and_scoringrules():
    import scoringrules
    from sklearn.metrics import mean_pinball_loss

    panel = make_panel(5, 60)
    frame = make_forecasts(panel, ("A_mask",))
    scores = evaluate(frame, panel, level=[80, 95], n_boot=0, regimes="all_days")
    y = frame.merge(panel, on=["unique_id", "ds"])["y"].to_numpy(dtype=float)
    for level in (80, 95):
        lo, hi = frame[f"A_mask-lo-{level}"], frame[f"A_mask-hi-{level}"]
        tail = (1 - level / 100) / 2
        expect = mean_pinball_loss(y, lo, alpha=tail) + mean_pinball_loss(y, hi, alpha=1 - tail)
        row = pooled(scores, "pinball", "all_days", level=level)
        assert row.value == pytest.approx(expect / 2, rel=1e-10)
        expect = scoringrules.interval_score(y, lo.to_numpy(), hi.to_numpy(), 2 * tail).mean()
        row = pooled(scores, "winkler", "all_days", level=level)
        assert row.value == pytest.approx(expect, rel=1e-10)
