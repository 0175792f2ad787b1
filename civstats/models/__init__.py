"""Forecasters under one protocol; see `civstats.models.base`."""

from civstats.models.base import Forecaster, make_forecaster, register, registry

__all__ = ["Forecaster", "make_forecaster", "register", "registry"]
