"""The same forecasts judged on all days' sales, on in-stock days and on demand: a dumbbell each."""

from __future__ import annotations

import pandas as pd

from civstats.plots._row_panel import RowPanel
from civstats.plots._rows import row_chart
from civstats.plots._scores import pooled
from civstats.plots._style import Plot, in_house_style
from civstats.plots.naive_caption import ERRORS
from civstats.plots.naive_finding import headline, known_truth, medians, naive_finding


@in_house_style
def naive_evaluation(scores: pd.DataFrame, metric: str = "rmse") -> Plot:
    """Draw the same forecasts scored on sales (all days, in-stock days) and on demand.

    A dumbbell chart: each row joins the score on all days with that against demand or, where demand
    is not known, with that on in-stock days. Ticks mark the bias that a perfect forecast would show.

    Parameters
    ----------
    scores : pandas.DataFrame
        The score frame (`civstats.schema.SCORES`). Only pooled rows (no cutoff) of ``bias``, a
        share, and of `metric` are read. NaN scores are left out and printed "n/a".
    metric : str
        The error of the right panel, such as ``"rmse"`` or ``"wape"``; ``"bias"`` for none.

    Returns
    -------
    Plot
        A row per model and treatment. Its title states what the bias shows, which may be that
        the naive evaluation does no harm here.

    Raises
    ------
    CivstatsError
        If a metric has no pooled score.
    """
    found = naive_finding(scores)
    present = [r for r in ("all_days", "in_stock", "demand") if (scores["regime"] == r).any()]
    shown = tuple(r for r in present if r != "in_stock" or "demand" not in present)
    panels = [
        RowPanel(
            pooled(scores, "bias"),
            "Bias",
            "(mean forecast − outcome) / outcome",
            percent=True,
            signed=True,
            reference=0.0,
            columns=shown,
            share=1.25,
        )
    ]
    if metric != "bias":
        name, unit, percent = ERRORS.get(metric, (metric, "", False))
        panels.append(
            RowPanel(
                pooled(scores, metric),
                "Error: " + name,
                f"{name}, {unit}" if unit else name,
                percent=percent,
                ring=True,
            )
        )
    title, subtitle = headline(found), medians(found)
    rows = panels[0].scores.groupby(["model", "treatment"]).ngroups
    alt = f"Dot plot of {rows} model and treatment rows. {title}. {subtitle}"
    tick = "a perfect forecast" if known_truth(panels[0].scores) else "if the model is right"
    return Plot(row_chart(panels, title, subtitle, tick=tick), alt)
