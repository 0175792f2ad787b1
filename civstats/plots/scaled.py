"""How far one model's scores lie from those of the others: a dot plot of paired ratios."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BLUE,
    MARGIN,
    MUTED,
    WIDTH,
    Plot,
    axes,
    canvas,
    heading,
    heading_height,
    in_house_style,
    label,
    share_tick,
    tidy,
)
from civstats.schema import CivstatsError, parse_alias

_TITLES = {"rmsse": "RMSSE", "scaled_pinball": "scaled pinball"}


@in_house_style
def scaled_ratios(differences: pd.DataFrame, title: str, subtitle: str) -> Plot:
    """Draw the ratio of a model's score to each other's, less 1, a panel per metric.

    Parameters
    ----------
    differences : pandas.DataFrame
        ``metric, b, ratio, ratio_lo, ratio_hi``, as from
        :meth:`civstats.evaluation.scaled.ScaledScorer.differences`; below 0 the model is better.
    title, subtitle : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If columns are missing or there is no row.
    """
    from matplotlib.ticker import FuncFormatter

    missing = [c for c in ("metric", "b", "ratio", "ratio_lo", "ratio_hi") if c not in differences]
    if missing or differences.empty:
        raise CivstatsError(
            f"the differences lack {', '.join(missing) or 'rows'}: pass those of ScaledScorer"
        )
    metrics = list(dict.fromkeys(differences["metric"]))
    names = list(dict.fromkeys(differences["b"]))
    top = heading_height(title, subtitle)
    tall = 0.34 * len(names) + 0.1
    figure = canvas(top + 0.35 + tall + 0.5)
    heading(figure, title, subtitle)
    left, gap = 1.7, 0.3
    width = (WIDTH - left - MARGIN - 0.2 - gap * (len(metrics) - 1)) / len(metrics)
    ends = differences[["ratio", "ratio_lo", "ratio_hi"]].to_numpy()
    low, high = min(0.0, np.nanmin(ends)), max(0.0, np.nanmax(ends))
    room = 0.05 * (high - low) + 0.002
    said = []
    for k, metric in enumerate(metrics):
        part = differences[differences["metric"] == metric].set_index("b").reindex(names)
        ax = axes(figure, left + k * (width + gap), top + 0.35, width, tall)
        y = np.arange(len(names))
        ax.axvline(0.0, color=MUTED, lw=1.0)
        ax.hlines(y, part["ratio_lo"], part["ratio_hi"], color=BLUE, lw=1.8, alpha=0.6)
        ax.plot(part["ratio"], y, "o", color=BLUE, ms=5.5)
        ax.set_yticks(y, [label(parse_alias(n)[0]) for n in names] if k == 0 else [""] * len(names))
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.set_xlim(low - room, high + room)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
        ax.set_title(_TITLES.get(metric, metric), loc="left", fontsize=9.5)
        ax.set_xlabel("left of 0: better than the model named", loc="left")
        tidy(ax, grid="x")
        shares = (f"{n} {r:+.1%}" for n, r in zip(names, part["ratio"], strict=True))
        said.append(f"{_TITLES.get(metric, metric)}: {', '.join(shares)}")
    return Plot(figure, f"Dot plot with intervals. {title}. {'; '.join(said)}.")
