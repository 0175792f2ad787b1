"""Errors a user can act on: one line that says what is wrong, how many rows, where, and the mend."""

from __future__ import annotations


class CivstatsError(ValueError):
    """Base of every error that civstats raises on purpose; its text is one readable line."""


class DataError(CivstatsError):
    """A file or folder cannot be read as what it should be."""


class PanelError(CivstatsError):
    """A frame breaks the panel contract."""


class ForecastError(CivstatsError):
    """A forecast, or the request for one, breaks the forecast contract."""
