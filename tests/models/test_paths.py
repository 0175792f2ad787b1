"""Joint paths: means, marginals, shared shocks and coverage against a truth that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from civstats.models._negbin import negbin_quantile, negbin_size, pit_bounds, sales_unit
from civstats.models._paths import residual_paths, residual_quantiles

S, N_PAST, H = 60, 40, 28


class World:
    """Counts about known means: a level error per series and origin, a shock shared by all."""

    def __init__(self, *, level_sd=0.2, shock_sd=0.15, size=2.0, seed=0, n_series=S):
        self.rng = np.random.default_rng(seed)
        self.sd, self.size = (level_sd, shock_sd), size
        self.mean = np.exp(self.rng.normal(0, 1.2, n_series))

    def draw(self, n: int) -> np.ndarray:
        level = self.rng.normal(0, self.sd[0], (len(self.mean), n, 1))
        shock = self.rng.normal(0, self.sd[1], (1, n, 1))
        drift = (self.sd[0] ** 2 + self.sd[1] ** 2) / 2
        m = self.mean[:, None, None] * np.exp(level + shock - drift) * np.ones(H)
        return self.rng.negative_binomial(self.size, self.size / (self.size + m)).astype(float)

    @property
    def forecast(self) -> np.ndarray:
        return np.tile(self.mean[:, None], (1, H))

    def fitted(self, n: int) -> np.ndarray:
        return np.broadcast_to(self.mean[:, None, None], (len(self.mean), n, H))


@pytest.fixture(scope="module")
def drawn():
    world = World()
    past = world.draw(N_PAST)
    rng = np.random.default_rng(1)
    paths = residual_paths(world.forecast, world.fitted(N_PAST), past, None, 500, rng)
    return world, past, paths


def cover(truth: np.ndarray, sample: np.ndarray, level: float) -> float:
    lo, hi = np.quantile(sample, [0.5 - level / 200, 0.5 + level / 200], axis=-1)
    return float(((truth >= lo[..., None]) & (truth <= hi[..., None])).mean())


def test_paths_are_counts_whose_mean_is_the_forecast(drawn):
    world, _, paths = drawn
    assert paths.shape == (S, 500, H)
    assert (paths >= 0).all()
    assert (paths == np.rint(paths)).all()
    mean = paths.astype(float).mean(axis=(1, 2))
    error = paths.std(axis=(1, 2)) / np.sqrt(500 * H)
    assert (np.abs(mean - world.mean) <= 4 * error).all()
    # No bias from a floor at zero, where it would show: the slowest half.
    slow = world.mean < np.median(world.mean)
    assert mean[slow].sum() == pytest.approx(world.mean[slow].sum(), rel=0.01)


def test_quantiles_are_those_of_the_paths(drawn):
    world, past, paths = drawn
    probabilities = [0.025, 0.1, 0.5, 0.9, 0.975]
    quantiles = residual_quantiles(world.forecast, world.fitted(N_PAST), past, None, probabilities)
    assert (np.diff(quantiles, axis=2) >= 0).all()
    assert (quantiles == np.rint(quantiles)).all()
    for j, p in enumerate(probabilities):
        lower, upper = (
            np.quantile(paths, q, axis=1, method="inverted_cdf") for q in (p - 0.004, p + 0.004)
        )
        assert ((lower <= quantiles[..., j]) & (quantiles[..., j] <= upper)).all()


def test_days_totals_and_the_grand_total_are_covered(drawn):
    """Statistics of a sum need the level error of a series and the shock shared by all."""
    world, past, paths = drawn
    future = world.draw(400)
    quantiles = residual_quantiles(
        world.forecast, world.fitted(N_PAST), past, None, [0.025, 0.1, 0.9, 0.975]
    )
    by_day = future.transpose(0, 2, 1)
    for level, lo, hi in ((80, 1, 2), (95, 0, 3)):
        inside = (by_day >= quantiles[..., lo, None]) & (by_day <= quantiles[..., hi, None])
        # Counts: nominal is a lower bound, and the excess is what discreteness costs.
        assert level / 100 - 0.005 <= inside.mean() <= level / 100 + 0.14
        totals = cover(future.sum(axis=2), paths.sum(axis=2), level)
        assert totals == pytest.approx(level / 100, abs=0.035)
    grand = future.sum(axis=(0, 2))
    assert paths.sum(axis=(0, 2)).std() == pytest.approx(grand.std(), rel=0.3)
    apart = np.sqrt(paths.sum(axis=2).var(axis=1).sum())
    assert grand.std() > 1.5 * apart


def test_without_shared_shocks_none_are_invented():
    world = World(level_sd=0.2, shock_sd=0.0, n_series=150, seed=2)
    paths = residual_paths(
        world.forecast,
        world.fitted(N_PAST),
        world.draw(N_PAST),
        None,
        500,
        np.random.default_rng(3),
    )
    truth = world.draw(400).sum(axis=(0, 2)).std()
    assert paths.sum(axis=(0, 2)).std() == pytest.approx(truth, rel=0.3)


def test_sum_of_quantiles_is_not_the_quantile_of_the_sum():
    """Independent NB(5, 2) days: about 364 against 178."""
    world = World(level_sd=0.0, shock_sd=0.0, seed=4)
    world.mean[:] = 5.0
    paths = residual_paths(
        world.forecast,
        world.fitted(N_PAST),
        world.draw(N_PAST),
        None,
        1000,
        np.random.default_rng(5),
    )
    daily = residual_quantiles(
        world.forecast, world.fitted(N_PAST), world.draw(N_PAST), None, [0.95]
    )
    assert daily.sum(axis=1).mean() == pytest.approx(364, rel=0.04)
    assert np.quantile(paths.sum(axis=2), 0.95) == pytest.approx(178, rel=0.03)


def test_missing_days_keep_the_spread_and_shared_shocks(drawn):
    world, past, _ = drawn
    rng = np.random.default_rng(6)
    holes = rng.random(past.shape) < 0.3
    holes[:10, :25] = True  # launched late
    holes[10] = True  # never seen
    garbage = np.where(holes, 1e4, past)
    fitted = np.where(holes, np.nan, world.fitted(N_PAST))
    first, second = (
        residual_paths(world.forecast, fitted, y, holes, 400, np.random.default_rng(7))
        for y in (garbage, np.where(holes, np.nan, past))
    )
    np.testing.assert_array_equal(first, second)
    future = world.draw(400)
    assert cover(future.sum(axis=2), first.sum(axis=2), 80) == pytest.approx(0.8, abs=0.06)
    grand = future.sum(axis=(0, 2)).std()
    assert first.sum(axis=(0, 2)).std() == pytest.approx(grand, rel=0.35)


@pytest.mark.parametrize("n_origins", [0, 1, 3, 8])
def test_few_origins_are_enough_for_an_answer(n_origins):
    world = World(n_series=5)
    paths = residual_paths(
        world.forecast,
        world.fitted(n_origins),
        world.draw(n_origins),
        None,
        200,
        np.random.default_rng(0),
    )
    assert paths.shape == (5, 200, H)
    assert paths.mean() == pytest.approx(world.mean.mean(), rel=0.05)


def test_same_seed_same_paths_and_none_when_none_are_asked(drawn):
    world, past, paths = drawn
    again = residual_paths(
        world.forecast, world.fitted(N_PAST), past, None, 500, np.random.default_rng(1)
    )
    np.testing.assert_array_equal(paths, again)
    none = residual_paths(
        world.forecast, world.fitted(N_PAST), past, None, 0, np.random.default_rng(1)
    )
    assert none.shape == (S, 0, H)


def test_sales_in_tenths_stay_in_tenths():
    world = World(n_series=8)
    past = world.draw(20) / 10
    paths = residual_paths(
        world.forecast / 10, world.fitted(20) / 10, past, None, 200, np.random.default_rng(0)
    )
    np.testing.assert_allclose(paths * 10, np.rint(paths * 10), atol=1e-3)
    assert (paths != np.rint(paths)).any()
    assert paths.mean() == pytest.approx(world.mean.mean() / 10, rel=0.05)
    assert [sales_unit(np.array(y)) for y in ([1, 2.0], [0.1, 3], [0.25], [1 / 3])] == [
        1.0,
        0.1,
        0.01,
        0.001,
    ]


@pytest.mark.parametrize("size", [0.3, 2.0, 40.0])
def test_quantiles_against_scipy(size):
    mean = np.geomspace(0.01, 59, 12)[:, None]
    u = np.random.default_rng(0).random((12, 1, 300))
    got = negbin_quantile(mean, np.full((12, 1), size), u)
    expected = stats.nbinom.ppf(u, size, (size / (size + mean))[..., None])
    np.testing.assert_array_equal(got, expected)
    # Quick sellers take a rounded gamma: the mean is kept, the shape to a hundredth or so.
    fast = np.array([[80.0], [900.0]])
    u = (np.arange(4000) + 0.5)[None, None] / 4000
    got = negbin_quantile(fast, np.full((2, 1), size), np.tile(u, (2, 1, 1)))
    np.testing.assert_allclose(got.mean(axis=2), fast, rtol=0.01)
    expected = stats.nbinom.ppf(u, size, (size / (size + fast))[..., None])
    assert np.abs(got - expected).max() <= 0.02 * expected.max() + 2


def test_dispersion_is_found_and_shrunk():
    world = World(level_sd=0.0, shock_sd=0.0, size=2.0, n_series=120)
    past = world.draw(N_PAST)
    size = negbin_size(world.forecast, world.fitted(N_PAST), past, None)
    assert size.shape == (120, 1)
    assert np.median(size) == pytest.approx(2.0, rel=0.15)
    assert ((size > 0.8) & (size < 6)).all()


def test_probability_transform_against_scipy():
    y = np.array([[[0.0, 1, 7, 90]]])
    mean = np.array([[[0.2, 1.5, 3, 40]]])
    lo, hi = pit_bounds(mean, y, np.zeros(y.shape, bool), np.array([[1.7]]), 1.0)
    p = 1.7 / (1.7 + mean)
    np.testing.assert_allclose(hi, stats.nbinom.cdf(y, 1.7, p), rtol=1e-5)
    np.testing.assert_allclose(lo, stats.nbinom.cdf(y - 1, 1.7, p), rtol=1e-5, atol=1e-7)
