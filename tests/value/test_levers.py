"""Levers: nested strengths, scopes, what two of them do together, words; margins with a prior."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from civstats.schema import CivstatsError
from civstats.value import (
    Lever,
    MarginPrior,
    Scope,
    averted,
    gain_paths,
    gone,
    portfolio,
    service_level,
)
from tests.value.worlds import demand_of, ones, random_world, world_of


def gain(demand, world, lever, seed=0, **kwargs):
    options = {"price": ones(demand), "margin": 1.0, "seed": seed, **kwargs}
    return gain_paths(demand, world, lever=lever, **options)


def day_by_day(lever_steps, uniform, out):
    """Slow oracle: each lever in turn throws its own share of the days that are still out."""
    left = out.copy()
    u = uniform.astype(float)
    for share in lever_steps:
        back = left & (u < share)
        left &= ~back
        u = np.where(left, (u - share) / max(1 - share, 1e-12), u)
    return out & ~left


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_every_availability_lever_is_nested_path_by_path(seed, one, two, other):
    demand, world = random_world(seed)
    low, high = sorted((one, two))
    nothing = Scope(series=())
    for weak, strong in (
        (averted(low), averted(high)),
        (service_level(low), service_level(high)),
        (averted(low) + averted(other), averted(high) + averted(other)),
        (averted(low, top=2), averted(low, top=4)),
        (service_level(low, top=3), service_level(low, top=3) + averted(other)),
        (Lever("gone", 1.0, nothing), averted(low)),
        (averted(high) + service_level(other), gone()),
    ):
        a, b = (gain(demand, world, x, seed)["units"] for x in (weak, strong))
        assert (a >= 0).all()
        assert (a <= b + 1e-4).all()


@pytest.mark.parametrize(
    "lever",
    [averted(0.0), service_level(0.0), gone(series=[]), averted(0.0) + averted(0, top=2)],
)
def test_zero_strength_is_exactly_zero(lever):
    demand, world = random_world(4)
    assert bool(world["out"].any())
    gains = gain(demand, world, lever)
    assert (gains["units"] == 0).all()
    assert (gains["value"] == 0).all()


@pytest.mark.parametrize("lever", [averted(1.0), gone(), service_level(1.0), gone() + averted(0.5)])
def test_no_stockouts_no_value_and_all_of_them_all_that_is_lost(lever):
    demand, world = random_world(5, n=4, samples=50)
    calm = world_of(demand, np.zeros(demand.shape, bool))
    assert (gain(demand, calm, lever)["units"] == 0).all()
    gains = gain(demand, world, lever)
    np.testing.assert_allclose(gains["units"].mean("sample"), gains["lost_mean"], rtol=1e-4)


def test_a_gain_over_28_days_is_178_at_its_95th_percentile_not_364():
    rng = np.random.default_rng(3)
    demand = demand_of(rng.poisson(rng.gamma(2, 2.5, (1, 40_000, 28))))
    gains = gain(demand, world_of(demand, np.ones(demand.shape, bool)), gone())
    assert np.quantile(demand[0], 0.95, axis=0).sum() == 364
    assert np.quantile(gains["units"][0], 0.95) == pytest.approx(178, abs=1.5)
    assert np.quantile(gains["value"][0], 0.95) == pytest.approx(178, abs=1.5)


def test_levers_in_turn_do_what_a_day_by_day_walk_does():
    rng = np.random.default_rng(0)
    uniform, out = rng.random((1, 1, 4000)), rng.random((1, 1, 4000)) < 0.5
    steps = (0.2, 0.35, 0.5)
    lever = averted(0.2) + averted(0.35) + averted(0.5)
    back = lever.back(pd.Index(["a"]), np.array([0.5]), np.array([1.0]))
    assert back[0] == pytest.approx(1 - 0.8 * 0.65 * 0.5)
    np.testing.assert_array_equal(out & (uniform < back), day_by_day(steps, uniform, out))


def test_a_service_level_is_reached_where_it_was_missed():
    rng = np.random.default_rng(1)
    demand = demand_of(np.full((3, 2000, 10), 2.0))
    chance = np.array([0.4, 0.1, 0.02])[:, None, None]
    world = world_of(demand, rng.random(demand.shape) < chance)
    gains = gain(demand, world, service_level(0.95))
    # Two units a day come back on 40 - 5 and 10 - 5 % of ten days.
    np.testing.assert_allclose(gains["units"].mean("sample"), [7.0, 1.0, 0.0], atol=0.12)
    # After a first lever there is less left to do: together they still end at 5 %.
    both = gain(demand, world, averted(0.5) + service_level(0.95))
    np.testing.assert_allclose(both["units"].mean("sample"), [7.0, 1.0, 0.2], atol=0.12)


def test_scopes_pick_the_named_and_the_best_sellers():
    ids = pd.Index(["d", "c", "b", "a"])
    demand = np.array([1.0, 5.0, 3.0, 3.0])
    assert Scope(top=2).chosen(ids, demand).tolist() == [False, True, False, True]
    assert Scope(series=("b",)).chosen(ids, demand).tolist() == [False, False, True, False]
    assert Scope(top=9).chosen(ids, demand).all()
    paths, world = random_world(2)
    whole = gain(paths, world, averted(0.6))["units"]
    top = gain(paths, world, averted(0.6, top=2))["units"]
    best = paths.sum("ds").mean("sample").argsort()[-2:].to_numpy()
    np.testing.assert_array_equal(top[best], whole[best])
    assert float(top.sum()) == float(top[best].sum())


def test_words_name_scope_strength_and_order():
    lever = averted(0.2) + service_level(0.98, top=50) + gone(series=["a", "b"])
    text = lever.describe()
    assert text.startswith("20% of stockout days averted")
    assert "then, for the 50 best-selling series, in stock on 98% of days" in text
    assert text.endswith("then, for 2 chosen series, no stockouts at all: every day out comes back")
    assert lever.label == "averted 20% + service_level 98% + gone"
    paths, world = random_world(2)
    found = gain(paths, world, averted(0.2, top=50))
    assert found.attrs["description"] == averted(0.2, top=50).describe()
    assert found.attrs["estimand"] == "gain"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: averted(1.2), "share must be"),
        (lambda: Lever("magic"), "unknown lever 'magic'"),
        (lambda: averted(0.2, series=["a"], top=3), "not both"),
        (lambda: averted(0.2, top=0), "top must be"),
        (lambda: gone(series="abc"), "list of names"),
        (lambda: MarginPrior(0.2, 1.5), "margin sd"),
    ],
)
def test_wrong_levers_say_so(make, match):
    with pytest.raises(CivstatsError, match=match):
        make()
    paths, world = random_world(2)
    with pytest.raises(CivstatsError, match="without paths, first 'zzz'"):
        gain(paths, world, gone(series=["zzz"]))


def test_a_margin_prior_is_shared_by_all_series():
    demand = demand_of(np.full((3, 4000, 2), 4.0))
    world = world_of(demand, np.ones(demand.shape, bool))
    prior = MarginPrior(pd.Series({"s000": 0.2, "s001": 0.2, "s002": 0.4}), 0.05)
    gains = gain(demand, world, gone(), margin=prior)
    assert (gains["revenue"] == 8).all()
    value = gains["value"].to_numpy() / 8
    a, b = 0.2 * (0.16 / 0.0025 - 1), 0.8 * (0.16 / 0.0025 - 1)
    np.testing.assert_allclose(
        np.quantile(value[0], [0.1, 0.9]), beta(a, b).ppf([0.1, 0.9]), atol=0.004
    )
    np.testing.assert_array_equal(value[0], value[1])
    assert np.corrcoef(value[0], value[2])[0, 1] > 0.99
    # The total is as uncertain as its parts together: nothing averages out.
    total = portfolio(gains).iloc[0]
    each = np.quantile(gains["value"], [0.1, 0.9], axis=1).sum(axis=1)
    np.testing.assert_allclose([total["value_p10"], total["value_p90"]], each, rtol=1e-6)
    with pytest.raises(CivstatsError, match="no distribution"):
        gain(demand, world, gone(), margin=MarginPrior(0.01, 0.2))
