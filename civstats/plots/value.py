"""Levers side by side, value by rank with its band, and how often what was called likely came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BAND,
    BLUE,
    INK,
    MARGIN,
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
    number,
    share_tick,
    text_width,
    tick,
    tidy,
    wrap,
)
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.42
_LEVERS = ("name", "value_mean", "value_p10", "value_p90", "gross_mean")
_CURVE = ("n", "mean", "p10", "p90")
_FEW = 20
"""A share of fewer series-days is noise."""
_RELIABILITY = ("expected", "observed", "half", "n")


def _check(frame: pd.DataFrame, columns: tuple[str, ...], what: str) -> None:
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise CivstatsError(f"{what} lacks column(s) {', '.join(missing)}")
    if frame.empty:
        raise CivstatsError(f"{what} has no rows")


def _money(value: float, currency: str) -> str:
    text = number(float(value))
    return text if text == "undefined" else f"{currency}{text}"


@in_house_style
def lever_values(levers: pd.DataFrame, *, currency: str = "$", period: str = "28 days") -> Plot:
    """Draw what each lever is worth in all: net mean with its band, and the gross mean.

    Parameters
    ----------
    levers : pandas.DataFrame
        One row a lever: ``name``, ``value_mean, value_p10, value_p90`` (net) and ``gross_mean``.
    currency, period : str
        Unit of the money, and the time it is for.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        For missing columns or no rows.
    """
    _check(levers, _LEVERS, "the table of levers")
    frame = levers.reset_index(drop=True)
    first, best = frame.iloc[0], frame.iloc[int(frame["value_mean"].to_numpy(float).argmax())]
    title = (
        f"{label(first['name'], 60)[0].upper()}{label(first['name'], 60)[1:]}: "
        f"{_money(first['value_mean'], currency)} net in {period}"
    )
    if best["name"] != first["name"]:
        title += f"; {label(best['name'], 60)}: {_money(best['value_mean'], currency)}"
    subtitle = (
        "Dots: mean of the total, net of what customers would have bought anyway and of the lever's cost; "
        "bars: from the 10th to the 90th percentile of the total; diamonds: the mean before that."
    )
    top = heading_height(title, subtitle) + 0.12
    tall = _ROW * len(frame)
    figure = canvas(top + tall + 0.55)
    heading(figure, title, subtitle)
    names = [wrap(label(x, 60), 9, 2.6) for x in frame["name"]]
    left = MARGIN + max(text_width(x, 9) for n in names for x in n.split("\n")) + 0.2
    ax = axes(figure, left, top, WIDTH - left - 0.15, tall)
    y = np.arange(len(frame)) * _ROW + _ROW / 2
    mean, lo, hi, gross = (frame[c].to_numpy(float) for c in _LEVERS[1:])
    for k in range(0, len(y), 2):
        ax.axhspan(y[k] - _ROW / 2, y[k] + _ROW / 2, color=BAND, lw=0, zorder=0)
    ax.hlines(y, lo, hi, color=BLUE, lw=3, alpha=0.45, zorder=2)
    ax.plot(mean, y, "o", color=BLUE, ms=6, mec="white", mew=0.6, zorder=4)
    ax.plot(gross, y, "D", ms=5, mfc="none", mec=VERMILLION, mew=1.1, zorder=3)
    ends = np.r_[0.0, mean, lo, hi, gross]
    ends = ends[np.isfinite(ends)]
    span = ends.max() - ends.min() or 1.0
    ax.set_xlim(ends.min() - (0.03 * span if ends.min() < 0 else 0), ends.max() + 0.04 * span)
    ax.set_ylim(tall, 0)
    ax.set_yticks(y, names, color=INK)
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color=INK, lw=1, zorder=1)
    ax.set_xlabel(f"{currency} in {period}".strip())
    _ticks(ax)
    tidy(ax, grid="x")
    said = "; ".join(
        f"{label(r['name'], 60)} {_money(r['value_mean'], currency)} ({_money(r['value_p10'], currency)} "
        f"to {_money(r['value_p90'], currency)})"
        for _, r in frame.iterrows()
    )
    return Plot(figure, f"Dot plot of {len(frame)} levers. {title}. Net, p10 to p90: {said}.")


@in_house_style
def cumulative_value(
    curve: pd.DataFrame, k: int, *, currency: str = "$", period: str = "28 days"
) -> Plot:
    """Draw what acting on the first n of the ranking is worth, n from one to all.

    Parameters
    ----------
    curve : pandas.DataFrame
        ``n, mean, p10, p90``: money of the first n together, quantiles those of that sum.
    k : int
        The n that is marked.
    currency, period : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        For missing columns, no rows, or `k` outside the curve.
    """
    _check(curve, _CURVE, "the curve of cumulative value")
    frame = curve.sort_values("n", kind="stable")
    n, mean, lo, hi = (frame[c].to_numpy(float) for c in _CURVE)
    if not 1 <= k <= n.max():
        raise CivstatsError(f"k must lie in 1 to {int(n.max())}, the number of series, but got {k}")
    most, at = float(mean.max()), int(np.searchsorted(n, k))
    share = mean[at] / most if most > 0 else np.nan
    half = int(n[int((mean >= 0.5 * most).argmax())]) if most > 0 else 0
    title = (
        f"The first {k:,} of {int(n.max()):,} series hold {number(share, percent=True)} of what all are "
        f"worth; half of it is reached with {half:,}"
        if most > 0
        else "No series is worth acting on"
    )
    subtitle = (
        f"Net value of acting on the first n of the ranking, {period}: mean, and the band from the 10th to "
        "the 90th percentile of that sum (joint over series)."
    )
    top = heading_height(title, subtitle) + 0.15
    tall = 3.1
    figure = canvas(top + tall + 0.55)
    heading(figure, title, subtitle)
    ax = axes(figure, 0.8, top, WIDTH - 1.0, tall)
    x, m, a, b = (np.r_[0.0, v] for v in (n, mean, lo, hi))
    ax.fill_between(x, a, b, color=SKY, alpha=0.35, lw=0)
    ax.plot(x, m, color=BLUE, lw=2.2)
    ax.plot([k, k], [0, mean[at]], color=VERMILLION, lw=1.4, ls="--")
    ax.plot([k], [mean[at]], "D", color=VERMILLION, ms=6, mec="white", zorder=4)
    ax.annotate(
        f"first {k:,}: {_money(mean[at], currency)}",
        (k, mean[at]),
        (9, -13) if k < 0.7 * n.max() else (-9, -13),
        textcoords="offset points",
        ha="left" if k < 0.7 * n.max() else "right",
        color=INK,
        weight="bold",
    )
    ax.set_xlim(0, n.max() * 1.02)
    ax.set_ylim(min(0.0, np.nanmin(a)), max(np.nanmax(b), 1e-9) * 1.05)
    ax.set_xlabel("series acted on, in order of the ranking")
    ax.set_ylabel(f"net value, {currency}".rstrip(", "))
    _ticks(ax, both=True)
    tidy(ax, grid="y")
    return Plot(figure, f"Rising curve with a band. {title}.")


@in_house_style
def stockout_reliability(curves: Mapping[str, pd.DataFrame], *, subtitle: str = "") -> Plot:
    """Draw how often days came out of stock against the chance they were given, a panel per model.

    Parameters
    ----------
    curves : mapping of str to pandas.DataFrame
        By model, as :func:`civstats.value.reliability` returns it: ``expected, observed, half, n``.
    subtitle : str

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        Without a model, for missing columns or no rows.
    """
    if not curves:
        raise CivstatsError("no reliability curve to draw: name at least one model")
    worst = {}
    for name, frame in curves.items():
        _check(frame, _RELIABILITY, f"the reliability of {name}")
        off = (frame["observed"] - frame["expected"]).abs().to_numpy(float)
        worst[name] = float(off @ frame["n"].to_numpy(float) / frame["n"].sum())
    first = next(iter(curves))
    title = (
        f"{first}: days came out of stock as often as they were said to, "
        f"{100 * worst[first]:.1f} points off on average"
        if worst[first] < 0.02
        else f"{first}: observed and expected stockouts differ by {100 * worst[first]:.1f} points on average"
    )
    words = (
        f"{subtitle} The area of a dot is the number of series-days, bars are 95 % intervals; bins of fewer than "
        f"{_FEW} are left out."
    ).strip()
    top = heading_height(title, words) + 0.35
    side, gap = 3.3, 0.75
    rows = int(np.ceil(len(curves) / 2))
    figure = canvas(top + rows * (side + 0.85) - 0.25)
    heading(figure, title, words)
    for k, (name, frame) in enumerate(curves.items()):
        left = 0.75 + (k % 2) * (side + gap)
        ax = axes(figure, left, top + (k // 2) * (side + 0.85), side, side)
        _reliability(ax, frame[frame["n"] >= min(_FEW, frame["n"].max())])
        ax.set_title(label(name, 44), loc="left", size=9.5, weight="bold")
        ax.set_xlabel("chance given")
        if k % 2 == 0:
            ax.set_ylabel("share that came out of stock")
    said = "; ".join(f"{name} {100 * v:.1f} points off on average" for name, v in worst.items())
    return Plot(figure, f"Reliability diagrams of {len(curves)} model(s). {title}. {said}.")


def _reliability(ax: Axes, frame: pd.DataFrame) -> None:
    from matplotlib.ticker import FuncFormatter

    x, y, half, n = (frame[c].to_numpy(float) for c in _RELIABILITY)
    ax.plot([0, 1], [0, 1], color=INK, lw=0.9, zorder=1)
    known = np.isfinite(half)
    ax.vlines(x[known], (y - half)[known], (y + half)[known], color=BLUE, lw=1.3, zorder=2)
    ax.scatter(x, y, s=12 + 110 * n / n.max(), color=BLUE, edgecolor="white", lw=0.6, zorder=3)
    ax.plot(x, y, color=BLUE, lw=0.8, alpha=0.5, zorder=2)
    top = min(1.0, 1.08 * max(x.max(), (y + np.nan_to_num(half)).max(), 0.1))
    ax.set_xlim(0, top)
    ax.set_ylim(0, top)
    ax.locator_params(nbins=5)
    # One zero at the corner is enough.
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v) if v > 1e-9 else ""))
    tidy(ax)
    ax.grid(visible=True)


def _ticks(ax: Axes, *, both: bool = False) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis in (ax.xaxis, ax.yaxis) if both else (ax.xaxis,):
        axis.set_major_locator(MaxNLocator(6, integer=both and axis is ax.xaxis))
        axis.set_major_formatter(FuncFormatter(lambda v, _: tick(v)))
