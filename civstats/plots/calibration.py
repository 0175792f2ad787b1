"""Coverage by level: how far the observed coverage of central intervals lies from the nominal one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._multiples import (
    LEFT,
    Grid,
    check_frame,
    line_style,
    ordered,
    treatment_key,
    what_was_scored,
)
from civstats.plots._style import (
    INK,
    Plot,
    canvas,
    heading,
    heading_height,
    in_house_style,
    label,
    tick,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("model", "treatment", "level", "observed", "lo", "hi")


@in_house_style
def calibration_plot(curve: pd.DataFrame, *, what: str = "") -> Plot:
    """Draw observed less nominal coverage by level: a panel per model, a line per treatment.

    Parameters
    ----------
    curve : pandas.DataFrame
        From :func:`civstats.evaluation.calibration.calibration_curve`:
        ``model, treatment, level, observed, lo, hi``, levels in percent, shares in [0, 1].
    what : str
        What was scored, for the subtitle, such as ``"One day ahead, stockouts as bounds"``.

    Returns
    -------
    Plot
        The flat line is a calibrated forecast. On the scale of coverage itself, good and poor
        forecasts hug the same diagonal.

    Raises
    ------
    CivstatsError
        If columns are missing, there is no row, or a level stands there twice.
    """
    check_frame(curve, _COLUMNS, "calibration_curve", ["level"])
    what = what or what_was_scored(curve)
    frame = curve.sort_values("level", kind="stable")
    for column in ("observed", "lo", "hi"):
        frame[column] = 100 * frame[column] - frame["level"]
    models = list(dict.fromkeys(curve["model"]))
    treatments = ordered(curve["treatment"])
    title = _title(frame)
    lead = f"{what}. " if what else ""
    bands = (
        " Bars are bootstrap intervals." if np.isfinite(frame[["lo", "hi"]]).any(axis=None) else ""
    )
    subtitle = (
        f"{lead}Coverage of central intervals whose ends are randomised, so that counts can hit the "
        f"nominal level: above 0 the intervals are too wide, below too narrow.{bands}"
    )
    top = heading_height(title, subtitle) + 0.5
    grid = Grid(len(models), min(len(models), 4), 2.0 if len(models) <= 4 else 1.5, 0.7, 5.4)
    figure = canvas(top + grid.tall)
    heading(figure, title, subtitle)
    treatment_key(figure, top - 0.36, treatments)
    ends = frame[["observed", "lo", "hi"]].to_numpy(dtype=float)
    low, high = min(np.nanmin(ends), -2.0), max(np.nanmax(ends), 2.0)
    pad = 0.06 * (high - low)
    for k, model in enumerate(models):
        ax = grid.place(figure, k, top)
        ax.set_ylim(low - pad, high + pad)
        _panel(ax, frame[frame["model"] == model], treatments)
        ax.set_title(label(model, 24), loc="left", size=9.5, weight="bold")
        if k % grid.columns == 0:
            ax.set_ylabel("observed − nominal, points", size=8.5)
            ax.yaxis.set_label_coords(-(LEFT - 0.16) / grid.width, 0.5)
        else:
            ax.tick_params(labelleft=False)
        if k // grid.columns == grid.rows - 1 or k + grid.columns >= len(models):
            ax.set_xlabel("nominal level, %", size=8.5)
    rows = frame.groupby(["model", "treatment"], observed=True).ngroups
    worst = "; ".join(
        f"{m} {t} {_gap(part)}"
        for (m, t), part in frame.groupby(["model", "treatment"], sort=False, observed=True)
    )
    alt = f"Line chart of coverage by level, {rows} model and treatment rows. {title}. Largest gaps: {worst}."
    return Plot(figure, alt)


def _panel(ax: Axes, frame: pd.DataFrame, treatments: list[str]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.axhline(0, color=INK, lw=1.0)
    for k, treatment in enumerate(treatments):
        line = frame[frame["treatment"] == treatment]
        if line.empty:
            continue
        x, y, lo, hi = (line[c].to_numpy(dtype=float) for c in ("level", "observed", "lo", "hi"))
        style = line_style(treatment)
        # Bands would cover each other: each line shows its intervals at levels of its own.
        step = max(len(treatments), len(x) // 5)
        shown = slice((k + step // 2) % step, None, step)
        ax.vlines(x[shown], lo[shown], hi[shown], color=style["color"], lw=1.3)
        ax.plot(x, y, lw=1.7, ms=4.5, markevery=shown, **style)
    ax.set_xlim(0, 100)
    ax.set_xticks([20, 40, 60, 80])
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: ("+" if v > 0 else "") + tick(v)))
    tidy(ax, grid="y")


def _gap(part: pd.DataFrame) -> str:
    """Write the largest departure from nominal and where it is."""
    worst = part.iloc[int(part["observed"].abs().to_numpy().argmax())]
    size = f"{worst['observed']:+.1f}".replace("-", "−")
    return f"{size} points at {worst['level']:g} %"


def _title(frame: pd.DataFrame) -> str:
    """Say how far coverage is from nominal, at the best and at the worst."""
    size = frame["observed"].abs().groupby([frame["model"], frame["treatment"]], sort=False).max()
    if len(size) == 1:
        return f"Observed coverage lies within {_points(size.iloc[0])} of nominal at every level"
    best, worst = (" ".join(map(str, size.index[int(k)])) for k in (size.argmin(), size.argmax()))
    return (
        f"Observed coverage lies within {_points(size.min())} of nominal at every level for "
        f"{best}, within {_points(size.max())} for {worst}"
    )


def _points(value: float) -> str:
    # Rounded up: "within" must stay true.
    shown = np.ceil(10 * float(value) - 1e-9) / 10
    return f"{shown:.1f} points" if shown != 1 else "1 point"
