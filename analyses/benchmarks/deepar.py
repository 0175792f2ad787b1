"""Benchmark: DeepAR beside GluonTS' DeepAR of the same size, throughput and CRPS in one run.

Prints one JSON line. Both train on the same panel, stockout days as missing (treatment ``mask``
here, NaN there), with the same number of layers and units, window, batch, steps, learning rate,
lags and threads, on the CPU; both draw 1,000 sample paths, scored against true demand by
`civstats.evaluation`. DeepAR under ``censor`` is scored besides.

GluonTS lives in an environment of its own (it needs an older toolz than is pinned here)::

    python3.11 -m venv peer
    peer/bin/pip install "gluonts[torch]==0.17.0" "torch==2.13.0"
    python analyses/benchmarks/deepar.py --peer-python peer/bin/python

The tool is run as a subprocess that exchanges arrays in a temporary folder. A training example is a
window: 83 steps of a series (window and horizon less one). What is not the same: GluonTS takes the
loss over the whole window, here over the horizon alone, so that our step is timed with the whole
window's loss too; its inputs are its own time features, age, price, promotion, events and SNAP as
numbers; its rate falls on plateaus, its missing days read as 0 with its own scaling. Throughput is
the median step of the training loop after a warm-up, batches included, and the fast tenth of the
steps: CPU seconds, and fast steps, say more than wall seconds where the machine is shared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from _deepar_panel import NAME, as_arrays, as_forecast, load, parted

from civstats.evaluation import evaluate
from civstats.evaluation.pairwise import pairwise
from civstats.models.deepar import DeepAR
from civstats.schema import CivstatsError, Forecast

LEVEL = 80.0
SAMPLES = 1_000
SAME = {
    "n_layers": 2, "dropout": 0.1, "embedding_size": 4, "learning_rate": 3e-3, "grad_clip": 1.0,
}  # fmt: skip
LAGS = (7, 14, 28)


def own(
    history: pd.DataFrame, future: pd.DataFrame, treatment: str, config: dict
) -> tuple[DeepAR, Forecast, dict[str, Any]]:
    """Train and forecast."""
    model = DeepAR(
        treatment=treatment,
        h=config["h"],
        input_size=config["input_size"],
        lags=LAGS,
        hidden_size=config["hidden_size"],
        batch_size=config["batch_size"],
        max_steps=config["steps"],
        # The peer has no validation either: it keeps the weights of the lowest training loss.
        val_size=0,
        num_threads=config["threads"],
        seed=config["seed"],
        device="cpu",
        **SAME,
    )
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(history)
    found = {"fit_wall_s": time.perf_counter() - wall, "fit_cpu_s": time.process_time() - cpu}
    wall, cpu = time.perf_counter(), time.process_time()
    made = model.predict(future, level=[LEVEL], n_paths=SAMPLES, seed=config["seed"])
    found["predict_wall_s"] = time.perf_counter() - wall
    found["predict_cpu_s"] = time.process_time() - cpu
    return model, made, found


def steps_of(model: DeepAR, config: dict) -> tuple[int, dict[str, np.ndarray]]:
    """Train fresh networks for a few steps by the clock; see `_steps`."""
    from civstats.models.deepar import _networks, _training

    found = {}
    with _networks.threads(config["threads"]):
        windows = model._windows()
        cut = _training.training_cut(windows, 0, drop_windows=False, name=NAME)
        whole = config["input_size"] + config["h"] - 1
        for label, h_train in (("step", config["h"]), ("whole_loss_step", whole)):
            network = _networks.build(model.kind, model._shape(windows), config["seed"])
            schedule = _training.Schedule(
                config["warm_up"] + config["timed_steps"] + 1, config["batch_size"],
                SAME["learning_rate"], h_train, 10**9, 1, SAME["grad_clip"], config["seed"],
            )  # fmt: skip
            with _clocked() as at:
                _training.train(network, windows, cut, schedule)
            found[label] = _steps(at, config["warm_up"])
    return sum(p.numel() for p in network.parameters()), found


@contextmanager
def _clocked() -> Iterator[list[tuple[float, float]]]:
    """Note wall and CPU seconds whenever a step of any optimiser ends."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    at: list[tuple[float, float]] = []
    hook = register_optimizer_step_post_hook(
        lambda *_: at.append((time.perf_counter(), time.process_time()))
    )
    try:
        yield at
    finally:
        hook.remove()


def _steps(at: list[tuple[float, float]], warm_up: int) -> np.ndarray:
    """Return wall and CPU seconds of each step after the warm-up, shape (n, 2)."""
    return np.diff(np.array(at)[min(warm_up, len(at) - 2) :], axis=0)


def summed_up(steps: np.ndarray, label: str) -> dict[str, float]:
    """Return the median and the fast tenth of the seconds that a step takes."""
    out = {}
    for j, clock in enumerate(("wall", "cpu")):
        out[f"{label}_{clock}_s"] = float(np.median(steps[:, j]))
        # A shared machine slows steps down, never speeds them up.
        out[f"fast_{label}_{clock}_s"] = float(np.quantile(steps[:, j], 0.1))
    return out


def peer(
    history: pd.DataFrame, future: pd.DataFrame, config: dict
) -> tuple[Forecast, dict[str, Any]]:
    """Run the peer in its environment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays, first_day = as_arrays(history, future)
        np.savez(folder / "panel.npz", **arrays)
        settings = SAME | {k: config[k] for k in config if k not in ("path", "peer_python")}
        settings |= {"lags": LAGS, "first_day": first_day, "samples": SAMPLES, "per_epoch": 50}
        (folder / "settings.json").write_text(json.dumps(settings))
        script = Path(__file__).with_name("_deepar_peer.py")
        threads = {k: str(config["threads"]) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        done = subprocess.run(
            [config["peer_python"], str(script), name],
            env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **threads},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise CivstatsError(
                f"the peer failed under {config['peer_python']}: {last[0]}; see the first lines of "
                "this script for its environment"
            )
        found = json.loads((folder / "peer.json").read_text())
        found |= summed_up(_steps(found.pop("at"), config["warm_up"]), "step")
        samples = np.load(folder / "samples.npy")
    return as_forecast(samples, history, future, LEVEL), found


def compare(
    panel: pd.DataFrame, made: list[Forecast], config: dict
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Score all forecasts against demand; the pairs with the peer."""
    frame = pd.concat(
        [made[0].frame, *(m.frame[m.columns].reset_index(drop=True) for m in made[1:])], axis=1
    )
    common = {"predictive": made, "n_boot": config["boot"], "seed": config["seed"]}
    scores = evaluate(
        frame, panel, level=[LEVEL], regimes="demand", metrics=["bias", "crps", "coverage"],
        block=7, **common,
    )  # fmt: skip
    pooled = scores[scores["cutoff"].isna()]
    out: dict[str, dict[str, Any]] = {}
    for _, row in pooled.iterrows():
        found = [round(float(row[c]), 4) for c in ("value", "lo", "hi")]
        out.setdefault(f"{row['model']}_{row['treatment']}", {})[row["metric"]] = found
    pairs = pairwise(frame, panel, metric="crps", regime="demand", block=7, **common)
    told = {
        f"{p['a']} less {p['b']}": {
            "crps": [round(float(p[c]), 4) for c in ("difference", "lo", "hi")],
            "better": p["better"] or "no winner",
        }
        for _, p in pairs.iterrows()
    }
    return out, told


def measure(config: dict) -> dict[str, Any]:
    """Train both, time both, score both."""
    panel = load(config)
    history, future = parted(panel, config["h"])
    window = config["input_size"] + config["h"] - 1
    found: dict[str, Any] = {
        "series": int(panel["unique_id"].nunique()),
        "rows": len(history),
        "days_out": round(float(panel["is_censored"].mean()), 4),
        "load_before": round(os.getloadavg()[0], 2),
        **{k: config[k] for k in ("batch_size", "steps", "hidden_size", "input_size", "threads")},
    }
    runs: dict[str, dict[str, Any]] = {}
    made = []
    models: dict[str, DeepAR] = {}
    for treatment in ("mask", "censor"):
        model, forecast, run = own(history, future, treatment, config)
        models[forecast.name], runs[forecast.name] = model, run
        made.append(forecast)
        print(f"{forecast.name}: done", file=sys.stderr)
    # Our steps are timed before and after the peer's: what else runs on the machine changes.
    timed = [{name: steps_of(model, config) for name, model in models.items()}]
    forecast, run = peer(history, future, config)
    runs[forecast.name] = run
    made.append(forecast)
    timed.append({name: steps_of(model, config) for name, model in models.items()})
    for name in models:
        runs[name]["parameters"] = timed[0][name][0]
        for label in ("step", "whole_loss_step"):
            runs[name] |= summed_up(np.concatenate([t[name][1][label] for t in timed]), label)
    scores, pairs = compare(panel, made, config)
    for name, run in runs.items():
        for clock in ("wall", "cpu"):
            run[f"windows_per_{clock}_s"] = config["batch_size"] / run[f"step_{clock}_s"]
            run[f"series_steps_per_{clock}_s"] = window * run[f"windows_per_{clock}_s"]
        found[name] = {k: round(v, 4) if isinstance(v, float) else v for k, v in run.items()}
        found[name] |= scores[name]
    base = runs["GluonTS_mask"]
    found["faster_than_peer"] = {
        name: {
            f"{fast}{label}_{clock}": round(
                base[f"{fast}step_{clock}_s"] / run[f"{fast}{label}_{clock}_s"], 2
            )
            for label in ("step", "whole_loss_step")
            for fast in ("", "fast_")
            for clock in ("wall", "cpu")
        }
        for name, run in runs.items()
        if name != "GluonTS_mask"
    }
    return found | {"pairs": pairs, "load_after": round(os.getloadavg()[0], 2)}


def main(
    peer_python: Annotated[Path, typer.Option(help="Python that has GluonTS.")],
    path: Annotated[Path | None, typer.Option(help="M5: Kaggle zip or folder.")] = None,
    series: Annotated[int, typer.Option(help="Series.")] = 500,
    days: Annotated[int, typer.Option(help="Days, the last horizon with them.")] = 730,
    rate: Annotated[float, typer.Option(help="Share of stockout days, by inventory.")] = 0.15,
    h: Annotated[int, typer.Option(help="Days ahead.")] = 28,
    input_size: Annotated[int, typer.Option(help="Days that the networks read.")] = 56,
    hidden_size: Annotated[int, typer.Option(help="Of the LSTM.")] = 40,
    batch_size: Annotated[int, typer.Option(help="Windows per step.")] = 128,
    steps: Annotated[int, typer.Option(help="Of training; a multiple of 50.")] = 400,
    timed_steps: Annotated[
        int, typer.Option(help="Steps timed before the peer, and again after it.")
    ] = 40,
    warm_up: Annotated[int, typer.Option(help="Steps before the clock.")] = 10,
    threads: Annotated[int, typer.Option(help="Of torch, both.")] = 1,
    boot: Annotated[int, typer.Option(help="Bootstrap replicates.")] = 500,
    seed: Annotated[int, typer.Option(help="Of world, weights and draws.")] = 0,
) -> None:
    """Train both, one after the other, and print what they did."""
    config = dict(locals()) | {"peer_python": str(peer_python)}
    try:
        print(json.dumps(measure(config)))
    except CivstatsError as error:
        typer.echo("error: " + " ".join(str(error).split()), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
