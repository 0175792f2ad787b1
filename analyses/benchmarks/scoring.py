"""Benchmark: scoring all of M5's size, seconds and memory, beside utilsforecast for shared scores.

Prints one JSON line: the panel's size, seconds and peak memory of `civstats.evaluation.evaluate` with
all point and interval scores (with and without bootstrap), and, for the scores that both have
(MAE, RMSE, pinball by series), the seconds of `utilsforecast.losses` on the same rows in the same run.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Annotated

import numpy as np
import pandas as pd
import psutil
import typer

from civstats.evaluation import evaluate
from civstats.schema import validate_panel


def world(n_series: int, n_days: int, h: int, folds: int, columns: int, seed: int):
    """Counts and forecasts of about the right size; what they say does not matter for the time."""
    rng = np.random.default_rng(seed)
    ids = np.array([f"s{i:05d}" for i in range(n_series)])
    days = pd.date_range("2024-01-01", periods=n_days)
    n = n_series * n_days
    mean = np.repeat(rng.gamma(0.7, 2.0, n_series).astype("float32"), n_days)
    demand = rng.poisson(mean).astype("float32")
    out = rng.random(n) < 0.15
    panel = validate_panel(
        pd.DataFrame(
            {
                "unique_id": pd.Categorical.from_codes(np.repeat(np.arange(n_series), n_days), ids),
                "ds": np.tile(days, n_series),
                "y": np.where(out, 0, demand).astype("float32"),
                "is_censored": out,
                "demand": demand,
            }
        )
    )
    keep = np.tile(np.arange(n_days) >= n_days - folds * h, n_series)
    frame = panel.loc[keep, ["unique_id", "ds"]].reset_index(drop=True)
    fold = np.tile(np.repeat(np.arange(folds), h), n_series)
    frame["cutoff"] = days.to_numpy()[n_days - folds * h - 1 + fold * h]
    m = mean[keep]
    for k in range(columns):
        name = f"Model{k}_mask"
        guess = (m * rng.uniform(0.8, 1.2, len(m))).astype("float32")
        frame[name] = guess
        frame[f"{name}-median"] = np.floor(guess)
        for level, z in ((80, 1.28), (95, 1.96)):
            frame[f"{name}-lo-{level}"] = np.maximum(0, np.floor(guess - z * np.sqrt(guess)))
            frame[f"{name}-hi-{level}"] = np.ceil(guess + z * np.sqrt(guess))
    return panel, frame


class Peak:
    """Largest resident memory of this process while it is entered, GiB."""

    def __enter__(self) -> Peak:
        self.peak, self._stop, me = 0, threading.Event(), psutil.Process()

        def watch() -> None:
            while not self._stop.wait(0.05):
                self.peak = max(self.peak, me.memory_info().rss)

        self._thread = threading.Thread(target=watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def gib(self) -> float:
        """Rounded to hundredths."""
        return round(self.peak / 2**30, 2)


def main(
    series: Annotated[int, typer.Option(help="Series.")] = 30_490,
    days: Annotated[int, typer.Option(help="Days of the panel.")] = 400,
    h: Annotated[int, typer.Option(help="Days ahead.")] = 28,
    folds: Annotated[int, typer.Option(help="Cutoffs.")] = 5,
    columns: Annotated[int, typer.Option(help="Model columns.")] = 10,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the made-up data.")] = 0,
) -> None:
    """Time the scores."""
    from utilsforecast import losses

    panel, frame = world(series, days, h, folds, columns, seed)
    found: dict[str, object] = {
        "series": series, "days": days, "rows": len(frame), "columns": columns,
        "load_before": round(os.getloadavg()[0], 2),
        "input_gib": round((panel.memory_usage().sum() + frame.memory_usage().sum()) / 2**30, 2),
    }  # fmt: skip
    for key, n_boot in (("scores", 0), ("scores_and_intervals", boot)):
        with Peak() as memory:
            start, cpu = time.perf_counter(), time.process_time()
            scores = evaluate(frame, panel, level=[80, 95], n_boot=n_boot, block=7)
            found[f"{key}_s"] = round(time.perf_counter() - start, 1)
            found[f"{key}_cpu_s"] = round(time.process_time() - cpu, 1)
        found[f"{key}_peak_gib"] = memory.gib
    found["score_rows"] = len(scores)
    names = [f"Model{k}_mask" for k in range(columns)]
    held = frame.drop(columns="cutoff")
    held["y"] = panel["y"].to_numpy()[np.tile(np.arange(days) >= days - folds * h, series)]
    start = time.perf_counter()
    for name in names:
        losses.rmse(held, [name])
        losses.bias(held, [name])
        losses.mae(held, [f"{name}-median"])
        for column, q in (("-lo-80", 0.1), ("-hi-80", 0.9), ("-lo-95", 0.025), ("-hi-95", 0.975)):
            losses.quantile_loss(held, {name: f"{name}{column}"}, q=q)
        for level in (80, 95):
            losses.coverage(held, [name], level)
    found["utilsforecast_s"] = round(time.perf_counter() - start, 1)
    start = time.perf_counter()
    asked = ["wape", "rmse", "bias", "pinball", "coverage"]
    evaluate(frame, panel, level=[80, 95], metrics=asked, regimes="all_days", n_boot=0)
    found["same_scores_s"] = round(time.perf_counter() - start, 1)
    found["ratio"] = round(found["same_scores_s"] / found["utilsforecast_s"], 2)  # type: ignore[operator]
    print(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)
