"""Rolling-origin cross-validation that cuts before features, so that nothing leaks."""

from civstats.backtest.result import Backtest
from civstats.backtest.runner import cross_validation

__all__ = ["Backtest", "cross_validation"]
