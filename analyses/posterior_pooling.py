"""What pooling does: each series' level alone, partially pooled, and one for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.censoring import Normal
from civstats.demand_filter import BOUND, EXACT
from civstats.schema import ID, Y

if TYPE_CHECKING:
    from civstats.models.bayes import BayesDemand

_SHOWN = 12
"""Series of each end."""
_Z80 = 1.2815515655446004
_DRAWS = 200


def pooling_table(model: BayesDemand, panel: pd.DataFrame) -> pd.DataFrame:
    """Return levels of the series with the fewest and the most exact days, by way of pooling.

    Returns
    -------
    pandas.DataFrame
        ``panel, row, way, value, lo, hi``: log units on an ordinary day, averaged over the series'
        days; mean days of the series under the normal family. Those with the fewest days known
        exactly come first; of many series the middle is left out. Alone: the maximum of the
        censored likelihood of that series' days, offsets and dispersion at their posterior means, with 80 % bands from its curvature; missing where no
        finite maximum exists (nothing but bounds, nothing sold). Partially pooled: the posterior.
        Completely: one level for all series of the panel.
    """
    idata = model.idata_
    data = idata.constant_data
    kind, series, node = (data[c].to_numpy() for c in ("kind", "series", "node"))
    level = idata.posterior["level"].transpose("chain", "draw", "node").to_numpy()
    level = level.reshape(-1, level.shape[2])
    at = np.floor((np.arange(_DRAWS) + 0.5) * len(level) / _DRAWS).astype(int)
    eta, family = model.predictor(draws=at)
    y, share = panel[Y].to_numpy(dtype=float), data["exposure"].to_numpy().astype(float)
    normal = isinstance(family, Normal)
    if normal:
        # Levels of series that sell little and much are of one size on the model's own scale.
        scale = model._scale[series]
        eta, y = eta / scale, y / scale
        family = Normal(np.asarray(family.scale) / scale)
    offset = eta.mean(axis=0) - level[at].mean(axis=0)[node]
    pooled = middle_family(family)
    live = kind != 2
    n = panel[ID].nunique()
    exact = np.bincount(series[kind == EXACT], minlength=n)
    order = np.argsort(exact, kind="stable")
    ends = n > 2 * _SHOWN
    members = np.r_[order[:_SHOWN], order[-_SHOWN:]] if ends else order
    panel_name = "both ends" if ends else "all series"
    everyone = best(pooled, y[live], offset[live], kind[live] == BOUND, share[live])[0]
    names = panel[ID].cat.categories
    rows: list[tuple] = []
    weights = np.bincount(node, minlength=level.shape[1]).astype(float)
    owner = np.zeros(level.shape[1], dtype=int)
    owner[node] = series
    for s in members:
        name = f"{names[s]} ({exact[s]})"
        mine = live & (series == s)
        value, sd = best(pooled, y[mine], offset[mine], kind[mine] == BOUND, share[mine])
        rows.append((panel_name, name, "no pooling", value, value - _Z80 * sd, value + _Z80 * sd))
        own = owner == s
        by_days = weights[own] / weights[own].sum()
        # What drifts is compared as one level that expects as much: a mean of logs would be lower.
        mean = level[:, own] @ by_days if normal else np.log(np.exp(level[:, own]) @ by_days)
        lo, hi = np.quantile(mean, [0.1, 0.9])
        rows.append((panel_name, name, "partial pooling", float(mean.mean()), lo, hi))
        rows.append((panel_name, name, "complete pooling", everyone, np.nan, np.nan))
    return pd.DataFrame(rows, columns=["panel", "row", "way", "value", "lo", "hi"])


def middle_family(family: Any) -> Any:
    """Return the family with every parameter at its mean over draws and rows."""
    import dataclasses

    names = [f.name for f in dataclasses.fields(family)]
    return dataclasses.replace(
        family, **{n: float(np.mean(np.asarray(getattr(family, n), dtype=float))) for n in names}
    )


def best(
    family: Any, y: np.ndarray, offset: np.ndarray, bound: np.ndarray, share: np.ndarray
) -> tuple[float, float]:
    """Maximise a censored likelihood in one level; NaN where it has no finite maximum."""
    from scipy.optimize import minimize_scalar

    counts = hasattr(family, "logpmf")
    if counts and (not (~bound).any() or not y.any()):
        return float("nan"), float("nan")
    share = np.where(bound, 1.0, np.maximum(share, 1e-12))

    def minus(level: float) -> float:
        return -float(family.loglik(y, level + offset, bound, share).sum())

    width = 12.0 if counts else 4 * (1 + np.abs(y).max())
    found = minimize_scalar(
        minus, bounds=(-width, width), method="bounded", options={"xatol": 1e-6}
    )
    step = 1e-3
    curve = (minus(found.x + step) - 2 * found.fun + minus(found.x - step)) / step**2
    return float(found.x), float(curve**-0.5) if curve > 0 else float("nan")
