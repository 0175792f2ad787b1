"""What stockouts cost each treatment: bias against their rate, and what breaks the recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    FAINT,
    INK,
    MARGIN,
    MUTED,
    TREATMENT_COLOUR,
    TREATMENT_LINE,
    TREATMENT_MARKER,
    WIDTH,
    Plot,
    axes,
    canvas,
    heading,
    heading_height,
    in_house_style,
    number,
    share_tick,
    tidy,
)
from civstats.schema import TREATMENTS, CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = ("mechanism", "rate", "treatment", "trained_on", "value", "lo", "hi")
_LEFT, _GAP, _HEIGHT = 0.78, 0.28, 2.75


@in_house_style
def recovery(bias: pd.DataFrame, *, rate: float | None = None, worlds: int | None = None) -> Plot:
    """Draw bias against the share of stockout days: a panel per mechanism, a line per treatment.

    Parameters
    ----------
    bias : pandas.DataFrame
        ``mechanism, rate, treatment, trained_on, value, lo, hi``, shares. Rows trained on
        ``sales`` are the lines; ``oracle_lags`` under ``censor`` is the reference. The mechanism
        ``none`` gives the points at rate 0 of every panel, for the oracle too.
    rate : float, optional
        The rate that the title speaks of; by default the one nearest to 0.3.
    worlds : int, optional
        How many worlds were pooled, for the subtitle.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If columns are missing, no mechanism is there, or a point stands there twice.
    """
    missing = [c for c in _COLUMNS if c not in bias.columns]
    if missing:
        raise CivstatsError(f"the bias frame lacks column(s) {', '.join(missing)}")
    mechanisms = [m for m in bias["mechanism"].unique() if m != "none"]
    if not mechanisms:
        raise CivstatsError("the bias frame holds no mechanism; run the study on one")
    keys = ["mechanism", "rate", "treatment", "trained_on"]
    if bias.duplicated(keys).any():
        raise CivstatsError(f"{int(bias.duplicated(keys).sum())} point(s) stand there twice")
    title, subtitle = (
        _title(bias, mechanisms, rate),
        (
            "Bias of LightGBM's forecasts against true demand, by the share of days with a "
            f"stockout. Bands: 95 %, over series and days {_of(worlds)}."
        ),
    )
    top = heading_height(title, subtitle)
    figure = canvas(top + 0.55 + _HEIGHT + 0.5)
    heading(figure, title, subtitle)
    width = (WIDTH - _LEFT - MARGIN - _GAP * (len(mechanisms) - 1)) / len(mechanisms)
    shown = bias[bias["trained_on"].isin(["sales", "oracle_lags"])]
    low, high = min(float(shown["lo"].min()), 0.0), max(float(shown["hi"].max()), 0.0)
    pad = 0.06 * max(high - low, 0.02)
    for i, mechanism in enumerate(mechanisms):
        ax = axes(figure, _LEFT + i * (width + _GAP), top + 0.55, width, _HEIGHT)
        part = bias[bias["mechanism"].isin([mechanism, "none"])]
        ax.set_ylim(low - pad, high + pad)
        _panel(ax, part, mechanism, first=i == 0)
    _legend(figure, top)
    return Plot(
        figure, f"Line chart of bias by stockout rate, {len(mechanisms)} panel(s). {title}."
    )


def _panel(ax: Axes, part: pd.DataFrame, mechanism: str, *, first: bool) -> None:
    from matplotlib.ticker import FuncFormatter

    ax.axhline(0, color=INK, lw=0.8)
    plain = part["mechanism"] == "none"
    oracle = part[(part["treatment"] == "censor") & ((part["trained_on"] == "oracle_lags") | plain)]
    _line(ax, oracle, MUTED, "-", None, width=4.5, alpha=0.45, band=0.12)
    for treatment in TREATMENTS:
        line = part[(part["treatment"] == treatment) & (part["trained_on"] == "sales")]
        style = (TREATMENT_LINE[treatment], TREATMENT_MARKER[treatment])
        _line(ax, line, TREATMENT_COLOUR[treatment], *style)
    rates = sorted(part["rate"].unique())
    ax.set_xticks(rates, [f"{100 * r:g}" for r in rates])
    ax.set_xlim(-0.03, max(rates) + 0.03)
    ax.set_title(mechanism, loc="left", size=9.5, weight="bold")
    ax.set_xlabel("days with a stockout, %")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    if first:
        ax.set_ylabel("bias against demand")
    else:
        ax.tick_params(labelleft=False)
    tidy(ax, grid="y")


def _line(
    ax: Axes,
    line: pd.DataFrame,
    colour: str,
    dashes: str,
    marker: str | None,
    *,
    width: float = 1.8,
    alpha: float = 1.0,
    band: float = 0.16,
) -> None:
    line = line.sort_values("rate")
    x, y, lo, hi = (line[c].to_numpy(dtype=float) for c in ("rate", "value", "lo", "hi"))
    ax.fill_between(x, lo, hi, color=colour, alpha=band, lw=0)
    ax.plot(x, y, color=colour, ls=dashes, marker=marker, ms=4.5, lw=width, alpha=alpha)


def _legend(figure: Figure, top: float) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [], [], color=TREATMENT_COLOUR[t], ls=TREATMENT_LINE[t], marker=TREATMENT_MARKER[t],
            lw=1.8, ms=4.5, label=t,
        )
        for t in TREATMENTS
    ]  # fmt: skip
    label = "oracle: learns from true demand, with the lags that censor has"
    handles.append(Line2D([], [], color=MUTED, lw=4.5, alpha=0.45, label=label))
    w, h = figure.get_size_inches()
    figure.legend(
        handles=handles, loc="upper left", ncols=4, frameon=False, fontsize=9, borderpad=0,
        handlelength=2.6, columnspacing=1.6, borderaxespad=0,
        bbox_to_anchor=(MARGIN / w, 1 - (top + 0.04) / h),
    )  # fmt: skip


def _title(bias: pd.DataFrame, mechanisms: list[str], rate: float | None) -> str:
    """Say what the figure shows of the mechanism that hurts most at the rate."""
    sales = bias[(bias["trained_on"] == "sales") & bias["mechanism"].isin(mechanisms)]
    rates = sales["rate"].unique()
    at = float(rates[np.argmin(np.abs(rates - (0.3 if rate is None else rate)))])
    here = sales[np.isclose(sales["rate"], at)]
    worst = str(here["mechanism"].iloc[int(np.argmax(np.abs(here["value"].to_numpy())))])
    found = here[here["mechanism"] == worst].set_index("treatment")["value"]
    best = bias[
        (bias["trained_on"] == "oracle_lags")
        & (bias["treatment"] == "censor")
        & (bias["mechanism"] == worst)
        & np.isclose(bias["rate"], at)
    ]["value"]
    parts = [f"{_percent(found[t])} under {t}" for t in TREATMENTS if t in found.index]
    parts += [f"{_percent(x)} for the oracle" for x in best]
    share = number(at, percent=True)
    return f"With {share} of days out of stock ({worst}), bias in percent is " + ", ".join(parts)


def _of(worlds: int | None) -> str:
    return "of the one world only" if worlds == 1 else "of all worlds"


def _percent(share: float) -> str:
    # A line may break between a number and its sign.
    return number(float(share), percent=True, signed=True).removesuffix(" %")


@in_house_style
def recovery_breaks(
    curves: pd.DataFrame,
    oracle: float,
    titles: dict[str, str],
    beside: dict[str, str] | None = None,
    *,
    worlds: int | None = None,
) -> Plot:
    """Draw the bias curve of every way in which the censored likelihood's assumptions fail.

    Parameters
    ----------
    curves : pandas.DataFrame
        ``kind, severity, label, value, lo, hi``; a panel per kind, a point per severity, in order.
    oracle : float
        Bias of the model that learns from true demand: the reference line.
    titles : dict
        Panel title of each kind.
    beside : dict, optional
        Kinds that are drawn, dashed, in the panel of another: kind to that other.
    worlds : int, optional
        How many worlds were pooled, for the subtitle.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If there is no curve.
    """
    guests = {host: guest for guest, host in (beside or {}).items()}
    drawn = list(curves["kind"].unique()) if len(curves) else []
    kinds = [k for k in drawn if k not in guests.values()]
    if not kinds:
        raise CivstatsError("there is no curve to draw; run the study with --break")
    worst = curves.iloc[int(np.argmax(np.abs(curves["value"].to_numpy() - oracle)))]
    title = (
        f"Every assumption can fail: at worst the bias is "
        f"{number(float(worst['value']), percent=True, signed=True)} "
        f"({titles.get(worst['kind'], worst['kind']).lower()}: {worst['label']})"
    )
    subtitle = (
        "Bias against demand of LightGBM under censor. Grey line: the oracle. Bands: 95 %, over "
        f"series and days {_of(worlds)}. One scale for all panels."
    )
    n_columns = 3
    n_rows = -(-len(kinds) // n_columns)
    top = heading_height(title, subtitle)
    height, below = 1.65, 0.72
    figure = canvas(top + n_rows * (height + below) + 0.1)
    heading(figure, title, subtitle)
    width = (WIDTH - _LEFT - MARGIN - _GAP * (n_columns - 1)) / n_columns
    low, high = min(float(curves["lo"].min()), 0.0), max(float(curves["hi"].max()), 0.0)
    pad = 0.05 * (high - low)
    for i, kind in enumerate(kinds):
        row, column = divmod(i, n_columns)
        place = (_LEFT + column * (width + _GAP), top + 0.3 + row * (height + below))
        ax = axes(figure, *place, width, height)
        ax.set_ylim(low - pad, high + pad)
        guest = curves[curves["kind"] == guests.get(kind)]
        if len(guest):
            x = np.arange(len(guest))
            ax.plot(x, guest["value"], color=INK, ls="--", marker="o", ms=3, lw=1.2)
            ax.annotate(
                titles.get(guests[kind], guests[kind]), (x[-1], float(guest["value"].iloc[-1])),
                xytext=(0, -6), textcoords="offset points", ha="right", va="top", size=8, color=INK,
            )  # fmt: skip
        _curve(ax, curves[curves["kind"] == kind], oracle, first=column == 0)
        ax.set_title(titles.get(kind, kind), loc="left", size=8.6, weight="bold")
    return Plot(figure, f"Small line charts of bias, {len(kinds)} panels. {title}.")


def _curve(ax: Axes, curve: pd.DataFrame, oracle: float, *, first: bool) -> None:
    from matplotlib.ticker import FuncFormatter

    x = np.arange(len(curve))
    value, lo, hi = (curve[c].to_numpy(dtype=float) for c in ("value", "lo", "hi"))
    ax.axhline(0, color=FAINT, lw=0.8)
    ax.axhline(oracle, color=MUTED, lw=3, alpha=0.45)
    colour = TREATMENT_COLOUR["censor"]
    ax.fill_between(x, lo, hi, color=colour, alpha=0.16, lw=0)
    ax.plot(x, value, color=colour, marker=TREATMENT_MARKER["censor"], ms=4, lw=1.6)
    ax.set_xticks(x, list(curve["label"]))
    ax.set_xlim(-0.3, len(curve) - 0.7)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    if not first:
        ax.tick_params(labelleft=False)
    tidy(ax, grid="y")
