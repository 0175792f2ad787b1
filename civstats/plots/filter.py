"""What the demand filter recovers: its mean against the truth, and what its bands cover."""

from __future__ import annotations

from collections.abc import Sequence
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
    VERMILLION,
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
from civstats.schema import TREATMENTS, CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _GAP, _KEYS, _BELOW = 0.82, 0.32, 0.34, 0.42
_GREEN = TREATMENT_COLOUR["censor"]
Style = tuple[str, str, str, bool]
"""Colour, dashes, marker, whether the marker is filled."""
_WAYS: dict[str, Style] = {
    "oracle": (INK, "-", "o", False),
    "sales": (MUTED, "-.", "x", True),
    **{t: (TREATMENT_COLOUR[t], TREATMENT_LINE[t], TREATMENT_MARKER[t], True) for t in TREATMENTS},
}
_LEFTOVERS: tuple[Style, ...] = (
    (_GREEN, "-", "D", True),
    (VERMILLION, "--", "^", True),
    (INK, ":", "s", False),
)


@in_house_style
def recovered_mean(ways: pd.DataFrame, leftover: pd.DataFrame, title: str) -> Plot:
    """Draw the estimated over the true mean of demand by rate, and close up what is left of error.

    Parameters
    ----------
    ways : pandas.DataFrame
        ``world, rate, treatment, value, lo, hi``; treatments ``sales`` and ``oracle`` beside the
        three. A panel a world, a line a treatment.
    leftover : pandas.DataFrame
        ``world, rate, name, value, lo, hi``: ratios that should be 1, three names at most, drawn
        on an axis of their own with the band from 0.99 to 1.01.
    title : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If one of the tables has no row, or there are more names than line styles.
    """
    _need(ways, leftover)
    names = list(dict.fromkeys(leftover["name"]))
    if len(names) > len(_LEFTOVERS):
        raise CivstatsError(f"at most {len(_LEFTOVERS)} leftovers are drawn, but got {len(names)}")
    subtitle = (
        "Above: estimated mean demand over the true mean, by the share of days with a stockout; "
        "everything estimated. Below, close up: what error is left under censor. Grey: within 1 %. "
        "Bars: 95 %, over series and weeks."
    )
    worlds = list(dict.fromkeys(ways["world"]))
    top, figure = _page(title, subtitle, (2.5, 1.5), keys=2)
    known = [w for w in _WAYS if w in set(ways["treatment"])]
    _legend(figure, top, [(w, _WAYS[w]) for w in known])
    second = top + _KEYS + 0.2 + 2.5 + _BELOW
    styles = dict(zip(names, _LEFTOVERS, strict=False))
    _legend(figure, second - 0.02, list(styles.items()))
    for j, world in enumerate(worlds):
        part = ways[ways["world"] == world]
        ax = _place(figure, j, len(worlds), top + _KEYS + 0.2, 2.5)
        ax.axhline(1, color=INK, lw=0.8)
        _lines(ax, part, "treatment", {w: _WAYS[w] for w in known})
        _limits(ax, ways, 1.0)
        ax.set_title(label(world), loc="left", size=9.5, weight="bold")
        below = _place(figure, j, len(worlds), second + _KEYS, 1.5)
        below.axhspan(0.99, 1.01, color=MUTED, alpha=0.22, lw=0)
        below.axhline(1, color=INK, lw=0.8)
        _lines(below, leftover[leftover["world"] == world], "name", styles)
        _limits(below, leftover, 1.0, least=0.02)
        below.set_xlabel("days with a stockout, %")
        for one, text in ((ax, "estimated / true mean"), (below, "estimated / true")):
            _first_only(one, j, text)
    return Plot(figure, f"Line charts by stockout rate, {len(worlds)} world(s). {title}.")


@in_house_style
def band_coverage(table: pd.DataFrame, title: str, *, close_up: Sequence[str]) -> Plot:
    """Draw what the bands of the level cover by rate: a column a kind of day, close up below.

    Parameters
    ----------
    table : pandas.DataFrame
        ``days, level, rate, treatment, value, lo, hi``; levels in percent. The first row of panels
        holds the first level; below, a row a level shows the treatments of `close_up` with the
        band of 2 points around the level.
    title : str
    close_up : sequence of str
        Treatments.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If there is no row.
    """
    _need(table)
    levels = list(dict.fromkeys(table["level"]))
    days = list(dict.fromkeys(table["days"]))
    subtitle = (
        f"Share of days on which the band of the demand mean holds the true one. Above: {levels[0]:g} % "
        "bands; below, close up, with 2 points to either side in grey. Bars: 95 %, over series "
        "and weeks."
    )
    heights = (2.1, *[1.25] * len(levels))
    top, figure = _page(title, subtitle, heights, keys=1)
    known = [w for w in _WAYS if w in set(table["treatment"])]
    _legend(figure, top, [(w, _WAYS[w]) for w in known])
    for j, name in enumerate(days):
        mine = table[table["days"] == name]
        at = top + _KEYS + 0.2
        for i, level in enumerate((levels[0], *levels)):
            part = mine[mine["level"] == level]
            everything = table[table["level"] == level]
            ways = {w: _WAYS[w] for w in known}
            if i:
                ways = {w: s for w, s in ways.items() if w in close_up}
                everything = everything[everything["treatment"].isin(close_up)]
            ax = _place(figure, j, len(days), at, heights[i])
            at += heights[i] + (0.24 if i else _BELOW - 0.12)
            target = float(level) / 100
            if i:
                ax.axhspan(target - 0.02, target + 0.02, color=MUTED, alpha=0.22, lw=0)
            else:
                ax.set_title(label(name), loc="left", size=9.5, weight="bold")
            ax.axhline(target, color=INK, lw=0.8)
            _lines(ax, part, "treatment", ways)
            _limits(ax, everything, target, least=0.03 if i else 0.1, most=1.0)
            _first_only(ax, j, f"{level:g} % bands\ncover")
            if i == len(levels):
                ax.set_xlabel("days with a stockout, %")
    return Plot(figure, f"Line charts by stockout rate, {len(days)} kind(s) of day. {title}.")


def _need(*tables: pd.DataFrame) -> None:
    if not all(len(t) for t in tables):
        raise CivstatsError("there is nothing to draw: the table has no rows")


def _page(
    title: str, subtitle: str, heights: Sequence[float], *, keys: int
) -> tuple[float, Figure]:
    """Return where the panels begin, in inches from the top, and the figure with its heading."""
    top = heading_height(title, subtitle)
    figure = canvas(top + 0.2 + keys * _KEYS + sum(heights) + len(heights) * _BELOW + 0.05)
    heading(figure, title, subtitle)
    return top, figure


def _place(figure: Figure, j: int, n: int, top: float, height: float) -> Axes:
    width = (WIDTH - _LEFT - MARGIN - 0.05 - _GAP * (n - 1)) / n
    return axes(figure, _LEFT + j * (width + _GAP), top, width, height)


def _legend(figure: Figure, top: float, entries: Sequence[tuple[str, Style]]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=c, ls=ls, marker=m, lw=1.8, ms=5, mfc=c if full else "white", label=text
        )
        for text, (c, ls, m, full) in entries
    ]
    w, h = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="upper left", ncols=len(handles), frameon=False, fontsize=9,
        borderpad=0, handlelength=2.6, columnspacing=1.6, borderaxespad=0,
        bbox_to_anchor=(MARGIN / w, 1 - (top + 0.04) / h),
    )  # fmt: skip


def _lines(ax: Axes, part: pd.DataFrame, by: str, styles: dict[str, Style]) -> None:
    """Draw a line a name with bars, names side by side so that no bar hides another."""
    from matplotlib.ticker import FuncFormatter

    rates = sorted(part["rate"].unique())
    for k, (name, (colour, dashes, marker, full)) in enumerate(styles.items()):
        line = part[part[by] == name].sort_values("rate")
        x, y, lo, hi = (line[c].to_numpy(dtype=float) for c in ("rate", "value", "lo", "hi"))
        x = x + 0.004 * (k - (len(styles) - 1) / 2)
        ax.vlines(x, lo, hi, color=colour, lw=1.1, alpha=0.75)
        ax.plot(
            x, y, color=colour, ls=dashes, marker=marker, lw=1.6,
            ms=4.5 if full else 7, mfc=colour if full else "none",
        )  # fmt: skip
    ax.set_xticks(rates, [f"{100 * r:g}" for r in rates])
    if rates:
        ax.set_xlim(min(rates) - 0.03, max(rates) + 0.03)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    tidy(ax, grid="y")


def _limits(
    ax: Axes, table: pd.DataFrame, target: float, *, least: float = 0.05, most: float = np.inf
) -> None:
    """Hold all bars of a row of panels, and `least` to either side of the target."""
    low = min(float(np.nanmin(table[["value", "lo"]])), target - least)
    high = max(float(np.nanmax(table[["value", "hi"]])), target + least)
    pad = 0.05 * (high - low)
    ax.set_ylim(low - pad, min(high + pad, most + 0.005))


def _first_only(ax: Axes, j: int, text: str) -> None:
    if j == 0:
        ax.set_ylabel(text)
    else:
        ax.tick_params(labelleft=False)
