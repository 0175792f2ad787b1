"""Time training under the censored negative binomial against LightGBM's built-in Poisson."""

from __future__ import annotations

import json
import os
import time
from typing import Annotated, Any

import numpy as np
import typer

app = typer.Typer(add_completion=False)


def make_rows(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw features, sales and flags: negative binomial demand, capped where stock was short."""
    from civstats.censoring import NegBin

    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 24), dtype=np.float32)
    eta = 0.3 + 0.6 * x[:, 0] + 0.3 * x[:, 1] * (x[:, 2] > 0) - 0.2 * np.abs(x[:, 3])
    demand = NegBin(2.0).sample(eta.astype(float), rng)
    # Stock is a multiple of the mean on some days: as many as make up the share of flags.
    stock = np.ceil(np.exp(eta) * rng.choice([0.25, 0.5, 1.0, 2.0], n))
    short = demand >= stock
    stock = np.where(rng.random(n) < share / short.mean(), stock, np.inf)
    return x, np.minimum(demand, stock), demand >= stock


@app.command()
def main(
    rows: Annotated[int, typer.Option(help="Number of rows.")] = 1_000_000,
    censored: Annotated[float, typer.Option(help="Share of censored rows.")] = 0.3,
    rounds: Annotated[int, typer.Option(help="Trees.")] = 100,
    repeat: Annotated[int, typer.Option(help="Runs of which the best counts.")] = 2,
    threads: Annotated[str, typer.Option(help="Numbers of threads, comma-separated.")] = "1,2",
    seed: Annotated[int, typer.Option(help="Seed of the data.")] = 0,
) -> None:
    """Print a JSON object: seconds of training, and their ratio, for every number of threads.

    Both train on the same binned rows, with the same parameters and as many trees; the censored
    objective re-estimates its shape on the way, as the model does. The search for its start
    is timed apart, and counted in ``ratio_with_start``.
    """
    # Threads that spin while they wait take the time of whoever runs beside them.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import lightgbm

    from civstats.models._booster import _PARAMS
    from civstats.models._censored_boosting import (
        MAX_DELTA_STEP,
        CensoredObjective,
        Observed,
        sample_rows,
        start,
    )

    x, y, flags = make_rows(rows, censored, seed)
    data = Observed(y, flags, np.zeros(rows))
    start(data.take(np.arange(1000)))  # compiles
    out: dict[str, Any] = {"rows": rows, "censored": round(float(flags.mean()), 3)}
    out |= {"rounds": rounds, "load_before": round(os.getloadavg()[0], 2)}
    for n in (int(t) for t in threads.split(",")):
        params = {
            **{k: v for k, v in _PARAMS.items() if not k.startswith("tweedie")},
            "max_delta_step": MAX_DELTA_STEP,
            "poisson_max_delta_step": MAX_DELTA_STEP,
            "metric": "none",
            "seed": seed,
            "num_threads": n,
        }
        began = time.perf_counter()
        shift, shape = start(data.take(sample_rows(rows, seed)))
        start_s = time.perf_counter() - began
        times: dict[str, list[float]] = {"poisson": [], "censored": []}
        for _ in range(repeat):
            # Alternately, so that a busy moment of the machine does not fall on one of them alone.
            for name, seconds in times.items():
                train = lightgbm.Dataset(
                    x, y, init_score=np.full(rows, shift), params=params
                ).construct()
                objective: Any = "poisson"
                if name == "censored":
                    at = Observed(y, flags, data.offset + shift)
                    objective = CensoredObjective(at, shape, seed, n)
                began = time.perf_counter()
                lightgbm.train({**params, "objective": objective}, train, num_boost_round=rounds)
                seconds.append(time.perf_counter() - began)
        poisson, found = min(times["poisson"]), min(times["censored"])
        out[f"{n}_threads"] = {
            "poisson_s": round(poisson, 2),
            "censored_s": round(found, 2),
            "start_s": round(start_s, 2),
            "ratio": round(found / poisson, 2),
            "ratio_with_start": round((found + start_s) / poisson, 2),
        }
    typer.echo(json.dumps(out))


if __name__ == "__main__":
    app()
