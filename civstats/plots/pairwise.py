"""Which forecast is better than which: a matrix of differences, filled where they are decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.evaluation.pairwise import PAIRS, winners
from civstats.plots._style import (
    BLUE,
    FAINT,
    INK,
    MARGIN,
    MUTED,
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
    number,
    text_width,
)
from civstats.schema import CivstatsError, parse_alias

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

_ROW = 0.36
_TALL = 0.3
_MOST = 12
_ACRONYMS = ("wape", "rmse", "mase", "rmsse", "crps")


@in_house_style
def pairwise(pairs: pd.DataFrame, title: str = "") -> Plot:
    """Draw every pair's difference in a score: row less column, filled where one is better.

    Parameters
    ----------
    pairs : pandas.DataFrame
        From :func:`civstats.evaluation.pairwise.pairwise`, of one metric, regime and level.
    title : str
        By default what is decided.

    Returns
    -------
    Plot
        Rows in the order of :func:`civstats.evaluation.pairwise.winners`. Below 0 the row loses
        less. Filled and bold: both tests agree on it; dark is the better one's row, light the
        other's; plain: nothing is decided.

    Raises
    ------
    CivstatsError
        If columns are missing, the pairs are of several scores, there is none, or there are more
        than 12 forecasts.
    """
    missing = [c for c in PAIRS if c not in pairs.columns]
    if missing or pairs.empty:
        raise CivstatsError(
            f"the pairs lack {', '.join(missing) or 'rows'}: pass the frame that pairwise returns"
        )
    if len(pairs[["metric", "regime", "level"]].drop_duplicates()) > 1:
        raise CivstatsError(
            "the pairs are of several metrics, regimes or levels: draw one at a time"
        )
    table = winners(pairs)
    names = table["name"].tolist()
    if len(names) > _MOST:
        raise CivstatsError(
            f"{len(names)} forecasts are too many to read: pass the pairs of at most {_MOST}"
        )
    decided = int((pairs["better"] != "").sum())
    title = title or _title(table, decided, len(pairs))
    score = _score(pairs.iloc[0])
    tests = "both tests agree" if pairs["p_dm"].notna().any() else "the bootstrap is sure of it"
    subtitle = (
        f"{score[0].upper()}{score[1:]}: the row's less the column's. Filled: {tests} after "
        "adjustment for all pairs, dark where the row is better, light where it is worse. "
        "Plain: nothing is decided."
    )
    caveat = str(table["caveat"].iloc[0])
    if caveat:
        subtitle += f" {caveat[0].upper()}{caveat[1:]}."
    top = heading_height(title, subtitle)
    shown = [f"{label(' '.join(parse_alias(n)), 30)}  {k}" for k, n in enumerate(names, 1)]
    left = MARGIN + max(text_width(n, 9) for n in shown) + 0.15
    tall = _ROW * len(names)
    figure = canvas(top + _TALL + tall + 0.1)
    heading(figure, title, subtitle)
    width = min(WIDTH - left - MARGIN, 1.15 * len(names))
    ax = axes(figure, left, top + _TALL, width, tall)
    ax.set_xlim(0, len(names))
    ax.set_ylim(len(names), 0)
    centres = np.arange(len(names)) + 0.5
    ax.set_yticks(centres, shown, fontsize=9, color=INK)
    ax.set_xticks(centres, [str(k) for k in range(1, len(names) + 1)], fontsize=9, color=INK)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    place = {name: k for k, name in enumerate(names)}
    percent = str(pairs["metric"].iloc[0]) in ("wape", "wape_total", "bias", "coverage")
    columns = (pairs[c].tolist() for c in ("a", "b", "difference", "better"))
    for a, b, gap, winner in zip(*columns, strict=True):
        for one, other, sign in ((a, b, 1), (b, a, -1)):
            better = None if winner == "" else bool(winner == one)
            _cell(ax, place[one], place[other], sign * float(gap), better, percent=percent)
    for k in range(len(names)):
        ax.add_patch(_box(k, k, "white", FAINT, hatch="////"))
    alt = f"Matrix of differences in {score} between {len(names)} forecasts. {title}. "
    return Plot(figure, alt + " ".join(table["sentence"]))


def _title(table: pd.DataFrame, decided: int, n_pairs: int) -> str:
    if not decided:
        return f"None of {n_pairs} pairs is decided" if n_pairs > 1 else "Nothing is decided"
    best = table.loc[table["not_beaten"], "name"].tolist()
    which = best[0] if len(best) == 1 else f"{len(best)} of {len(table)} forecasts"
    if n_pairs == 1:
        return str(table["sentence"].iloc[0]).split(" (")[0].rstrip(".")
    return f"Nothing beats {which}; {decided} of {n_pairs} pairs {'is' if decided == 1 else 'are'} decided"


def _score(row: pd.Series) -> str:
    metric, level = str(row["metric"]), row["level"]
    metric = metric.upper() if metric in _ACRONYMS else metric.replace("_", " ")
    at = "" if pd.isna(level) else f" of {level:g} % intervals"
    distance = "distance from the expected " if row["metric"] in ("bias", "coverage") else ""
    return f"{distance}{metric}{at} ({REGIME_LABEL.get(row['regime'], row['regime'])})"


def _box(row: int, column: int, face: str, edge: str, hatch: str | None = None) -> Rectangle:
    from matplotlib.patches import Rectangle

    place = (column + 0.03, row + 0.06)
    return Rectangle(place, 0.94, 0.88, facecolor=face, edgecolor=edge, lw=0.8, hatch=hatch)


def _cell(
    ax: Axes, row: int, column: int, gap: float, better: bool | None, *, percent: bool
) -> None:
    # Blue is dark and vermillion lighter in grey; the sign says it too.
    face = "white" if better is None else BLUE if better else VERMILLION
    ax.add_patch(_box(row, column, face, FAINT if better is None else face))
    ax.text(
        column + 0.5,
        row + 0.5,
        number(gap, percent=percent, signed=True) if gap else "0",
        ha="center",
        va="center",
        size=8.5,
        color=MUTED if better is None else "white" if better else INK,
        weight="normal" if better is None else "bold",
    )
