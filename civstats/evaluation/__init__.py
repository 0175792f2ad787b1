"""The only home of a score."""

from civstats.evaluation.calibration import (
    calibration_curve,
    pit,
    pit_histogram,
    pit_uniformity,
)
from civstats.evaluation.comparison import Difference, compare, naive_against_truth
from civstats.evaluation.m5 import M5Scorer
from civstats.evaluation.metrics import METRICS
from civstats.evaluation.pairwise import diebold_mariano, winners
from civstats.evaluation.scores import evaluate
from civstats.evaluation.selection import selection_bias

__all__ = [
    "METRICS",
    "Difference",
    "M5Scorer",
    "calibration_curve",
    "compare",
    "diebold_mariano",
    "evaluate",
    "naive_against_truth",
    "pit",
    "pit_histogram",
    "pit_uniformity",
    "selection_bias",
    "winners",
]
