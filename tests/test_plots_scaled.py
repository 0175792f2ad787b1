"""The dot plot of score ratios: every value is drawn and said, nothing is cut off."""

from __future__ import annotations

import pandas as pd
import pytest

from civstats.plots.scaled import scaled_ratios
from civstats.schema import CivstatsError


def frame() -> pd.DataFrame:
    names = ["SeasonalWindowAverage_ignore", "IMAPA_ignore"]
    return pd.DataFrame(
        {
            "metric": ["rmsse"] * 2 + ["scaled_pinball"] * 2,
            "b": names * 2,
            "ratio": [-0.05, 0.02, -0.11, -0.04],
            "ratio_lo": [-0.08, -0.01, -0.15, -0.07],
            "ratio_hi": [-0.02, 0.05, -0.07, -0.01],
        }
    )


def test_every_ratio_is_drawn_and_said() -> None:
    plot = scaled_ratios(frame(), "A title", "A subtitle")
    panels = plot.figure.axes
    assert [ax.get_title(loc="left") for ax in panels] == ["RMSSE", "scaled pinball"]
    dots = [
        x
        for ax in panels
        for line in ax.lines
        if line.get_marker() == "o"
        for x in line.get_xdata()
    ]
    assert dots == [-0.05, 0.02, -0.11, -0.04]
    low, high = panels[0].get_xlim()
    assert low < -0.15
    assert high > 0.05
    for word in ("IMAPA_ignore +2.0%", "scaled pinball", "A title"):
        assert word in plot.alt
    assert plot.png()[:4] == b"\x89PNG"
    renderer = plot.figure.canvas.get_renderer()
    assert min(t.get_window_extent(renderer).x0 for t in panels[0].get_yticklabels()) >= 0


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(CivstatsError, match="lack ratio_hi"):
        scaled_ratios(frame().drop(columns="ratio_hi"), "a", "b")
    with pytest.raises(CivstatsError, match="lack rows"):
        scaled_ratios(frame().iloc[:0], "a", "b")
