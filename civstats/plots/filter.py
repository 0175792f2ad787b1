"""What the demand filter recovers: its mean against the truth, and what its bands cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    INK,
    MARGIN,
    MUTED,
    TREATMENT_COLOUR,
    TREATMENT_LINE,
    TREATMENT_MARKER,
    WIDTH,
    Plot,
    axes,
    canvas,
    heading,
    heading_height,
    in_house_style,
    share_tick,
    tidy,
)
from civstats.schema import TREATMENTS, CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEFT, _GAP, _HEIGHT = 0.78, 0.35, 2.6
_LINES: dict[str, tuple[str, str, str | None]] = {
    "sales": (MUTED, "-.", "x"),
    **{t: (TREATMENT_COLOUR[t], TREATMENT_LINE[t], TREATMENT_MARKER[t]) for t in TREATMENTS},
    "oracle": (INK, "-", None),
}


@in_house_style
def recovered_mean(table: pd.DataFrame, title: str) -> Plot:
    """Draw the estimated over the true mean of demand by rate: a panel per world, a line per way.

    Parameters
    ----------
    table : pandas.DataFrame
        ``world, rate, treatment, value, lo, hi``; treatments ``sales`` and ``oracle`` beside
        the three.
    title : str

    Raises
    ------
    CivstatsError
        If there is no row.
    """
    return _panels(
        table,
        "world",
        title,
        "Mean demand that the filter sees, as a share of the true mean, by the share of days with "
        "a stockout; everything estimated. Bands: 95 %, over series and weeks of all worlds.",
        "estimated / true mean",
        1.0,
    )


@in_house_style
def band_coverage(table: pd.DataFrame, title: str) -> Plot:
    """Draw what the 80 % bands of the level cover by rate: a panel per kind of day.

    Parameters
    ----------
    table : pandas.DataFrame
        ``days, rate, treatment, value, lo, hi``.
    title : str

    Raises
    ------
    CivstatsError
        If there is no row.
    """
    return _panels(
        table,
        "days",
        title,
        "Share of days on which the 80 % band of the demand mean holds the true one, by the share of "
        "days with a stockout.",
        "80 % bands cover",
        0.8,
    )


def _panels(
    table: pd.DataFrame, by: str, title: str, subtitle: str, label: str, target: float
) -> Plot:
    from matplotlib.lines import Line2D

    if not len(table):
        raise CivstatsError("there is nothing to draw: the table has no rows")
    names = list(table[by].unique())
    top = heading_height(title, subtitle)
    figure = canvas(top + 0.55 + _HEIGHT + 0.5)
    heading(figure, title, subtitle)
    width = (WIDTH - _LEFT - MARGIN - _GAP * (len(names) - 1)) / len(names)
    low, high = float(table["lo"].min()), float(table["hi"].max())
    pad = 0.05 * (max(high, target) - min(low, target))
    shown = [t for t in _LINES if t in set(table["treatment"])]
    for i, name in enumerate(names):
        ax = axes(figure, _LEFT + i * (width + _GAP), top + 0.55, width, _HEIGHT)
        ax.set_ylim(min(low, target) - pad, max(high, target) + pad)
        ax.axhline(target, color=INK, lw=0.8)
        _draw(ax, table[table[by] == name], shown)
        ax.set_title(str(name), loc="left", size=9.5, weight="bold")
        if i == 0:
            ax.set_ylabel(label)
        else:
            ax.tick_params(labelleft=False)
    handles = [
        Line2D([], [], color=c, ls=ls, marker=m, lw=1.8, ms=4.5, label=t)
        for t, (c, ls, m) in _LINES.items()
        if t in shown
    ]
    w, h = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="upper left", ncols=5, frameon=False, fontsize=9, borderpad=0,
        handlelength=2.6, columnspacing=1.6, borderaxespad=0,
        bbox_to_anchor=(MARGIN / w, 1 - (top + 0.04) / h),
    )  # fmt: skip
    return Plot(figure, f"Line charts by stockout rate, {len(names)} panel(s). {title}.")


def _draw(ax: Axes, part: pd.DataFrame, shown: list[str]) -> None:
    from matplotlib.ticker import FuncFormatter

    for treatment in shown:
        line = part[part["treatment"] == treatment].sort_values("rate")
        x, y, lo, hi = (line[c].to_numpy(dtype=float) for c in ("rate", "value", "lo", "hi"))
        colour, dashes, marker = _LINES[treatment]
        ax.fill_between(x, lo, hi, color=colour, alpha=0.15, lw=0)
        ax.plot(x, y, color=colour, ls=dashes, marker=marker, ms=4.5, lw=1.8)
    rates = sorted(part["rate"].unique())
    ax.set_xticks(rates, [f"{100 * r:g}" for r in rates])
    ax.set_xlim(min(rates) - 0.02, max(rates) + 0.03)
    ax.set_xlabel("days with a stockout, %")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    tidy(ax, grid="y")


@in_house_style
def rank_histogram(ranks: np.ndarray, n_draws: int, title: str, n_bins: int = 20) -> Plot:
    """Draw the ranks of the truth among joint draws: flat where the draws are right.

    Parameters
    ----------
    ranks : numpy.ndarray of int
        0 .. n_draws.
    n_draws : int
    title : str
    n_bins : int
        ``n_draws + 1`` should be a multiple of it.

    Raises
    ------
    CivstatsError
        If there is no rank.

    Notes
    -----
    The grey band holds 95 % of the counts of a bin (binomial), as in Talts et al. (2018).
    """
    from scipy import stats

    if not len(ranks):
        raise CivstatsError("there are no ranks to draw")
    subtitle = (
        "Rank of each series' true lost units, over the whole span, among its joint draws. Grey: "
        "where 95 % of the bars of a right model lie."
    )
    top = heading_height(title, subtitle)
    figure = canvas(top + 0.15 + 2.3 + 0.5)
    heading(figure, title, subtitle)
    ax = axes(figure, _LEFT, top + 0.15, WIDTH - _LEFT - MARGIN, 2.3)
    counts, _ = np.histogram(ranks, bins=np.linspace(-0.5, n_draws + 0.5, n_bins + 1))
    low, high = stats.binom.interval(0.95, len(ranks), 1 / n_bins)
    ax.axhspan(low, high, color=MUTED, alpha=0.25, lw=0)
    ax.bar((np.arange(n_bins) + 0.5) / n_bins, counts, width=0.9 / n_bins, color="#009E73")
    ax.set_xlim(0, 1)
    ax.set_xlabel("rank of the truth among the draws, share")
    ax.set_ylabel("series")
    tidy(ax, grid="y")
    return Plot(figure, f"Histogram of {len(ranks)} ranks in {n_bins} bins. {title}.")
