"""The recovery study's forecasts: a part a task, one file that appears whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ANALYSES))
    yield
    sys.path.remove(str(ANALYSES))


def rows(n_days: int = 3) -> pd.DataFrame:
    days = pd.date_range("2024-03-01", periods=n_days)
    ids = pd.Categorical(np.repeat(["b", "a"], n_days), categories=["a", "b", "c"])
    return pd.DataFrame(
        {
            "unique_id": ids,
            "ds": np.tile(days, 2),
            "cutoff": days[0] - pd.Timedelta(days=1),
            "demand": np.arange(2.0 * n_days),
            "demand_mean": np.linspace(0.5, 1.5, 2 * n_days),
        }
    )


def panel() -> pd.DataFrame:
    """More days and another order than what is scored."""
    frame = rows(5)[["unique_id", "ds"]].iloc[::-1].reset_index(drop=True)
    y = frame["ds"].dt.day + 10.0 * (frame["unique_id"] == "b")
    return frame.assign(y=y.astype("float32"), is_censored=frame["unique_id"] == "a")


def named(rate: float = 0.3, treatment: str = "mask") -> dict:
    return {
        "mechanism": "random", "rate": rate, "severity": np.nan, "model": "LightGBM",
        "treatment": treatment, "trained_on": "sales",
    }  # fmt: skip


def values(n: int = 6) -> dict[str, np.ndarray]:
    names = ("mean", "lo-80", "hi-80", "lo-95", "hi-95")
    return {c: np.arange(n) + 10.0 * k for k, c in enumerate(names)}


def part(folder: Path, seed: int, rate: float = 0.3) -> None:
    from recovery_forecasts import Ledger

    ledger = Ledger(rows(), seed)
    for treatment in ("mask", "censor"):
        ledger.add(panel(), named(rate, treatment), values())
    ledger.write(folder / f"{seed:03d}-{rate}.parquet")


def test_parts_come_together_with_sales_and_flags_beside_each_forecast(tmp_path):
    import pyarrow.parquet as pq
    from recovery_forecasts import forecast_schema, merge_parts

    (tmp_path / "parts").mkdir()
    for seed, rate in ((0, 0.05), (0, 0.3), (1, 0.3)):
        part(tmp_path / "parts", seed, rate)
    target = tmp_path / "out" / "forecasts.parquet"
    assert merge_parts(tmp_path / "parts", target) == 36
    assert pq.ParquetFile(target).metadata.num_row_groups == 3
    found = pd.read_parquet(target)
    assert list(found.columns) == forecast_schema().names
    for column in ("unique_id", "mechanism", "model", "treatment", "trained_on"):
        assert isinstance(found[column].dtype, pd.CategoricalDtype)
    assert {str(found[c].dtype) for c in ("mean", "lo-80", "y", "demand")} == {"float32"}
    assert found["seed"].tolist() == [0] * 24 + [1] * 12
    assert found["rate"].tolist() == [0.05] * 12 + [0.3] * 24
    first = found.iloc[6:12]
    assert set(first["treatment"]) == {"censor"}
    assert first["unique_id"].tolist() == ["b"] * 3 + ["a"] * 3
    assert first["y"].tolist() == [11, 12, 13, 1, 2, 3]
    assert first["is_censored"].tolist() == [False] * 3 + [True] * 3
    assert first["hi-95"].tolist() == list(range(40, 46))
    assert first["demand"].tolist() == list(range(6))


def test_what_a_world_does_not_know_is_missing(tmp_path):
    from recovery_forecasts import Ledger, merge_parts

    (tmp_path / "parts").mkdir()
    ledger = Ledger(rows().drop(columns="demand_mean"), 0)
    ledger.add(panel().drop(columns="is_censored"), named(), values())
    ledger.write(tmp_path / "parts" / "0.parquet")
    part(tmp_path / "parts", 1)
    merge_parts(tmp_path / "parts", tmp_path / "all.parquet")
    found = pd.read_parquet(tmp_path / "all.parquet")
    assert found.groupby("seed")["demand_mean"].count().tolist() == [0, 12]
    assert found.groupby("seed")["is_censored"].count().tolist() == [0, 12]


def test_a_part_that_cannot_be_read_leaves_the_old_file_as_it_was(tmp_path):
    from recovery_forecasts import merge_parts

    parts, target = tmp_path / "parts", tmp_path / "out" / "forecasts.parquet"
    parts.mkdir()
    part(parts, 0)
    merge_parts(parts, target)
    before = target.read_bytes()
    (parts / "999.parquet").write_bytes(b"cut short")
    with pytest.raises(Exception, match=r"(?i)parquet"):
        merge_parts(parts, target)
    assert target.read_bytes() == before
    assert [p.name for p in target.parent.iterdir()] == ["forecasts.parquet"]
    target.unlink()
    with pytest.raises(Exception, match=r"(?i)parquet"):
        merge_parts(parts, target)
    assert list(target.parent.iterdir()) == []


def test_a_day_that_the_panel_repeats_is_refused():
    from recovery_forecasts import Ledger

    twice = pd.concat([panel(), panel()])
    with pytest.raises(pd.errors.MergeError):
        Ledger(rows(), 0).add(twice, named(), values())
