"""PIT, its histogram and test, and coverage by level, for models that are right and wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.evaluation.calibration import (
    calibration_curve,
    pit,
    pit_histogram,
    pit_uniformity,
)
from civstats.schema import CivstatsError
from tests.evaluation.test_censored import DAYS, MEAN, SIZE, capped_panel, forecasts_of


@pytest.fixture(scope="module")
def panel():
    return capped_panel(80)


def transform(panel, mean, regime, **more):
    frame, handed = forecasts_of(panel, mean, "M_censor", DAYS, 1)
    return pit(frame, panel, handed, regime=regime, seed=1, **more)


def test_the_true_model_is_uniform_where_it_should_be_and_not_in_stock(panel):
    for regime in ("demand", "censored"):
        values = transform(panel, MEAN, regime)
        assert stats.kstest(values["pit"], "uniform").pvalue > 0.01
        assert pit_uniformity(values)["p_value"].item() > 0.05
    for regime in ("in_stock", "all_days"):
        values = transform(panel, MEAN, regime)
        assert stats.kstest(values["pit"], "uniform").pvalue < 1e-4
        assert pit_uniformity(values)["p_value"].item() < 0.01


def test_a_wrong_mean_is_found_through_the_bounds(panel):
    values = transform(panel, 0.7 * MEAN, "censored")
    test = pit_uniformity(values).iloc[0]
    assert test["p_value"] < 0.01
    bars = pit_histogram(values)
    # Too low a forecast piles the truth up at the top.
    assert bars["density"].iloc[-1] > 1.3 > bars["density"].iloc[0]
    assert test["largest"] == pytest.approx(np.abs(bars["density"] - 1).max())
    curve = calibration_curve(values).set_index("level")
    assert curve.loc[80, "hi"] < 0.8


def test_an_empty_bin_is_evidence(panel):
    values = transform(panel, 10 * MEAN, "demand")
    assert (pit_histogram(values)["density"] == 0).any()
    test = pit_uniformity(values).iloc[0]
    assert test["p_value"] < 0.01
    assert np.isfinite(test["statistic"])


def test_days_that_say_nothing_have_no_place_in_the_histogram(panel):
    """All out and nothing sold: every forecast would look calibrated."""
    out = panel.assign(y=0.0, is_censored=True, stock=0.0)
    with pytest.raises(CivstatsError, match="say nothing"):
        transform(out, 10 * MEAN, "censored")


def test_frames_name_their_regime_and_keep_regimes_apart(panel):
    parts = {r: transform(panel, MEAN, r) for r in ("in_stock", "censored")}
    for regime, values in parts.items():
        assert set(values["regime"]) == {regime}
    both = pd.concat(parts.values(), ignore_index=True)
    for maker in (pit_histogram, pit_uniformity, calibration_curve):
        apart = pd.concat([maker(v, n_boot=50) for v in parts.values()], ignore_index=True)
        pd.testing.assert_frame_equal(maker(both, n_boot=50), apart)
        assert apart.columns[0] == "regime"
        # Frames of other makers need not have the column.
        bare = maker(parts["censored"].drop(columns="regime"), n_boot=50)
        pd.testing.assert_frame_equal(
            bare, maker(parts["censored"], n_boot=50).drop(columns="regime")
        )


def test_values_lie_between_the_distribution_functions(panel):
    values = transform(panel, MEAN, "censored")
    held = values.merge(panel, on=["unique_id", "ds"])
    law = stats.nbinom(SIZE, SIZE / (SIZE + MEAN))
    under = law.cdf(held["y"] - 1)
    upper = np.where(held["is_censored"], 1.0, law.cdf(held["y"]))
    assert ((held["pit"] >= under - 1e-12) & (held["pit"] <= upper + 1e-12)).all()
    again = transform(panel, MEAN, "censored")
    pd.testing.assert_frame_equal(again, values, check_exact=True)


def test_histogram_and_curve_are_counts_of_the_values(panel):
    values = transform(panel, MEAN, "demand")
    bars = pit_histogram(values, bins=4, n_boot=20)
    expect = np.histogram(values["pit"], bins=np.linspace(0, 1, 5))[0] / len(values) * 4
    np.testing.assert_allclose(bars["density"], expect, rtol=1e-12)
    curve = calibration_curve(values, levels=(50, 80, 95), n_boot=20)
    for level, observed in zip(curve["level"], curve["observed"], strict=True):
        tail = (1 - level / 100) / 2
        inside = (values["pit"] >= tail) & (values["pit"] < 1 - tail)
        assert observed == pytest.approx(inside.mean(), abs=1e-12)
    assert (curve["lo"] < curve["observed"]).all()
    assert (curve["hi"] > curve["observed"]).all()


@pytest.mark.parametrize("seed", range(3))
def test_days_that_series_share_do_not_reject_a_calibrated_model(seed):
    """Uniform over worlds, but every day lifts all series together: no evidence of a misfit."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=28)
    common = rng.normal(size=28)
    own = rng.normal(size=(200, 28))
    u = stats.norm.cdf(np.sqrt(0.5) * common + np.sqrt(0.5) * own)
    values = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(200)], 28),
            "ds": np.tile(days, 200),
            "cutoff": days[0] - pd.Timedelta(1, "D"),
            "model": "M",
            "treatment": "mask",
            "pit": u.ravel(),
        }
    )
    assert stats.kstest(values["pit"], "uniform").pvalue < 0.05  # what independence would say
    assert pit_uniformity(values, seed=seed)["p_value"].item() > 0.05


def test_what_cannot_be_had_is_refused(panel):
    frame, handed = forecasts_of(panel, MEAN, "M_censor", DAYS, 1)
    with pytest.raises(CivstatsError, match="no model has marginals"):
        pit(frame, panel, [])
    with pytest.raises(CivstatsError, match=r"row\(s\) without a distribution \(first M"):
        pit(frame, panel, handed[:2])
    far, ahead = forecasts_of(panel, MEAN, "M_censor", DAYS[:1], 7)
    with pytest.raises(CivstatsError, match="not proper here"):
        pit(far, panel, ahead, regime="censored")
    assert len(pit(far, panel, ahead, regime="censored", stock_independent=True)) == len(far)
    with pytest.raises(CivstatsError, match="no whole numbers"):
        pit(frame, panel.assign(y=panel["y"] + np.float32(0.5)), handed)
    with pytest.raises(CivstatsError, match="bins"):
        pit_histogram(pit(frame, panel, handed), bins=1)
    with pytest.raises(CivstatsError, match="no PIT values"):
        pit_histogram(pit(frame, panel, handed).iloc[:0])
