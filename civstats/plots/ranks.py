"""Ranks of the truth among joint draws: flat histograms where the draws are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    INK,
    MARGIN,
    MUTED,
    TREATMENT_COLOUR,
    VERMILLION,
    WIDTH,
    Plot,
    axes,
    canvas,
    heading,
    heading_height,
    in_house_style,
    label,
    text_width,
    tidy,
)
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@in_house_style
def rank_histograms(
    ranks: pd.DataFrame, n_draws: int, title: str, subtitle: str, *, n_bins: int = 16
) -> Plot:
    """Draw the ranks of the truth among joint draws, a panel a case: flat where draws are right.

    Parameters
    ----------
    ranks : pandas.DataFrame
        ``row, column, rank``: the panel's place by name, ranks 0 .. n_draws.
    n_draws : int
    title, subtitle : str
    n_bins : int
        A divisor of ``n_draws + 1``.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If there is no rank, or bins would hold different numbers of ranks.

    Notes
    -----
    The grey band holds 99 % of the counts of a bin where ranks are uniform and independent
    (binomial; Talts et al., 2018); bars outside it are orange.
    """
    from scipy import stats

    if not len(ranks):
        raise CivstatsError("there are no ranks to draw")
    if (n_draws + 1) % n_bins:
        raise CivstatsError(
            f"{n_bins} bins do not hold the same number of the {n_draws + 1} ranks; choose draws + "
            "1 a multiple of the bins"
        )
    rows, columns = (list(dict.fromkeys(ranks[x])) for x in ("row", "column"))
    top = heading_height(title, subtitle)
    tall, gap = 0.72, 0.16
    left = 0.3 + max(text_width(label(r), 9) for r in rows)
    figure = canvas(top + 0.3 + len(rows) * (tall + gap) + 0.42)
    heading(figure, title, subtitle)
    width = (WIDTH - left - MARGIN - 0.1 - 0.16 * (len(columns) - 1)) / len(columns)
    for i, row in enumerate(rows):
        drawn = []
        for j, column in enumerate(columns):
            place = (left + j * (width + 0.16), top + 0.3 + i * (tall + gap))
            ax = axes(figure, *place, width, tall)
            drawn.append(ax)
            mine = (ranks["row"] == row) & (ranks["column"] == column)
            rank = ranks.loc[mine, "rank"].to_numpy().astype(int)
            counts = np.bincount(rank * n_bins // (n_draws + 1), minlength=n_bins)
            if len(rank):
                _bars(ax, counts / len(rank) * n_bins, len(rank), n_bins, stats.binom.interval)
            ax.set_xlim(0, 1)
            ax.set_yticks([1.0], labels=["1"] if j == 0 else [""])
            ax.set_xticks([0, 0.5, 1], labels=["0", "½", "1"] if i == len(rows) - 1 else [""] * 3)
            if i == 0:
                ax.set_title(label(column), loc="left", size=9, weight="bold")
            if j == 0:
                ax.set_ylabel(label(row), rotation=0, ha="right", va="center", size=9, color=INK)
                if i == len(rows) - 1:
                    ax.set_xlabel("rank of the truth, share", loc="left", size=8.5)
            tidy(ax)
        # Bars of a row compare by eye.
        high = max(ax.get_ylim()[1] for ax in drawn)
        for ax in drawn:
            ax.set_ylim(0, 1.06 * high)
    n = len(rows) * len(columns)
    return Plot(figure, f"{n} histogram(s) of {len(ranks)} ranks in {n_bins} bins. {title}.")


def _bars(ax: Axes, height: np.ndarray, n: int, n_bins: int, interval: Callable) -> None:
    """Draw a histogram in units of its expectation, with the band of a right model."""
    low, high = (x * n_bins / n for x in interval(0.99, n, 1 / n_bins))
    ax.axhspan(low, high, color=MUTED, alpha=0.25, lw=0)
    ax.axhline(1, color=INK, lw=0.6)
    out = (height < low) | (height > high)
    where = (np.arange(n_bins) + 0.5) / n_bins
    ax.bar(
        where,
        height,
        width=0.86 / n_bins,
        color=np.where(out, VERMILLION, TREATMENT_COLOUR["censor"]),
    )
