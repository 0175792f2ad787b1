"""The gap closed: against hand-made worlds, brute-force resampling, and its own undefined cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

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


def test_a_treatment_worse_than_ignore_is_negative():
    assert gap_closed(np.full(9, 3.0), np.full(9, 5.0), np.full(9, 1.0)).value == -1.0


def test_without_replicates_nothing_is_clearly_positive():
    found = gap_closed(np.array([3.0]), np.array([2.0]), np.array([1.0]))
    assert not found.identified


def test_a_replicate_without_a_divisor_counts_against_both_ends():
    bottom = np.r_[2.0, np.full(97, 2.0), 0.0, -1.0, 2.0]
    found = ratio(np.ones(101), bottom)
    assert (found.lo, found.hi) == (0.5, 0.5)
    # With more than a fortieth of them an end of the 95 % interval is lost.
    bottom[1:3] = -1.0
    found = ratio(np.ones(101), bottom)
    assert (found.value, found.lo, found.hi) == (0.5, -np.inf, np.inf)


def test_the_interval_of_a_ratio_covers_where_the_divisor_is_weak():
    """Noise over noise of a divisor three errors from zero: nominal 95 %, at least 93 counted."""
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(400):
        top, bottom = 0.8 * 3 + rng.normal(0, 0.8), 3 + rng.normal(0, 1)
        found = ratio(
            np.r_[top, top + rng.normal(0, 0.8, 400)], np.r_[bottom, bottom + rng.normal(0, 1, 400)]
        )
        inside += bool(found.lo <= 0.8 <= found.hi)
    assert inside / 400 >= 0.93


def test_refusals():
    with pytest.raises(PanelError, match="repeat a series and date"):
        WorldSums(pd.concat([rows(2, 3), rows(2, 1)]))
    with pytest.raises(CivstatsError, match="1 missing or infinite"):
        WorldSums(rows(1, 2), n_boot=0)(np.array([1.0, np.nan]))
    with pytest.raises(CivstatsError, match="same replicates"):
        gap_closed(np.ones(3), np.ones(4), np.ones(3))
    with pytest.raises(CivstatsError, match="1 of 2 world"):
        pool([{"a": np.ones(2)}, {}], "a")
