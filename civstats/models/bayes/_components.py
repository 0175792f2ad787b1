"""The parts of the model: pooled base, drifting level, offsets, censored likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from scipy import special

from civstats.demand_filter.layout import EXACT
from civstats.models.bayes._hints import Hints
from civstats.models.bayes._layout import BLOCKS, Cells, Layout, Sales, descent_of
from civstats.models.bayes._ops import CountDays, Inform, NormalDays, Walk, applied
from civstats.models.bayes.priors import Priors

WHITENED, CENTRED, NONCENTRED = "whitened", "centred", "noncentred"
PARAMETRISATIONS = (WHITENED, CENTRED, NONCENTRED)


class Data:
    """Arrays of the model, shared under their names, so that others can take their place."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._shared = {n: pytensor.shared(a, name=f"_{n}") for n, a in arrays.items()}

    def __getitem__(self, name: str) -> Any:
        return self._shared[name]

    def many(self, *names: str) -> list[Any]:
        """Return several arrays."""
        return [self._shared[n] for n in names]


def informed(
    name: str, mean: Any, sd: Any, hint: Any, strength: Any, shape: tuple[int, ...]
) -> Any:
    """Return effects that are normal about `mean`, laid out by how much is known of them.

    With a hint of variance 1 / strength the effect is what its normal posterior would make of a
    standard normal number: centred where strength is high, non-centred where it is 0, whatever sd
    is. The density is that of the prior alone, exactly; hints only make sampling quick.
    """
    size = int(np.prod(shape))
    raw = pm.Normal(f"{name}_raw", 0.0, 1.0, shape=size)
    full = [
        (pt.as_tensor_variable(x).astype("float64") + np.zeros(shape)).ravel()
        for x in (mean, sd, hint, strength)
    ]
    value, change = applied(Inform(), raw, *full)
    pm.Potential(f"{name}_change", change)
    return value.reshape(shape)


def _informed_by(name: str, hint: Any, strength: Any) -> Any:
    """Return standard normal effects laid out as by :func:`informed`, `strength` being a variable."""
    raw = pm.Normal(f"{name}_raw", 0.0, 1.0, shape=hint.get_value().shape)
    precision = 1.0 + strength
    value = strength * hint / precision + raw / pt.sqrt(precision)
    change = pt.square(raw) - pt.square(value) - pt.log(precision)
    pm.Potential(f"{name}_change", 0.5 * change.sum())
    return value


def contrasts(n: int) -> np.ndarray:
    """Return an orthonormal basis of the vectors that sum to zero, shape (n, n - 1)."""
    upper = np.tril(np.ones((n, n - 1)), -1) * 0.0
    for k in range(1, n):
        upper[:k, k - 1] = 1.0
        upper[k, k - 1] = -float(k)
    out: np.ndarray = upper / np.sqrt(np.square(upper).sum(axis=0))
    return out


def _zero_sum(name: str, sd: Any, hint: np.ndarray, strength: float) -> Any:
    """Return effects that sum to zero, exchangeable normal with scale `sd` otherwise."""
    basis = contrasts(len(hint))
    found = informed(name, 0.0, sd, basis.T @ hint, strength, (len(hint) - 1,))
    return pm.Deterministic(f"{name}_effect", pt.dot(basis, found), dims=name)


def model_arrays(
    layout: Layout, sales: Sales, hints: Hints, priors: Priors
) -> dict[str, np.ndarray]:
    """Return every array that the model reads."""
    turn, turned_hint, turned_strength = hints.known.together(
        layout.prior_sd * priors.coefficient_scale, hints.between_sd
    )
    own_turn, own_hint, own_strength = hints.known.apart(layout.block)
    obs = sales.obs
    units = obs.y[obs.kind == EXACT]
    one = np.zeros(len(layout.dates), dtype=np.int64)
    one[layout.date] = np.arange(len(layout.date))
    out = {
        "pseudo": hints.pseudo,
        "info": hints.info,
        "weekly": hints.weekly,
        "hinted": hints.coefficients[:, hints.slow],
        "dated": layout.matrix[one][:, layout.by_date],
        "above": sales.above,
        # Less what no parameter moves, so that the likelihood is that of scipy to the last digit.
        "constant": np.array(-special.gammaln(units + 1.0).sum()),
        "item_hint": hints.item,
        "item_strength": hints.item_strength,
        "department_turn": own_turn,
        "department_hint": own_hint,
        "department_strength": own_strength,
        "turn": turn,
        "turned_hint": turned_hint,
        "turned_strength": turned_strength,
    }
    share = np.ones(obs.n_rows) if obs.exposure is None else obs.exposure
    for part, cells in (("exact", sales.exact), ("bound", sales.bound)):
        at: Cells = cells
        out |= {
            f"{part}_node": layout.node[at.row],
            f"{part}_date": layout.date[at.row],
            f"{part}_group": layout.row_department[at.row],
            f"{part}_own": layout.matrix[at.row][:, ~layout.by_date],
            f"{part}_share": share[at.row] if part == "exact" else np.ones(len(at.row)),
            f"{part}_days": at.days,
            f"{part}_value": at.value,
        }
    return {
        n: np.ascontiguousarray(a, dtype=np.int64 if a.dtype.kind in "iu" else np.float64).reshape(
            a.shape
        )
        for n, a in out.items()
    }


@dataclass(frozen=True)
class Base:
    """Where a series' first level comes from: log units a day, shape (n_series,), and its spread."""

    mean: Any
    spread: Any


def pooled_base(layout: Layout, priors: Priors, hints: Hints, data: Data) -> Base:
    """Partial pooling: an intercept, departments, their items, stores, and series around them.

    Effects of departments and of stores sum to zero: the intercept is their mean.
    """
    intercept = priors.intercept.variable("intercept", initval=hints.intercept)
    mean = intercept
    if layout.has_departments:
        sd = priors.department_sd.variable("department_sd", initval=0.3)
        effect = _zero_sum("department", sd, hints.department, hints.department_strength)
        mean = mean + effect[layout.item_department if layout.has_items else layout.department]
    if layout.has_items:
        sd = priors.item_sd.variable("item_sd", initval=1.0)
        hint, strength = data["item_hint"], data["item_strength"]
        found = informed("item", mean, sd, hint, strength, (len(layout.names["item"]),))
        mean = pm.Deterministic("item_level", found, dims="item")[layout.item]
    if layout.has_stores:
        sd = priors.store_sd.variable("store_sd", initval=0.3)
        effect = _zero_sum("store", sd, hints.store, hints.store_strength)
        mean = mean + effect[layout.store]
    spread = priors.series_sd.variable("series_sd", initval=0.5)
    return Base(mean + pt.zeros(len(layout.names["series"])), spread)


def coefficients(layout: Layout, priors: Priors, hints: Hints, data: Data) -> Any:
    """Coefficients of the regressors by department, shape (n_departments, n_regressors)."""
    k, n = len(layout.names["regressor"]), len(layout.names["department"])
    if k == 0:
        return pt.zeros((n, 0))
    scale = layout.prior_sd * priors.coefficient_scale
    turn, said = data["turn"], data["turned_strength"]
    if layout.has_departments:
        present, of = np.unique(layout.block, return_inverse=True)
        sd = priors.coefficient_sd.variable(
            "coefficient_sd", dims="block", initval=np.full(len(present), 0.1)
        )
        # What departments say together of their mean depends on how far they may be from it: with
        # a strength that follows the spread, mean and spread are apart, and there is no funnel.
        apart = pt.dot(pt.square(turn).T, pt.square(sd[of] / scale)) / n
        said = said / (1.0 + said * apart)
    turned = _informed_by("mean", data["turned_hint"], said)
    pooled = pm.Deterministic("coefficient", scale * pt.dot(turn, turned), dims="regressor")
    if not layout.has_departments:
        return pooled[None, :]
    # A department's own are laid out in directions, too: of events on the same days it knows the
    # sum, and the rest must follow the mean.
    own_turn = data["department_turn"]
    mean = (own_turn * pooled[None, :, None]).sum(axis=1)
    hint, strength = data["department_hint"], data["department_strength"]
    directions = informed("coefficient", mean, sd[of][None, :], hint, strength, (n, k))
    beta = (own_turn * directions[:, None, :]).sum(axis=2)
    return pm.Deterministic("department_coefficient", beta, dims=("department", "regressor"))


def drifting_level(
    layout: Layout,
    priors: Priors,
    hints: Hints,
    base: Base,
    beta: Any,
    data: Data,
    parametrisation: str,
    descent: float,
) -> Any:
    """Weekly levels of every series, random walks that start around their base, shape (n_nodes,).

    A step falls by `descent` times its variance; see :func:`descent_of`.
    """
    n, node_series = layout.n_nodes, layout.node_series
    drift: Any = pt.ones(len(layout.names["department"]))
    if layout.drifts:
        drift = priors.drift_sd.variable("drift_sd", dims="department", initval=hints.drift_sd)
    if parametrisation == WHITENED:
        raw = pm.Normal("level_raw", 0.0, 1.0, shape=n)
        known = data.many("pseudo", "info", "weekly", "hinted")
        fixed = (hints.slow, layout.department, layout.starts, descent)
        level, density = applied(Walk(), raw, base.mean, drift, base.spread, beta, *known, *fixed)
        pm.Potential("level_change", density)
        return pm.Deterministic("level", level, dims="node")
    heads = layout.starts[:-1]
    by_series = drift[layout.department]
    if parametrisation == NONCENTRED:
        raw = pm.Normal("level_raw", 0.0, 1.0, shape=n)
        sd = by_series[node_series]
        steps = pt.set_subtensor(
            (sd * (raw - descent * sd))[heads], base.mean + base.spread * raw[heads]
        )
        walked = pt.cumsum(steps)
        return pm.Deterministic("level", walked - (walked - steps)[heads][node_series], dims="node")
    later = np.setdiff1d(np.arange(n), heads)
    level = pm.Flat("level", dims="node", initval=hints.level)
    density = pm.logp(pm.Normal.dist(base.mean, base.spread), level[heads]).sum()
    if len(later):
        sd = by_series[node_series[later]]
        step = pm.Normal.dist(-descent * sd**2, sd)
        density = density + pm.logp(step, level[later] - level[later - 1]).sum()
    pm.Potential("level_change", density)
    return level


def likelihood(
    layout: Layout, priors: Priors, hints: Hints, level: Any, beta: Any, data: Data, family: str
) -> None:
    """Add the censored log-likelihood of all days."""
    n = len(layout.names["department"])
    shared, own = np.flatnonzero(layout.by_date), np.flatnonzero(~layout.by_date)
    parts = ("node", "date", "group", "own", "share", "days", "value")
    if family == "normal":
        noise = priors.noise.variable("noise", dims="department", initval=hints.noise)
        rows = [
            pt.concatenate([data[f"exact_{c}"], data[f"bound_{c}"]]) for c in parts if c != "days"
        ]
        days = [pt.zeros_like(data["exact_node"]), pt.ones_like(data["bound_node"])]
        is_bound = pt.concatenate(days)
        made = applied(
            NormalDays(), level, beta, noise, data["dated"], shared, own, *rows, is_bound
        )
        pm.Potential("days", made[0])
        return
    alpha: Any = pt.zeros(n)
    if family != "poisson":
        prior = priors.dispersion
        alpha = 1 / prior.variable("dispersion", dims="department", initval=hints.dispersion)
    zero: Any = pt.zeros(n)
    if family == "zero_inflated_negbin":
        zero = priors.zero_prob.variable("zero_prob", dims="department", initval=hints.zero_prob)
    exact = data.many(*(f"exact_{c}" for c in parts))
    bound = data.many(*(f"bound_{c}" for c in parts if c != "share"))
    tables = data["above"], data["constant"]
    made = applied(
        CountDays(), level, beta, alpha, zero, data["dated"], shared, own, *tables, *exact, *bound
    )
    pm.Potential("days", made[0])


def build_model(
    layout: Layout,
    priors: Priors,
    hints: Hints,
    arrays: dict[str, np.ndarray],
    family: str,
    parametrisation: str,
) -> pm.Model:
    """Put the parts together."""
    names = layout.names
    coords: dict[str, Any] = {
        "department": names["department"],
        "node": np.arange(layout.n_nodes),
        "regressor": names["regressor"],
        "block": [BLOCKS[b] for b in np.unique(layout.block)],
    }
    if layout.has_items:
        coords["item"] = names["item"]
    if layout.has_stores:
        coords["store"] = names["store"]
    with pm.Model(coords=coords) as model:
        data = Data(arrays)
        base = pooled_base(layout, priors, hints, data)
        beta = coefficients(layout, priors, hints, data)
        descent = descent_of(family)
        level = drifting_level(layout, priors, hints, base, beta, data, parametrisation, descent)
        likelihood(layout, priors, hints, level, beta, data, family)
    return model
