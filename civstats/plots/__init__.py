"""Every figure: data frames in, a `Plot` (figure and alternative text) out."""

from civstats.plots._style import Plot
from civstats.plots.coverage import coverage
from civstats.plots.naive import naive_evaluation
from civstats.plots.naive_caption import Finding, naive_evaluation_caption, naive_finding
from civstats.plots.overview import stockout_overview
from civstats.plots.ranking import ranking, ranking_truth
from civstats.plots.series import example_series

__all__ = [
    "Finding",
    "Plot",
    "coverage",
    "example_series",
    "naive_evaluation",
    "naive_evaluation_caption",
    "naive_finding",
    "ranking",
    "ranking_truth",
    "stockout_overview",
]
