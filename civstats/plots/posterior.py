"""Draws of a posterior: trace and rank plots of the parameters that a reader should look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from civstats.plots._style import (
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
    text_width,
    tidy,
)
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito (2008) again; more chains than these take up the first ones with other dashes.
_CHAINS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("-", "--", ":", "-.")
_BINS = 20
_POINTS = 300
"""Draws of a chain that are drawn: more are no finer than a pixel."""


@in_house_style
def trace_and_ranks(
    draws: Mapping[str, np.ndarray],
    title: str,
    *,
    notes: Mapping[str, str] | None = None,
    n_bins: int = _BINS,
) -> Plot:
    """Draw each parameter's chains over time, and the ranks of each chain's draws among all.

    Parameters
    ----------
    draws : mapping of name to numpy.ndarray, shape (chain, draw)
    title : str
    notes : mapping of name to str, optional
        Small print under a parameter's name, such as its R-hat.
    n_bins : int
        Of the rank plots.

    Returns
    -------
    Plot
        Chains that tell of one posterior have flat ranks; a line a chain, so that one that is
        elsewhere, or spread otherwise, stands out (Vehtari et al., 2021). The grey band holds 99 %
        of the counts of a bin were draws independent.

    Raises
    ------
    CivstatsError
        If there is nothing to draw, a shape is not (chain, draw), or draws are not finite.
    """
    if not draws:
        raise CivstatsError("there are no draws to plot")
    for name, x in draws.items():
        if np.ndim(x) != 2 or not np.isfinite(x).all():
            raise CivstatsError(
                f"draws of {name} must be finite, shape (chain, draw), but have shape {np.shape(x)}"
            )
    subtitle = (
        "Left: draws in order. Right: how each chain's draws rank among all of them, over what "
        "is expected; flat where chains agree. Grey: 99 % of bins, were draws independent."
    )
    top, tall, gap = heading_height(title, subtitle), 0.95, 0.22
    left = min(0.55 + max(text_width(label(n), 9, "bold") for n in draws), 2.9)
    figure = canvas(top + 0.25 + len(draws) * (tall + gap) + 0.4)
    heading(figure, title, subtitle)
    wide = WIDTH - left - MARGIN - 0.45
    for i, (name, x) in enumerate(draws.items()):
        at = top + 0.25 + i * (tall + gap)
        trace = axes(figure, left, at, 0.58 * wide, tall)
        rank = axes(figure, left + 0.58 * wide + 0.42, at, 0.42 * wide - 0.02, tall)
        _trace(trace, x)
        _ranks(rank, x, n_bins)
        w, h = figure.get_size_inches()
        figure.text(MARGIN / w, 1 - (at + 0.1) / h, label(name), size=9, va="top", weight="bold")
        if notes and name in notes:
            figure.text(
                MARGIN / w, 1 - (at + 0.3) / h, notes[name], size=8.5, color=MUTED, va="top",
                linespacing=1.3,
            )  # fmt: skip
        if i == len(draws) - 1:
            trace.set_xlabel("draw")
            rank.set_xlabel("rank among all draws, share")
        else:
            trace.tick_params(labelbottom=False)
            rank.tick_params(labelbottom=False)
    chains = len(next(iter(draws.values())))
    return Plot(
        figure,
        f"Trace and rank plots of {len(draws)} parameter(s), {chains} chain(s): "
        f"{', '.join(draws)}. {title}.",
    )


def _style(k: int) -> dict[str, Any]:
    return {"color": _CHAINS[k % len(_CHAINS)], "ls": _DASHES[k // len(_CHAINS) % len(_DASHES)]}


def _trace(ax: Axes, x: np.ndarray) -> None:
    step = max(1, x.shape[1] // _POINTS)
    at = np.arange(0, x.shape[1], step)
    for k, chain in enumerate(x):
        ax.plot(at, chain[::step], lw=0.6, alpha=0.75, **_style(k))
    ax.set_xlim(0, x.shape[1])
    tidy(ax, grid="y")


def _ranks(ax: Axes, x: np.ndarray, n_bins: int) -> None:
    """Draw each chain's histogram of ranks as steps, in units of what is expected."""
    from scipy import stats

    chains, draws = x.shape
    ranks = (stats.rankdata(x, method="average") - 0.5).reshape(chains, draws) / x.size
    expected = draws / n_bins
    low, high = stats.binom.interval(0.99, draws, 1 / n_bins)
    ax.axhspan(low / expected, high / expected, color=MUTED, alpha=0.22, lw=0)
    ax.axhline(1, color=INK, lw=0.6)
    for k, chain in enumerate(ranks):
        counts = np.histogram(chain, bins=n_bins, range=(0, 1))[0] / expected
        ax.stairs(counts, np.linspace(0, 1, n_bins + 1), lw=1.3, **_style(k))
    ax.set_xlim(0, 1)
    ax.set_ylim(0, max(ax.get_ylim()[1], 2))
    ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    tidy(ax)


@in_house_style
def pareto_k(k: np.ndarray, limit: float, title: str, *, what: str = "day") -> Plot:
    """Draw the Pareto k of everything that was left out, sorted, with the limit of trust.

    Parameters
    ----------
    k : numpy.ndarray
    limit : float
    title : str
    what : str
        What was left out.

    Returns
    -------
    Plot

    Raises
    ------
    CivstatsError
        If there is none.
    """
    values = np.sort(np.asarray(k, dtype=float))
    if not len(values):
        raise CivstatsError("there is no Pareto k to plot")
    subtitle = (
        f"Pareto k of every {what} left out, sorted; beyond {limit:.2f} (dashed, orange) the "
        "estimate for it cannot be trusted."
    )
    top = heading_height(title, subtitle)
    figure = canvas(top + 0.2 + 1.9 + 0.45)
    heading(figure, title, subtitle)
    ax = axes(figure, 0.6, top + 0.2, WIDTH - 0.6 - MARGIN - 0.1, 1.9)
    ax.axhline(limit, color=INK, lw=0.9, ls="--")
    share = (np.arange(len(values)) + 0.5) / len(values)
    bad = ~(values <= limit)
    ax.plot(share[~bad], values[~bad], ".", ms=3, color=_CHAINS[0], rasterized=True)
    ax.plot(share[bad], values[bad], "x", ms=5, color=VERMILLION)
    ax.set_xlim(0, 1)
    ax.set_ylabel("Pareto k")
    ax.set_xlabel(f"share of {what}s")
    tidy(ax, grid="y")
    return Plot(
        figure,
        f"{len(values)} values of Pareto k from {values[0]:.2f} to {values[-1]:.2f}, "
        f"{int(bad.sum())} beyond {limit:.2f}. {title}.",
    )
