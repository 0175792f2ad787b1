"""Regressors of the offsets: departures that sum to nothing, the same for history and future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.demand_filter.covariates import OffsetDesign
from civstats.schema import PanelError, validate_panel


def panel(n: int = 800, **columns: object) -> pd.DataFrame:
    days = pd.date_range("2023-01-02", periods=n)
    return validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": 1.0, **columns}))


def test_days_of_week_sum_to_nothing_over_a_week():
    history = panel(14)
    design = OffsetDesign.learn(history)
    z = design.matrix(history)
    assert design.names == tuple(f"day_of_week_{k}" for k in range(6))
    np.testing.assert_array_equal(z[:7].sum(axis=0), 0)
    np.testing.assert_array_equal(z[:6], np.eye(6))
    np.testing.assert_array_equal(z[6], -1)


def test_annual_terms_need_a_year_and_a_half():
    assert not any("annual" in n for n in OffsetDesign.learn(panel(500)).names)
    design = OffsetDesign.learn(panel(800), harmonics=1)
    z = design.matrix(panel(800))[:, 6:8]
    year = z[:365].astype(float)
    assert np.abs(year.mean(axis=0)).max() < 0.01
    np.testing.assert_allclose((year**2).sum(axis=1), 1, rtol=1e-5)


def test_events_prices_and_numbers_are_departures():
    event = np.array([None] * 800, dtype=object)
    event[[10, 30]] = "Easter"
    price = np.where(np.arange(800) % 10 == 0, 2.0, 4.0)
    snap = (np.arange(800) % 3 == 0).astype(float)
    rare = (np.arange(800) == 5).astype(float)
    history = panel(event_name_1=event, price=price, snap=snap, rare=rare)
    design = OffsetDesign.learn(history, harmonics=0)
    z = pd.DataFrame(design.matrix(history), columns=design.names)
    assert z["event_Easter"].to_numpy().nonzero()[0].tolist() == [10, 30]
    np.testing.assert_allclose(z["log_price"], np.where(price == 2, np.log(0.5), 0), atol=1e-6)
    np.testing.assert_array_equal(z["snap"], snap)
    # One day of it tells nothing that the day's own noise does not.
    assert "rare" not in design.names


def test_future_days_are_read_as_the_history_was():
    price = np.full(800, 4.0)
    history = panel(price=price, snap=(np.arange(800) % 3 == 0).astype(float))
    design = OffsetDesign.learn(history)
    days = pd.date_range("2025-03-12", periods=5)
    future = pd.DataFrame({"unique_id": "a", "ds": days, "price": [4.0, 2.0, np.nan, 0.0, 4.0]})
    future["snap"] = [0.0, 1.0, 0.0, 0.0, np.nan]
    z = pd.DataFrame(design.matrix(future), columns=design.names)
    np.testing.assert_allclose(z["log_price"], [0, np.log(0.5), 0, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(z["snap"], [0, 1, 0, 0, 0])
    with pytest.raises(PanelError, match=r"covariate\(s\) snap, price"):
        design.matrix(future[["unique_id", "ds"]])
    unseen = future.assign(unique_id="b")
    np.testing.assert_array_equal(
        pd.DataFrame(design.matrix(unseen), columns=design.names)["log_price"], 0
    )


def test_weekly_panels_have_no_day_of_week():
    days = pd.date_range("2023-01-02", periods=120, freq="7D")
    weekly = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": 1.0}), freq="7D")
    assert not any("day_of_week" in n for n in OffsetDesign.learn(weekly).names)


def test_trees_read_the_day_its_group_and_its_usual_price():
    event = np.array([None] * 800, dtype=object)
    event[10], event[30] = "Easter", "Advent"
    price = np.where(np.arange(800) % 10 == 0, 2.0, 4.0)
    price[7] = np.nan
    snap = (np.arange(800) % 3 == 0).astype(float)
    snap[5] = np.nan
    history = panel(event_name_1=event, price=price, snap=snap)
    design = OffsetDesign.learn(history)
    group = np.arange(800) % 2
    found = design.features(history, group, design.matrix(history))
    z = pd.DataFrame(found, columns=design.tree_features)
    days = history["ds"].dt
    for name, values in {
        "group": group,
        "day_of_week": days.dayofweek,
        "day_of_month": days.day,
        "month": days.month,
        "snap": snap,
        "log_price": np.log(price / 4.0),
        "usual_log_price": np.full(800, np.log(4.0)),
    }.items():
        np.testing.assert_allclose(z[name], values, atol=1e-6, err_msg=name)
    assert z["event"].to_numpy().nonzero()[0].tolist() == [10, 30]
    assert z["event"][10] != z["event"][30]
    # Without annual terms in the regression the month would stand for the level.
    short = OffsetDesign.learn(panel(300))
    assert short.tree_features == ("group", "day_of_week", "day_of_month")


def test_what_is_no_regressor_is_said():
    rare = np.zeros(60)
    rare[[3, 9]] = 1
    often = np.zeros(60)
    often[::7] = 1
    design = OffsetDesign.learn(panel(60, kind="fresh", promo=rare, sale=often))
    assert design.numbers == ("sale",)
    assert design.left_out == (
        "kind (text: recode it as numbers)",
        "promo (other than 0 on 2 date(s) only)",
    )
