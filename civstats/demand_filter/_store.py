"""Plain values, arrays and a few known classes to one npz file and back, without pickle."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from civstats._io import atomic
from civstats.schema import CivstatsError, DataError

_TEXT = "text"


def save(path: str | Path, value: Any, left_out: dict[str, Any]) -> None:
    """Write a value, whole or not at all.

    Parameters
    ----------
    value : any
        Numbers, text, tuples, lists, dicts with text keys, numpy arrays, pandas indexes and series,
        and dataclasses of such.
    left_out : dict
        Fields of dataclasses by name, and what is stored in their place.

    Raises
    ------
    CivstatsError
        For anything else.
    """
    arrays: dict[str, np.ndarray] = {}

    def plain(x: Any) -> Any:
        if x is None or isinstance(x, bool | int | float | str):
            return x
        if isinstance(x, np.bool_ | np.integer | np.floating):
            return x.item()
        if isinstance(x, np.ndarray) and x.dtype != object:
            name = f"a{len(arrays)}"
            arrays[name] = x
            return {"array": name}
        if isinstance(x, pd.Index):
            return {"index": [plain(v) for v in x.tolist()]}
        if isinstance(x, pd.Series):
            return {"series": plain(x.to_numpy()), "of": plain(x.index)}
        if isinstance(x, tuple):
            return {"tuple": [plain(v) for v in x]}
        if isinstance(x, list):
            return {"list": [plain(v) for v in x]}
        if isinstance(x, dict) and all(isinstance(k, str) for k in x):
            return {"dict": {k: plain(v) for k, v in x.items()}}
        if is_dataclass(x):
            held = {f.name: left_out.get(f.name, getattr(x, f.name)) for f in fields(x)}
            return {"class": type(x).__name__, "fields": {k: plain(v) for k, v in held.items()}}
        raise CivstatsError(f"a {type(x).__name__} cannot be stored without pickle")

    text = json.dumps(plain(value))
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{_TEXT: np.array(text)}, **arrays)  # type: ignore[arg-type]


def load(path: str | Path, classes: tuple[type, ...]) -> Any:
    """Read what :func:`save` wrote.

    Raises
    ------
    DataError
        If the file is cut short or no such file.
    """
    known = {c.__name__: c for c in classes}

    def whole(x: Any) -> Any:
        if not isinstance(x, dict):
            return x
        if "array" in x:
            return arrays[x["array"]]
        if "index" in x:
            return pd.Index([whole(v) for v in x["index"]])
        if "series" in x:
            return pd.Series(whole(x["series"]), index=whole(x["of"]))
        if "tuple" in x:
            return tuple(whole(v) for v in x["tuple"])
        if "list" in x:
            return [whole(v) for v in x["list"]]
        if "dict" in x:
            return {k: whole(v) for k, v in x["dict"].items()}
        return known[x["class"]](**{k: whole(v) for k, v in x["fields"].items()})

    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return whole(json.loads(str(arrays.pop(_TEXT))))
    except Exception as error:  # a damaged file fails in as many ways as it has bytes
        raise DataError(f"{path} is no stored posterior of this version: {error}") from error
