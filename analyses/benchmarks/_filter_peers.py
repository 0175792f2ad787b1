"""The part of the filter's benchmark that times others on the same series."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from _filter_stages import read, some_series, warm_up

from civstats.demand_filter import (
    BOUND,
    EXACT,
    DemandFilter,
    FilterParameters,
    Observations,
    sample_levels,
    smooth_levels,
)
from civstats.demand_filter.recovery import recover
from civstats.schema import CENSORED, DS, ID, Y, series_index

_DRAWS = 1_000


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what a call returns, with its seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def peers(folder: Path, config: dict[str, Any], say: Callable[[str], object]) -> dict[str, Any]:
    """Time the filter, and others, on the same series, with one thread each."""
    panel = read(folder)
    if config["path"] is not None:
        panel = panel[panel["store_id"] == "CA_1"]
    panel = some_series(panel, config["peer_series"], config["seed"])
    n = len(series_index(panel).ids)
    warm_up(1)
    found: dict[str, Any] = {"series": n, "rows": len(panel)}
    seconds: dict[str, dict[str, float]] = {}
    fitted, fit_s = timed(lambda: DemandFilter(treatment="censor", n_jobs=1).fit(panel))
    _, recover_s = timed(lambda: recover(panel, fitted, n_jobs=1))
    seconds["filter_fit_and_recover"] = {k: fit_s[k] + recover_s[k] for k in fit_s}
    obs, params = fitted.observations(panel), fitted.parameters_
    _, seconds["filter_passes"] = timed(lambda: smooth_levels(obs, params, n_jobs=1))
    say(f"filter: passes {seconds['filter_passes']['wall']:.2f} s")
    _, seconds["unobserved_components"] = timed(lambda: local_levels(panel))
    say(f"UnobservedComponents {seconds['unobserved_components']['wall']:.1f} s")
    auto_ets(panel[panel[ID] == panel[ID].iloc[0]])  # compiles
    _, seconds["auto_ets"] = timed(lambda: auto_ets(panel))
    say(f"AutoETS {seconds['auto_ets']['wall']:.1f} s")
    found["ms_per_series"] = {
        k: {c: round(1e3 * s / n, 3) for c, s in v.items()} for k, v in seconds.items()
    }
    found["ratios"] = {
        f"{other}_to_{own}": {
            c: round(seconds[other][c] / seconds[own][c], 1) for c in seconds[other]
        }
        for other in ("unobserved_components", "auto_ets")
        for own in ("filter_passes", "filter_fit_and_recover")
    }
    if config["nuts_series"]:
        found["nuts"] = against_nuts(obs, params, config, say)
    return found


def local_levels(panel: pd.DataFrame) -> None:
    """Fit statsmodels' local level to every series, stockout days missing, and smooth it."""
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    index = series_index(panel)
    y = np.where(panel[CENSORED], np.nan, panel[Y].to_numpy(dtype=float))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # series of zeros have no variance to find
        for start, end in zip(index.starts, index.ends, strict=True):
            fit = UnobservedComponents(y[start:end], level="llevel").fit(disp=False)
            assert fit.level.smoothed.shape == (end - start,)


def auto_ets(panel: pd.DataFrame) -> None:
    """Fit statsforecast's AutoETS to every series of sales, and forecast four weeks."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS, Naive

    frame = panel[[ID, DS, Y]].astype({ID: str})
    model = StatsForecast([AutoETS(season_length=7)], freq="D", n_jobs=1, fallback_model=Naive())
    model.forecast(df=frame, h=28)


def against_nuts(
    obs: Observations,
    params: FilterParameters,
    config: dict[str, Any],
    say: Callable[[str], object],
) -> dict[str, Any]:
    """Return seconds per effective draw of a level path: NUTS and the filter, series by series."""
    # Evenly spaced by sales among those with the whole calendar.
    long = np.flatnonzero(obs.lengths == obs.lengths.max())
    sold = np.add.reduceat(obs.y, obs.starts)[long]
    place = np.linspace(0, len(long) - 1, config["nuts_series"] + 2).round().astype(int)[1:-1]
    rows = []
    sample_levels(obs.take([0]), params.take([0]), 2, 0, n_jobs=1)  # compiles
    for i in long[np.argsort(sold, kind="stable")][place]:
        one, given = obs.take([i]), params.take([i])
        _, own = timed(partial(sample_levels, one, given, _DRAWS, 0, n_jobs=1))
        row = {"mean_sales": round(float(one.y.mean()), 2), "draw_ms": 1e3 * own["cpu"] / _DRAWS}
        row |= nuts(one, given, config["nuts_draws"], config["seed"])
        row["ratio_smallest"] = row["effective_ms_smallest"] / row["draw_ms"]
        row["ratio_median"] = row["effective_ms_median"] / row["draw_ms"]
        say(
            f"NUTS, {row['mean_sales']} a day: {row['seconds']:.1f} s, effective draws from "
            f"{row['smallest_ess']:.0f}; {row['ratio_smallest']:.0f} times the filter's"
        )
        rows.append({k: round(float(v), 4) for k, v in row.items()})
    ratios = {k: float(np.median([r[k] for r in rows])) for k in ("ratio_smallest", "ratio_median")}
    return {"series": rows, **{f"median_{k}": round(v, 1) for k, v in ratios.items()}}


def nuts(obs: Observations, params: FilterParameters, draws: int, seed: int) -> dict[str, float]:
    """Draw the level of one series by nutpie; CPU seconds with warm-up, without compilation."""
    import arviz as az
    import nutpie
    import pymc as pm
    import pytensor.tensor as pt

    size, step = float(np.ravel(params.dispersion)[0]), float(np.ravel(params.level_sd)[0])
    centre, spread = float(np.ravel(params.prior_mean)[0]), float(np.ravel(params.prior_sd)[0])
    exact = np.flatnonzero(obs.kind == EXACT)
    bound = np.flatnonzero((obs.kind == BOUND) & (obs.y > 0))

    def log_pmf(k: Any, eta: Any) -> Any:
        total = pt.log(size + pt.exp(eta))
        constant = pt.gammaln(k + size) - pt.gammaln(k + 1) - pt.gammaln(size)
        return constant + size * (np.log(size) - total) + k * (eta - total)

    with pm.Model() as model:
        z = pm.Normal("z", 0, 1, shape=obs.n_rows)
        scale = np.r_[spread, np.full(obs.n_rows - 1, step)]
        level = pm.Deterministic("level", centre + pt.cumsum(scale * z))
        eta = level + obs.offset
        pm.Potential("exact", log_pmf(obs.y[exact], eta[exact]).sum())
        if len(bound):
            # The sum below the bound: its gradient costs half of the incomplete beta's.
            below = np.arange(obs.y[bound].max())
            short = below < obs.y[bound][:, None]
            logs = pt.where(short, log_pmf(below, eta[bound][:, None]), -np.inf)
            pm.Potential("bound", pt.log1mexp(pt.logsumexp(logs, axis=1)).sum())
    compiled = nutpie.compile_pymc_model(model)
    options = {"chains": 2, "cores": 1, "seed": seed, "progress_bar": False}
    trace, spent = timed(partial(nutpie.sample, compiled, draws=draws, tune=500, **options))
    ess = az.ess(trace, var_names=["level"])["level"].to_numpy()
    return {
        "seconds": spent["cpu"],
        "smallest_ess": float(ess.min()),
        "median_ess": float(np.median(ess)),
        "effective_ms_smallest": 1e3 * spent["cpu"] / float(ess.min()),
        "effective_ms_median": 1e3 * spent["cpu"] / float(np.median(ess)),
    }
