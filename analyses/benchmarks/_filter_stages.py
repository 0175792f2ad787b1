"""The parts of the filter's benchmark that time the filter alone; each runs in a fresh process."""

from __future__ import annotations

import gc
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter import (
    DemandFilter,
    FilterParameters,
    Observations,
    build_grid,
    log_likelihood,
    observations,
    smooth_levels,
)
from civstats.demand_filter.recovery import recover
from civstats.schema import CENSORED, DEMAND, DS, ID, STOCK, Y, series_index

Say = Callable[[str], object]
GIVEN = FilterParameters("negbin", dispersion=2.0, level_sd=0.03, prior_mean=-0.5, prior_sd=1.5)
"""The hyperparameters given, about those of M5."""
WEEKLY = np.array([-0.1, -0.15, -0.15, -0.1, 0.05, 0.25, 0.2])
SIZES = {100: 5, 1_000: 3, 10_000: 2}
"""Numbers of series, and how often each is timed; all series are timed once."""


@contextmanager
def stage(found: dict[str, Any], name: str, say: Say = lambda text: None) -> Iterator[None]:
    """Note seconds, CPU seconds and the process' highest memory, watched, of what runs inside."""
    import psutil

    me, over, peak = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not over.wait(0.05):
            peak[0] = max(peak[0], me.memory_info().rss)

    gc.collect()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    over.set()
    watcher.join()
    high = max(peak[0], me.memory_info().rss) / 1e9
    found[name] = {"wall": round(wall, 2), "cpu": round(cpu, 2), "peak_gb": round(high, 2)}
    say(f"{name:16s} {wall:8.1f} s  {cpu:8.1f} s of CPU  {high:5.2f} GB")


def highest_gb() -> float:
    """Return the highest memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def some_series(panel: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Return random series of a panel, whole."""
    index = series_index(panel)
    picked = np.zeros(len(index.ids), dtype=bool)
    picked[np.random.default_rng(seed).permutation(len(index.ids))[:n]] = True
    kept = panel[np.repeat(picked, index.lengths)].reset_index(drop=True)
    for column in kept.select_dtypes("category"):
        kept[column] = kept[column].cat.remove_unused_categories()
    return kept


def prepare(folder: Path, config: dict[str, Any], say: Say) -> dict[str, Any]:
    """Write the panel with its stockouts, as the other parts read it."""
    from civstats.stockouts.simulate import simulate_stockouts

    if config["path"] is None:
        from civstats.data.synthetic import make_panel

        truth = make_panel(
            n_series=config["series"] or 200, n_days=config["days"] or 730, seed=config["seed"]
        )
        truth = truth.drop(columns=[c for c in (CENSORED, STOCK) if c in truth.columns])
    else:
        from civstats.data import load_m5

        truth = load_m5(config["path"], last_days=config["days"])
        if config["series"] is not None:
            truth = some_series(truth, config["series"], config["seed"])
    panel = simulate_stockouts(
        truth, mechanism="inventory", rate=config["rate"], seed=config["seed"]
    )
    lengths = series_index(panel).lengths
    # What no model may read, and the stock, which the filter does not.
    panel = panel.drop(columns=[c for c in (DEMAND, "demand_mean", STOCK) if c in panel.columns])
    panel.to_parquet(folder / "panel.parquet", index=False)
    out = {
        "series": len(lengths),
        "rows": len(panel),
        "mean_days": round(float(lengths.mean()), 1),
        "stockout_days": round(float(panel[CENSORED].mean()), 4),
    }
    say(f"{len(lengths):,} series, {len(panel):,} rows")
    return out


def read(folder: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read the prepared panel."""
    return pd.read_parquet(folder / "panel.parquet", columns=columns)


def warm_up(threads: int) -> None:
    """Compile, or load what was compiled before."""
    from civstats.data.synthetic import make_panel

    panel = make_panel(n_series=4, n_days=60, seed=1)
    panel[CENSORED] = panel[Y] > 3
    recover(panel, DemandFilter(rounds=1, n_jobs=threads).fit(panel), n_jobs=threads)


def layout(folder: Path, config: dict[str, Any], say: Say) -> dict[str, Any]:
    """Lay the panel out for the passes, with offsets by day of week, and write that too."""
    found: dict[str, Any] = {}
    with stage(found, "read", say):
        panel = read(folder, [ID, DS, Y, CENSORED])
    with stage(found, "observations", say):
        obs = observations(panel, "censor", WEEKLY[panel[DS].dt.dayofweek.to_numpy()])
    names = obs.ids.to_numpy(dtype=str)
    arrays = {n: getattr(obs, n) for n in ("starts", "ends", "y", "kind", "status", "offset")}
    np.savez(folder / "days.npz", ids=names, **arrays)
    return found | {"process_gb": highest_gb()}


def laid_out(folder: Path) -> Observations:
    """Read what `layout` wrote."""
    with np.load(folder / "days.npz") as days:
        return Observations(**{n: pd.Index(days[n]) if n == "ids" else days[n] for n in days})


def passes(folder: Path, config: dict[str, Any], say: Say) -> dict[str, Any]:
    """Time both passes over all series, hyperparameters given."""
    threads = config["threads"]
    warm_up(threads)
    found: dict[str, Any] = {"threads": threads}
    obs = laid_out(folder)
    with stage(found, "grid", say):
        grid = build_grid(obs, GIVEN)
    found["grid_points"] = round(float(np.average(grid.size, weights=obs.lengths)), 1)
    with stage(found, "log_likelihood", say):
        log_likelihood(obs, GIVEN, grid=grid, n_jobs=threads)
    with stage(found, "both_passes", say):
        levels = smooth_levels(obs, GIVEN, grid=grid, dtype=np.float32, n_jobs=threads)
    found |= {"widened": levels.n_widened, "process_gb": highest_gb()}
    return found


def fit(folder: Path, config: dict[str, Any], say: Say) -> dict[str, Any]:
    """Time the whole: offsets, hyperparameters, and the recovery of every day."""
    threads = config["threads"]
    warm_up(threads)
    found: dict[str, Any] = {"threads": threads}
    with stage(found, "read", say):
        panel = read(folder)
    with stage(found, "fit", say):
        fitted = DemandFilter(treatment="censor", n_jobs=threads).fit(panel)
    with stage(found, "recover", say):
        recovery = recover(panel, fitted, n_jobs=threads)
    found["estimates"] = {n: round(v, 4) for n, v in fitted.estimates_["all"].in_units.items()}
    found["groups"] = len(fitted.groups_.names)
    frame = recovery.frame
    recovered, sold = (frame[c].to_numpy().sum(dtype=float) for c in ("recovered", Y))
    found["recovered_over_sold"] = round(float(recovered / sold), 4)
    found["process_gb"] = highest_gb()
    return found


def scale(folder: Path, config: dict[str, Any], say: Say) -> dict[str, Any]:
    """Time both passes over more and more series of the same mean length."""
    threads = config["threads"]
    warm_up(threads)
    everything = laid_out(folder)
    # Evenly spaced among the series ordered by length: every number has the lengths of the whole.
    order = np.argsort(everything.lengths, kind="stable")
    n_all = everything.n_series
    found: dict[str, Any] = {"threads": threads, "table": []}
    for n, runs in {**{k: v for k, v in SIZES.items() if k < n_all}, n_all: 1}.items():
        picked = order[np.linspace(0, n_all - 1, n).round().astype(int)]
        obs = everything if n == n_all else everything.take(np.sort(picked))
        walls, cpus = [], []
        for _ in range(runs):
            wall, cpu = time.perf_counter(), time.process_time()
            smooth_levels(obs, GIVEN, dtype=np.float32, n_jobs=threads)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        row = {
            "series": n,
            "mean_days": round(float(obs.lengths.mean()), 1),
            "wall_ms": round(1e3 * min(walls) / n, 3),
            "cpu_ms": round(1e3 * min(cpus) / n, 3),
        }
        found["table"].append(row)
        say(f"{n:7,d} series  {row['wall_ms']:7.3f} ms a series  {row['cpu_ms']:7.3f} ms of CPU")
    costs = [row["cpu_ms"] for row in found["table"]]
    found["cpu_spread"] = round(max(costs) / min(costs), 3)
    return found


STAGES = {"prepare": prepare, "layout": layout, "passes": passes, "fit": fit, "scale": scale}
