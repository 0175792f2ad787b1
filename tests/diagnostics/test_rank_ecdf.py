"""The band of a rank ECDF: its chance by simulation, arviz's own, and the p-value that belongs to it."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest
from arviz.stats.ecdf_utils import ecdf_confidence_band
from scipy import stats

from civstats.diagnostics.rank_ecdf import ecdf_band, rank_table, uniform_p_value
from civstats.schema import CivstatsError


def ecdfs(ranks: np.ndarray, n_draws: int) -> np.ndarray:
    """Shares of ranks <= k for k below n_draws, by replicate."""
    return (ranks[:, :, None] <= np.arange(n_draws)).mean(axis=1)


@pytest.mark.parametrize(("n", "n_draws"), [(50, 15), (200, 99)])
@pytest.mark.parametrize("prob", [0.5, 0.95])
def test_the_whole_ecdf_stays_inside_as_often_as_said(n, n_draws, prob):
    rng = np.random.default_rng(0)
    worlds = 4000
    shares = ecdfs(rng.integers(0, n_draws + 1, size=(worlds, n)), n_draws)
    lower, upper = ecdf_band(n, n_draws, prob)
    eps = 1e-12
    inside = ((shares >= lower - eps) & (shares <= upper + eps)).all(axis=1).mean()
    # At least the chance asked for; counts come in steps, so a little more is possible.
    assert inside > prob - 4 * np.sqrt(prob * (1 - prob) / worlds)
    assert inside < prob + (0.06 if n == 50 else 0.03)
    # Pointwise bands would hold the whole far more rarely.
    z = np.arange(1, n_draws + 1) / (n_draws + 1)
    narrow = stats.binom.interval(prob, n, z)
    assert ((n * shares >= narrow[0]) & (n * shares <= narrow[1])).all(axis=1).mean() < prob - 0.1


def test_it_is_the_band_of_arviz():
    n, n_draws = 200, 49
    z = np.arange(1, n_draws + 2) / (n_draws + 1)
    az.Numba.disable_numba()  # compiling takes longer than the sum
    try:
        lower, upper = ecdf_confidence_band(n, z, z, prob=0.95, method="optimized")
    finally:
        az.Numba.enable_numba()
    mine = ecdf_band(n, n_draws)
    np.testing.assert_allclose(mine[0], lower[:-1], atol=1.5 / n)
    np.testing.assert_allclose(mine[1], upper[:-1], atol=1.5 / n)


def test_the_p_value_is_uniform_and_belongs_to_the_band():
    rng = np.random.default_rng(1)
    ranks = rng.integers(0, 32, size=(400, 120))
    p = np.array([uniform_p_value(r, 31) for r in ranks])
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(0.25 / 400))
    shares = ecdfs(ranks, 31)
    for prob in (0.95, 0.7):
        lower, upper = ecdf_band(120, 31, prob)
        out = ((shares < lower - 1e-12) | (shares > upper + 1e-12)).any(axis=1)
        np.testing.assert_array_equal(p <= 1 - prob, out)


@pytest.mark.parametrize("shape", [(1.0, 1.6), (1.6, 1.0), (0.6, 0.6), (1.7, 1.7)])
def test_biased_narrow_and_wide_posteriors_leave_the_band(shape):
    u = stats.beta.rvs(*shape, size=300, random_state=2)
    assert uniform_p_value(np.floor(u * 100).astype(int), 99) < 0.01


def test_the_table_adjusts_for_the_number_of_quantities():
    rng = np.random.default_rng(3)
    parts = [
        pd.DataFrame({"model": m, "quantity": f"q{k}", "rank": rng.integers(0, 100, size=150)})
        for m in ("a", "b")
        for k in range(5)
    ]
    parts[3] = parts[3].assign(rank=parts[3]["rank"] // 2)
    table = rank_table(pd.concat(parts), 99)
    bad = table.iloc[3]
    assert (bad["model"], bad["quantity"]) == ("a", "q3")
    assert bad["mean"] < 0.3
    assert not bad["inside"]
    assert not bad["inside_all"]
    assert table["inside_all"].sum() == 9
    for _, part in table.groupby("model"):
        p = np.sort(part["p_value"].to_numpy())
        expected = np.maximum.accumulate(np.minimum(p * np.arange(5, 0, -1), 1))
        np.testing.assert_allclose(np.sort(part["p_adjusted"]), np.minimum(expected, 1))


def test_ranks_that_are_none_are_refused():
    with pytest.raises(CivstatsError, match=r"2 rank.*from 0 to 9"):
        uniform_p_value(np.array([3, 10, -1]), 9)
    with pytest.raises(CivstatsError, match="must be a rank"):
        uniform_p_value(np.array([]), 9)
    with pytest.raises(CivstatsError, match="prob"):
        ecdf_band(10, 9, 1.0)
    with pytest.raises(CivstatsError, match="no ranks"):
        rank_table(pd.DataFrame({"model": [], "quantity": [], "rank": []}), 9)
