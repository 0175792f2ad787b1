"""Figures of the decision: levers, cumulative value, reliability; what they say is what they are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats import plots
from civstats.schema import CivstatsError
from tests.test_plots import assert_legible, words_of

LEVERS = pd.DataFrame(
    {
        "name": ["20 % of stockout days averted", "orders arrive the next day and are placed daily", "$\\frac$ <b>"],
        "value_mean": [10.0, 40.0, -2.0],
        "value_p10": [4.0, 18.0, -5.0],
        "value_p90": [19.0, 70.0, 1.0],
        "gross_mean": [20.0, 81.0, 3.0],
    }
)  # fmt: skip
CURVE = pd.DataFrame({"n": range(1, 41), "mean": np.sqrt(np.arange(1, 41))}).assign(
    p10=lambda d: d["mean"] / 2, p90=lambda d: d["mean"] * 2
)


def curve(shift: float = 0.0, n: int = 400) -> pd.DataFrame:
    p = np.array([0.03, 0.1, 0.3, 0.6])
    return pd.DataFrame(
        {"expected": p, "observed": p + shift, "half": [0.02, 0.03, np.nan, 0.1], "n": [n, n, n, 5]}
    )


@pytest.mark.parametrize(
    "plot",
    [
        plots.lever_values(LEVERS, currency="$"),
        plots.lever_values(LEVERS.head(1)),
        plots.cumulative_value(CURVE, 10),
        plots.cumulative_value(CURVE.head(1), 1, currency=""),
        plots.stockout_reliability({"Logit, one day ahead": curve(), "Chain, all days ahead": curve(0.1)}),
        plots.stockout_reliability({"only": curve(n=3)}, subtitle="Held out."),
    ],
    ids=["levers", "one lever", "curve", "one series", "two models", "few days"],
)  # fmt: skip
def test_they_are_legible_and_have_alternative_text(plot):
    assert_legible(plot)
    assert len(plot.alt) > 40


def test_the_levers_are_said_with_their_bands():
    plot = plots.lever_values(LEVERS, currency="$", period="28 days")
    assert "20 % of stockout days averted: $10.0 net in 28 days; orders arrive" in plot.alt
    assert "$ in 28 days" in words_of(plot)
    assert "orders arrive the next day and are placed daily $40.0 ($18.0 to $70.0)" in plot.alt
    with pytest.raises(CivstatsError, match="gross_mean"):
        plots.lever_values(LEVERS.drop(columns="gross_mean"))
    with pytest.raises(CivstatsError, match="no rows"):
        plots.lever_values(LEVERS.head(0))


def test_the_curve_says_what_the_first_hold():
    plot = plots.cumulative_value(CURVE, 10)
    # sqrt(10) of sqrt(40) is a half, reached with ten.
    assert "first 10 of 40 series hold 50 %" in plot.alt
    assert "half of it is reached with 10" in plot.alt
    nothing = plots.cumulative_value(CURVE.assign(mean=-1.0, p10=-2.0, p90=0.0), 3)
    assert "No series is worth acting on" in nothing.alt
    with pytest.raises(CivstatsError, match="1 to 40"):
        plots.cumulative_value(CURVE, 41)


def test_reliability_weighs_bins_by_their_days_and_leaves_out_few():
    off = plots.stockout_reliability({"Chain": curve(0.1)})
    assert "differ by 10.0 points" in off.alt
    assert "as often as they were said to" in plots.stockout_reliability({"Chain": curve()}).alt
    drawn = off.figure.axes[0].collections[-1].get_offsets()
    assert len(drawn) == 3
    with pytest.raises(CivstatsError, match="at least one model"):
        plots.stockout_reliability({})
    with pytest.raises(CivstatsError, match="Chain lacks"):
        plots.stockout_reliability({"Chain": curve().drop(columns="half")})
