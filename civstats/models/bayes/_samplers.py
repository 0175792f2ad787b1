"""NUTS three ways: nutpie, PyMC's own, numpyro."""

from __future__ import annotations

import importlib.util
from typing import Any

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
        raise CivstatsError(
            f"the sampler {sampler} is not installed: pip install {sampler}, or choose another of "
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

        return nutpie.sample(
            compiled,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=cores,
            seed=seed,
            target_accept=target_accept,
            progress_bar=progress,
            save_warmup=False,
        )
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
        )
