"""The recovery figures draw the numbers they are given, and their titles say them."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from civstats.plots._style import TREATMENT_COLOUR
from civstats.plots.recovery import recovery, recovery_breaks
from civstats.schema import CivstatsError

RATES = (0.05, 0.15, 0.3, 0.45)
SLOPE = {"ignore": -0.8, "mask": -1.3, "censor": -0.05}


def frame(mechanisms=("random", "promotion", "inventory")) -> pd.DataFrame:
    rows = [("none", 0.0, t, "sales", 0.01, -0.02, 0.04) for t in SLOPE]
    for (i, m), r in itertools.product(enumerate(mechanisms), RATES):
        for t, slope in SLOPE.items():
            value = slope * r * (1 + 0.1 * i)
            rows.append((m, r, t, "sales", value, value - 0.03, value + 0.03))
        for t in ("mask", "censor"):
            rows.append((m, r, t, "oracle_lags", -0.02, -0.05, 0.01))
    columns = ["mechanism", "rate", "treatment", "trained_on", "value", "lo", "hi"]
    return pd.DataFrame(rows, columns=columns)


def test_a_panel_a_mechanism_and_a_line_a_treatment():
    data = frame()
    plot = recovery(data.sample(frac=1, random_state=1))
    panels = plot.figure.axes
    # The order of the frame is the order of the panels.
    assert {ax.get_title(loc="left") for ax in panels} == {"random", "promotion", "inventory"}
    for ax in panels:
        mechanism = ax.get_title(loc="left")
        lines = {to_hex(x.get_color()): x for x in ax.lines if len(x.get_xdata()) == 5}
        for t, colour in TREATMENT_COLOUR.items():
            drawn = lines[colour.lower()]
            part = data[
                data["mechanism"].isin([mechanism, "none"])
                & (data["treatment"] == t)
                & (data["trained_on"] == "sales")
            ]
            np.testing.assert_allclose(drawn.get_xdata(), [0, *RATES])
            np.testing.assert_allclose(drawn.get_ydata(), part.sort_values("rate")["value"])
        assert ax.get_ylim() == panels[0].get_ylim()
    assert len(plot.png()) > 10_000


def test_the_title_speaks_of_the_worst_mechanism_at_the_rate():
    plot = recovery(frame())
    assert "30 %" in plot.alt
    assert "(inventory)" in plot.alt
    assert "−29 under ignore, −47 under mask" in plot.alt
    assert "−2 for the oracle" in plot.alt
    assert "45 %" in recovery(frame(), rate=0.45).alt


def test_tick_labels_stand_apart_and_inside_the_figure():
    plot = recovery(frame())
    renderer = plot.figure.canvas.get_renderer()
    width = plot.figure.bbox.width
    for ax in plot.figure.axes:
        labels = [t for t in ax.get_xticklabels() if t.get_text()]
        assert [t.get_text() for t in labels] == ["0", "5", "15", "30", "45"]
        boxes = [t.get_window_extent(renderer) for t in labels]
        gaps = [b.x0 - a.x1 for a, b in itertools.pairwise(boxes)]
        # A digit's width at least, so that two labels do not read as one number.
        assert min(gaps) > 10
        assert boxes[-1].x1 < min(ax.get_window_extent(renderer).x1, width)
        assert ax.get_xlabel().endswith("%")


def test_the_subtitle_says_how_many_worlds_the_bands_are_over():
    def words(plot) -> str:
        return " ".join(" ".join(t.get_text() for t in plot.figure.texts).split())

    assert "of all worlds" in words(recovery(frame(), worlds=5))
    assert "of the one world only" in words(recovery(frame(), worlds=1))
    assert "of the one world only" in words(recovery_breaks(curves(), 0.0, {}, worlds=1))
    assert "28-day" not in words(recovery(frame()))


def test_one_mechanism_one_rate_and_no_zero_point_will_do():
    data = frame(("random",))
    assert len(recovery(data[data["rate"] == 0.3]).figure.axes) == 1


def test_recovery_refusals():
    with pytest.raises(CivstatsError, match="lacks column"):
        recovery(frame().drop(columns="hi"))
    with pytest.raises(CivstatsError, match="no mechanism"):
        recovery(frame(()))
    with pytest.raises(CivstatsError, match="1 point"):
        recovery(pd.concat([frame(), frame().iloc[[5]]]))


def curves() -> pd.DataFrame:
    rows = []
    for kind, worst in (("missed", -0.1), ("false", 0.3), ("clock", 0.4), ("clock_right", 0.01)):
        for k, label in enumerate(("none", "some", "much")):
            value = worst * k / 2
            rows.append((kind, float(k), label, value, value - 0.02, value + 0.02))
    return pd.DataFrame(rows, columns=["kind", "severity", "label", "value", "lo", "hi"])


def test_a_panel_a_break_with_its_guest_inside():
    titles = {"missed": "Missed", "false": "False", "clock": "By the clock", "clock_right": "Right"}
    plot = recovery_breaks(curves(), 0.01, titles, {"clock_right": "clock"})
    panels = {ax.get_title(loc="left"): ax for ax in plot.figure.axes}
    assert list(panels) == ["Missed", "False", "By the clock"]
    drawn = [x for x in panels["By the clock"].lines if len(x.get_xdata()) == 3]
    ends = sorted(float(x.get_ydata()[-1]) for x in drawn)
    assert ends == pytest.approx([0.01, 0.4])
    assert [t.get_text() for t in panels["False"].get_xticklabels()] == ["none", "some", "much"]
    assert "+40 %" in plot.alt
    assert "by the clock: much" in plot.alt


def test_no_curve_is_refused():
    with pytest.raises(CivstatsError, match="no curve"):
        recovery_breaks(pd.DataFrame(), 0.0, {})
