"""M5's official scores: WRMSSE and WSPL over the twelve levels of aggregation."""

from civstats.evaluation.m5.hierarchy import KEYS, Hierarchy
from civstats.evaluation.m5.scorer import M5Scorer

__all__ = ["KEYS", "Hierarchy", "M5Scorer"]
