"""Hierarchical censored demand in PyMC: partial pooling, drifting levels, whole posteriors."""

from civstats.models.bayes.forecaster import BayesDemand
from civstats.models.bayes.priors import Prior, Priors
from civstats.models.bayes.problems import Problem

__all__ = ["BayesDemand", "Prior", "Priors", "Problem"]
