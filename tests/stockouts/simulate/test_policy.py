"""The order-up-to policy against a slow oracle; what it may know, and what it may not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from civstats.schema import CivstatsError, series_index, validate_panel
from civstats.stockouts.simulate import (
    InventoryPolicy,
    PolicyChange,
    Recapture,
    calibrate_policy,
    run_policy,
    simulate_stockouts,
)
from civstats.stockouts.simulate.policy import Shop
from tests.stockouts.simulate.world import negbin_world

MASK64 = 2**64 - 1


def hashed(key: int, stream: int, day: int, unit: int) -> float:
    """SplitMix64's finaliser in Python's own integers."""
    x = key + stream * 0x8CB92BA72F3D8DD7 + (day + 1) * 0x9E3779B97F4A7C15
    x = (x + unit * 0xD1B54A32D192ED03) & MASK64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK64
    return ((x ^ (x >> 31)) >> 11) / 2**53


def oracle(demand, factor, key, place, first_day, policy, change=None, start=10**6):
    """One series, day by day, in plain Python: returns stock and sales."""
    review, lead = policy.review_period, policy.lead_time
    cover = review + lead
    on_hand, level, seen = 0, policy.prior_level, 0
    arrivals: dict[int, int] = {}
    stock, sales = [], []
    for t, wanted in enumerate(demand):
        if change is not None and first_day + t == start:
            review, lead = change.policy.review_period, change.policy.lead_time
            cover = cover if change.keep_level else review + lead
        on_hand += arrivals.pop(t, 0)
        if t < policy.launch_days:
            on_hand = policy.launch_stock
        sold = min(wanted, on_hand)
        stock.append(on_hand)
        sales.append(sold)
        pace, ended_empty = sold / factor[t], sold == on_hand
        if not (ended_empty and pace <= level):
            seen += 1
            level += max(policy.memory, 1 / (seen + policy.prior_days)) * (pace - level)
        on_hand -= sold
        ahead = [level * (factor[s] if s < len(demand) else 1) for s in
                 range(t + 1, t + cover + 1)]  # fmt: skip
        spread = math.sqrt(sum(m + m * m / policy.dispersion for m in ahead))
        target = sum(ahead) + policy.safety_factor * spread
        target = max(math.floor(target + hashed(key, 1, first_day + t, 0)), policy.min_level)
        if t == policy.launch_days - 1:
            on_hand = target
        elif t >= policy.launch_days and (first_day + t + int(place * review)) % review == 0:
            short = target - on_hand - sum(arrivals.values())
            if short > 0:
                packs = math.ceil(short / policy.pack_size)
                arrivals[t + lead] = arrivals.get(t + lead, 0) + packs * policy.pack_size
    return np.array(stock), np.array(sales)


FAST, SLOW = (InventoryPolicy(review_period=r, lead_time=k) for r, k in ((1, 1), (4, 6)))


@pytest.mark.parametrize(
    ("policy", "change"),
    [
        (InventoryPolicy(review_period=1, lead_time=1, safety_factor=-0.5), None),
        (
            InventoryPolicy(review_period=3, lead_time=2, safety_factor=0.2, pack_size=4),
            PolicyChange(FAST, "2024-03-11"),
        ),
        (
            InventoryPolicy(review_period=2, lead_time=5, launch_days=0, min_level=3, memory=0.2),
            PolicyChange(FAST, "2024-03-11", keep_level=True),
        ),
        (InventoryPolicy(review_period=1, lead_time=2), PolicyChange(SLOW, "2024-03-11")),
    ],
)
def test_against_a_slow_oracle(policy, change):
    panel = negbin_world(6, 120, mean=2, spread=1, plain=False)
    # The last series is launched 40 days after the others.
    late = (panel["unique_id"] == "i0005") & (panel["ds"] < "2024-02-10")
    panel = validate_panel(panel[~late])
    shop = Shop(panel, seed=3)
    run = shop.run(policy, change=change)
    factor = np.where(panel["ds"].dt.dayofweek >= 5, policy.weekend_uplift, 1.0)
    factor = factor * np.where(panel["promo"] > 0, policy.promo_uplift, 1.0)
    factor = factor * np.where(panel["event_name_1"] == "Feast", policy.event_uplift, 1.0)
    index = series_index(panel)
    for i, (a, b) in enumerate(zip(index.starts, index.ends, strict=True)):
        stock, sales = oracle(
            panel["demand"].to_numpy(dtype=float)[a:b], factor.astype("float32")[a:b],
            int(shop._layout.key[i]), shop._u[2, i], 40 if i == 5 else 0, policy, change, 70,
        )  # fmt: skip
        np.testing.assert_array_equal(run.stock[a:b], stock)
        np.testing.assert_array_equal(run.sales[a:b], sales)
    assert run.is_censored.mean() > 0.05


@pytest.mark.parametrize("keep_level", [False, True])
def test_a_change_is_felt_from_its_day_on_and_one_to_the_same_rhythm_never(keep_level):
    panel = negbin_world(30, 200, mean=2, spread=1, plain=False)
    policy = calibrate_policy(panel, InventoryPolicy(), rate=0.2, seed=3)
    start = panel["ds"].min() + pd.Timedelta(days=120)
    run = run_policy(panel, policy, seed=3)
    same = run_policy(panel, policy, seed=3, change=PolicyChange(policy, start, keep_level))
    np.testing.assert_array_equal(same.stock, run.stock)
    fast = replace(policy, review_period=1, lead_time=1)
    changed = run_policy(panel, policy, seed=3, change=PolicyChange(fast, start, keep_level))
    # An order of the first changed evening is there the next morning.
    before = (panel["ds"] <= start).to_numpy()
    np.testing.assert_array_equal(changed.stock[before], run.stock[before])
    assert changed.sales[~before].sum() > 1.02 * run.sales[~before].sum()


WORLD = negbin_world(12, 90, mean=1.5, spread=1)
DAY = (WORLD["ds"] - WORLD["ds"].min()).dt.days.to_numpy()


@settings(max_examples=25, deadline=None)
@given(
    t=st.integers(1, 89),
    seed=st.integers(0, 10**6),
    recapture=st.sampled_from([None, Recapture(substitute=0.4, later=0.3)]),
)
def test_orders_do_not_know_what_comes(t, seed, recapture):
    """Demand changed from day t on leaves stock up to t's opening as it was, whatever the days."""
    policy = InventoryPolicy(safety_factor=-0.3)
    other = np.random.default_rng(seed).poisson(4, len(WORLD)).astype("float32")
    changed = WORLD.assign(demand=np.where(t <= DAY, other, WORLD["demand"]).astype("float32"))
    a, b = (run_policy(w, policy, seed=5, recapture=recapture) for w in (WORLD, changed))
    np.testing.assert_array_equal(a.stock[t >= DAY], b.stock[t >= DAY])
    np.testing.assert_array_equal(a.sales[t > DAY], b.sales[t > DAY])


def test_orders_follow_sales_not_demand():
    """Customers who found the shelf empty leave no trace in any later stock."""
    policy = InventoryPolicy(safety_factor=-1.0)
    run = run_policy(WORLD, policy, seed=5)
    hidden = WORLD.assign(demand=WORLD["demand"] + 30 * run.is_censored.astype("float32"))
    again = run_policy(hidden, policy, seed=5)
    assert run.is_censored.mean() > 0.2
    np.testing.assert_array_equal(run.stock, again.stock)
    np.testing.assert_array_equal(run.sales, again.sales)


def test_a_shelf_that_ends_exactly_empty_is_censored():
    out = simulate_stockouts(WORLD, mechanism="inventory", rate=0.2, seed=1)
    ties = (out["demand"] == out["stock"]) & (out["stock"] > 0)
    assert ties.sum() > 10
    assert out.loc[ties, "is_censored"].all()
    late = DAY >= 14
    assert (out["stock"].notna()).all()
    assert (out["is_censored"] == (out["demand"] >= out["stock"]))[late].all()


def test_simulation_is_the_calibrated_policy_run():
    """What a counterfactual starts from: the same seed gives the simulated world back."""
    simulated = simulate_stockouts(WORLD, mechanism="inventory", rate=0.2, seed=9)
    policy = calibrate_policy(simulated, InventoryPolicy(), rate=0.2, seed=9)
    run = run_policy(simulated, policy, seed=9)
    np.testing.assert_array_equal(run.stock, simulated["stock"])
    np.testing.assert_array_equal(run.sales, simulated["y"])
    # More on the shelf with every other draw shared: each day's stock can only grow at first.
    more = run_policy(simulated, replace(policy, safety_factor=policy.safety_factor + 1), seed=9)
    assert (more.stock >= run.stock)[DAY <= 14].all()
    assert more.is_censored.mean() < run.is_censored.mean()


def test_options_keep_their_order():
    """A series with the longest lead time of the old options gets the longest of the new."""
    world = negbin_world(40, 120, mean=4)

    def stock(lead):
        policy = InventoryPolicy(review_period=1, lead_time=lead)
        return run_policy(world, policy, seed=1).stock.reshape(40, 120)

    def who_waits_longest(options):
        drawn, longest, shortest = stock(options), stock(max(options)), stock(min(options))
        slow, fast = (drawn == longest).all(axis=1), (drawn == shortest).all(axis=1)
        assert (slow != fast).all()
        return slow

    slow = who_waits_longest((9, 3))
    assert 8 < slow.sum() < 32
    assert (slow == who_waits_longest((2, 5))).all()


def days_of(panel: pd.DataFrame) -> pd.Series:
    return (panel["ds"] - panel["ds"].min()).dt.days


def test_slow_movers_are_not_starved():
    """Nobody's stock dies out: sales recover, and shortage does not grow over the years."""
    world = negbin_world(150, 1000, mean=0.1, dispersion=1.0)
    out = simulate_stockouts(world, mechanism="inventory", rate=0.15, seed=1)
    year = days_of(out) // 250
    flagged = out["is_censored"].groupby(year).mean()
    assert flagged.iloc[1:].max() - flagged.iloc[1:].min() < 0.05
    assert out["y"].sum() / out["demand"].sum() > 0.75
    fast = simulate_stockouts(negbin_world(50, 1000), mechanism="inventory", rate=0.45, seed=1)
    sold = fast["y"].groupby(days_of(fast) // 250).sum()
    assert sold.iloc[3] / sold.iloc[1] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lead_time": 0}, "lead_time must be 1 day or more"),
        ({"review_period": ()}, "review_period must be 1 day or more"),
        ({"memory": 0}, "memory must lie in"),
        ({"dispersion": -1}, "dispersion must be positive"),
        ({"pack_size": 0}, "pack_size must be 1 or more"),
        ({"safety_factor": float("inf")}, "safety_factor must be finite"),
    ],
)
def test_wrong_policies(wrong, message):
    with pytest.raises(CivstatsError, match=message):
        InventoryPolicy(**wrong)
