"""Small multiples of calibration: the checks, the grid of panels, the key of treatments, p-values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.plots._style import (
    MARGIN,
    MUTED,
    REGIME_LABEL,
    TREATMENT_COLOUR,
    TREATMENT_LINE,
    TREATMENT_MARKER,
    WIDTH,
    axes,
    text_width,
)
from civstats.schema import TREATMENTS, CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, GAP = 0.62, 0.22


def check_frame(frame: pd.DataFrame, columns: Iterable[str], maker: str, keys: list[str]) -> None:
    """Raise for missing columns, no rows, missing values, or rows that stand there twice."""
    columns = list(columns)
    missing = [c for c in columns if c not in frame.columns]
    if missing or frame.empty:
        raise CivstatsError(
            f"the frame lacks {'column(s) ' + ', '.join(missing) if missing else 'rows'}: pass that "
            f"of civstats.evaluation.calibration.{maker}"
        )
    twice = frame.duplicated(["model", "treatment", *keys])
    if twice.any():
        first = frame[twice].iloc[0]
        raise CivstatsError(
            f"{int(twice.sum())} row(s) stand there twice, first {first['model']} {first['treatment']}"
        )


def what_was_scored(frame: pd.DataFrame) -> str:
    """Name the regime that a frame is of, nothing if it has none."""
    names: list[str] = list(frame["regime"].unique()) if "regime" in frame.columns else []
    words = " and ".join(REGIME_LABEL.get(str(r), str(r)) for r in names)
    return words[:1].upper() + words[1:]


def ordered(treatments: Iterable[str]) -> list[str]:
    """Put treatments in the house's order, others behind."""
    found = list(dict.fromkeys(map(str, treatments)))
    return [t for t in TREATMENTS if t in found] + [t for t in found if t not in TREATMENTS]


def line_style(treatment: str) -> dict[str, Any]:
    """Colour, dashes and marker of a treatment: they differ in grey too."""
    return {
        "color": TREATMENT_COLOUR.get(treatment, MUTED),
        "ls": TREATMENT_LINE.get(treatment, "-."),
        "marker": TREATMENT_MARKER.get(treatment, "x"),
    }


@dataclass(frozen=True)
class Grid:
    """Panels in rows of `columns`, each `width` x `height` inches, `between` inches below each."""

    n: int
    columns: int
    height: float
    between: float
    widest: float = 3.2

    @property
    def rows(self) -> int:
        """Number of rows of panels."""
        return -(-self.n // self.columns)

    @property
    def width(self) -> float:
        """Inches of a panel."""
        spare = WIDTH - LEFT - MARGIN - 0.12 - GAP * (self.columns - 1)
        return min(self.widest, spare / self.columns)

    @property
    def tall(self) -> float:
        """Inches of all panels and what stands below them."""
        return self.rows * (self.height + self.between)

    def place(self, figure: Figure, k: int, top: float) -> Axes:
        """Add the axes of panel `k`, the first row `top` inches below the figure's top."""
        row, column = divmod(k, self.columns)
        return axes(
            figure,
            LEFT + column * (self.width + GAP),
            top + row * (self.height + self.between),
            self.width,
            self.height,
        )


def treatment_key(figure: Figure, top: float, treatments: list[str]) -> None:
    """Write the treatments' lines and names on one line, `top` inches below the figure's top."""
    from matplotlib.lines import Line2D

    w, h = figure.get_size_inches()
    x, y = MARGIN, 1 - top / h
    for treatment in treatments:
        style = line_style(treatment)
        ends = [x / w, (x + 0.2) / w, (x + 0.4) / w]
        figure.add_artist(Line2D(ends, [y] * 3, lw=1.8, ms=4.5, markevery=[1], **style))
        figure.text((x + 0.48) / w, y, treatment, size=9, color=style["color"], va="center")
        x += 0.48 + text_width(treatment, 9) + 0.3


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values for their number (Holm 1979); NaN stays NaN and does not count.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, np.nan])).tolist()
    [0.02, 0.04, nan]
    """
    out = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out
