"""Deep learning under stockouts: neuralforecast's DeepAR and TFT that learn demand, not sales."""

from civstats.models.deepar._tft import TFT
from civstats.models.deepar.forecaster import DeepAR

__all__ = ["TFT", "DeepAR"]
