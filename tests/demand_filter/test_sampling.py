"""Sampled paths have the moments of the passes, whatever the company they are drawn in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from civstats.demand_filter import (
    FilterParameters,
    _runner,
    filter_levels,
    sample_forward,
    sample_levels,
    smooth_levels,
)
from civstats.schema import CivstatsError
from tests.demand_filter.worlds import many

N = 4000
NEGBIN = FilterParameters("negbin", dispersion=2.0, level_sd=0.1, prior_mean=0.5, prior_sd=0.8)
CASES = {
    "walk": NEGBIN,
    "substeps": replace(NEGBIN, level_sd=0.6),
    "damped": replace(NEGBIN, damping=0.9, level_sd=0.2),
    "hidden": replace(NEGBIN, out_rate=0.1, back_rate=0.3),
    "hidden substeps": replace(NEGBIN, level_sd=0.6, out_rate=0.1, back_rate=0.3),
}


@pytest.mark.parametrize("case", CASES)
def test_moments_of_backward_sampling(case):
    params = CASES[case]
    obs, _ = many(2, 40, seed=3, hidden=params.hidden)
    want = smooth_levels(obs, params, lag_covariance=True)
    paths = sample_levels(obs, params, N, 11, grid=want.grid)
    draws = paths.levels.astype(float)
    sd = want.smoothed.sd
    z = (draws.mean(axis=1) - want.smoothed.mean) / (sd / np.sqrt(N))
    assert np.abs(z).max() < 5
    assert np.sqrt(np.mean(z**2)) < 2.2  # days of a series move together
    np.testing.assert_allclose(draws.std(axis=1), sd, rtol=0.08)
    for i in range(obs.n_series):
        rows = np.arange(obs.starts[i] + 1, obs.ends[i])
        gap = draws - want.smoothed.mean[:, None]
        cov = (gap[rows] * gap[rows - 1]).mean(axis=1)
        np.testing.assert_allclose(cov, want.lag_covariance[rows], atol=0.1 * sd.max() ** 2)
        steps = np.diff(draws[obs.starts[i] : obs.ends[i]], axis=0)
        # A path must move as the posterior says, not jump between independent days.
        expected = (
            np.diff(want.smoothed.mean[obs.starts[i] : obs.ends[i]]) ** 2
            + sd[rows] ** 2 + sd[rows - 1] ** 2 - 2 * want.lag_covariance[rows]
        )  # fmt: skip
        assert np.mean(steps**2) == pytest.approx(expected.mean(), rel=0.05)
    if params.hidden:
        p = want.smoothed.p_out
        z = (paths.out.mean(axis=1) - p) / np.sqrt(np.maximum(p * (1 - p), 1e-4) / N)
        assert np.abs(z).max() < 5
        turns = (~paths.out[:-1] & paths.out[1:]).mean(axis=1)
        turns = np.delete(turns, obs.starts[1:] - 1).sum()
        assert turns == pytest.approx(want.transitions[:, 0, 1].sum(), rel=0.03)
    else:
        assert paths.out is None


def test_draws_depend_on_seed_and_name_alone(monkeypatch):
    params = CASES["hidden"]
    obs, _ = many(7, 50, hidden=True)
    keep = np.random.default_rng(1).random(obs.n_rows) < 0.4
    whole = sample_levels(obs, params, 6, 5)
    monkeypatch.setattr(_runner, "BLOCK_ROWS", 90)
    some = sample_levels(obs, params, 6, 5, keep=keep, n_jobs=3)
    np.testing.assert_array_equal(some.rows, np.flatnonzero(keep))
    np.testing.assert_array_equal(some.levels, whole.levels[keep])
    np.testing.assert_array_equal(some.out, whole.out[keep])
    part = sample_levels(obs.take([4, 1]), params, 6, 5)
    np.testing.assert_array_equal(part.levels, whole.levels[obs.rows_of([4, 1])])
    other = sample_levels(obs, params, 6, 6)
    assert (other.levels != whole.levels).any(axis=0).all()
    a, b = (sample_levels(obs, params, 6, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(a.levels, b.levels)
    first = [whole.levels[s, 0] for s in obs.starts]
    assert len(set(first)) > 3


@pytest.mark.parametrize("case", ["walk", "damped", "hidden"])
def test_onward_paths(case):
    params, h = CASES[case], 30
    obs, _ = many(2, 40, seed=3, hidden=params.hidden)
    got = filter_levels(obs, params)
    paths = sample_forward(got.state, params, h, N, 3)
    assert paths.levels.shape == (2, N, h)
    ends = obs.ends - 1
    mean, var = got.filtered.mean[ends], got.filtered.sd[ends] ** 2
    phi, q = float(params.damping), float(params.level_sd) ** 2
    for day in range(h):
        mean = 0.5 + phi * (mean - 0.5) if phi < 1 else mean - q / 2
        var = phi**2 * var + q
        z = (paths.levels[:, :, day].mean(axis=1) - mean) / np.sqrt(var / N)
        assert np.abs(z).max() < 5
        np.testing.assert_allclose(paths.levels[:, :, day].var(axis=1), var, rtol=0.15)
    if params.hidden:
        p = got.filtered.p_out[ends]
        for day in range(h):
            p = p * 0.7 + (1 - p) * 0.1
            np.testing.assert_allclose(paths.out[:, :, day].mean(axis=1), p, atol=0.04)
    alone = sample_forward(got.state.take([1]), params, h, N, 3)
    np.testing.assert_array_equal(alone.levels[0], paths.levels[1])


def test_refusals():
    obs, _ = many(2, 20)
    with pytest.raises(CivstatsError, match="n must be a whole number"):
        sample_levels(obs, NEGBIN, 0, 1)
    with pytest.raises(CivstatsError, match="keep must hold"):
        sample_levels(obs, NEGBIN, 2, 1, keep=np.ones(3, bool))
    state = filter_levels(obs, NEGBIN).state
    with pytest.raises(CivstatsError, match="h must be a whole number"):
        sample_forward(state, NEGBIN, 0, 2, 1)
    with pytest.raises(CivstatsError, match="hidden availability"):
        sample_forward(state, CASES["hidden"], 3, 2, 1)
