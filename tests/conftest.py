"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real data; tests that need it skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("CIVSTATS_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real data (M5, FreshRetailNet) is not on this machine")
    return folder


@pytest.fixture(autouse=True)
def _no_global_randomness():
    """Randomness is an argument: a test that moves numpy's global state fails."""
    before = np.random.get_state()[1].copy()
    yield
    assert (np.random.get_state()[1] == before).all(), "global random state was used"


@pytest.fixture
def tiny_panel() -> pd.DataFrame:
    """Three series x 140 days, unvalidated, with flags, price and static attributes."""
    rng = np.random.default_rng(7)
    days = pd.date_range("2024-01-01", periods=140)
    frames = []
    for k, mean in enumerate((0.4, 2.0, 9.0)):
        y = rng.poisson(mean, len(days)).astype("float32")
        out = rng.random(len(days)) < 0.1
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"item{k}_S1",
                    "ds": days,
                    "y": np.where(out, 0, y).astype("float32"),
                    "is_censored": out,
                    "stock": np.where(out, 0, np.nan).astype("float32"),
                    "demand": y,
                    "demand_mean": np.float32(mean),
                    "price": (2.0 + k + 0.5 * (np.arange(len(days)) // 28 % 2)).astype("float32"),
                    "item_id": f"item{k}",
                    "dept_id": "D1" if k < 2 else "D2",
                    "store_id": "S1",
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
