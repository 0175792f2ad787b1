"""The posterior review's figures draw the numbers they are given, within the page, and refuse the rest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from civstats.diagnostics import ecdf_band, predictive_check
from civstats.plots._style import INK, TREATMENT_COLOUR, VERMILLION
from civstats.plots.posterior import pareto_k, trace_and_ranks
from civstats.plots.posterior_checks import check_plot, rank_ecdf
from civstats.plots.posterior_forest import forest, pooling
from civstats.schema import CivstatsError
from tests.diagnostics.worlds import panel_of, rates


def inside(plot) -> None:
    """No text ends beyond the page; ticks beyond an axis' limits are not drawn."""
    assert plot.png()[:4] == b"\x89PNG"
    renderer = plot.figure.canvas.get_renderer()
    wide, high = plot.figure.bbox.size
    texts = [*plot.figure.texts]
    for ax in plot.figure.axes:
        texts += [ax.yaxis.label, ax.xaxis.label, ax._left_title]
        for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            low, top = sorted(limits)
            ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False)
            texts += [text for at, text in ticks if low <= at <= top]
    for text in texts:
        if text.get_text():
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, text
            assert box.x1 <= wide + 1, text
            assert box.y0 >= -1, text
            assert box.y1 <= high + 1, text


def draws(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 400))
    return {"mu": x, "level[a series with a long name, 2024-01-01]": x + 3 * np.arange(3)[:, None]}


def bands() -> pd.DataFrame:
    rows = [
        (p, f"D{k}", k, k - 0.1, k + 0.1, k - 0.4, k + 0.4, 1.5)
        for p in ("level", "dispersion")
        for k in range(4)
    ]
    columns = ["panel", "row", "median", "lo50", "hi50", "lo80", "hi80", "reference"]
    return pd.DataFrame(rows, columns=columns)


def test_a_line_a_chain_and_ranks_that_show_a_chain_apart():
    plot = trace_and_ranks(draws(), "Title", notes={"mu": "R-hat 1.00"})
    panels = plot.figure.axes
    assert len(panels) == 4
    for ax, x in zip(panels[::2], draws().values(), strict=True):
        for line, chain in zip(ax.lines, x, strict=True):
            np.testing.assert_allclose(line.get_ydata(), chain)
    first = panels[3].patches[1].get_data()[0]
    # 20 bins of 400 draws: all of the lowest chain is in the lower third.
    assert first[:6].mean() == pytest.approx(3, rel=0.15)
    assert first[10:].max() < 0.1
    flat = np.array([p.get_data()[0] for p in panels[1].patches[1:]])
    np.testing.assert_allclose(flat.mean(axis=0), 1)
    inside(plot)
    assert "mu" in plot.alt


def test_large_k_are_marked():
    plot = pareto_k(np.array([0.1, 0.9, 0.3, np.nan]), 0.7, "T")
    (ax,) = plot.figure.axes
    good, bad = ax.lines[1], ax.lines[2]
    np.testing.assert_allclose(good.get_ydata(), [0.1, 0.3])
    np.testing.assert_allclose(bad.get_ydata(), [0.9, np.nan])
    assert "2 beyond 0.70" in plot.alt
    inside(plot)


def test_a_forest_has_its_medians_and_both_bands():
    plot = forest(bands(), "T", "S")
    for ax in plot.figure.axes:
        points = next(x for x in ax.lines if len(x.get_xdata()) == 4)
        np.testing.assert_allclose(points.get_xdata(), np.arange(4))
        ends = [p.vertices[:, 0] for c in ax.collections for p in c.get_paths()]
        assert any(np.allclose(e, [1.6, 2.4]) for e in ends)
        assert any(np.allclose(e, [1.9, 2.1]) for e in ends)
        assert any(np.allclose(x.get_xdata(), 1.5) for x in ax.lines)
    inside(plot)


def test_pooling_has_a_point_a_way_and_a_line_for_all():
    rows = [
        ("p", f"D{k}", way, scale * k, scale * k - 1, scale * k + 1)
        for k in range(3)
        for way, scale in (("no pooling", 2.0), ("partial pooling", 1.0))
    ] + [("p", f"D{k}", "complete pooling", 1.2, np.nan, np.nan) for k in range(3)]
    table = pd.DataFrame(rows, columns=["panel", "row", "way", "value", "lo", "hi"])
    plot = pooling(table, "T", "S", unit="units a day")
    (ax,) = plot.figure.axes
    drawn = {to_hex(x.get_color()): x.get_xdata() for x in ax.lines if x.get_marker() in "oD"}
    np.testing.assert_allclose(drawn[VERMILLION.lower()], [0, 2, 4])
    np.testing.assert_allclose(drawn[TREATMENT_COLOUR["censor"].lower()], [0, 1, 2])
    assert any(np.allclose(x.get_xdata(), 1.2) and to_hex(x.get_color()) == INK for x in ax.lines)
    inside(plot)
    with pytest.raises(CivstatsError, match="way must be"):
        pooling(table.assign(way="some"), "T", "S", unit="u")


def test_checks_mark_what_is_far_out_and_what_is_not_identified():
    panel = panel_of(n_series=2, n_days=112).drop(columns="stock")
    demand = np.random.default_rng(0).poisson(rates(panel) * 1.6, (120, len(panel)))
    table = predictive_check(panel, demand, by="dept_id")
    plot = check_plot(table, "T", "S")
    panels = {ax.get_title(loc="left"): ax for ax in plot.figure.axes}
    assert set(panels) == set(table["statistic"])
    for name, ax in panels.items():
        mine = table[table["statistic"] == name]
        diamonds = [x for x in ax.lines if x.get_marker() == "D"]
        drawn = np.concatenate([x.get_xdata() for x in diamonds])
        np.testing.assert_allclose(np.sort(drawn), np.sort(mine["observed"]))
        far = (2 * np.minimum(mine["p_value"], 1 - mine["p_value"]) < 0.01).sum()
        orange = [x for x in diamonds if to_hex(x.get_markeredgecolor()) == VERMILLION.lower()]
        assert sum(len(x.get_xdata()) for x in orange) == far
        hollow = [x for x in diamonds if x.get_markerfacecolor() == "white"]
        assert sum(len(x.get_xdata()) for x in hollow) == (~mine["identified"]).sum()
    assert (2 * np.minimum(table["p_value"], 1 - table["p_value"]) < 0.01).any()
    inside(plot)


def test_rank_ecdfs_are_less_the_uniform_one_and_orange_outside():
    rng = np.random.default_rng(1)
    flat, steep = np.repeat(np.arange(100), 2), (99 * rng.random(200) ** 2).astype(int)
    ranks = pd.concat(
        pd.DataFrame({"model": "m", "quantity": q, "rank": x})
        for q, x in (("lost units", flat), ("mu", steep))
    )
    band = ecdf_band(200, 99)
    plot = rank_ecdf(ranks, {200: band}, 99, "T", "S")
    colours = []
    for ax, x in zip(plot.figure.axes, (flat, steep), strict=True):
        curve = next(line for line in ax.lines if len(line.get_xdata()) == 99)
        z = np.arange(1, 100) / 100
        np.testing.assert_allclose(
            curve.get_ydata(), [(x <= k).mean() for k in range(99)] - z, atol=1e-12
        )
        colours.append(to_hex(curve.get_color()))
    assert colours == [TREATMENT_COLOUR["censor"].lower(), VERMILLION.lower()]
    assert "Outside the band: m, mu" in plot.alt
    inside(plot)
    with pytest.raises(CivstatsError, match="no band for 200"):
        rank_ecdf(ranks, {}, 99, "T", "S")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(CivstatsError, match="no draws"):
        trace_and_ranks({}, "T")
    with pytest.raises(CivstatsError, match="finite"):
        trace_and_ranks({"mu": np.full((2, 5), np.nan)}, "T")
    with pytest.raises(CivstatsError, match="no Pareto k"):
        pareto_k(np.array([]), 0.7, "T")
    with pytest.raises(CivstatsError, match="no rows"):
        forest(bands().iloc[:0], "T", "S")
    many = pd.concat([bands().assign(row=f"x{k}") for k in range(31)])
    with pytest.raises(CivstatsError, match="31 rows"):
        forest(many, "T", "S")
    with pytest.raises(CivstatsError, match="no ranks"):
        rank_ecdf(pd.DataFrame({"model": [], "quantity": [], "rank": []}), {}, 9, "T", "S")
    with pytest.raises(CivstatsError, match="no statistic"):
        empty = pd.DataFrame({"observed": [np.nan], "replicated": [1.0]})
        check_plot(empty, "T", "S")
