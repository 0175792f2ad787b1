"""The only home of a score."""

from civstats.evaluation.scores import METRICS, evaluate

__all__ = ["METRICS", "evaluate"]
