"""What being in stock is worth: levers, counterfactual sales on shared draws, ranking, totals."""

from civstats.value.conditional import demand_given_stockout
from civstats.value.counterfactual import gain_paths
from civstats.value.levers import LEVERS, Lever, World
from civstats.value.ranking import portfolio, rank_gains, rank_value
from civstats.value.truth import true_gain

__all__ = [
    "LEVERS",
    "Lever",
    "World",
    "demand_given_stockout",
    "gain_paths",
    "portfolio",
    "rank_gains",
    "rank_value",
    "true_gain",
]
