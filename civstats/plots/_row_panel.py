"""One panel of the row chart: its scores, scale, intervals and markers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.plots._style import (
    INK,
    REGIME_COLOUR,
    REGIME_MARKER,
    number,
    share_tick,
    tick,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMN = 0.62
"""Inches of a column of printed scores."""


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


def draw_panel(
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
    other = "demand" if "demand" in regimes else "in_stock"
    ends = frame[frame["regime"].isin(["all_days", other]) & frame["value"].notna()]
    records = _records(frame)
    for key, row in y.items():
        pair = ends[ends["model"].eq(key[0]) & ends["treatment"].eq(key[1])]
        if len(pair) == 2:
            heights = row + pair["regime"].map(offset).to_numpy(dtype=float)
            ax.plot(pair["value"], heights, color="#b5b5b5", lw=1.6, zorder=1.5)
    ringed = _lowest(frame) if panel.ring and len(y) > 1 else set()
    for record in records:
        at = y[(record.model, record.treatment)] + offset[record.regime]
        _mark(ax, record, at, (lo, hi), panel, record.Index in ringed)
    for c, regime in enumerate(panel.columns):
        place = 1 + (COLUMN * (c + 1) - 0.04) / width
        head = {"all_days": "sales", "in_stock": "in stock", "demand": "demand"}.get(regime, regime)
        style: dict[str, Any] = {
            "transform": ax.get_yaxis_transform(),
            "ha": "right",
            "va": "center",
            "size": 8.5,
        }
        colour = REGIME_COLOUR[regime]
        ax.text(place, -0.14, head, color=colour, **style)
        for record in (r for r in records if r.regime == regime):
            words = number(record.value, percent=panel.percent, signed=panel.signed)
            words = "n/a" if words == "undefined" else words
            words = words if record.identified or words == "n/a" else f"({words})"
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
        FuncFormatter(
            lambda v, _: (
                ("+" if panel.signed and v > 1e-9 else "")
                + (share_tick(v) if panel.percent else tick(v))
            )
        )
    )
    tidy(ax, grid="x")


def _records(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _lowest(frame: pd.DataFrame) -> set[int]:
    known = frame[frame["value"].notna() & frame["identified"].astype(bool)]
    return set(known.groupby("regime", observed=True)["value"].idxmin())


def _mark(
    ax: Axes, record: Any, at: float, limits: tuple[float, float], panel: RowPanel, ring: bool
) -> None:
    """Draw one score: interval, marker, what a perfect forecast shows; an arrow if off the scale."""
    value, regime = record.value, record.regime
    colour = REGIME_COLOUR[regime]
    expected = record.expected
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
    lo, hi = record.lo, record.hi
    if np.isfinite(lo) and np.isfinite(hi):
        ax.plot(np.clip([lo, hi], *limits), [at, at], color=colour, lw=1.3, zorder=2.5)
    hollow = not bool(record.identified)
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
