"""Lower bounds under stockouts: the promise for demand, what is read, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from civstats.conformal import (
    censored_conformal,
    constant_chance,
    logistic_chance,
    series_chance,
    split_conformal,
)
from civstats.schema import CivstatsError, ForecastError, PanelError
from tests.conformal.world import NAME, demand_of, error_of, last_cutoffs, one_day_ahead, shop_world

LO, HI = f"{NAME}-lo-80", f"{NAME}-hi-80"


@pytest.fixture(scope="module")
def inventory():
    panel = shop_world("inventory")
    return panel, one_day_ahead(panel)


def unknown(mechanism):
    return "refuse" if mechanism == "inventory" else "plenty"


@pytest.mark.parametrize("score", ["residual", "quantile"])
@pytest.mark.parametrize("mechanism", ["random", "promotion", "inventory"])
def test_the_lower_bound_keeps_its_promise(mechanism, score):
    """Over worlds: shared days make one of them say little."""
    hits, oracle, sales, heights = [], [], [], []
    for seed in range(2):
        panel = shop_world(
            mechanism, n_series=60, n_days=130, seed=seed, plain=mechanism != "promotion"
        )
        forecasts = one_day_ahead(panel, days=90, seed=seed)
        options = {"level": 80, "test": last_cutoffs(forecasts, 30), "score": score}
        found = censored_conformal(forecasts, panel, unknown_stock=unknown(mechanism), **options)
        naive = split_conformal(forecasts, panel, stockouts="keep", **options).frame
        known = split_conformal(forecasts, panel, target="demand", **options).frame
        demand = demand_of(found.frame, panel)
        hits.append((demand >= found.frame[LO]).mean())
        oracle.append((demand >= known[LO]).mean())
        sales.append((demand >= naive[LO]).mean())
        heights.append([x[LO].mean() for x in (found.frame, known, naive)])
    error = 3 * max(error_of(demand >= found.frame[LO], found.frame), np.std(hits)) / np.sqrt(2)
    assert np.mean(hits) >= 0.9 - error
    # As often as with demand known, give or take; the naive bound is the lower, and the safer.
    assert np.mean(hits) < np.mean(oracle) + 0.03
    mine, known, naive = np.mean(heights, axis=0)
    assert naive < mine
    assert mine > 0.9 * known
    assert np.mean(sales) >= np.mean(hits) - 0.01


def test_the_ordinary_interval_fails_beside_it(inventory):
    panel, forecasts = inventory
    test = last_cutoffs(forecasts, 40)
    both = {"level": 80, "test": test}
    ordinary = split_conformal(forecasts, panel, **both).frame
    censored = censored_conformal(forecasts, panel, **both).frame
    demand = demand_of(ordinary, panel)
    inside = (demand >= ordinary[LO]) & (demand <= ordinary[HI])
    assert (demand <= ordinary[HI]).mean() < 0.85
    assert inside.mean() < 0.83
    assert (demand >= censored[LO]).mean() > 0.89
    # The upper end is the model's own, but for a unit where a bound or the median lies above.
    own = forecasts.sort_values(["unique_id", "ds", "cutoff"])
    own = own[own["cutoff"].isin(test)].reset_index(drop=True)
    np.testing.assert_array_equal(
        censored[HI], np.maximum(own[HI], np.maximum(censored[LO], own[f"{NAME}-median"]))
    )


def test_weights_matter_where_stock_follows_x():
    """Stock is short where the forecast is far too high: without weights those days are forgotten."""
    rng = np.random.default_rng(2)
    days, ids = pd.date_range("2024-01-01", periods=120), [f"i{k:03d}" for k in range(60)]
    panel = pd.MultiIndex.from_product([ids, days], names=["unique_id", "ds"]).to_frame(index=False)
    snap = rng.random(len(panel)) < 0.4
    mean = np.where(snap, 4.0, 20.0)
    demand = rng.negative_binomial(4, 4 / (4 + mean))
    short = rng.random(len(panel)) < np.where(snap, 0.85, 0.1)
    stock = np.where(short, rng.integers(0, 3, len(panel)), 100)
    panel = panel.assign(
        unique_id=pd.Categorical(panel["unique_id"]), snap=snap.astype("int8"), stock=stock.astype("float32"),
        y=np.minimum(demand, stock).astype("float32"), is_censored=demand >= stock, demand=demand,
        demand_mean=15.0,
    )  # fmt: skip
    forecasts = one_day_ahead(panel, days=90, bias=0)
    share = {}
    for chance in (logistic_chance, constant_chance):
        found = censored_conformal(
            forecasts,
            panel,
            level=80,
            chance=chance,
            score="residual",
            test=last_cutoffs(forecasts, 30),
        ).frame
        share[chance.__name__] = (demand_of(found, panel) >= found[LO]).mean()
    assert share["constant_chance"] < 0.87
    assert share["logistic_chance"] > 0.885


def test_the_chances_are_learnt():
    rng = np.random.default_rng(0)
    n = 6000
    x = pd.DataFrame(
        {
            "unique_id": pd.Categorical([f"i{k % 40:02d}" for k in range(n)]),
            "mean": rng.gamma(2, 3, n),
            "weekday": np.arange(n) // 40 % 7,
            "promo": rng.random(n) < 0.2,
        }
    )
    effect = rng.normal(0, 0.8, 40)[np.arange(n) % 40]
    eta = 1 + effect - 1.2 * x["promo"] + 0.7 * (x["weekday"] == 5) - 0.5 * np.log1p(x["mean"])
    true = 1 / (1 + np.exp(-eta.to_numpy()))
    kept = rng.random(n) < true
    found = logistic_chance(x[:5000], kept[:5000], x[5000:])
    assert np.abs(found - true[5000:]).mean() < 0.04
    assert np.corrcoef(found, true[5000:])[0, 1] > 0.95
    by_series = series_chance(x[:5000], kept[:5000], x[5000:])
    marginal = pd.Series(true).groupby(np.arange(n) % 40).mean().to_numpy()
    assert np.abs(by_series - marginal[np.arange(5000, n) % 40]).mean() < 0.05
    assert np.ptp(constant_chance(x, kept, x)) == 0
    # A series never seen has the share of all; chances that are certain stay chances.
    new = x[:1].assign(unique_id="new")
    assert series_chance(x, kept, new)[0] == pytest.approx(kept.mean())
    for sure in (np.ones(n, bool), np.zeros(n, bool)):
        p = logistic_chance(x, sure, x[:10])
        assert ((p > 0) & (p <= 1)).all()


def test_the_logistic_regression_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    from civstats.conformal.chances import _newton

    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(800), rng.standard_normal((800, 4))])
    y = (rng.random(800) < 1 / (1 + np.exp(-x @ [0.5, 1, -1, 0.2, 0]))).astype(float)
    mine = _newton(x, y, np.zeros(800), np.zeros(5))
    theirs = linear.LogisticRegression(C=1.0, tol=1e-10, max_iter=500).fit(x[:, 1:], y)
    np.testing.assert_allclose(mine, [*theirs.intercept_, *theirs.coef_[0]], atol=5e-4)


def test_stock_that_is_not_known_is_refused_and_counted(inventory):
    panel, forecasts = inventory
    holes = panel.copy()
    late = (holes["ds"] == holes["ds"].max() - pd.Timedelta(days=10)).to_numpy()
    holes.loc[late, "stock"] = np.nan
    with pytest.raises(PanelError, match=r"stock is not known on 80 of .* split_conformal"):
        censored_conformal(forecasts, holes)
    with pytest.raises(PanelError, match="stock is not known"):
        censored_conformal(forecasts, holes.drop(columns="stock"))
    # Plenty is for days without a stockout alone.
    out = int((late & holes["is_censored"]).sum())
    with pytest.raises(PanelError, match=f"not known on {out} of"):
        censored_conformal(forecasts, holes, unknown_stock="plenty")
    holes.loc[late, "is_censored"] = False
    censored_conformal(forecasts, holes, unknown_stock="plenty")
    with pytest.raises(PanelError, match="not known on 80 of"):
        censored_conformal(forecasts, holes.assign(flag_known=~late), unknown_stock="plenty")


def test_ample_stock_is_read_as_ample(inventory):
    """How much more than the threshold there was makes no difference, nor what that sold."""
    panel, forecasts = inventory
    test = last_cutoffs(forecasts, 10)
    ample = panel["stock"] > 60
    assert ample.sum() > 500
    changed = panel.assign(stock=panel["stock"].where(~ample, 999))
    a, b = (censored_conformal(forecasts, x, test=test).frame for x in (panel, changed))
    pd.testing.assert_frame_equal(a, b)


def test_days_lost_by_the_clock_are_not_read(inventory):
    panel, forecasts = inventory
    rng = np.random.default_rng(0)
    share = np.where(~panel["is_censored"] & (rng.random(len(panel)) < 0.1), 0.4, 1.0)
    one = panel.assign(in_stock_share=share.astype("float32"))
    two = one.assign(y=one["y"].where(share == 1, 0))
    a, b = (censored_conformal(forecasts, x, level=80).frame for x in (one, two))
    pd.testing.assert_frame_equal(a, b)


def test_nothing_after_the_cutoff_is_read(inventory):
    panel, forecasts = inventory
    test = last_cutoffs(forecasts, 10)
    late = (panel["ds"] > test[0]).to_numpy()
    rng = np.random.default_rng(0)
    wild = panel.assign(
        y=np.where(late, 0, panel["y"]), demand=rng.permutation(panel["demand"]),
        stock=np.where(late, np.nan, panel["stock"]),
    )  # fmt: skip
    a, b = (censored_conformal(forecasts, x, test=test[:1]).frame for x in (panel, wild))
    pd.testing.assert_frame_equal(a, b)
    # The panel may end there; then the days' covariates come in `future`.
    rich = panel.assign(snap=(panel["ds"].dt.dayofweek < 2).astype("int8"))
    future = rich.loc[late, ["unique_id", "ds", "snap"]]
    a = censored_conformal(forecasts, rich, test=test[:1]).frame
    b = censored_conformal(forecasts, rich[~late], test=test[:1], future=future).frame
    pd.testing.assert_frame_equal(a, b)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_whole_not_negative_and_blind_to_order(seed):
    rng = np.random.default_rng(seed)
    panel = shop_world(n_series=8, n_days=100, seed=seed)
    forecasts = one_day_ahead(panel, days=60, seed=seed, bias=1.0)
    test = last_cutoffs(forecasts, 5)
    found = censored_conformal(forecasts, panel, test=test).frame
    ends = found[[f"{NAME}-lo-95", LO, f"{NAME}-median", HI, f"{NAME}-hi-95"]].to_numpy()
    assert (ends == np.rint(ends)).all()
    assert (ends >= 0).all()
    assert (np.diff(ends, axis=1) >= 0).all()
    mixed = forecasts.iloc[rng.permutation(len(forecasts))]
    pd.testing.assert_frame_equal(found, censored_conformal(mixed, panel, test=test).frame)


def test_thresholds_and_chances_can_be_given(inventory):
    panel, forecasts = inventory
    options = {"level": 80, "score": "residual", "by": None}
    a = censored_conformal(forecasts, panel, threshold=0.5, **options)
    assert a.details["threshold"].tolist() == [0.5]

    def half(rows):
        return np.maximum(np.ceil(0.5 * rows[NAME].to_numpy()), 1)

    b = censored_conformal(forecasts, panel, threshold=half, **options)
    pd.testing.assert_frame_equal(a.frame, b.frame)

    def sure(old, kept, new):
        assert len(kept) == len(old)
        return np.ones(len(new))

    c = censored_conformal(forecasts, panel, threshold=0.5, chance=sure, **options).details.iloc[0]
    assert c["effective"] == pytest.approx(c["kept"])
    assert 0 < c["kept"] < c["n"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": "best"}, CivstatsError, "threshold must be a number"),
        ({"threshold": -1.0}, CivstatsError, "positive multiple"),
        ({"chance": lambda old, kept, new: np.zeros(len(new))}, CivstatsError, "chance must return"),
        ({"unknown_stock": "none"}, CivstatsError, "unknown_stock must be"),
        ({"score": "best"}, CivstatsError, "score must be one of"),
        ({"level": 70}, ForecastError, "lack column Point_censor-.*-70"),
    ],
)  # fmt: skip
def test_what_cannot_be_bounded_is_refused(inventory, options, error, message):
    panel, forecasts = inventory
    with pytest.raises(error, match=message):
        censored_conformal(forecasts, panel, **options)


def test_too_few_cutoffs_are_refused(inventory):
    panel, forecasts = inventory
    few = forecasts[forecasts["cutoff"].isin(last_cutoffs(forecasts, 2))]
    with pytest.raises(ForecastError, match=r"no cutoff is left for training: .* 3 or more"):
        censored_conformal(few, panel)


def test_fast_movers_keep_the_promise_too():
    panel = shop_world("random", n_series=60, n_days=140)
    forecasts = one_day_ahead(panel, days=100)
    share = {}
    for by in ("size", None):
        found = censored_conformal(
            forecasts, panel, level=80, test=last_cutoffs(forecasts, 30), by=by, score="residual",
            unknown_stock="plenty",
        )  # fmt: skip
        frame = found.frame[found.frame[NAME] > 10].reset_index(drop=True)
        share[by] = (demand_of(frame, panel) >= frame[LO]).mean()
        assert found.details["n"].sum() == 60 * 35
    assert share["size"] > 0.86
    assert share[None] < share["size"] - 0.05


def test_what_is_known_of_stock_at_the_cutoff():
    from civstats.conformal import chance_features
    from civstats.schema import validate_panel

    days = pd.date_range("2024-01-01", periods=40)
    out = np.zeros((2, 40), dtype=bool)
    out[0, [9, 10, 30]] = True
    out[1, :8] = True
    panel = validate_panel(
        pd.DataFrame(
            {
                "unique_id": np.repeat(["a", "b"], 40), "ds": np.tile(days, 2), "y": 0.0,
                "is_censored": out.ravel(), "price": np.r_[np.full(40, 2.0), np.arange(1, 41)],
                "event_name_1": np.where(np.arange(80) % 40 == 31, "Feast", "none"),
            }
        )
    )  # fmt: skip
    rows = pd.DataFrame(
        {
            "unique_id": pd.Categorical(["a", "a", "b", "b"]), "ds": days[[31, 12, 9, 32]],
            "cutoff": days[[30, 10, 8, 30]], "ahead": [1, 2, 1, 2],
        }
    )  # fmt: skip
    x = chance_features(rows, panel, np.arange(4.0), np.ones(4))
    # The cutoff's own day counts, the day after it does not; two days ahead it says half as much.
    assert x["out_before"].tolist() == [1, 0.5, 0, 0]
    np.testing.assert_allclose(x["out_share"], [3 / 28, 2 / 11, 8 / 9, 5 / 28])
    assert x["weekday"].tolist() == rows["ds"].dt.dayofweek.tolist()
    assert x["event"].tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(x["price"], [0, 0, np.log(10 / 20.5), np.log(33 / 20.5)])
