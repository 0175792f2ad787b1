"""The ablation's figures: what is drawn is what was handed in, and the text says it too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.plots.ablation import Example, ablation, treatments_side_by_side
from civstats.schema import CivstatsError


def example(name: str = "a", labels: tuple[str, ...] = ("raw", "bounds")) -> Example:
    days = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=6)})
    days["y"] = [1.0, 2, 0, 3, 1, 0]
    days["demand"] = [1.0, 2, 5, 3, 1, 7]
    days["is_censored"] = days["demand"] > days["y"]
    band = days[["ds"]].tail(3).assign(mean=2.0, lo=1.0, hi=3.0).reset_index(drop=True)
    wide = band.assign(hi=7.0)
    return Example(name, days, dict(zip(labels, (band, wide), strict=False)))


def test_every_panel_counts_the_days_its_band_holds() -> None:
    plot = treatments_side_by_side([example("a"), example("b")], 80, "A title", "Below it")
    assert len(plot.figure.axes) == 4
    found = [ax.get_title(loc="right") for ax in plot.figure.axes]
    assert found == [f"demand inside on {k} of 3 days" for k in (2, 3, 2, 3)]
    assert "a, raw: 2 of 3 days ahead inside" in plot.alt
    assert "b, bounds: 3 of 3 days ahead inside" in plot.alt
    for ax in plot.figure.axes:
        (lost,) = [x for x in ax.lines if x.get_marker() == "o"]
        np.testing.assert_array_equal(lost.get_ydata(), [5.0, 7.0])
        assert ax.get_ylim()[1] > 7


def test_examples_that_do_not_fit_are_refused() -> None:
    with pytest.raises(CivstatsError, match="1 to 4 examples"):
        treatments_side_by_side([], 80, "t", "s")
    with pytest.raises(CivstatsError, match="the same labels"):
        treatments_side_by_side([example(), example("b", ("raw", "other"))], 80, "t", "s")


def table() -> pd.DataFrame:
    keys = [(w, m, k) for w in ("x", "y") for m in ("bias", "crps") for k in ("raw", "truth")]
    out = pd.DataFrame(keys, columns=["world", "metric", "label"])
    out["kind"] = np.where(out["label"] == "raw", "DeepAR", "oracle")
    out["value"] = np.linspace(-0.3, 0.4, len(out))
    return out.assign(lo=out["value"] - 0.05, hi=out["value"] + 0.05)


def test_every_score_is_a_dot_and_is_said() -> None:
    frame = table()
    marks = {"bias": {"x": (0.0, 0.05), "y": (0.0, 0.05)}}
    panels = {"bias": "bias, %", "crps": "CRPS"}
    plot = ablation(frame, panels, "A title", "Below it", marks=marks)
    assert len(plot.figure.axes) == 4
    order = [("bias", "x"), ("bias", "y"), ("crps", "x"), ("crps", "y")]
    for ax, (metric, world) in zip(plot.figure.axes, order, strict=True):
        part = frame[(frame["metric"] == metric) & (frame["world"] == world)]
        dots = [x for x in ax.lines if x.get_marker() in ("o", "D")]
        np.testing.assert_allclose([d.get_xdata()[0] for d in dots], part["value"])
        assert len(ax.patches) == (1 if metric == "bias" else 0)
        low, high = ax.get_xlim()
        assert low < part["lo"].min() < part["hi"].max() < high
    assert "x, bias, %: raw −30 %, truth −20 %" in plot.alt


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(CivstatsError, match="the table lacks world"):
        ablation(table().drop(columns="world"), {"bias": "bias"}, "t", "s", marks={})
