"""What `posterior_review.py` computes from a fitted model: everything its report shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from posterior_pooling import pooling_table

from civstats.censoring import unseen_mean
from civstats.demand_filter import BOUND, EXACT
from civstats.diagnostics import (
    Loo,
    gates,
    parameter_table,
    posterior_pit,
    predictive_check,
    prior_sensitivity,
    psis_loo,
    sampler_table,
    scalars,
)
from civstats.evaluation.calibration import pit_histogram, pit_uniformity
from civstats.schema import ID, CivstatsError, Y

if TYPE_CHECKING:
    from civstats.models.bayes import BayesDemand

_CELLS = 4_000_000
"""Draws times rows at a time: 32 MB an array."""
LOST = "lost units"
_LOO_DRAWS = 1_000
_MANY = 40
"""A variable of more scalars is not shown one by one."""


@dataclass
class Found:
    """What the review found; what follows the gates is absent where they fail.

    Attributes
    ----------
    parameters, sampler, gates : pandas.DataFrame
        Of `civstats.diagnostics`.
    draws : dict of name to numpy.ndarray, shape (chain, draw)
        Of the parameters that are plotted.
    lost : pandas.DataFrame
        Expected lost units by group.
    problems : list
        What the model said before sampling.
    """

    parameters: pd.DataFrame
    sampler: pd.DataFrame
    gates: pd.DataFrame
    draws: dict[str, np.ndarray]
    lost: pd.DataFrame
    problems: list[Any]
    prior_check: pd.DataFrame | None = None
    sales_check: pd.DataFrame | None = None
    demand_check: pd.DataFrame | None = None
    loo: Loo | None = None
    loo_series: Loo | None = None
    loo_rows: np.ndarray | None = None
    histogram: pd.DataFrame | None = None
    uniformity: pd.DataFrame | None = None
    sensitivity: pd.DataFrame | None = None
    pooling: pd.DataFrame | None = None
    forest: pd.DataFrame | None = None
    agreement: pd.DataFrame | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def diagnose(model: BayesDemand, panel: pd.DataFrame) -> Found:
    """Hold the posterior against its gates, the lost units that are reported among them."""
    lost = lost_units(model, panel)
    table = parameter_table(model.idata_)
    # Nothing was lost where there is no stockout, or none that is told as one.
    mine = table.iloc[:0]
    if lost:
        mine = parameter_table(lost)
        table = pd.concat([table, mine], ignore_index=True)
    held = gates(model.idata_, parameters=table)
    return Found(
        table,
        sampler_table(model.idata_),
        held,
        plotted(model, table, lost),
        mine,
        list(model.problems_),
    )


def review(model: BayesDemand, panel: pd.DataFrame, config: dict, found: Found) -> None:
    """Add the checks, which a posterior that fails its gates does not deserve."""
    n, seed = config["checked"], config["seed"]
    by = "dept_id" if len(departments_of(panel)) > 1 else None
    prior = model.prior_predictive(n, seed)["demand"].transpose("sample", "row").to_numpy()
    found.prior_check = predictive_check(panel, prior, by=by)
    demand, completed = completed_pair(model, n, seed)
    found.sales_check = predictive_check(panel, demand, by=by)
    if model.treatment == "censor":
        found.demand_check = predictive_check(panel, demand, completed=completed, by=by)
    leave_out(model, panel, config, found)
    found.sensitivity = sensitivity(model, panel)
    found.pooling = pooling_table(model, panel)
    found.facts["level unit"] = "mean days" if model.family == "normal" else "log units"
    found.forest = forest_table(model)
    found.agreement = agreement(model, panel)


def lost_units(model: BayesDemand, panel: pd.DataFrame) -> dict[str, np.ndarray]:
    """Expected units lost on past stockout days, all and by department, (chain, draw) each."""
    data = model.idata_.constant_data
    kind, y = data["kind"].to_numpy(), panel[Y].to_numpy(dtype=float)
    share = data["exposure"].to_numpy().astype(float)
    rows = np.flatnonzero((kind != EXACT) | (share < 1))
    shape = tuple(model.idata_.posterior.sizes[d] for d in ("chain", "draw"))
    names = {LOST: np.ones(len(rows), dtype=bool)}
    groups = departments_of(panel)
    if len(groups) > 1:
        dept = panel["dept_id"].to_numpy()[rows]
        names |= {f"{LOST}, {d}": dept == d for d in groups}
    out = {name: np.zeros(shape) for name in names}
    if not len(rows) or model.treatment != "censor":
        return {}
    bound = np.where(kind[rows] == BOUND, y[rows], 0.0)
    part = kind[rows] == EXACT
    for draws in chunks(shape[0] * shape[1], len(rows)):
        eta, family = model.predictor(draws=draws, rows=rows)
        rest = unseen_mean(family, y[rows], eta, np.where(part, share[rows], 1.0))
        lost = np.where(part, rest, family.conditional_mean(bound, eta) - y[rows])
        for name, mine in names.items():
            out[name].ravel()[draws] = lost[:, mine].sum(axis=1)
    return out


def departments_of(panel: pd.DataFrame) -> list[str]:
    """Names of the panel's departments, if it has any."""
    if "dept_id" not in panel:
        return []
    return [str(d) for d in panel["dept_id"].cat.remove_unused_categories().cat.categories]


def chunks(n_draws: int, n_rows: int) -> list[np.ndarray]:
    """Cut draws into runs whose arrays fit in little memory."""
    size = max(1, _CELLS // max(n_rows, 1))
    return [np.arange(k, min(k + size, n_draws)) for k in range(0, n_draws, size)]


def spread(n_draws: int, wanted: int) -> np.ndarray:
    """Positions of draws spread evenly over all chains laid end to end."""
    n = min(wanted, n_draws)
    return np.floor((np.arange(n) + 0.5) * n_draws / n).astype(int)


def total_draws(model: BayesDemand) -> int:
    """Draws of all chains."""
    sizes = model.idata_.posterior.sizes
    return int(sizes["chain"] * sizes["draw"])


def plotted(
    model: BayesDemand, table: pd.DataFrame, lost: dict[str, np.ndarray], most: int = 8
) -> dict[str, np.ndarray]:
    """Choose what is plotted: the worst by R-hat and ESS, the lost units, then the scales."""
    known = table[np.isfinite(table["rhat"])]
    worst = [
        *known.nlargest(2, "rhat")["parameter"],
        *known.nsmallest(2, "ess_bulk")["parameter"],
        *list(lost)[:1],
        *known.loc[known["variable"].str.endswith("_sd"), "parameter"],
        *known.loc[known["variable"].isin(["dispersion", "noise", "intercept"]), "parameter"],
    ]
    names = list(dict.fromkeys(worst))[:most]
    out = scalars(model.idata_, [n for n in names if n not in lost])
    out |= {n: x for n, x in lost.items() if n in names}
    return {n: out[n] for n in names if n in out}


def completed_pair(model: BayesDemand, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw replicated demand and the panel's own completed demand under the same parameters."""
    data = model.idata_.constant_data
    kind, y = data["kind"].to_numpy(), data["y"].to_numpy().astype(float)
    exposure = data["exposure"].to_numpy().astype(float)
    bound = np.flatnonzero(kind == BOUND)
    share = np.where(kind == EXACT, np.maximum(exposure, 1e-12), 1.0)
    rng = np.random.default_rng([seed, 5])
    demand, completed = [], []
    positions = spread(total_draws(model), n)
    for at in chunks(len(positions), len(y)):
        eta, family = model.predictor(draws=positions[at])
        demand.append(np.maximum(family.sample(eta, rng, exposure=share), 0).astype(np.float32))
        full = np.repeat(y[None].astype(np.float32), len(at), axis=0)
        if len(bound):
            eta, family = model.predictor(draws=positions[at], rows=bound)
            full[:, bound] = family.sample_above(y[bound], eta, rng)
        completed.append(full)
    return np.concatenate(demand), np.concatenate(completed)


def leave_out(model: BayesDemand, panel: pd.DataFrame, config: dict, found: Found) -> None:
    """PSIS-LOO of days and of series, and the PIT of days left out."""
    data = model.idata_.constant_data
    live = np.flatnonzero(data["kind"].to_numpy() != 2)
    rng = np.random.default_rng([config["seed"], 6])
    rows = live
    if len(live) > config["rows"]:
        rows = np.sort(rng.choice(live, config["rows"], replace=False))
    draws = spread(total_draws(model), _LOO_DRAWS)
    loglik = model.pointwise(rows=rows, draws=draws)
    found.loo, found.loo_rows = psis_loo(loglik), rows
    eta, family = model.predictor(draws=draws, rows=rows)
    exposure = data["exposure"].to_numpy().astype(float)[rows]
    exact = data["kind"].to_numpy()[rows] == EXACT
    share = np.where(exact, np.maximum(exposure, 1e-12), 1.0)
    values = posterior_pit(
        panel, eta, family, rows=rows, loo=found.loo, exposure=share, seed=config["seed"],
        treatment=model.treatment,
    )  # fmt: skip
    found.histogram = pit_histogram(values, n_boot=config["boot"], seed=config["seed"], block=7)
    found.uniformity = pit_uniformity(values, n_boot=config["boot"], seed=config["seed"], block=7)
    sums = np.zeros((len(draws), panel[ID].nunique()))
    series = data["series"].to_numpy()
    for at in chunks(len(live), len(draws)):
        mine = live[at]
        part = model.pointwise(rows=mine, draws=draws)
        for s in np.unique(series[mine]):
            sums[:, s] += part[:, series[mine] == s].sum(axis=1)
    found.loo_series = psis_loo(sums, leave_out="series")


def sensitivity(model: BayesDemand, panel: pd.DataFrame) -> pd.DataFrame:
    """Power-scale the named priors, for what is shared and for the lost units."""
    posterior = model.idata_.posterior
    chains, n = posterior.sizes["chain"], posterior.sizes["draw"]
    keep = spread(n, max(_LOO_DRAWS // chains, 100))
    flat = (np.arange(chains)[:, None] * n + keep).ravel()
    kind = model.idata_.constant_data["kind"].to_numpy()
    live = np.flatnonzero(kind != 2)
    total = np.zeros(len(flat))
    for at in chunks(len(flat), len(live)):
        total[at] = model.pointwise(rows=live, draws=flat[at]).sum(axis=1)
    small = {
        str(v): posterior[v].isel(draw=keep).to_numpy()
        for v in posterior.data_vars
        if np.prod(posterior[v].shape[2:], initial=1) <= _MANY
    }
    lost = {k: x[:, keep] for k, x in lost_units(model, panel).items()}
    prior = {k: np.asarray(v)[:, keep] for k, v in model.log_prior().items()}
    named = posterior.isel(draw=keep)[list(small)]
    for k, x in lost.items():
        named[k] = (("chain", "draw"), x)
    return prior_sensitivity(named, prior, total.reshape(chains, -1))


def forest_table(model: BayesDemand) -> pd.DataFrame:
    """Bands by department of whatever a department has of its own."""
    posterior = model.idata_.posterior
    rows = []
    for name in ("department_effect", "drift_sd", "dispersion", "noise", "zero_prob"):
        if name not in posterior:
            continue
        array = posterior[name].transpose("chain", "draw", "department").to_numpy()
        found = np.quantile(array.reshape(-1, array.shape[2]), [0.1, 0.25, 0.5, 0.75, 0.9], axis=0)
        middle = float(np.median(found[2]))
        for k, department in enumerate(posterior["department"].to_numpy()[:30]):
            lo80, lo50, mid, hi50, hi80 = found[:, k]
            rows.append(
                (name.replace("_", " "), str(department), mid, lo50, hi50, lo80, hi80, middle)
            )
    columns = ["panel", "row", "median", "lo50", "hi50", "lo80", "hi80", "reference"]
    return pd.DataFrame(rows, columns=columns)


def agreement(model: BayesDemand, panel: pd.DataFrame) -> pd.DataFrame:
    """Compare mean demand by series with that of the demand filter, the engine at scale."""
    from civstats.demand_filter import DemandFilter
    from civstats.demand_filter.recovery import recover
    from civstats.schema import LEVEL_SMOOTHED

    fitted = DemandFilter(treatment=model.treatment, family=model.family).fit(panel)
    theirs = recover(panel, fitted, levels=()).frame[LEVEL_SMOOTHED].to_numpy(dtype=float)
    mine = np.zeros(len(panel))
    positions = spread(total_draws(model), 200)
    for at in chunks(len(positions), len(panel)):
        eta, family = model.predictor(draws=positions[at])
        mine += family.mean(eta).sum(axis=0) / len(positions)
    frame = pd.DataFrame({"id": panel[ID].array, "bayes": mine, "filter": theirs})
    return frame.groupby("id", observed=True).mean().reset_index()


def require_counts(config: dict, panel: pd.DataFrame) -> None:
    """Refuse fractional sales under a family of counts, with the way out."""
    off = int((panel[Y] % 1 != 0).sum())
    if off and config["family"] != "normal":
        raise CivstatsError(
            f"{off} row(s) have fractional sales, which {config['family']} cannot have made: use "
            "--family normal"
        )
