"""The only home of a score."""

from civstats.evaluation.comparison import Difference, compare, naive_against_truth
from civstats.evaluation.scores import evaluate
from civstats.evaluation.scoring import METRICS
from civstats.evaluation.selection import selection_bias

__all__ = ["METRICS", "Difference", "compare", "evaluate", "naive_against_truth", "selection_bias"]
