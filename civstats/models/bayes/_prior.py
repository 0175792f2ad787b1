"""Draws from the prior: parameters, and demand in units of sales."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from civstats.models.bayes._layout import BLOCKS, Layout, descent_of
from civstats.models.bayes._posterior import Draws
from civstats.models.bayes.priors import Priors

if TYPE_CHECKING:
    import xarray as xr

_ETA_MAX = 25.0
"""Log means beyond it (7e10 units a day) are drawn as it: a prior's far tail, not a number to sum."""


def draw_prior(
    layout: Layout, priors: Priors, family: str, scale: np.ndarray, n: int, seed: int
) -> xr.Dataset:
    """Draw `n` worlds; names as in the posterior, and ``demand`` (sample, row)."""
    import xarray as xr

    rng = np.random.default_rng(seed)
    names = layout.names
    g, s = len(names["department"]), len(names["series"])
    out: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}

    def keep(name: str, dims: tuple[str, ...], value: np.ndarray) -> np.ndarray:
        out[name] = (("sample", *dims), value)
        return value

    def zero_sum(name: str, size: int) -> np.ndarray:
        sd = keep(f"{name}_sd", (), getattr(priors, f"{name}_sd").draw(rng, n))
        free = rng.normal(size=(n, size)) * sd[:, None]
        return keep(f"{name}_effect", (name,), free - free.mean(axis=1, keepdims=True))

    mean = keep("intercept", (), priors.intercept.draw(rng, n))[:, None]
    if layout.has_departments:
        effect = zero_sum("department", g)
        mean = mean + effect[:, layout.item_department if layout.has_items else layout.department]
    if layout.has_items:
        sd = keep("item_sd", (), priors.item_sd.draw(rng, n))[:, None]
        level = mean + sd * rng.normal(size=(n, len(names["item"])))
        mean = keep("item_level", ("item",), level)[:, layout.item]
    if layout.has_stores:
        mean = mean + zero_sum("store", len(names["store"]))[:, layout.store]
    spread = keep("series_sd", (), priors.series_sd.draw(rng, n))[:, None]
    steps = rng.normal(size=(n, layout.n_nodes))
    heads = layout.starts[:-1]
    if layout.drifts:
        drift = keep("drift_sd", ("department",), priors.drift_sd.draw(rng, (n, g)))
        first = steps[:, heads].copy()
        sd = drift[:, layout.department[layout.node_series]]
        steps = sd * (steps - descent_of(family) * sd)
        steps[:, heads] = first
    steps[:, heads] = mean + spread * steps[:, heads]
    for k in range(s):
        part = slice(layout.starts[k], layout.starts[k + 1])
        np.cumsum(steps[:, part], axis=1, out=steps[:, part])
    keep("level", ("node",), steps)
    k = len(names["regressor"])
    if k:
        pooled = rng.normal(size=(n, k)) * layout.prior_sd * priors.coefficient_scale
        keep("coefficient", ("regressor",), pooled)
        if layout.has_departments:
            present, of = np.unique(layout.block, return_inverse=True)
            sd = keep(
                "coefficient_sd", ("block",), priors.coefficient_sd.draw(rng, (n, len(present)))
            )
            own = pooled[:, None] + sd[:, None, of] * rng.normal(size=(n, g, k))
            keep("department_coefficient", ("department", "regressor"), own)
    for name, used in {
        "dispersion": family in ("negbin", "zero_inflated_negbin"),
        "zero_prob": family == "zero_inflated_negbin",
        "noise": family == "normal",
    }.items():
        if used:
            keep(name, ("department",), getattr(priors, name).draw(rng, (n, g)))
    coords = {
        c: names[c] for c in ("department", "item", "store", "regressor") if len(names[c])
    } | {"block": [BLOCKS[b] for b in np.unique(layout.block)]}
    used_dims = {d for dims, _ in out.values() for d in dims}
    made = xr.Dataset(out, coords={c: v for c, v in coords.items() if c in used_dims})
    draws = Draws(made, layout, family, scale)
    return made.assign(demand=(("sample", "row"), replicate(draws, np.arange(n), None, rng)))


def replicate(
    draws: Draws, which: np.ndarray, rows: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Draw the demand of whole days, shape (n_draws, n_rows), float32; never negative."""
    parts = []
    for start in range(0, len(which), 64):
        eta, family = draws.predictor(which[start : start + 64], rows)
        capped = np.minimum(eta, _ETA_MAX)
        parts.append(np.maximum(family.sample(capped, rng), 0.0).astype(np.float32))
    return np.concatenate(parts)
