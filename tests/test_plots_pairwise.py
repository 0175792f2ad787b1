"""The matrix of pairs: every difference is drawn twice, and filled only where it is decided."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from civstats.evaluation.pairwise import PAIRS
from civstats.plots._style import BLUE, VERMILLION
from civstats.plots.pairwise import pairwise
from civstats.schema import CivstatsError


def frame(metric="rmse", level=np.nan) -> pd.DataFrame:
    names = ["IMAPA_mask", "SeasonalWindowAverage_ignore", "CES_mask"]
    rows = [
        (names[0], names[1], 1.0, 1.5, -0.5, names[0]),
        (names[0], names[2], 1.0, 1.12, -0.12, ""),
        (names[1], names[2], 1.5, 1.12, 0.38, ""),
    ]
    part = pd.DataFrame(rows, columns=["a", "b", "value_a", "value_b", "difference", "better"])
    part = part.assign(metric=metric, regime="demand", level=level, note="")
    return part.reindex(columns=list(PAIRS)).assign(p_dm=0.01, note="")


def filled(ax, colour):
    return sorted(
        (int(p.get_y()), int(p.get_x()))
        for p in ax.patches
        if to_hex(p.get_facecolor()) == colour.lower()
    )


def test_differences_are_drawn_both_ways_and_filled_where_decided() -> None:
    plot = pairwise(frame())
    (ax,) = plot.figure.axes
    # The winner first, then those that are not beaten, then the loser.
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "IMAPA mask  1",
        "CES mask  2",
        "SeasonalWindowAverage ignore  3",
    ]
    said = {tuple(int(v) for v in t.get_position()[::-1]): t.get_text() for t in ax.texts}
    assert said == {
        (0, 1): "−0.120",
        (1, 0): "+0.120",
        (0, 2): "−0.500",
        (2, 0): "+0.500",
        (1, 2): "−0.380",
        (2, 1): "+0.380",
    }
    assert filled(ax, BLUE) == [(0, 2)]
    assert filled(ax, VERMILLION) == [(2, 0)]
    assert [t.get_text() for t in ax.texts if t.get_weight() == "bold"] == ["−0.500", "+0.500"]
    for words in (
        "RMSE (true demand)",
        "Nothing beats 2 of 3 forecasts; 1 of 3 pairs is decided",
        "IMAPA_mask is better than SeasonalWindowAverage_ignore; between IMAPA_mask and CES_mask",
    ):
        assert words in plot.alt
    assert plot.png()[:4] == b"\x89PNG"
    renderer = plot.figure.canvas.get_renderer()
    assert min(t.get_window_extent(renderer).x0 for t in ax.get_yticklabels()) >= 0


def test_titles_say_what_is_decided() -> None:
    none = pairwise(frame("winkler", 80.0).assign(better=""))
    assert "winkler of 80 % intervals (true demand)" in none.alt
    assert "None of 3 pairs is decided" in none.alt
    assert not filled(none.figure.axes[0], BLUE)
    one = pairwise(frame("bias").iloc[:1].assign(p_dm=np.nan))
    texts = [t.get_text() for t in one.figure.texts]
    assert texts[0] == "IMAPA_mask is better than SeasonalWindowAverage_ignore"
    assert "the bootstrap is sure of it" in texts[1].replace("\n", " ")
    assert "−50 %" in [t.get_text() for t in one.figure.axes[0].texts]
    assert "distance from the expected bias" in one.alt


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(CivstatsError, match="lack better"):
        pairwise(frame().drop(columns="better"))
    with pytest.raises(CivstatsError, match="lack rows"):
        pairwise(frame().iloc[:0])
    with pytest.raises(CivstatsError, match="draw one at a time"):
        pairwise(pd.concat([frame(), frame("wape")]))
    many = pd.concat([frame().iloc[:1].assign(b=f"M{k}_mask", better="") for k in range(12)])
    with pytest.raises(CivstatsError, match="13 forecasts are too many"):
        pairwise(many)
