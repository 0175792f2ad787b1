"""The panel contract: every kind of breach, on its own and together, and canonical form."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from civstats.schema import (
    PanelError,
    series_index,
    stockout_days,
    validate_panel,
)
from civstats.schema import breaches as checks


@pytest.fixture
def frame() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=6)
    parts = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": days,
                "y": [0.0, 2.0, 3.0, 1.0, 0.0, 4.0],
                "is_censored": [False, False, True, False, True, False],
                "flag_known": True,
                "stock": [1.0, 3.0, 3.0, np.nan, 0.0, 9.0],
                "in_stock_share": [1.0, 1.0, 0.5, 1.0, 0.0, 1.0],
                "demand": [0.0, 2.0, 5.0, 1.0, 2.0, 4.0],
                "price": [1.0, 1.0, np.nan, 1.0, 1.0, 1.0],
                "dept_id": "D1",
                "store_id": name[-1],
            }
        )
        for name in ("x_A", "x_B", "x_C")
    ]
    return pd.concat(parts, ignore_index=True)


def fails(panel, **kwargs) -> str:
    before = panel.copy() if isinstance(panel, pd.DataFrame) else None
    with pytest.raises(PanelError) as caught:
        validate_panel(panel, **kwargs)
    if before is not None:
        pd.testing.assert_frame_equal(panel, before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_canonical_form(frame):
    loose = frame.astype({"y": "int64", "stock": "float64", "is_censored": "int8"})
    loose = loose.sample(frac=1, random_state=3)
    before = loose.copy()
    panel = validate_panel(loose)
    pd.testing.assert_frame_equal(loose, before)
    assert isinstance(panel.index, pd.RangeIndex)
    pd.testing.assert_frame_equal(panel, validate_panel(frame))
    kinds = panel.dtypes.astype(str)
    assert (kinds[["y", "stock", "demand", "price", "in_stock_share"]] == "float32").all()
    assert (kinds[["unique_id", "dept_id", "store_id"]] == "category").all()
    assert (kinds[["is_censored", "flag_known"]] == "bool").all()
    assert kinds["ds"] == "datetime64[ns]"
    assert list(panel["unique_id"].unique()) == ["x_A", "x_B", "x_C"]


def test_input_and_result_share_no_memory_unless_given_away(frame):
    panel = validate_panel(frame)
    again = validate_panel(panel)
    again.loc[0, "y"] = 77
    again.loc[1, "ds"] = pd.Timestamp("1999-01-01")
    again.loc[2, "dept_id"] = np.nan
    pd.testing.assert_frame_equal(panel, validate_panel(frame))
    shared = validate_panel(panel, copy=False)
    assert np.shares_memory(shared["y"].to_numpy(), panel["y"].to_numpy())


def test_no_category_without_rows(frame):
    panel = validate_panel(frame)
    part = validate_panel(panel[panel["unique_id"] != "x_B"])
    assert list(part["unique_id"].cat.categories) == ["x_A", "x_C"]


def test_metadata_is_kept(frame):
    frame.attrs["source"] = "a file"
    assert validate_panel(frame).attrs == {"source": "a file"}


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("y", np.nan, "1 row(s) with missing sales (first x_B on 2024-01-02)"),
        ("y", np.inf, "1 row(s) with infinite sales (first x_B on 2024-01-02)"),
        ("y", -1, "1 row(s) with negative sales (first x_B on 2024-01-02)"),
        ("y", 4, "1 row(s) sold more than stock (first x_B on 2024-01-02)"),
        ("y", 3, "1 row(s) ended empty without the flag is_censored (first x_B on 2024-01-02)"),
        (
            "is_censored",
            True,
            "1 row(s) flagged is_censored with units left (first x_B on 2024-01-02)",
        ),
        ("stock", -1, "1 row(s) with negative or infinite stock (first x_B on 2024-01-02)"),
        ("stock", np.inf, "1 row(s) with negative or infinite stock"),
        ("price", -2, "1 row(s) with negative or infinite price (first x_B on 2024-01-02)"),
        ("demand", np.inf, "1 row(s) with negative or infinite demand (first x_B on 2024-01-02)"),
        ("in_stock_share", 1.2, "1 row(s) with in_stock_share outside [0, 1] (first x_B on"),
        ("in_stock_share", np.nan, "1 row(s) with in_stock_share outside [0, 1]"),
        # the day after, back to the store before, changes too
        ("store_id", "A", "2 row(s) change store_id within a series (first x_B on 2024-01-02)"),
        ("dept_id", "D2", "2 row(s) change dept_id within a series (first x_B on 2024-01-02)"),
        (
            "ds",
            pd.Timestamp("2024-01-01"),
            "1 row(s) repeat a series and date (first x_B on 2024-01-01)",
        ),
        ("ds", pd.Timestamp("2024-02-01"), "2 row(s) follow a gap in the D calendar (first x_B on"),
        (
            "ds",
            pd.Timestamp("2024-01-02 03:00"),
            "1 row(s) with a time of day, first 2024-01-02 03",
        ),
        ("ds", pd.NaT, "1 row(s) without date (ds)"),
        ("unique_id", None, "1 row(s) without identifier (unique_id)"),
    ],
)
@pytest.mark.parametrize("block", [2, 7, 1 << 17])
def test_breach(frame, column, value, text, block, monkeypatch):
    monkeypatch.setattr(checks, "BLOCK", block)
    row = 7  # x_B on 2024-01-02
    frame.loc[row, column] = value
    assert text in fails(frame)


def test_unknown_flags_excuse_a_tie(frame):
    frame.loc[7, "y"] = 3
    frame.loc[7, "flag_known"] = False
    validate_panel(frame)


def test_all_breaches_at_once(frame):
    frame.loc[7, "y"] = -1
    frame.loc[[2, 8, 14], "price"] = -1
    text = fails(frame.drop(index=3))
    assert "1 row(s) with negative sales" in text
    assert "3 row(s) with negative or infinite price (first x_A on 2024-01-03)" in text
    assert "1 row(s) follow a gap" in text


@pytest.mark.parametrize("block", [2, 3, 1 << 17])
def test_breaches_are_counted_once_across_blocks(frame, block, monkeypatch):
    monkeypatch.setattr(checks, "BLOCK", block)
    frame["y"] = -1.0
    assert f"{len(frame)} row(s) with negative sales (first x_A on 2024-01-01)" in fails(frame)
    late = frame.assign(ds=frame["ds"] + pd.Timedelta(hours=1))
    assert f"{len(frame)} row(s) with a time of day" in fails(late)


def test_frames_that_are_no_panels(frame):
    assert "missing column(s) ds, y" in fails(frame[["unique_id", "price"]])
    assert "has no rows" in fails(frame.iloc[:0])
    assert "is a pandas DataFrame" in fails(frame.to_dict())
    assert "used twice: y" in fails(pd.concat([frame, frame[["y"]]], axis=1))
    assert "time zone UTC" in fails(frame.assign(ds=frame["ds"].dt.tz_localize("UTC")))
    assert "must be datetime64" in fails(frame.assign(ds=frame["ds"].astype(str)))
    assert "y must be numeric" in fails(frame.assign(y="3"))
    maybe = frame["is_censored"].astype(object).where(frame.index != 4)
    assert "1 missing; set flag_known=False" in fails(frame.assign(is_censored=maybe))
    assert "not a pandas frequency alias" in fails(frame, freq="fortnight")


@pytest.mark.parametrize(("freq", "step"), [("W-SUN", 7), ("MS", 31)])
def test_other_calendars(freq, step):
    days = pd.date_range("2024-01-01", periods=8, freq=freq)
    panel = pd.DataFrame({"unique_id": np.repeat(["a", "b"], 8), "ds": [*days, *days], "y": 1.0})
    assert len(validate_panel(panel, freq=freq)) == 16
    assert f"1 row(s) follow a gap in the {freq}" in fails(panel.drop(index=3), freq=freq)
    off = panel.assign(ds=panel["ds"].where(panel.index != 5, panel["ds"] + pd.Timedelta(days=1)))
    assert f"off the {freq} calendar" in fails(off, freq=freq)


def test_index_and_stockout_days(frame):
    panel = validate_panel(frame.drop(index=[0, 1]))
    index = series_index(panel)
    assert list(index.ids) == ["x_A", "x_B", "x_C"]
    assert index.lengths.tolist() == [4, 6, 6]
    assert index.codes().tolist() == panel["unique_id"].cat.codes.tolist()
    assert stockout_days(panel).tolist() == [True, False, True, False] + 2 * [
        *(False, False, True, False, True, False)
    ]
    plain = panel.drop(columns=["is_censored", "in_stock_share"])
    assert not stockout_days(plain).any()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_order_checks_against_a_slow_oracle(data):
    """Any multiset of (series, day): repeats and gaps as counted one row at a time."""
    rows = data.draw(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=25)
    )
    repeats = gaps = 0
    for name in "abc":
        days = sorted(d for n, d in rows if n == name)
        for before, after in pairwise(days):
            repeats += after == before
            gaps += after > before + 1
    start = pd.Timestamp("2024-02-25")
    panel = pd.DataFrame(
        {
            "unique_id": [n for n, _ in rows],
            "ds": [start + pd.Timedelta(days=d) for _, d in rows],
            "y": 1.0,
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "BLOCK", data.draw(st.integers(2, 9)))
        text = fails(panel) if repeats or gaps else ""
        if not text:
            out = validate_panel(panel)
            assert list(zip(out["unique_id"], out["ds"], strict=True)) == sorted(
                zip(panel["unique_id"], panel["ds"], strict=True)
            )
    assert (f"{repeats} row(s) repeat" in text) == (repeats > 0)
    assert (f"{gaps} row(s) follow a gap" in text) == (gaps > 0)
