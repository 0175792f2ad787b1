"""The censored likelihood, its derivatives, samplers and PIT transform, written once.

A stockout day says ``D >= c``: it contributes log P(D >= c), ties included. A family object holds
the ancillary parameters; every method takes the linear predictor ``eta`` (log mean for counts,
location for the normal and log-normal) and an ``exposure``, the share of the day's demand that
falls in the hours in stock. For a day in stock for part of the time pass the share and leave
``is_censored`` False: exposure scales the mean and never enters as survival.
"""

from civstats.censoring._normal_math import IntervalParts
from civstats.censoring.continuous import LogNormal, Normal
from civstats.censoring.counts import CountFamily, NegBin, Poisson
from civstats.censoring.objectives import (
    fit_dispersion,
    fit_zero_inflated,
    mean_negative_loglik,
    negbin_objective,
    poisson_objective,
)
from civstats.censoring.part_days import sample_unseen, unseen_mean
from civstats.censoring.zero_inflated import ZeroInflatedNegBin

Family = CountFamily | Normal

__all__ = [
    "CountFamily",
    "Family",
    "IntervalParts",
    "LogNormal",
    "NegBin",
    "Normal",
    "Poisson",
    "ZeroInflatedNegBin",
    "fit_dispersion",
    "fit_zero_inflated",
    "mean_negative_loglik",
    "negbin_objective",
    "poisson_objective",
    "sample_unseen",
    "unseen_mean",
]
