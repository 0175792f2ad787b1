"""Stockouts from sales alone: against an HMM by hand, calibrated on the model's own world, causal."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from civstats.demand_filter import DemandFilter, FilterParameters
from civstats.schema import STATUSES, CivstatsError, series_index, validate_panel
from civstats.stockouts._apart import DayRules, days_apart, run_lengths
from civstats.stockouts.detect import detect, threshold_for, weights, zero_run

OUT_RATE, BACK_RATE = 0.05, 0.35


def frame(sales: dict[str, list[float]], start: str = "2024-01-01", **columns) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": k, "ds": pd.date_range(start, periods=len(v)), "y": v})
        for k, v in sales.items()
    ]
    return validate_panel(pd.concat(parts).assign(**columns))


def known(panel: pd.DataFrame, **parameters) -> DemandFilter:
    """A filter whose parameters are given, not estimated."""
    fitted = DemandFilter(treatment="ignore", hidden=True, offsets=False)
    fitted.ids_ = series_index(panel).ids
    n = len(fitted.ids_)
    rates = {"out_rate": OUT_RATE, "back_rate": BACK_RATE}
    params = FilterParameters("negbin", **(rates | parameters))
    values = {k: np.broadcast_to(v, (n,)) for k, v in params._values().items() if v is not None}
    fitted.parameters_ = FilterParameters("negbin", **values)
    return fitted


def learned(panel: pd.DataFrame) -> DemandFilter:
    """A filter fitted in little time."""
    return DemandFilter(
        treatment="ignore", hidden=True, offsets=False, rounds=1, sample_rows=1500, n_jobs=1
    ).fit(panel)


def world(n: int = 60, days: int = 400, seed: int = 0):
    """Draw the filter's own model: sales, and whether the item was out."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0.4, 0.7, (n, 1)) + np.cumsum(rng.normal(0, 0.03, (n, days)), axis=1)
    demand = rng.poisson(np.exp(level) * rng.gamma(2.0, 0.5, (n, days)))
    out = np.zeros((n, days), dtype=bool)
    out[:, 0] = rng.random(n) < OUT_RATE / (OUT_RATE + BACK_RATE)
    for t in range(1, days):
        u = rng.random(n)
        out[:, t] = np.where(out[:, t - 1], u >= BACK_RATE, u < OUT_RATE)
    sales = np.where(out, 0, demand)
    return frame({f"s{i:03d}": list(sales[i]) for i in range(n)}, price=1.0), out.ravel()


TRUE = {"dispersion": 2.0, "level_sd": 0.03, "prior_mean": 0.4, "prior_sd": 0.7}


@pytest.fixture(scope="module")
def own_world():
    panel, out = world()
    return panel, out, known(panel, **TRUE)


def hmm(y: np.ndarray, mean: float, size: float) -> tuple[np.ndarray, np.ndarray]:
    """P(out) filtered and smoothed for a level that stands still: two states, by hand."""
    seen = np.column_stack([stats.nbinom.pmf(y, size, size / (size + mean)), y == 0])
    move = np.array([[1 - OUT_RATE, OUT_RATE], [BACK_RATE, 1 - BACK_RATE]])
    share = OUT_RATE / (OUT_RATE + BACK_RATE)
    filtered, backward = np.empty((len(y), 2)), np.ones((len(y), 2))
    now = np.array([1 - share, share])
    for t, row in enumerate(seen):
        now = (now if t == 0 else now @ move) * row
        filtered[t] = now = now / now.sum()
    for t in range(len(y) - 2, -1, -1):
        backward[t] = move @ (seen[t + 1] * backward[t + 1])
        backward[t] /= backward[t].sum()
    both = filtered * backward
    return filtered[:, 1], both[:, 1] / both.sum(axis=1)


def test_it_is_the_hidden_markov_model_by_hand():
    rng = np.random.default_rng(3)
    y = np.where(rng.random(80) < 0.3, 0, rng.negative_binomial(2, 0.4, 80))
    # With a price from the first day, days before the first sale are asked about too.
    panel = frame({"a": list(y)}, price=1.0)
    still = known(panel, dispersion=2.0, level_sd=0.0, prior_mean=np.log(3.0), prior_sd=0.0)
    filtered, smoothed = hmm(y, 3.0, 2.0)
    online, offline = (
        detect(panel, still, online=x, n_jobs=1).frame["p_out"] for x in (True, False)
    )
    np.testing.assert_allclose(online, filtered, atol=1e-9)
    np.testing.assert_allclose(offline, smoothed, atol=1e-9)
    assert (offline[y > 0] == 0).all()


@pytest.mark.parametrize("online", [False, True])
def test_probabilities_are_calibrated_on_the_models_own_world(own_world, online):
    panel, out, fitted = own_world
    found = detect(panel, fitted, online=online, n_jobs=1)
    assert set(found.frame["status"]) <= {"in_stock", "out"}
    p, zero = found.frame["p_out"].to_numpy(), panel["y"].to_numpy() == 0
    series = panel["unique_id"].cat.codes.to_numpy()
    cuts = [0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 1]
    for low, high in itertools.pairwise(cuts):
        rows = zero & (p >= low) & (p < high)
        if not rows.any():
            continue
        # Days of a series hang together: the error is taken over series.
        off = np.bincount(series[rows], (out - p)[rows])
        assert abs(off.sum()) < 4 * np.sqrt(np.square(off).sum()), (low, high)
    called = (found.frame["status"] == "out").to_numpy()
    assert not called[~zero].any()
    assert found.false_alarms == pytest.approx(0.05, abs=0.001)
    assert called[zero & ~out].mean() == pytest.approx(found.false_alarms, abs=0.015)
    assert called[zero & out].mean() == pytest.approx(found.found, abs=0.06)
    assert out[called].mean() == pytest.approx(found.precision, abs=0.06)


def test_it_finds_more_than_the_rule_at_the_same_false_alarms(own_world):
    panel, out, fitted = own_world
    p = detect(panel, fitted, n_jobs=1).frame["p_out"].to_numpy()
    zero = panel["y"].to_numpy() == 0
    chance = zero_run(panel)["chance"].to_numpy()
    found = []
    for score in (p, -chance):
        bar = np.quantile(score[zero & ~out], 0.95)
        found.append((score[zero & out] > bar).mean())
    assert found[0] > found[1] + 0.05


def test_the_future_moves_nothing_online(own_world):
    panel, _, fitted = own_world
    panel = panel[panel["unique_id"].isin([f"s{i:03d}" for i in range(6)])]
    panel = validate_panel(
        panel.assign(unique_id=panel["unique_id"].cat.remove_unused_categories())
    )
    day = panel.groupby("unique_id", observed=True).cumcount().to_numpy()
    late = day >= 250
    # One item never sells again: looking back, its silence began before the cut.
    gone = (panel["unique_id"] == "s000").to_numpy() & (day >= 240)
    panel.loc[gone & ~late, "y"] = np.float32(0)
    other = panel.copy()
    rng = np.random.default_rng(1)
    other.loc[late, "y"] = np.where(
        rng.random(late.sum()) < 0.7, 0, rng.permutation(other["y"][late])
    )
    other.loc[gone, "y"] = np.float32(0)
    assert days_apart(other, series_index(other), DayRules(), past_only=False)[gone & ~late].all()
    a, b = (
        detect(x, fitted, online=True, threshold=0.4, n_jobs=1).frame[~late] for x in (panel, other)
    )
    pd.testing.assert_frame_equal(a, b)
    smoothed = [detect(x, fitted, n_jobs=1).frame["p_out"][~late] for x in (panel, other)]
    assert not np.array_equal(*smoothed)
    runs = [zero_run(x, online=True)[~late] for x in (panel, other)]
    pd.testing.assert_frame_equal(*runs)


def test_flags_stock_and_truth_are_not_read():
    rng = np.random.default_rng(0)
    panel, out = world(n=4, days=90, seed=5)
    flagged = validate_panel(
        panel.assign(
            is_censored=out, stock=np.where(out, 0.0, np.nan), demand=panel["y"] + out,
            demand_mean=1.0,
        )
    )  # fmt: skip
    shuffled = flagged.copy()
    zero = np.flatnonzero(shuffled["y"] == 0)
    flip = rng.random(len(zero)) < 0.5
    shuffled["is_censored"] = np.isin(np.arange(len(panel)), zero[flip])
    shuffled["stock"] = np.where(shuffled["is_censored"], 0.0, np.nan).astype("float32")
    shuffled["demand"] = np.float32(7)
    shuffled["flag_known"] = rng.random(len(panel)) < 0.5
    before = shuffled.copy(deep=True)
    plain, *others = (detect(x, n_jobs=1) for x in (panel, flagged, shuffled))
    for other in others:
        pd.testing.assert_frame_equal(plain.frame, other.frame)
        assert plain.threshold == other.threshold
    pd.testing.assert_frame_equal(before, shuffled)


def test_days_on_which_it_was_not_for_sale_are_told_apart():
    rng = np.random.default_rng(2)
    busy = {f"b{k}": list(rng.poisson(8, 400)) for k in range(5)}
    gone = [*rng.poisson(3, 250), *[0] * 150]
    gone[249] = 1
    slow = [*[0] * 90, 1, *[0] * 100, 1, *[0] * 60, 1, *[0] * 97, 1, *[0] * 49]
    late = [*[0] * 60, *rng.poisson(3, 340)]
    late[60] = 2
    for sales in (*busy.values(), gone, late):
        sales[200] = 0
    panel = frame({**busy, "gone": gone, "late": late, "slow": slow})
    panel["price"] = np.float32(2)
    first = panel["unique_id"].eq("late") & (panel["ds"] < "2024-02-20")
    panel.loc[first, "price"] = np.nan
    found = detect(panel, learned(panel), threshold=0.5, n_jobs=1)
    status = found.frame.set_index("unique_id")["status"]
    assert list(status.cat.categories) == list(STATUSES)
    assert (status["gone"][250:] == "delisted").all()
    assert not (status["gone"][:250] == "delisted").any()
    assert not status["slow"].isin(["delisted", "not_launched"]).any()
    assert (status["late"][:50] == "not_launched").all()
    # Priced but not selling for ten days is a matter of stock.
    assert (status["late"][50:60] == "out").all()
    closed = found.frame[found.frame["ds"] == panel["ds"][200]]["status"]
    assert (closed == "closed").all()
    assert (status == "closed").sum() == 8
    apart = found.frame["status"].isin(["not_launched", "delisted", "closed"])
    assert found.frame["p_out"].isna().equals(apart)
    assert (found.weights[apart] == 0).all()
    sold = (panel["y"] > 0) & ~apart
    assert (found.weights[sold] == 1).all()


def test_without_prices_a_long_silence_before_the_first_sale_was_no_launch():
    rng = np.random.default_rng(2)
    y = rng.poisson(3, 300)
    y[0] = 2
    panel = frame({"late": [0] * 80 + list(y), "short": [0] * 5 + list(y), "never": [0] * 300})
    index, rules = series_index(panel), DayRules()
    code = pd.Series(days_apart(panel, index, rules, past_only=False), panel["unique_id"])
    assert (code["late"] == 1).sum() == 80
    assert (code["short"] == 0).all()
    assert (code["never"] == 1).all()
    # Who has never sold cannot be said to be out; that is all the past can tell.
    code = pd.Series(days_apart(panel, index, rules, past_only=True), panel["unique_id"])
    assert (code["late"] == 1).sum() == 80
    assert (code["short"] == 1).sum() == 5
    priced = panel.assign(price=np.float32(1))
    assert (days_apart(priced, index, rules, past_only=False) == 0).all()


def test_a_run_delists_from_the_day_it_is_long_enough_and_a_sale_takes_it_back():
    y = [1, 2, 1, 3] * 20 + [0] * 70 + [2] + [1, 0] * 10
    panel = frame({"a": y})
    index = series_index(panel)
    online = days_apart(panel, index, DayRules(), past_only=True)
    assert np.flatnonzero(online == 2).tolist() == list(range(80 + 55, 150))
    assert (days_apart(panel, index, DayRules(), past_only=False) == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.floats(0, 1, exclude_max=True))
def test_the_threshold_is_the_lowest_that_keeps_the_expected_false_alarms(numbers, rate):
    p = np.array(numbers) / 20
    found = threshold_for(p, rate)

    def share(bar: float) -> float:
        total = (1 - p).sum()
        return (1 - p)[p >= bar].sum() / total if total else 0.0

    assert share(found) <= rate + 1e-9
    assert all(share(x) > rate - 1e-9 for x in p[p < found])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=25), min_size=1, max_size=4),
    st.sampled_from([None, 1, 3, 8]),
    st.booleans(),
)
def test_runs_and_their_chance_by_brute_force(lists, window, online):
    panel = frame({f"s{k}": y for k, y in enumerate(lists)})
    # No day is told apart: the rule alone is under test.
    rules = DayRules(closed_usual=1e9, delisted_days=1000)
    panel["price"] = np.float32(1)
    found = zero_run(panel, window=window, online=online, rules=rules)
    expected_run, expected = [], []
    for y in lists:
        for t, sold in enumerate(y):
            a = b = t
            while not sold and a > 0 and y[a - 1] == 0:
                a -= 1
            while not sold and not online and b < len(y) - 1 and y[b + 1] == 0:
                b += 1
            k = 0 if sold else b - a + 1
            expected_run.append(k)
            if sold:
                expected.append(1.0)
                continue
            if online:
                base = y[:a] if window is None else y[max(a - window, 0) : a]
            elif window is None:
                base = y
            else:
                base = y[max(a - window, 0) : a] + y[b + 1 : b + 1 + window]
            p = (sum(x == 0 for x in base) + 1) / (len(base) + 2)
            expected.append(p ** (k - 1) * (1 if online else 1 + (k - 1) * (1 - p)))
    assert found["run"].tolist() == expected_run
    np.testing.assert_allclose(found["chance"], expected)
    np.testing.assert_array_equal(found["alarm"], (found["run"] > 0) & (found["chance"] <= 0.05))


@pytest.mark.parametrize("online", [False, True])
def test_the_rule_keeps_its_false_alarms_where_days_are_independent(online):
    rng = np.random.default_rng(0)
    share = rng.uniform(0.2, 0.9, 200)
    panel = frame({f"s{i:03d}": list((rng.random(700) > p) * 1) for i, p in enumerate(share)})
    zero = panel["y"] == 0
    for rate in (0.05, 0.15):
        called = zero_run(panel, false_alarms=rate, online=online)["alarm"][zero].mean()
        # Runs are whole numbers: the rule stays below the rate, not far below.
        assert 0.6 * rate < called < 1.1 * rate
    assert (zero_run(panel, longest=6)["alarm"] == (zero_run(panel)["run"] > 6)).all()


def test_runs_end_where_a_series_does():
    panel = frame({"a": [1, 0, 0], "b": [0, 0, 0, 2]})
    sold, index = panel["y"].to_numpy() > 0, series_index(panel)
    assert run_lengths(sold, index, so_far=False).tolist() == [0, 2, 2, 3, 3, 3, 0]
    assert run_lengths(sold, index, so_far=True).tolist() == [0, 1, 2, 1, 2, 3, 0]


def test_weights_are_those_of_the_detection(own_world):
    panel, _, fitted = own_world
    np.testing.assert_array_equal(
        weights(panel, fitted, n_jobs=1), 1 - detect(panel, fitted, n_jobs=1).frame["p_out"]
    )


def test_what_cannot_be_is_refused(own_world):
    panel, _, fitted = own_world
    with pytest.raises(CivstatsError, match="hidden availability"):
        detect(panel, DemandFilter(treatment="ignore"))
    with pytest.raises(CivstatsError, match="were not in the fit"):
        detect(frame({"new": [1, 0, 2]}), fitted)
    with pytest.raises(CivstatsError, match="false_alarms must be a share"):
        detect(panel, fitted, false_alarms=5)
    with pytest.raises(CivstatsError, match="window must be 1 or more"):
        zero_run(panel, window=0)
    with pytest.raises(CivstatsError, match="delisted_days must be 1 or more"):
        DayRules(delisted_days=0)
