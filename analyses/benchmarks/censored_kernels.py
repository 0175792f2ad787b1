"""Time the censored count objective beside a numpy and scipy version of the same formulas."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer
from scipy import special

from civstats.censoring import (
    NegBin,
    fit_dispersion,
    mean_negative_loglik,
    negbin_objective,
    poisson_objective,
)

app = typer.Typer(add_completion=False)


def plain_objective(
    eta: np.ndarray, y: np.ndarray, is_censored: np.ndarray, a: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and floored hessian by scipy's incomplete beta function."""
    mu = np.exp(eta)
    p, q = mu / (mu + a), a / (mu + a)
    grad, hess = (mu - y) * q, mu * a * (y + a) / (mu + a) ** 2
    c, pc, qc = y[is_censored], p[is_censored], q[is_censored]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_r = c * np.log(pc) + a * np.log(qc) - special.betaln(c, a)
        r = np.where(c > 0, np.exp(log_r) / special.betainc(c, a, pc), 0.0)
    grad[is_censored] = -r
    curve = np.maximum(r * (r + a * pc - c * qc), mu[is_censored] * qc)
    hess[is_censored] = np.where(c > 0, curve, 0.0)
    return grad, hess


def milliseconds(call: Callable[[], Any], repeat: int) -> float:
    """Best of `repeat` runs, after one that compiles and warms."""
    call()
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1e3 * min(times), 2)


@app.command()
def main(
    rows: Annotated[int, typer.Option(help="Number of rows.")] = 1_000_000,
    censored: Annotated[float, typer.Option(help="Share of censored rows, about.")] = 0.3,
    seed: Annotated[int, typer.Option(help="Seed of the data.")] = 0,
    repeat: Annotated[int, typer.Option(help="Runs of which the best counts.")] = 7,
) -> None:
    """Print a JSON object of milliseconds."""
    rng = np.random.default_rng(seed)
    eta = rng.normal(0.5, 1.0, rows)
    demand = NegBin(2.0).sample(eta, rng)
    scarce = rng.random(rows) < 2.0 * censored
    stock = np.where(scarce, np.ceil(np.exp(eta) * rng.choice([0.5, 1.0], rows)), np.inf)
    cens = demand >= stock
    y = np.minimum(demand, stock).astype(np.float32)
    out: dict[str, Any] = {"rows": rows, "censored": round(float(cens.mean()), 3)}
    for threads in (1, 2):
        out[f"negbin_{threads}_threads_ms"] = milliseconds(
            lambda n=threads: negbin_objective(eta, y, cens, 2.0, n_threads=n), repeat
        )
        out[f"poisson_{threads}_threads_ms"] = milliseconds(
            lambda n=threads: poisson_objective(eta, y, cens, n_threads=n), repeat
        )
    out["mean_negative_loglik_ms"] = milliseconds(
        lambda: mean_negative_loglik(eta, y, cens, 2.0), repeat
    )
    out["fit_dispersion_ms"] = milliseconds(lambda: fit_dispersion(y, np.exp(eta), cens), 1)
    out["numpy_scipy_ms"] = milliseconds(
        lambda: plain_objective(eta, y.astype(float), cens, 2.0), 2
    )
    fast = negbin_objective(eta, y, cens, 2.0, dtype=float)
    plain = plain_objective(eta, y.astype(float), cens, 2.0)
    out["largest_difference"] = float(
        max(np.max(np.abs(a - b) / (1.0 + np.abs(b))) for a, b in zip(fast, plain, strict=True))
    )
    typer.echo(json.dumps(out))


if __name__ == "__main__":
    app()
