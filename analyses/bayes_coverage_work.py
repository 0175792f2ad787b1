"""One replication of `bayes_coverage.py`: a world fitted, its lost units held against the truth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from civstats.data.synthetic import WorldParameters, make_panel
from civstats.schema import DEMAND, DS, ID, Y
from civstats.stockouts.simulate import simulate_stockouts

TAIL = 0.1
"""Left out on either side of an 80 % interval."""
_MEAN_DRAWS = 60


def make_world(config: dict, seed: int) -> pd.DataFrame:
    """Draw a panel with known demand and inventory stockouts.

    Every item is there from the first day, so that all replications have the same weeks and one
    compiled model serves them.
    """
    made = make_panel(
        n_series=config["series"],
        n_days=config["days"],
        seed=seed,
        parameters=WorldParameters(launch_share=0.0),
    )
    return simulate_stockouts(made, mechanism="inventory", rate=config["rate"], seed=seed)


def series_months(panel: pd.DataFrame, rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the series-month of each of `rows`, 0, 1, ..., and how many there are."""
    day = panel[DS].to_numpy()[rows].astype("datetime64[M]").astype(np.int64)
    series = panel[ID].cat.codes.to_numpy()[rows].astype(np.int64)
    found, code = np.unique(np.column_stack([series, day]), axis=0, return_inverse=True)
    return code.ravel(), len(found)


def interval_scores(
    draws: np.ndarray, truth: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """Score 80 % intervals of sums, whole numbers mostly.

    Parameters
    ----------
    draws : numpy.ndarray, shape (n, n_draws)
        Of the posterior predictive sums, exchangeable.
    truth : numpy.ndarray, shape (n,)
    rng : numpy.random.Generator
        Breaks ties in the randomised coverage.

    Returns
    -------
    dict
        ``covered``: share of truths inside the interval, ends included. ``expected``: share that
        the model itself puts there: intervals are made of one half of the draws, and this is the
        share of the other half, which did not make them. ``randomised``: share of truths whose
        rank among all draws, ties broken at random, lies in the middle 80 %: 0.8 is expected,
        however coarse the counts.
    """
    made, held = draws[:, ::2], draws[:, 1::2]
    low = np.quantile(made, TAIL, axis=1, method="inverted_cdf")
    high = np.quantile(made, 1 - TAIL, axis=1, method="inverted_cdf")
    inside = (held >= low[:, None]) & (held <= high[:, None])
    below, ties = (draws < truth[:, None]).sum(axis=1), (draws == truth[:, None]).sum(axis=1)
    rank = (below + rng.random(len(truth)) * (ties + 1)) / (draws.shape[1] + 1)
    return {
        "covered": float(((truth >= low) & (truth <= high)).mean()),
        "expected": float(inside.mean()),
        "randomised": float(((rank > TAIL) & (rank < 1 - TAIL)).mean()),
    }


def score(panel: pd.DataFrame, found: Any, mean: np.ndarray, seed: int) -> dict[str, float]:
    """Hold a recovery and mean demand by day against known demand.

    Parameters
    ----------
    panel : pandas.DataFrame
        With ``demand``.
    found : Recovery
        With draws.
    mean : numpy.ndarray, shape (n_rows,)
        Estimated mean demand.
    seed : int
    """
    demand = panel[DEMAND].to_numpy(dtype=float)
    rows = found.rows
    y = panel[Y].to_numpy(dtype=float)[rows]
    lost = demand[rows] - y
    code, n = series_months(panel, rows)
    drawn = found.samples.astype(float) - y[:, None]
    order = np.argsort(code, kind="stable")
    starts = np.searchsorted(code[order], np.arange(n))
    sums = np.add.reduceat(drawn[order], starts, axis=0)
    truth = np.bincount(code, lost, minlength=n)
    total = sums.sum(axis=0)
    low, high = np.quantile(total, [TAIL, 1 - TAIL], method="inverted_cdf")
    out = {
        "stockout_days": float(len(rows) / len(panel)),
        "bias": float(mean.sum() / demand.sum() - 1.0),
        "series_months": float(n),
        "lost": float(lost.sum()),
        "lost_mean": float(total.mean()),
        "lost_low": float(low),
        "lost_high": float(high),
        "lost_inside": float(low <= lost.sum() <= high),
    }
    return out | interval_scores(sums, truth, np.random.default_rng(seed))


def health(model: Any) -> dict[str, float]:
    """Return the worst R-hat and bulk ESS of every parameter, and divergences."""
    import arviz as az

    posterior = model.idata_.posterior
    rhat, ess = az.rhat(posterior), az.ess(posterior)
    return {
        "rhat": max(float(rhat[n].max()) for n in posterior),
        "ess": min(float(ess[n].min()) for n in posterior),
        "divergences": float(model.idata_.sample_stats["diverging"].sum()),
    }


def replicate(model: Any, config: dict, seed: int) -> dict[str, float]:
    """Draw a world, fit it, score it."""
    panel = make_world(config, seed)
    began = time.process_time()
    model.fit(panel)
    taken = time.process_time() - began
    total = config["draws"] * config["chains"]
    some = np.linspace(0, total - 1, min(_MEAN_DRAWS, total)).astype(int)
    eta, family = model.predictor(some)
    mean = np.asarray(family.mean(eta)).mean(axis=0)
    found = model.recover(n_draws=config["recovered"], seed=seed)
    return {"seed": seed, "cpu_s": taken} | score(panel, found, mean, seed) | health(model)


def run_replications(config: dict, folder: Path | None, tell: Any = None) -> pd.DataFrame:
    """Run every replication; what lies in `folder` from an earlier run of the same is kept."""
    import json

    from civstats._io import atomic
    from civstats.models.bayes import BayesDemand

    sampling = {k: config[k] for k in ("draws", "tune", "chains")}
    model = BayesDemand(treatment="censor", n_jobs=config["jobs"], **sampling)
    settings = {k: v for k, v in config.items() if k not in ("replicates", "jobs", "seed")}
    parts = []
    for seed in range(config["seed"], config["seed"] + config["replicates"]):
        stored = folder / f"replicate_{seed}.json" if folder else None
        if stored and stored.exists():
            kept = json.loads(stored.read_text())
            if kept["settings"] == settings:
                parts.append(kept["scores"])
                continue
        model.seed = seed
        found = replicate(model, config, seed)
        if stored:
            stored.parent.mkdir(parents=True, exist_ok=True)
            with atomic(stored) as part:
                part.write_text(json.dumps({"settings": settings, "scores": found}))
        parts.append(found)
        if tell:
            tell(len(parts))
    return pd.DataFrame(parts)
