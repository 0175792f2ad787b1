"""Observed coverage of prediction intervals by regime, against nominal and expected coverage."""

from __future__ import annotations

import pandas as pd

from civstats.plots._row_panel import RowPanel
from civstats.plots._rows import row_chart
from civstats.plots._scores import pooled
from civstats.plots._style import REGIME_LABEL, Plot, in_house_style, spread
from civstats.schema import CivstatsError


@in_house_style
def coverage(scores: pd.DataFrame, levels: tuple[float, ...] | None = None) -> Plot:
    """Draw the share of outcomes inside the intervals, a row per model and treatment.

    Parameters
    ----------
    scores : pandas.DataFrame
        The score frame (`civstats.schema.SCORES`); pooled rows of ``coverage``, shares in [0, 1].
    levels : tuple of float, optional
        Interval levels in percent, a panel each; all in the frame by default, at most three.

    Returns
    -------
    Plot
        A line at the nominal level; ticks at ``expected`` (counts cover more than nominal).

    Raises
    ------
    CivstatsError
        If there is no pooled coverage at a level.
    """
    if levels is None:
        have = scores.loc[scores["metric"].eq("coverage"), "level"].dropna().astype(float).unique()
        levels = tuple(sorted(float(x) for x in have))[:3]
    if not levels:
        raise CivstatsError("the score frame holds no coverage; score with an interval level first")
    panels = [
        RowPanel(
            pooled(scores, "coverage", level),
            f"{level:g} % intervals",
            "share of outcomes inside",
            percent=True,
            reference=level / 100,
            columns=tuple(r for r in ("all_days", "demand") if (scores["regime"] == r).any()),
        )
        for level in levels
    ]
    first = panels[0].scores
    regime = (
        "demand" if first.loc[first["regime"] == "demand", "value"].notna().any() else "all_days"
    )
    parts = [
        f"{level:g} % intervals cover {_shares(panel.scores, regime)}"
        for level, panel in zip(levels, panels, strict=True)
    ]
    title = (
        f"Of {REGIME_LABEL[regime].replace('sales, all days', 'sales on all days')}, "
        + ", ".join(parts)
    )
    line = "The line is the nominal level."
    ticks = pd.concat([p.scores["expected"] - (p.reference or 0.0) for p in panels]).dropna()
    if len(ticks) and (ticks > 0).all():
        line += " Counts are discrete: a model expects its own intervals to cover more, as its tick shows."
    rows = first.groupby(["model", "treatment"]).ngroups
    alt = f"Dot plot of interval coverage for {rows} model and treatment rows. {title}."
    return Plot(row_chart(panels, title, line, tick="as the model expects"), alt)


def _shares(frame: pd.DataFrame, regime: str) -> str:
    text = spread(frame.loc[frame["regime"] == regime, "value"].to_numpy(), percent=True)
    return text.replace("from ", "").replace(" % to ", " to ")
