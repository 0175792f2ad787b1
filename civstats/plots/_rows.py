"""A row per model and treatment, a marker per regime: the chart under two of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from civstats.plots._row_panel import COLUMN, RowPanel, draw_panel
from civstats.plots._style import (
    BAND,
    INK,
    MARGIN,
    MUTED,
    REGIME_COLOUR,
    REGIME_LABEL,
    REGIME_MARKER,
    WIDTH,
    axes,
    canvas,
    heading,
    heading_height,
    label,
    text_width,
)
from civstats.schema import REGIMES, TREATMENTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, GAP = 0.31, 0.13  # inches


def row_chart(
    panels: Sequence[RowPanel],
    title: str,
    subtitle: str = "",
    *,
    tick: str = "a perfect forecast",
) -> Figure:
    """Draw panels side by side that share their rows (model x treatment)."""
    keys = row_keys(pd.concat([p.scores for p in panels], ignore_index=True))
    models = list(dict.fromkeys(m for m, _ in keys))
    y, at = {}, 0.0
    for k, key in enumerate(keys):
        if k and key[0] != keys[k - 1][0]:
            at += GAP
        y[key] = at + ROW / 2
        at += ROW
    names = {m: label(m, 22) for m in models}
    treatment_width = max(text_width(t, 9) for _, t in keys)
    left = (
        MARGIN
        + max(text_width(n, 9, "bold") for n in names.values())
        + 0.22
        + treatment_width
        + 0.1
    )
    head = heading_height(title, subtitle)
    hollow = any(
        (~p.scores["identified"].astype(bool) & p.scores["value"].notna()).any() for p in panels
    )
    regimes = [r for r in REGIMES if any((p.scores["regime"] == r).any() for p in panels)]
    expected = tick if any(p.scores["expected"].notna().any() for p in panels) else ""
    ring = any(p.ring for p in panels) and len(keys) > 1
    entries = _entries(regimes, expected, ring, hollow)
    lines = max((line for _, line in _places(entries)), default=0)
    top, bottom = head + 0.32 + 0.36 + 0.2 * lines, 0.55
    figure = canvas(top + at + bottom)
    heading(figure, title, subtitle)
    _key(figure, head, entries)

    gutter, column = 0.3, COLUMN
    # Room for half of a tick label at the right end, where no printed scores stand.
    edge = 0.03 if panels[-1].columns else 0.25
    spare = WIDTH - left - edge - gutter * (len(panels) - 1)
    spare -= sum(column * len(p.columns) for p in panels)
    shares = sum(p.share for p in panels)
    x = left
    for k, panel in enumerate(panels):
        width = spare * panel.share / shares
        ax = axes(figure, x, top, width, at)
        ax.set_ylim(at, 0)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        _bands(ax, keys, y, models)
        draw_panel(ax, panel, y, regimes, width)
        x += width + column * len(panel.columns) + gutter
        if k == 0:
            _row_labels(ax, keys, y, names, left, width)
    return figure


def row_keys(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the model and treatment of each row, in the house's order."""
    models = list(dict.fromkeys(scores["model"]))
    order = [*TREATMENTS, *sorted(set(scores["treatment"]) - set(TREATMENTS))]
    present = set(zip(scores["model"], scores["treatment"], strict=True))
    return [(m, t) for m in models for t in order if (m, t) in present]


def _row_labels(
    ax: Axes,
    keys: list[tuple[str, str]],
    y: dict[tuple[str, str], float],
    names: dict[str, str],
    left: float,
    width: float,
) -> None:
    blend = ax.get_yaxis_transform()
    seen = set()
    for key in keys:
        model, treatment = key
        ax.text(
            -0.1 / width, y[key], treatment, transform=blend, ha="right", va="center", color=INK
        )
        if model not in seen:
            ax.text(
                (MARGIN - left) / width,
                y[key],
                names[model],
                transform=blend,
                ha="left",
                va="center",
                weight="bold",
            )
            seen.add(model)


def _bands(
    ax: Axes, keys: list[tuple[str, str]], y: dict[tuple[str, str], float], models: list[str]
) -> None:
    for model in models[::2]:
        inside = [y[k] for k in keys if k[0] == model]
        ax.axhspan(
            min(inside) - ROW / 2 - 0.03, max(inside) + ROW / 2 + 0.03, color=BAND, lw=0, zorder=0
        )


_Entry = tuple[dict[str, Any], str, str]
_LEAD = "scored against"


def _entries(regimes: list[str], expected: str, ring: bool, hollow: bool) -> list[_Entry]:
    """What the key explains: marker, words, colour."""
    entries: list[_Entry] = [
        (
            {"marker": REGIME_MARKER[r], "ms": 6, "color": REGIME_COLOUR[r]},
            REGIME_LABEL[r],
            REGIME_COLOUR[r],
        )
        for r in regimes
    ]
    if expected:
        entries.append(({"marker": "|", "ms": 9, "mew": 2, "color": MUTED}, expected, MUTED))
    if ring:
        style: dict[str, Any] = {"marker": "o", "ms": 10, "mfc": "none", "mew": 1.2, "color": MUTED}
        entries.append((style, "lowest, not necessarily better", MUTED))
    if hollow:
        style = {"marker": "o", "ms": 6, "mfc": "white", "mew": 1.2, "color": MUTED}
        entries.append((style, "hollow: not identified", MUTED))
    return entries


def _places(entries: list[_Entry]) -> list[tuple[float, int]]:
    """Where each entry of the key stands: inches from the left, and its line."""
    x, line, out = MARGIN + text_width(_LEAD, 9) + 0.2, 0, []
    for _, words, _ in entries:
        if x + 0.12 + text_width(words, 9) > WIDTH:
            x, line = MARGIN + 0.1, line + 1
        out.append((x, line))
        x += 0.12 + text_width(words, 9) + 0.28
    return out


def _key(figure: Figure, head: float, entries: list[_Entry]) -> None:
    """Write the key under the heading, marker and words side by side."""
    from matplotlib.lines import Line2D

    w, h = figure.get_size_inches()
    top = 1 - (head + 0.14) / h
    figure.text(MARGIN / w, top, _LEAD, size=9, color=MUTED, va="center")
    for (style, words, colour), (x, line) in zip(entries, _places(entries), strict=True):
        y = top - 0.2 * line / h
        figure.add_artist(Line2D([x / w], [y], linestyle="none", **style))
        figure.text((x + 0.12) / w, y, words, size=9, color=colour, va="center")
