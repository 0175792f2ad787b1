"""The ranking by what being in stock is worth, and how it fares against the simulated truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BAND,
    BLUE,
    INK,
    MARGIN,
    MUTED,
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
)
from civstats.schema import ID, RANKING, CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW = 0.235


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    missing = [c for c in RANKING if c not in frame.columns]
    if missing:
        raise CivstatsError(f"the ranking lacks column(s) {', '.join(missing)}")
    if frame.empty:
        raise CivstatsError("the ranking has no rows")
    return frame.sort_values("rank", kind="stable").reset_index(drop=True)


@in_house_style
def ranking(
    ranking: pd.DataFrame,
    top: int = 20,
    *,
    currency: str = "$",
    period: str = "28 days",
    k: int | None = None,
) -> Plot:
    """Draw the first series of the ranking: expected money and units with p10 to p90 bands.

    Parameters
    ----------
    ranking : pandas.DataFrame
        One row per series, columns `civstats.schema.RANKING`.
    top : int
        Rows to draw, at least 1.
    currency, period : str
        Units of the money, and the time it is for.
    k : int, optional
        The k of ``prob_top_k``, for its heading.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        For missing columns, no rows, or `top` below 1.
    """
    if top < 1:
        raise CivstatsError(f"top must be 1 or more, but got {top}")
    full = _checked(ranking)
    shown = full.head(top)
    n, total = len(shown), float(full["value_mean"].sum())
    money = float(shown["value_mean"].sum())
    if n == len(full) or not total > 0 or not np.isfinite(money):
        title = f"What being in stock is worth, series by series: {_money(money, currency)} in all"
    else:
        title = (
            f"The first {n} of {len(full):,} series hold {number(money / total, percent=True)} of the "
            f"expected gain"
        )
    subtitle = f"Dots are means, bars run from the 10th to the 90th percentile; {period}."
    head = heading_height(title, subtitle)
    top_in, tall = head + 0.34, n * _ROW
    figure = canvas(top_in + tall + 0.55)
    heading(figure, title, subtitle)
    names = [label(i, 30) for i in shown[ID]]
    ranks = [f"{int(r):,}" for r in shown["rank"]]
    begin = MARGIN + max(text_width(r, 9) for r in ranks) + 0.12
    left = begin + max(text_width(t, 9) for t in names) + 0.15
    tail = 0.95
    spare = WIDTH - left - tail - 0.35 - 0.03
    wide = (0.58 * spare, 0.42 * spare)
    y = np.arange(n) * _ROW + _ROW / 2
    first = axes(figure, left, top_in, wide[0], tall)
    second = axes(figure, left + wide[0] + 0.35, top_in, wide[1], tall)
    _bars(first, shown, "value", y, f"{currency} per {period}".strip(), BLUE, "o")
    _bars(second, shown, "units", y, f"units per {period}", VERMILLION, "s")
    first.set_title("Money", loc="left", size=9.5, weight="bold", pad=8)
    second.set_title("Units", loc="left", size=9.5, weight="bold", pad=8)
    blend = first.get_yaxis_transform()
    for at, place, name in zip(y, ranks, names, strict=True):
        style: dict[str, Any] = {"transform": blend, "va": "center"}
        first.text((begin - 0.1 - left) / wide[0], at, place, ha="right", color=MUTED, **style)
        first.text((begin - left) / wide[0], at, name, ha="left", **style)
    blend = second.get_yaxis_transform()
    edge = 1 + tail / wide[1]
    words = f"P(rank ≤ {k})" if k else "P(in top k)"
    style = {"transform": blend, "ha": "right"}
    second.text(edge, -8 / 72, words, va="baseline", size=9.5, weight="bold", **style)
    for at, chance in zip(y, shown["prob_top_k"].to_numpy(dtype=float), strict=True):
        second.text(edge, at, number(chance, percent=True), va="center", **style)
    lead = shown.iloc[0]
    alt = (
        f"Dot plot of the {n} series with the highest expected value. {title}. First: "
        f"{label(lead[ID], 40)}, {_money(lead['value_mean'], currency)} (p10 to p90 "
        f"{_money(lead['value_p10'], currency)} to {_money(lead['value_p90'], currency)}) per {period}."
    )
    return Plot(figure, alt)


def _money(value: float, currency: str) -> str:
    text = number(float(value))
    return (
        text
        if text == "undefined"
        else f"{currency}{text}"
        if len(currency) == 1
        else f"{text} {currency}"
    )


def _bars(
    ax: Axes, frame: pd.DataFrame, kind: str, y: np.ndarray, xlabel: str, colour: str, marker: str
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    mean, lo, hi = (frame[f"{kind}_{c}"].to_numpy(dtype=float) for c in ("mean", "p10", "p90"))
    for k in range(0, len(y), 2):
        ax.axhspan(y[k] - _ROW / 2, y[k] + _ROW / 2, color=BAND, lw=0, zorder=0)
    ax.hlines(y, lo, hi, color=colour, lw=2.4, alpha=0.45, zorder=2)
    ax.plot(mean, y, marker, color=colour, ms=5, mec="white", mew=0.6, zorder=3, clip_on=False)
    known = np.r_[0.0, mean[np.isfinite(mean)], lo[np.isfinite(lo)], hi[np.isfinite(hi)]]
    span = known.max() - known.min() or 1.0
    ax.set_xlim(known.min() - (0.03 * span if known.min() < 0 else 0), known.max() + 0.05 * span)
    ax.set_ylim(y[-1] + _ROW / 2, 0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color=INK, lw=1, zorder=1)
    ax.set_xlabel(xlabel)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: tick(v)))
    tidy(ax, grid="x")


@in_house_style
def ranking_truth(
    ranking: pd.DataFrame, true_gain: pd.Series, k: int | None = None, *, currency: str = "$"
) -> Plot:
    """Hold the ranking against the gain the simulated truth gives each series.

    Left: expected against true gain. Right: the share of all true gain that the first series of
    the ranking capture, beside the best order in hindsight and a random one.

    Parameters
    ----------
    ranking : pandas.DataFrame
        One row per series, columns `civstats.schema.RANKING`.
    true_gain : pandas.Series
        Money per series under the simulated truth, indexed by ``unique_id``.
    k : int, optional
        How many series one would act on; a tenth of them by default.
    currency : str
        Unit of the money.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If a ranked series has no true gain, or `k` is not within the ranking.
    """
    full = _checked(ranking)
    gain = true_gain.copy()
    gain.index = gain.index.astype(str)
    truth = gain.reindex(full[ID].astype(str)).to_numpy(dtype=float)
    lacking = int(np.isnan(truth).sum())
    if lacking:
        where = full[ID].iloc[int(np.isnan(truth).argmax())]
        raise CivstatsError(
            f"{lacking} ranked series have no true gain, first {where}; give them all"
        )
    n = len(full)
    k = max(1, n // 10) if k is None else k
    if not 1 <= k <= n:
        raise CivstatsError(f"k must lie in 1 to {n}, the number of series, but got {k}")
    by_rank, hindsight = np.cumsum(truth), np.cumsum(np.sort(truth)[::-1])
    best, total = hindsight[k - 1], truth.sum()
    if best > 0:
        share = by_rank[k - 1] / best
        title = (
            f"Acting on the first {k} of {n} series captures {number(share, percent=True)} of what the "
            f"best {k} in hindsight would"
        )
    else:
        title = "There is nothing to gain here: the simulated truth gives no series a positive gain"
    head = heading_height(title)
    side, top = 3.55, head + 0.52
    figure = canvas(top + side + 0.55)
    heading(figure, title)
    _scatter(axes(figure, 0.7, top, side, side), full, truth, k, currency)
    ax = axes(figure, WIDTH - side - 0.15, top, side, side)
    _captured(ax, by_rank, hindsight, total, k)
    alt = f"Scatter of expected against true gain of {n} series, and curves of gain captured. {title}."
    return Plot(figure, alt)


def _scatter(ax: Axes, full: pd.DataFrame, truth: np.ndarray, k: int, currency: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    predicted = full["value_mean"].to_numpy(dtype=float)
    top = np.arange(len(full)) < k
    ax.plot(predicted[~top], truth[~top], "o", ms=3.6, mfc="none", mec=MUTED, mew=0.7)
    ax.plot(predicted[top], truth[top], "D", ms=4.4, color=BLUE, mec="white", mew=0.5)
    both = np.r_[0.0, predicted[np.isfinite(predicted)], truth]
    lo, hi = both.min(), both.max()
    pad = 0.04 * (hi - lo) or 1.0
    ax.plot([lo, hi], [lo, hi], color=INK, lw=0.9, zorder=1)
    ax.set_xlim(lo - pad, hi + pad)
    ax.set_ylim(lo - pad, hi + pad)
    ax.set_title("Expected against true gain", loc="left", size=9.5, weight="bold", pad=22)
    x = 0.0
    for words, colour in ((f"◆ first {k} ranked", BLUE), ("○ others", MUTED), ("― equal", INK)):
        ax.text(x, 1.022, words, transform=ax.transAxes, color=colour)
        x += (text_width(words, 9) + 0.2) / 3.55
    ax.set_xlabel(f"expected gain, {currency}")
    ax.set_ylabel(f"true gain, {currency} (simulated)")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(FuncFormatter(lambda v, _: tick(v)))
    ax.tick_params(length=0)
    ax.grid(visible=True)


def _captured(ax: Axes, by_rank: np.ndarray, hindsight: np.ndarray, total: float, k: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    n = len(by_rank)
    scale = total if total > 0 else 1.0
    x = np.arange(n + 1)
    ours, best = np.r_[0, by_rank] / scale, np.r_[0, hindsight] / scale
    ax.plot(x, best, color=INK, lw=1.4)
    ax.plot(x, ours, color=BLUE, lw=2.2, ls="-")
    ax.plot([0, n], [0, 1 if total > 0 else 0], color=MUTED, lw=1, ls=":")
    ax.plot([k, k], [ours[k], best[k]], color=VERMILLION, lw=1.6)
    ax.plot([k], [ours[k]], "D", color=BLUE, ms=5.5, mec="white", zorder=4)
    ax.plot([k], [best[k]], "o", mfc="white", mec=INK, ms=5.5, zorder=4)
    ax.text(0.97, 0.20, "best order in hindsight", transform=ax.transAxes, color=INK, ha="right")
    ax.text(
        0.97, 0.13, "this ranking", transform=ax.transAxes, color=BLUE, ha="right", weight="bold"
    )
    ax.text(0.97, 0.06, "random order (dotted)", transform=ax.transAxes, color=MUTED, ha="right")
    ax.set_title("True gain captured", loc="left", size=9.5, weight="bold", pad=22)
    ax.text(0, 1.022, f"marked: {k} series", transform=ax.transAxes, color=MUTED)
    ax.set_xlabel("series acted on, in order")
    ax.set_ylabel("share of all true gain")
    ax.set_xlim(0, n)
    ax.set_ylim(min(0.0, ours.min()), max(1.05, best.max() * 1.02))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    tidy(ax, grid="y")
