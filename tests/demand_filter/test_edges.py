"""Edge cases, grids that must grow, and what must not change a bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from civstats.demand_filter import (
    BOUND,
    EXACT,
    IN,
    OUT,
    SILENT,
    UNKNOWN,
    FilterParameters,
    Grid,
    _runner,
    build_grid,
    filter_levels,
    log_likelihood,
    smooth_levels,
    visit_posteriors,
)
from civstats.schema import CivstatsError
from tests.demand_filter import oracle
from tests.demand_filter.worlds import many, one

NEGBIN = FilterParameters("negbin", dispersion=2.0, level_sd=0.05, prior_mean=0.5, prior_sd=0.8)
HIDDEN = replace(NEGBIN, out_rate=0.05, back_rate=0.3)


def same(a, b):
    np.testing.assert_array_equal(a.loglik, b.loglik)
    for name in ("filtered", "smoothed"):
        for field in ("mean", "sd", "rate"):
            x, y = getattr(getattr(a, name), field), getattr(getattr(b, name), field)
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("params", [NEGBIN, HIDDEN])
def test_a_day_out_from_the_start_is_a_silent_day_to_the_last_bit(params):
    y = [2.0, 0.0, 3.0, 0.0, 0.0, 1.0]
    bound = one(y, [EXACT, BOUND, EXACT, BOUND, BOUND, EXACT])
    silent = one(y, [EXACT, SILENT, EXACT, SILENT, SILENT, EXACT])
    grid = build_grid(silent, params)
    same(smooth_levels(bound, params, grid=grid), smooth_levels(silent, params, grid=grid))


def test_time_advances_on_silent_days():
    got = filter_levels(one([3.0] + [0.0] * 30, [EXACT] + [SILENT] * 30), NEGBIN)
    sd = got.filtered.sd
    np.testing.assert_allclose(sd**2, sd[0] ** 2 + 0.05**2 * np.arange(31), rtol=1e-6)
    falls = 0.5 * 0.05**2 * np.arange(31)
    np.testing.assert_allclose(got.filtered.mean, got.filtered.mean[0] - falls, atol=1e-6)
    # So that expected demand stays where it is, but for what a step on the grid is not a normal's.
    np.testing.assert_allclose(got.filtered.rate, got.filtered.rate[0], rtol=5e-4)


def test_always_out_of_stock_leaves_the_prior():
    got = smooth_levels(one(np.zeros(200), np.full(200, SILENT)), NEGBIN)
    assert got.loglik[0] == 0.0
    falls = 0.5 * 0.05**2 * np.arange(200)
    np.testing.assert_allclose(got.filtered.mean, 0.5 - falls, atol=1e-6)
    want = np.sqrt(0.8**2 + 0.05**2 * np.arange(200))
    np.testing.assert_allclose(got.filtered.sd, want, rtol=1e-4)
    np.testing.assert_allclose(got.smoothed.sd[0], 0.8, rtol=1e-4)


def test_out_for_ever_under_hidden_availability():
    got = smooth_levels(one(np.zeros(50), status=np.full(50, OUT)), HIDDEN)
    np.testing.assert_allclose(got.smoothed.p_out, 1.0, atol=1e-12)
    falls = 0.5 * 0.05**2 * np.arange(50)
    np.testing.assert_allclose(got.smoothed.mean, 0.5 - falls, atol=1e-6)
    start = 0.05 / 0.35
    assert got.loglik[0] == pytest.approx(np.log(start) + 49 * np.log(0.7), abs=1e-9)


def test_what_was_sold_was_in_stock():
    y = [1.0, 0.0, 1.0, 3.0]
    told, found = (smooth_levels(one(y, status=s), HIDDEN) for s in ([IN, 0, IN, IN], [0] * 4))
    assert (found.smoothed.p_out[[0, 2, 3]] == 0).all()
    assert 0 < found.smoothed.p_out[1] < 1
    same(told, found)


def test_one_day():
    obs = one([4.0])
    grid = build_grid(obs, NEGBIN)
    got = smooth_levels(obs, NEGBIN, grid=grid)
    p = {"family": "negbin", "dispersion": 2.0, "level_sd": 0.05, "prior_mean": 0.5}
    levels = grid.levels(0)
    want = oracle.run(levels, p | {"prior_sd": 0.8}, obs.y, obs.kind, obs.status, obs.offset)
    assert got.loglik[0] == pytest.approx(want["loglik"], abs=1e-10)
    assert got.smoothed.mean[0] == pytest.approx(want["filtered"][0, 0] @ levels, abs=1e-10)


def test_all_zeros():
    got = smooth_levels(one(np.zeros(400)), NEGBIN)
    rate = got.smoothed.rate
    assert (rate[100:] < 0.05).all()
    assert np.isfinite(got.loglik[0])
    doubtful = smooth_levels(one(np.zeros(400)), HIDDEN)
    assert doubtful.loglik[0] > got.loglik[0]


@pytest.mark.parametrize(
    ("mean", "params"),
    [
        (400.0, replace(NEGBIN, dispersion=50.0, prior_mean=np.log(300.0))),
        (400.0, FilterParameters("poisson", level_sd=0.05, prior_mean=np.log(300.0))),
        (1e-3, replace(NEGBIN, prior_mean=np.log(1e-2), prior_sd=1.5)),
    ],
)
def test_large_and_tiny_means_against_the_dense_chain(mean, params):
    rng = np.random.default_rng(2)
    y = rng.poisson(mean, 40).astype(float)
    kind = np.where(np.arange(40) % 5 == 2, BOUND, EXACT)
    obs = one(y, kind)
    grid = build_grid(obs, params, spacing=1.0)
    got = smooth_levels(obs, params, grid=grid)
    levels = got.grid.levels(0)
    p = {k: getattr(params, k) for k in ("family", "dispersion", "level_sd", "prior_mean")}
    p |= {"prior_sd": params.prior_sd}
    p = {k: v if isinstance(v, str) else float(v) for k, v in p.items()}
    want = oracle.run(levels, p, y, kind, obs.status, obs.offset)
    assert got.loglik[0] == pytest.approx(want["loglik"], abs=1e-8)
    mass = want["smoothed"][:, 0]
    np.testing.assert_allclose(got.smoothed.mean, mass @ levels, atol=1e-8)


def test_a_level_that_leaves_the_grid_widens_it_to_the_same_answer():
    params = FilterParameters("poisson", level_sd=0.1, prior_mean=0.0, prior_sd=0.5)
    y = np.r_[np.ones(20), np.full(40, 60.0)]
    narrow = Grid(np.zeros(1), np.array([0.1]), np.array([-28]), np.array([56]))
    wide = Grid(np.zeros(1), np.array([0.1]), np.array([-120]), np.array([240]))
    got, want = (smooth_levels(one(y), params, grid=g) for g in (narrow, wide))
    assert (got.n_widened, want.n_widened) == (1, 0)
    assert got.grid.size[0] > 56
    assert got.grid.levels(0)[-1] > np.log(60)
    assert got.loglik[0] == pytest.approx(want.loglik[0], abs=1e-4)
    np.testing.assert_allclose(got.smoothed.mean, want.smoothed.mean, atol=1e-4)
    np.testing.assert_allclose(got.smoothed.sd, want.smoothed.sd, atol=1e-4)


def test_a_day_the_past_held_for_next_to_impossible():
    p = {"family": "poisson", "level_sd": 0.02, "prior_mean": -3.0, "prior_sd": 0.1}
    y = np.r_[np.zeros(100), 250.0, np.zeros(20)]
    got = smooth_levels(one(y), FilterParameters(**p), day_loglik=True)
    assert got.day_loglik[100] < -700  # a plain product of prediction and likelihood underflows
    assert got.loglik[0] == pytest.approx(_log_space_loglik(got.grid.levels(0), p, y), rel=1e-9)
    assert np.isfinite(got.smoothed.mean).all()


def _log_space_loglik(levels, p, y):
    """The forward pass in logarithms, which cannot underflow."""
    from scipy import special, stats

    chain, _ = oracle.level_matrix(levels, p["level_sd"], 1.0, 0.0, oracle.drift_of(p))
    with np.errstate(divide="ignore"):
        log_chain = np.log(chain)
    now = stats.norm.logpdf(levels, p["prior_mean"], p["prior_sd"])
    now = now - special.logsumexp(now)
    for t, value in enumerate(y):
        if t:
            now = special.logsumexp(now[:, None] + log_chain, axis=0)
        now = now + stats.poisson(np.exp(levels)).logpmf(value)
    return special.logsumexp(now)


@pytest.mark.parametrize("params", [NEGBIN, HIDDEN])
def test_neighbours_threads_and_blocks_do_not_matter(params, monkeypatch):
    obs, _ = many(9, 80, hidden=params.hidden)
    whole = smooth_levels(obs, params, n_jobs=1)
    monkeypatch.setattr(_runner, "BLOCK_ROWS", 100)
    same(whole, smooth_levels(obs, params, n_jobs=3))
    some = smooth_levels(obs.take([5, 2]), params)
    rows = obs.rows_of([5, 2])
    np.testing.assert_array_equal(some.smoothed.mean, whole.smoothed.mean[rows])
    np.testing.assert_array_equal(some.loglik, whole.loglik[[5, 2]])
    single = smooth_levels(obs, params, dtype=np.float32)
    assert single.smoothed.mean.dtype == np.float32
    np.testing.assert_allclose(single.smoothed.mean, whole.smoothed.mean, atol=1e-5)


def test_a_fixed_grid_changes_nothing_but_the_grid():
    obs, _ = many(6, 90)
    free = smooth_levels(obs, NEGBIN)
    fixed = smooth_levels(obs, NEGBIN, grid=free.grid)
    same(free, fixed)
    fine = smooth_levels(obs, NEGBIN, grid=build_grid(obs, NEGBIN, spacing=0.1))
    sd = fine.smoothed.sd
    assert (np.abs(free.smoothed.mean - fine.smoothed.mean) < 0.1 * sd).all()
    np.testing.assert_allclose(free.smoothed.sd, sd, rtol=0.05)
    np.testing.assert_allclose(free.loglik, fine.loglik, atol=0.05)


@pytest.mark.parametrize("params", [NEGBIN, HIDDEN])
def test_visits_see_the_distributions_behind_the_summaries(params):
    obs, _ = many(5, 60, hidden=params.hidden)
    keep = np.random.default_rng(0).random(obs.n_rows) < 0.3
    keep[obs.starts[2] : obs.ends[2]] = False
    mean, before, seen = np.full(obs.n_rows, np.nan), np.full(obs.n_rows, np.nan), []

    def visit(day):
        seen.append(day.series)
        assert day.smoothed.shape == (len(day.rows), 1 + params.hidden, len(day.levels))
        mean[day.rows] = day.smoothed.sum(axis=1) @ day.levels
        before[day.rows] = day.filtered.sum(axis=1) @ day.levels

    got = visit_posteriors(obs, params, visit, keep=keep)
    want = smooth_levels(obs, params)
    assert sorted(seen) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(mean[keep], want.smoothed.mean[keep], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(before[keep], want.filtered.mean[keep], rtol=1e-12, atol=1e-12)
    assert np.isnan(mean[~keep]).all()
    np.testing.assert_array_equal(got.loglik, want.loglik)


def test_quantiles():
    obs, _ = many(4, 60)
    probs = [0.9, 0.1, 0.5, 0.025]
    got = smooth_levels(obs, NEGBIN, quantiles=probs)
    assert got.quantiles.shape == (obs.n_rows, 4)
    levels, cells = {}, {}

    def visit(day):
        levels[day.series], cells[day.series] = day.levels, day.smoothed[:, 0].copy()

    visit_posteriors(obs, NEGBIN, visit)
    for i in range(4):
        d = levels[i][1] - levels[i][0]
        edges = np.r_[levels[i] - d / 2, levels[i][-1] + d / 2]
        for t in (0, 30):
            below = np.r_[0, np.cumsum(cells[i][t])]
            want = np.interp(np.array(probs) * below[-1], below, edges)
            np.testing.assert_allclose(got.quantiles[obs.starts[i] + t], want, atol=1e-8)


@pytest.mark.parametrize(
    ("obs", "params", "text"),
    [
        (one([1.0, 2.5]), NEGBIN, "must be whole .* first day 2 of a"),
        (one([1.0, -1.0]), NEGBIN, "whole and >= 0"),
        (one([0.5, 0.0]), FilterParameters("lognormal", dispersion=1.0), "lognormal .* day 2 of a"),
        (one([1.0, 2.0], status=[IN, OUT]), HIDDEN, "known to be out of stock cannot have sales"),
        (
            one([0.0, 1.0], status=[OUT, UNKNOWN]),
            replace(HIDDEN, back_rate=0.0),
            "make impossible, first a",
        ),
    ],
)
def test_days_the_model_cannot_produce(obs, params, text):
    with pytest.raises(CivstatsError, match=text):
        log_likelihood(obs, params)


def test_bounds_need_not_be_whole():
    params = NEGBIN
    a = log_likelihood(one([2.0, 2.3], [EXACT, BOUND]), params)
    b = log_likelihood(one([2.0, 3.0], [EXACT, BOUND]), params)
    assert a[0] == pytest.approx(b[0], abs=1e-6)


def test_arguments_are_checked():
    obs = one([1.0, 2.0])
    with pytest.raises(CivstatsError, match="summaries"):
        filter_levels(obs, NEGBIN, summaries=("smoothed",))
    with pytest.raises(CivstatsError, match="quantiles"):
        smooth_levels(obs, NEGBIN, quantiles=[10])
    with pytest.raises(CivstatsError, match="n_jobs"):
        filter_levels(obs, NEGBIN, n_jobs=0)
    with pytest.raises(CivstatsError, match="keep must hold 2 booleans"):
        visit_posteriors(obs, NEGBIN, print, keep=np.ones(3, bool))
    with pytest.raises(CivstatsError, match="made for 3 series"):
        filter_levels(obs, FilterParameters(prior_mean=np.zeros(3)))
    wild = FilterParameters("normal", dispersion=1e-6, level_sd=1e-7, prior_sd=1e3)
    with pytest.raises(CivstatsError, match="grid points"):
        log_likelihood(obs, wild)
