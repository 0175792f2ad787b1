"""Every figure: data frames in, a `Plot` (figure and alternative text) out."""

from civstats.plots._style import Plot
from civstats.plots.calibration import calibration_plot
from civstats.plots.coverage import coverage
from civstats.plots.heatmap import score_heatmap
from civstats.plots.naive import naive_evaluation
from civstats.plots.naive_caption import naive_evaluation_caption
from civstats.plots.naive_finding import Finding, naive_finding
from civstats.plots.overview import stockout_overview
from civstats.plots.pit import pit_plot
from civstats.plots.ranking import ranking, ranking_truth
from civstats.plots.series import example_series
from civstats.plots.value import cumulative_value, lever_values, stockout_reliability

__all__ = [
    "Finding",
    "Plot",
    "calibration_plot",
    "coverage",
    "cumulative_value",
    "example_series",
    "lever_values",
    "naive_evaluation",
    "naive_evaluation_caption",
    "naive_finding",
    "pit_plot",
    "ranking",
    "ranking_truth",
    "score_heatmap",
    "stockout_overview",
    "stockout_reliability",
]
