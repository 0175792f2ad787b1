"""The filter study's figures draw the numbers they are given, within the page, and refuse the rest."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from civstats.plots._style import INK, TREATMENT_COLOUR, VERMILLION
from civstats.plots.filter import band_coverage, recovered_mean
from civstats.plots.ranks import rank_histograms
from civstats.schema import CivstatsError

RATES = (0.05, 0.15, 0.45)
SLOPE = {"sales": -1.2, "ignore": -1.0, "mask": -1.5, "censor": -0.02, "oracle": 0.0}


def ways() -> pd.DataFrame:
    rows = [
        (w, r, t, 1 + s * r, 1 + s * r - 0.02, 1 + s * r + 0.03)
        for w, r, (t, s) in itertools.product(("model", "retail"), RATES, SLOPE.items())
    ]
    return pd.DataFrame(rows, columns=["world", "rate", "treatment", "value", "lo", "hi"])


def leftover() -> pd.DataFrame:
    part = ways().query("treatment == 'censor'")
    return pd.concat([part.assign(name=n) for n in ("all days", "stockout days")])


def coverage() -> pd.DataFrame:
    rows = []
    for days, level in itertools.product(("all days", "days out"), (80, 95)):
        for r, t in itertools.product(RATES, ("ignore", "mask", "censor", "oracle")):
            value = level / 100 + 0.9 * SLOPE[t] * r
            rows.append((days, level, r, t, value, value - 0.01, value + 0.01))
    return pd.DataFrame(rows, columns=["days", "level", "rate", "treatment", "value", "lo", "hi"])


def inside(plot) -> None:
    """No text ends beyond the page."""
    assert plot.png()[:4] == b"\x89PNG"
    renderer = plot.figure.canvas.get_renderer()
    wide, high = plot.figure.bbox.size
    texts = [*plot.figure.texts]
    for ax in plot.figure.axes:
        texts += [ax.yaxis.label, ax.xaxis.label, *ax.get_yticklabels(), *ax.get_xticklabels()]
    for text in texts:
        if text.get_text():
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, text
            assert box.x1 <= wide + 1, text
            assert box.y0 >= -1, text
            assert box.y1 <= high + 1, text


def drawn(ax) -> list[np.ndarray]:
    """Values of the lines that hold a point a rate."""
    return [x.get_ydata() for x in ax.lines if len(x.get_xdata()) == len(RATES)]


def bands_of(ax) -> list[tuple[float, float]]:
    """Heights of the grey bands."""
    found = [p.get_bbox() for p in ax.patches if hasattr(p, "get_bbox")]
    return [(b.y0, b.y1) for b in found]


def test_a_panel_a_world_with_the_numbers_and_the_error_close_up():
    plot = recovered_mean(ways().sample(frac=1, random_state=0), leftover(), "Title here")
    above, below = plot.figure.axes[::2], plot.figure.axes[1::2]
    assert {ax.get_title(loc="left") for ax in above} == {"model", "retail"}
    for ax in above:
        lines = {to_hex(x.get_color()): x.get_ydata() for x in ax.lines if len(x.get_xdata()) == 3}
        assert len(lines) == 5
        for t, colour in (*TREATMENT_COLOUR.items(), ("oracle", INK)):
            np.testing.assert_allclose(lines[colour.lower()], [1 + SLOPE[t] * r for r in RATES])
        # Every bar is whole, that of the lowest way too.
        assert ax.get_ylim()[0] < 1 + SLOPE["mask"] * 0.45 - 0.02
    for ax in below:
        assert len(drawn(ax)) == 2
        assert bands_of(ax) == [(0.99, 1.01)]
    assert "Title here" in plot.alt
    inside(plot)


def test_the_bars_are_the_intervals():
    plot = recovered_mean(ways(), leftover(), "T")
    ends = {
        tuple(np.round(path.vertices[:, 1], 6))
        for collection in plot.figure.axes[0].collections
        for path in collection.get_paths()
    }
    low, high = 1 + SLOPE["mask"] * 0.15 - 0.02, 1 + SLOPE["mask"] * 0.15 + 0.03
    assert (round(low, 6), round(high, 6)) in ends


def test_coverage_whole_and_close_up():
    plot = band_coverage(coverage(), "Bands", close_up=("censor", "oracle"))
    panels = plot.figure.axes
    assert len(panels) == 2 * 3
    assert [ax.get_title(loc="left") for ax in panels if ax.get_title(loc="left")] == [
        "all days", "days out",
    ]  # fmt: skip
    assert [len(drawn(ax)) for ax in panels] == [4, 2, 2] * 2
    for level, ax in ((80, panels[1]), (95, panels[2])):
        ((low, high),) = bands_of(ax)
        assert (low, high) == pytest.approx((level / 100 - 0.02, level / 100 + 0.02))
        for line, t in zip(drawn(ax), ("oracle", "censor"), strict=True):
            np.testing.assert_allclose(line, [level / 100 + 0.9 * SLOPE[t] * r for r in RATES])
    inside(plot)


def test_histograms_of_ranks_and_the_band_of_a_right_model():
    rng = np.random.default_rng(0)
    flat, steep = np.tile(np.arange(64), 10), (63 * rng.random(640) ** 2).astype(int)
    ranks = pd.concat(
        pd.DataFrame({"row": r, "column": "level, last day", "rank": x})
        for r, x in (("a family of quite a long name", flat), ("planted", steep))
    )
    plot = rank_histograms(ranks.sample(frac=1, random_state=1), 63, "Title", "Below")
    first = next(ax for ax in plot.figure.axes if "family" in ax.get_ylabel())
    second = next(ax for ax in plot.figure.axes if ax is not first)
    low, high = stats.binom.interval(0.99, 640, 1 / 16)
    for ax, x in ((first, flat), (second, steep)):
        bars = [p for p in ax.patches if p.get_width() < 0.5]
        counts, _ = np.histogram(x, bins=np.arange(0, 65, 4))
        np.testing.assert_allclose([b.get_height() * 40 for b in bars], counts)
        outside = (counts < low) | (counts > high)
        assert [to_hex(b.get_facecolor()) == VERMILLION.lower() for b in bars] == list(outside)
        np.testing.assert_allclose(bands_of(ax)[0], (low / 40, high / 40))
    assert not any(to_hex(p.get_facecolor()) == VERMILLION.lower() for p in first.patches)
    inside(plot)


def test_what_cannot_be_drawn_is_refused():
    none = ways().iloc[:0]
    with pytest.raises(CivstatsError, match="no rows"):
        recovered_mean(none, leftover(), "T")
    with pytest.raises(CivstatsError, match="at most 3 leftovers"):
        many = pd.concat([leftover().assign(name=str(k)) for k in range(4)])
        recovered_mean(ways(), many, "T")
    with pytest.raises(CivstatsError, match="no rows"):
        band_coverage(coverage().iloc[:0], "T", close_up=())
    ranks = pd.DataFrame({"row": "a", "column": "b", "rank": [1, 2]})
    with pytest.raises(CivstatsError, match="multiple of the bins"):
        rank_histograms(ranks, 10, "T", "S")
    with pytest.raises(CivstatsError, match="no ranks"):
        rank_histograms(ranks.iloc[:0], 63, "T", "S")
