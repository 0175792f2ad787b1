"""Known features: against hand-worked panels, and against a panel that already holds the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.features.known import EVENT_REACH, known_features
from civstats.schema import NO_EVENT, OUTCOMES, PanelError, validate_panel

H = 14


@pytest.fixture
def panel(tiny_panel) -> pd.DataFrame:
    days = tiny_panel["ds"].unique()
    event = pd.Series(None, index=days, dtype=object)
    event.iloc[[3, 60, 130]] = "Fair"
    event.iloc[[61]] = "Match"
    frame = tiny_panel.assign(
        event_name_1=tiny_panel["ds"].map(event),
        snap=tiny_panel["ds"].dt.day <= 10,
        temperature=np.linspace(0, 1, len(tiny_panel)),
    )
    # One series is launched late.
    return validate_panel(frame[(frame["unique_id"] != "item1_S1") | (frame["ds"] > days[50])])


def split(panel: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    cutoff = panel["ds"].max() - pd.Timedelta(days=H)
    keep = ["unique_id", "ds", "price", "event_name_1", "snap", "temperature"]
    return panel[panel["ds"] <= cutoff], panel.loc[panel["ds"] > cutoff, keep]


def test_the_future_gets_what_a_panel_that_holds_it_gets(panel):
    history, future = split(panel)
    ahead = known_features(history, future, series_id=True)
    whole = known_features(panel, series_id=True).loc[future.index]
    assert list(ahead.columns) == list(whole.columns)
    assert len(ahead) == 3 * H
    pd.testing.assert_frame_equal(ahead.astype(object), whole.astype(object))


def test_outcomes_are_never_read(panel):
    history, future = split(panel)
    rng = np.random.default_rng(0)
    scrambled = history.assign(
        y=rng.poisson(50, len(history)), stock=rng.random(len(history)), demand=0.0
    )
    pd.testing.assert_frame_equal(
        known_features(history, future), known_features(scrambled, future)
    )
    bare = history.drop(columns=["y", "stock", "is_censored", "demand", "demand_mean"])
    pd.testing.assert_frame_equal(known_features(history, future), known_features(bare, future))


def test_price_against_its_own_past_and_its_department():
    days = pd.date_range("2024-01-01", periods=16)
    price = {"a": [2.0] * 8 + [1.0] * 8, "b": [4.0] * 16, "c": [10.0] * 16}
    frame = pd.concat(
        pd.DataFrame(
            {"unique_id": k, "ds": days, "y": 0, "price": v, "dept_id": "D2" if k == "c" else "D1"}
        )
        for k, v in price.items()
    )
    panel = validate_panel(frame)
    features = known_features(panel).groupby(panel["unique_id"], observed=True).nth([7, 14, 15])
    a = features.iloc[:3]
    assert a["price"].tolist() == [2, 1, 1]
    assert a["price_change"].tolist() == [0, -0.5, 0]
    assert a["price_to_max"].tolist() == [1, 0.5, 0.5]
    np.testing.assert_allclose(a["price_to_mean"], [1, 15 / 23, 16 / 24], rtol=1e-6)
    np.testing.assert_allclose(a["price_to_department"], [2 / 3, 1 / 2.5, 1 / 2.5], rtol=1e-6)
    assert (features.iloc[6:][["price_to_department", "price_to_mean"]] == 1).all(axis=None)


def test_a_part_of_the_series_gets_the_same_department(panel):
    """The others keep their last price: here that is the price they have."""
    panel = panel.assign(price=panel["item_id"].cat.codes.astype("float32") + 3)
    history, future = split(panel)
    one = future[future["unique_id"] == "item0_S1"]
    pd.testing.assert_frame_equal(
        known_features(history, one), known_features(history, future).loc[one.index]
    )


def test_days_to_and_since_events_are_capped(panel):
    features = known_features(panel)[(panel["unique_id"] == "item0_S1").to_numpy()]
    assert features["days_to_event"].iloc[:6].tolist() == [3, 2, 1, 0, EVENT_REACH, EVENT_REACH]
    assert features["days_since_event"].iloc[2:6].tolist() == [EVENT_REACH, 0, 1, 2]
    assert features["is_event"].sum() == 4
    assert features["event_name_1"].iloc[[0, 3, 61]].tolist() == [NO_EVENT, "Fair", "Match"]


def test_calendar(panel):
    features = known_features(panel).iloc[[0, 31]]
    assert features["day_of_week"].tolist() == [0, 3]  # 2024-01-01 was a Monday
    assert features["day_of_month"].tolist() == [1, 1]
    assert features["month"].tolist() == [1, 2]
    np.testing.assert_allclose(features["year_position"], [0, 31 / 366], rtol=1e-6)


def test_other_covariates_come_through_and_absent_ones_are_not_missed(panel):
    features = known_features(panel)
    np.testing.assert_array_equal(features["temperature"], panel["temperature"].astype("float32"))
    assert set(features["snap"].unique()) == {0, 1}
    assert isinstance(features["dept_id"].dtype, pd.CategoricalDtype)
    assert "unique_id" not in features
    bare = known_features(validate_panel(panel[["unique_id", "ds", "y"]]))
    assert not any(c.startswith(("price", "event", "is_event")) for c in bare)
    assert len(bare) == len(panel)


def test_a_future_without_a_covariate_is_refused(panel):
    history, future = split(panel)
    with pytest.raises(PanelError, match=r"lacks the known covariate.*price"):
        known_features(history, future.drop(columns="price"))


def test_a_flag_that_was_joined_with_gaps_is_still_a_flag(panel):
    history = panel.assign(promo=np.arange(len(panel)) % 2 == 0)
    days = pd.date_range(panel["ds"].max() + pd.Timedelta(days=1), periods=2)
    future = panel.groupby("unique_id", observed=True).head(2).copy()
    future["ds"] = np.tile(days, len(future) // 2)
    future = future.drop(columns=[c for c in OUTCOMES if c in future])
    flag = pd.Series([True, np.nan] * (len(future) // 2), index=future.index, dtype=object)
    got = known_features(history, future.assign(promo=flag))["promo"]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [1.0, np.nan] * (len(future) // 2))
    for past, ahead in ((history["promo"], "yes"), ("yes", True)):
        with pytest.raises(PanelError, match=r"promo: .* the same dtype"):
            known_features(history.assign(promo=past), future.assign(promo=ahead))


def test_missing_prices_stay_missing(panel):
    gap = panel.assign(price=panel["price"].where(panel["ds"] != panel["ds"].iloc[20]))
    features = known_features(gap)
    where = (gap["ds"] == gap["ds"].iloc[20]).to_numpy()
    assert features.loc[where, "price_to_mean"].isna().all()
    assert features.loc[~where, "price_to_mean"].notna().all()
