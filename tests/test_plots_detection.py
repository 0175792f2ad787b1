"""The detection figures draw the numbers they are given and refuse what they cannot draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.plots.detection import (
    detection_curves,
    detection_reliability,
    excess_departments,
    excess_examples,
)
from civstats.schema import CivstatsError

GRID = np.linspace(0, 0.5, 11)


def curves() -> pd.DataFrame:
    powers = {"DemandFilter": 0.4, "zero run": 0.6, "zero run, near rate": 0.7, "other": 0.1}
    return pd.DataFrame(
        [
            (m, v, d, x, x**p)
            for m in ("random", "inventory")
            for v in ("fast", "slow")
            for d, p in powers.items()
            for x in GRID
        ],
        columns=["mechanism", "movers", "detector", "false_alarms", "found"],
    )


def test_a_panel_per_mechanism_and_mover_with_the_curves_given():
    plot = detection_curves(curves().sample(frac=1, random_state=0), "Title.", "Below.", most=0.3)
    assert len(plot.figure.axes) == 4
    for ax in plot.figure.axes:
        drawn = [x for x in ax.lines if len(x.get_xdata()) == 7]
        assert len(drawn) == 3
        for line, power in zip(drawn, (0.4, 0.6, 0.7), strict=True):
            np.testing.assert_allclose(line.get_xdata(), GRID[:7])
            np.testing.assert_allclose(line.get_ydata(), GRID[:7] ** power)
    assert len(plot.png()) > 10_000


def test_reliability_has_a_line_per_rate():
    p = np.array([0.1, 0.4, 0.9])
    rows = pd.concat(
        pd.DataFrame(
            {"mechanism": "random", "movers": "fast", "rate": r, "p_out": p, "out": p * (1 - r)}
        )
        for r in (0.05, 0.15)
    )
    rows = rows.assign(lo=rows["out"] - 0.05, hi=rows["out"] + 0.05)
    ax = detection_reliability(rows, "Title.", "Below.").figure.axes[0]
    lines = [x for x in ax.lines if len(x.get_xdata()) == 3]
    np.testing.assert_allclose([x.get_ydata() for x in lines], [p * 0.95, p * 0.85])


def test_departments_and_examples_are_drawn():
    table = pd.DataFrame(
        {
            "sample": ["CA_1", "CA_1", "all stores"], "department": ["F", "all", "F"],
            "out": [0.1, 0.15, 0.12], "lo": [0.08, 0.12, 0.1], "hi": [0.12, 0.2, 0.14],
        }
    )  # fmt: skip
    ax = excess_departments(table, "Title.", "Below.").figure.axes[0]
    assert [x.get_text() for x in ax.get_yticklabels()] == ["F", "all"]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.1, 0.15])
    days = pd.date_range("2024-01-01", periods=60)
    series = pd.concat(
        pd.DataFrame({"unique_id": k, "ds": days, "y": 2.0, "p_out": np.r_[np.nan, np.zeros(59)]})
        for k in ("a$1", "b")
    )
    plot = excess_examples(series, "Title.", "Below.", last=50)
    assert [ax.get_title(loc="left") for ax in plot.figure.axes] == ["a$1", "b"]
    assert len(plot.png()) > 10_000


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(CivstatsError, match="lacks column"):
        detection_curves(curves().drop(columns="found"), "T", "S")
    with pytest.raises(CivstatsError, match="no rows"):
        detection_curves(curves().iloc[:0], "T", "S")
    many = pd.DataFrame(
        {"unique_id": [f"s{i}" for i in range(11)], "ds": pd.Timestamp("2024-01-01"), "y": 1.0, "p_out": 0.0}
    )  # fmt: skip
    with pytest.raises(CivstatsError, match="1 to 10 series"):
        excess_examples(many, "T", "S")
