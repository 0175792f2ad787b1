"""Posteriors tidied, written and read back: netCDF, JSON and plain arrays, no pickle."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from civstats._io import atomic
from civstats.demand_filter import _store
from civstats.demand_filter.covariates import OffsetDesign
from civstats.models.bayes._layout import Layout
from civstats.models.bayes._posterior import Draws
from civstats.models.bayes.priors import Priors
from civstats.models.bayes.problems import Problem
from civstats.schema import ID, CivstatsError, Y

_ARGUMENTS = (
    "treatment", "family", "drift", "harmonics", "covariates", "draws", "tune", "chains",
    "target_accept", "sampler", "parametrisation", "seed", "progress", "n_jobs",
)  # fmt: skip


def tidy(drawn: Any, layout: Layout, days: pd.DataFrame, seen: pd.DataFrame) -> Any:
    """Return draws without helper variables, with what the days were."""
    import arviz as az
    import xarray as xr

    posterior = drawn.posterior
    extra = [n for n in posterior if str(n).endswith(("_raw", "__", "_change"))]
    posterior = posterior.drop_vars(extra)
    loose = [
        d for d in posterior.coords if d not in {x for v in posterior.values() for x in v.dims}
    ]
    constant = xr.Dataset(
        {
            "y": ("row", days[Y].to_numpy()),
            "kind": ("row", seen["kind"].to_numpy()),
            "exposure": ("row", seen["exposure"].to_numpy()),
            "series": ("row", layout.series),
            "date": ("row", layout.date),
            "node": ("row", layout.node),
            "node_series": ("node", layout.node_series),
            "node_week": ("node", layout.week),
            "series_department": ("unique_id", layout.department),
            "series_item": ("unique_id", layout.item),
            "series_store": ("unique_id", layout.store),
            "day": ("ds", layout.dates),
        },
        coords={"unique_id": layout.names["series"]},
    )
    return az.InferenceData(
        posterior=posterior.drop_vars(loose),
        sample_stats=drawn.sample_stats,
        constant_data=constant,
    )


def save(model: Any, folder: Path) -> None:
    """Write a fitted model."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / "posterior.nc") as temporary:
        model.idata_.to_netcdf(str(temporary), engine="h5netcdf")
    settings = {name: getattr(model, name) for name in _ARGUMENTS}
    content = {
        "arguments": settings | {"priors": model.priors.as_dict()},
        "problems": [asdict(p) for p in model.problems_],
        "cutoff": str(model.cutoff_),
        "series": [str(s) for s in model.series_],
        "covariates": list(model.covariates_),
    }
    with atomic(folder / "model.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1))
    days = {str(c): v.to_numpy() for c, v in model._days.items() if c != ID}
    statics = {str(c): [str(x) for x in v] for c, v in model._statics.items()}
    _store.save(
        folder / "layout.npz",
        {
            "layout": model._layout,
            "design": model.design_,
            "scale": model._scale,
            "days": days,
            "statics": statics,
            "seen": {str(c): v.to_numpy() for c, v in model._seen.items()},
        },
        {"origin": model._layout.origin.astype("datetime64[ns]").astype(np.int64)},
    )


def load(cls: Any, folder: Path) -> Any:
    """Read a fitted model."""
    import arviz as az

    absent = [n for n in ("model.json", "layout.npz", "posterior.nc") if not (folder / n).is_file()]
    if absent:
        raise CivstatsError(
            f"{folder} holds no stored BayesDemand: {', '.join(absent)} is missing; name a folder "
            "that save() wrote"
        )
    content = json.loads((folder / "model.json").read_text())
    arguments = content["arguments"]
    arguments["priors"] = Priors.from_dict(arguments["priors"])
    model = cls(**arguments)
    held = _store.load(folder / "layout.npz", (Layout, OffsetDesign))
    layout = held["layout"]
    object.__setattr__(layout, "origin", np.datetime64(int(layout.origin), "ns"))
    model._layout, model.design_, model._scale = layout, held["design"], held["scale"]
    ids = np.array(layout.names["series"], dtype=object)
    names = pd.Categorical(ids[layout.series], categories=ids)
    days = pd.DataFrame({ID: names, **held["days"]})
    model._days = days
    model._statics = pd.DataFrame(held["statics"], index=pd.Index(ids))
    model._seen = pd.DataFrame(held["seen"])
    model.problems_ = [Problem(**p) for p in content["problems"]]
    model.cutoff_ = pd.Timestamp(content["cutoff"]).as_unit("ns")
    model.series_ = pd.Index(content["series"])
    model.covariates_ = tuple(content["covariates"])
    idata = az.from_netcdf(str(folder / "posterior.nc"), engine="h5netcdf")
    idata.load()
    model.idata_ = idata
    model._draws = Draws(idata.posterior, layout, model.family, model._scale)
    return model
