"""Distribution functions and CRPS of forecast rows, against scipy, scoringrules and plain sums."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scoringrules
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from civstats.evaluation import evaluate
from civstats.evaluation.alignment import align
from civstats.evaluation.distributions import (
    MIN_DRAWS,
    DrawRows,
    NegBinRows,
    components,
)
from civstats.evaluation.predictive import read_distributions, refuse_other_means
from civstats.schema import Forecast, ForecastError
from tests.evaluation.world import make_forecasts, make_panel


def one(mean, size) -> NegBinRows:
    mean, size = (np.asarray(x, dtype=float)[:, None] for x in (mean, size))
    return NegBinRows(np.ones_like(mean), mean, size)


def summed(cdf, y, bound, upto):
    """Localised CRPS as it is defined, term by term."""
    x = np.arange(min(bound, upto))
    return np.square(cdf(x) - (y <= x)).sum()


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    mean, size = np.exp(rng.normal(1, 1.5, 400)), np.exp(rng.normal(0.5, 1, 400))
    return mean, size, rng.poisson(rng.gamma(size, mean / size)).astype(float)


def test_one_component_is_scipys_negative_binomial(rows):
    mean, size, y = rows
    held, peer = one(mean, size), stats.nbinom(size, size / (size + mean))
    np.testing.assert_allclose(held.cdf(y), peer.cdf(y), rtol=1e-10)
    np.testing.assert_allclose(held.log_pmf(y), peer.logpmf(y), rtol=1e-10, atol=1e-12)
    # Ties included: P(D >= y) is scipy's survival at y - 1.
    np.testing.assert_allclose(held.log_survival(y), peer.logsf(y - 1), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        held.inside(y - 2.5, y + 1.2), peer.cdf(y + 1) - peer.cdf(y - 3), rtol=1e-9, atol=1e-14
    )


def test_crps_of_one_component_is_scoringrules(rows):
    mean, size, y = rows
    expect = scoringrules.crps_negbinom(y, size, size / (size + mean))
    np.testing.assert_allclose(one(mean, size).crps(y), expect, rtol=1e-10, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    y=st.integers(0, 40),
    bound=st.one_of(st.integers(0, 40), st.just(np.inf)),
)
def test_crps_of_a_mixture_is_its_definition(seed, y, bound):
    rng = np.random.default_rng(seed)
    weight = rng.dirichlet(np.ones(3))[None]
    mean, size = np.exp(rng.normal(0.5, 1.5, (1, 3))), np.exp(rng.normal(0.5, 1, (1, 3)))
    mean[0, 0] *= rng.integers(0, 2)  # now and then a point mass at 0
    peer = [stats.nbinom(a, a / (a + m)) for a, m in zip(size[0], mean[0], strict=True)]
    upto = 10 + int(max(p.ppf(1 - 1e-13) for p in peer))
    expect = summed(lambda x: sum(w * p.cdf(x) for w, p in zip(weight[0], peer, strict=True)),
                    y, bound, max(upto, 50))  # fmt: skip
    got = NegBinRows(weight, mean, size).crps(np.array([float(y)]), np.array([float(bound)]))
    np.testing.assert_allclose(got, expect, rtol=1e-10, atol=1e-10)


def test_large_means_begin_in_their_lower_tail():
    mean, size, y = np.array([5000.0, 800.0, 2000.0]), np.array([1e6, 2.0, 50.0]), [4900.0, 0, 3000]
    expect = [
        summed(stats.nbinom(a, a / (a + m)).cdf, k, np.inf, 60_000)
        for m, a, k in zip(mean, size, y, strict=True)
    ]
    np.testing.assert_allclose(one(mean, size).crps(y), expect, rtol=1e-7)
    # Below where the distribution begins each step past y costs 1.
    low = one([5000.0], [1e6]).crps(np.array([3.0]), np.array([103.0]))
    np.testing.assert_allclose(low, 100.0)


def test_a_mean_of_zero_is_a_point_mass():
    held = one([0.0], [2.0])
    assert held.cdf(np.array([0.0])) == 1
    assert held.log_pmf(np.array([0.0])) == 0
    assert held.log_pmf(np.array([1.0])) == -np.inf
    assert held.crps(np.array([4.0])) == 4


def test_draws_below_a_bound_are_scored_as_their_minimum():
    rng = np.random.default_rng(1)
    draws = rng.negative_binomial(2, 2 / 7, (3, MIN_DRAWS)).astype(float)
    y, bound = np.array([0.0, 4.0, 9.0]), np.array([0.0, 6.0, 30.0])
    held = DrawRows(draws)
    got = held.crps(y, bound)
    for i in range(3):
        n, cut = MIN_DRAWS, np.minimum(draws[i], bound[i])
        # The fair estimator: its spread term takes pairs of different draws.
        spread = np.abs(cut[:, None] - cut).sum() / (n * (n - 1))
        expect = np.abs(cut - min(y[i], bound[i])).mean() - spread / 2
        assert got[i] == pytest.approx(expect, abs=1e-10)
    exact = one([5.0] * 3, [2.0] * 3).crps(y, bound)
    np.testing.assert_allclose(got, exact, atol=0.12)
    assert DrawRows(draws[:, 1:]).crps(y) is None
    assert held.log_pmf(y) is None


def test_distributions_are_found_by_series_day_and_cutoff():
    panel = make_panel(4, 40)
    frame = make_forecasts(panel, ("A_mask",), h=5, n_windows=2)
    rng = np.random.default_rng(0)
    handed, truth = [], []
    for k, (cutoff, part) in enumerate(frame.groupby("cutoff")):
        part = part.sort_values(["unique_id", "ds"])
        marginal = part[["unique_id", "ds"]].assign(
            family="negbin", mean=rng.gamma(2, 2, len(part)), dispersion=2.0
        )
        if k:  # the second cutoff is a mixture of two
            marginal = marginal.loc[marginal.index.repeat(2)].assign(weight=0.5)
        handed.append(Forecast(part, "A", "mask", (80, 95), marginal=marginal))
        mean = marginal.groupby(["unique_id", "ds"], observed=True)["mean"].mean()
        truth.append(mean.reset_index().assign(cutoff=cutoff))
    aligned = align(frame.sample(frac=1, random_state=0), panel)
    got = read_distributions(handed, aligned)
    expect = pd.concat(truth).sort_values(["unique_id", "cutoff", "ds"])["mean"].to_numpy()
    np.testing.assert_allclose((got.weight * got.mean).sum(axis=1), expect)
    partial = read_distributions(handed[:1], aligned)
    assert np.isnan(partial.cdf(np.zeros(40))).sum() == 20
    assert read_distributions([], aligned) is None
    with pytest.raises(ForecastError, match=r"A_mask: 20 row\(s\) have two distributions.*cutoff"):
        read_distributions([*handed, handed[1]], aligned)


def test_marginals_out_of_shape_or_range_are_refused():
    keys = {"unique_id": ["a", "b"], "ds": 0, "family": "negbin", "dispersion": 2.0}
    good = pd.DataFrame({**keys, "mean": [1.0, 2.0]})
    components(good, 2)
    with pytest.raises(ForecastError, match="marginals of tweedie"):
        components(good.assign(family="tweedie"), 2)
    with pytest.raises(ForecastError, match=r"2 row\(s\) for 3"):
        components(good, 3)
    with pytest.raises(ForecastError, match=r"1 row\(s\) of the marginals"):
        components(good.assign(mean=[1.0, -1.0]), 2)
    with pytest.raises(ForecastError, match="do not add up to 1"):
        components(good.assign(weight=0.5), 2)


def test_a_mean_that_is_not_the_distributions_is_refused():
    panel = make_panel(4, 40)
    frame = make_forecasts(panel, ("A_mask",), h=5, n_windows=2)
    aligned = align(frame, panel)
    mean = aligned.read("A_mask", "mean")
    rng = np.random.default_rng(0)
    family = one(mean, np.full(len(mean), 2.0))
    refuse_other_means("A_mask", family, aligned)
    refuse_other_means("A_mask", one(np.where(mean > 3, np.nan, mean), np.ones(len(mean))), aligned)
    other = mean.copy()
    other[7] *= 1.05
    with pytest.raises(ForecastError, match=r"A_mask: in 1 row\(s\) the distribution has another"):
        refuse_other_means("A_mask", one(other, np.ones(len(mean))), aligned)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        draws = rng.negative_binomial(0.5, 0.5 / (0.5 + mean[:, None]), (len(mean), 200))
        refuse_other_means("A_mask", DrawRows(draws.astype(np.float32)), aligned)
    many = rng.poisson(1.3 * mean[:, None], (len(mean), 5000)).astype(np.float32)
    with pytest.raises(ForecastError, match=r"in \d+ row\(s\) the distribution has another mean"):
        refuse_other_means("A_mask", DrawRows(many), aligned)


def test_evaluate_refuses_forecasts_of_another_frame():
    panel = make_panel(4, 40)
    frame = make_forecasts(panel, ("A_mask",), h=5, n_windows=1).sort_values(["unique_id", "ds"])
    marginal = frame[["unique_id", "ds"]].assign(
        family="negbin", mean=frame["A_mask"], dispersion=2
    )
    held = Forecast(frame, "A", "mask", (80, 95), marginal=marginal)
    evaluate(frame, panel, n_boot=0, predictive=[held])
    with pytest.raises(ForecastError, match=r"20 row.* the distribution has another mean"):
        evaluate(frame.assign(A_mask=frame["A_mask"] + 1), panel, n_boot=0, predictive=[held])


def test_many_draws_need_no_matrix_of_pairs():
    """20,000 rows of 1,000 draws: their pairs alone would take 160 GB."""
    import resource

    rng = np.random.default_rng(5)
    draws = rng.poisson(3.0, (20_000, 1_000)).astype(np.float32)
    y = rng.poisson(3.0, 20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = DrawRows(draws).crps(y)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6 < 2
    some = draws[:20].astype(float)
    pairs = np.abs(some[:, :, None] - some[:, None, :]).sum(axis=(1, 2)) / (2 * 1_000 * 999)
    exact = np.abs(some - y[:20, None]).mean(axis=1) - pairs
    np.testing.assert_allclose(found[:20], exact, rtol=1e-10)
