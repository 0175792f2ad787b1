"""Censored regressions on statsmodels: Tobit, log-normal, Poisson and negative binomial.

The likelihoods are those of :mod:`civstats.censoring`; formulas, summaries, covariances and tests
are statsmodels'.
"""

from civstats.models.regression.continuous import CensoredLogNormal, Tobit
from civstats.models.regression.counts import CensoredNegBin, CensoredPoisson
from civstats.models.regression.results import CensoredResults

__all__ = ["CensoredLogNormal", "CensoredNegBin", "CensoredPoisson", "CensoredResults", "Tobit"]
