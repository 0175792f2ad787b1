from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from civstats.demand_filter import (
    SILENT,
    FilterParameters,
    build_grid,
    filter_levels,
    log_likelihood,
)
from tests.demand_filter.worlds import many, one

PARAMS = FilterParameters("negbin", dispersion=2.0, level_sd=0.05, prior_mean=0.3, prior_sd=0.8)


def test_a_lattice_through_the_prior_mean_that_covers_prior_and_data():
    obs, level = many(6, 100)
    grid = build_grid(obs, PARAMS)
    for i in range(6):
        levels = grid.levels(i)
        assert np.abs(levels - 0.3).min() < 1e-12
        np.testing.assert_allclose(np.diff(levels), grid.spacing[i], rtol=1e-9)
        assert levels[0] <= 0.3 - 5 * 0.8
        assert levels[-1] >= 0.3 + 5 * 0.8
        own = level[obs.starts[i] : obs.ends[i]]
        assert levels[0] < own.min()
        assert own.max() < levels[-1]
        assert len(levels) % 8 == 0


def test_the_range_reaches_for_data_far_from_the_prior():
    params = replace(PARAMS, prior_mean=0.0, prior_sd=0.2)
    got = filter_levels(one(np.full(100, 300.0)), params)
    assert got.grid.levels(0)[-1] > np.log(300) > build_grid(one([0.0]), params).levels(0)[-1]
    assert got.filtered.mean[-1] == pytest.approx(np.log(300), abs=0.3)


@pytest.mark.parametrize(("family", "sd"), [("normal", 2.0), ("lognormal", 0.5)])
def test_continuous_families(family, sd):
    rng = np.random.default_rng(0)
    y = np.exp(rng.normal(3.0, sd, 200)) if family == "lognormal" else rng.normal(30.0, sd, 200)
    params = FilterParameters(family, dispersion=sd, level_sd=0.05, prior_mean=0.0, prior_sd=1.0)
    got = filter_levels(one(y), params)
    want = np.log(y).mean() if family == "lognormal" else y.mean()
    assert got.filtered.mean[-1] == pytest.approx(want, abs=4 * got.filtered.sd[-1])


def test_widening_keeps_the_points():
    obs, _ = many(3, 50)
    grid = build_grid(obs, PARAMS)
    wide = grid.widened(np.array([0, 5, 20]), np.array([7, 0, 3]))
    for i in range(3):
        inner = wide.levels(i)[grid.first[i] - wide.first[i] :][: grid.size[i]]
        np.testing.assert_array_equal(inner, grid.levels(i))
    assert (wide.size >= grid.size + np.array([7, 5, 23])).all()
    # More room where there is no mass changes no likelihood.
    a, b = log_likelihood(obs, PARAMS, grid=grid), log_likelihood(obs, PARAMS, grid=wide)
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_spacing_follows_what_the_data_say():
    quiet = build_grid(one(np.full(300, 10.0)), PARAMS).spacing[0]
    busy = build_grid(one(np.full(300, 10.0)), replace(PARAMS, dispersion=np.inf)).spacing[0]
    calm = build_grid(one(np.full(300, 10.0)), replace(PARAMS, level_sd=0.01)).spacing[0]
    assert busy < quiet
    assert calm < quiet
    half = build_grid(one(np.full(300, 10.0)), PARAMS, spacing=0.25).spacing[0]
    assert half == pytest.approx(quiet / 2)


def test_grids_without_a_day_that_speaks():
    obs = one(np.zeros(30), np.full(30, SILENT))
    for params in (PARAMS, replace(PARAMS, level_sd=0.0), replace(PARAMS, prior_sd=0.0)):
        got = filter_levels(obs, params)
        fallen = 0.3 - 29 * 0.5 * float(params.level_sd) ** 2
        assert got.filtered.mean[-1] == pytest.approx(fallen, abs=1e-6)
    still = filter_levels(obs, replace(PARAMS, level_sd=0.0, prior_sd=0.0))
    np.testing.assert_allclose(still.filtered.sd, 0.0, atol=1e-9)


def test_the_bar_counts_series_on_stderr(capfd):
    obs, _ = many(3, 30)
    log_likelihood(obs, PARAMS, progress=True)
    assert "3/3" in capfd.readouterr().err
    log_likelihood(obs, PARAMS)
    assert capfd.readouterr().err == ""
