"""A row per model and treatment, a marker per regime: the chart under two of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BAND,
    INK,
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
    number,
    text_width,
    tidy,
)
from civstats.schema import CUTOFF, REGIMES, SCORES, TREATMENTS, CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW, GAP = 0.31, 0.13  # inches


@dataclass(frozen=True)
class RowPanel:
    """One panel: its scores (pooled, one metric, one level), and how to draw them."""

    scores: pd.DataFrame
    title: str
    xlabel: str
    percent: bool = False
    signed: bool = False
    reference: float | None = None
    ring: bool = False
    columns: tuple[str, ...] = ()
    share: float = 1.0


def pooled(scores: pd.DataFrame, metric: str, level: float | None = None) -> pd.DataFrame:
    """Return the pooled scores of a metric (and interval level), one row per model, treatment, regime.

    Raises
    ------
    CivstatsError
        If columns are missing, nothing matches, or a score stands there twice.
    """
    missing = [c for c in SCORES if c not in scores.columns]
    if missing:
        raise CivstatsError(f"the score frame lacks column(s) {', '.join(missing)}")
    chosen = scores["metric"].eq(metric) & scores[CUTOFF].isna()
    if level is not None:
        chosen &= scores["level"].eq(level)
    frame = scores[chosen].copy()
    if frame.empty:
        found = ", ".join(sorted(map(str, scores["metric"].unique())))
        raise CivstatsError(
            f"no pooled score of {metric!r}{f' at level {level:g}' if level else ''}; "
            f"the frame holds {found or 'nothing'} (pooled rows have no cutoff)"
        )
    for column in ("model", "treatment", "regime"):
        frame[column] = frame[column].astype(str)
    for column in ("value", "lo", "hi", "expected"):
        frame[column] = frame[column].astype(float)
    twice = frame.duplicated(["model", "treatment", "regime"])
    if twice.any():
        first = frame[twice].iloc[0]
        raise CivstatsError(
            f"{int(twice.sum())} pooled score(s) of {metric!r} stand there twice, first "
            f"{first['model']} {first['treatment']} {first['regime']}; name a level or drop repeats"
        )
    return frame.reset_index(drop=True)


def row_chart(panels: Sequence[RowPanel], title: str, subtitle: str = "") -> Figure:
    """Draw panels side by side that share their rows (model x treatment)."""
    keys = _keys(pd.concat([p.scores for p in panels], ignore_index=True))
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
        0.1 + max(text_width(n, 9, "bold") for n in names.values()) + 0.22 + treatment_width + 0.1
    )
    head = heading_height(title, subtitle)
    top, bottom = head + 0.32 + 0.36, 0.55
    figure = canvas(top + at + bottom)
    heading(figure, title, subtitle)
    regimes = [r for r in REGIMES if any((p.scores["regime"] == r).any() for p in panels)]
    expected = any(p.scores["expected"].notna().any() for p in panels)
    _key(figure, head, regimes, expected, any(p.ring for p in panels))

    gutter, column = 0.3, 0.62
    spare = WIDTH - left - 0.15 - gutter * (len(panels) - 1)
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
        _panel(ax, panel, y, regimes, width)
        x += width + column * len(panel.columns) + gutter
        if k == 0:
            _row_labels(ax, keys, y, names, left, width)
    return figure


def _keys(scores: pd.DataFrame) -> list[tuple[str, str]]:
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
                (0.1 - left) / width,
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


def _key(figure: Figure, head: float, regimes: list[str], expected: bool, ring: bool) -> None:
    """Write the key on one line under the heading, marker and words side by side."""
    from matplotlib.lines import Line2D

    w, h = figure.get_size_inches()
    x, y = 0.1, 1 - (head + 0.14) / h
    entries: list[tuple[dict, str, str]] = [
        (
            {"marker": REGIME_MARKER[r], "ms": 6, "color": REGIME_COLOUR[r]},
            REGIME_LABEL[r],
            REGIME_COLOUR[r],
        )
        for r in regimes
    ]
    if expected:
        entries.append(
            ({"marker": "|", "ms": 9, "mew": 2, "color": MUTED}, "a perfect forecast", MUTED)
        )
    if ring:
        style = {"marker": "o", "ms": 10, "mfc": "none", "mew": 1.2, "color": MUTED}
        entries.append((style, "lowest by that yardstick", MUTED))
    lead = "scored against" if not ring or regimes else ""
    figure.text(x / w, y, lead, size=9, color=MUTED, va="center")
    x += text_width(lead, 9) + 0.2
    for style, words, colour in entries:
        figure.add_artist(Line2D([x / w], [y], linestyle="none", **style))
        figure.text((x + 0.12) / w, y, words, size=9, color=colour, va="center")
        x += 0.12 + text_width(words, 9) + 0.28


def _limits(panel: RowPanel) -> tuple[float, float]:
    """Return limits that show every score, unless a few lie so far out that they hide the rest."""
    frame = panel.scores
    values = frame["value"].to_numpy()
    values = values[np.isfinite(values)]
    everything = frame[["value", "lo", "hi", "expected"]].to_numpy().ravel()
    everything = everything[np.isfinite(everything)]
    if panel.reference is not None:
        everything = np.r_[everything, panel.reference]
    if not values.size:
        centre = panel.reference or 0.0
        return centre - 1.0, centre + 1.0
    lo, hi = everything.min(), everything.max()
    q1, q3 = np.quantile(values, [0.25, 0.75])
    fence = 4 * max(q3 - q1, 0.02 * max(abs(q1), abs(q3)), 1e-9)
    if len(values) >= 6:
        lo, hi = max(lo, q1 - fence), min(hi, q3 + fence)
    if panel.reference is not None:
        lo, hi = min(lo, panel.reference), max(hi, panel.reference)
    pad = 0.06 * (hi - lo) or 0.05 * max(abs(hi), 1e-3)
    return lo - pad, hi + pad


def _panel(
    ax: Axes, panel: RowPanel, y: dict[tuple[str, str], float], regimes: list[str], width: float
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    frame = panel.scores
    lo, hi = _limits(panel)
    ax.set_xlim(lo, hi)
    offset = dict(
        zip(regimes, (np.arange(len(regimes)) - (len(regimes) - 1) / 2) * 0.082, strict=True)
    )
    if panel.reference is not None:
        ax.axvline(panel.reference, color=INK, lw=1, zorder=1)
    for (_, _), rows in frame.groupby(["model", "treatment"], sort=False):
        ends = rows[rows["regime"].isin(["all_days", "demand"])]
        if len(ends) == 2 and ends["value"].notna().all():
            row = y[(ends["model"].iloc[0], ends["treatment"].iloc[0])]
            heights = row + ends["regime"].map(offset).to_numpy()
            ax.plot(ends["value"], heights, color="#b5b5b5", lw=1.6, zorder=1.5, clip_on=True)
    ringed = _lowest(frame) if panel.ring else set()
    for record in frame.itertuples():
        at = y[(record.model, record.treatment)] + offset[record.regime]
        _mark(ax, record, at, (lo, hi), panel, record.Index in ringed)
    for c, regime in enumerate(panel.columns):
        place = 1 + (0.62 * (c + 1) - 0.04) / width
        head = {"all_days": "sales", "in_stock": "in stock", "demand": "demand"}[regime]
        style = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center", "size": 8.5}
        colour = REGIME_COLOUR[regime]
        ax.text(place, -0.14, head, color=colour, **style)
        for record in frame[frame["regime"] == regime].itertuples():
            words = number(record.value, percent=panel.percent, signed=panel.signed)
            words = "n/a" if words == "undefined" else words
            weight = "bold" if regime == "demand" else "normal"
            ax.text(
                place,
                y[(record.model, record.treatment)],
                words,
                color=colour,
                weight=weight,
                **style,
            )
    ax.set_title(panel.title, loc="left", size=9.5, weight="bold", pad=13)
    ax.set_xlabel(panel.xlabel)
    ax.xaxis.set_major_locator(MaxNLocator(5 if width > 2.2 else 4))
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda v, _: number(v, percent=panel.percent, signed=panel.signed))
    )
    tidy(ax, grid="x")


def _lowest(frame: pd.DataFrame) -> set[int]:
    known = frame[frame["value"].notna()]
    return set(known.groupby("regime", observed=True)["value"].idxmin())


def _mark(
    ax: Axes, record: object, at: float, limits: tuple[float, float], panel: RowPanel, ring: bool
) -> None:
    """Draw one score: interval, marker, what a perfect forecast shows; an arrow if off the scale."""
    value, regime = record.value, record.regime  # type: ignore[attr-defined]
    colour = REGIME_COLOUR[regime]
    expected = record.expected  # type: ignore[attr-defined]
    if np.isfinite(expected) and limits[0] <= expected <= limits[1]:
        ax.plot([expected] * 2, [at - 0.055, at + 0.055], color=colour, lw=2.2, alpha=0.6, zorder=2)
    if not np.isfinite(value):
        return
    if not limits[0] <= value <= limits[1]:
        right = value > limits[1]
        words = number(value, percent=panel.percent, signed=panel.signed)
        words = f"{words} ▸" if right else f"◂ {words}"
        edge = limits[1] if right else limits[0]
        ax.text(edge, at, words, size=7, color=colour, va="center", ha="right" if right else "left")
        return
    lo, hi = record.lo, record.hi  # type: ignore[attr-defined]
    if np.isfinite(lo) and np.isfinite(hi):
        ax.plot(np.clip([lo, hi], *limits), [at, at], color=colour, lw=1.3, zorder=2.5)
    hollow = not bool(record.identified)  # type: ignore[attr-defined]
    ax.plot(
        [value],
        [at],
        REGIME_MARKER[regime],
        ms=5.2 if regime != "demand" else 5.6,
        mfc="white" if hollow else colour,
        mec=colour if hollow else "white",
        mew=1.2 if hollow else 0.6,
        zorder=3,
        clip_on=False,
    )
    if ring:
        ax.plot(
            [value], [at], "o", ms=11, mfc="none", mec=colour, mew=1.2, zorder=3.5, clip_on=False
        )
