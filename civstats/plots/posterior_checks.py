"""Predictive checks and calibration ranks: what a model says of data like those it was given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from civstats.plots._multiples import LEFT, Grid
from civstats.plots._style import (
    INK,
    MUTED,
    TREATMENT_COLOUR,
    VERMILLION,
    Plot,
    canvas,
    heading,
    heading_height,
    in_house_style,
    label,
    text_width,
    tidy,
)
from civstats.schema import CivstatsError

_EXTREME = 0.01


@in_house_style
def check_plot(table: pd.DataFrame, title: str, subtitle: str) -> Plot:
    """Draw observed statistics beside what replicated panels have, a panel a statistic.

    Parameters
    ----------
    table : pandas.DataFrame
        From :func:`civstats.diagnostics.predictive_check`: ``group, statistic, observed,
        replicated, lo, hi, p_value, identified``. A row a group.
    title, subtitle : str

    Returns
    -------
    Plot
        Bars hold 95 % of replicates; the observed value is a diamond, orange where fewer
        than one replicate in a hundred is as far out, hollow where it is not identified.

    Raises
    ------
    CivstatsError
        If there is no row.
    """
    shown = table.dropna(subset=["observed", "replicated"])
    if shown.empty:
        raise CivstatsError("there is nothing to draw: no statistic is defined")
    names = list(dict.fromkeys(shown["statistic"]))
    groups = list(dict.fromkeys(shown["group"]))
    wide = max(text_width(label(g), 8.5) for g in groups)
    grid = Grid(len(names), 3, 0.16 * len(groups) + 0.2, 0.62)
    shift = max(0.0, wide + 0.15 - LEFT)
    top = heading_height(title, subtitle) + 0.3
    figure = canvas(top + grid.tall + 0.02)
    heading(figure, title, subtitle)
    w = figure.get_size_inches()[0]
    for k, name in enumerate(names):
        ax = grid.place(figure, k, top)
        box = ax.get_position()
        # Names of groups stand left of the first column: make room for them.
        scale = (w - shift - LEFT) / (w - LEFT)
        ax.set_position(
            (
                (LEFT + shift + (box.x0 * w - LEFT) * scale) / w,
                box.y0,
                box.width * scale,
                box.height,
            )
        )
        part = shown[shown["statistic"] == name].set_index("group").reindex(groups)
        y = np.arange(len(groups))
        ax.hlines(y, part["lo"], part["hi"], color=TREATMENT_COLOUR["censor"], lw=3)
        ax.plot(part["replicated"], y, "|", ms=8, color=TREATMENT_COLOUR["censor"], mew=1.4)
        far = 2 * np.minimum(part["p_value"], 1 - part["p_value"]) < _EXTREME
        for flag, colour in ((True, VERMILLION), (False, INK)):
            for known in (True, False):
                use = (far == flag) & (part["identified"].astype("boolean").fillna(True) == known)
                ax.plot(
                    part["observed"][use], y[use], "D", ms=4.2, mec=colour,
                    mfc=colour if known else "white",
                )  # fmt: skip
        ax.set_ylim(len(groups) - 0.4, -0.6)
        ax.set_yticks(y, [label(g) for g in groups] if k % 3 == 0 else [""] * len(groups))
        ax.set_title(label(name, 36), loc="left", size=9, weight="bold")
        ax.locator_params(axis="x", nbins=4)
        tidy(ax, grid="x")
    whole = shown[shown["group"] == groups[0]]
    said = "; ".join(
        f"{r.statistic} {r.observed:.3g} against {r.lo:.3g} to {r.hi:.3g}"
        for r in whole.itertuples()
    )
    return Plot(figure, f"Predictive check by {len(groups)} group(s): {said}. {title}.")


@in_house_style
def rank_ecdf(
    ranks: pd.DataFrame,
    bands: Mapping[int, tuple[np.ndarray, np.ndarray]],
    n_draws: int,
    title: str,
    subtitle: str,
) -> Plot:
    """Draw the ECDF of ranks less that of uniform ones, with its simultaneous band.

    Parameters
    ----------
    ranks : pandas.DataFrame
        ``model, quantity, rank``: a panel each, models in rows.
    bands : mapping of int to (lower, upper)
        By the number of ranks, from :func:`civstats.diagnostics.ecdf_band`.
    n_draws : int
        Ranks are 0 .. n_draws.
    title, subtitle : str

    Returns
    -------
    Plot
        A curve that leaves its band is orange.

    Raises
    ------
    CivstatsError
        If there is no rank, or no band for their number.
    """
    if ranks.empty:
        raise CivstatsError("there are no ranks to draw")
    keys = list(dict.fromkeys(zip(ranks["model"], ranks["quantity"], strict=True)))
    grid = Grid(len(keys), 4, 0.95, 0.42)
    top = heading_height(title, subtitle) + 0.3
    figure = canvas(top + grid.tall + 0.1)
    heading(figure, title, subtitle)
    z = np.arange(1, n_draws + 1) / (n_draws + 1)
    left = []
    drawn = []
    for k, (model, quantity) in enumerate(keys):
        mine = (ranks["model"] == model) & (ranks["quantity"] == quantity)
        rank = ranks.loc[mine, "rank"].to_numpy()
        if len(rank) not in bands:
            raise CivstatsError(f"there is no band for {len(rank)} ranks of {model}, {quantity}")
        lower, upper = bands[len(rank)]
        share = np.searchsorted(np.sort(rank), np.arange(n_draws), side="right") / len(rank)
        out = bool(((share < lower - 1e-9) | (share > upper + 1e-9)).any())
        if out:
            left.append(f"{model}, {quantity}")
        ax = grid.place(figure, k, top)
        drawn.append(ax)
        ax.fill_between(z, lower - z, upper - z, color=MUTED, alpha=0.22, lw=0, step="post")
        ax.axhline(0, color=INK, lw=0.6)
        ax.step(
            z, share - z, where="post", lw=1.4,
            color=VERMILLION if out else TREATMENT_COLOUR["censor"], ls="--" if out else "-",
        )  # fmt: skip
        ax.set_title(
            f"{label(model, 20)}\n{label(quantity, 30)}", loc="left", size=8, linespacing=1.2
        )
        ax.set_xlim(0, 1)
        ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        tidy(ax, grid="y")
    high = max(abs(v) for ax in drawn for v in ax.get_ylim())
    for k, ax in enumerate(drawn):
        ax.set_ylim(-high, high)
        if k % 4:
            ax.tick_params(labelleft=False)
        if k // 4 < grid.rows - 1:
            ax.tick_params(labelbottom=False)
    return Plot(
        figure,
        f"{len(keys)} rank ECDF(s) less the uniform one. Outside the band: "
        f"{'; '.join(left) or 'none'}. {title}.",
    )
