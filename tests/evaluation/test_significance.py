"""The two-way bootstrap: its sums against loops, its intervals against repeated worlds."""

from __future__ import annotations

import numpy as np
import pytest

from civstats.evaluation import significance
from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import CivstatsError


def grid(n_series, n_days, **options):
    series = np.repeat(np.arange(n_series), n_days)
    day = np.tile(np.arange(n_days), n_series)
    days = np.arange(n_days)
    return TwoWayBootstrap(series, day, n_series, days, np.zeros(n_days, int), **options)


def test_sums_equal_a_loop_over_cells():
    rng = np.random.default_rng(0)
    # Two windows that overlap: calendar days 0 1 2 and 1 2 3; series 1 has the second only.
    column_day, column_cutoff = np.array([0, 1, 2, 1, 2, 3]), np.array([0, 0, 0, 1, 1, 1])
    series = np.r_[np.zeros(6, int), np.ones(3, int), np.full(6, 2)]
    column = np.r_[np.arange(6), np.arange(3, 6), np.arange(6)]
    boot = TwoWayBootstrap(series, column, 3, column_day, column_cutoff, n_boot=20, seed=rng)
    values = rng.normal(size=len(series))
    sums = boot.sums(values, boot.cell)
    for b in range(21):
        for cutoff in (0, 1):
            total = 0.0
            for i, k, x in zip(series, column, values, strict=True):
                if column_cutoff[k] == cutoff:
                    total += boot._series[b, i] * boot._days[b, k] * x
            assert sums[b, 1 + cutoff] == pytest.approx(total, abs=1e-12)
    np.testing.assert_allclose(sums[:, 0], sums[:, 1] + sums[:, 2], atol=1e-12)
    assert sums[0, 0] == pytest.approx(values.sum())
    # A calendar day weighs the same in both windows, and weights are draws with replacement.
    np.testing.assert_array_equal(boot._days[:, 1:3], boot._days[:, 3:5])
    assert (boot._series.sum(axis=1) == 3).all()
    assert (boot._days[:, [0, 1, 2, 5]].sum(axis=1) == 4).all()
    # A part of the rows: those left out count nothing.
    np.testing.assert_allclose(
        boot.sums(values[3:], boot.cell[3:]),
        boot.sums(np.r_[0, 0, 0, values[3:]], boot.cell),
        atol=1e-12,
    )
    np.testing.assert_allclose(boot.sums(None, boot.cell), boot.sums(np.ones(15), boot.cell))


def test_a_block_of_days_is_drawn_as_one():
    boot = grid(5, 21, n_boot=50, block=7)
    weeks = boot._days.reshape(51, 3, 7)
    assert (weeks == weeks[:, :, :1]).all()
    assert (weeks[1:] != 1).any()


def test_no_interval_where_none_can_be_had():
    for options in ({"n_boot": 0}, {"n_boot": 20, "block": 99}):
        boot = grid(1, 4, **options)
        draws = np.ones((1 + boot.n_boot, 2))
        assert np.isnan(boot.interval(draws, 95)).all()
    boot = grid(3, 4, n_boot=20)
    draws = np.arange(21.0)[:, None] * np.ones(3)
    draws[1:12, 0] = np.nan
    draws[1:10, 1] = np.nan
    draws[0, 2] = np.nan
    lo, hi = boot.interval(draws, 80)
    assert np.isnan(lo).tolist() == [True, False, True]
    assert (lo[1], hi[1]) == pytest.approx(tuple(np.quantile(np.arange(10, 21), [0.1, 0.9])))


def test_bad_arguments():
    for options in ({"n_boot": -1}, {"n_boot": 2.5}, {"block": 0}, {"n_boot": True}):
        with pytest.raises(CivstatsError, match="must be a whole number"):
            grid(2, 2, **options)


def test_groups_of_series_leave_the_standard_error(monkeypatch):
    rng = np.random.default_rng(5)
    n_series, n_days = 1200, 10
    values = (rng.gamma(0.5, 2, (n_series, 1)) + rng.normal(size=(n_series, n_days))).ravel()

    def spread(seed):
        boot = grid(n_series, n_days, n_boot=2000, seed=seed, over=("series",))
        return (boot.sums(values, boot.cell) / boot.sums(None, boot.cell))[1:, 0].std(), boot

    exact, _ = spread(1)
    monkeypatch.setattr(significance, "MAX_GROUPS", 400)
    grouped, boot = spread(2)
    assert boot.n_groups == 400
    assert boot.cell.max() < 400 * n_days
    assert grouped == pytest.approx(exact, rel=0.12)


def coverages(n_worlds, n_series, n_days, make, *, seed=0, n_boot=200, **options):
    """Share of worlds whose 95 % interval holds the true ratio of 0, and its mean width."""
    rng = np.random.default_rng(seed)
    hits, widths = 0, 0.0
    for _ in range(n_worlds):
        error = make(rng, n_series, n_days).ravel()
        boot = grid(n_series, n_days, n_boot=n_boot, seed=rng, **options)
        lo, hi = boot.interval(boot.sums(error, boot.cell) / boot.sums(None, boot.cell), 95)
        hits += lo[0] <= 0 <= hi[0]
        widths += hi[0] - lo[0]
    return hits / n_worlds, widths / n_worlds


def shared_days(rng, n_series, n_days):
    """Errors with a shock that all series share on a day, a series effect and noise."""
    return (
        0.3 * rng.normal(size=(1, n_days))
        + 0.5 * rng.normal(size=(n_series, 1))
        + rng.normal(size=(n_series, n_days))
    )


def test_with_shared_days_two_ways_are_honest_and_one_way_is_not():
    two, wide = coverages(200, 200, 28, shared_days)
    series, narrow = coverages(200, 200, 28, shared_days, over=("series",))
    assert 0.90 <= two <= 0.99
    assert series < 0.75
    assert wide > 1.5 * narrow


def test_noise_that_nothing_shares_makes_two_ways_conservative():
    def noise(rng, n_series, n_days):
        return rng.normal(size=(n_series, n_days))

    _, wide = coverages(200, 100, 60, noise)
    # The variance counts such noise three times, less what the margins' means take out.
    assert wide / (2 * 1.96 / np.sqrt(6000)) == pytest.approx(np.sqrt(3), rel=0.06)


def shared_weeks(rng, n_series, n_days):
    """As shared_days, but the shared shock lasts (autoregressive, 0.8 from day to day)."""
    shock = np.zeros(n_days)
    level = rng.normal() / 0.6
    for t in range(n_days):
        level = 0.8 * level + rng.normal()
        shock[t] = level
    return 0.3 * shock + 0.5 * rng.normal(size=(n_series, 1)) + rng.normal(size=(n_series, n_days))


def test_shocks_that_last_need_blocks():
    daily, _ = coverages(300, 100, 140, shared_weeks)
    weekly, _ = coverages(300, 100, 140, shared_weeks, block=7)
    assert daily < 0.72
    assert weekly > 0.80
