"""The heat map of scores: every score in its cell, the best darkest, what is in doubt marked."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from civstats import plots
from civstats.plots.heatmap import _SHADES
from civstats.schema import SCORES, CivstatsError
from tests.test_plots import assert_legible, words_of

NOT_PROPER = "not proper here: beyond one step ahead stock may follow demand"
MODELS = ("SeasonalNaive", "LightGBM")


def scores(models=MODELS, treatments=("ignore", "mask", "censor")) -> pd.DataFrame:
    rows = []

    def add(m, t, regime, metric, value, expected=np.nan, sure=True, note="", level=np.nan):
        ends = (value - 0.1, value + 0.1)
        rows.append((m, t, regime, metric, level, pd.NaT, value, *ends, 90, expected, sure, note))

    for k, (m, t) in enumerate(itertools.product(models, treatments)):
        for regime in ("all_days", "in_stock", "demand"):
            expected = {"all_days": 0.1, "in_stock": np.nan, "demand": 0.0}[regime]
            add(m, t, regime, "bias", 0.1 * k - 0.2, expected)
            add(m, t, regime, "rmse", 2.0 * (1 + 0.05 * (k if regime == "demand" else 9 - k)))
            add(m, t, regime, "wape", 0.5 + 0.01 * k)
            add(m, t, regime, "coverage", 0.8 + 0.01 * k, 0.84, level=80.0)
            add(m, t, regime, "coverage", 0.95, 0.96, level=95.0)
        for metric in ("localised_crps", "censored_log_score"):
            add(m, t, "censored", metric, np.nan, sure=False, note=NOT_PROPER)
    return pd.DataFrame(rows, columns=list(SCORES))


def cells(plot) -> tuple[dict[tuple[float, float], Rectangle], list]:
    """The filled boxes by their centre, and the texts."""
    (ax,) = plot.figure.axes
    boxes = {}
    for patch in ax.patches:
        if patch.get_fill():
            x, y = patch.get_xy()
            boxes[x + patch.get_width() / 2, y + patch.get_height() / 2] = patch
    return boxes, ax.texts


def under(plot, words: str) -> list[Rectangle]:
    """The boxes on which a text stands."""
    boxes, texts = cells(plot)
    return [
        boxes[
            min(
                boxes,
                key=lambda c: np.hypot(c[0] - t.get_position()[0], c[1] - t.get_position()[1]),
            )
        ]
        for t in texts
        if t.get_text() == words
    ]


def test_every_score_stands_in_its_cell_and_the_best_is_darkest():
    frame = scores()
    plot = plots.score_heatmap(frame, ["rmse"], regimes=["demand"])
    ((best,), (near,), (far,)) = (under(plot, w) for w in ("2.00", "2.10", "2.50"))
    assert to_hex(best.get_facecolor()) == _SHADES[0]
    assert to_hex(near.get_facecolor()) == _SHADES[1]
    assert to_hex(far.get_facecolor()) == _SHADES[2]
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(to_rgb, _SHADES)]
    # In grey the order holds, and the steps can be told apart.
    assert (np.diff(light) > 0.1).all()
    drawn = [t.get_text() for t in cells(plot)[1]]
    for value in frame.query("metric == 'rmse' and regime == 'demand'")["value"]:
        assert f"{value:.2f}" in drawn


def test_bias_is_shaded_by_what_a_perfect_forecast_shows_and_not_where_nobody_knows():
    plot = plots.score_heatmap(scores(), ["bias"], regimes=["all_days"])
    # A perfect forecast shows +10 %: that, and not zero, is best.
    assert to_hex(under(plot, "+10 %")[0].get_facecolor()) == _SHADES[0]
    assert to_hex(under(plot, "0 %")[0].get_facecolor()) == _SHADES[1]
    blind = plots.score_heatmap(scores(), ["bias"], regimes=["in_stock"])
    boxes, _ = cells(blind)
    assert {to_hex(b.get_facecolor()) for b in boxes.values()} == {"#ffffff"}
    truth = plots.score_heatmap(scores().assign(expected=np.nan), ["bias"], regimes=["demand"])
    assert to_hex(under(truth, "0 %")[0].get_facecolor()) == _SHADES[0]


def test_a_score_that_is_not_proper_is_one_hatched_bar_that_says_so():
    plot = plots.score_heatmap(scores())
    bars = under(plot, "not proper here")
    assert len(bars) == 2
    assert all(b.get_hatch() for b in bars)
    assert "localised CRPS on stockouts as bounds: not proper here" in plot.alt
    assert "undefined" not in words_of(plot)


def test_what_is_not_identified_is_hatched_bracketed_and_never_best():
    frame = scores()
    lowest = (
        frame["metric"].eq("rmse") & frame["regime"].eq("demand") & frame["model"].eq("LightGBM")
    )
    lowest &= frame["treatment"].eq("censor")
    frame.loc[lowest, ["value", "identified", "note"]] = [
        0.5,
        False,
        "not identified: 60% of the days",
    ]
    gone = (
        frame["metric"].eq("rmse") & frame["model"].eq("LightGBM") & frame["treatment"].eq("mask")
    )
    frame.loc[gone, ["value", "identified", "note"]] = [
        np.nan,
        False,
        "undefined: nothing to score",
    ]
    plot = plots.score_heatmap(frame, ["rmse"], regimes=["demand"])
    (doubtful,), (absent,) = under(plot, "(0.500)"), under(plot, "n/a")
    for box in (doubtful, absent):
        assert box.get_hatch()
        assert to_hex(box.get_facecolor()) == "#ffffff"
    assert "0.500" not in [t.get_text() for t in cells(plot)[1]]
    # The best of the others has the darkest shade.
    assert to_hex(under(plot, "2.00")[0].get_facecolor()) == _SHADES[0]
    assert "RMSE on true demand: lowest SeasonalNaive ignore (2.00)" in plot.alt
    assert "RMSE on true demand: 2 not identified or not available" in plot.alt


def test_an_impossible_outcome_is_infinite_and_never_shaded():
    frame = scores()
    censored = frame["metric"].eq("censored_log_score")
    frame.loc[censored, "value"] = [np.inf, 1.2, 1.0, 1.1, 1.1, 1.1]
    frame.loc[censored, "identified"] = [False, *[True] * 5]
    plot = plots.score_heatmap(frame, ["censored_log_score"])
    assert under(plot, "∞")[0].get_hatch()
    assert to_hex(under(plot, "1.00")[0].get_facecolor()) == _SHADES[0]


def test_the_lowest_is_not_called_the_best():
    for plot in (plots.score_heatmap(scores()), plots.naive_evaluation(scores())):
        told = f"{plot.alt} {words_of(plot)}"
        assert "best" not in told
    assert "not thereby shown to be better" in plots.score_heatmap(scores()).alt
    assert "lowest, not necessarily better" in words_of(plots.naive_evaluation(scores()))
    assert "bias on sales, all days: nearest to expected" in plots.score_heatmap(scores()).alt


def test_the_title_says_whether_the_regimes_agree():
    assert (
        "By RMSE, the forecast that scores lowest on all days' sales is not the lowest on true"
        in plots.score_heatmap(scores()).alt
    )
    agree = scores()[lambda d: d["metric"] == "wape"]
    assert "By every score they share" in plots.score_heatmap(agree).alt
    sales = scores()[lambda d: d["regime"] != "demand"]
    assert "lowest on in-stock days" in plots.score_heatmap(sales).alt
    assert "Scores of LightGBM mask" in plots.score_heatmap(scores(("LightGBM",), ("mask",))).alt


def test_one_level_is_chosen_and_named():
    words = words_of(plots.score_heatmap(scores(), ["coverage"]))
    assert "coverage 80 %" in words
    assert "95 %" not in words
    assert "coverage 95 %" in words_of(plots.score_heatmap(scores(), ["coverage"], level=95))


@pytest.mark.parametrize(
    "plot",
    [
        plots.score_heatmap(scores()),
        plots.score_heatmap(scores([f"SeasonalWindowAverage{k}" for k in range(9)])),
        plots.score_heatmap(scores(("CES",), ("mask",)), ["bias", "rmse"]),
        plots.score_heatmap(scores(), ["rmse"], regimes=["demand"]),
    ],
    ids=["six rows", "27 rows", "one row", "one column"],
)
def test_it_is_legible_and_repeats_to_the_byte(plot):
    assert_legible(plot)
    assert plot.png() == plot.png()


def test_frames_that_cannot_be_drawn_are_named():
    with pytest.raises(CivstatsError, match=r"holds none of crps.*it holds bias"):
        plots.score_heatmap(scores(), ["crps"])
    with pytest.raises(CivstatsError, match=r"columns of scores do not fit the page"):
        plots.score_heatmap(scores(), ["bias", "rmse", "wape", "coverage"] * 2)
    with pytest.raises(CivstatsError, match="stand there twice"):
        plots.score_heatmap(pd.concat([scores(), scores()]))
