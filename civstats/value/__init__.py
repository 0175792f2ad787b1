"""What being in stock is worth: levers, counterfactual sales on shared draws, ranking, totals."""

from civstats.value.between import gain_between, true_gain_between
from civstats.value.conditional import demand_given_stockout
from civstats.value.counterfactual import gain_paths
from civstats.value.drivers import explain
from civstats.value.hindsight import in_true_top, reliability, top_k_regret
from civstats.value.levers import LEVERS, Lever, Scope, World, averted, gone, service_level
from civstats.value.lost import lost_paths
from civstats.value.margins import MarginPrior
from civstats.value.net import RecapturePrior, net_gains
from civstats.value.ranking import portfolio, rank_gains, rank_value
from civstats.value.recapture import RecaptureEstimate, estimate_recapture
from civstats.value.truth import true_gain

__all__ = [
    "LEVERS",
    "Lever",
    "MarginPrior",
    "RecaptureEstimate",
    "RecapturePrior",
    "Scope",
    "World",
    "averted",
    "demand_given_stockout",
    "estimate_recapture",
    "explain",
    "gain_between",
    "gain_paths",
    "gone",
    "in_true_top",
    "lost_paths",
    "net_gains",
    "portfolio",
    "rank_gains",
    "rank_value",
    "reliability",
    "service_level",
    "top_k_regret",
    "true_gain",
    "true_gain_between",
]
