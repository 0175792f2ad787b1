"""The recovery study: its oracle, its broken worlds, its tables, and what its command leaves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.data.synthetic import make_panel
from civstats.schema import SCORES, CivstatsError, validate_panel
from civstats.stockouts.simulate import simulate_stockouts

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"
FILES = {
    "report.html", "report.md", "figures", "scores.csv", "recovery.csv", "breaks.csv",
    "forecasts.parquet", "manifest.json",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ANALYSES))
    yield
    sys.path.remove(str(ANALYSES))


@pytest.fixture(scope="module")
def demand():
    return make_panel(n_series=10, n_days=160, seed=3)


def test_the_oracle_has_the_labels_of_demand_and_the_features_of_the_treatment(demand):
    from recovery_worlds import OracleLags

    from civstats.models.boosting import LightGBM

    short = simulate_stockouts(demand, mechanism="inventory", rate=0.3, seed=1)
    history = validate_panel(short[short["ds"] <= short["ds"].max() - pd.Timedelta(days=14)])
    small = {"treatment": "censor", "n_rounds": 5, "h": 7, "num_threads": 1, "max_rows": 3000}
    plain, oracle = LightGBM(**small).fit(history), OracleLags(demand, **small).fit(history)
    # The same lags at the origin, to the last bit; other labels behind the residuals.
    np.testing.assert_array_equal(plain._now._steady, oracle._now._steady)
    assert plain._bound.any()
    assert not oracle._bound.any()
    assert np.nansum(oracle._actual) > np.nansum(plain._actual)
    grid = oracle._targets()
    true = demand[demand["ds"] <= history["ds"].max()]["y"].sum()
    assert np.nansum(grid.y) == true


def test_the_oracle_never_sees_the_scored_days(demand):
    from recovery_worlds import OracleLags

    short = simulate_stockouts(demand, mechanism="inventory", rate=0.3, seed=1)
    cutoff = short["ds"].max() - pd.Timedelta(days=14)
    history = validate_panel(short[short["ds"] <= cutoff])
    later = demand["ds"] > cutoff
    other = demand.assign(y=demand["y"].where(~later, 99.0).astype("float32"))
    future = demand.loc[later, ["unique_id", "ds"]]
    known = demand[later].drop(columns=["y", "demand", "demand_mean"])
    small = {"treatment": "censor", "n_rounds": 5, "h": 14, "num_threads": 1, "max_rows": 3000}
    found = [
        OracleLags(truth, **small).fit(history).predict(known, n_paths=0).frame
        for truth in (demand, other)
    ]
    assert len(found[0]) == len(future)
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize("kind", ["missed", "false", "unrecorded"])
def test_no_severity_no_break_and_worse_holds_better(demand, kind):
    from recovery_breaks import broken

    sound = simulate_stockouts(demand, mechanism="inventory", rate=0.3, seed=1)
    none, some, much = (broken(demand, kind, s, rate=0.3, seed=1) for s in (0.0, 0.1, 0.4))
    assert "stock" not in none.columns
    np.testing.assert_array_equal(none["y"], sound["y"])
    np.testing.assert_array_equal(none["is_censored"], sound["is_censored"])
    column = "y" if kind == "unrecorded" else "is_censored"
    hit_some, hit_much = (x[column] != none[column] for x in (some, much))
    assert hit_some.any()
    assert (hit_much | ~hit_some).all()
    flag = none["is_censored"]
    assert not hit_much[~flag if kind in ("missed", "unrecorded") else flag].any()
    if kind != "unrecorded":
        of = flag if kind == "missed" else ~flag
        assert hit_much[of].mean() == pytest.approx(0.4, abs=0.06)


def test_part_day_outages_as_flags_and_as_shares_are_the_same_days(demand):
    from recovery_breaks import broken

    flagged = broken(demand, "clock", 0.3, rate=0.3, seed=1)
    share = broken(demand, "clock_share", 0.3, rate=0.3, seed=1)
    np.testing.assert_array_equal(flagged["y"], share["y"])
    np.testing.assert_array_equal(flagged["is_censored"], share["in_stock_share"] < 1)
    assert "in_stock_share" not in flagged.columns


def test_the_informed_buyers_stock_follows_the_surprise_of_the_day():
    from recovery_breaks import BREAKS, broken

    demand = make_panel(n_series=30, n_days=200, seed=3)
    link = []
    for severity in BREAKS["insider"].severities:
        panel = broken(demand, "insider", severity, rate=0.3, seed=1)
        assert panel["is_censored"].mean() == pytest.approx(0.3, abs=0.025)
        panel = panel[panel["stock"].notna() & (panel["demand_mean"] > 1)]
        surprise = panel["demand"] / panel["demand_mean"]
        stocked = panel["stock"] / panel["demand_mean"]
        link.append(float(np.corrcoef(surprise.rank(), stocked.rank())[0, 1]))
    assert abs(link[1]) < 0.1
    assert link[1] + 0.1 < link[2] < link[3]


def test_unknown_breaks_are_refused(demand):
    from recovery_breaks import broken

    with pytest.raises(CivstatsError, match="kind must be one of"):
        broken(demand, "weather", 0.1, rate=0.3, seed=1)


def sums(loss: float, error: float, n_boot: int = 50) -> dict[str, np.ndarray]:
    one = np.ones(1 + n_boot)
    return {"loss": loss * one, "n": 10 * one, "error": error * one, "demand": 20 * one}


def test_the_gap_is_taken_against_the_oracle_of_the_same_likelihood():
    from recovery_tables import recovery_frame

    results = {
        ("none", 0.0, "LightGBM", "mask", "sales"): [sums(1, 1), sums(1, 1)],
        ("none", 0.0, "LightGBM", "censor", "sales"): [sums(2, 0), sums(2, 0)],
        ("random", 0.3, "LightGBM", "ignore", "sales"): [sums(9, -6), sums(13, -6)],
        ("random", 0.3, "LightGBM", "mask", "sales"): [sums(5, -2), sums(5, -2)],
        ("random", 0.3, "LightGBM", "mask", "oracle_lags"): [sums(3, 0), sums(3, 0)],
        ("random", 0.3, "LightGBM", "censor", "sales"): [sums(4, 0), sums(5, 2)],
        ("random", 0.3, "LightGBM", "censor", "oracle_lags"): [sums(4, 1), sums(4, 1)],
    }
    table = recovery_frame(results).set_index(["treatment", "oracle"])
    assert table.loc[("mask", "same lags"), "gap_closed"] == pytest.approx(12 / 16)
    assert table.loc[("mask", "full"), "gap_closed"] == pytest.approx(12 / 20)
    assert table.loc[("censor", "same lags"), "gap_closed"] == pytest.approx(13 / 14)
    assert table.loc[("censor", "full"), "gap_closed"] == pytest.approx(13 / 18)
    row = table.loc[("censor", "same lags")]
    assert row["bias_difference"] == pytest.approx(0.0)
    assert (row["bias_difference_seed_min"], row["bias_difference_seed_max"]) == (-0.05, 0.05)
    assert row["loss_ignore"] == pytest.approx(1.1)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from recovery_study import app

    out = tmp_path_factory.mktemp("study") / "out"
    arguments = (
        "--series", 10, "--days", 160, "--h", 14, "--windows", 2, "--seeds", 2, "--rounds", 8, "--rows", 3000,
        "--origins", 4, "--rates", "30", "--mechanisms", "random,inventory", "--boot", 40,
        "--jobs", 1, "--out", out,
    )  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.slow
def test_it_leaves_the_study_folder(study):
    assert {p.name for p in study.iterdir()} == FILES
    scores = pd.read_csv(study / "scores.csv")
    assert list(scores.columns[3:]) == list(SCORES)
    assert set(scores["trained_on"]) == {"sales", "oracle_lags"}
    assert scores["value"].notna().all()
    assert (scores["lo"] <= scores["hi"]).all()
    recovery = pd.read_csv(study / "recovery.csv")
    assert set(recovery["oracle"]) == {"same lags", "full"}
    assert recovery.loc[~recovery["identified"], "gap_closed"].isna().all()
    breaks = pd.read_csv(study / "breaks.csv").set_index(["kind", "label"])["value"]
    # The unbroken end of these curves is the same world and the same fit.
    assert breaks["missed", "0 %"] == breaks["false", "0 %"] == breaks["unrecorded", "0 %"]
    cell = scores[
        (scores["mechanism"] == "inventory")
        & (scores["treatment"] == "censor")
        & (scores["trained_on"] == "sales")
        & (scores["metric"] == "bias")
        & (scores["regime"] == "demand")
    ]
    # The broken worlds have no stock column: that it is not read shows here.
    assert cell["value"].iloc[0] == pytest.approx(breaks["missed", "0 %"], rel=1e-9)
    manifest = json.loads((study / "manifest.json").read_text())
    assert manifest["config"]["seeds"] == 2
    assert manifest["forecasts"] == len(pd.read_parquet(study / "forecasts.parquet"))


@pytest.mark.slow
def test_the_forecasts_are_those_that_were_scored(study):
    forecasts = pd.read_parquet(study / "forecasts.parquet")
    keys = ["mechanism", "rate", "trained_on", "model", "treatment"]
    fit = ["seed", *keys, "severity"]
    assert not forecasts.duplicated([*fit, "unique_id", "ds"]).any()
    assert set(forecasts.groupby(fit, observed=True, dropna=False).size()) == {10 * 28}
    assert (forecasts["ds"] > forecasts["cutoff"]).all()
    assert (forecasts["ds"] <= forecasts["cutoff"] + pd.Timedelta(days=14)).all()
    assert (forecasts["y"] <= forecasts["demand"]).all()
    assert (forecasts["y"] < forecasts["demand"]).any()
    grid = forecasts[forecasts["severity"].isna()].astype({"demand": float, "mean": float})
    inside = grid["demand"].between(grid["lo-80"], grid["hi-80"])
    by = grid.assign(inside=inside).groupby(keys, observed=True)
    bias = by["mean"].sum() / by["demand"].sum() - 1
    scores = pd.read_csv(study / "scores.csv")
    for metric, ours in (("bias", bias), ("coverage", by["inside"].mean())):
        theirs = scores[(scores["metric"] == metric) & (scores["regime"] == "demand")]
        theirs = theirs[theirs["level"].isin([80]) | theirs["level"].isna()]
        theirs = theirs.set_index(keys)["value"]
        assert len(ours) == len(theirs)
        np.testing.assert_allclose(ours, theirs.loc[ours.index], rtol=1e-5, atol=1e-7)
    assert set(forecasts.loc[forecasts["mechanism"] == "clock", "rate"]) == {0.05, 0.15, 0.3, 0.45}
    assert set(forecasts.loc[forecasts["mechanism"] == "missed", "rate"]) == {0.3}


@pytest.mark.slow
def test_the_report_is_whole_and_offline(study):
    html = (study / "report.html").read_text()
    assert "https://" not in html
    places = [html.index(f">{x}<") for x in ("Question", "Checks", "What breaks it", "Limits")]
    assert places == sorted(places)
    assert {p.name for p in (study / "figures").iterdir()} == {
        "bias_by_rate.png", "what_breaks_it.png",
    }  # fmt: skip
