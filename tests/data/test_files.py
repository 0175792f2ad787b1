"""The user's own csv and parquet files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.data import read_panel
from civstats.schema import CivstatsError, DataError, PanelError, validate_panel


@pytest.fixture
def frame() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=5)
    rows = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": days,
                "y": [0.0, 3.0, 1.0, 0.0, 2.0],
                "is_censored": [False, True, False, False, False],
                "stock": [4.0, 3.0, np.nan, np.nan, 8.0],
                "price": [2.5, 2.5, 1.99, 1.99, 2.5],
                "promo": [False, False, True, True, False],
                "event_name_1": ["NewYear", "none", "none", "none", "none"],
                "store_id": store,
            }
        )
        for name, store in (("007", "NA"), ("null", "S1"))
    ]
    return pd.concat(rows, ignore_index=True)


def fails(path, error=DataError, **kwargs) -> str:
    with pytest.raises(error) as caught:
        read_panel(path, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "A.CSV"])
def test_round_trip(frame, tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    else:
        frame.sample(frac=1, random_state=0).to_csv(path, index=False)
    expected = validate_panel(frame.astype({"event_name_1": "category"}))
    pd.testing.assert_frame_equal(read_panel(path), expected)


def test_text_dates_in_parquet_and_weekly_panels(frame, tmp_path):
    path = tmp_path / "a.parquet"
    frame["ds"] = [d.strftime("%Y-%m-%d") for d in frame["ds"]]
    frame.to_parquet(path)
    assert read_panel(path)["ds"].dtype == "datetime64[ns]"
    weeks = pd.date_range("2024-01-07", periods=3, freq="W-SUN")
    pd.DataFrame({"unique_id": "a", "ds": weeks, "y": 1}).to_csv(tmp_path / "w.csv", index=False)
    assert len(read_panel(tmp_path / "w.csv", freq="W-SUN")) == 3
    assert "gap in the D calendar" in fails(tmp_path / "w.csv", PanelError)


def test_files_that_are_none(frame, tmp_path):
    assert "does not exist" in fails(tmp_path / "a.csv")
    assert "is a folder" in fails(tmp_path)
    (tmp_path / "a.xlsx").write_bytes(b"x")
    assert "neither .csv nor .parquet" in fails(tmp_path / "a.xlsx")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    assert "cannot be read as parquet" in fails(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_bytes(b"")
    assert "cannot be read as csv" in fails(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"unique_id,ds,y\na,2024-01-01,1\nb,2024-01-01,1,4,5\n")
    assert "cannot be read as csv" in fails(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"unique_id,ds,y\n\xff\xfe\xfa,2024-01-01,1\n")
    assert "cannot be read as csv" in fails(tmp_path / "a.csv")
    (tmp_path / "a.csv.gz").write_bytes(b"unique_id,ds,y\n")
    assert "cannot be read as csv" in fails(tmp_path / "a.csv.gz")
    (tmp_path / "a.csv").write_text("unique_id,ds,y\n")
    assert "has no rows" in fails(tmp_path / "a.csv")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_missing_column(frame, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    short = frame.drop(columns="y")
    short.to_csv(path, index=False) if suffix == "csv" else short.to_parquet(path)
    assert "lacks column(s) y" in fails(path)


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("ds", "31.01.2024", "1 row(s) with a ds that is no date, first '31.01.2024' in row 3"),
        ("ds", "2024-02-30", "that is no date"),
        ("y", "1,5", "1 row(s) with a y that is no number, first '1,5' in row 3"),
        ("price", "$2", "with a price that is no number"),
    ],
)
def test_cells_that_are_no_dates_or_numbers(frame, tmp_path, column, value, text):
    frame = frame.astype({column: object})
    frame.loc[2, column] = value
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert text in fails(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("y", -1, "1 row(s) with negative sales"),
        ("y", None, "1 row(s) with missing sales"),
        ("unique_id", None, "1 row(s) without identifier"),
        ("ds", None, "1 row(s) without date"),
        ("is_censored", None, "is_censored must be True or False"),
    ],
)
def test_breaches_of_the_contract_reach_the_caller(frame, tmp_path, column, value, text):
    frame = frame.astype({column: object})
    frame.loc[2, column] = value
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert text in fails(tmp_path / "a.csv", PanelError)


def test_time_zones_are_refused(frame, tmp_path):
    frame["ds"] = frame["ds"].dt.tz_localize("UTC")
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert "time zone" in fails(tmp_path / "a.csv", PanelError)
    frame.to_parquet(tmp_path / "a.parquet")
    assert "time zone" in fails(tmp_path / "a.parquet", PanelError)
    frame["ds"] = [f"2024-01-0{k % 5 + 1}T00:00:00+0{k % 2}:00" for k in range(len(frame))]
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert "time zone" in fails(tmp_path / "a.csv", CivstatsError)
