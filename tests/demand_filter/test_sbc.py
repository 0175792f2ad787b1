"""Simulation-based calibration: in worlds of the filter's own model the truth is one of its draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from civstats.demand_filter import (
    FilterParameters,
    _recovery_draws,
    calibration,
    sample_levels,
)
from civstats.demand_filter._own_world import _shop
from civstats.demand_filter.calibration import chi_square, draw_world, rank_among, truth_ranks
from civstats.schema import CivstatsError

BASE = FilterParameters("negbin", dispersion=2.0, level_sd=0.08, prior_mean=0.9, prior_sd=0.8)
CASES = {
    "negbin": BASE,
    "poisson": replace(BASE, family="poisson"),
    "zero inflated": replace(BASE, family="zero_inflated_negbin", zero_inflation=0.2),
    "hidden": replace(BASE, out_rate=0.06, back_rate=0.3),
    "damped": replace(BASE, damping=0.95, level_sd=0.2),
}
QUANTITIES = {
    "level, last day", "level, stockout day", "level, mean of all days", "demand, stockout day",
    "lost, middle third", "lost, all days",
}  # fmt: skip
N_DRAWS = 63


def moments(ranks):
    """P-value of the ranks' mean and spread: fewer questions than bins, so more power."""
    u = (np.asarray(ranks) + 0.5) / (N_DRAWS + 1) - 0.5
    square, fourth = ((np.arange(N_DRAWS + 1) + 0.5) / (N_DRAWS + 1) - 0.5) ** np.array([[2], [4]])
    square, fourth = square.mean(), fourth.mean()
    z = np.array([u.mean(), (u**2).mean() - square]) * np.sqrt(len(u))
    return stats.chi2.sf((z**2 / [square, fourth - square**2]).sum(), 2)


def p_values(ranks, test=chi_square):
    options = (N_DRAWS,) if test is chi_square else ()
    return {
        name: test(part.to_numpy(), *options)
        for name, part in ranks.groupby("quantity", sort=False)["rank"]
    }


@pytest.fixture(scope="module")
def world():
    return draw_world(BASE, 1000, 45, seed=7)


@pytest.mark.parametrize("case", CASES)
def test_the_ranks_of_the_truth_are_uniform(case):
    params = CASES[case]
    world = draw_world(params, 1000, 45, seed=7)
    if not params.hidden:
        # The check is worth something only where stockouts bite.
        assert world.panel["is_censored"].mean() > 0.25
        assert world.panel["y"].sum() < 0.65 * world.panel["demand"].sum()
    ranks = truth_ranks(world, n_draws=N_DRAWS, seed=1, n_jobs=1)
    found = p_values(ranks)
    assert set(found) == QUANTITIES | ({"days out"} if params.hidden else set())
    assert min(found.values()) > 0.002, found
    assert min(p_values(ranks, moments).values()) > 0.002


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_ranks_of_many_more_series_are_uniform(case):
    params = CASES[case]
    world = draw_world(params, 8000, 60, seed=11)
    ranks = truth_ranks(world, n_draws=N_DRAWS, seed=2, n_jobs=1)
    found = p_values(ranks)
    assert min(found.values()) > 0.001, found
    assert min(p_values(ranks, moments).values()) > 0.001


def test_survival_above_instead_of_at_the_bound_is_noticed(world):
    # P(D >= y + 1) is P(D > y), the off-by-one of 1 - F(c).
    panel = world.panel.copy()
    panel.loc[panel["is_censored"] & (panel["y"] > 0), "y"] += 1
    found = p_values(truth_ranks(replace(world, panel=panel), n_draws=N_DRAWS, seed=1, n_jobs=1))
    assert max(found.values()) < 1e-6, found


def test_draws_too_narrow_by_a_fifth_are_noticed(world, monkeypatch):
    def narrow(*args, **kwargs):
        drawn = sample_levels(*args, **kwargs)
        mean = drawn.levels.mean(axis=1, keepdims=True)
        return replace(drawn, levels=mean + np.float32(0.8) * (drawn.levels - mean))

    for module in (calibration, _recovery_draws):
        monkeypatch.setattr(module, "sample_levels", narrow)
    found = p_values(truth_ranks(world, n_draws=N_DRAWS, seed=1, n_jobs=1), moments)
    assert max(found[f"level, {x}"] for x in ("last day", "stockout day")) < 1e-5, found
    assert found["level, mean of all days"] < 1e-5, found


def test_a_prior_and_steps_too_narrow_by_a_fifth_are_noticed(world):
    narrow = replace(BASE, level_sd=0.8 * BASE.level_sd, prior_sd=0.8 * BASE.prior_sd)
    found = p_values(truth_ranks(world, narrow, n_draws=N_DRAWS, seed=1, n_jobs=1), moments)
    assert found["level, last day"] < 1e-3, found


def test_days_of_the_wrong_dispersion_are_noticed(world):
    found = p_values(
        truth_ranks(world, replace(BASE, dispersion=4.0), n_draws=N_DRAWS, seed=1, n_jobs=1)
    )
    assert found["lost, all days"] < 1e-6, found


def test_the_world_is_the_model():
    params = FilterParameters(
        "zero_inflated_negbin", dispersion=2.0, level_sd=0.1, damping=0.9, zero_inflation=0.3,
        prior_mean=1.0, prior_sd=0.5,
    )  # fmt: skip
    world = draw_world(params, 2000, 40, seed=3, weekday=[0.5, 0, 0, 0, 0, 0, -0.5])
    panel = world.panel
    level = world.levels.reshape(2000, 40)
    assert level[:, 0].mean() == pytest.approx(1.0, abs=0.05)
    assert level[:, 0].std() == pytest.approx(0.5, rel=0.05)
    step = level[:, 1:] - 1 - 0.9 * (level[:, :-1] - 1)
    assert step.std() == pytest.approx(0.1, rel=0.02)
    day = panel["ds"].dt.dayofweek.to_numpy()
    rate = np.exp(world.levels + np.array([0.5, 0, 0, 0, 0, 0, -0.5])[day])
    demand = panel["demand"].to_numpy(dtype=float)
    assert (demand / rate).mean() == pytest.approx(0.7, abs=0.02)
    zero = 0.3 + 0.7 * stats.nbinom.pmf(0, 2, 2 / (2 + rate))
    assert (demand == 0).mean() == pytest.approx(zero.mean(), abs=0.006)
    square = rate**2 * 0.7 * 1.5 + rate * 0.7
    assert np.mean(demand**2 / square) == pytest.approx(1.0, abs=0.04)
    assert (panel["y"] <= demand).all()
    whole = ~panel["is_censored"] & (panel["in_stock_share"] == 1)
    assert (panel["y"] == demand)[whole].all()
    part = ~panel["is_censored"] & (panel["in_stock_share"] < 1)
    seen = panel["y"][part].sum() / demand[part].sum()
    by_share = (panel["in_stock_share"] * demand)[part].sum() / demand[part].sum()
    assert seen == pytest.approx(by_share, abs=0.03)


def test_the_shop_sees_past_sales_only():
    rng = np.random.default_rng(0)
    asked = rng.poisson(4, (50, 60))
    out = rng.random(asked.shape) < 0.1
    options = (out, np.ones_like(out), np.array(3.0), 1.2, 3, 0)
    sales, capped = _shop(asked, *options)
    assert 0.1 < capped.mean() < 0.9
    # Demand that was turned away, or came while the shelf was empty, leaves no trace.
    hidden = capped | out
    more = asked + hidden * rng.integers(0, 9, asked.shape)
    again, capped_again = _shop(more, *options)
    np.testing.assert_array_equal(sales, again)
    np.testing.assert_array_equal(capped & ~out, capped_again & ~out)


def test_ranks_break_ties_evenly():
    rng = np.random.default_rng(0)
    draws = rng.poisson(0.4, (20_000, 8))
    ranks = rank_among(draws[:, 0], draws[:, 1:], rng)
    counts = np.bincount(ranks, minlength=8)
    assert stats.chisquare(counts).pvalue > 0.001
    assert counts.sum() == 20_000
    assert rank_among(np.array([0.0, 9.0]), draws[:2], rng)[1] == 8


def test_refusals():
    with pytest.raises(CivstatsError, match="worlds are drawn for"):
        draw_world(FilterParameters("normal", dispersion=1.0), 2, 5, 0)
    with pytest.raises(CivstatsError, match="n_draws must be 1 or more"):
        truth_ranks(draw_world(BASE, 2, 5, 0), n_draws=0)
    with pytest.raises(CivstatsError, match="multiple of the bins"):
        chi_square(np.arange(10), 10)
