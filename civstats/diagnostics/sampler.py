"""What the sampler says of itself, chain by chain: divergences, tree depth, energy, steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.schema import CivstatsError

if TYPE_CHECKING:
    import xarray as xr

MAX_TREE_DEPTH = 10
"""The default of nutpie, numpyro and PyMC."""
# Samplers have their own names for the same statistic.
_REACHED = ("reached_max_treedepth", "maxdepth_reached")
_DEPTH = ("tree_depth", "depth")
_ACCEPT = ("acceptance_rate", "mean_tree_accept", "acceptance_prob", "accept_prob")


def sampler_table(data: Any, *, max_tree_depth: int = MAX_TREE_DEPTH) -> pd.DataFrame:
    """Read the sampler's statistics of every chain.

    Parameters
    ----------
    data : arviz.InferenceData
        With the group ``sample_stats`` of nutpie, numpyro or PyMC.
    max_tree_depth : int
        Where the sampler does not say whether a tree was cut: the depth at which it is.

    Returns
    -------
    pandas.DataFrame
        One row a chain: ``chain, draws, divergences, saturated`` (draws whose tree was cut at the
        largest depth), ``deepest, steps`` (gradients a draw), ``e_bfmi`` (Betancourt, 2016: the
        squared steps of the energy over its variance), ``step_size, acceptance``. A statistic
        that the sampler did not record is NaN.

    Raises
    ------
    CivstatsError
        If there are no sampler statistics at all.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> stats = {"diverging": np.zeros((2, 50), bool), "energy": rng.normal(size=(2, 50))}
    >>> table = sampler_table(az.from_dict({"x": rng.normal(size=(2, 50))}, sample_stats=stats))
    >>> table["divergences"].tolist()
    [0.0, 0.0]
    """
    if not hasattr(data, "groups") or "sample_stats" not in data.groups():
        raise CivstatsError(
            "the draws hold no sampler statistics (group sample_stats): divergences and energy "
            "cannot be checked; keep the statistics when sampling and storing"
        )
    stats = data["sample_stats"]
    chains, draws = stats.sizes["chain"], stats.sizes["draw"]
    nothing = np.full(chains, np.nan)
    steps = _read(stats, ("n_steps",))
    depth = _read(stats, _DEPTH)
    if depth is None and steps is not None:
        depth = np.ceil(np.log2(steps + 1))
    reached = _read(stats, _REACHED)
    if reached is None and depth is not None:
        reached = depth >= max_tree_depth
    diverging, energy = _read(stats, ("diverging",)), _read(stats, ("energy",))
    step_size, accept = _read(stats, ("step_size",)), _read(stats, _ACCEPT)
    return pd.DataFrame(
        {
            "chain": stats["chain"].to_numpy(),
            "draws": draws,
            "divergences": nothing if diverging is None else diverging.sum(axis=1),
            "saturated": nothing if reached is None else reached.sum(axis=1).astype(float),
            "deepest": nothing if depth is None else depth.max(axis=1),
            "steps": nothing if steps is None else steps.mean(axis=1),
            "e_bfmi": nothing if energy is None else _e_bfmi(energy),
            "step_size": nothing if step_size is None else step_size[:, -1],
            "acceptance": nothing if accept is None else accept.mean(axis=1),
        }
    )


def _read(stats: xr.Dataset, names: tuple[str, ...]) -> np.ndarray | None:
    """Return the first statistic that is there, (chain, draw) float64."""
    for name in names:
        if name in stats.data_vars:
            return stats[name].transpose("chain", "draw").to_numpy().astype(float)
    return None


def _e_bfmi(energy: np.ndarray) -> np.ndarray:
    """E-BFMI of each chain; 0 where the energy never moved, NaN where it is not finite."""
    import arviz as az

    out = np.full(len(energy), np.nan)
    for k, chain in enumerate(energy):
        if np.isfinite(chain).all() and len(chain) > 1:
            out[k] = 0.0 if chain.max() == chain.min() else float(az.bfmi(chain[None])[0])
    return out
