"""Scores against numerical derivatives, and offsets against a direct search of the likelihood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from civstats.demand_filter import (
    BOUND,
    EXACT,
    IN,
    SILENT,
    UNKNOWN,
    FilterParameters,
    Observations,
    build_grid,
    log_likelihood,
)
from civstats.demand_filter.offsets import fit_offsets, zero_offsets
from civstats.demand_filter.responses import responses

FAMILIES = {
    "poisson": {},
    "negbin": {"dispersion": 1.5},
    "zero_inflated_negbin": {"dispersion": 1.5, "zero_inflation": 0.2},
    "normal": {"dispersion": 1.1},
    "lognormal": {"dispersion": 0.7},
}


def days(family: str, n_series: int = 3, n: int = 40, seed: int = 0) -> Observations:
    rng = np.random.default_rng(seed)
    y = rng.poisson(3.0, n_series * n).astype(float)
    if family in ("normal", "lognormal"):
        y = np.exp(rng.normal(1.0, 0.8, n_series * n))
    kind = rng.choice([EXACT, EXACT, BOUND, SILENT], n_series * n).astype(np.uint8)
    kind[:2], y[:2] = (EXACT, BOUND), ((0.0, 60.0) if family != "lognormal" else (0.5, 60.0))
    exposure = np.where((kind == EXACT) & (rng.random(len(y)) < 0.3), 0.5, 1.0).astype(np.float32)
    ends = n * np.arange(1, n_series + 1)
    status = np.where((y == 0) & (kind == EXACT), UNKNOWN, IN).astype(np.uint8)
    return Observations(
        pd.Index([f"s{i}" for i in range(n_series)]), ends - n, ends, y, kind, status,
        0.1 * rng.standard_normal(len(y)), exposure,
    )  # fmt: skip


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_derivatives_of_the_marginal_likelihood(family, hidden):
    if hidden and family in ("normal", "zero_inflated_negbin"):
        pytest.skip("this family has no hidden availability")
    obs = days(family)
    rates = {"out_rate": 0.05, "back_rate": 0.3} if hidden else {}
    params = FilterParameters(
        family, level_sd=0.1, prior_mean=1.0, prior_sd=1.0, **FAMILIES[family]
    )
    params = replace(params, **rates)
    grid = build_grid(obs, params)
    found = responses(obs, params, grid=grid)
    np.testing.assert_allclose(found.loglik, log_likelihood(obs, params, grid=grid), rtol=1e-12)
    for row in (0, 1, 7, 45, 46, 47, 48, 100):
        bump = np.zeros(obs.n_rows)
        bump[row] = 1e-5
        up, down = (
            log_likelihood(obs.with_offset(obs.offset + s * bump), params, grid=grid).sum()
            for s in (1, -1)
        )
        # The normal's offset is scaled by the exposure, as its level is.
        assert found.score[row] == pytest.approx((up - down) / 2e-5, rel=2e-5, abs=1e-7)
    assert (found.info >= 0).all()
    assert (found.score[obs.kind == SILENT] == 0).all()


def world(n_series: int = 30, n: int = 200, seed: int = 1) -> tuple[Observations, np.ndarray]:
    """Counts with a weekend lift, capped at a stock on half of the days."""
    rng = np.random.default_rng(seed)
    weekend = np.tile((np.arange(n) % 7 >= 5) * 1.0, n_series)
    wave = np.tile(np.sin(2 * np.pi * np.arange(n) / 60), n_series)
    z = np.stack([weekend, wave], axis=1)
    level = rng.normal(1.0, 0.5, n_series).repeat(n)
    level += np.concatenate([np.cumsum(rng.normal(0, 0.03, n)) for _ in range(n_series)])
    mean = np.exp(level + z @ [0.6, -0.3])
    demand = rng.negative_binomial(2.0, 2.0 / (2.0 + mean)).astype(float)
    stock = np.where(rng.random(len(mean)) < 0.5, np.ceil(mean), np.inf)
    kind = np.where(demand >= stock, BOUND, EXACT).astype(np.uint8)
    ends = n * np.arange(1, n_series + 1)
    ids = pd.Index([f"s{i}" for i in range(n_series)])
    y = np.minimum(demand, stock)
    status = np.full(len(y), IN, dtype=np.uint8)
    return Observations(ids, ends - n, ends, y, kind, status, np.zeros(len(y)), None), z


def test_alternating_ends_at_the_maximum_of_the_marginal_likelihood():
    obs, z = world(n_series=12)
    params = FilterParameters("negbin", dispersion=2.0, level_sd=0.03, prior_mean=1.0, prior_sd=0.7)
    grid = build_grid(obs, params)
    sd = np.array([0.5, 0.5])
    group = np.zeros(obs.n_rows, dtype=int)
    found = fit_offsets(
        lambda x: responses(obs.with_offset(x), params, grid=grid),
        z, group, sd, zero_offsets(("weekend", "wave"), 1), max_rounds=60,
    )  # fmt: skip
    assert (np.diff(found.logliks) > 0).all()
    assert len(found.logliks) < 30

    def loss(beta: np.ndarray) -> float:
        at = obs.with_offset(z @ beta)
        return -log_likelihood(at, params, grid=grid).sum() + 0.5 * np.square(beta / sd).sum()

    best = optimize.minimize(loss, [0.5, -0.2], method="Nelder-Mead", options={"xatol": 1e-5}).x
    np.testing.assert_allclose(found.pooled, best, atol=2e-3)
    assert found.result.params == pytest.approx(found.pooled)


def test_groups_are_found_and_shrunk():
    obs, z = world(n_series=40)
    params = FilterParameters("negbin", dispersion=2.0, level_sd=0.03, prior_mean=1.0, prior_sd=0.7)
    grid = build_grid(obs, params)
    sd = np.array([0.5, 0.5])
    group = (np.arange(obs.n_rows) // 200) % 4
    same = fit_offsets(
        lambda x: responses(obs.with_offset(x), params, grid=grid),
        z, group, sd, zero_offsets(("weekend", "wave"), 4), max_rounds=30,
    )  # fmt: skip
    np.testing.assert_allclose(same.pooled, [0.6, -0.3], atol=0.12)
    # All groups share the truth: what is left between them is far below the start of 0.15.
    assert same.between_sd[0] < 0.1
    # The weekend column of one group turned round: its coefficient must follow.
    turned = z * np.where(group == 3, -1, 1)[:, None]
    apart = fit_offsets(
        lambda x: responses(obs.with_offset(x), params, grid=grid),
        turned, group, sd, zero_offsets(("weekend", "wave"), 4), max_rounds=40,
    )  # fmt: skip
    assert apart.groups[3, 0] < -0.35
    assert (apart.groups[:3, 0] > 0.4).all()
    assert apart.between_sd[0] > 0.3


def test_without_a_word_nothing_moves():
    obs, z = world(n_series=2)
    silent = replace(obs, kind=np.full(obs.n_rows, SILENT, dtype=np.uint8))
    params = FilterParameters("poisson")
    found = fit_offsets(
        lambda x: responses(silent.with_offset(x), params),
        z, np.zeros(obs.n_rows, dtype=int), np.ones(2), zero_offsets(("a", "b"), 1),
    )  # fmt: skip
    np.testing.assert_array_equal(found.pooled, 0)
