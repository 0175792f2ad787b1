"""Example series: recent sales, stockout days, the demand behind them, and the forecast's band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.plots._style import (
    BLUE,
    INK,
    MARGIN,
    MUTED,
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
    text_width,
    tidy,
)
from civstats.schema import (
    CUTOFF,
    DEMAND,
    DS,
    ID,
    CivstatsError,
    Y,
    level_columns,
    parse_alias,
    stockout_days,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STOCKOUT, _LOST = "#f3d9c9", VERMILLION


@in_house_style
def example_series(
    history: pd.DataFrame,
    forecast: pd.DataFrame,
    ids: Sequence[str],
    alias: str,
    level: float = 80,
    *,
    last: int = 120,
    cutoff: pd.Timestamp | None = None,
) -> Plot:
    """Draw a small panel per series: sales, stockout days, lost demand, forecast and band.

    Parameters
    ----------
    history : pandas.DataFrame
        The panel; with days after the cutoff, these are drawn as what came. ``is_censored`` and
        ``demand`` are drawn where they are there.
    forecast : pandas.DataFrame
        ``unique_id, ds, cutoff`` and the columns of `alias`, ``{alias}-lo-80`` and so on.
    ids : sequence of str
        The series, at most twelve.
    alias : str
        The forecast's column, ``{model}_{treatment}``.
    level : float
        Level of the band, percent.
    last : int
        Days before the cutoff to show.
    cutoff : pandas.Timestamp, optional
        The forecast origin; the last one by default.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        For missing columns, unknown series, none, or more than twelve.
    """
    chosen = _cut(history, forecast, ids, alias, level, last, cutoff)
    origin = pd.Timestamp(chosen[0][1][CUTOFF].iloc[0])
    has_demand = DEMAND in history.columns
    columns = 1 if len(ids) <= 3 else 2
    rows = -(-len(ids) // columns)
    h = max((len(f) for _, f in chosen), default=0)
    model, treatment = parse_alias(alias)
    title = _title(chosen, alias, level, h)
    subtitle = (
        f"{model}, treatment {treatment}, forecast origin {origin.date()}. Units per day; every panel "
        "has its own scale."
    )
    head = heading_height(title, subtitle)
    tall, gap, bottom = 1.25, 0.55, 0.3
    figure = canvas(head + 0.42 + rows * (tall + gap) - gap + 0.24 + bottom)
    heading(figure, title, subtitle)
    _key(figure, head, level, has_demand)
    wide = (WIDTH - 0.1 - 0.42 * columns - 0.25 * (columns - 1)) / columns
    for k, (name, (past, ahead)) in enumerate(zip(ids, chosen, strict=True)):
        row, column = divmod(k, columns)
        left = MARGIN + 0.42 + column * (wide + 0.42 + 0.25)
        ax = axes(figure, left, head + 0.66 + row * (tall + gap), wide, tall)
        _series(ax, past, ahead, alias, level, origin)
        ax.set_title(label(name, 40), loc="left", size=9.5, weight="bold", pad=5)
    out = [float(stockout_days(past).mean()) for past, _ in chosen]
    alt = (
        f"{len(ids)} time series ({', '.join(label(i, 40) for i in ids)}): daily sales of the last {last} "
        f"days before {origin.date()}, with {100 * min(out):.0f} to {100 * max(out):.0f} % of the days "
        f"shown out of stock, then {h} days of forecast by {model} ({treatment}) with {level:g} % bands."
    )
    return Plot(figure, alt)


def _title(
    chosen: list[tuple[pd.DataFrame, pd.DataFrame]], alias: str, level: float, h: int
) -> str:
    """Say how often the band held what came: demand where it is known, else in-stock sales."""
    inside: list[np.ndarray] = []
    lo, hi = level_columns(alias, level)
    demand = all(DEMAND in past.columns for past, _ in chosen)
    for past, ahead in chosen:
        days = past if demand else past[~stockout_days(past)]
        came = days.set_index(DS)[DEMAND if demand else Y].astype(float)
        seen = came.reindex(pd.DatetimeIndex(ahead[DS])).to_numpy(dtype=float)
        known = ~np.isnan(seen)
        low, high = (ahead[c].to_numpy(dtype=float) for c in (lo, hi))
        held = (seen >= low - 1e-9) & (seen <= high + 1e-9)
        inside.append(held[known])
    held_all = np.concatenate(inside)
    if not held_all.size:
        return f"Forecasts for {h} days with {level:g} % bands"
    what = "demand" if demand else "in-stock sales"
    share = number(float(held_all.mean()), percent=True)
    return f"In these series the {level:g} % bands held {what} on {share} of the {h} days ahead"


def _cut(
    history: pd.DataFrame,
    forecast: pd.DataFrame,
    ids: Sequence[str],
    alias: str,
    level: float,
    last: int,
    cutoff: pd.Timestamp | None,
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return for each series its days shown and its forecast, both sorted by time."""
    if not 1 <= len(ids) <= 12:
        raise CivstatsError(f"example_series draws 1 to 12 series, but got {len(ids)}")
    needed = [ID, DS, CUTOFF, alias, *level_columns(alias, level)]
    missing = [c for c in needed if c not in forecast.columns]
    if missing:
        raise CivstatsError(f"the forecast lacks column(s) {', '.join(missing)}")
    names = [str(i) for i in ids]
    ahead = forecast[forecast[ID].isin(names)]
    origin = ahead[CUTOFF].max() if cutoff is None else pd.Timestamp(cutoff)
    ahead = ahead[ahead[CUTOFF] == origin]
    past = history[history[ID].isin(names)]
    chosen = []
    for name in names:
        mine = ahead[ahead[ID] == name].sort_values(DS)
        days = past[past[ID] == name].sort_values(DS)
        if mine.empty or days.empty:
            raise CivstatsError(
                f"series {name!r} has no sales or no forecast at {origin}; choose others"
            )
        first = origin - pd.Timedelta(days=last)
        chosen.append((days[(days[DS] > first) & (days[DS] <= mine[DS].max())], mine))
    return chosen


def _series(
    ax: Axes,
    past: pd.DataFrame,
    ahead: pd.DataFrame,
    alias: str,
    level: float,
    origin: pd.Timestamp,
) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.ticker import MaxNLocator

    days, sales = past[DS].to_numpy(), past[Y].to_numpy(dtype=float)
    half = np.timedelta64(12, "h")
    out = stockout_days(past)
    for start, end in _runs(out):
        ax.axvspan(days[start] - half, days[end - 1] + half, color=_STOCKOUT, lw=0, zorder=0)
    ax.step(days, sales, where="mid", color=INK, lw=1.0, zorder=3)
    ax.plot(
        days[out],
        np.zeros(out.sum()),
        "|",
        color=VERMILLION,
        ms=5,
        mew=1.1,
        zorder=4,
        clip_on=False,
    )
    top = [sales.max(initial=1.0)]
    if DEMAND in past.columns:
        demand = past[DEMAND].to_numpy(dtype=float)
        lost = demand > sales
        ax.vlines(days[lost], sales[lost], demand[lost], color=_LOST, lw=0.7, alpha=0.7, zorder=2)
        ax.plot(days[lost], demand[lost], "o", ms=3.4, mfc="white", mec=_LOST, mew=0.9, zorder=3.5)
        top.append(np.nanmax(demand, initial=1.0))
    lo, hi = (ahead[c].to_numpy(dtype=float) for c in level_columns(alias, level))
    when = ahead[DS].to_numpy()
    ax.fill_between(when, lo, hi, step="mid", color=SKY, alpha=0.45, lw=0, zorder=1)
    ax.step(when, lo, where="mid", color=BLUE, lw=0.5, zorder=1.5)
    ax.step(when, hi, where="mid", color=BLUE, lw=0.5, zorder=1.5)
    ax.plot(when, ahead[alias].to_numpy(dtype=float), color=BLUE, lw=2, zorder=3.2)
    ax.axvline(
        date2num(origin + pd.Timedelta(hours=12)), color=MUTED, lw=0.9, ls=(0, (4, 2)), zorder=2
    )
    top.append(hi.max(initial=1.0))
    ax.set_ylim(0, 1.06 * max(top))
    ax.set_xlim(days[0] - half, max(days[-1], when[-1]) + half)
    locator = AutoDateLocator(minticks=3, maxticks=6)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    tidy(ax, grid="y")


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end (exclusive) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _key(figure: Figure, head: float, level: float, has_demand: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    w, h = figure.get_size_inches()
    x, y = MARGIN, 1 - (head + 0.16) / h

    def words(text: str, colour: str) -> None:
        nonlocal x
        figure.text((x + 0.3) / w, y, text, size=9, color=colour, va="center")
        x += 0.3 + text_width(text, 9) + 0.22

    def line(**style: Any) -> None:
        figure.add_artist(Line2D([x / w, (x + 0.23) / w], [y, y], **style))

    def box(colour: str, alpha: float) -> None:
        patch = Rectangle(
            (x / w, y - 0.065 / h), 0.23 / w, 0.13 / h, color=colour, alpha=alpha, lw=0
        )
        figure.add_artist(patch)

    line(color=INK, lw=1.2)
    words("sales", INK)
    box(_STOCKOUT, 1.0)
    figure.add_artist(Line2D([(x + 0.115) / w], [y], marker="|", ms=6, color=VERMILLION))
    words("stockout day", VERMILLION)
    if has_demand:
        style: dict[str, Any] = {
            "marker": "o",
            "ms": 4,
            "mfc": "white",
            "mec": _LOST,
            "color": _LOST,
        }
        figure.add_artist(Line2D([(x + 0.115) / w], [y], linestyle="none", **style))
        words("demand that was lost (simulated truth)", _LOST)
    box(SKY, 0.45)
    line(color=BLUE, lw=2)
    words(f"forecast mean and {level:g} % band", BLUE)
    line(color=MUTED, lw=0.9, ls=(0, (4, 2)))
    words("forecast origin", MUTED)
