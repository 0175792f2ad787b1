"""A small retail world whose posterior is known: one rate a department, conjugate but for bounds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import validate_panel

WEEK = np.array([0.8, 0.8, 0.9, 1.0, 1.1, 1.3, 1.1])


def panel_of(
    seed: int = 0, n_series: int = 6, n_days: int = 112, mean: float = 5.0, short: bool = True
) -> pd.DataFrame:
    """Poisson demand with a weekly pattern, stock drawn apart from demand, some days wholly out."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=n_days)
    frames = []
    for k in range(n_series):
        demand = rng.poisson(mean * (1 + k % 2) * WEEK[days.dayofweek])
        stock = rng.choice([0, 4, 8, 40, 40, 40], size=n_days)
        y, out = np.minimum(demand, stock), demand >= stock
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{k}",
                    "ds": days,
                    "y": (y if short else demand).astype("float32"),
                    "is_censored": out & short,
                    "stock": (stock if short else np.full(n_days, np.nan)).astype("float32"),
                    "demand": demand.astype("float32"),
                    "dept_id": f"D{k % 2}",
                }
            )
        )
    panel = validate_panel(pd.concat(frames, ignore_index=True))
    return panel if short else panel.drop(columns=["is_censored", "stock"])


def rates(panel: pd.DataFrame, mean: float = 5.0) -> np.ndarray:
    """The true mean demand of every row of `panel_of`."""
    k = panel["unique_id"].str[1:].astype(int).to_numpy()
    return mean * (1 + k % 2) * WEEK[panel["ds"].dt.dayofweek]
