"""M5 panels from the Kaggle files: zip or folder, evaluation or validation."""

from civstats.data.m5.load import load_future, load_m5

__all__ = ["load_future", "load_m5"]
