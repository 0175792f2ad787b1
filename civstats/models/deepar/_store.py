"""A trained network in a folder: safetensors, npz, parquet and JSON, nothing that runs code."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from civstats._io import atomic
from civstats.models.deepar._known import KnownCoding
from civstats.models.deepar._series import SeriesData
from civstats.schema import CUTOFF, DataError, ForecastError

_FORMAT = 1
_NETWORK, _ARRAYS, _KNOWN, _HEAD = (
    "network.safetensors",
    "series.npz",
    "known.parquet",
    "model.json",
)

Model = TypeVar("Model", bound=Any)


def save(model: Any, folder: Path) -> None:
    """Write a fitted model; the head comes last, so that a torn folder is no model."""
    if not hasattr(model, "network_"):
        raise ForecastError(f"{model.name} is not fitted: call fit(panel) first")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _HEAD).unlink(missing_ok=True)
    with atomic(folder / _NETWORK) as path:
        model.network_.save(str(path))
    data = tail(model._data, model.settings.input_size + max(model.settings.lags, default=1) + 1)
    arrays = {
        f.name: getattr(data, f.name) for f in fields(SeriesData) if f.name not in ("ids", "dates")
    }
    with atomic(folder / _ARRAYS) as path, path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    with atomic(folder / _KNOWN) as path:
        model._history.to_parquet(path, compression="zstd", index=False)
    head = {
        "format": _FORMAT,
        "model": model.name,
        "settings": asdict(model.settings),
        "coding": asdict(model._coding),
        "ids": [str(i) for i in data.ids],
        "dates": [d.isoformat() for d in data.dates],
        "series": [str(i) for i in model.series_],
        CUTOFF: model.cutoff_.isoformat(),
        "losses": model.losses_.to_dict("list"),
    }
    with atomic(folder / _HEAD) as path:
        path.write_text(json.dumps(head), encoding="utf-8")


def load(cls: type[Model], folder: Path, device: str | None) -> Model:
    """Read a model of class `cls`."""
    from civstats.models.deepar import _networks

    try:
        head = json.loads((folder / _HEAD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no stored model: {_HEAD} is missing or torn") from error
    if head.get("format") != _FORMAT or head.get("model") != cls.name:
        raise DataError(
            f"{folder} holds {head.get('model')} of format {head.get('format')}, not {cls.name} of "
            f"format {_FORMAT}"
        )
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
    model._history = pd.read_parquet(folder / _KNOWN)
    model._filter = None
    model.series_ = pd.Index(head["series"])
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
                     "units", "days")
    }  # fmt: skip
    return replace(
        data,
        dates=data.dates[cut:],
        shared=data.shared[cut:],
        start=np.maximum(data.start - cut, 0),
        end=np.maximum(data.end - cut, 0),
        **late,
    )
