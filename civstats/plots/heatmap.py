"""Scores of every model and treatment by regime and metric, shaded by how near each is to the lowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.plots._heat_columns import (
    SHARES,
    Column,
    headline,
    in_words,
    read_columns,
    regimes_of,
)
from civstats.plots._rows import row_keys
from civstats.plots._style import (
    INK,
    MARGIN,
    MUTED,
    REGIME_COLOUR,
    REGIME_LABEL,
    WIDTH,
    Plot,
    axes,
    canvas,
    heading,
    heading_height,
    in_house_style,
    label,
    number,
    text_width,
    wrap,
)
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STEPS = (0.02, 0.10, 0.30)
# One hue, falling in lightness: a grey print keeps the order.
_SHADES = ("#2f6fa8", "#8dbbdc", "#c4dbed", "#f6f6f4")
_ROW, _GAP, _WIDEST, _NARROWEST = 0.27, 0.09, 0.78, 0.4
_HEAD = 7.4


@in_house_style
def score_heatmap(
    scores: pd.DataFrame,
    metrics: Sequence[str] | None = None,
    *,
    level: float | None = None,
    regimes: Sequence[str] | None = None,
) -> Plot:
    """Draw scores as a table of shades: models and treatments down, regimes and metrics across.

    The darker a cell, the nearer to the lowest of its column: within 2 %, 10 %, 30 % of it or beyond.
    The lowest is not shown to be better than the others: that takes `civstats.evaluation.winners`.
    Bias and coverage are shaded by their distance, in points, from what a perfect forecast shows
    (``expected``); where nobody knows that, they are not shaded: nearest to zero is not best on
    sales. Scores that could not be had, or whose target the data do not identify, are hatched.

    Parameters
    ----------
    scores : pandas.DataFrame
        The score frame (`civstats.schema.SCORES`); pooled rows are read.
    metrics : sequence of str, optional
        By default bias, RMSE, WAPE, CRPS, and the scores of regime ``censored``, where there.
    level : float, optional
        Interval level of coverage, Winkler and pinball scores, percent; the lowest by default.
    regimes : sequence of str, optional
        All in the frame by default.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If the frame holds none of the metrics, or more columns than fit the page.

    Examples
    --------
    >>> from civstats.schema import SCORES
    >>> rows = [("A", t, "demand", "rmse", None, None, v, None, None, 9, None, True, "")
    ...         for t, v in (("mask", 2.0), ("censor", 1.0))]
    >>> plot = score_heatmap(pd.DataFrame(rows, columns=list(SCORES)))
    >>> "demand" in plot.alt
    True
    """
    columns = read_columns(scores, metrics, level, regimes)
    keys = row_keys(pd.concat([c.frame.reset_index() for c in columns], ignore_index=True))
    title = headline(columns, keys)
    subtitle = (
        "Shade: distance from the lowest of the column, which is not thereby shown to be better; for "
        "bias and coverage, in points, from what a perfect forecast shows. Compare down a column, not "
        "across: the outcomes differ."
    )
    models = list(dict.fromkeys(m for m, _ in keys))
    names = {m: label(m, 22) for m in models}
    left = MARGIN + max(text_width(n, 9, "bold") for n in names.values()) + 0.2
    left += max(text_width(t, 9) for _, t in keys) + 0.1
    width = min(
        _WIDEST, (WIDTH - left - 0.03 - 0.1 * (len(regimes_of(columns)) - 1)) / len(columns)
    )
    if width < _NARROWEST:
        fit = int((WIDTH - left - 0.4) / _NARROWEST)
        raise CivstatsError(
            f"{len(columns)} columns of scores do not fit the page; name metrics or regimes so that "
            f"at most {fit} remain"
        )
    top = heading_height(title, subtitle) + 0.36
    heads = [wrap(c.head, _HEAD, width - 0.02) for c in columns]
    header = 0.3 + 0.13 * max(1 + h.count("\n") for h in heads)
    tall = _ROW * len(keys) + _GAP * (len(models) - 1)
    figure = canvas(top + header + tall + 0.08)
    heading(figure, title, subtitle)
    _key(figure, top - 0.26)
    ax = axes(figure, 0, top, WIDTH, header + tall)
    ax.set_xlim(0, WIDTH)
    ax.set_ylim(header + tall, 0)
    ax.set_axis_off()
    y = _rows(ax, keys, names, header, left)
    x, before = left, columns[0].regime
    for column, head in zip(columns, heads, strict=True):
        if column.regime != before:
            x, before = x + 0.1, column.regime
        _draw(ax, column, y, x, width, header, head)
        x += width
    _regime_heads(ax, columns, left, width)
    return Plot(
        figure,
        f"Heat map of scores, {len(keys)} model and treatment rows. {in_words(columns, title)}",
    )


def _rows(
    ax: Axes, keys: list[tuple[str, str]], names: dict[str, str], header: float, left: float
) -> dict[tuple[str, str], float]:
    """Write the rows' names; return their upper edges."""
    y: dict[tuple[str, str], float] = {}
    at = header
    for k, (model, treatment) in enumerate(keys):
        first = k == 0 or keys[k - 1][0] != model
        at += _GAP if first and k else 0.0
        y[model, treatment] = at
        ax.text(left - 0.1, at + _ROW / 2, treatment, ha="right", va="center", size=9)
        if first:
            ax.text(MARGIN, at + _ROW / 2, names[model], va="center", size=9, weight="bold")
        at += _ROW
    return y


def _draw(
    ax: Axes,
    column: Column,
    y: dict[tuple[str, str], float],
    x: float,
    width: float,
    header: float,
    head: str,
) -> None:
    """Draw one column: its head and a cell per row, or one hatched bar that says why not."""
    ax.text(
        x + width / 2, header - 0.06, head, ha="center", va="bottom", size=_HEAD, color=MUTED,
        linespacing=1.05,
    )  # fmt: skip
    if column.void:
        bottom = max(y.values()) + _ROW
        _box(ax, x, header, width, bottom - header, hatch=True)
        ax.text(
            x + width / 2, (header + bottom) / 2, _fit(column.void, bottom - header), rotation=90,
            ha="center", va="center", size=8, color=MUTED, bbox=_PLAIN,
        )  # fmt: skip
        return
    distance = column.distance()
    for key, top in y.items():
        record = column.cell(key)
        if record is None:
            continue
        value, sure = float(record["value"]), bool(record["identified"])
        if np.isnan(value):
            _box(ax, x, top, width, _ROW, hatch=True)
            words, colour = "n/a", MUTED
        else:
            shade = _shade(float(distance[key])) if sure else "white"
            _box(ax, x, top, width, _ROW, face=shade, hatch=not sure)
            words = number(value, percent=column.metric in SHARES, signed=column.metric == "bias")
            words = words if sure or np.isinf(value) else f"({words})"
            colour = "white" if shade == _SHADES[0] else INK
        ax.text(
            x + width / 2, top + _ROW / 2, words, ha="center", va="center", color=colour,
            size=8 if width > 0.5 else 7.4, bbox=None if sure else _PLAIN,
        )  # fmt: skip


_PLAIN: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}


def _fit(words: str, room: float) -> str:
    return words if text_width(words, 8) < room - 0.1 else "n/a"


def _shade(distance: float) -> str:
    if not np.isfinite(distance):
        return "white"
    return _SHADES[int(np.searchsorted(_STEPS, distance - 1e-12))]


def _box(
    ax: Axes, x: float, y: float, w: float, h: float, *, face: str = "white", hatch: bool = False
) -> None:
    from matplotlib.patches import Rectangle

    pattern: dict[str, Any] = {"hatch": "/////", "edgecolor": "#c4c4c4"} if hatch else {}
    ax.add_patch(
        Rectangle((x + 0.01, y + 0.01), w - 0.02, h - 0.02, facecolor=face, lw=0, **pattern)
    )
    if face == "white" and not hatch:
        ax.add_patch(
            Rectangle((x + 0.01, y + 0.01), w - 0.02, h - 0.02, fill=False, ec="#e4e4e4", lw=0.6)
        )


def _regime_heads(ax: Axes, columns: list[Column], left: float, width: float) -> None:
    x = left
    for k, regime in enumerate(regimes_of(columns)):
        n = sum(c.regime == regime for c in columns)
        x += 0.1 if k else 0.0
        colour = REGIME_COLOUR.get(regime, INK)
        words = REGIME_LABEL.get(regime, regime)
        # The first comma parts "sales" from the days: narrow groups keep what tells them apart.
        if text_width(words, 8.6, "bold") > n * width:
            words = words.split(", ")[-1].replace("stockouts as ", "")
        ax.plot([x + 0.02, x + n * width - 0.02], [0.19, 0.19], color=colour, lw=1.4)
        ax.text(x + 0.02, 0.14, words, size=8.6, weight="bold", color=colour, va="bottom")
        x += n * width


def _key(figure: Figure, top: float) -> None:
    """Write what the shades and the hatching mean."""
    from matplotlib.patches import Rectangle

    w, h = figure.get_size_inches()
    x, y = MARGIN, 1 - top / h
    steps = [f"within {100 * s:g} %" for s in _STEPS] + ["beyond"]
    entries: list[tuple[str, dict[str, Any]]] = [
        (words, {"facecolor": shade}) for words, shade in zip(steps, _SHADES, strict=True)
    ]
    entries += [
        ("no yardstick", {"facecolor": "white"}),
        ("n/a, or (not identified)", {"facecolor": "white", "hatch": "/////"}),
    ]
    for words, style in entries:
        figure.add_artist(
            Rectangle(
                (x / w, y - 0.075 / h),
                0.26 / w,
                0.15 / h,
                transform=figure.transFigure,
                lw=0.5,
                edgecolor="#b5b5b5",
                **style,
            )
        )
        figure.text((x + 0.33) / w, y, words, size=8.6, color=MUTED, va="center")
        x += 0.33 + text_width(words, 8.6) + 0.22
