"""Memory that a training step frees is kept for the next one, where the C library lets us say so."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_ALL, _USUAL = 2**31 - 1, 32 * 2**20


@contextmanager
def kept_memory() -> Iterator[bool]:
    """Keep freed memory in the process meanwhile; yield whether that worked.

    glibc hands large tensors back to the system as they are freed, and clearing the pages anew took
    a third of a step's time (16,000 page faults at 256 windows). Afterwards blocks from 32 MiB on
    go back again, the most that glibc's own sliding threshold comes to.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield False
        return
    done = mallopt(_MMAP_THRESHOLD, 2**30) == 1 and mallopt(_TRIM_THRESHOLD, _ALL) == 1
    try:
        yield done
    finally:
        mallopt(_MMAP_THRESHOLD, _USUAL)
        mallopt(_TRIM_THRESHOLD, 2 * _USUAL)
