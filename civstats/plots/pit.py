"""PIT histograms, a panel per forecast: flat is calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._multiples import Grid, check_frame, holm, ordered, what_was_scored
from civstats.plots._style import (
    INK,
    MUTED,
    TREATMENT_COLOUR,
    Plot,
    canvas,
    heading,
    heading_height,
    in_house_style,
    label,
    tick,
    tidy,
)
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("model", "treatment", "left", "right", "density", "lo", "hi")
_KEYS = ["model", "treatment"]
_ALPHA = 0.05


@in_house_style
def pit_plot(
    histogram: pd.DataFrame, uniformity: pd.DataFrame | None = None, *, what: str = ""
) -> Plot:
    """Draw the histogram of the randomised PIT, a panel per model and treatment.

    Parameters
    ----------
    histogram : pandas.DataFrame
        From :func:`civstats.evaluation.calibration.pit_histogram`.
    uniformity : pandas.DataFrame, optional
        From :func:`civstats.evaluation.calibration.pit_uniformity`: ``model, treatment, p_value``,
        written over each panel; the title counts rejections after Holm's adjustment.
    what : str
        What was scored, for the subtitle; by default the regime, where the frame names it.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If columns or rows are missing, a bin stands there twice, or a forecast has no test.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    check_frame(histogram, _COLUMNS, "pit_histogram", ["left"])
    what = what or what_was_scored(histogram)
    models = list(dict.fromkeys(histogram["model"]))
    treatments = ordered(histogram["treatment"])
    found = set(zip(histogram["model"], histogram["treatment"], strict=True))
    keys = [(m, t) for m in models for t in treatments if (m, t) in found]
    p = _p_values(uniformity, keys)
    title = _title(histogram, keys, p)
    bars = np.isfinite(histogram[["lo", "hi"]]).any(axis=None)
    subtitle = (
        f"{what + '. ' if what else ''}Share of days in each tenth of the forecast's distribution, "
        "over what a calibrated forecast shows (the line at 1)"
        + ("; bars are bootstrap intervals" if bars else "")
        + ". Heaped at the right: forecasts too low; at the left: too high; at both "
        "ends: too narrow; in the middle: too wide."
    ).replace("each tenth", _share_of(histogram))
    top = heading_height(title, subtitle) + 0.34
    # A row per model where treatments are compared, else as many panels as fit.
    columns = len(treatments) if 1 < len(treatments) <= 4 else min(len(keys), 4)
    cells = _cells(keys, models, treatments, columns)
    grid = Grid(max(cells.values()) + 1, columns, 1.25, 0.5)
    figure = canvas(top + grid.tall + 0.12)
    heading(figure, title, subtitle)
    ends = histogram[["density", "lo", "hi"]].to_numpy(dtype=float)
    high = 1.06 * max(np.nanmax(ends), 1.3)
    for key, k in cells.items():
        ax = grid.place(figure, k, top)
        part = histogram[(histogram["model"] == key[0]) & (histogram["treatment"] == key[1])]
        _panel(ax, part.sort_values("left"), TREATMENT_COLOUR.get(key[1], MUTED))
        ax.set_ylim(0, high)
        ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: tick(v)))
        _name(ax, key, p.get(key), grid.width)
        if k % columns == 0:
            ax.set_ylabel("density", size=8.5)
        else:
            ax.tick_params(labelleft=False)
        below = [c for c in cells.values() if c > k and c % columns == k % columns]
        if below:
            ax.tick_params(labelbottom=False)
        else:
            ax.set_xlabel("PIT", size=8.5)
    said = "; ".join(_said(histogram, key, p.get(key)) for key in keys)
    alt = f"PIT histograms of {len(keys)} forecast(s). {title}. {said}."
    return Plot(figure, alt)


def _cells(
    keys: list[tuple[str, str]], models: list[str], treatments: list[str], columns: int
) -> dict[tuple[str, str], int]:
    """Return the panel of each forecast: treatments in columns, models in rows."""
    if 1 < len(treatments) <= 4:
        return {(m, t): models.index(m) * columns + treatments.index(t) for m, t in keys}
    return {key: k for k, key in enumerate(keys)}


def _panel(ax: Axes, part: pd.DataFrame, colour: str) -> None:
    left, right, density, lo, hi = (
        part[c].to_numpy(dtype=float) for c in ("left", "right", "density", "lo", "hi")
    )
    ax.bar(
        left, density, right - left, align="edge", color=colour, alpha=0.35,
        edgecolor="white", lw=0.8,
    )  # fmt: skip
    ax.vlines((left + right) / 2, lo, hi, color=colour, lw=1.4)
    ax.axhline(1, color=INK, lw=1.0)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    tidy(ax)


def _name(ax: Axes, key: tuple[str, str], p: float | None, width: float) -> None:
    """Write the forecast's name, and the p-value flush right."""
    longest = 20 if width > 2 else 14
    ax.text(
        0, 1.05, f"{label(key[0], longest)} {key[1]}", transform=ax.transAxes, size=8.8,
        weight="bold", va="bottom",
    )  # fmt: skip
    if p is not None:
        ax.text(
            1, 1.05, _p_text(p), transform=ax.transAxes, size=8.5, color=MUTED, ha="right",
            va="bottom",
        )  # fmt: skip


def _p_text(p: float) -> str:
    if not np.isfinite(p):
        return "no test"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _p_values(
    uniformity: pd.DataFrame | None, keys: list[tuple[str, str]]
) -> dict[tuple[str, str], float]:
    if uniformity is None:
        return {}
    check_frame(uniformity, [*_KEYS, "p_value"], "pit_uniformity", [])
    have = {
        (str(m), str(t)): float(p)
        for m, t, p in uniformity[[*_KEYS, "p_value"]].itertuples(index=False)
    }
    absent = [key for key in keys if key not in have]
    if absent:
        raise CivstatsError(
            f"{len(absent)} forecast(s) have a histogram and no test, first {' '.join(absent[0])}; "
            "pass pit_uniformity of the same PIT values"
        )
    return {key: have[key] for key in keys}


def _title(
    histogram: pd.DataFrame, keys: list[tuple[str, str]], p: dict[tuple[str, str], float]
) -> str:
    tested = np.array([p[key] for key in keys if key in p], dtype=float)
    tested = tested[np.isfinite(tested)]
    if not tested.size:
        far = (histogram["density"] - 1).abs().max()
        return f"No bin of the PIT lies further than {100 * far:.0f} % from its share"
    rejected = int((holm(tested) <= _ALPHA).sum())
    if len(tested) == 1:
        verdict = "is rejected" if rejected else "is not rejected"
        return f"A uniform PIT {verdict} at 5 %"
    known = [key for key in keys if np.isfinite(p[key])]
    adjusted = dict(zip(known, holm(tested), strict=True))
    out, kept = ([" ".join(k) for k, x in adjusted.items() if (x <= _ALPHA) == no] for no in (1, 0))
    if rejected == 0:
        return f"A uniform PIT is rejected for none of {len(tested)} forecasts (5 %, Holm)"
    if rejected == len(tested):
        return f"A uniform PIT is rejected for all {len(tested)} forecasts (5 %, Holm)"
    # The smaller group is named, if it is small.
    tail = f", not for {', '.join(kept)}" if len(kept) <= 3 else ""
    if len(out) <= min(3, len(kept)):
        tail = f": {', '.join(out)}"
    return f"A uniform PIT is rejected for {rejected} of {len(tested)} forecasts (5 %, Holm){tail}"


def _share_of(histogram: pd.DataFrame) -> str:
    n = histogram["left"].nunique()
    return "each tenth" if n == 10 else f"each of {n} equal parts"


def _said(histogram: pd.DataFrame, key: tuple[str, str], p: float | None) -> str:
    part = histogram[(histogram["model"] == key[0]) & (histogram["treatment"] == key[1])]
    part = part.sort_values("left")
    ends = part["density"].iloc[[0, -1]].tolist()
    test = "" if p is None else f", {_p_text(p)}"
    return f"{key[0]} {key[1]}: density {ends[0]:.2f} in the lowest bin, {ends[1]:.2f} in the highest{test}"
