"""NUTS three ways: nutpie, PyMC's own, numpyro."""

from __future__ import annotations

import importlib.util
import tempfile
from typing import Any

import numpy as np
import pymc as pm

from civstats.schema import CivstatsError

SAMPLERS = ("nutpie", "numpyro", "pymc")
HIDDEN = "_raw"
"""Ending of variables that are sampled but not kept: others hold what they mean."""


def require(sampler: str) -> None:
    """Refuse a sampler that is unknown or not installed."""
    if sampler not in SAMPLERS:
        raise CivstatsError(f"sampler must be one of {', '.join(SAMPLERS)}, but got {sampler!r}")
    if importlib.util.find_spec(sampler) is None:
        extra = "numpyro" if sampler == "numpyro" else "bayes"
        raise CivstatsError(
            f"the sampler {sampler} is not installed: pip install 'civstats[{extra}]', or another of "
            f"{', '.join(SAMPLERS)}"
        )


def kept_names(model: pm.Model) -> list[str]:
    """Return the variables whose draws are kept."""
    every = [v.name for v in (*model.free_RVs, *model.deterministics)]
    return [n for n in every if not n.endswith(HIDDEN)]


def compile_nutpie(model: pm.Model) -> Any:
    """Compile a model for nutpie."""
    import nutpie

    unit = {v for v in model.free_RVs if v.name.endswith("_raw")}
    return nutpie.compile_pymc_model(
        model,
        var_names=kept_names(model),
        default_initialization_strategy="support_point",
        jitter_rvs=unit,
    )


def read_draws(held: Any) -> Any:
    """Return draws that lie on disk, without helper variables, the levels in half the memory.

    Parameters
    ----------
    held : arviz.InferenceData
        Lazy: whatever is left out here is never read.
    """
    import arviz as az

    posterior: dict[str, np.ndarray] = {}
    dims: dict[str, list[str]] = {}
    coords: dict[str, np.ndarray] = {}
    for label, values in held.posterior.items():
        name = str(label)
        if name.endswith((HIDDEN, "__")):
            continue
        kind = np.float32 if name == "level" else values.dtype
        posterior[name] = np.empty(values.shape, dtype=kind)
        for chain in range(len(values)):
            posterior[name][chain] = values[chain].to_numpy()
        dims[name] = [str(d) for d in values.dims[2:]]
        coords |= {d: values[d].to_numpy() for d in dims[name] if d in values.coords}
    numbers = {
        str(n): v.to_numpy() for n, v in held.sample_stats.items() if v.dims == ("chain", "draw")
    }
    return az.from_dict(posterior, sample_stats=numbers, dims=dims, coords=coords)


def sample(
    model: pm.Model,
    compiled: Any,
    *,
    sampler: str,
    draws: int,
    tune: int,
    chains: int,
    cores: int,
    target_accept: float,
    seed: int,
    progress: bool,
) -> Any:
    """Draw from the posterior; an ``arviz.InferenceData`` without warm-up."""
    if sampler == "nutpie":
        import nutpie
        from nutpie import zarr_store

        # On disk while they are drawn: in memory nutpie holds tens of thousands of levels several
        # times over. Removed whatever happens.
        with tempfile.TemporaryDirectory(prefix="civstats-draws-") as folder:
            held = nutpie.sample(
                compiled,
                draws=draws,
                tune=tune,
                chains=chains,
                cores=cores,
                seed=seed,
                target_accept=target_accept,
                progress_bar=progress,
                save_warmup=False,
                zarr_store=zarr_store.LocalStore(folder),
            )
            return read_draws(held)
    extra = {}
    if sampler == "numpyro":
        from civstats.models.bayes import _jax  # noqa: F401

        # One device is one chain at a time.
        extra = {"nuts_sampler_kwargs": {"chain_method": "sequential"}}
    with model:
        return pm.sample(
            draws,
            tune=tune,
            chains=chains,
            cores=cores,
            random_seed=seed,
            target_accept=target_accept,
            nuts_sampler=sampler,
            init="adapt_diag",
            progressbar=progress,
            var_names=kept_names(model),
            compute_convergence_checks=False,
            **extra,
        )
