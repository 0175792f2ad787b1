"""The house style of figures: sizes, colours, safe text, and what every plot hands back."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import numpy as np

from civstats._io import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

WIDTH = 9.0
"""Inches. At 150 dots per inch 1,350 pixels, which a 900-pixel column shows crisply."""
DPI = 150
MARGIN = 0.03
"""Inches left of the text: it stands flush with the page's own."""
INK, MUTED, FAINT, BAND = "#1a1a1a", "#5f5f5f", "#d9d9d9", "#f5f5f3"

# Okabe and Ito (2008), which stay apart under all common forms of colour blindness; shapes and
# line styles differ as well, so that a grey print says the same.
REGIME_LABEL = {
    "all_days": "sales, all days",
    "in_stock": "sales, in-stock days",
    "demand": "true demand",
    "censored": "stockouts as bounds",
}
REGIME_COLOUR = {
    "all_days": "#D55E00",
    "in_stock": "#0072B2",
    "demand": INK,
    "censored": "#009E73",
}
REGIME_MARKER = {"all_days": "o", "in_stock": "s", "demand": "D", "censored": "^"}
TREATMENT_COLOUR = {"ignore": "#D55E00", "mask": "#0072B2", "censor": "#009E73"}
TREATMENT_LINE = {"ignore": "--", "mask": ":", "censor": "-"}
TREATMENT_MARKER = {"ignore": "o", "mask": "s", "censor": "D"}
SKY, BLUE, VERMILLION = "#56B4E9", "#0072B2", "#D55E00"

_RC = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    # Identifiers may hold `$` and `_`; nothing in our figures is a formula.
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.solid_capstyle": "butt",
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
}


@contextmanager
def house() -> Iterator[None]:
    """Draw in the house style, whatever the user's matplotlibrc says, and leave no trace of it."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


@dataclass(frozen=True)
class Plot:
    """A figure and the text that stands for it where it cannot be seen.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        Not registered with pyplot.
    alt : str
        One paragraph for the `alt` attribute.
    """

    figure: Figure
    alt: str

    def png(self) -> bytes:
        """Render the figure; the same figure gives the same bytes (no date, no software tag)."""
        buffer = io.BytesIO()
        with house():
            self.figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        return buffer.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the figure as PNG, whole or not at all."""
        content = self.png()
        with atomic(path) as temporary:
            temporary.write_bytes(content)


def in_house_style(function: Callable[P, Plot]) -> Callable[P, Plot]:
    """Run a plot function in the house style."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Plot:
        with house():
            return function(*args, **kwargs)

    return wrapped


def canvas(height: float) -> Figure:
    """Return an empty figure of the house's width, `height` in inches, drawn by Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes whose place is given in inches from the figure's top left corner."""
    w, h = figure.get_size_inches()
    return figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of a line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0] / 72


def wrap(text: str, size: float, width: float, weight: str = "normal") -> str:
    """Break a text into lines of at most `width` inches."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and text_width(longer, size, weight) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return "\n".join([*lines, line])


def heading(figure: Figure, title: str, subtitle: str = "", left: float = MARGIN) -> None:
    """Write the message and what is drawn at the top of a figure."""
    w, h = figure.get_size_inches()
    head = wrap(title, 12.5, w - 2 * left, "bold")
    figure.text(left / w, 1 - 0.1 / h, head, size=12.5, weight="bold", va="top", linespacing=1.15)
    if subtitle:
        y = 0.16 + 0.215 * (head.count("\n") + 1)
        below = wrap(subtitle, 9, w - 2 * left)
        figure.text(left / w, 1 - y / h, below, size=9, color=MUTED, va="top", linespacing=1.25)


def heading_height(title: str, subtitle: str = "", left: float = MARGIN) -> float:
    """Return the inches that `heading` takes."""
    lines = wrap(title, 12.5, WIDTH - 2 * left, "bold").count("\n") + 1
    more = wrap(subtitle, 9, WIDTH - 2 * left).count("\n") + 1 if subtitle else 0
    return 0.16 + 0.215 * lines + 0.175 * more + 0.08


def label(value: object, longest: int = 28) -> str:
    """Make any identifier safe and short enough to draw.

    Control characters and characters that DejaVu Sans lacks become a question mark; the middle
    of a long name is left out, since stores and items differ at the ends.
    """
    known = _glyphs()
    text = "".join(c if ord(c) in known and c.isprintable() else "?" for c in str(value))
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[-tail:]}"


@functools.cache
def _glyphs() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def number(value: float, *, percent: bool = False, signed: bool = False, digits: int = 3) -> str:
    """Write a number for a reader: ``+12 %``, ``1,240``, ``0.57``; NaN is "undefined".

    Examples
    --------
    >>> number(0.1234, percent=True, signed=True), number(1240.4), number(float("nan"))
    ('+12 %', '1,240', 'undefined')
    """
    if not np.isfinite(value):
        return "undefined" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    shown = 100 * value if percent else value
    size = abs(shown)
    if percent:
        decimals = 1 if 0 < round(size, 1) < 1 else 0
    else:
        decimals = max(0, digits - 1 - int(np.floor(np.log10(size)))) if size > 0 else 0
        decimals = min(decimals, 4)
    text = f"{round(size, decimals):,.{decimals}f}"
    zero = float(text.replace(",", "")) == 0
    sign = "" if zero else "−" if shown < 0 else "+" if signed else ""
    return f"{sign}{text}{' %' if percent else ''}"


def spread(values: Sequence[float] | np.ndarray, **kwargs: bool) -> str:
    """Write the range of some numbers: one number, or "from a to b"."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return "undefined"
    lo, hi = number(finite.min(), **kwargs), number(finite.max(), **kwargs)
    return lo if lo == hi else f"from {lo} to {hi}"


def tick(value: float) -> str:
    """Write a tick's value without needless decimals: ``20``, ``2.5``, ``1,000``."""
    return (
        f"{round(value, 10) + 0.0:,.6g}".replace("-", "−") if abs(value) < 1e6 else f"{value:,.0f}"
    )


def share_tick(value: float) -> str:
    """Write a tick's value as a percentage without needless decimals."""
    return f"{tick(100 * value)} %"


def tidy(ax: Axes, *, grid: str | None = None) -> None:
    """Take away what carries no data: tick marks, and grid lines on the other axis."""
    ax.tick_params(length=0)
    if grid == "x":
        ax.grid(visible=True, axis="x")
    elif grid == "y":
        ax.grid(visible=True, axis="y")
