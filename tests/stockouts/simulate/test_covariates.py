"""Promotions, events and promising days, read from the calendar and the price tag."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import validate_panel
from civstats.stockouts.simulate.covariates import events, promise, promotions, weekdays
from tests.stockouts.simulate.world import negbin_world


def series(**columns) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    days = pd.date_range("2024-01-03", periods=n)
    return validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": 1, **columns}))


def test_weekdays():
    panel = series(price=[1.0] * 30)
    assert (weekdays(panel) == panel["ds"].dt.dayofweek).all()


def test_events_by_name_or_none():
    names = ["none", None, "", "Easter", np.nan, "none"]
    second = ["none", "Ramadan", "none", "none", "none", "none"]
    for kind in ("object", "category"):
        panel = series(event_name_1=pd.Series(names, dtype=kind), event_name_2=second)
        assert events(panel).tolist() == [False, True, False, True, False, False]


def test_a_price_cut_is_a_promotion_until_it_is_usual():
    price = [10.0] * 50 + [8.0] * 7 + [10.0] * 20 + [np.nan] + [7.0] * 200
    marked = promotions(series(price=price))
    assert not marked[:50].any()
    assert marked[50:57].all()
    assert not marked[57:78].any()
    assert marked[78:100].all()
    assert not marked[-50:].any()


def test_a_promo_column_outranks_the_price():
    panel = series(price=[10.0, 5.0, 10.0], promo=[0.0, np.nan, 1.0])
    assert promotions(panel).tolist() == [False, False, True]


def test_promise_is_of_the_past_and_finds_the_weekend():
    world = negbin_world(50, 300, plain=False)
    factor = np.where(world["ds"].dt.dayofweek >= 5, 1.4, 1) * np.where(world["snap"] > 0, 1.5, 1)
    demand = np.round(world["demand"] * factor * 3).to_numpy(dtype="float32")
    promised = promise(world, demand)
    day = (world["ds"] - world["ds"].min()).dt.days.to_numpy()
    late = day > 250
    ratio = promised[late] / factor[late]
    assert ratio.std() / ratio.mean() < 0.06
    changed = np.where(day >= 120, demand * 7 + 3, demand)
    np.testing.assert_array_equal(promise(world, changed)[day <= 120], promised[day <= 120])
    assert (promise(world, changed) != promised).any()
