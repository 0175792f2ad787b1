"""Which score ranks the truth first: shares by score and setting, and scores along the mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    INK,
    MARGIN,
    MUTED,
    REGIME_COLOUR,
    REGIME_LABEL,
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
    tick,
    tidy,
)
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One hue, falling in lightness: a grey print keeps the order.
_SHADES = ("#f6f6f4", "#d3e4f1", "#8dbbdc", "#2f6fa8")
_STEPS = (0.5, 0.8, 0.95)
_ROW, _GAP, _HEAD = 0.25, 0.3, 0.45
_LINES = (("-", "o", True), ("--", "s", False), (":", "D", True), ("-.", "^", False))
_COLOURS = (INK, VERMILLION, "#0072B2", "#009E73")
NO = "no"


@in_house_style
def truth_first(cells: pd.DataFrame, title: str) -> Plot:
    """Draw how often the true distribution comes first: scores down, settings and horizons across.

    Parameters
    ----------
    cells : pandas.DataFrame
        ``regime, metric, setting, h, share, verdict``, a row per cell. A cell whose verdict is
        ``no`` is hatched and crossed: there the truth loses to a distortion on average.
    title : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If there is no cell.
    """
    if cells.empty:
        raise CivstatsError("there is no cell to draw")
    subtitle = (
        "Percent of replications in which the truth beats its own mean x 0.85 and x 1.15 and its own "
        "dispersion x 0.5 and x 2, as far as the score can tell them apart. The darker, the more "
        "often. Hatched: a distortion beats the truth on average."
    )
    settings = list(dict.fromkeys(cells["setting"]))
    horizons = list(dict.fromkeys(cells["h"]))
    scores = list(dict.fromkeys(zip(cells["regime"], cells["metric"], strict=True)))
    regimes = list(dict.fromkeys(r for r, _ in scores))
    left = 0.1 + MARGIN + max(text_width(_words(m), 8.6) for _, m in scores)
    between = 0.12
    width = (WIDTH - left - 0.05 - between * (len(settings) - 1)) / (len(settings) * len(horizons))
    top = heading_height(title, subtitle) + 0.36
    tall = _HEAD + _ROW * len(scores) + _GAP * len(regimes)
    figure = canvas(top + tall + 0.1)
    heading(figure, title, subtitle)
    _key(figure, top - 0.26)
    ax = axes(figure, 0, top, WIDTH, tall)
    ax.set_xlim(0, WIDTH)
    ax.set_ylim(tall, 0)
    ax.set_axis_off()
    keys = zip(cells["regime"], cells["metric"], cells["setting"], cells["h"], strict=True)
    held = {key: record for key, (_, record) in zip(keys, cells.iterrows(), strict=True)}
    x_of = {
        (s, h): left + i * (between + width * len(horizons)) + j * width
        for i, s in enumerate(settings)
        for j, h in enumerate(horizons)
    }
    for (setting, h), x in x_of.items():
        if h == horizons[0]:
            ax.text(x + 0.02, 0.14, label(setting), size=9, weight="bold", va="center")
        days = "1 day" if h == 1 else f"{h} days"
        ax.text(x + width / 2, 0.34, days, size=8, color=MUTED, ha="center", va="center")
    y = _HEAD
    for regime in regimes:
        colour = REGIME_COLOUR.get(regime, INK)
        ax.text(
            MARGIN, y + 0.14, REGIME_LABEL.get(regime, regime), size=8.8, weight="bold",
            color=colour, va="center",
        )  # fmt: skip
        y += _GAP
        for metric in (m for r, m in scores if r == regime):
            ax.text(left - 0.1, y + _ROW / 2, _words(metric), size=8.6, ha="right", va="center")
            for key, x in x_of.items():
                if (regime, metric, *key) in held:
                    _cell(ax, x, y, width, held[regime, metric, *key])
            y += _ROW
    bad = cells[cells["verdict"] == NO]
    named = ", ".join(
        f"{_words(m)} of {REGIME_LABEL.get(r, r)}"
        for r, m in dict.fromkeys(zip(bad["regime"], bad["metric"], strict=True))
    )
    return Plot(
        figure,
        f"Heat map, {len(scores)} scores by {len(settings)} settings and {len(horizons)} horizons. "
        f"{title}. A distortion beats the truth on average somewhere under: {named or 'none'}.",
    )


def _words(metric: str) -> str:
    special = {"crps": "CRPS", "localised_crps": "localised CRPS", "rmse": "RMSE", "wape": "WAPE"}
    special |= {"wape_total": "WAPE of the mean", "bias": "|bias|", "winkler": "Winkler 80 %"}
    special |= {"censored_pinball": "censored pinball 80 %"}
    return special.get(metric, metric.replace("_", " "))


def _cell(ax: Axes, x: float, y: float, width: float, record: pd.Series) -> None:
    from matplotlib.patches import Rectangle

    share, misled = float(record["share"]), record["verdict"] == NO
    shade = _shade(share)
    ax.add_patch(
        Rectangle(
            (x + 0.01, y + 0.01), width - 0.02, _ROW - 0.02,
            facecolor="white" if misled else shade, edgecolor="#c4c4c4" if misled else shade,
            hatch="/////" if misled else None, lw=0,
        )
    )  # fmt: skip
    plain = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if misled else None
    ax.text(
        x + width / 2, y + _ROW / 2, f"{100 * share:.0f}", ha="center", va="center", size=8,
        color="white" if shade == _SHADES[-1] and not misled else INK, bbox=plain,
    )  # fmt: skip


def _shade(share: float) -> str:
    return _SHADES[int(np.searchsorted(_STEPS, share + 1e-12, side="right"))]


def _key(figure: Figure, top: float) -> None:
    from matplotlib.patches import Rectangle

    w, h = figure.get_size_inches()
    x, y = MARGIN, 1 - top / h
    words = ("below 50 %", "50 to 80 %", "80 to 95 %", "95 % or more")
    entries = [(t, s, None) for t, s in zip(words, _SHADES, strict=True)]
    for text, shade, hatch in (*entries, ("truth loses on average", "white", "/////")):
        figure.add_artist(
            Rectangle(
                (x / w, y - 0.075 / h), 0.26 / w, 0.15 / h, transform=figure.transFigure,
                facecolor=shade, edgecolor="#b5b5b5", lw=0.5, hatch=hatch,
            )
        )  # fmt: skip
        figure.text((x + 0.33) / w, y, text, size=8.6, color=MUTED, va="center")
        x += 0.33 + text_width(text, 8.6) + 0.25


@in_house_style
def mean_curve(curve: pd.DataFrame, title: str, *, metrics: Sequence[str]) -> Plot:
    """Draw how a score changes as the truth's mean is multiplied; below 0 the truth loses.

    Parameters
    ----------
    curve : pandas.DataFrame
        ``metric, setting, h, factor, excess, error``: the score less the truth's over the
        truth's, with its standard error; a row at factor 1 is not needed.
    title : str
    metrics : sequence of str
        A panel each.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If a metric has no row.
    """
    lost = [m for m in metrics if m not in set(curve["metric"])]
    if lost or not metrics:
        raise CivstatsError(f"there is no curve of {', '.join(lost) or 'anything'}")
    subtitle = (
        "Score of the true distribution with its mean multiplied, less that of the truth itself, in "
        "percent of it, on the same days. Below the line: better than the truth. Bars: 95 %."
    )
    keys = list(dict.fromkeys(zip(curve["setting"], curve["h"], strict=True)))
    settings = list(dict.fromkeys(s for s, _ in keys))
    horizons = list(dict.fromkeys(h for _, h in keys))
    top = heading_height(title, subtitle) + 0.2
    height, gap, left = 2.9, 0.55, 0.62
    figure = canvas(top + 0.36 + height + 0.62)
    heading(figure, title, subtitle)
    width = (WIDTH - left - 0.1 - gap * (len(metrics) - 1)) / len(metrics)
    handles = []
    for j, metric in enumerate(metrics):
        ax = axes(figure, left + j * (width + gap), top + 0.36, width, height)
        ax.axhline(0, color=INK, lw=0.8)
        ax.axvline(1, color="#c4c4c4", lw=0.8)
        for setting, h in keys:
            part = curve[
                (curve["metric"] == metric) & (curve["setting"] == setting) & (curve["h"] == h)
            ]
            origin = pd.DataFrame({"factor": [1.0], "excess": [0.0], "error": [0.0]})
            part = pd.concat([part[["factor", "excess", "error"]], origin]).sort_values("factor")
            line, marker, filled = _LINES[horizons.index(h) % len(_LINES)]
            colour = _COLOURS[settings.index(setting) % len(_COLOURS)]
            days = "1 day" if h == 1 else f"{h} days"
            handle = ax.errorbar(
                part["factor"], 100 * part["excess"], 196 * part["error"],
                color=colour, ls=line, marker=marker, ms=4.2, lw=1.4, elinewidth=0.9,
                mfc=colour if filled else "white", label=f"{setting}, {days} ahead",
            )  # fmt: skip
            handles += [handle] if j == 0 else []
        ax.set_title(_words(metric), loc="left", size=9.5, weight="bold")
        ax.set_xlabel("factor on the mean")
        ax.yaxis.set_major_formatter(lambda v, _: tick(v))
        tidy(ax, grid="y")
        if j == 0:
            ax.set_ylabel("score less the truth's, %")
    w, h = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(MARGIN / w, 1 - (top - 0.14) / h),
        ncol=len(handles), frameon=False, fontsize=8.6, borderaxespad=0, borderpad=0,
        handlelength=2.6, columnspacing=1.6,
    )  # fmt: skip
    below = curve[curve["excess"] < -1.96 * curve["error"]]
    found = "; ".join(
        f"{_words(str(m))}, {s}, {h} day(s) ahead: factors {tick(p['factor'].min())} to {tick(p['factor'].max())}"
        for (m, s, h), p in below.groupby(["metric", "setting", "h"], sort=False)
    )
    return Plot(
        figure,
        f"Line charts of {len(metrics)} score(s) by the factor on the mean. {title}. Better than the "
        f"truth: {found or 'none'}.",
    )
