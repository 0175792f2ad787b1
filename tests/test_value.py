"""Value: gains on shared draws, demand given the stockout, quantiles of sums, coverage of truth."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, nbinom

from civstats.schema import RANKING, CivstatsError
from civstats.value import (
    LEVERS,
    demand_given_stockout,
    gain_paths,
    portfolio,
    rank_gains,
    rank_value,
    true_gain,
)

DIMS = ("unique_id", "sample", "ds")


def names(n):
    return [f"s{k:03d}" for k in range(n)]


def demand_of(values, ids=None):
    n, samples, days = values.shape
    at = {"unique_id": ids or names(n), "sample": np.arange(samples)}
    at["ds"] = pd.date_range("2024-01-01", periods=days)
    return xr.DataArray(np.asarray(values, np.float32), at, DIMS)


def world_of(demand, out, cap=0.0, share=1.0):
    stock = np.where(out, np.where(np.asarray(share) < 1, np.inf, cap), np.inf)
    values = {"out": out, "stock": stock, "share": np.where(out, share, 1.0)}
    return xr.Dataset({k: (DIMS, v) for k, v in values.items()}, demand.coords)


def ones(demand):
    return pd.Series(1.0, index=demand["unique_id"].to_numpy())


def negative_binomial(rng, mean, a, size):
    return rng.poisson(rng.gamma(a, np.asarray(mean) / a, size)).astype(np.float32)


# --- demand given that the stockout happened -------------------------------------------------------


@pytest.mark.parametrize("c", [1, 6, 12])
def test_conditional_mean_is_that_of_scipy(c):
    rng = np.random.default_rng(0)
    p = 2 / (2 + 5)
    demand = negative_binomial(rng, 5, 2, (20, 2000, 5))
    got, unreached = demand_given_stockout(
        demand, np.full(demand.shape, c), rng.random(demand.shape) < 0.3, rng.random(demand.shape)
    )
    every, _ = demand_given_stockout(
        demand, np.full(demand.shape, c), np.ones(demand.shape, bool), rng.random(demand.shape)
    )
    k = np.arange(c, 2000)
    exact = (k * nbinom.pmf(k, 2, p)).sum() / nbinom.sf(c - 1, 2, p)
    assert every.mean() == pytest.approx(exact, rel=0.015)
    assert unreached == 0
    # P(D = c | D >= c): ties included, no off-by-one.
    assert (every == c).mean() == pytest.approx(
        nbinom.pmf(c, 2, p) / nbinom.sf(c - 1, 2, p), rel=0.03
    )
    assert got.shape == demand.shape


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(1, 4),
    st.booleans(),
)
def test_conditional_draw_is_an_exact_map(seed, n, samples, days, counts):
    """Never below the cap, unchanged elsewhere, and the brute-force index on each cell."""
    rng = np.random.default_rng(seed)
    demand = rng.gamma(0.7, 4, (n, samples, days)).astype(np.float32)
    cap = rng.gamma(1.0, 4, demand.shape).astype(np.float32)
    if counts:
        demand, cap = np.floor(demand), np.floor(cap)
    hit, tie = rng.random(demand.shape) < 0.4, rng.random(demand.shape).astype(np.float32)
    original = demand.copy()
    got, unreached = demand_given_stockout(demand, cap, hit, tie)
    np.testing.assert_array_equal(demand, original)
    np.testing.assert_array_equal(got[~hit], demand[~hit])
    assert (got[hit] >= cap[hit]).all()
    missed = 0
    for i, s, t in zip(*np.nonzero(hit), strict=True):
        column, d, c = np.sort(demand[i, :, t]), demand[i, s, t], cap[i, s, t]
        u = ((column < d).sum() + np.float64(tie[i, s, t]) * (column == d).sum()) / samples
        k0 = int((column < c).sum())
        if k0 == samples:
            missed += 1
            assert got[i, s, t] == c
        elif c > 0:
            assert got[i, s, t] == column[min(k0 + int(u * (samples - k0)), samples - 1)]
        else:
            assert got[i, s, t] == d
    assert unreached == missed


def test_rank_of_a_path_is_kept_so_dependence_survives():
    rng = np.random.default_rng(1)
    factor = rng.gamma(4, 1 / 4, (1, 3000, 1))
    demand = rng.poisson(20 * factor * np.ones((2, 1, 6))).astype(np.float32)
    given_, _ = demand_given_stockout(
        demand, np.full(demand.shape, 15), np.ones(demand.shape, bool), rng.random(demand.shape)
    )
    flat = given_.transpose(0, 2, 1).reshape(12, -1)
    before = demand.transpose(0, 2, 1).reshape(12, -1)
    low = np.corrcoef(pd.DataFrame(flat).T.rank().to_numpy().T)
    high = np.corrcoef(pd.DataFrame(before).T.rank().to_numpy().T)
    assert low[np.triu_indices(12, 1)].mean() > 0.85 * high[np.triu_indices(12, 1)].mean()


def test_ties_make_no_dependence_of_their_own():
    """Mostly zeros, independent: the draws on two days must stay independent."""
    rng = np.random.default_rng(2)
    demand = (rng.random((1, 20_000, 2)) < 0.2).astype(np.float32) * rng.poisson(9, (1, 20_000, 2))
    given_, _ = demand_given_stockout(
        demand, np.ones(demand.shape), np.ones(demand.shape, bool), rng.random(demand.shape)
    )
    assert abs(np.corrcoef(given_[0].T)[0, 1]) < 0.03


# --- the lever ---------------------------------------------------------------------------------------


def random_world(seed, n=6, samples=30, days=9, part=False):
    rng = np.random.default_rng(seed)
    demand = demand_of(negative_binomial(rng, 3, 1.5, (n, samples, days)))
    out = rng.random(demand.shape) < 0.4
    cap = np.where(rng.random(demand.shape) < 0.5, 0, rng.poisson(3, demand.shape))
    share = np.where(rng.random(demand.shape) < 0.3, rng.random(demand.shape), 1.0) if part else 1.0
    return demand, world_of(demand, out, cap, share)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_gains_are_never_negative_nested_and_zero_without_strength(seed, one, two, part):
    demand, world = random_world(seed, part=part)
    low, high = sorted((one, two))
    gains = {
        s: gain_paths(demand, world, price=ones(demand), margin=1.0, share=s, seed=seed)["units"]
        for s in (0.0, low, high, 1.0)
    }
    assert (gains[0.0] == 0).all()
    assert (gains[low] >= 0).all()
    assert (gains[low] <= gains[high] + 1e-5).all()
    assert (gains[high] <= gains[1.0] + 1e-5).all()


def test_full_strength_gains_all_that_is_lost_and_a_fifth_a_fifth():
    demand, world = random_world(1, n=40, samples=400)
    full = gain_paths(demand, world, price=ones(demand), share=1.0)
    np.testing.assert_allclose(full["units"].mean("sample"), full["lost_mean"], rtol=1e-4)
    fifth = gain_paths(demand, world, price=ones(demand), share=0.2)
    assert float(fifth["units"].mean() / full["units"].mean()) == pytest.approx(0.2, rel=0.03)


def test_no_stockouts_no_value():
    demand, world = random_world(0)
    calm = world_of(demand, np.zeros(demand.shape, bool))
    assert (gain_paths(demand, calm, price=ones(demand), share=1.0)["units"] == 0).all()
    assert bool(world["out"].any())


def test_uniforms_belong_to_a_series_and_a_seed():
    demand, world = random_world(3)
    kwargs = {"price": ones(demand), "share": 0.5}
    all_ = gain_paths(demand, world, seed=7, **kwargs)
    assert all_.identical(gain_paths(demand, world, seed=7, **kwargs))
    part = gain_paths(demand[[4, 1]], world.isel(unique_id=[1, 4]), seed=7, **kwargs)
    np.testing.assert_array_equal(part["units"], all_["units"][[4, 1]])
    assert not np.array_equal(gain_paths(demand, world, seed=8, **kwargs)["units"], all_["units"])


def test_blocks_do_not_matter(monkeypatch):
    demand, world = random_world(5, n=11)
    whole = gain_paths(demand, world, price=ones(demand), share=0.5)
    monkeypatch.setattr("civstats.value.counterfactual._CELLS", 700)
    assert whole.identical(gain_paths(demand, world, price=ones(demand), share=0.5))


def test_hours_lost_come_back_in_proportion():
    demand = demand_of(np.full((1, 10, 4), 8.0))
    out = np.zeros(demand.shape, bool)
    out[:, :, 1] = True
    gains = gain_paths(demand, world_of(demand, out, share=0.25), price=ones(demand), share=1.0)
    np.testing.assert_allclose(gains["units"], 6.0)


def test_a_cap_beyond_all_samples_loses_nothing_and_is_counted():
    demand = demand_of(np.full((1, 10, 2), 3.0))
    gains = gain_paths(
        demand, world_of(demand, np.ones(demand.shape, bool), 5), price=ones(demand), share=1.0
    )
    assert (gains["units"] == 0).all()
    assert gains.attrs["unreached"] == gains.attrs["capped"] == 20


# --- money -------------------------------------------------------------------------------------------


def test_quantile_of_the_sum_not_sum_of_quantiles():
    """28 independent days, NB(mean 5, dispersion 2): 178 against 364."""
    rng = np.random.default_rng(0)
    demand = demand_of(negative_binomial(rng, 5, 2, (1, 60_000, 28)))
    gains = gain_paths(
        demand, world_of(demand, np.ones(demand.shape, bool)), price=ones(demand), share=1.0
    )
    assert np.quantile(gains["units"][0], 0.95) == pytest.approx(178, abs=1.5)
    assert 28 * np.quantile(demand, 0.95) == 364
    row = rank_gains(gains).iloc[0]
    exact = nbinom(2 * 28, 2 / 7)
    assert row["units_p10"] == pytest.approx(exact.ppf(0.1), abs=1)
    assert row["units_p90"] == pytest.approx(exact.ppf(0.9), abs=1)


def test_prices_by_day_and_margins_by_series():
    demand = demand_of(np.full((2, 3, 2), 4.0))
    world = world_of(demand, np.ones(demand.shape, bool))
    ids, days = demand["unique_id"].to_numpy(), demand["ds"].to_numpy()
    frame = pd.DataFrame(
        {"unique_id": np.repeat(ids, 2), "ds": np.tile(days, 2), "price": [1.0, 2.0, 10.0, 30.0]}
    )
    static = pd.DataFrame({"unique_id": ids[::-1], "dept_id": ["B", "A"], "m": [0.5, 0.1]})
    gains = gain_paths(demand, world, price=frame, margin="m", share=1.0, static=static)
    np.testing.assert_allclose(gains["value"].mean("sample"), [0.1 * 12, 0.5 * 160], rtol=1e-6)
    series = pd.Series({ids[1]: 0.5, ids[0]: 0.1})
    again = gain_paths(demand, world, price=frame, margin=series, share=1.0)
    np.testing.assert_array_equal(gains["value"], again["value"])
    table = rank_gains(gains, static=static, k=1)
    assert list(table.columns[: len(RANKING)]) == list(RANKING)
    assert table["dept_id"].tolist() == ["B", "A"]
    assert table["price"].tolist() == [20.0, 1.5]
    by = portfolio(gains, static=static, by="dept_id")
    assert by["group"].tolist() == ["A", "B"]
    np.testing.assert_allclose(by["value_mean"], [1.2, 80.0], rtol=1e-6)


def test_ranking_order_ties_and_chance_of_the_top():
    rng = np.random.default_rng(0)
    value = rng.gamma(1.0, np.array([1, 5, 5, 2, 0, 0])[:, None] + 1e-12, (6, 500))
    value[4:] = 0
    at = {"unique_id": names(6)[::-1], "sample": np.arange(500)}
    gains = xr.Dataset({k: (DIMS[:2], value) for k in ("units", "value")}, at)
    for column in ("stockout_probability", "demand_mean", "lost_mean", "price", "margin"):
        gains[column] = (DIMS[:1], np.zeros(6))
    table = rank_gains(gains, k=2).set_index("unique_id")
    assert table["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table.index[-2:].tolist() == ["s000", "s001"]
    # Brute force, sample by sample.
    order = np.argsort(-value, axis=0, kind="stable")[:2]
    brute = np.bincount(order.ravel(), minlength=6) / 500
    np.testing.assert_allclose(table.loc[names(6)[::-1], "prob_top_k"], brute)
    # A top of five among four that gain anything: the two others share the last place.
    five = rank_gains(gains, k=5).set_index("unique_id")["prob_top_k"]
    assert five.sum() == pytest.approx(5)
    assert five[["s000", "s001"]].tolist() == [0.5, 0.5]
    assert (rank_gains(gains, k=50)["prob_top_k"] == 1).all()


def test_portfolio_bands_come_from_joint_worlds():
    """Two series that move together: the total's band is as wide as both bands together."""
    rng = np.random.default_rng(0)
    shared = rng.poisson(10, (1, 4000, 1)).astype(float)
    demand = demand_of(np.repeat(shared, 2, axis=0))
    world = world_of(demand, np.ones(demand.shape, bool))
    gains = gain_paths(demand, world, price=ones(demand), margin=1.0, share=1.0)
    total, each = portfolio(gains).iloc[0], rank_gains(gains).iloc[0]
    assert total["units_p90"] == 2 * each["units_p90"]
    assert total["units_p10"] == 2 * each["units_p10"]
    assert total["n_series"] == 2


# --- truth -------------------------------------------------------------------------------------------


def test_truth_counts_stockout_days_only_and_averages_its_luck():
    window = pd.DataFrame(
        {
            "unique_id": ["a"] * 3 + ["b"] * 2,
            "ds": pd.date_range("2024-01-01", periods=3).tolist() * 1
            + pd.date_range("2024-01-01", periods=2).tolist(),
            "y": [1.0, 2.0, 3.0, 0.0, 5.0],
            "demand": [4.0, 9.0, 3.0, 7.0, 5.0],
            "is_censored": [True, False, True, True, False],
            "price": [2.0, 2.0, 2.0, 3.0, 3.0],
        }
    )
    truth = true_gain(window, 0.2, margin=0.5).set_index("unique_id")
    np.testing.assert_allclose(truth["units"], [0.6, 1.4])
    np.testing.assert_allclose(truth["value"], [0.6, 2.1])
    assert truth["stockout_days"].tolist() == [2, 1]
    drawn = np.mean([true_gain(window, 0.2, seed=s)["units"].sum() for s in range(400)])
    assert drawn == pytest.approx(2.0, rel=0.2)
    by_series = true_gain(window, 0.2, pd.Series({"a": 10.0, "b": 0.0}), margin=1.0)
    np.testing.assert_allclose(by_series["value"], [6.0, 0.0])
    with pytest.raises(CivstatsError, match="no demand"):
        true_gain(window.drop(columns="demand"))
    with pytest.raises(CivstatsError, match="2 row"):
        true_gain(window, price=pd.Series({"a": 1.0}))


def coverage_of_the_portfolio(replications, first_seed=0):
    """Chains with known chances, NB demand forecast by its true distribution."""
    from civstats.models.availability import Availability
    from civstats.schema import validate_panel

    inside, ratio = 0, []
    n, past, h, a = 40, 300, 28, 2.0
    for r in range(replications):
        rng = np.random.default_rng([r, first_seed])
        mean, entry, exit_ = rng.gamma(1.5, 2, n), rng.beta(3, 60, n), rng.beta(8, 12, n)
        level = np.repeat(mean[:, None], past + h, axis=1)
        demand = negative_binomial(rng, level, a, level.shape)
        # On the first day of an outage the shelf holds what it held: out where demand reaches it.
        out, stock, state = np.zeros(level.shape, bool), np.zeros(level.shape), np.zeros(n, bool)
        shelf = nbinom.ppf(1 - entry, a, a / (a + mean)) + 1
        for t in range(past + h):
            runs_out = ~state & (demand[:, t] >= shelf)
            stays = state & (rng.random(n) >= exit_)
            out[:, t], stock[:, t] = runs_out | stays, np.where(stays, 0, shelf)
            state = out[:, t]
        days = pd.date_range("2023-01-01", periods=past + h)
        panel = pd.DataFrame(
            {
                "unique_id": np.repeat(names(n), past + h),
                "ds": np.tile(days, n),
                "y": np.where(out, np.minimum(demand, stock), demand).ravel(),
                "is_censored": out.ravel(),
                "demand": demand.ravel(),
            }
        )
        panel = validate_panel(panel)
        window = panel[panel["ds"] > days[past - 1]]
        model = Availability(half_life=1000).fit(panel[panel["ds"] <= days[past - 1]])
        paths = model.paths(names(n), days[past:], 300, seed=r)
        forecast = demand_of(negative_binomial(rng, mean[:, None, None], a, (n, 300, h)))
        forecast["ds"] = days[past:]
        gains = gain_paths(forecast, paths, price=ones(forecast), margin=1.0, seed=r)
        total = portfolio(gains).iloc[0]
        price = pd.Series(1.0, index=names(n))
        truth = true_gain(window, 0.2, price, 1.0, seed=r)["units"].sum()
        inside += total["units_p10"] <= truth <= total["units_p90"]
        expected = true_gain(window, 0.2, price, 1.0)["units"].sum()
        ratio.append((total["units_mean"], expected))
    totals = np.array(ratio)
    return inside, totals[:, 0].sum() / totals[:, 1].sum()


def test_portfolio_band_covers_the_true_gain():
    inside, ratio = coverage_of_the_portfolio(40)
    assert binom.ppf(0.002, 40, 0.8) <= inside <= binom.ppf(0.998, 40, 0.8)
    assert ratio == pytest.approx(1, abs=0.06)


@pytest.mark.slow
def test_portfolio_band_covers_the_true_gain_in_200_replications():
    inside, ratio = coverage_of_the_portfolio(200, first_seed=1)
    assert 145 <= inside <= 175
    assert ratio == pytest.approx(1, abs=0.03)


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d, w: {"d": d[:, :5]}, "5 samples and availability 30"),
        (lambda d, w: {"d": d[1:]}, "differ in 1 series, first s000"),
        (lambda d, w: {"w": w.isel(ds=slice(2, None))}, "differ in 2 days"),
        (lambda d, w: {"d": d.transpose("sample", ...)}, "dims"),
        (lambda d, w: {"d": d - 1}, "0 or more"),
        (lambda d, w: {"d": d.where(d > 0)}, "finite"),
        (lambda d, w: {"w": w.drop_vars("share")}, "lack share"),
        (lambda d, w: {"price": ones(d)[:-2]}, r"18 series-day\(s\) in 2 series .* first s004"),
        (lambda d, w: {"price": -ones(d)}, "negative price"),
        (lambda d, w: {"price": 3.0}, "price must be a Series"),
        (lambda d, w: {"margin": 20}, r"margin must be a share in \[0, 1\]"),
        (lambda d, w: {"margin": ones(d)[1:]}, "1 series have no margin"),
        (lambda d, w: {"margin": "m"}, "no column 'm'"),
        (lambda d, w: {"share": 1.2}, "share must be"),
        (lambda d, w: {"lever": "magic"}, "unknown lever 'magic'; there are: averted, gone"),
        (lambda d, w: {"k": 0}, "k must be"),
        (lambda d, w: {"static": pd.DataFrame({"unique_id": ["s001"]})}, "static lacks 5"),
    ],
)
def test_wrong_input_is_one_readable_line(change, match):
    demand, world = random_world(0)
    kwargs = {"d": demand, "w": world, "price": ones(demand), **change(demand, world)}
    with pytest.raises(CivstatsError, match=match) as error:
        rank_value(kwargs.pop("d"), kwargs.pop("w"), **kwargs)
    assert "\n" not in str(error.value)


def test_every_lever_is_described():
    for name, lever in LEVERS.items():
        assert ("20%" in lever.describe(0.2)) == (name != "gone")


def test_size_of_a_real_store():
    """823 series x 200 samples x 28 days stay within seconds."""
    demand, world = random_world(0, n=823, samples=200, days=28)
    start = time.perf_counter()
    rank_value(demand, world, price=ones(demand))
    assert time.perf_counter() - start < 20
