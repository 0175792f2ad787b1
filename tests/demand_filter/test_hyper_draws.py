"""Draws of hyperparameters: against the eight-schools posterior summed on a plane by hand."""

from __future__ import annotations

import numpy as np
import pytest

from civstats.demand_filter._hyper_draws import draw_moves
from civstats.demand_filter.empirical_bayes import Estimate, shrink

NAMES = ("dispersion", "level_sd")


def estimate(theta, sd, *, curvature=None, n=8):
    """An estimate whose sandwich has the given standard deviations."""
    sd = np.asarray(sd, float)
    each = np.zeros((n, 2)) if curvature is None else -np.tile(curvature, (n, 1)) / n
    # Where no curvature is given it agrees with the sandwich.
    each = -np.tile(1 / sd**2, (n, 1)) / n if curvature is None else each
    return Estimate(
        NAMES,
        np.asarray(theta, float),
        np.diag(sd**2),
        np.zeros((n, 2)),
        each,
        -each.sum(axis=0),
        (False, False),
        0.0,
    )


def schools():
    rng = np.random.default_rng(0)
    theta = np.c_[rng.normal(0.7, 0.4, 6), np.full(6, -3.5)]
    sd = np.c_[np.linspace(0.15, 0.5, 6), np.full(6, 0.3)]
    groups = {f"g{k}": estimate(theta[k], sd[k]) for k in range(6)}
    return {"all": estimate(theta.mean(axis=0), [0.1, 0.1])} | groups, theta, sd


def by_hand(theta, sd):
    """Mean and sd of every group's value, summed over a fine plane of (m, tau)."""
    m, tau = np.meshgrid(
        theta.mean() + np.linspace(-3, 3, 601), np.linspace(0, 2, 401), indexing="ij"
    )
    total = sd**2 + tau[..., None] ** 2
    log = (-0.5 * np.log(total) - 0.5 * (theta - m[..., None]) ** 2 / total).sum(axis=-1)
    log -= 0.5 * (tau / 0.5) ** 2
    p = np.exp(log - log.max())
    p /= p.sum()
    share = tau[..., None] ** 2 / total
    mean = share * theta + (1 - share) * m[..., None]
    second = share * sd**2 + mean**2
    first = np.einsum("ab,abg->g", p, mean)
    return first, np.sqrt(np.einsum("ab,abg->g", p, second) - first**2)


def test_draws_are_those_of_the_hierarchical_posterior():
    estimates, theta, sd = schools()
    names = [f"g{k}" for k in range(6)]
    moves = draw_moves(estimates, names, 40_000, np.random.default_rng(1))
    shrunk = shrink(estimates["all"], [estimates[n] for n in names])
    for j in range(2):
        drawn = moves[:, :, j] + shrunk[:, j]
        mean, spread = by_hand(theta[:, j], sd[:, j])
        np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.015)
        np.testing.assert_allclose(drawn.std(axis=0), spread, rtol=0.04)
        # The error of the centre is shared: groups move together, those that say little the most.
        assert np.corrcoef(drawn.T)[np.triu_indices(6, 1)].mean() > 0.02
        # A group is known better than by itself alone, and not as well as the pool.
        assert (drawn.std(axis=0) < sd[:, j]).all()


def test_a_small_sandwich_gives_way_to_the_curvature():
    estimates, theta, _ = schools()
    tight = {
        k: estimate(v.theta, [1e-4, 1e-4], curvature=np.r_[4.0, 4.0]) if k != "all" else v
        for k, v in estimates.items()
    }
    moves = draw_moves(tight, [f"g{k}" for k in range(6)], 4_000, np.random.default_rng(1))
    _, spread = by_hand(theta[:, 0], np.full(6, 0.5))
    np.testing.assert_allclose(moves[:, :, 0].std(axis=0), spread, rtol=0.1)


def test_groups_without_an_estimate_and_a_panel_without_groups_move_with_the_whole():
    estimates, _, _ = schools()
    rng = np.random.default_rng
    alone = draw_moves({"all": estimates["all"]}, ["x", "y"], 3_000, rng(2))
    np.testing.assert_array_equal(alone[:, 0], alone[:, 1])
    assert alone[:, 0, 0].std() == pytest.approx(0.1, rel=0.1)
    names = [f"g{k}" for k in range(6)]
    before = draw_moves(estimates, names, 50, rng(3))
    after = draw_moves(estimates, [*names, "launched"], 50, rng(3))
    np.testing.assert_array_equal(after[:, :6], before)
