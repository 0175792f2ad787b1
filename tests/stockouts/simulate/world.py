"""Small worlds of known demand for the tests of simulated stockouts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import validate_panel


def negbin_world(
    n_series: int = 60,
    n_days: int = 300,
    *,
    mean: float = 5.0,
    spread: float = 0.0,
    dispersion: float = 2.0,
    seed: int = 0,
    plain: bool = True,
) -> pd.DataFrame:
    """Panel of negative-binomial demand; `spread` is the standard deviation of the log means.

    A `plain` world has neither weekday, promotion nor event. Demand does not follow them in the
    other kind either, so that whatever follows demand instead shows.
    """
    rng = np.random.default_rng(seed)
    means = np.repeat(mean * np.exp(spread * rng.standard_normal(n_series)), n_days)
    demand = rng.negative_binomial(dispersion, dispersion / (dispersion + means))
    days = pd.date_range("2024-01-01", periods=n_days)
    item = np.repeat(np.arange(n_series), n_days)
    panel = pd.DataFrame(
        {
            "unique_id": [f"i{k:04d}" for k in item],
            "ds": np.tile(days, n_series),
            "y": demand.astype("float32"),
            "demand": demand.astype("float32"),
            "demand_mean": means.astype("float32"),
            "store_id": np.where(item % 2, "S1", "S2"),
            "dept_id": np.where(item % 3, "D1", "D2"),
        }
    )
    if not plain:
        panel["promo"] = rng.random(len(panel)) < 0.15
        panel["event_name_1"] = np.where(panel["ds"].dt.day == 10, "Feast", "none")
        panel["snap"] = (panel["ds"].dt.day <= 5).astype("int8")
    return validate_panel(panel)
