"""Stockouts from sales alone: what detectors find, whether probabilities hold, excess zero runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BLUE,
    FAINT,
    INK,
    MARGIN,
    MUTED,
    SKY,
    VERMILLION,
    WIDTH,
    Plot,
    axes,
    canvas,
    heading,
    heading_height,
    in_house_style,
    label,
    number,
    share_tick,
    tidy,
)
from civstats.schema import DS, ID, P_OUT, CivstatsError, Y

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT, _GAP, _RIGHT = 0.8, 0.4, 0.28
_GREEN = "#009E73"
_DETECTORS = (
    ("DemandFilter", "demand filter", _GREEN, "-", 2.2),
    ("zero run", "zero run, by the item's rate", VERMILLION, "--", 1.6),
    ("zero run, near rate", "zero run, by its rate near the run", BLUE, ":", 1.8),
)
_RATE_STYLE = ((BLUE, "s"), (VERMILLION, "o"), (_GREEN, "D"), (INK, "^"))
_MOVERS = {"fast": "one a day or more", "slow": "less than one a day"}


@in_house_style
def detection_curves(curves: pd.DataFrame, title: str, subtitle: str, *, most: float = 0.3) -> Plot:
    """Draw the share of days out that each detector finds against its false alarms.

    Parameters
    ----------
    curves : pandas.DataFrame
        ``mechanism, movers, detector, false_alarms, found`` at one rate of stockouts, shares.
    title, subtitle : str
    most : float
        Where the axis of false alarms ends.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If columns are missing or there is no curve.
    """
    _need(curves, ("mechanism", "movers", "detector", "false_alarms", "found"))

    def draw(ax: Axes, part: pd.DataFrame) -> None:
        ax.plot([0, most], [0, most], color=FAINT, lw=1.2)
        for x in (0.05, 0.15):
            ax.axvline(x, color=FAINT, lw=0.8, zorder=0)
        for name, _, colour, dashes, width in _DETECTORS:
            line = part[part["detector"] == name].sort_values("false_alarms")
            line = line[line["false_alarms"] <= most + 1e-9]
            ax.plot(line["false_alarms"], line["found"], color=colour, ls=dashes, lw=width)
        ax.set_xlim(0, most)
        ax.set_ylim(0, 1)
        ax.set_xticks([0, 0.05, 0.15, most])

    figure = _grid(curves, title, subtitle, draw, "in-stock days without sales called out",
                   "days out found", [(n, c, d, None) for _, n, c, d, _ in _DETECTORS])  # fmt: skip
    return Plot(figure, f"Line charts, days out found against false alarms. {title}. {subtitle}")


@in_house_style
def detection_reliability(reliability: pd.DataFrame, title: str, subtitle: str) -> Plot:
    """Draw how often days were out against the probability that they were: the diagonal is right.

    Parameters
    ----------
    reliability : pandas.DataFrame
        ``mechanism, movers, rate, p_out, out, lo, hi``, shares; a row per bin of days.
    title, subtitle : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If columns are missing or there is no bin.
    """
    _need(reliability, ("mechanism", "movers", "rate", P_OUT, "out", "lo", "hi"))
    rates = sorted(reliability["rate"].unique())

    def draw(ax: Axes, part: pd.DataFrame) -> None:
        ax.plot([0, 1], [0, 1], color=MUTED, lw=1.0)
        for (colour, marker), rate in zip(_RATE_STYLE, rates, strict=False):
            line = part[part["rate"] == rate].sort_values(P_OUT)
            x, y = line[P_OUT].to_numpy(), line["out"].to_numpy()
            ax.vlines(x, line["lo"], line["hi"], color=colour, lw=1.0, alpha=0.6)
            ax.plot(x, y, color=colour, marker=marker, ms=3.8, lw=1.2)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.set_xticks([0, 0.5, 1])

    keys = [
        (f"{number(r, percent=True)} of days with a stockout", c, "-", m)
        for (c, m), r in zip(_RATE_STYLE, rates, strict=False)
    ]
    figure = _grid(
        reliability, title, subtitle, draw, "probability of being out", "share out", keys
    )
    return Plot(figure, f"Reliability curves of the probability of being out. {title}. {subtitle}")


def _grid(
    frame: pd.DataFrame,
    title: str,
    subtitle: str,
    draw: Callable[[Axes, pd.DataFrame], None],
    x_label: str,
    y_label: str,
    keys: Sequence[tuple[str, str, str, str | None]],
) -> Figure:
    """Draw a column of panels per mechanism, a row per kind of mover."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter

    columns = list(frame["mechanism"].unique())
    rows = [m for m in _MOVERS if (frame["movers"] == m).any()]
    top = heading_height(title, subtitle)
    tall, below = 1.75, 0.45
    figure = canvas(top + 0.65 + len(rows) * (tall + below) + 0.15)
    heading(figure, title, subtitle)
    width = (WIDTH - _LEFT - _RIGHT - _GAP * (len(columns) - 1)) / len(columns)
    percent = FuncFormatter(lambda v, _: share_tick(v))
    for i, movers in enumerate(rows):
        for j, mechanism in enumerate(columns):
            place = (_LEFT + j * (width + _GAP), top + 0.65 + i * (tall + below))
            ax = axes(figure, *place, width, tall)
            draw(ax, frame[(frame["mechanism"] == mechanism) & (frame["movers"] == movers)])
            ax.xaxis.set_major_formatter(percent)
            ax.yaxis.set_major_formatter(percent)
            ax.set_title(mechanism if i == 0 else "", loc="left", size=9.5, weight="bold")
            if j == 0:
                ax.set_ylabel(f"{y_label}\n{_MOVERS[movers]}", size=8.5)
            else:
                ax.tick_params(labelleft=False)
            if i == len(rows) - 1 and j == 0:
                ax.set_xlabel(x_label, size=8.5, loc="left")
            tidy(ax, grid="y")
    handles = [
        Line2D([], [], color=c, ls=d, marker=m, lw=1.8, ms=4.5, label=text)
        for text, c, d, m in keys
    ]
    w, h = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="upper left", ncols=len(handles), frameon=False, fontsize=9, borderpad=0,
        handlelength=2.6, columnspacing=1.6, borderaxespad=0,
        bbox_to_anchor=(MARGIN / w, 1 - (top + 0.08) / h),
    )  # fmt: skip
    return figure


@in_house_style
def excess_departments(departments: pd.DataFrame, title: str, subtitle: str) -> Plot:
    """Draw the share of item-days that look out of stock, a row per department, a mark per sample.

    Parameters
    ----------
    departments : pandas.DataFrame
        ``sample, department, out, lo, hi``, shares.
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

    _need(departments, ("sample", "department", "out", "lo", "hi"))
    names = list(dict.fromkeys(departments["department"]))
    samples = list(dict.fromkeys(departments["sample"]))
    top = heading_height(title, subtitle)
    tall = 0.36 * len(names) + 0.1
    figure = canvas(top + 0.4 + tall + 0.5)
    heading(figure, title, subtitle)
    ax = axes(figure, 1.35, top + 0.4, WIDTH - 1.35 - MARGIN - 0.2, tall)
    for k, sample in enumerate(samples):
        part = departments[departments["sample"] == sample].set_index("department").reindex(names)
        colour, marker = _RATE_STYLE[k % len(_RATE_STYLE)]
        y = np.arange(len(names)) + 0.22 * (k - (len(samples) - 1) / 2)
        ax.hlines(y, part["lo"], part["hi"], color=colour, lw=1.6, alpha=0.6)
        ax.plot(part["out"], y, marker, color=colour, ms=5.5, label=sample)
    ax.set_yticks(np.arange(len(names)), [label(n) for n in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlim(0, 1.05 * float(departments["hi"].max()))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    ax.set_xlabel("item-days on sale in excess zero runs", loc="left")
    tidy(ax, grid="x")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(samples), frameon=False)
    return Plot(figure, f"Dot plot by department. {title}. {subtitle}")


@in_house_style
def excess_examples(examples: pd.DataFrame, title: str, subtitle: str, *, last: int = 500) -> Plot:
    """Draw series with their daily sales and, shaded, the probability of having been out.

    Parameters
    ----------
    examples : pandas.DataFrame
        ``unique_id, ds, y, p_out`` of up to ten series, sorted.
    title, subtitle : str
    last : int
        Days shown.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If columns are missing, or the series are none or more than ten.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    _need(examples, (ID, DS, Y, P_OUT))
    names = list(dict.fromkeys(examples[ID].astype(str)))
    if len(names) > 10:
        raise CivstatsError(f"excess_examples draws 1 to 10 series, but got {len(names)}")
    top = heading_height(title, subtitle)
    tall, below = 0.72, 0.36
    figure = canvas(top + 0.3 + len(names) * (tall + below) + 0.15)
    heading(figure, title, subtitle)
    start = examples[DS].max() - pd.Timedelta(days=last)
    for i, name in enumerate(names):
        part = examples[(examples[ID].astype(str) == name) & (examples[DS] > start)]
        ax = axes(figure, 0.45, top + 0.3 + i * (tall + below), WIDTH - 0.45 - MARGIN - 0.1, tall)
        days, sales = part[DS].to_numpy(), part[Y].to_numpy(dtype=float)
        high = max(float(sales.max(initial=0)), 1.0) * 1.06
        suspect = np.nan_to_num(part[P_OUT].to_numpy(dtype=float))
        ax.fill_between(days, high * suspect, step="mid", color=VERMILLION, alpha=0.35, lw=0)
        gone = part[P_OUT].isna().to_numpy()
        ax.fill_between(days, high * gone, step="mid", color=SKY, alpha=0.35, lw=0)
        ax.vlines(days, 0, sales, color=INK, lw=0.7)
        ax.set_ylim(0, high)
        ax.set_xlim(start, examples[DS].max())
        locator = AutoDateLocator(minticks=4, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
        ax.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        ax.set_title(label(name, 40), loc="left", size=8.6, weight="bold", pad=3)
        ax.tick_params(labelbottom=i == len(names) - 1)
        tidy(ax)
    return Plot(figure, f"Daily sales of {len(names)} series, suspect days shaded. {title}.")


def _need(frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise CivstatsError(f"the frame lacks column(s) {', '.join(missing)}")
    if frame.empty:
        raise CivstatsError("there is nothing to draw: the frame has no rows")
