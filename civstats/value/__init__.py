"""What being in stock is worth: levers, counterfactual sales on shared draws, ranking, totals."""

from civstats.value.conditional import demand_given_stockout
from civstats.value.counterfactual import gain_paths
from civstats.value.levers import LEVERS, Lever, Scope, World, averted, gone, service_level
from civstats.value.margins import MarginPrior
from civstats.value.ranking import portfolio, rank_gains, rank_value
from civstats.value.truth import true_gain

__all__ = [
    "LEVERS",
    "Lever",
    "MarginPrior",
    "Scope",
    "World",
    "averted",
    "demand_given_stockout",
    "gain_paths",
    "gone",
    "portfolio",
    "rank_gains",
    "rank_value",
    "service_level",
    "true_gain",
]
