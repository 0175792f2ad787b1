"""How the filter's kernels are compiled, and when their cached machine code is thrown away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numba import njit

from civstats.censoring import _jit as censoring_jit

# Sums may be reordered (that makes them vector code); nan and inf keep their meaning.
jit: Any = njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"}
)


def drop_stale_cache(module: str, kernel: Any) -> None:
    """Delete cached code of `module` that is older than any kernel source it may call.

    numba renews its cache when the file of a function changes, but not when a function it calls
    changes in another file.

    Parameters
    ----------
    module : str
        ``__name__`` of the calling module.
    kernel : numba dispatcher
        Any jitted function of that module; tells where its cache lies.
    """
    folders = (Path(__file__).parent, Path(censoring_jit.__file__).parent)
    newest = max(p.stat().st_mtime_ns for folder in folders for p in folder.glob("_*.py"))
    for index in Path(kernel.stats.cache_path).glob(f"{module.rpartition('.')[2]}.*.nbi"):
        try:
            if index.stat().st_mtime_ns < newest:
                index.unlink()
        except OSError:
            # Another process was faster, or the folder is not ours to write: then the files there
            # were installed together with the sources.
            continue
