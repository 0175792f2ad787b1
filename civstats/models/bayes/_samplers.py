"""NUTS three ways: nutpie, PyMC's own, numpyro."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
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


def read_trace(draws: Sequence[Any], stats: Sequence[Any], coords: Mapping[str, Any]) -> Any:
    """Return nutpie's draws and the sampler's numbers, the levels in half the memory.

    nutpie's own conversion holds every draw several times over; of tens of thousands of levels that
    is most of what a fit needs.

    Parameters
    ----------
    draws, stats : sequence of pyarrow.RecordBatch
        One a chain, a row a draw, warm-up first.
    coords : mapping of str to labels
    """
    import arviz as az
    import pyarrow as pa

    posterior: dict[str, np.ndarray] = {}
    numbers: dict[str, np.ndarray] = {}
    dims: dict[str, list[str]] = {}
    for chain, (drawn, said) in enumerate(zip(draws, stats, strict=True)):
        warm_up = int(pa.array(said.column("tuning")).to_numpy(zero_copy_only=False).sum())
        for batch, out in ((drawn, posterior), (said, numbers)):
            for name, field in zip(batch.column_names, batch.schema, strict=True):
                told = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
                shape = [int(n) for n in told.get("shape", "").split(",") if n]
                column = pa.array(batch.column(name)).slice(warm_up)
                # Arrays of the sampler (gradients, mass matrices) are not kept.
                if column.null_count or (batch is said and shape):
                    continue
                values = (column.flatten() if shape else column).to_numpy(zero_copy_only=False)
                if values.dtype.kind not in "fiub":
                    continue
                kind = np.float32 if name == "level" else values.dtype
                made = out.setdefault(
                    name, np.empty((len(draws), batch.num_rows - warm_up, *shape), dtype=kind)
                )
                made[chain] = values.reshape(-1, *shape)
                if batch is drawn:
                    dims[name] = [d for d in told.get("dims", "").split(",") if d]
    return az.from_dict(
        posterior, sample_stats=numbers, dims=dims,
        coords={name: pd.Index(labels) for name, labels in coords.items()},
    )  # fmt: skip


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

        raw = nutpie.sample(
            compiled,
            draws=draws,
            tune=tune,
            chains=chains,
            cores=cores,
            seed=seed,
            target_accept=target_accept,
            progress_bar=progress,
            save_warmup=False,
            return_raw_trace=True,
        )
        batches, said = raw.get_arrow_trace()
        return read_trace(batches, said, compiled.coords)
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
