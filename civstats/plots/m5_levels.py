"""M5's scores by level of aggregation: a panel per score, a mark per model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BLUE,
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
    text_width,
    tick,
    tidy,
)
from civstats.schema import CivstatsError

_COLUMNS = ("model", "metric", "m5_level", "value")
_TITLES = {"wrmsse": "WRMSSE", "wspl": "WSPL"}
# Told apart by form and fill too: colours fall together in grey.
_MARKS = (
    ("o", BLUE, BLUE), ("s", VERMILLION, "white"), ("D", INK, SKY),
    ("^", MUTED, MUTED), ("v", BLUE, "white"), ("P", VERMILLION, VERMILLION),
)  # fmt: skip
_ROW = 0.24
_MEAN = "mean of the levels"


@in_house_style
def m5_levels(scores: pd.DataFrame, names: Mapping[int, str]) -> Plot:
    """Draw every model's score at each level of the M5 hierarchy, and the mean over the levels.

    Parameters
    ----------
    scores : pandas.DataFrame
        ``model, metric, m5_level, value``, as from :class:`civstats.evaluation.M5Scorer`; level 0 is
        the mean of the others.
    names : mapping of int to str
        What each level aggregates to, such as ``{1: "total"}``.

    Returns
    -------
    Plot
        Scores of one window have no interval: the title claims no more than the lowest mean.

    Raises
    ------
    CivstatsError
        If columns or rows are missing, a score stands there twice, or there are more than 6 models.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    missing = [c for c in _COLUMNS if c not in scores.columns]
    if missing or scores.empty:
        raise CivstatsError(
            f"the scores lack {', '.join(missing) or 'rows'}: pass those of M5Scorer"
        )
    twice = int(scores.duplicated(["model", "metric", "m5_level"]).sum())
    models = list(dict.fromkeys(scores["model"]))
    if twice or len(models) > len(_MARKS):
        raise CivstatsError(
            f"{twice} score(s) stand there twice: pass one window and treatment"
            if twice
            else f"{len(models)} models are too many to tell apart: pass at most {len(_MARKS)}"
        )
    metrics = [m for m in _TITLES if (scores["metric"] == m).any()]
    levels = sorted({int(x) for x in scores["m5_level"]}, key=lambda x: (x == 0, x))
    tables = {
        m: scores[scores["metric"] == m].pivot_table(
            index="m5_level", columns="model", values="value"
        )
        for m in metrics
    }
    title = _title(tables)
    subtitle = (
        "Each level is the weighted mean of its series' scaled errors, lower is better. One window, no "
        "interval: no difference is shown to be more than chance."
    )
    top = heading_height(title, subtitle) + 0.3
    tall = _ROW * len(levels) + 0.1
    figure = canvas(top + 0.3 + tall + 0.45)
    heading(figure, title, subtitle)
    words = [f"{k}  {names.get(k, '')}".rstrip() if k else _MEAN for k in levels]
    left, gap = MARGIN + max(text_width(w, 9) for w in words) + 0.15, 0.3
    width = (WIDTH - left - MARGIN - 0.1 - gap * (len(metrics) - 1)) / len(metrics)
    y = np.arange(len(levels), dtype=float) + np.array([0.35 * (k == 0) for k in levels])
    for at, metric in enumerate(metrics):
        ax = axes(figure, left + at * (width + gap), top + 0.3, width, tall)
        part = tables[metric].reindex(levels)
        ax.hlines(y, part.min(axis=1), part.max(axis=1), color="#cfcfcf", lw=1.2, zorder=1)
        for model, (marker, edge, face) in zip(models, _MARKS, strict=False):
            if model not in part.columns:
                continue
            ax.plot(
                part[model], y, ls="none", marker=marker, ms=5.5, mec=edge, mfc=face, mew=1.2,
                label=label(model), zorder=3,
            )  # fmt: skip
        ax.set_yticks(y, words if at == 0 else [""] * len(words), fontsize=9)
        ax.set_ylim(y[-1] + 0.6, -0.6)
        ax.set_xlim(0, 1.06 * float(np.nanmax(part.to_numpy())))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: tick(v)))
        ax.set_title(_TITLES[metric], loc="left", fontsize=9.5, weight="bold")
        if levels[-1] == 0:
            ax.axhline(y[-1] - 0.68, color=MUTED, lw=0.7)
        tidy(ax, grid="x")
    height = figure.get_size_inches()[1]
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="center left", frameon=False, fontsize=9,
        bbox_to_anchor=(MARGIN / WIDTH, 1 - (top - 0.06) / height), ncols=len(models),
        borderpad=0, handletextpad=0.3, columnspacing=1.4,
    )  # fmt: skip
    said = "; ".join(
        f"{_TITLES[m]}, {word}: "
        + ", ".join(f"{x} {table.loc[k, x]:.3f}" for x in models if x in table.columns)
        for m, table in tables.items()
        for k, word in zip(levels, words, strict=True)
        if k in table.index
    )
    return Plot(figure, f"Dot plot by level. {title}. {said}.")


def _title(tables: Mapping[str, pd.DataFrame]) -> str:
    """Say which model's mean is lowest, and at how many levels it is."""
    parts = []
    for metric, part in tables.items():
        by_level = part.drop(index=0, errors="ignore")
        mean = part.loc[0] if 0 in part.index else by_level.mean()
        model = str(mean.idxmin())
        if len(part.columns) == 1:
            parts.append(f"{_TITLES[metric]} of {label(model)} is {mean[model]:.3f}")
            continue
        n = int((by_level.idxmin(axis=1) == model).sum())
        parts.append(
            f"{label(model)} has the lowest {_TITLES[metric]}, at {n} of {len(by_level)} levels"
        )
    return "; ".join(parts)
