"""Exact Bayesian filter of a drifting demand level under a censored likelihood, for all series.

Demand of a day is D_t ~ F(level l_t + offset x_t): counts with mean ``exp(l_t + x_t)``, a normal
with that location, or a log-normal. The level is a random walk with daily variance
``level_sd ** 2`` that leaves expected demand where it is (or an AR(1) around a mean), put on an equally spaced grid as a birth-death chain,
several substeps a day where the variance asks for it. A day is exact (D = y), a bound (D >= y,
ties included), or silent: time advances and nothing is learned. With hidden availability every day
is in or out of stock, sales are 0 when out, and days known to be in or out are pinned.

The forward pass gives the filtered level and the marginal likelihood, the backward pass the level
given all days, backward sampling whole level paths (Kitagawa, 1987).
"""

from civstats.demand_filter.grid import Grid, build_grid
from civstats.demand_filter.layout import (
    BOUND,
    EXACT,
    IN,
    OUT,
    SILENT,
    UNKNOWN,
    Observations,
    observations,
)
from civstats.demand_filter.model import DemandFilter
from civstats.demand_filter.parameters import FAMILIES, FilterParameters
from civstats.demand_filter.passes import filter_levels, log_likelihood, smooth_levels, update
from civstats.demand_filter.posteriors import SeriesPosterior, visit_posteriors
from civstats.demand_filter.results import Levels, LevelSummary
from civstats.demand_filter.sampling import (
    FuturePaths,
    LevelDraws,
    sample_forward,
    sample_levels,
)
from civstats.demand_filter.state import State

__all__ = [
    "BOUND",
    "EXACT",
    "FAMILIES",
    "IN",
    "OUT",
    "SILENT",
    "UNKNOWN",
    "DemandFilter",
    "FilterParameters",
    "FuturePaths",
    "Grid",
    "LevelDraws",
    "LevelSummary",
    "Levels",
    "Observations",
    "SeriesPosterior",
    "State",
    "build_grid",
    "filter_levels",
    "log_likelihood",
    "observations",
    "sample_forward",
    "sample_levels",
    "smooth_levels",
    "update",
    "visit_posteriors",
]
