"""What `BayesDemand` is given: its arguments checked, and what it keeps of a panel's days."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter.layout import observations
from civstats.models.bayes.priors import Priors
from civstats.schema import DS, ID, STATIC, STOCKOUT, CivstatsError, Y, series_index, stockout_days

FAMILIES = ("poisson", "negbin", "zero_inflated_negbin", "normal")
PARAMETRISATIONS = ("whitened", "centred", "noncentred")


def check_arguments(
    *,
    family: str,
    drift: str | None,
    sampler: str,
    parametrisation: str,
    draws: Any,
    tune: Any,
    chains: Any,
    harmonics: Any,
    target_accept: Any,
    seed: Any,
    n_jobs: Any,
    priors: Any,
) -> None:
    """Refuse what cannot be, by name."""
    for label, value, choices in (
        ("family", family, FAMILIES),
        ("drift", drift, ("week", None)),
        ("sampler", sampler, ("nutpie", "numpyro", "pymc")),
        ("parametrisation", parametrisation, PARAMETRISATIONS),
    ):
        if value not in choices:
            raise CivstatsError(
                f"{label} must be one of {', '.join(map(str, choices))}, but got {value!r}"
            )
    for label, number, least in (
        ("draws", draws, 4), ("tune", tune, 10), ("chains", chains, 1), ("harmonics", harmonics, 0),
        ("seed", seed, 0), ("n_jobs", 1 if n_jobs is None else n_jobs, 1),
    ):  # fmt: skip
        whole = isinstance(number, Integral) and not isinstance(number, bool)
        if not whole or number < least:
            raise CivstatsError(f"{label} must be a whole number >= {least}, but got {number!r}")
    if priors is not None and not isinstance(priors, (Priors, Mapping)):
        raise CivstatsError(
            f"priors must be Priors or a mapping of names to Prior, but got {priors!r}"
        )
    if not isinstance(target_accept, int | float) or not 0 < target_accept < 1:
        raise CivstatsError(f"target_accept must lie in (0, 1), but got {target_accept!r}")


def note_days(
    panel: pd.DataFrame, treatment: str
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return what recovery and replication need: days, attributes of series, what days say."""
    says = observations(panel, "ignore" if treatment == "ignore" else "censor")
    out = stockout_days(panel) & (treatment != "ignore")
    days = pd.DataFrame({
        ID: panel[ID].array, DS: panel[DS].array, Y: panel[Y].to_numpy(), STOCKOUT: out,
        "kind": says.kind,
        "exposure": np.ones(len(panel)) if says.exposure is None else says.exposure,
    })  # fmt: skip
    index = series_index(panel)
    statics = panel[[c for c in STATIC if c in panel.columns]].iloc[index.starts].astype(object)
    statics.index = pd.Index(index.ids.astype(object))
    seen = observations(panel, treatment)
    told = pd.DataFrame({
        "kind": seen.kind,
        "exposure": np.ones(len(panel)) if seen.exposure is None else seen.exposure,
    })  # fmt: skip
    return days, statics, told
