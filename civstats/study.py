"""A study's folder: stages timed, peak memory watched, files published whole, a manifest last."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from civstats._io import atomic
from civstats.schema import DataError

_PACKAGES = (
    "civstats",
    "lightgbm",
    "numba",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "scipy",
    "statsforecast",
    "statsmodels",
    "xarray",
)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _tree_memory() -> int:
    """Resident bytes of this process and all its descendants."""
    import psutil

    total = 0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it ended between the listing and the reading
            continue
    return total


class _Watch(threading.Thread):
    """Sample the process tree's memory until stopped."""

    def __init__(self, interval: float = 0.2) -> None:
        super().__init__(daemon=True)
        self.interval = interval
        self.peak = _tree_memory()
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self.interval):
            self.peak = max(self.peak, _tree_memory())

    def stop(self) -> int:
        self._done.set()
        self.join()
        self.peak = max(self.peak, _tree_memory())
        return self.peak


def fingerprint(frame: pd.DataFrame) -> str:
    """Return a SHA-256 of a frame's columns and values: same data, same fingerprint.

    Parameters
    ----------
    frame : pandas.DataFrame
        Any frame; its index is not part of the fingerprint.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for column in frame.columns:
        digest.update(f"{column}:{frame[column].dtype.name}".encode())
        values = frame[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            digest.update("\x1f".join(map(str, values.cat.categories)).encode())
            array = np.asarray(values.cat.codes, dtype=np.int32)
        else:
            array = np.asarray(values.to_numpy())
            if array.dtype == object:
                array = pd.util.hash_array(array).view(np.int64)
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class Study:
    """Context of one run of an analysis.

    Parameters
    ----------
    folder : str or pathlib.Path
        Where its files go; made when the first file is ready.
    config : mapping
        What the run was asked for; goes into the manifest.

    Examples
    --------
    >>> import tempfile
    >>> study = Study(tempfile.mkdtemp(), {"seed": 1})
    >>> with study.stage("load"):
    ...     pass
    >>> sorted(study.stages["load"])
    ['peak_memory_mb', 'seconds']
    """

    def __init__(self, folder: str | Path, config: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise DataError(f"{self.folder} is a file; name a folder for the study's output")
        there = self.folder.absolute()
        while not there.exists():
            there = there.parent
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise DataError(f"{self.folder} cannot be made: {there} is no folder to write in")
        self.config = dict(config)
        self.stages: dict[str, dict[str, float]] = {}
        self.facts: dict[str, Any] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and watch the peak memory of the whole process tree."""
        watch = _Watch()
        watch.start()
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = {
                "seconds": round(time.perf_counter() - start, 2),
                "peak_memory_mb": round(watch.stop() / 1e6, 1),
            }

    def save_parquet(self, frame: pd.DataFrame, name: str) -> Path:
        """Write a frame as parquet; it appears whole or not at all."""
        target = self.folder / name
        with atomic(target) as temporary:
            frame.to_parquet(temporary, index=False)
        return target

    def save_json(self, content: Mapping[str, Any], name: str) -> Path:
        """Write a mapping as JSON; it appears whole or not at all."""
        target = self.folder / name
        with atomic(target) as temporary:
            temporary.write_text(
                json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8"
            )
        return target

    def save_manifest(self) -> Path:
        """Write ``manifest.json``: configuration, versions, facts, seconds and memory per stage."""
        return self.save_json(
            {
                "config": self.config,
                "versions": _versions(),
                "machine": {"system": platform.system(), "machine": platform.machine()},
                **self.facts,
                "stages": self.stages,
                "total_seconds": round(sum(s["seconds"] for s in self.stages.values()), 2),
                "peak_memory_mb": max(
                    (s["peak_memory_mb"] for s in self.stages.values()), default=0
                ),
            },
            "manifest.json",
        )
