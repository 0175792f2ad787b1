"""Conformal intervals for any forecast, and lower bounds of demand that hold under stockouts."""

from civstats.conformal._bounder import MULTIPLES
from civstats.conformal._rows import ConformalForecasts
from civstats.conformal.censored import censored_conformal
from civstats.conformal.chances import Chance, constant_chance, logistic_chance, series_chance
from civstats.conformal.features import chance_features
from civstats.conformal.quantiles import (
    censored_lower_bound,
    conformal_quantile,
    weighted_conformal_quantile,
)
from civstats.conformal.split import split_conformal

__all__ = [
    "MULTIPLES",
    "Chance",
    "ConformalForecasts",
    "censored_conformal",
    "censored_lower_bound",
    "chance_features",
    "conformal_quantile",
    "constant_chance",
    "logistic_chance",
    "series_chance",
    "split_conformal",
    "weighted_conformal_quantile",
]
