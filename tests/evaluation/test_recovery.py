"""The gap closed: against hand-made worlds, brute-force resampling, and its own undefined cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.evaluation.recovery import WorldSums, gap_closed, pool, ratio
from civstats.schema import CivstatsError, PanelError


def rows(n_series: int = 5, n_days: int = 14) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=n_days)
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(n_series)], n_days),
            "ds": np.tile(days, n_series),
        }
    )


def test_sums_are_those_of_series_and_blocks_of_days_drawn_with_replacement():
    frame = rows(4, 14)
    value = np.random.default_rng(0).gamma(1.0, size=len(frame))
    sums = WorldSums(frame, n_boot=4000, seed=1, block=7)(value)
    assert sums[0] == pytest.approx(value.sum())
    table = value.reshape(4, 2, 7).sum(axis=2)
    rng = np.random.default_rng(2)
    slow = [table[np.ix_(rng.integers(0, 4, 4), rng.integers(0, 2, 2))].sum() for _ in range(4000)]
    assert sums[1:].mean() == pytest.approx(np.mean(slow), rel=0.03)
    assert sums[1:].std() == pytest.approx(np.std(slow), rel=0.06)


def test_order_of_rows_does_not_matter():
    frame = rows()
    value = np.arange(len(frame), dtype=float)
    order = np.random.default_rng(3).permutation(len(frame))
    a = WorldSums(frame, n_boot=20, seed=1)(value)
    b = WorldSums(frame.iloc[order], n_boot=20, seed=1)(value[order])
    np.testing.assert_allclose(a, b)


def test_worlds_of_their_own_seed_are_resampled_independently():
    frame = rows(20, 28)
    value = np.random.default_rng(4).gamma(1.0, size=len(frame))
    own = [{"x": WorldSums(frame, n_boot=2000, seed=s)(value)} for s in range(4)]
    shared = [{"x": WorldSums(frame, n_boot=2000, seed=0)(value)} for _ in range(4)]
    assert pool(own, "x")[0] == pool(shared, "x")[0]
    # Independent errors grow with the root of the number of worlds, shared ones with the number.
    assert pool(shared, "x")[1:].std() / pool(own, "x")[1:].std() == pytest.approx(2.0, rel=0.08)


def test_a_ratio_is_the_pooled_sums_divided_not_the_mean_of_ratios():
    worlds = [
        {"top": np.array([1.0, 1.0]), "n": np.array([1.0, 1.0])},
        {"top": np.array([0.0, 0.0]), "n": np.array([3.0, 3.0])},
    ]
    assert ratio(pool(worlds, "top"), pool(worlds, "n")).value == 0.25


def test_gap_closed_has_a_paired_interval():
    rng = np.random.default_rng(5)
    noise = np.r_[0.0, rng.normal(0, 3, 4000)]
    own = np.r_[0.0, rng.normal(0, 0.5, 4000)]
    found = gap_closed(20 + noise, 12 + noise + own, 10 + noise)
    assert found.value == pytest.approx(0.8)
    assert (found.gap.lo, found.gap.hi) == pytest.approx((10, 10))
    assert (found.lo, found.hi) == pytest.approx((0.8 - 0.098, 0.8 + 0.098), abs=0.006)
    assert found.identified


@pytest.mark.parametrize("gap", [0.0, 1.0, -3.0])
def test_without_a_clear_gap_it_is_undefined(gap):
    noise = np.r_[0.0, np.random.default_rng(6).normal(0, 1, 500)]
    found = gap_closed(10 + gap + noise, np.full(501, 9.0), np.full(501, 10.0))
    assert not found.identified
    assert np.isnan([found.value, found.lo, found.hi]).all()
    assert found.gap.value == pytest.approx(gap)


def fieller(estimate: np.ndarray, cov: np.ndarray, z: float) -> np.ndarray:
    """Ends of Fieller's interval in closed form: roots of (x - r y)^2 = z^2 Var(x - r y)."""
    (x, y), z2 = estimate, z * z
    a = y * y - z2 * cov[1, 1]
    b = -2 * (x * y - z2 * cov[0, 1])
    c = x * x - z2 * cov[0, 0]
    assert a > 0
    return np.sort(np.roots([a, b, c]))


@pytest.mark.parametrize(("x", "correlation"), [(2.0, 0.0), (2.0, 0.8), (-1.0, 0.5), (0.3, -0.6)])
def test_a_weak_divisor_gives_fiellers_interval(x, correlation):
    estimate = np.array([x, 2.4])
    cov = np.array([[0.36, 0.6 * correlation], [0.6 * correlation, 1.0]])
    draws = np.random.default_rng(7).multivariate_normal(estimate, cov, size=400_000)
    draws = np.vstack([estimate, draws])
    assert 0.005 < (draws[:, 1] <= 0).mean() < 0.01
    found = ratio(draws[:, 0], draws[:, 1])
    lo, hi = fieller(estimate, cov, stats.norm.ppf(0.975))
    # The weaker the divisor the farther the ends, and with them their Monte Carlo error.
    assert (found.lo, found.hi) == pytest.approx((lo, hi), rel=0.03)
    # Replicates without a ratio left out, it would fall short at the end that runs away.
    ratios = draws[1:, 0] / draws[1:, 1]
    left_out = np.quantile(ratios[draws[1:, 1] > 0], [0.025, 0.975])
    assert np.ptp(left_out) < 0.97 * (hi - lo)


def test_with_positive_divisors_it_is_the_percentile_interval():
    rng = np.random.default_rng(8)
    top, bottom = rng.normal(3, 1, 2001), rng.gamma(9.0, 1.0, 2001)
    found = ratio(top, bottom)
    draws = np.sort(top[1:] / bottom[1:])
    assert (found.lo, found.hi) == (draws[49], draws[-50])


def test_the_interval_is_the_set_of_ratios_that_the_replicates_do_not_refute():
    rng = np.random.default_rng(9)
    top, bottom = (np.round(rng.normal(m, 1.0, 301), 1) for m in (1.0, 2.2))
    top[0], bottom[0] = 1.0, 2.2
    bottom[5:8] = 0.0
    found = ratio(top, bottom)
    assert (bottom[1:] <= 0).sum() > 3
    grid = np.linspace(-10, 10, 20_001)
    apart = top[1:] - grid[:, None] * bottom[1:]
    held = grid[((apart <= 0).mean(axis=1) >= 0.025) & ((apart >= 0).mean(axis=1) >= 0.025)]
    assert (found.lo, found.hi) == pytest.approx((held.min(), held.max()), abs=0.0011)


@pytest.mark.parametrize("true", [0.9, 0.2])
def test_the_interval_covers_as_often_as_it_says(true):
    rng = np.random.default_rng(10)
    n, weak, covered = 1500, 3.0, []
    for _ in range(n):
        estimate = np.array([true * weak, weak]) + rng.normal(size=2) * (0.7, 1.0)
        draws = np.vstack([estimate, estimate + rng.normal(size=(400, 2)) * (0.7, 1.0)])
        found = ratio(draws[:, 0], draws[:, 1])
        if found.identified:
            covered.append(found.lo <= true <= found.hi)
    assert len(covered) > 0.8 * n
    # Never short of its level by more than the count of the trials allows; Fieller's own set,
    # the unbounded ones included, has exactly the level.
    assert stats.binom.ppf(1e-3, len(covered), 0.95) <= sum(covered)
    assert np.mean(covered) < 0.99


def test_a_divisor_that_may_be_nought_gives_no_ratio():
    rng = np.random.default_rng(11)
    bottom = np.r_[2.0, rng.normal(1.0, 1.0, 500)]
    assert (bottom[1:] <= 0).mean() > 0.025
    found = ratio(np.ones(501), bottom)
    assert np.isnan([found.value, found.lo, found.hi]).all()
    assert not ratio(np.ones(3), np.array([-1.0, 1.0, 1.0])).identified
    alone = ratio(np.array([1.0]), np.array([4.0]))
    assert alone.value == 0.25
    assert np.isnan(alone.lo)


def test_a_treatment_worse_than_ignore_is_negative():
    assert gap_closed(np.full(9, 3.0), np.full(9, 5.0), np.full(9, 1.0)).value == -1.0


def test_without_replicates_nothing_is_clearly_positive():
    found = gap_closed(np.array([3.0]), np.array([2.0]), np.array([1.0]))
    assert not found.identified


def test_refusals():
    with pytest.raises(PanelError, match="repeat a series and date"):
        WorldSums(pd.concat([rows(2, 3), rows(2, 1)]))
    with pytest.raises(CivstatsError, match="1 missing or infinite"):
        WorldSums(rows(1, 2), n_boot=0)(np.array([1.0, np.nan]))
    with pytest.raises(CivstatsError, match="same replicates"):
        gap_closed(np.ones(3), np.ones(4), np.ones(3))
    with pytest.raises(CivstatsError, match="same replicates"):
        ratio(np.ones(3), np.ones(4))
    with pytest.raises(CivstatsError, match="1 of 2 world"):
        pool([{"a": np.ones(2)}, {}], "a")
