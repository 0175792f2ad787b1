"""A trained network in a folder: safetensors, npz, parquet and JSON, nothing that runs code."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from civstats._io import atomic
from civstats.demand_filter.online import load_filter, save_filter
from civstats.models.deepar._known import KnownCoding
from civstats.models.deepar._series import SeriesData
from civstats.schema import (
    CUTOFF,
    ID,
    STATIC,
    CivstatsError,
    DataError,
    ForecastError,
    known_covariates,
)

_FORMAT = 2
_NETWORK, _ARRAYS, _KNOWN, _FILTER, _HEAD = (
    "network.safetensors",
    "series.npz",
    "known.parquet",
    "filter.npz",
    "model.json",
)

Model = TypeVar("Model", bound=Any)


def save(model: Any, folder: Path) -> None:
    """Write a fitted model; the head comes last, so that a torn folder is no model."""
    if not hasattr(model, "network_"):
        raise ForecastError(f"{model.name} is not fitted: call fit(panel) first")
    data = tail(model._data, model.settings.input_size + max(model.settings.lags, default=1) + 1)
    arrays = {
        f.name: getattr(data, f.name) for f in fields(SeriesData) if f.name not in ("ids", "dates")
    }
    head = {
        "format": _FORMAT,
        "model": model.name,
        "settings": asdict(model.settings),
        "coding": asdict(model._coding),
        "ids": _labels(data.ids, model.name),
        "dates": [d.isoformat() for d in data.dates],
        "series": _labels(model.series_, model.name),
        CUTOFF: model.cutoff_.isoformat(),
        "losses": model.losses_.to_dict("list"),
        "filter": model._filter is not None,
    }
    text = json.dumps(head, default=_plain)
    # Whatever cannot be written has said so by now: an older model is replaced, not torn.
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _HEAD).unlink(missing_ok=True)
    with atomic(folder / _NETWORK) as path:
        model.network_.save(str(path))
    with atomic(folder / _ARRAYS) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    with atomic(folder / _KNOWN) as path:
        model._history.to_parquet(path, compression="zstd", index=False)
    (folder / _FILTER).unlink(missing_ok=True)
    if model._filter is not None:
        save_filter(model._filter, folder / _FILTER)
    with atomic(folder / _HEAD) as path:
        path.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise CivstatsError(f"a {type(value).__name__} cannot be stored without pickle")


def _labels(labels: pd.Index, name: str) -> list[Any]:
    plain = [v.item() if isinstance(v, np.generic) else v for v in labels]
    odd = next((v for v in plain if not isinstance(v, str | int)), None)
    if odd is not None:
        raise CivstatsError(
            f"{name} stores series named by texts or whole numbers, but {odd!r} is a "
            f"{type(odd).__name__}; rename the series"
        )
    return plain


def load(cls: type[Model], folder: Path, device: str | None) -> Model:
    """Read a model of class `cls`."""
    try:
        head = json.loads((folder / _HEAD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no stored model: {_HEAD} is missing or torn") from error
    if head.get("format") != _FORMAT or head.get("model") != cls.name:
        raise DataError(
            f"{folder} holds {head.get('model')} of format {head.get('format')}, not {cls.name} of "
            f"format {_FORMAT}"
        )
    try:
        return _read(cls, folder, head, device)
    except CivstatsError:
        raise
    except Exception as error:  # torn files fail in as many ways as there are readers
        raise DataError(
            f"{folder} holds no whole {cls.name}: {type(error).__name__} while reading it; save the "
            "model again"
        ) from error


def _read(cls: type[Model], folder: Path, head: dict[str, Any], device: str | None) -> Model:
    from civstats.models.deepar import _networks

    settings = head["settings"]
    arguments = cls.arguments_of(settings)
    model = cls(**arguments, device=device)
    coding = head["coding"]
    coding["numbers"] = {k: (m, s) for k, (m, s) in coding["numbers"].items()}
    model._coding = KnownCoding(**coding)
    with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
        held = {name: arrays[name] for name in arrays.files}
    dates = pd.DatetimeIndex(head["dates"]).as_unit("ns")
    model._data = SeriesData(ids=pd.Index(head["ids"]), dates=dates, **held)
    known = pd.read_parquet(folder / _KNOWN)
    model.series_ = pd.Index(head["series"])
    # Of categories that are no texts the file keeps the values alone.
    known[ID] = pd.Categorical(known[ID], categories=model.series_)
    plain = [
        c for c in STATIC if c in known and not isinstance(known[c].dtype, pd.CategoricalDtype)
    ]
    model._history = known.astype(dict.fromkeys(plain, "category"))
    model.covariates_ = tuple(known_covariates(known.columns))
    model._filter = load_filter(folder / _FILTER) if head["filter"] else None
    model.cutoff_ = pd.Timestamp(head[CUTOFF]).as_unit("ns")
    model.losses_ = pd.DataFrame(head["losses"])
    model.network_ = _networks.load(cls.kind, str(folder / _NETWORK)).eval()
    return model


def tail(data: SeriesData, n: int) -> SeriesData:
    """Return the last `n` periods, running sums and launches shifted."""
    length = data.target.shape[1]
    cut = max(length - n, 0)
    late = {
        name: getattr(data, name)[:, cut:]
        for name in ("target", "weight", "bound", "exposure", "history", "filled", "touched", "own",
                     "units", "days", "bounds")
    }  # fmt: skip
    return replace(
        data,
        dates=data.dates[cut:],
        shared=data.shared[cut:],
        start=np.maximum(data.start - cut, 0),
        end=np.maximum(data.end - cut, 0),
        **late,
    )
