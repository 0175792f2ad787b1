"""What a row says of demand under each treatment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.schema import CivstatsError, treated_sales


def panel():
    return pd.DataFrame(
        {
            "y": np.array([3, 4, 0, 2, 1], dtype="float32"),
            "is_censored": [False, True, True, False, False],
            "in_stock_share": np.array([1, 1, 1, 0.4, 0], dtype="float32"),
        }
    )


@pytest.mark.parametrize(
    ("treatment", "sales", "exposure", "bound"),
    [
        ("ignore", [3, 4, 0, 2, 1], [1, 1, 1, 1, 1], []),
        ("mask", [3, np.nan, np.nan, np.nan, np.nan], [1, 0, 0, 0, 0], []),
        ("censor", [3, 4, np.nan, 2, 1], [1, 0, 0, 0.4, 0], [1, 4]),
    ],
)
def test_treatments(treatment, sales, exposure, bound):
    given = panel()
    got = treated_sales(given, treatment)
    np.testing.assert_array_equal(got[0], np.array(sales, dtype="float32"))
    np.testing.assert_array_equal(got[1], np.array(exposure, dtype="float32"))
    assert np.flatnonzero(got[2]).tolist() == bound
    pd.testing.assert_frame_equal(given, panel())


def test_without_flags_every_treatment_takes_sales_as_they_are():
    for treatment in ("ignore", "mask", "censor"):
        sales, exposure, bound = treated_sales(panel()[["y"]], treatment)
        assert sales.tolist() == [3, 4, 0, 2, 1]
        assert (exposure == 1).all()
        assert not bound.any()


def test_unknown_treatments_are_refused():
    with pytest.raises(CivstatsError, match="treatment must be one of"):
        treated_sales(panel(), "drop")


def test_sales_on_a_day_without_hours_in_stock_are_a_bound():
    """Records that contradict each other: what sold was asked for at least."""
    days = pd.date_range("2024-01-01", periods=3)
    share = np.array([0.0, 0.0, 1.0], dtype="float32")
    panel = pd.DataFrame({"ds": days, "y": [4.0, 0.0, 2.0], "in_stock_share": share})
    sales, exposure, bound = treated_sales(panel, "censor")
    np.testing.assert_array_equal(sales, [4.0, np.nan, 2.0])
    assert bound.tolist() == [True, False, False]
    assert exposure.tolist() == [0.0, 0.0, 1.0]
