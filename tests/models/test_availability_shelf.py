"""The shelf ahead: against the simulator that made the panel, on the very demand that came."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from civstats.models.availability import Availability, Replenishment, Shelf
from civstats.schema import CivstatsError, ForecastError, validate_panel
from civstats.stockouts.simulate import (
    InventoryPolicy,
    PolicyChange,
    calibrate_policy,
    run_policy,
    simulate_stockouts,
)
from civstats.value import averted, gain_between, gain_paths, true_gain_between
from tests.stockouts.simulate.world import negbin_world

DIMS = ("unique_id", "sample", "ds")
N, H = 60, 28


@lru_cache(maxsize=4)
def shop(rate=0.2, plain=True, **options):
    """A panel of an inventory policy, its policy, and the demand of the last days as paths."""
    world = negbin_world(N, 300, spread=0.6, plain=plain).assign(price=2.0)
    policy = calibrate_policy(world, InventoryPolicy(**options), rate=rate, seed=3)
    run = run_policy(world, policy, seed=3)
    panel = validate_panel(world.assign(y=run.sales, stock=run.stock, is_censored=run.is_censored))
    cutoff = panel["ds"].max() - pd.Timedelta(days=H)
    return panel, policy, cutoff


def future_demand(panel, cutoff, samples=40):
    window = panel[panel["ds"] > cutoff]
    values = window["demand"].to_numpy().reshape(N, H)
    at = {"unique_id": panel["unique_id"].cat.categories.to_numpy(object)}
    at |= {"sample": np.arange(samples), "ds": np.sort(window["ds"].unique())}
    return xr.DataArray(np.repeat(values[:, None], samples, 1), at, DIMS), window


def fitted(panel, cutoff, **options):
    return Shelf(InventoryPolicy(**options)).fit(panel[panel["ds"] <= cutoff])


def test_policy_is_read_from_the_record():
    panel, policy, cutoff = shop()
    shelf = fitted(panel, cutoff)
    assert shelf.safety_factor_ == pytest.approx(policy.safety_factor, abs=0.03)
    # The same world under every pair of options, told by its own draws.
    for review, lead in ((1, 2), (2, 4), (2, 3), (1, 4)):
        world = panel.drop(columns=["stock", "is_censored"]).assign(y=panel["demand"])
        fixed = InventoryPolicy(review_period=review, lead_time=lead, safety_factor=0.3)
        run = run_policy(world, fixed, seed=1)
        seen = validate_panel(world.assign(y=run.sales, stock=run.stock))
        found = Shelf().fit(seen)
        assert (found.lead_time_ == lead).mean() > 0.97
        assert (found.review_period_ == review).mean() > 0.97
        assert found.safety_factor_ == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("rate", "pack"), [(0.1, 1), (0.3, 1), (0.1, 3)])
def test_safety_of_slow_movers_is_not_what_made_them_order(rate, pack):
    # A unit every third day: orders come when the rounding of the level was high, or at its least.
    world = negbin_world(N, 300, mean=0.3, spread=1.0)
    policy = calibrate_policy(world, InventoryPolicy(pack_size=pack), rate=rate, seed=3)
    run = run_policy(world, policy, seed=3)
    panel = validate_panel(world.assign(y=run.sales, stock=run.stock))
    shelf = Shelf(InventoryPolicy(pack_size=pack)).fit(panel)
    assert shelf.safety_factor_ == pytest.approx(policy.safety_factor, abs=0.02)


@pytest.mark.parametrize(("rate", "plain"), [(0.2, True), (0.35, False)])
def test_on_the_demand_that_came_the_shelf_is_the_shop(rate, plain):
    panel, _, cutoff = shop(rate, plain)
    demand, window = future_demand(panel, cutoff)
    known = window.drop(columns=["y", "demand", "demand_mean", "stock", "is_censored"])
    ahead = fitted(panel, cutoff).paths(demand, future=known)
    assert ahead.attrs["joint"] is True
    out, came = ahead["out"].to_numpy().mean(axis=1), window["is_censored"].to_numpy().reshape(N, H)
    # What differs is the shop's random rounding of orders, by one unit.
    assert abs(out - came).mean() < 0.05
    assert out.mean() == pytest.approx(came.mean(), abs=0.01)
    sold = np.minimum(demand, ahead["stock"]).sum("ds").mean("sample").to_numpy()
    true = window["y"].to_numpy().reshape(N, H).sum(axis=1)
    np.testing.assert_allclose(sold.sum(), true.sum(), rtol=0.01)
    assert np.corrcoef(sold, true)[0, 1] > 0.998
    chain = Availability().fit(panel[panel["ds"] <= cutoff])
    blind = chain.paths(chain.series_, pd.DatetimeIndex(demand["ds"].to_numpy()), 100)["out"]
    assert abs(blind.to_numpy().mean(axis=1) - came).mean() > 4 * abs(out - came).mean()


def test_faster_replenishment_is_the_rerun_of_the_shop():
    panel, policy, cutoff = shop(0.1, lead_time=(3, 4), review_period=(2,))
    demand, window = future_demand(panel, cutoff)
    shelf = fitted(panel, cutoff, lead_time=(3, 4), review_period=(2,))
    lever = Replenishment(lead_time=1, review_period=1)
    base, fast = shelf.paths(demand), shelf.paths(demand, lever=lever)
    rerun = run_policy(panel, replace(policy, lead_time=1, review_period=1), seed=3)
    # The lever begins at the cutoff, the rerun was always fast: until old orders are used up they
    # differ, so they are compared from the tenth day on.
    late = slice(9, None)
    gain = gain_between(
        demand[:, :, late], base.isel(ds=late), fast.isel(ds=late), price=window, margin=0.5
    )
    truth = true_gain_between(
        panel, panel["y"].to_numpy(), rerun.sales, start=demand["ds"].to_numpy()[9], margin=0.5
    ).set_index("unique_id")
    mean = gain["units"].mean("sample").to_numpy()
    true = truth.loc[gain["unique_id"].to_numpy(), "units"].to_numpy()
    assert abs(true.sum()) > 50
    assert mean.sum() == pytest.approx(true.sum(), rel=0.1)
    assert np.corrcoef(mean, true)[0, 1] > 0.9
    np.testing.assert_allclose(gain["value"], gain["units"] * 2.0 * 0.5, rtol=1e-6)
    nothing = gain_between(
        demand, base, shelf.paths(demand, lever=Replenishment()), price=window, margin=1.0
    )
    assert (nothing["units"] == 0).all()


@pytest.mark.parametrize("keep_level", [False, True])
def test_a_lever_from_the_cutoff_on_is_the_simulators_change_of_policy(keep_level):
    panel, policy, cutoff = shop(0.3)
    demand, window = future_demand(panel, cutoff)
    shelf = fitted(panel, cutoff)
    lever = Replenishment(lead_time=1, review_period=1, keep_level=keep_level)
    base, fast = shelf.paths(demand), shelf.paths(demand, lever=lever)
    gain = gain_between(demand, base, fast, price=window)["units"].mean("sample").to_numpy()
    change = PolicyChange(
        replace(policy, lead_time=1, review_period=1), cutoff + pd.Timedelta(days=1), keep_level
    )
    rerun = run_policy(panel, policy, seed=3, change=change)
    start = cutoff + pd.Timedelta(days=1)
    true = true_gain_between(panel, panel["y"].to_numpy(), rerun.sales, start=start)
    assert true["units"].sum() > 100
    # The shop's random rounding of orders remains: a unit now and then.
    assert gain.sum() == pytest.approx(true["units"].sum(), rel=0.05)
    assert np.corrcoef(gain, true["units"])[0, 1] > 0.95
    assert lever.describe().endswith("before") == keep_level


def test_a_shelf_that_never_runs_empty_is_worth_nothing_to_any_lever():
    world = negbin_world(12, 120, mean=2)
    run = run_policy(world, InventoryPolicy(safety_factor=12.0), seed=3)
    panel = validate_panel(world.assign(y=run.sales, stock=run.stock, price=2.0))
    cutoff = panel["ds"].max() - pd.Timedelta(days=H)
    window = panel[panel["ds"] > cutoff]
    values = window["demand"].to_numpy().reshape(12, 1, H)
    at = {"unique_id": panel["unique_id"].cat.categories.to_numpy(object)}
    at |= {"sample": np.arange(20), "ds": np.sort(window["ds"].unique())}
    demand = xr.DataArray(np.repeat(values, 20, 1), at, DIMS)
    shelf = Shelf().fit(panel[panel["ds"] <= cutoff])
    base = shelf.paths(demand)
    assert not base["out"].any()
    for keep in (False, True):
        fast = shelf.paths(demand, lever=Replenishment(1, 1, keep_level=keep))
        assert (gain_between(demand, base, fast, price=window)["units"] == 0).all()
    assert (gain_paths(demand, base, price=window, lever=averted(1.0))["units"] == 0).all()


def test_averting_days_of_a_shelf_takes_its_demand_as_it_is():
    panel, _, cutoff = shop()
    demand, window = future_demand(panel, cutoff)
    base = fitted(panel, cutoff).paths(demand)
    gains = gain_paths(demand, base, price=window, lever=averted(1.0), margin=1.0)
    lost = (demand - np.minimum(demand, base["stock"])).sum("ds")
    np.testing.assert_allclose(gains["units"], lost, atol=1e-4)
    assert gains.attrs["capped"] == 0
    true = (window["demand"] - window["y"]).to_numpy().sum()
    assert float(gains["units"].mean("sample").sum()) == pytest.approx(true, rel=0.05)


def test_same_seed_same_shelf_in_any_subset_and_truth_is_never_read():
    panel, _, cutoff = shop()
    demand, _ = future_demand(panel, cutoff, samples=5)
    shelf = fitted(panel, cutoff)
    whole = shelf.paths(demand, seed=2)
    part = shelf.paths(demand[[7, 3]], seed=2)
    np.testing.assert_array_equal(part["stock"], whole["stock"][[7, 3]])
    assert not np.array_equal(shelf.paths(demand, seed=3)["stock"], whole["stock"])
    rng = np.random.default_rng(0)
    shuffled = panel.assign(
        demand=rng.permutation(panel["demand"]), demand_mean=rng.permutation(panel["demand_mean"])
    )
    after = shuffled["ds"] > cutoff
    shuffled.loc[after, ["y", "stock"]] = 0
    again = fitted(shuffled, cutoff).paths(demand, seed=2)
    np.testing.assert_array_equal(again["stock"], whole["stock"])


def test_what_a_shelf_cannot_do_it_says():
    panel, _, cutoff = shop()
    demand, window = future_demand(panel, cutoff, samples=2)
    past = panel[panel["ds"] <= cutoff]
    with pytest.raises(CivstatsError, match="no stock: a shelf needs"):
        Shelf().fit(past.drop(columns=["stock", "is_censored"]))
    with pytest.raises(CivstatsError, match=r"1 row\(s\) have no stock"):
        Shelf().fit(past.assign(stock=past["stock"].where(np.arange(len(past)) != 9)))
    with pytest.raises(CivstatsError, match="gaps or end before"):
        Shelf().fit(past.drop(index=past.index[40]))
    with pytest.raises(ForecastError, match="not fitted"):
        Shelf().paths(demand)
    shelf = Shelf().fit(past)
    with pytest.raises(ForecastError, match="none can be left out"):
        shelf.paths(demand[:, :, 1:])
    with pytest.raises(ForecastError, match="1 series of the demand paths"):
        shelf.paths(demand.assign_coords(unique_id=["zz", *demand["unique_id"].to_numpy()[1:]]))
    with pytest.raises(ForecastError, match=r"lacks 28 series-day\(s\)"):
        shelf.paths(demand, future=window[window["unique_id"] != "i0004"])
    with pytest.raises(CivstatsError, match="lead_time must be"):
        Replenishment(lead_time=0)
    chain = Availability().fit(past)
    apart = chain.paths(chain.series_, pd.DatetimeIndex(demand["ds"].to_numpy()), 2)
    with pytest.raises(CivstatsError, match="walked along the demand paths"):
        gain_between(demand, apart, apart, price=window)


@pytest.mark.slow
def test_value_of_a_shelf_is_that_of_the_simulator_over_replications():
    """Demand from its true distribution, so that availability alone is judged."""
    told, true, inside = np.zeros(2), 0.0, 0
    for seed in range(30):
        world = negbin_world(N, 300, mean=3, spread=0.8, seed=seed)
        panel = simulate_stockouts(world, mechanism="inventory", rate=0.15, seed=seed)
        cutoff = panel["ds"].max() - pd.Timedelta(days=H)
        past, (base, window) = panel[panel["ds"] <= cutoff], future_demand(panel, cutoff, 200)
        mean = window["demand_mean"].to_numpy().reshape(N, 1, H)
        rng = np.random.default_rng(seed)
        demand = base.copy(data=rng.negative_binomial(2, 2 / (2 + mean), base.shape))
        chain = Availability().fit(past)
        days = pd.DatetimeIndex(demand["ds"].to_numpy())
        worlds = (
            Shelf().fit(past).paths(demand, seed=seed),
            chain.paths(chain.series_, days, 200, seed=seed, demand=demand),
        )
        price = pd.Series(1.0, index=demand["unique_id"].to_numpy())
        sums = [
            gain_paths(demand, w, price=price, lever=averted(1.0))["units"].sum("unique_id")
            for w in worlds
        ]
        lost = float((window["demand"] - window["y"])[window["is_censored"]].sum())
        told += [float(s.mean()) for s in sums]
        true += lost
        inside += float(sums[0].quantile(0.1)) <= lost <= float(sums[0].quantile(0.9))
    assert told[0] == pytest.approx(true, rel=0.03)
    assert abs(told[0] - true) < abs(told[1] - true)
    # 80 % of 30 is 24, give or take 2.2.
    assert 18 <= inside <= 30
