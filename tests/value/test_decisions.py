"""Past loss, net value, return, drivers, precision and regret: against sums and brute force."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, nbinom

from civstats.schema import RANKING, CivstatsError
from civstats.value import (
    MarginPrior,
    RecapturePrior,
    averted,
    explain,
    gain_paths,
    gone,
    in_true_top,
    lost_paths,
    net_gains,
    portfolio,
    rank_gains,
    reliability,
    top_k_regret,
)
from tests.value.worlds import demand_of, ones, random_world, world_of


def recovery_of(samples, y, stockout, n_series):
    """What a recovery hands back: `samples` (n_out, draws) on the rows that are out."""
    days = len(y) // n_series
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{k}" for k in range(n_series)], days),
            "ds": np.tile(pd.date_range("2024-01-01", periods=days), n_series),
            "y": np.asarray(y, np.float32),
            "stockout": stockout,
        }
    ).astype({"unique_id": "category"})
    return SimpleNamespace(frame=frame, rows=np.flatnonzero(stockout), samples=samples)


# --- what was lost ---------------------------------------------------------------------------------


def test_loss_of_28_independent_days_is_178_at_its_95th_percentile_not_364():
    rng = np.random.default_rng(0)
    samples = rng.poisson(rng.gamma(2, 2.5, (28, 60_000))).astype(np.float32)
    recovery = recovery_of(samples, np.zeros(28), np.ones(28, bool), 1)
    lost = lost_paths(recovery, price=pd.Series({"s0": 1.0}), margin=1.0)
    assert np.quantile(lost["units"][0], 0.95) == pytest.approx(178, abs=1.5)
    assert np.quantile(samples, 0.95, axis=1).sum() == 364
    total = portfolio(lost).iloc[0]
    exact = nbinom(2 * 28, 2 / 7)
    for name, p in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
        assert total[f"units_{name}"] == pytest.approx(exact.ppf(p), abs=1)


def test_loss_is_summed_by_day_price_and_span():
    rng = np.random.default_rng(1)
    out = rng.random(30) < 0.5
    y = rng.poisson(3, 30)
    samples = (y[out, None] + rng.poisson(4, (int(out.sum()), 50))).astype(np.float32)
    recovery = recovery_of(samples, y, out, 3)
    price = recovery.frame[["unique_id", "ds"]].assign(price=rng.gamma(2, 2, 30))
    start, end = "2024-01-03", "2024-01-08"
    lost = lost_paths(recovery, price=price, margin=0.3, start=start, end=end)
    brute = {s: np.zeros((2, 50)) for s in ("s0", "s1", "s2")}
    for j, r in enumerate(recovery.rows):
        row = recovery.frame.iloc[r]
        if start <= str(row["ds"].date()) <= end:
            brute[row["unique_id"]][0] += samples[j] - y[r]
            brute[row["unique_id"]][1] += (samples[j] - y[r]) * price["price"].iloc[r]
    for k, name in enumerate(("s0", "s1", "s2")):
        np.testing.assert_allclose(lost["units"][k], brute[name][0])
        np.testing.assert_allclose(lost["value"][k], 0.3 * brute[name][1], rtol=1e-6)
    by = portfolio(lost, by="unique_id")
    np.testing.assert_allclose(by["units_p90"], np.quantile(lost["units"], 0.9, axis=1))
    assert by.attrs["estimand"] == lost.attrs["estimand"] == "lost"
    assert int(lost["days_out"].sum()) == sum(
        start <= str(d.date()) <= end for d in recovery.frame["ds"][recovery.rows]
    )


def test_loss_of_a_recovery_is_that_of_its_own_table():
    from civstats.demand_filter.recovery import recover
    from civstats.stockouts.simulate import simulate_stockouts
    from tests.stockouts.simulate.world import negbin_world

    panel = simulate_stockouts(negbin_world(6, 120), mechanism="random", rate=0.2, seed=1)
    recovery = recover(panel, n_draws=100, seed=0)
    ids = panel["unique_id"].cat.categories
    lost = lost_paths(recovery, price=pd.Series(2.0, index=ids), margin=0.5)
    table = recovery.lost("unique_id", level=80).set_index("unique_id")
    mine = portfolio(lost, by="unique_id").set_index("group").loc[table.index.astype(str)]
    np.testing.assert_allclose(mine["value_p10"], table["lost-lo-80"], rtol=1e-4)
    np.testing.assert_allclose(mine["value_p90"], table["lost-hi-80"], rtol=1e-4)
    np.testing.assert_allclose(mine["value_mean"], table["lost"], rtol=0.1)


def test_loss_and_gain_are_never_mixed():
    recovery = recovery_of(np.ones((1, 5), np.float32), np.zeros(2), np.array([True, False]), 1)
    price = pd.Series({"s0": 1.0})
    lost = lost_paths(recovery, price=price)
    with pytest.raises(CivstatsError, match="what a lever gains"):
        rank_gains(lost)
    with pytest.raises(CivstatsError, match="no place in a past loss"):
        net_gains(lost, cost=1.0)
    assert (net_gains(lost, recapture=0.25)["value"] == 0.75 * lost["value"]).all()
    with pytest.raises(CivstatsError, match="no draws"):
        lost_paths(SimpleNamespace(**{**vars(recovery), "samples": None}), price=price)
    with pytest.raises(CivstatsError, match="1 stockout day"):
        lost_paths(recovery, price=pd.Series({"zz": 1.0}))
    part = SimpleNamespace(**{**vars(recovery), "rows": recovery.rows[:0]})
    with pytest.raises(CivstatsError, match="1 stockout days lie in the span but 0 have draws"):
        lost_paths(part, price=price)


# --- net, cost, return -------------------------------------------------------------------------------


def test_net_is_gain_times_margin_less_what_goes_elsewhere():
    demand, world = random_world(3)
    gains = gain_paths(demand, world, price=2 * ones(demand), margin=0.5, lever=gone())
    net = net_gains(gains, recapture=0.3)
    np.testing.assert_allclose(net["value"], 0.7 * gains["value"])
    elsewhere = pd.Series(1.5, index=demand["unique_id"].to_numpy())
    net = net_gains(gains, recapture=0.3, elsewhere=elsewhere)
    np.testing.assert_allclose(net["value"], gains["units"] * (1.0 - 0.3 * 1.5), atol=1e-9)
    np.testing.assert_array_equal(net["gross"], gains["value"])
    draws = np.linspace(0, 1, demand.sizes["sample"])
    np.testing.assert_allclose(
        net_gains(gains, recapture=draws)["value"], gains["value"] * (1 - draws)
    )
    assert (net_gains(gains, recapture=1.0)["value"] == 0).all()
    for wrong in (1.2, draws[:-1], draws + 1):
        with pytest.raises(CivstatsError, match="recapture"):
            net_gains(gains, recapture=wrong)
    with pytest.raises(CivstatsError, match="no distribution"):
        RecapturePrior(0.02, 0.3)


def test_recapture_is_one_unknown_for_all_series():
    demand = demand_of(np.full((4, 5000, 1), 10.0))
    world = world_of(demand, np.ones(demand.shape, bool))
    gains = gain_paths(demand, world, price=ones(demand), margin=1.0, lever=gone())
    total = portfolio(net_gains(gains, recapture=RecapturePrior(0.4, 0.1), seed=1)).iloc[0]
    shape = 0.4 * (0.24 / 0.01 - 1), 0.6 * (0.24 / 0.01 - 1)
    band = 40 * (1 - beta(*shape).ppf([0.9, 0.1]))
    np.testing.assert_allclose([total["value_p10"], total["value_p90"]], band, rtol=0.02)
    assert total["value_mean"] == pytest.approx(24, rel=0.01)


def test_cost_is_paid_where_the_lever_acts_and_return_is_net_over_cost():
    demand = demand_of(np.array([4.0, 2.0, 9.0])[:, None, None] * np.ones((3, 10, 2)))
    world = world_of(demand, np.ones(demand.shape, bool))
    gains = gain_paths(
        demand, world, price=ones(demand), margin=1.0, lever=gone(series=["s000", "s001"])
    )
    table = rank_gains(net_gains(gains, recapture=0.5, cost=3.0), k=1).set_index("unique_id")
    assert table["value_mean"].to_dict() == {"s000": 1.0, "s002": 0.0, "s001": -1.0}
    assert table["gross_mean"].to_dict() == {"s000": 8.0, "s002": 0.0, "s001": 4.0}
    assert table.index.tolist() == ["s000", "s002", "s001"]
    assert table["return_mean"][["s000", "s001"]].tolist() == pytest.approx([1 / 3, -1 / 3])
    assert np.isnan(table.loc["s002", "return_mean"])
    assert table["prob_top_k"].tolist() == [1.0, 0.0, 0.0]
    each = pd.Series({"s000": 5.0, "s001": 0.0, "s002": 1.0})
    spent = rank_gains(net_gains(gains, cost=each)).set_index("unique_id")["value_mean"]
    assert spent.to_dict() == {"s001": 4.0, "s000": 3.0, "s002": -1.0}
    for wrong in (-1.0, np.nan, each[:2]):
        with pytest.raises(CivstatsError, match="cost"):
            net_gains(gains, cost=wrong)


# --- ranking -----------------------------------------------------------------------------------------


def test_shares_of_the_total_add_up_to_the_cumulative_curve():
    demand, world = random_world(7, n=12)
    gains = gain_paths(demand, world, price=ones(demand), lever=averted(0.5))
    table = rank_gains(gains, k=3)
    assert list(table.columns[: len(RANKING)]) == list(RANKING)
    assert table["share_of_total"].sum() == pytest.approx(1)
    np.testing.assert_allclose(table["cumulative_share"], np.cumsum(table["share_of_total"]))
    assert table["cumulative_share"].is_monotonic_increasing
    nothing = rank_gains(gain_paths(demand, world, price=ones(demand), share=0.0))
    assert nothing["share_of_total"].isna().all()


def test_drivers_add_up_and_name_the_cause():
    """One series stands out in each factor alone; all else is alike."""
    rng = np.random.default_rng(0)
    n, shape = 9, (9, 4000, 10)
    pace = np.full(n, 5.0)
    pace[0] = 20
    chance = np.full(n, 0.1)
    chance[1] = 0.4
    price = np.full(n, 2.0)
    price[2] = 8
    out = rng.random(shape) < chance[:, None, None]
    level = np.broadcast_to(pace[:, None, None], shape).copy()
    # Demand and outages move together in one series alone: no mean of its shows it.
    level[3] = np.where(out[3], 20, (5 - 0.1 * 20) / 0.9)
    demand = demand_of(rng.poisson(level))
    ids = demand["unique_id"].to_numpy()
    gains = gain_paths(demand, world_of(demand, out), price=pd.Series(price, ids), lever=gone())
    table = explain(rank_gains(gains)).set_index("unique_id")
    parts = [f"effect_{x}" for x in ("demand", "stockouts", "price", "uncertainty")]
    assert table.loc[ids[:4], "driver"].tolist() == ["demand", "stockouts", "price", "uncertainty"]
    for k in range(4):
        assert table.loc[ids[k], parts[k]] == pytest.approx(np.log(4), abs=0.05)
        assert table.loc[ids[k], "effect_total"] == pytest.approx(np.log(4), abs=0.06)
    np.testing.assert_allclose(table[parts].sum(axis=1), table["effect_total"])
    # They add up to value over value, not to a figure of their own.
    gap = table["effect_total"] - np.log(table["value_mean"])
    np.testing.assert_allclose(gap, gap.iloc[0])
    calm = explain(
        rank_gains(gain_paths(demand, world_of(demand, out), price=ones(demand), share=0.0))
    )
    assert (calm["driver"] == "none").all()
    assert calm["effect_total"].isna().all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=7), st.integers(1, 8), st.randoms())
def test_precision_and_regret_are_those_of_the_best_subset(values, k, random):
    ids = [f"s{i}" for i in range(len(values))]
    order = list(ids)
    random.shuffle(order)
    truth = pd.DataFrame({"unique_id": ids, "value": np.asarray(values, float)})
    row = top_k_regret(pd.DataFrame({"unique_id": order}), truth, k).iloc[0]
    m = min(k, len(ids))
    worth = dict(zip(ids, values, strict=True))
    subsets = list(combinations(ids, m))
    best = max(sum(worth[x] for x in s) for s in subsets)
    optimal = [set(s) for s in subsets if sum(worth[x] for x in s) == best]
    assert row["best"] == best
    assert row["gained"] == sum(worth[x] for x in order[:m])
    assert row["regret"] == best - row["gained"] >= 0
    # The most that can be right against any of the equally good choices.
    assert row["precision"] == pytest.approx(max(len(s & set(order[:m])) for s in optimal) / m)
    place = in_true_top(truth, k)
    share = {x: np.mean([x in s for s in optimal]) for x in ids}
    np.testing.assert_allclose(place, [share[x] for x in place.index])


def test_reliability_of_a_true_chance_and_of_a_wrong_one():
    rng = np.random.default_rng(0)
    p = rng.random(40_000)
    y = rng.random(len(p)) < p
    table = reliability(p, y)
    assert (abs(table["observed"] - table["expected"]) < 1.7 * table["half"]).all()
    assert table["n"].sum() == len(p)
    brute = (p >= 0.1) & (p < 0.2)
    row = table[table["lo"] == 0.1].iloc[0]
    assert (row["n"], row["observed"]) == (brute.sum(), pytest.approx(y[brute].mean()))
    assert row["half"] == pytest.approx(1.96 * np.sqrt(0.15 * 0.85 / brute.sum()), rel=0.1)
    wrong = reliability(p, rng.random(len(p)) < p**2)
    assert (abs(wrong["observed"] - wrong["expected"]) > wrong["half"]).sum() > 6
    # Rows that repeat one another are no evidence: ten copies, the same interval.
    clusters = np.tile(np.arange(4000), 10)
    again = reliability(np.tile(p[:4000], 10), np.tile(y[:4000], 10), cluster=clusters)
    np.testing.assert_allclose(again["half"], reliability(p[:4000], y[:4000])["half"], rtol=1e-6)


def test_ranking_and_truth_must_match():
    truth = pd.DataFrame({"unique_id": ["a", "b"], "value": [1.0, 2.0]})
    with pytest.raises(CivstatsError, match="differ in their series"):
        top_k_regret(pd.DataFrame({"unique_id": ["a"]}), truth, 1)
    assert MarginPrior().sd == 0.05
