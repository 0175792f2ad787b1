"""Both passes against the dense chain, family by family."""

from __future__ import annotations

import numpy as np
import pandas as pd
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
    Observations,
    filter_levels,
    log_likelihood,
    smooth_levels,
)
from civstats.demand_filter import _runner as runner
from tests.demand_filter import oracle

CASES = {
    "poisson": {"family": "poisson", "level_sd": 0.1},
    "negbin": {"family": "negbin", "dispersion": 1.7, "level_sd": 0.1},
    "negbin as poisson": {"family": "negbin", "dispersion": np.inf, "level_sd": 0.1},
    "small size": {"family": "negbin", "dispersion": 0.2, "level_sd": 0.1},
    "zero-inflated": {
        "family": "zero_inflated_negbin",
        "dispersion": 2.5,
        "zero_inflation": 0.2,
        "level_sd": 0.1,
    },
    "normal": {"family": "normal", "dispersion": 0.8, "level_sd": 0.1},
    "lognormal": {"family": "lognormal", "dispersion": 0.8, "level_sd": 0.1},
    "substeps": {"family": "negbin", "dispersion": 2.0, "level_sd": 0.9},
    "rising": {"family": "negbin", "dispersion": 2.0, "level_sd": 0.5, "level_drift": 0.15},
    "symmetric": {"family": "poisson", "level_sd": 0.2, "level_drift": 0.0},
    "falling normal": {
        "family": "normal",
        "dispersion": 0.8,
        "level_sd": 0.3,
        "level_drift": -0.1,
    },
    "damped": {"family": "poisson", "level_sd": 0.3, "damping": 0.8, "level_mean": 0.4},
    "damped substeps": {"family": "poisson", "level_sd": 0.7, "damping": 0.3, "level_mean": -1.0},
    "static": {"family": "poisson", "level_sd": 0.0},
    "hidden": {
        "family": "negbin",
        "dispersion": 2.0,
        "level_sd": 0.2,
        "out_rate": 0.1,
        "back_rate": 0.4,
    },
    "hidden zero-inflated substeps": {
        "family": "zero_inflated_negbin",
        "dispersion": 2.0,
        "zero_inflation": 0.3,
        "level_sd": 0.8,
        "out_rate": 0.2,
        "back_rate": 0.3,
    },
    "hidden damped": {
        "family": "poisson",
        "level_sd": 0.3,
        "damping": 0.87,
        "out_rate": 0.05,
        "back_rate": 0.25,
    },
    "hidden lognormal": {
        "family": "lognormal",
        "dispersion": 0.5,
        "level_sd": 0.2,
        "out_rate": 0.1,
        "back_rate": 0.4,
    },
}


def make(family, hidden, n_days=14, seed=3, exposure=True):
    """One series with every kind of day and every status."""
    rng = np.random.default_rng(seed)
    y = rng.poisson(2.0, n_days).astype(float)
    y[3] = 0
    if family in ("normal", "lognormal"):
        y = rng.gamma(2.0, 1.0, n_days) + 0.1
    kind = np.full(n_days, EXACT)
    kind[[2, 8, 9]] = BOUND
    kind[[5, 6]] = SILENT
    y[8] = 0.0
    y[[5, 6]] = 0.0
    y[9] = 4.0
    status = np.where(y > 0, IN, UNKNOWN)
    if hidden:
        y[[10, 12]] = 0.0
        kind[[10, 12]] = EXACT
        if family == "lognormal":
            y[3] = 0.0
        status = np.where(y > 0, IN, UNKNOWN)
        status[12] = OUT
        status[6] = IN
    offset = rng.normal(0, 0.4, n_days)
    share = None
    if exposure:
        share = np.ones(n_days)
        share[4] = 0.3
    return Observations(pd.Index(["a"]), [0], [n_days], y, kind, status, offset, share)


def lattice(prior_mean=0.3, spacing=0.4, first=-6, size=13):
    return Grid(np.array([prior_mean]), np.array([spacing]), np.array([first]), np.array([size]))


@pytest.fixture(autouse=True)
def _coarse_grids_stay(monkeypatch):
    """The chain of the test has few levels, and hits its ends."""
    monkeypatch.setattr(runner, "EDGE_LIMIT", 1.0)


def settings(case):
    return {"prior_mean": 0.3, "prior_sd": 0.9, **CASES[case]}


@pytest.mark.parametrize("case", CASES)
def test_against_the_dense_chain(case):
    p = settings(case)
    params = FilterParameters(**p)
    obs, grid = make(p["family"], params.hidden), lattice()
    got = smooth_levels(
        obs,
        params,
        summaries=("predicted", "filtered", "smoothed"),
        lag_covariance=True,
        day_loglik=True,
        grid=grid,
    )
    levels = grid.levels(0)
    want = oracle.run(levels, p, obs.y, obs.kind, obs.status, obs.offset, obs.exposure)
    assert got.loglik[0] == pytest.approx(want["loglik"], abs=1e-9)
    assert got.day_loglik.sum() == pytest.approx(want["loglik"], abs=1e-9)
    rates = levels if p["family"] == "normal" else np.exp(levels)
    for name in ("predicted", "filtered", "smoothed"):
        cells, summary = want[name], getattr(got, name)
        mass = cells.sum(axis=1)
        mean = mass @ levels
        sd = np.sqrt(np.maximum(mass @ levels**2 - mean**2, 0))
        np.testing.assert_allclose(summary.mean, mean, atol=1e-8, err_msg=name)
        np.testing.assert_allclose(summary.sd, sd, atol=1e-8, err_msg=name)
        np.testing.assert_allclose(summary.rate, mass @ rates, rtol=1e-8, err_msg=name)
        if params.hidden:
            np.testing.assert_allclose(summary.p_out, cells[:, 1].sum(axis=1), atol=1e-8)
        else:
            assert summary.p_out is None
    np.testing.assert_allclose(got.state.probabilities(0), want["filtered"][-1], atol=1e-9)
    mean = want["smoothed"].sum(axis=1) @ levels
    for t, pair in enumerate(want["pairs"]):
        joint = pair.sum(axis=(0, 2))
        cross = levels @ joint @ levels - mean[t] * mean[t + 1]
        assert got.lag_covariance[t + 1] == pytest.approx(cross, abs=1e-8)
    if params.hidden:
        counts = sum(pair.sum(axis=(1, 3)) for pair in want["pairs"])
        np.testing.assert_allclose(got.transitions[0], counts, atol=1e-8)
    only = log_likelihood(obs, params, grid=grid)
    assert only[0] == got.loglik[0]
    np.testing.assert_array_equal(
        filter_levels(obs, params, grid=grid).filtered.mean, got.filtered.mean
    )


@pytest.mark.parametrize("case", [c for c in CASES if "out_rate" not in CASES[c]])
def test_against_the_sum_over_all_paths(case):
    p = settings(case)
    obs = make(p["family"], False, n_days=14, exposure=False).slice_days(1, 6)
    grid = lattice(spacing=0.7, first=-2, size=5)
    want = oracle.enumerate_loglik(grid.levels(0), p, obs.y, obs.kind, obs.status, obs.offset)
    got = log_likelihood(obs, FilterParameters(**p), grid=grid)[0]
    assert got == pytest.approx(want, abs=1e-9)
