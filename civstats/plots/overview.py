"""Where, when and for how long the shelf was empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BLUE,
    INK,
    MARGIN,
    MUTED,
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
    tidy,
)
from civstats.schema import DS, FLAG_KNOWN, ID, CivstatsError, stockout_days

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST = 14
_MOST_GROUPS = 10


@in_house_style
def stockout_overview(panel: pd.DataFrame, by: str = "dept_id") -> Plot:
    """Draw the share of days out of stock by department and by week, and how long outages last.

    Parameters
    ----------
    panel : pandas.DataFrame
        A validated panel. Days whose stock status is unknown are left out of the shares.
    by : str
        A static attribute; without that column the whole panel is one group.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If the panel is empty, or no day's status is known.
    """
    out = stockout_days(panel)
    known = (
        panel[FLAG_KNOWN].to_numpy() if FLAG_KNOWN in panel.columns else np.ones(len(panel), bool)
    )
    if not known.any():
        raise CivstatsError("no day of the panel has a known stock status: nothing to draw")
    overall = float(out[known].mean())
    runs = outage_lengths(panel, out & known)
    title = f"The shelf ran empty on {number(overall, percent=True)} of days"
    if runs.size:
        long = float((runs >= 2).mean())
        title += f"; {number(long, percent=True)} of outages last two days or more"
    shares, hidden = _by_group(panel, out, known, by)
    head = heading_height(title) - 0.05
    tall = max(1.9, 0.24 * len(shares))
    figure = canvas(head + 0.35 + tall + 0.6)
    heading(figure, title)
    names = [label(i, 18) for i in shares.index]
    left = MARGIN + max(text_width(t, 9) for t in names) + 0.1
    width = (WIDTH - left - 2 * 0.75 - 0.15) / 3.1
    _groups(axes(figure, left, head + 0.35, width, tall), shares, names, hidden)
    x = left + width + 0.75
    _weeks(axes(figure, x, head + 0.35, 1.2 * width, tall), panel, out, known)
    _lengths(axes(figure, x + 1.2 * width + 0.75, head + 0.35, 0.9 * width, tall), runs)
    most = f"{names[0]} ({number(float(shares.iloc[0]), percent=True)})"
    alt = f"Bars by group, a weekly line, and a histogram of outage lengths. {title}. Highest: {most}."
    return Plot(figure, alt)


def outage_lengths(panel: pd.DataFrame, out: np.ndarray) -> np.ndarray:
    """Return the lengths, in periods, of the unbroken outages of a sorted panel.

    Examples
    --------
    >>> import pandas as pd
    >>> panel = pd.DataFrame({"unique_id": pd.Categorical(list("aaab"))})
    >>> outage_lengths(panel, np.array([True, False, True, True])).tolist()
    [1, 1, 1]
    """
    codes = panel[ID].cat.codes.to_numpy()
    new = np.r_[True, codes[1:] != codes[:-1]] if len(codes) else np.empty(0, bool)
    starts = out & (new | ~np.r_[False, out[:-1]])
    which = np.cumsum(starts)[out] - 1
    return np.bincount(which) if which.size else np.empty(0, dtype=int)


def _by_group(
    panel: pd.DataFrame, out: np.ndarray, known: np.ndarray, by: str
) -> tuple[pd.Series, int]:
    """Return the share per group, highest first, and how many groups are left out."""
    if by not in panel.columns:
        return pd.Series({"all series": float(out[known].mean())}), 0
    codes, names = pd.factorize(panel[by])
    chosen = known & (codes >= 0)
    days = np.bincount(codes[chosen], minlength=len(names))
    share = np.bincount(codes[chosen], weights=out[chosen], minlength=len(names)) / np.maximum(
        days, 1
    )
    series = pd.Series(share, index=[str(x) for x in names])[days > 0]
    series = series.sort_values(ascending=False, kind="stable")
    return series.head(_MOST_GROUPS), max(0, len(series) - _MOST_GROUPS)


def _groups(ax: Axes, shares: pd.Series, names: list[str], hidden: int) -> None:
    y = np.arange(len(shares))
    ax.barh(y, shares, height=0.62, color=BLUE)
    ax.set_yticks(y, names, color=INK, size=9)
    ax.set_ylim(len(shares) - 0.4, -0.6)
    ax.set_xlim(0, float(shares.max()) * 1.28 or 1)
    for at, share in zip(y, shares, strict=True):
        ax.text(share, float(at), f" {number(float(share), percent=True)}", va="center", color=INK)
    ax.set_xticks([])
    ax.spines[["bottom", "left"]].set_visible(False)
    title = "By department" if not hidden else f"By department (the first {len(shares)})"
    title = "Overall" if names == ["all series"] else title
    ax.set_title(title, loc="left", size=9.5, weight="bold")
    ax.tick_params(length=0)
    ax.set_xlabel("share of days out of stock", loc="left")


def _weeks(ax: Axes, panel: pd.DataFrame, out: np.ndarray, known: np.ndarray) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ticks = panel[DS].to_numpy().astype("datetime64[D]").astype(np.int64)
    # Weeks counted back from the last day, so that the newest week is whole.
    week = (ticks.max() - ticks) // 7
    days = np.bincount(week[known])
    share = np.bincount(week[known], weights=out[known]) / np.where(days > 0, days, 1)
    whole = days > 0
    if whole.sum() > 1 and days[-1] < 0.5 * np.median(days[whole]):
        whole[-1] = False
    starts = (ticks.max() - 7 * np.arange(len(days)) - 6).astype("datetime64[D]")
    ax.plot(starts[whole][::-1], share[whole][::-1], color=BLUE, lw=1.3)
    ax.set_ylim(0, max(float(share[whole].max(initial=0.0)) * 1.12, 0.01))
    locator = AutoDateLocator(minticks=3, maxticks=7)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    ax.set_title("By week", loc="left", size=9.5, weight="bold")
    ax.set_xlabel("week, from its first day")
    tidy(ax, grid="y")


def _lengths(ax: Axes, runs: np.ndarray) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.set_title("How long outages last", loc="left", size=9.5, weight="bold")
    ax.set_xlabel("days in a row")
    tidy(ax, grid="y")
    if not runs.size:
        ax.text(0.5, 0.5, "no outage", transform=ax.transAxes, ha="center", color=MUTED)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    last = int(min(runs.max(), _LONGEST))
    share = np.bincount(np.minimum(runs, last), minlength=last + 1)[1:] / runs.size
    x = np.arange(1, last + 1)
    ax.bar(x, share, width=0.8, color=BLUE)
    ax.set_xlim(0.4, last + 0.6)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if runs.max() > _LONGEST:
        ax.xaxis.set_major_formatter(
            FuncFormatter(lambda v, _: f"{v:.0f}+" if round(v) == last else f"{v:.0f}")
        )
        ax.set_xticks([1, 4, 7, 10, last])
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: share_tick(v)))
    ax.set_ylabel("share of outages")
