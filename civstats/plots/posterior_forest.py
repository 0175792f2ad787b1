"""Forest plots: estimates with their bands, and what pooling makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    FAINT,
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
    from matplotlib.figure import Figure

_ROW = 0.21
_MOST = 30
"""Rows of a panel: a longer forest says nothing on a page."""
_STYLE = {
    "no pooling": (VERMILLION, "o"),
    "partial pooling": (TREATMENT_COLOUR["censor"], "D"),
    "complete pooling": (INK, "|"),
}


@in_house_style
def forest(table: pd.DataFrame, title: str, subtitle: str) -> Plot:
    """Draw medians with 50 and 80 % bands, a panel a quantity, a row a group.

    Parameters
    ----------
    table : pandas.DataFrame
        ``panel, row, median, lo50, hi50, lo80, hi80``; an optional ``reference`` is drawn as a
        grey line through the panel, such as the mean over groups.
    title, subtitle : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If there is no row, or more than 30 in a panel.
    """
    _need(table)
    panels = list(dict.fromkeys(table["panel"]))
    rows = list(dict.fromkeys(table["row"]))
    figure, places = _page(title, subtitle, panels, rows)
    colour = TREATMENT_COLOUR["censor"]
    for ax, panel in zip(places, panels, strict=True):
        part = table[table["panel"] == panel].set_index("row").reindex(rows)
        y = np.arange(len(rows))
        if "reference" in part and part["reference"].notna().any():
            ax.axvline(float(part["reference"].dropna().iloc[0]), color=MUTED, lw=0.9, ls="--")
        ax.hlines(y, part["lo80"], part["hi80"], color=colour, lw=1.2)
        ax.hlines(y, part["lo50"], part["hi50"], color=colour, lw=3.4)
        ax.plot(part["median"], y, "o", ms=4.5, mfc="white", mec=colour, mew=1.3)
    return Plot(
        figure,
        f"Forest plot of {len(rows)} group(s) in {len(panels)} panel(s): {', '.join(map(str, panels))}. "
        f"{title}.",
    )


@in_house_style
def pooling(table: pd.DataFrame, title: str, subtitle: str, *, unit: str) -> Plot:
    """Draw each group's estimate alone, partially pooled, and the one of all groups together.

    Parameters
    ----------
    table : pandas.DataFrame
        ``panel, row, way, value, lo, hi``; ways ``no pooling``, ``partial pooling``,
        ``complete pooling``. `lo` and `hi` may be missing. A group that cannot be estimated alone
        has a missing value there.
    title, subtitle, unit : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If there is no row, more than 30 in a panel, or an unknown way.
    """
    from matplotlib.lines import Line2D

    _need(table)
    unknown = sorted(set(table["way"]) - set(_STYLE))
    if unknown:
        raise CivstatsError(f"way must be one of {', '.join(_STYLE)}, but got {unknown[0]!r}")
    panels = list(dict.fromkeys(table["panel"]))
    rows = list(dict.fromkeys(table["row"]))
    figure, places = _page(title, subtitle, panels, rows, key=0.28)
    ways = [w for w in _STYLE if w in set(table["way"])]
    for ax, panel in zip(places, panels, strict=True):
        for k, way in enumerate(ways):
            part = table[(table["panel"] == panel) & (table["way"] == way)]
            part = part.set_index("row").reindex(rows)
            colour, marker = _STYLE[way]
            if way == "complete pooling":
                if part["value"].notna().any():
                    ax.axvline(float(part["value"].dropna().iloc[0]), color=INK, lw=1, ls="--")
                continue
            y = np.arange(len(rows)) + 0.24 * (k - 0.5)
            ax.hlines(y, part["lo"], part["hi"], color=colour, lw=1.2)
            ax.plot(part["value"], y, marker, ms=4, color=colour)
        ax.set_xlabel(unit)
    w, h = figure.get_size_inches()
    handles = [
        Line2D(
            [], [], color=_STYLE[way][0], marker=_STYLE[way][1] if k < 2 else "", ms=4,
            ls="--" if way == "complete pooling" else "-", lw=1.2, label=way,
        )
        for k, way in enumerate(ways)
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="upper left", ncols=3, frameon=False, fontsize=9, borderpad=0,
        borderaxespad=0, bbox_to_anchor=(MARGIN / w, 1 - heading_height(title, subtitle) / h),
    )  # fmt: skip
    return Plot(
        figure,
        f"Estimates of {len(rows)} group(s) alone, partially pooled and all together. {title}.",
    )


def _need(table: pd.DataFrame) -> None:
    if table.empty:
        raise CivstatsError("there is nothing to draw: the table has no rows")
    most = table["row"].nunique()
    if most > _MOST:
        raise CivstatsError(f"a forest of {most} rows cannot be read: choose {_MOST} at most")


def _page(
    title: str, subtitle: str, panels: list, rows: list, key: float = 0.0
) -> tuple[Figure, list]:
    """Lay out panels side by side that share their rows."""
    top = heading_height(title, subtitle) + key + 0.28
    tall = _ROW * len(rows) + 0.15
    figure = canvas(top + tall + 0.48)
    heading(figure, title, subtitle)
    left = 0.2 + max(text_width(label(r), 9) for r in rows)
    width = (WIDTH - left - MARGIN - 0.15 - 0.25 * (len(panels) - 1)) / len(panels)
    places = []
    for j, panel in enumerate(panels):
        ax = axes(figure, left + j * (width + 0.25), top, width, tall)
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_yticks(range(len(rows)), [label(r) for r in rows] if j == 0 else [""] * len(rows))
        ax.tick_params(axis="y", labelcolor=INK, labelsize=9)
        ax.set_title(label(panel), loc="left", size=9.5, weight="bold")
        for k in range(len(rows)):
            ax.axhline(k, color=FAINT, lw=0.5, zorder=0)
        tidy(ax, grid="x")
        places.append(ax)
    return figure, places
