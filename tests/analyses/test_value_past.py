"""Parts of the main job that could quietly be wrong: what is known when, sums of ranks, filled prices."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from civstats.schema import CivstatsError, validate_panel

FOLDER = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture(scope="module", autouse=True)
def _on_path():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


def panel(n: int = 6, days: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    out = rng.random((n, days)) < 0.1
    y = np.where(out, 0, rng.poisson(4, (n, days)))
    return validate_panel(
        pd.DataFrame(
            {
                "unique_id": np.repeat([f"s{k}" for k in range(n)], days),
                "ds": np.tile(pd.date_range("2024-01-01", periods=days), n),
                "y": y.ravel().astype("float32"),
                "is_censored": out.ravel(),
                "price": np.float32(2),
                "dept_id": np.repeat([f"d{k % 2}" for k in range(n)], days),
                "store_id": "S",
            }
        )
    )


def test_what_is_expected_of_a_day_comes_from_the_days_before_it():
    past = importlib.import_module("value_past")
    whole = panel()
    cutoff = whole["ds"].iloc[0] + pd.Timedelta(days=120)
    known = past.learn_demand(whole, cutoff)
    before = past.expected_tomorrow(whole, known.model)
    day = (whole["unique_id"] == "s2") & (whole["ds"] == cutoff + pd.Timedelta(days=5))
    at = int(np.flatnonzero(day)[0])
    after = past.expected_tomorrow(
        whole.assign(y=whole["y"].where(~day, 40), is_censored=whole["is_censored"] & ~day),
        known.model,
    )
    # Its own sales say nothing of it, those of the day before do.
    assert after[at] == pytest.approx(before[at], rel=0.01)
    assert after[at + 1] > 1.02 * before[at + 1]
    others = (whole["unique_id"] != "s2").to_numpy()
    np.testing.assert_allclose(after[others], before[others], rtol=1e-6)
    # A model of what was known at the cutoff does not change with what came.
    changed = whole.assign(y=whole["y"].where(whole["ds"] <= cutoff, 9))
    again = past.learn_demand(changed, cutoff)
    np.testing.assert_array_equal(
        again.model.parameters_.level_sd, known.model.parameters_.level_sd
    )


def test_cumulative_value_is_a_sum_within_samples():
    levers = importlib.import_module("value_levers")
    rng = np.random.default_rng(1)
    shared = rng.gamma(2, 5, 800)
    value = np.stack([shared, shared, rng.gamma(2, 5, 800)])
    net = xr.Dataset({"value": (("unique_id", "sample"), value)}, {"unique_id": ["a", "b", "c"]})
    found = levers.cumulative(net, np.array(["b", "a", "c"]))
    assert found["n"].tolist() == [1, 2, 3]
    assert found["mean"].iloc[2] == pytest.approx(value.mean(axis=1).sum())
    # The first two move together: their band is twice as wide as one of them.
    assert found["p90"].iloc[1] == pytest.approx(2 * found["p90"].iloc[0])
    assert found["p90"].iloc[2] < found["p90"].iloc[1] + np.quantile(value[2], 0.9)


def test_a_missing_price_takes_its_own_series_nearest():
    past = importlib.import_module("value_past")
    table = panel(2, 10)
    price = table["price"].to_numpy().copy()
    price[:10] = [np.nan, np.nan, 3, 3, np.nan, 5, 5, 5, 5, np.nan]
    filled = past.prices(table.assign(price=price))["price"].tolist()
    assert filled[:10] == [3, 3, 3, 3, 3, 5, 5, 5, 5, 5]
    assert filled[10:] == [2] * 10


def test_shelves_are_used_only_where_the_record_bears_them_out():
    outages = importlib.import_module("value_outages")
    from civstats.data.synthetic import make_panel
    from civstats.stockouts.simulate import simulate_stockouts

    world = make_panel(n_series=8, n_days=200, seed=0)
    orderly = simulate_stockouts(world, mechanism="inventory", rate=0.15, seed=0)
    assert outages.find_shelf(orderly, "auto")[0] is not None
    assert outages.find_shelf(orderly, "chain")[0] is None
    # Stock that no rule explains.
    rng = np.random.default_rng(0)
    stock = np.where(
        orderly["is_censored"], orderly["y"], orderly["y"] + 1 + rng.poisson(30, len(orderly))
    )
    shelf, why = outages.find_shelf(orderly.assign(stock=stock.astype("float32")), "auto")
    assert shelf is None
    assert "do not follow an order-up-to rule" in why
    shelf, why = outages.find_shelf(panel(), "auto")
    assert shelf is None
    assert "not on record" in why
    with pytest.raises(CivstatsError, match="not on record"):
        outages.find_shelf(panel(), "shelf")


def test_a_planner_gets_no_more_digits_than_are_known():
    files = importlib.import_module("value_files")
    ranking = pd.DataFrame(
        {"rank": [1], "unique_id": ["a"], "value_mean": [1.23456], "units_mean": [7.89],
         "prob_top_k": [0.123456], "effect_demand": [0.1]}
    )  # fmt: skip
    shown = files.planner_list(ranking)
    assert shown.to_dict("records") == [
        {"rank": 1, "series": "a", "net value expected": 1.23, "units gained": 7.9,
         "chance to belong to the top": 0.1235}
    ]  # fmt: skip
