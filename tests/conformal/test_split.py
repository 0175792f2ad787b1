"""Split-conformal intervals: the definition, the promise where it is given, the failure where not."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import civstats.conformal
from civstats.conformal import split_conformal
from civstats.conformal.groups import size_classes
from civstats.schema import CivstatsError, ForecastError, PanelError
from tests.conformal.world import NAME, demand_of, error_of, last_cutoffs, one_day_ahead, shop_world

LO, HI = f"{NAME}-lo-80", f"{NAME}-hi-80"


@pytest.fixture(scope="module")
def inventory():
    panel = shop_world("inventory")
    return panel, one_day_ahead(panel)


@pytest.fixture(scope="module")
def random():
    panel = shop_world("random")
    return panel, one_day_ahead(panel)


def shares(found, panel, name=NAME):
    demand = demand_of(found, panel)
    above, below = demand >= found[f"{name}-lo-80"], demand <= found[f"{name}-hi-80"]
    return above.mean(), below.mean(), error_of(above, found), error_of(below, found)


def by_hand(forecasts, panel, test, score, level=80.0):
    """The definition, row by row: one group, the root scale."""
    first, p = min(test), 1 - (1 - level / 100) / 2
    day = panel.set_index(["unique_id", "ds"])
    below, above = [], []
    for row in forecasts.to_dict("records"):
        actual = day.loc[(row["unique_id"], row["ds"])]
        if row["cutoff"] >= first or row["ds"] > first or actual["is_censored"]:
            continue
        lo, hi = (row[LO], row[HI]) if score == "quantile" else (row[NAME], row[NAME])
        spread = np.sqrt(row[NAME] + 1)
        below.append((lo - actual["y"]) / spread)
        above.append((actual["y"] - hi) / spread)
    k = int(np.ceil((len(below) + 1) * p - 1e-9)) - 1
    qlo, qhi = sorted(below)[k], sorted(above)[k]
    ends = []
    for row in forecasts[forecasts["cutoff"].isin(test)].to_dict("records"):
        lo, hi = (row[LO], row[HI]) if score == "quantile" else (row[NAME], row[NAME])
        spread = np.sqrt(row[NAME] + 1)
        inside = [
            n for n in range(2000) if lo - qlo * spread - 1e-9 <= n <= hi + qhi * spread + 1e-9
        ]
        median = row[f"{NAME}-median"]
        ends.append((min(inside[0], median), max(inside[-1], median)))
    return np.array(ends)


@pytest.mark.parametrize("score", ["residual", "quantile"])
def test_it_is_the_definition(score):
    panel = shop_world(n_series=6, n_days=70)
    forecasts = one_day_ahead(panel, days=30)
    test = last_cutoffs(forecasts, 4)
    found = split_conformal(forecasts, panel, level=80, test=test, score=score, by=None)
    np.testing.assert_array_equal(found.frame[[LO, HI]], by_hand(forecasts, panel, test, score))
    detail = found.details.iloc[0]
    assert detail["n"] + detail["left_out"] == 6 * 26
    assert detail["left_out"] > 20


@pytest.mark.parametrize("score", ["residual", "quantile"])
def test_under_random_outages_demand_is_held(random, score):
    panel, forecasts = random
    found = split_conformal(
        forecasts, panel, level=80, test=last_cutoffs(forecasts, 40), score=score
    ).frame
    above, below, a, b = shares(found, panel)
    assert above >= 0.9 - 3 * a
    assert below >= 0.9 - 3 * b
    assert below < 0.95


def test_under_inventory_the_upper_end_fails_demand(inventory):
    panel, forecasts = inventory
    test = last_cutoffs(forecasts, 40)
    found = split_conformal(forecasts, panel, level=80, test=test).frame
    _, below, _, error = shares(found, panel)
    assert below < 0.9 - 5 * error
    assert below < 0.85
    # Not the forecasts' fault: calibrated on true demand they hold it.
    oracle = split_conformal(forecasts, panel, level=80, test=test, target="demand").frame
    _, below, _, error = shares(oracle, panel)
    assert abs(below - 0.9) < 0.03
    # And on the days in stock, which it was calibrated on, it holds what was sold.
    seen = found.merge(panel, on=["unique_id", "ds"])
    seen = seen[~seen["is_censored"]]
    assert (seen["y"] <= seen[HI]).mean() > 0.88


def test_sales_kept_give_a_lower_end_that_holds_anywhere(inventory, random):
    for panel, forecasts in (inventory, random):
        found = split_conformal(
            forecasts, panel, level=80, test=last_cutoffs(forecasts, 40), stockouts="keep"
        ).frame
        above, _, error, _ = shares(found, panel)
        assert above >= 0.9 - 3 * error


def test_fast_movers_keep_the_promise_too(random):
    panel, forecasts = random
    test = last_cutoffs(forecasts, 40)

    def fast(by):
        found = split_conformal(
            forecasts, panel, level=80, test=test, by=by, score="residual"
        ).frame
        big = found[found[NAME] > 10].reset_index(drop=True)
        return shares(big, panel)[0]

    assert fast("size") > 0.88
    assert fast(None) < 0.8


@pytest.mark.parametrize("by", [None, "ahead", "dept_id", "unique_id"])
def test_groups_are_calibrated_apart(inventory, by):
    panel, forecasts = inventory
    found = split_conformal(
        forecasts, panel, level=80, test=last_cutoffs(forecasts, 5), by=by
    ).details
    assert len(found) == {None: 1, "ahead": 1, "dept_id": 2, "unique_id": 80}[by]
    assert found["n"].sum() == found.drop_duplicates("group")["n"].sum() > 4000


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["auto", "residual"]),
    st.sampled_from(["sqrt", "mean", None]),
)
def test_whole_nested_and_blind_to_order(seed, score, scale):
    rng = np.random.default_rng(seed)
    panel = shop_world(n_series=8, n_days=80, seed=seed)
    forecasts = one_day_ahead(panel, days=40, seed=seed, bias=1.0)
    test = last_cutoffs(forecasts, 5)
    before = forecasts.copy(deep=True)
    found = split_conformal(forecasts, panel, test=test, score=score, scale=scale).frame
    pd.testing.assert_frame_equal(forecasts, before)
    ends = found[[f"{NAME}-lo-95", LO, f"{NAME}-median", HI, f"{NAME}-hi-95"]].to_numpy()
    assert (ends == np.rint(ends)).all()
    assert (ends >= 0).all()
    assert not np.signbit(ends).any()
    assert (np.diff(ends, axis=1) >= 0).all()
    mixed = forecasts.iloc[rng.permutation(len(forecasts))]
    again = split_conformal(mixed, panel, test=test, score=score, scale=scale).frame
    pd.testing.assert_frame_equal(found, again)


def test_nothing_after_the_cutoff_is_read(inventory):
    panel, forecasts = inventory
    test = last_cutoffs(forecasts, 10)
    late = (panel["ds"] > test[0]).to_numpy()
    changed = panel.assign(
        y=np.where(late, 0, panel["y"]), is_censored=~late & panel["is_censored"]
    )
    a, b = (split_conformal(forecasts, x, test=test).frame for x in (panel, changed))
    pd.testing.assert_frame_equal(a, b)
    # Nor need it be there.
    c = split_conformal(forecasts, panel[~late], test=test, by="dept_id").frame
    pd.testing.assert_frame_equal(
        c, split_conformal(forecasts, panel, test=test, by="dept_id").frame
    )


def test_windows_that_overlap_the_test_cutoff_are_cut(inventory):
    panel, forecasts = inventory
    week = forecasts.assign(
        cutoff=forecasts["ds"] - pd.to_timedelta(1 + np.arange(len(forecasts)) % 7, "D")
    )
    last = pd.Timestamp(panel["ds"].max() - pd.Timedelta(days=7))
    before = week[(week["cutoff"] < last) & (week["ds"] > last)]
    found = split_conformal(
        week, panel, test=[last], calibration=last_cutoffs(week[week["cutoff"] < last], 20), by=None
    )
    assert found.details["late"].iloc[0] == len(before) > 0


def test_the_columns_take_a_tag(inventory):
    panel, forecasts = inventory
    found = split_conformal(
        forecasts, panel, level=[80, 97.5], score="residual", tag="Conformal"
    ).frame
    new = "PointConformal_censor"
    assert list(found.columns[3:]) == [
        new, f"{new}-lo-97.5", f"{new}-lo-80", f"{new}-median", f"{new}-hi-80", f"{new}-hi-97.5",
    ]  # fmt: skip


def test_fractions_need_integer_off(inventory):
    panel, forecasts = inventory
    tenths = panel.assign(y=panel["y"] / 10, stock=panel["stock"] / 10)
    with pytest.raises(
        PanelError, match=r"calibration row\(s\) with fractional y; pass integer=False"
    ):
        split_conformal(forecasts, tenths)
    ends = [c for c in forecasts if NAME in c]
    small = forecasts.assign(**{c: forecasts[c] / 10 for c in ends})
    found = split_conformal(
        small, tenths, integer=False, score="residual", scale=None, by=None
    ).frame
    assert (found[HI] != np.rint(found[HI])).mean() > 0.5
    whole = split_conformal(
        forecasts, panel, integer=False, score="residual", scale=None, by=None
    ).frame
    np.testing.assert_allclose(found[ends], whole[ends] / 10, rtol=1e-4, atol=1e-5)


def test_size_classes_hold_enough_rows():
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(0, 1.5, 3000))
    edges = size_classes(mean, 200)
    counts = np.histogram(mean, [*edges, np.inf])[0]
    assert (counts >= 200).all()
    assert len(edges) > 4
    assert (np.log2(edges[1:]) % 1 == 0).all()
    assert size_classes(mean[:50], 200).tolist() == [0.0]
    assert size_classes(np.zeros(10), 2).tolist() == [0.0]


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda f: f.drop(columns="cutoff"), {}, ForecastError, "lack column.s. cutoff"),
        (lambda f: f.drop(columns=[c for c in f if NAME in c]), {}, ForecastError, "no column of the form"),
        (lambda f: f.assign(**{NAME: np.nan}), {}, ForecastError, "missing or infinite, first"),
        (lambda f: pd.concat([f, f[:3]]), {}, ForecastError, "3 forecast row.s. repeat"),
        (lambda f: f[f["cutoff"] == f["cutoff"].max()], {}, ForecastError, "no cutoff is left for calibration"),
        (lambda f: f[f["unique_id"] == "i0001"][-5:], {}, ForecastError, "level 80 needs 9 or more"),
        (lambda f: f.assign(ds=f["ds"] - pd.Timedelta(days=999), cutoff=f["cutoff"] - pd.Timedelta(days=999)), {}, PanelError, "the panel lacks"),
        (lambda f: f.drop(columns=LO), {"score": "quantile"}, ForecastError, "lack column Point_censor-lo-80"),
        (lambda f: f, {"names": ["Other_mask"]}, ForecastError, "lack column.s. Other_mask"),
        (lambda f: f, {"test": ["1999-01-01"]}, ForecastError, "1 cutoff.s. without forecasts"),
        (lambda f: f, {"score": "best"}, CivstatsError, "score must be one of"),
        (lambda f: f, {"scale": "cube"}, CivstatsError, "scale must be"),
        (lambda f: f, {"target": "stock"}, CivstatsError, "target must be one of"),
        (lambda f: f, {"level": 0.8}, CivstatsError, "in percent"),
    ],
)  # fmt: skip
def test_what_cannot_be_calibrated_is_refused(inventory, change, options, error, message):
    panel, forecasts = inventory
    with pytest.raises(error, match=message) as caught:
        split_conformal(change(forecasts), panel, **{"level": 80, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "module", [m.name for m in pkgutil.iter_modules(civstats.conformal.__path__)]
)
def test_examples_in_docstrings_run(module):
    found = doctest.testmod(importlib.import_module(f"civstats.conformal.{module}"))
    assert found.failed == 0
