"""Whether the ends of intervals hold demand: two panels of dots, lower and upper, by mechanism."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BAND,
    INK,
    MARGIN,
    MUTED,
    SKY,
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
    number,
    share_tick,
    tidy,
)
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDS = {"lower": "demand at or above the lower end", "upper": "demand at or below the upper end"}
_COLUMNS = ("group", "method", "end", "value", "lo", "hi")
_LOOKS = (
    (VERMILLION, "o"),
    (SKY, "s"),
    (TREATMENT_COLOUR["censor"], "D"),
    (INK, "^"),
    (MUTED, "v"),
)
_LEFT, _GAP, _ROW = 2.3, 0.3, 0.25


@in_house_style
def interval_ends(
    table: pd.DataFrame, nominal: float, title: str, subtitle: str, hollow: tuple[str, ...] = ()
) -> Plot:
    """Draw how often each end of an interval holds demand, a row per group and method.

    Parameters
    ----------
    table : pandas.DataFrame
        ``group, method, end`` (``lower`` or ``upper``), ``value, lo, hi``, shares in [0, 1].
    nominal : float
        The share that each end is to hold.
    title, subtitle : str
    hollow : tuple of str
        Methods whose upper end promises nothing; their dots there are hollow.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If columns are missing, there is no row, or a row stands there twice.
    """
    from matplotlib.ticker import FuncFormatter

    missing = [c for c in _COLUMNS if c not in table.columns]
    if missing or table.empty:
        raise CivstatsError(f"the table lacks {', '.join(missing) or 'rows'}: it needs {_COLUMNS}")
    if table.duplicated(["group", "method", "end"]).any():
        raise CivstatsError(
            "a group, method and end stand in the table twice; name one model and level"
        )
    rows = table[["group", "method"]].drop_duplicates().reset_index(drop=True)
    methods = list(dict.fromkeys(rows["method"]))
    if len(methods) > len(_LOOKS):
        raise CivstatsError(f"{len(methods)} methods are more than can be told apart")
    top = heading_height(title, subtitle)
    tall = _ROW * len(rows)
    figure = canvas(top + 0.3 + tall + 0.5)
    heading(figure, title, subtitle)
    width = (WIDTH - _LEFT - MARGIN - _GAP - 0.1) / 2
    values = table[["value", "lo", "hi"]].to_numpy(dtype=float)
    low, high = min(nominal, float(np.nanmin(values))), max(nominal, float(np.nanmax(values)))
    pad = 0.04 * (high - low) + 0.002
    for k, (end, words) in enumerate(ENDS.items()):
        ax = axes(figure, _LEFT + k * (width + _GAP), top + 0.3, width, tall)
        part = table[table["end"] == end].set_index(["group", "method"])
        _draw(ax, part.reindex(pd.MultiIndex.from_frame(rows)), methods, end, hollow)
        _bands(ax, rows)
        ax.axvline(nominal, color=INK, lw=0.8, zorder=1)
        ax.set_xlim(low - pad, high + pad)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_title(words, loc="left", size=9.5, weight="bold")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
        if k:
            ax.set_yticks(range(len(rows)), [])
        else:
            ax.set_yticks(range(len(rows)), [label(m) for m in rows["method"]])
        tidy(ax, grid="x")
    size = figure.get_size_inches()
    for group, at in rows.groupby("group", sort=False).groups.items():
        y = 1 - (top + 0.3 + _ROW * (min(at) + 0.5)) / size[1]
        figure.text(
            MARGIN / size[0], y, label(group, 30), size=9, weight="bold", va="center", ha="left"
        )
    return Plot(figure, _alt(table, title))


def _draw(
    ax: Axes, part: pd.DataFrame, methods: list[str], end: str, hollow: tuple[str, ...]
) -> None:
    for y, method in enumerate(part.index.get_level_values("method")):
        row = part.iloc[y]
        colour, marker = _LOOKS[methods.index(method)]
        ax.plot([row["lo"], row["hi"]], [y, y], color=colour, lw=1.6, zorder=2)
        face = "white" if end == "upper" and method in hollow else colour
        ax.plot(row["value"], y, marker, color=colour, mfc=face, ms=5.5, mew=1.4, zorder=3)


def _bands(ax: Axes, rows: pd.DataFrame) -> None:
    for k, at in enumerate(rows.groupby("group", sort=False).groups.values()):
        if k % 2 == 0:
            ax.axhspan(min(at) - 0.5, max(at) + 0.5, color=BAND, lw=0, zorder=0)


def _alt(table: pd.DataFrame, title: str) -> str:
    said = []
    for group, part in table.groupby("group", sort=False):
        for end in ENDS:
            dots = part[part["end"] == end]
            shown = ", ".join(
                f"{m} {number(v, percent=True)}"
                for m, v in zip(dots["method"], dots["value"], strict=True)
            )
            said.append(f"{group}, {end} end: {shown}")
    return f"Dot plot of how often interval ends hold demand. {title}. {'; '.join(said)}."
