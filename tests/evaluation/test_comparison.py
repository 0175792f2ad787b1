"""Paired differences and the table of naive against true scores."""

from __future__ import annotations

import numpy as np
import pytest

from civstats.evaluation import compare, evaluate, naive_against_truth
from civstats.schema import CivstatsError, ForecastError
from tests.evaluation.world import make_forecasts, make_panel, pooled


@pytest.fixture(scope="module")
def panel():
    return make_panel(40, 60)


@pytest.fixture(scope="module")
def forecasts(panel):
    frame = make_forecasts(panel, ("A_mask",))
    columns = [c for c in frame if c.startswith("A_mask")]
    # A treatment that is the other one, a tenth higher: nearly all noise is shared.
    return frame.assign(**{c.replace("mask", "ignore"): frame[c] * 1.1 for c in columns})


def test_the_difference_is_that_of_the_scores_and_its_interval_is_paired(panel, forecasts):
    scores = evaluate(forecasts, panel, seed=3)
    a, b = (pooled(scores, "bias", "demand", n) for n in ("A_ignore", "A_mask"))
    gap = compare(forecasts, panel, "A_ignore", "A_mask", "bias", "demand", seed=3)
    assert gap.value == pytest.approx(a.value - b.value, abs=1e-12)
    assert (gap.value_a, gap.value_b) == (a.value, b.value)
    assert gap.lo < gap.value < gap.hi
    # Apart, the intervals overlap; the pair's difference is certain.
    assert b.hi > a.lo
    assert gap.hi - gap.lo < 0.2 * (a.hi - a.lo)
    assert gap.decided
    back = compare(forecasts, panel, "A_mask", "A_ignore", "bias", "demand", seed=3)
    assert (back.value, back.lo, back.hi) == pytest.approx((-gap.value, -gap.hi, -gap.lo))


def test_all_days_minus_in_stock(panel, forecasts):
    scores = evaluate(forecasts, panel, seed=3)
    whole, part = (pooled(scores, "wape", r) for r in ("all_days", "in_stock"))
    gap = compare(forecasts, panel, "A_mask", "A_mask", "wape", ("all_days", "in_stock"), seed=3)
    assert gap.value == pytest.approx(whole.value - part.value, abs=1e-12)
    assert gap.regimes == ("all_days", "in_stock")


def test_absolute_bias(panel, forecasts):
    keys = ["unique_id", "ds", "cutoff"]
    truth = forecasts[keys].merge(panel[["unique_id", "ds", "demand_mean"]])
    mean = truth.pop("demand_mean").astype(float)
    truth = truth.assign(A_mask=mean * 0.7, A_ignore=mean * 1.1)
    signed = compare(truth, panel, "A_mask", "A_ignore", "bias", "demand")
    size = compare(truth, panel, "A_mask", "A_ignore", "bias", "demand", absolute=True)
    assert signed.hi < 0 < size.lo
    assert size.value == pytest.approx(abs(size.value_a) - abs(size.value_b))


def test_distance_of_a_bias_is_from_what_a_perfect_forecast_shows(panel, forecasts):
    keys = ["unique_id", "ds", "cutoff"]
    truth = forecasts[keys].merge(panel[["unique_id", "ds", "demand_mean"]])
    mean = truth.pop("demand_mean").astype(float)
    # On all days sales fall short of demand: the true mean shows some +18 %, 0.85 of it none.
    truth = truth.assign(A_mask=mean, A_ignore=mean * 0.85)
    plain = compare(truth, panel, "A_mask", "A_ignore", "bias", "all_days")
    assert plain.value_a > 0.1 > abs(plain.value_b)
    assert np.isnan(plain.from_a)
    assert plain.note == ""
    gap = compare(truth, panel, "A_mask", "A_ignore", "bias", "all_days", absolute=True)
    assert gap.from_a == gap.from_b == pytest.approx(plain.value_a, abs=1e-12)
    assert gap.value_a == pytest.approx(0, abs=1e-12)
    assert gap.value < -0.15
    assert gap.note.startswith(
        f"A_mask in all_days: measured from {plain.value_a:+.1%}, what a perf"
    )
    blind = panel.drop(columns="demand_mean")
    zero = compare(truth, blind, "A_mask", "A_ignore", "bias", "all_days", absolute=True)
    assert (zero.from_a, zero.from_b) == (0, 0)
    assert zero.value > 0.1
    assert zero.note.endswith(
        "A_ignore in all_days: measured from +0.0%, what one shows is not known"
    )
    wide = compare(forecasts, panel, "A_ignore", "A_mask", "coverage", "demand", level=80,
                   absolute=True)  # fmt: skip
    plain = compare(forecasts, panel, "A_ignore", "A_mask", "coverage", "demand", level=80)
    assert wide.from_a == 0.8
    assert wide.value_a == pytest.approx(abs(plain.value_a - 0.8))


def test_interval_metrics_and_the_same_twice(panel, forecasts):
    gap = compare(forecasts, panel, "A_mask", "A_mask", "coverage", "demand", level=80)
    assert (gap.value, gap.lo, gap.hi, gap.decided) == (0, 0, 0, False)
    gap = compare(forecasts, panel, "A_ignore", "A_mask", "width", "demand", level=80)
    assert gap.value == pytest.approx(0.1 * gap.value_b)


def test_refusals(panel, forecasts):
    with pytest.raises(ForecastError, match="no forecast column B_mask; there are A_mask"):
        compare(forecasts, panel, "B_mask", "A_mask")
    with pytest.raises(CivstatsError, match="need a level"):
        compare(forecasts, panel, "A_ignore", "A_mask", "width")
    with pytest.raises(CivstatsError, match="one name or a pair"):
        compare(forecasts, panel, "A_ignore", "A_mask", "rmse", ("all_days",))


def test_the_killer_table(panel, forecasts):
    scores = evaluate(forecasts, panel, n_boot=30)
    table = naive_against_truth(scores)
    assert table[["model", "treatment"]].values.tolist() == [["A", "mask"], ["A", "ignore"]]
    for _, row in table.iterrows():
        for regime in ("all_days", "in_stock", "demand"):
            want = pooled(scores, "bias", regime, f"A_{row.treatment}")
            got = row[[regime, f"{regime}_lo", f"{regime}_hi", f"{regime}_expected"]]
            assert got.tolist() == [want.value, want.lo, want.hi, want.expected]
            assert row[f"{regime}_note"] == want.note
    covered = naive_against_truth(scores, "coverage", 95)
    assert covered["demand"].iloc[0] == pooled(scores, "coverage", "demand", level=95).value
    real = naive_against_truth(scores[scores["regime"] != "demand"], "wape")
    assert not any(c.startswith("demand") for c in real)
    assert np.isfinite(real["in_stock"]).all()
    with pytest.raises(CivstatsError, match="no pooled row of metric 'coverage'"):
        naive_against_truth(scores, "coverage")
