"""Calibration curves and PIT histograms draw what they are given, and say what is true of it."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from statsmodels.stats.multitest import multipletests

from civstats import plots
from civstats.plots._multiples import holm
from civstats.plots._style import TREATMENT_COLOUR, TREATMENT_LINE
from civstats.schema import CivstatsError
from tests.test_plots import assert_legible, words_of

TREATMENTS = ("ignore", "mask", "censor")
LEVELS = np.arange(5.0, 100, 5)


def curve(models=("LightGBM", "LocalLevel"), treatments=TREATMENTS) -> pd.DataFrame:
    rows = []
    for (i, m), (j, t) in itertools.product(enumerate(models), enumerate(treatments)):
        for level in LEVELS:
            share = level / 100 - 0.01 * (i + 1) - 0.03 * j * np.sin(np.pi * level / 100)
            rows.append((m, t, level, share, share - 0.02, share + 0.02, 900))
    return pd.DataFrame(rows, columns=["model", "treatment", "level", "observed", "lo", "hi", "n"])


def histogram(models=("LightGBM", "LocalLevel"), treatments=TREATMENTS, bins=10) -> pd.DataFrame:
    edges = np.linspace(0, 1, bins + 1)
    rows = []
    for k, (m, t) in enumerate(itertools.product(models, treatments)):
        density = 1 + 0.1 * (k + 1) * np.linspace(-1, 1, bins)
        for left, right, d in zip(edges[:-1], edges[1:], density, strict=True):
            rows.append((m, t, left, right, d, d - 0.1, d + 0.1, 900))
    columns = ["model", "treatment", "left", "right", "density", "lo", "hi", "n"]
    return pd.DataFrame(rows, columns=columns)


def p_values(frame: pd.DataFrame, p: list[float]) -> pd.DataFrame:
    keys = frame[["model", "treatment"]].drop_duplicates()
    return keys.assign(statistic=1.0, p_value=p, largest=0.1, n=900)


@pytest.mark.parametrize(
    "plot",
    [
        plots.calibration_plot(curve(), what="One day ahead"),
        plots.calibration_plot(curve(("OnlyOne",), ("mask",))),
        plots.calibration_plot(curve([f"SeasonalWindowAverage{k}" for k in range(7)])),
        plots.pit_plot(histogram(), p_values(histogram(), [0.001] * 3 + [0.5, 0.02, np.nan])),
        plots.pit_plot(histogram(("OnlyOne",), ("mask",), 20)),
        plots.pit_plot(histogram([f"SeasonalWindowAverage{k}" for k in range(5)], ("ignore",))),
    ],
    ids=["two models", "one line", "seven models", "six histograms", "one", "five, one treatment"],
)
def test_they_are_legible_and_have_alternative_text(plot):
    assert_legible(plot)
    assert len(plot.alt) > 40
    assert plot.png() == plot.png()


def test_the_curve_is_drawn_less_its_nominal_level_in_the_treatment_s_style():
    data = curve().sample(frac=1, random_state=1)
    plot = plots.calibration_plot(data)
    assert len(plot.figure.axes) == 2
    for ax in plot.figure.axes:
        model = ax.get_title(loc="left")
        lines = {to_hex(x.get_color()): x for x in ax.lines if len(x.get_xdata()) == len(LEVELS)}
        assert len(lines) == 3
        for treatment in TREATMENTS:
            part = data[data["model"].eq(model) & data["treatment"].eq(treatment)].sort_values(
                "level"
            )
            line = lines[TREATMENT_COLOUR[treatment].lower()]
            assert np.allclose(line.get_xdata(), LEVELS)
            assert np.allclose(line.get_ydata(), 100 * part["observed"] - part["level"])
            # Two things tell the lines apart without colour.
            assert line.get_linestyle() == TREATMENT_LINE[treatment]
        bars = [c for c in ax.collections if len(c.get_segments())]
        ends = np.vstack([s for c in bars for s in c.get_segments()])
        assert np.allclose(np.ptp(ends.reshape(-1, 2, 2)[:, :, 1], axis=1), 4.0)


def test_the_title_names_the_nearest_and_the_furthest_and_never_rounds_down():
    data = curve()
    gap = 100 * data["observed"] - data["level"]
    worst = gap.abs().groupby([data["model"], data["treatment"]]).max()
    words = words_of(plots.calibration_plot(data))
    assert (
        f"within 1.0 points of nominal at every level for {' '.join(worst.idxmin())}"
        in words.replace("1 point ", "1.0 points ")
    )
    assert " ".join(worst.idxmax()) in words
    shown = float(words.split("within ")[2].split(" points")[0])
    assert worst.max() - 1e-9 <= shown < worst.max() + 0.1
    mask = data.query("model == 'LocalLevel' and treatment == 'mask'")
    assert (
        "coverage lies within 5.0 points of nominal at every level."
        in plots.calibration_plot(mask).alt
    )


def test_the_histogram_is_drawn_bin_by_bin_and_p_values_stand_over_their_panel():
    data = histogram()
    p = [0.001, 0.004, 0.04, 0.2, 0.5, np.nan]
    plot = plots.pit_plot(data.sample(frac=1, random_state=1), p_values(data, p))
    assert len(plot.figure.axes) == 6
    said = {}
    for ax in plot.figure.axes:
        name, test = (t.get_text() for t in ax.texts)
        said[name] = test
        model, treatment = name.split(" ")
        part = data[data["model"].eq(model) & data["treatment"].eq(treatment)]
        assert np.allclose([b.get_height() for b in ax.patches], part["density"])
        assert np.allclose([b.get_x() for b in ax.patches], part["left"])
        (flat,) = [x for x in ax.lines if np.allclose(x.get_ydata(), 1)]
        assert flat is not None
    assert said["LightGBM ignore"] == "p = 0.001"
    assert said["LocalLevel ignore"] == "p = 0.20"
    assert said["LocalLevel censor"] == "no test"
    known = np.array(p[:5])
    rejected = multipletests(known, 0.05, "holm")[0].sum()
    assert f"rejected for {rejected} of 5 forecasts" in words_of(plot)
    assert "(5 %, Holm): LightGBM ignore, LightGBM mask" in words_of(plot)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed):
    p = np.random.default_rng(seed).random(9) ** 3
    assert np.allclose(holm(p), multipletests(p, method="holm")[1])
    with_gap = np.insert(p, 3, np.nan)
    assert np.allclose(np.delete(holm(with_gap), 3), holm(p))
    assert np.isnan(holm(with_gap)[3])


def test_titles_of_histograms_follow_the_tests():
    data = histogram(("LightGBM",))
    assert "rejected for all 3 forecasts" in words_of(
        plots.pit_plot(data, p_values(data, [0.001] * 3))
    )
    assert "rejected for none of 3" in words_of(plots.pit_plot(data, p_values(data, [0.04] * 3)))
    two = words_of(plots.pit_plot(data, p_values(data, [0.001, 0.6, 0.001])))
    assert "rejected for 2 of 3 forecasts (5 %, Holm), not for LightGBM mask" in two
    one = data.query("treatment == 'mask'")
    assert "is not rejected at 5 %" in words_of(plots.pit_plot(one, p_values(one, [0.2])))
    assert "further than 30 %" in words_of(plots.pit_plot(data))


def test_frames_that_cannot_be_drawn_are_named():
    with pytest.raises(CivstatsError, match=r"lacks column.* observed.*calibration_curve"):
        plots.calibration_plot(curve().drop(columns="observed"))
    with pytest.raises(CivstatsError, match="lacks rows"):
        plots.pit_plot(histogram().head(0))
    with pytest.raises(CivstatsError, match="stand there twice, first LightGBM ignore"):
        plots.calibration_plot(pd.concat([curve(), curve().head(1)]))
    data = histogram()
    with pytest.raises(CivstatsError, match=r"1 forecast.* no test, first LocalLevel censor"):
        plots.pit_plot(data, p_values(data, [0.1] * 6).iloc[:5])
