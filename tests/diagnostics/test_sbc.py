"""SBC finds what it should: exact posteriors pass, the off-by-one of a bound does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from civstats.diagnostics.rank_ecdf import rank_table, uniform_p_value
from civstats.diagnostics.sbc import sbc_ranks, thin
from civstats.schema import CivstatsError

GRID = np.linspace(-2.5, 4.5, 350)


@dataclass(frozen=True)
class World:
    """Poisson demand of one log rate ~ N(1, 0.7), cut by a stock that knows nothing of it."""

    rate: float
    y: np.ndarray
    bound: np.ndarray
    demand: np.ndarray

    @property
    def lost(self) -> float:
        return float((self.demand - self.y).sum())


def worlds(n: int, days: int = 12, seed: int = 0) -> list[World]:
    rng = np.random.default_rng(seed)
    out = []
    for rate in rng.normal(1, 0.7, size=n):
        demand = rng.poisson(np.exp(rate), size=days)
        stock = rng.choice([2, 4, 9], size=days)
        out.append(World(rate, np.minimum(demand, stock), demand >= stock, demand))
    return out


def grid_fit(world: World, rng: np.random.Generator, shift: int = 0) -> dict[str, np.ndarray]:
    """Draw from the exact posterior; `shift` = 1 takes a bound for D > c."""
    mu = np.exp(GRID)[:, None]
    exact = stats.poisson.logpmf(world.y, mu)
    tail = stats.poisson.logsf(world.y - 1 + shift, mu)
    log_p = stats.norm.logpdf(GRID, 1, 0.7) + np.where(world.bound, tail, exact).sum(axis=1)
    weight = np.exp(log_p - logsumexp(log_p))
    eta = rng.choice(GRID, size=(2, 150), p=weight)
    eta = eta + rng.uniform(-0.01, 0.01, size=eta.shape)
    low = stats.poisson.cdf(world.y[world.bound] - 1, np.exp(eta[..., None]))
    u = low + (1 - low) * rng.random((*eta.shape, int(world.bound.sum())))
    more = stats.poisson.ppf(np.minimum(u, 1 - 1e-12), np.exp(eta[..., None]))
    return {"rate": eta, "lost": (more - world.y[world.bound]).sum(axis=-1)}


def ranked(n: int, shift: int = 0):
    rng = np.random.default_rng(7)
    return sbc_ranks(
        worlds(n),
        lambda w: grid_fit(w, rng, shift),
        lambda w: {"rate": w.rate, "lost": w.lost},
        model="poisson",
    )


def test_an_exact_posterior_stays_inside_for_parameters_and_for_lost_units():
    ranks = ranked(150)
    table = rank_table(ranks, 99)
    assert table["quantity"].tolist() == ["rate", "lost"]
    assert (table["n"] == 150).all()
    assert table["inside"].all()
    assert (ranks["efficiency"] > 1).mean() > 0.95


def test_the_off_by_one_of_a_bound_leaves_the_band():
    table = rank_table(ranked(150, shift=1), 99).set_index("quantity")
    assert not table.loc["rate", "inside"]
    assert table.loc["rate", "p_value"] < 1e-3
    # The recovered rate is too high, so the truth is low among its draws.
    assert table.loc["rate", "mean"] < 0.4


def test_thinning_takes_draws_apart_evenly_over_all_chains():
    x = np.arange(1000.0).reshape(2, 500)
    kept, _ = thin({"x": x + np.random.default_rng(0).normal(0, 1e-9, x.shape)}, 100)
    np.testing.assert_allclose(kept["x"], np.arange(100) * 10 + 5, atol=1e-6)
    rng = np.random.default_rng(1)
    walk = np.zeros((2, 4000))
    for t in range(1, 4000):
        walk[:, t] = 0.95 * walk[:, t - 1] + rng.normal(size=2)
    _, efficiency = thin({"x": walk}, 99)
    # ESS of AR(1): n (1 - rho) / (1 + rho).
    assert efficiency == pytest.approx(8000 * 0.05 / 1.95 / 99, rel=0.5)
    assert thin({"x": walk}, 999)[1] < 1


def test_one_of_like_scalars_is_ranked_and_the_unknown_is_left_out():
    rng = np.random.default_rng(2)
    truths = [rng.normal(size=3) for _ in range(100)]
    for t in truths:
        t[1] = np.nan
    truths[0][:] = np.nan

    def fit(_):
        return {"effect": rng.normal(size=(1, 120, 3))}

    ranks = sbc_ranks(truths, fit, lambda t: {"effect": t})
    assert len(ranks) == 99
    assert ranks["replicate"].iloc[0] == 1
    assert uniform_p_value(ranks["rank"].to_numpy(), 99) > 0.001


def test_ties_are_broken_at_random():
    truths = range(150)
    ranks = sbc_ranks(truths, lambda _: {"zero": np.zeros((1, 100))}, lambda _: {"zero": 0.0})
    assert uniform_p_value(ranks["rank"].to_numpy(), 99) > 0.001


def test_what_does_not_match_is_refused():
    with pytest.raises(CivstatsError, match="no draws"):
        sbc_ranks([0], lambda _: {}, lambda _: {"mu": 1.0})
    with pytest.raises(CivstatsError, match="50 draws cannot be thinned to 99"):
        sbc_ranks([0], lambda _: {"mu": np.zeros((1, 50))}, lambda _: {"mu": 1.0})
    with pytest.raises(CivstatsError, match=r"1 true value\(s\) and 2 drawn"):
        sbc_ranks([0], lambda _: {"mu": np.zeros((1, 100, 2))}, lambda _: {"mu": 1.0})
