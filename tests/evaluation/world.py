"""Small worlds to score: a panel with known demand and a wide frame of forecasts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import validate_panel


def make_panel(
    n_series: int = 6, n_days: int = 60, *, seed: int = 0, out_rate: float = 0.15
) -> pd.DataFrame:
    """Poisson demand of known mean, whole days out at random."""
    rng = np.random.default_rng(seed)
    mean = np.repeat(rng.uniform(0.5, 8, n_series), n_days)
    demand = rng.poisson(mean).astype("float32")
    out = rng.random(len(mean)) < out_rate
    return validate_panel(
        pd.DataFrame(
            {
                "unique_id": np.repeat([f"s{i:03d}" for i in range(n_series)], n_days),
                "ds": np.tile(pd.date_range("2024-01-01", periods=n_days), n_series),
                "y": np.where(out, 0, demand).astype("float32"),
                "is_censored": out,
                "demand": demand,
                "demand_mean": mean.astype("float32"),
            }
        )
    )


def make_forecasts(
    panel: pd.DataFrame,
    names: tuple[str, ...] = ("A_ignore", "A_mask"),
    *,
    h: int = 7,
    n_windows: int = 3,
    step: int | None = None,
    seed: int = 1,
) -> pd.DataFrame:
    """Noisy forecasts of the last windows, all columns of the contract at levels 80 and 95."""
    rng = np.random.default_rng(seed)
    days = np.sort(panel["ds"].unique())
    step = h if step is None else step
    frames = []
    for k in range(n_windows):
        last = len(days) - h - k * step
        window = days[last : last + h]
        part = panel.loc[panel["ds"].isin(window), ["unique_id", "ds"]].copy()
        part["cutoff"] = days[last - 1]
        frames.append(part)
    frame = pd.concat(frames, ignore_index=True)
    for name in names:
        mean = rng.gamma(2.0, 1.5, len(frame))
        frame[name] = mean
        frame[f"{name}-median"] = np.floor(mean)
        for level, spread in ((80, 1.3), (95, 2.0)):
            frame[f"{name}-lo-{level}"] = np.maximum(0, np.floor(mean - spread * np.sqrt(mean)))
            frame[f"{name}-hi-{level}"] = np.ceil(mean + spread * np.sqrt(mean))
    return frame


def perfect(forecasts: pd.DataFrame, panel: pd.DataFrame, target: str = "y") -> pd.DataFrame:
    """Forecasts that hit the target exactly, with intervals of no width."""
    keys = ["unique_id", "ds", "cutoff"]
    frame = forecasts[keys].merge(panel[["unique_id", "ds", target]], on=["unique_id", "ds"])
    value = frame.pop(target).astype(float)
    columns = ("", "-median", "-lo-80", "-hi-80", "-lo-95", "-hi-95")
    return frame.assign(**{f"P_mask{c}": value for c in columns})


def pooled(scores: pd.DataFrame, metric: str, regime: str, name: str = "A_mask", level=None):
    """The one pooled row of a score."""
    model, treatment = name.rsplit("_", 1)
    rows = scores[
        (scores.metric == metric)
        & (scores.regime == regime)
        & (scores.model == model)
        & (scores.treatment == treatment)
        & scores.cutoff.isna()
        & (scores.level.isna() if level is None else scores.level == level)
    ]
    assert len(rows) == 1
    return rows.iloc[0]
