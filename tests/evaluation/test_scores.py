"""evaluate against utilsforecast, scikit-learn and first principles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from utilsforecast import losses

from civstats.evaluation import METRICS, evaluate
from civstats.schema import (
    SCORES,
    CivstatsError,
    Forecast,
    validate_panel,
)
from tests.evaluation.world import make_forecasts, make_panel, perfect, pooled

NAMES = ("A_ignore", "A_mask")


@pytest.fixture(scope="module")
def panel():
    return make_panel()


@pytest.fixture(scope="module")
def forecasts(panel):
    return make_forecasts(panel)


@pytest.fixture(scope="module")
def scores(forecasts, panel):
    return evaluate(forecasts, panel, n_boot=50)


def joined(forecasts, panel, regime):
    frame = forecasts.merge(panel, on=["unique_id", "ds"], how="left")
    if regime == "demand":
        frame["y"] = frame["demand"]
    if regime == "in_stock":
        frame = frame[~frame["is_censored"]]
    return frame.assign(y=frame["y"].astype(float))


def test_the_frame_is_the_contracts(scores, forecasts):
    assert tuple(scores.columns) == SCORES
    assert scores["cutoff"].dtype == "datetime64[ns]"
    assert scores["level"].dtype == float
    assert scores["identified"].dtype == bool
    assert scores["n"].dtype.kind == "i"
    per_cutoff = 1 + forecasts["cutoff"].nunique()
    # Points and intervals in three regimes, a censored pinball in the fourth.
    assert len(scores) == 2 * (3 * (6 + 4 * 2) + 2) * per_cutoff
    assert not scores.duplicated(
        ["model", "treatment", "regime", "metric", "level", "cutoff"]
    ).any()


@pytest.mark.parametrize("regime", ["all_days", "in_stock", "demand"])
@pytest.mark.parametrize("name", NAMES)
def test_point_scores_equal_scikit_learn(scores, forecasts, panel, regime, name):
    frame = joined(forecasts, panel, regime)
    y = frame["y"].to_numpy()
    expect = {
        "wape": mean_absolute_error(y, frame[f"{name}-median"]) / y.mean(),
        "rmse": root_mean_squared_error(y, frame[name]),
        "bias": frame[name].mean() / y.mean() - 1,
    }
    totals = frame.groupby(["unique_id", "cutoff"], observed=True)[["y", name]].sum()
    expect["wape_total"] = mean_absolute_error(totals["y"], totals[name]) / totals["y"].mean()
    for metric, value in expect.items():
        row = pooled(scores, metric, regime, name)
        assert row.value == pytest.approx(value, abs=1e-10)
        assert row.n == (len(totals) if metric == "wape_total" else len(frame))
        assert row.lo <= row.value <= row.hi
        assert row.identified


@pytest.mark.parametrize("regime", ["all_days", "in_stock", "demand"])
def test_scores_of_a_single_series_equal_utilsforecast(forecasts, panel, regime):
    # With a cutoff column utilsforecast would score each window by itself.
    frame = joined(forecasts, panel, regime).drop(columns="cutoff")
    names = list(NAMES)
    medians = frame.drop(columns=names).rename(columns={f"{n}-median": n for n in names})
    nd = losses.nd(medians, names).set_index("unique_id")
    rmse = losses.rmse(frame, names).set_index("unique_id")
    covered = losses.coverage(frame, names, 80).set_index("unique_id")
    for series in ("s000", "s004"):
        only = evaluate(
            forecasts[forecasts["unique_id"] == series], panel, regimes=regime, n_boot=0, level=80
        )
        for name in names:
            assert pooled(only, "wape", regime, name).value == pytest.approx(
                nd.loc[series, name], abs=1e-10
            )
            assert pooled(only, "rmse", regime, name).value == pytest.approx(
                rmse.loc[series, name], abs=1e-10
            )
            assert pooled(only, "coverage", regime, name, 80).value == pytest.approx(
                covered.loc[series, name], abs=1e-10
            )


def test_interval_scores_and_cutoff_rows_against_a_plain_loop(scores, forecasts, panel):
    frame = joined(forecasts, panel, "in_stock")
    for cutoff, part in frame.groupby("cutoff"):
        rows = scores[
            (scores.cutoff == cutoff) & (scores.regime == "in_stock") & (scores.treatment == "mask")
        ].set_index(["metric", "level"])
        for level in (80.0, 95.0):
            inside = [
                lo <= y <= hi
                for y, lo, hi in zip(
                    part["y"],
                    part[f"A_mask-lo-{level:g}"],
                    part[f"A_mask-hi-{level:g}"],
                    strict=True,
                )
            ]
            assert rows.loc[("coverage", level), "value"] == pytest.approx(
                np.mean(inside), abs=1e-12
            )
            width = (part[f"A_mask-hi-{level:g}"] - part[f"A_mask-lo-{level:g}"]).mean()
            assert rows.loc[("width", level), "value"] == pytest.approx(width, abs=1e-10)
            assert rows.loc[("width", level), "n"] == len(part)
        bias = part["A_mask"].sum() / part["y"].sum() - 1
        value = scores[
            (scores.cutoff == cutoff)
            & (scores.regime == "in_stock")
            & (scores.treatment == "mask")
            & (scores.metric == "bias")
        ]["value"]
        assert value.item() == pytest.approx(bias, abs=1e-10)


def test_overlapping_windows_and_ragged_starts_are_scored_whole(panel):
    forecasts = make_forecasts(panel, h=10, step=3, n_windows=3)
    # A series launched before the last cutoff only: it has no earlier windows.
    last = forecasts["cutoff"].max()
    forecasts = forecasts[(forecasts["unique_id"] != "s002") | (forecasts["cutoff"] == last)]
    scores = evaluate(forecasts, panel, n_boot=30)
    frame = joined(forecasts, panel, "demand")
    row = pooled(scores, "bias", "demand")
    assert row.value == pytest.approx(frame["A_mask"].sum() / frame["y"].sum() - 1, abs=1e-10)
    assert row.n == len(forecasts)


def test_same_seed_same_bytes_and_rows_in_any_order(scores, forecasts, panel):
    shuffled = forecasts.sample(frac=1, random_state=3)
    shuffled["unique_id"] = shuffled["unique_id"].astype(str)
    before = shuffled.copy()
    again = evaluate(shuffled, panel, n_boot=50)
    pd.testing.assert_frame_equal(again, scores, check_exact=True)
    pd.testing.assert_frame_equal(shuffled, before)
    other = evaluate(forecasts, panel, n_boot=50, seed=1)
    pd.testing.assert_series_equal(other["value"], scores["value"], check_exact=True)
    assert (other["lo"] != scores["lo"]).any()


def test_days_outside_the_windows_and_other_series_do_not_matter(scores, forecasts, panel):
    more = make_panel(9, 60, seed=5).assign(unique_id=lambda f: "t" + f["unique_id"].astype(str))
    changed = panel.assign(y=np.where(panel["ds"] < forecasts["ds"].min(), 99, panel["y"]))
    changed = validate_panel(pd.concat([changed.astype({"unique_id": str}), more]))
    again = evaluate(forecasts, changed, n_boot=50)
    # What is in units of a series' own past changes moves with that past, and nothing else does.
    scaled = scores["metric"].isin(["mase", "rmsse"]).to_numpy()
    pd.testing.assert_frame_equal(again[~scaled], scores[~scaled], check_exact=True)
    sales = scaled & (scores["regime"] == "all_days").to_numpy()
    assert (again.loc[sales, "value"] != scores.loc[sales, "value"]).any()


def test_perfect_forecasts(forecasts, panel):
    for target, regime in (("y", "all_days"), ("y", "in_stock"), ("demand", "demand")):
        scores = evaluate(perfect(forecasts, panel, target), panel, regimes=regime, n_boot=20)
        value = scores.set_index("metric")["value"]
        assert (value.drop("coverage") == 0).all()
        assert (value["coverage"] == 1).all()
        assert (scores["lo"] == scores["hi"]).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rate=st.floats(0.05, 0.9))
def test_all_day_squared_error_is_its_in_stock_and_stockout_parts(seed, rate):
    panel = make_panel(3, 30, seed=seed, out_rate=rate)
    forecasts = make_forecasts(panel, ("A_mask",), seed=seed)
    scores = evaluate(forecasts, panel, metrics="rmse", regimes=["all_days", "in_stock"], n_boot=0)
    whole, part = (pooled(scores, "rmse", r) for r in ("all_days", "in_stock"))
    frame = joined(forecasts, panel, "all_days")
    out = frame[frame["is_censored"]]
    rest = np.square(out["A_mask"] - out["y"]).sum()
    inside = 0.0 if part.n == 0 else part.n * part.value**2
    assert whole.n == part.n + len(out)
    assert whole.n * whole.value**2 == pytest.approx(inside + rest, rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([0.25, 0.5, 4.0, 16.0]))
def test_relative_scores_do_not_depend_on_the_unit(seed, scale):
    panel = make_panel(3, 30, seed=seed)
    forecasts = make_forecasts(panel, ("A_mask",), seed=seed)
    values = ["y", "demand", "demand_mean"]
    bigger = panel.assign(**{c: panel[c] * scale for c in values})
    keys = ["unique_id", "ds", "cutoff"]
    scaled = forecasts[keys].join(forecasts.drop(columns=keys) * scale)
    one = evaluate(forecasts, panel, n_boot=5)
    two = evaluate(scaled, bigger, n_boot=5)
    unit = one["metric"].isin(["rmse", "width", "winkler", "pinball"]).to_numpy()
    for column in ("value", "lo", "hi"):
        expect = one[column].to_numpy() * np.where(unit, scale, 1)
        np.testing.assert_allclose(two[column], expect, rtol=1e-9, atol=1e-12)


def test_a_window_wholly_out_of_stock_is_undefined_never_zero(panel, forecasts):
    cutoffs = sorted(forecasts["cutoff"].unique())
    out = (panel["ds"] > cutoffs[0]) & (panel["ds"] <= cutoffs[1])
    dark = panel.assign(
        is_censored=panel["is_censored"] | out, y=panel["y"].where(~out, 0).astype("float32")
    )
    scores = evaluate(forecasts, dark, n_boot=30)
    rows = scores[scores["cutoff"] == cutoffs[0]]
    hit = rows[rows["regime"] == "in_stock"]
    assert (hit["note"] != "").all()
    assert len(hit)
    assert hit[["value", "lo", "hi"]].isna().all().all()
    assert not hit["identified"].any()
    assert (hit["n"] == 0).all()
    # Sales are 0 there whatever was asked for; only the width needs no truth.
    whole = rows[rows["regime"] == "all_days"].set_index("metric")
    assert whole.drop("width")["value"].isna().all()
    assert not whole.drop("width")["identified"].any()
    assert whole.loc["width", "identified"].all()
    pooled_rows = scores[scores["cutoff"].isna() & (scores["regime"] != "censored")]
    assert pooled_rows["identified"].all()


def test_expected_bias_is_the_true_means_own_score(panel, forecasts):
    truth = forecasts[["unique_id", "ds", "cutoff"]].merge(
        panel[["unique_id", "ds", "demand_mean"]], on=["unique_id", "ds"]
    )
    truth["Truth_mask"] = truth.pop("demand_mean").astype(float)
    scores = evaluate(truth, panel, metrics="bias", level=None, n_boot=0)
    assert (scores["value"].abs() > 1e-3).any()
    np.testing.assert_allclose(scores["expected"], scores["value"], atol=1e-12)
    unknown = evaluate(truth, panel.drop(columns="demand_mean"), metrics="bias", n_boot=0)
    assert unknown["expected"].isna().all()


def test_expected_coverage_comes_from_the_models_own_paths(panel, forecasts):
    rng = np.random.default_rng(3)
    forecasts = forecasts.assign(A_mask=4.0)
    name, handed = "A_mask", []
    total = 0.0
    for cutoff, part in forecasts.groupby("cutoff"):
        ids, days = np.array(sorted(part["unique_id"].unique()))[::-1], np.sort(part["ds"].unique())
        draws = rng.poisson(4.0, (len(ids), 200, len(days))).astype(float)
        paths = xr.DataArray(
            draws, dims=("unique_id", "sample", "ds"), coords={"unique_id": ids, "ds": days}
        )
        columns = ["unique_id", "ds", "cutoff", *[c for c in part if c.startswith(name)]]
        handed.append(Forecast(part[columns], "A", "mask", (80.0, 95.0), paths=paths))
        for row in part.itertuples(index=False):
            row = dict(zip(part.columns, row, strict=True))
            own = paths.sel(unique_id=row["unique_id"], ds=row["ds"]).to_numpy()
            total += np.mean((own >= row["A_mask-lo-80"]) & (own <= row["A_mask-hi-80"]))
        assert cutoff in set(forecasts["cutoff"])
    scores = evaluate(forecasts, panel, n_boot=0, predictive=handed)
    row = pooled(scores, "coverage", "demand", name, 80)
    assert row.expected == pytest.approx(total / len(forecasts), abs=1e-12)
    # Sales are cut by stock, which these paths do not hold; the other model handed none.
    assert np.isnan(pooled(scores, "coverage", "all_days", name, 80).expected)
    assert np.isnan(pooled(scores, "coverage", "demand", "A_ignore", 80).expected)
    partial = evaluate(forecasts, panel, n_boot=0, predictive=handed[:1])
    assert np.isnan(pooled(partial, "coverage", "demand", name, 80).expected)


def test_every_metric_of_the_table_is_scored(scores):
    without = {name for name, m in METRICS.items() if not m.needs & {"family", "distribution"}}
    assert set(scores["metric"]) == without


def test_a_window_wholly_out_is_undefined_in_every_score():
    """Forecast 0, sales 0, nothing in stock: an error of 0 would be a hollow one."""
    days = pd.date_range("2024-01-01", periods=60)
    rng = np.random.default_rng(0)
    y = rng.poisson(3.0, 60).astype(float)
    out = np.arange(60) >= 46
    panel = validate_panel(
        pd.DataFrame(
            {"unique_id": "a", "ds": days, "y": np.where(out, 0.0, y), "is_censored": out,
             "stock": np.where(out, 0.0, 50.0)}
        )
    )  # fmt: skip
    columns = ["M_mask", "M_mask-median", "M_mask-lo-80", "M_mask-hi-80"]
    frame = pd.DataFrame({"unique_id": "a", "ds": days[46:], "cutoff": days[45]})
    scores = evaluate(frame.assign(**dict.fromkeys(columns, 0.0)), panel, level=80, n_boot=0)
    scores = scores[scores["metric"] != "width"]
    assert {"all_days", "in_stock"} <= set(scores["regime"])
    assert scores["value"].isna().all()
    assert not scores["identified"].any()
    assert (scores["note"] != "").all()
    whole = scores[(scores["regime"] == "all_days") & (scores["metric"] == "mase")]
    assert whole["note"].str.contains("every day is out from the start").all()


@pytest.mark.parametrize("length", [0, -1, 1.5, True])
def test_a_season_is_a_whole_number_of_periods(panel, forecasts, length):
    with pytest.raises(CivstatsError, match="season_length must be a whole number"):
        evaluate(forecasts, panel, n_boot=0, season_length=length)
