"""Effective draws per second of the Bayesian model against its textbook version, one run."""

from __future__ import annotations

import json
import os
import time
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

app = typer.Typer(add_completion=False)


def make_sales(n_series: int, n_days: int, rate: float, seed: int) -> pd.DataFrame:
    """Draw a synthetic panel with stockouts that an inventory policy brings about."""
    from civstats.data.synthetic import make_panel
    from civstats.stockouts.simulate import simulate_stockouts

    made = make_panel(
        n_series=n_series, n_days=n_days, n_departments=1, n_stores=1, n_states=1, seed=seed
    )
    return simulate_stockouts(made, mechanism="inventory", rate=rate, seed=seed)


def textbook(panel: pd.DataFrame, model: Any) -> Any:
    """Write the same model as a textbook would: ``pm.Censored`` on all rows, levels non-centred."""
    import pymc as pm
    import pytensor.tensor as pt

    layout, priors = model._layout, model.priors
    y = panel["y"].to_numpy(dtype=float)
    out = panel["is_censored"].to_numpy()
    spoken = ~(out & (y == 0))
    node, series = layout.node[spoken], layout.node_series
    heads = layout.starts[:-1]
    # Right-censored at sales on stockout days, nowhere else; ties count as sold out.
    upper = np.where(out, y, np.inf)[spoken]
    with pm.Model(coords={"node": np.arange(layout.n_nodes)}) as made:
        intercept = priors.intercept.variable("intercept")
        spread = priors.series_sd.variable("series_sd")
        drift = priors.drift_sd.variable("drift_sd") if layout.drifts else 1.0
        raw = pm.Normal("level_raw", 0.0, 1.0, shape=layout.n_nodes)
        # Expected demand is a martingale there, too.
        fall = drift / 2 if layout.drifts else 0.0
        steps = pt.set_subtensor((drift * (raw - fall))[heads], intercept + spread * raw[heads])
        walked = pt.cumsum(steps)
        level = pm.Deterministic("level", walked - (walked - steps)[heads][series], dims="node")
        eta = level[node]
        if len(layout.prior_sd):
            beta = pm.Normal("coefficient", 0.0, layout.prior_sd * priors.coefficient_scale)
            eta = eta + pt.dot(layout.matrix[spoken].astype(float), beta)
        dispersion = priors.dispersion.variable("dispersion")
        demand = pm.NegativeBinomial.dist(mu=pt.exp(eta), alpha=dispersion)
        pm.Censored("sales", demand, lower=None, upper=upper, observed=y[spoken])
    return made


def least_ess(posterior: Any, names: list[str]) -> float:
    """Return the least bulk effective sample size over every parameter."""
    import arviz as az

    ess = az.ess(posterior[names])
    return min(float(ess[n].min()) for n in names)


@app.command()
def main(
    series: Annotated[int, typer.Option(help="Number of series.")] = 150,
    days: Annotated[int, typer.Option(help="Days of history.")] = 60,
    rate: Annotated[float, typer.Option(help="Share of stockout days.")] = 0.25,
    draws: Annotated[int, typer.Option(help="Draws of a chain.")] = 500,
    tune: Annotated[int, typer.Option(help="Warm-up of a chain.")] = 500,
    textbook_draws: Annotated[int, typer.Option(help="Draws and warm-up of the textbook.")] = 500,
    chains: Annotated[int, typer.Option(help="Chains, one per core.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
) -> None:
    """Print a JSON object: least bulk ESS per second of both, with and without compile time.

    The same model, priors and data; every parameter counts, the weekly levels included. Sampling
    seconds hold the warm-up. The textbook's ESS is what its draws give, converged or not: R-hat
    says which.
    """
    import arviz as az
    import pymc as pm

    from civstats.models.bayes import BayesDemand
    from civstats.models.bayes import _samplers as samplers

    panel = make_sales(series, days, rate, seed)
    model = BayesDemand(harmonics=0, draws=draws, tune=tune, chains=chains, seed=seed)
    began = time.perf_counter()
    model.build(panel)
    model._compiled = samplers.compile_nutpie(model.model_)
    compiled = time.perf_counter()
    model.sample()
    ended = time.perf_counter()
    names = ["intercept", "series_sd", "drift_sd", "coefficient", "dispersion", "level"]
    out: dict[str, Any] = {
        "series": series,
        "days": days,
        "censored": round(float(panel["is_censored"].mean()), 3),
        "parameters": int(model._compiled.n_dim),
        "load_before": round(os.getloadavg()[0], 2),
    }

    def report(posterior: Any, diverging: Any, compile_s: float, sample_s: float) -> dict[str, Any]:
        kept = [n for n in names if n in posterior]
        ess = least_ess(posterior, kept)
        return {
            "compile_s": round(compile_s, 1),
            "sample_s": round(sample_s, 1),
            "least_ess": round(ess, 1),
            "highest_rhat": round(float(az.rhat(posterior[kept]).to_array().max()), 3),
            "diverging": int(diverging.sum()),
            "ess_per_s": ess / sample_s,
            "ess_per_s_with_compile": ess / (sample_s + compile_s),
        }

    stats = model.idata_.sample_stats
    out["civstats"] = report(
        model.idata_.posterior, stats["diverging"], compiled - began, ended - compiled
    )
    began = time.perf_counter()
    made = textbook(panel, model)
    made.compile_logp()(made.initial_point())
    made.compile_dlogp()(made.initial_point())
    compiled = time.perf_counter()
    with made:
        drawn = pm.sample(
            textbook_draws, tune=textbook_draws, chains=chains, cores=chains, random_seed=seed,
            progressbar=False, compute_convergence_checks=False,
        )  # fmt: skip
    ended = time.perf_counter()
    out["textbook"] = report(
        drawn.posterior, drawn.sample_stats["diverging"], compiled - began, ended - compiled
    )
    for key in ("ess_per_s", "ess_per_s_with_compile"):
        out[f"ratio_{key}"] = round(out["civstats"][key] / out["textbook"][key], 1)
    typer.echo(json.dumps(out))


if __name__ == "__main__":
    app()
