"""Figures of an ablation: the same series under several treatments, and scores by row and world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BAND,
    BLUE,
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
    text_width,
    tick,
    tidy,
)
from civstats.schema import CENSORED, DEMAND, DS, CivstatsError, Y

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OUT = "#f3d9c9"


@dataclass(frozen=True)
class Example:
    """A series as two or more forecasts of it see the days ahead.

    Attributes
    ----------
    name : str
    days : pandas.DataFrame
        ``ds, y, is_censored, demand``, past and future, in order of time.
    bands : mapping of str to pandas.DataFrame
        ``ds, mean, lo, hi`` of the days ahead by label, all with the same labels.
    """

    name: str
    days: pd.DataFrame
    bands: Mapping[str, pd.DataFrame]


@in_house_style
def treatments_side_by_side(
    examples: Sequence[Example], level: float, title: str, subtitle: str
) -> Plot:
    """Draw a row per series and a column per treatment: sales, stockouts, true demand, the band.

    Parameters
    ----------
    examples : sequence of Example
        One to four.
    level : float
        Of the bands, percent.
    title, subtitle : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        Without an example or with more than four, or if their labels differ.
    """
    if not 1 <= len(examples) <= 4:
        raise CivstatsError(f"1 to 4 examples can be drawn, but got {len(examples)}")
    labels = list(examples[0].bands)
    if any(list(e.bands) != labels for e in examples) or not labels:
        raise CivstatsError("every example needs the same labels, at least one")
    head = heading_height(title, subtitle)
    tall, gap, left, between = 1.75, 0.86, 0.42, 0.3
    figure = canvas(head + 0.9 + len(examples) * (tall + gap) - gap + 0.35)
    heading(figure, title, subtitle)
    _key(figure, head, level)
    wide = (WIDTH - left - 0.1 - between * (len(labels) - 1)) / len(labels)
    said = []
    for i, example in enumerate(examples):
        top = 1.05 * _highest(example)
        y = head + 0.9 + i * (tall + gap)
        w, h = figure.get_size_inches()
        figure.text(MARGIN / w, 1 - (y - 0.34) / h, label(example.name, 60), size=10, weight="bold")
        for j, name in enumerate(labels):
            ax = axes(figure, left + j * (wide + between), y, wide, tall)
            held, n = _panel(ax, example, example.bands[name], top)
            said.append(f"{label(example.name)}, {name}: {held} of {n} days ahead inside")
            ax.set_title(label(name, 40), loc="left", size=9.2, pad=5)
            ax.set_title(
                f"demand inside on {held} of {n} days", loc="right", size=8.5, color=MUTED, pad=5
            )
            if j:
                ax.set_yticklabels([])
    return Plot(
        figure,
        f"{len(examples)} series by {len(labels)} treatments: daily sales, stockout days shaded, true "
        f"demand, and the {level:g} % interval of the forecast. {title}. {'; '.join(said)}.",
    )


def _highest(example: Example) -> float:
    tops = [b["hi"].max() for b in example.bands.values()]
    return float(max(example.days[DEMAND].max(), *tops, 1.0))


def _panel(ax: Axes, example: Example, band: pd.DataFrame, top: float) -> tuple[int, int]:
    """Draw one panel; return how many days ahead the band holds, and of how many."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.ticker import MaxNLocator

    days = example.days[DS].to_numpy()
    sales, demand = (example.days[c].to_numpy(dtype=float) for c in (Y, DEMAND))
    out = example.days[CENSORED].to_numpy(dtype=bool)
    half = np.timedelta64(12, "h")
    for day in days[out]:
        ax.axvspan(day - half, day + half, color=_OUT, lw=0, zorder=0)
    when, first = band[DS].to_numpy(), band[DS].iloc[0] - pd.Timedelta(hours=12)
    lo, hi, mean = (band[c].to_numpy(dtype=float) for c in ("lo", "hi", "mean"))
    ax.fill_between(when, lo, hi, step="mid", color=SKY, alpha=0.5, lw=0, zorder=1)
    ax.step(when, mean, where="mid", color=BLUE, lw=1.8, zorder=2.5)
    ax.step(days, sales, where="mid", color=INK, lw=0.9, zorder=2)
    lost = demand > sales
    ax.vlines(days[lost], sales[lost], demand[lost], color=VERMILLION, lw=0.6, alpha=0.6, zorder=2)
    ax.plot(days[lost], demand[lost], "o", ms=3.2, mfc="white", mec=VERMILLION, mew=0.9, zorder=3)
    ax.axvline(date2num(first), color=MUTED, lw=0.9, ls=(0, (4, 2)), zorder=2)
    ax.set_ylim(0, top)
    ax.set_xlim(days[0] - half, days[-1] + half)
    locator = AutoDateLocator(minticks=3, maxticks=6)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    tidy(ax, grid="y")
    came = pd.Series(demand, index=days).reindex(when).to_numpy()
    return int(((came >= lo) & (came <= hi)).sum()), len(when)


def _key(figure: Figure, head: float, level: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    w, h = figure.get_size_inches()
    y = 1 - (head + 0.16) / h
    dot = {"marker": "o", "ms": 4, "mfc": "white", "mec": VERMILLION, "ls": "none"}
    entries: list[tuple[str, str, dict[str, Any]]] = [
        ("sales", INK, {"lw": 1.2}),
        ("stockout day", VERMILLION, {"box": _OUT}),
        ("demand that was not sold", VERMILLION, dot),
        (f"forecast: mean and {level:g} % interval", BLUE, {"box": SKY, "lw": 1.8}),
        ("forecast origin", MUTED, {"lw": 0.9, "ls": (0, (4, 2))}),
    ]
    x = MARGIN
    for words, colour, style in entries:
        box = style.pop("box", None)
        if box:
            place = (x / w, y - 0.065 / h)
            alpha = 0.5 if box == SKY else 1.0
            figure.add_artist(Rectangle(place, 0.23 / w, 0.13 / h, color=box, lw=0, alpha=alpha))
        ends = [x + 0.115] if "marker" in style else [x, x + 0.23]
        if style:
            figure.add_artist(Line2D([e / w for e in ends], [y] * len(ends), color=colour, **style))
        figure.text((x + 0.3) / w, y, words, size=9, color=colour, va="center")
        x += 0.3 + text_width(words, 9) + 0.22


_LOOKS = {
    "DeepAR": (TREATMENT_COLOUR["censor"], "o"),
    "LightGBM": (BLUE, "s"),
    "oracle": (INK, "D"),
    "baseline": (VERMILLION, "^"),
}
_LEFT, _ROW, _SPACE = 1.75, 0.2, 0.34


@in_house_style
def ablation(
    table: pd.DataFrame,
    panels: Mapping[str, str],
    title: str,
    subtitle: str,
    *,
    marks: Mapping[str, Mapping[str, tuple[float, float]]],
) -> Plot:
    """Draw scores with intervals: a block per world, a row per model, a panel per score.

    Parameters
    ----------
    table : pandas.DataFrame
        ``world, label, kind, metric, value, lo, hi``.
    panels : mapping of str to str
        Metric to heading; those named with ``%`` are shares.
    title, subtitle : str
    marks : mapping of str to mapping
        By metric and world, the value to reach and how far from it is near enough, drawn as a line
        and a band.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If columns are missing or there is nothing to draw.
    """
    from matplotlib.ticker import MaxNLocator

    wanted = ("world", "label", "kind", "metric", "value", "lo", "hi")
    missing = [c for c in wanted if c not in table.columns]
    if missing or table.empty:
        raise CivstatsError(f"the table lacks {', '.join(missing) or 'rows'}: it needs {wanted}")
    worlds = list(dict.fromkeys(table["world"]))
    top = heading_height(title, subtitle)
    rows = {w: table[table["world"] == w].drop_duplicates("label") for w in worlds}
    tall = {w: _ROW * len(r) for w, r in rows.items()}
    figure = canvas(top + sum(tall.values()) + _SPACE * len(worlds) + 0.52)
    heading(figure, title, subtitle)
    gap = 0.28
    wide = (WIDTH - _LEFT - MARGIN - 0.12 - gap * (len(panels) - 1)) / len(panels)
    size = figure.get_size_inches()
    for k, (metric, words) in enumerate(panels.items()):
        part = table[table["metric"] == metric]
        ends = part[["value", "lo", "hi"]].to_numpy(dtype=float)
        held = [m for m in marks.get(metric, {}).values()]
        ends = np.r_[ends.ravel(), [c + s * d for c, d in held for s in (-1, 1)]]
        low, high = np.nanmin(ends), np.nanmax(ends)
        pad = 0.05 * (high - low) + 1e-9
        y = top
        for world in worlds:
            y += _SPACE + (0.22 if world == worlds[0] else 0.0)
            ax = axes(figure, _LEFT + k * (wide + gap), y, wide, tall[world])
            names = list(rows[world]["label"])
            mine = part[part["world"] == world].set_index("label").reindex(names)
            _dots(ax, mine, marks.get(metric, {}).get(world))
            ax.set_xlim(low - pad, high + pad)
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.set_yticks(range(len(names)), [label(n) for n in names] if k == 0 else [])
            write = share_tick if "%" in words else tick
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.xaxis.set_major_formatter(_formatter(write))
            if world != worlds[-1]:
                ax.set_xticklabels([])
            if world == worlds[0]:
                # Above the line on which the first world's name stands.
                ax.set_title(words, loc="left", size=9.5, weight="bold", pad=19)
            tidy(ax, grid="x")
            if k == 0:
                figure.text(
                    MARGIN / size[0], 1 - (y - 0.1) / size[1], label(world, 30), size=9.2,
                    weight="bold",
                )  # fmt: skip
            y += tall[world]
    return Plot(figure, f"Dot chart by model. {title}. {_said(table, panels)}.")


def _formatter(write: Callable[[float], str]) -> Callable[[float, float], str]:
    return lambda value, _: write(value)


def _dots(ax: Axes, rows: pd.DataFrame, mark: tuple[float, float] | None) -> None:
    if mark is not None:
        centre, near = mark
        ax.axvspan(centre - near, centre + near, color=BAND, lw=0, zorder=0)
        ax.axvline(centre, color=INK, lw=0.8, zorder=1)
    for y, (_, row) in enumerate(rows.iterrows()):
        if not np.isfinite(row["value"]):
            continue
        colour, marker = _LOOKS.get(str(row["kind"]), (MUTED, "v"))
        ax.plot([row["lo"], row["hi"]], [y, y], color=colour, lw=1.5, zorder=2)
        ax.plot(row["value"], y, marker, color=colour, ms=4.8, zorder=3)


def _said(table: pd.DataFrame, panels: Mapping[str, str]) -> str:
    parts = []
    for (world, metric), part in table.groupby(["world", "metric"], sort=False):
        if metric in panels:
            percent = "%" in panels[str(metric)]
            values = ", ".join(
                f"{n} {number(float(v), percent=percent)}"
                for n, v in zip(part["label"], part["value"], strict=True)
                if np.isfinite(v)
            )
            parts.append(f"{world}, {panels[str(metric)]}: {values}")
    return "; ".join(parts)
