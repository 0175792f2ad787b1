"""The plain functions of point scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import root_mean_squared_error

from civstats.evaluation import evaluate
from civstats.evaluation.points import bias, rmse, wape
from civstats.schema import ForecastError
from tests.evaluation.world import make_forecasts, make_panel, pooled

values = st.lists(st.tuples(st.integers(0, 50), st.floats(0, 50)), min_size=1, max_size=30)


@given(values)
def test_against_definitions(pairs):
    a, f = np.array(pairs, dtype=float).T
    assert rmse(a, f) == pytest.approx(root_mean_squared_error(a, f), abs=1e-10)
    if a.sum() > 0:
        assert wape(a, f) >= abs(bias(a, f)) - 1e-12
        assert bias(a, f) == pytest.approx(f.sum() / a.sum() - 1, abs=1e-10)
    else:
        assert math.isnan(wape(a, f))
        assert math.isnan(bias(a, f))


def test_wape_rewards_the_median_and_rmse_the_mean():
    demand = stats.nbinom(2, 2 / 7).rvs(20_000, random_state=np.random.default_rng(1))
    mean, median = 5.0, stats.nbinom(2, 2 / 7).median()
    at = lambda x: np.full(len(demand), x)  # noqa: E731
    assert wape(demand, at(median)) < wape(demand, at(mean))
    assert rmse(demand, at(mean)) < rmse(demand, at(median))


@pytest.mark.parametrize("score", [wape, rmse, bias])
def test_refuses_what_is_missing(score):
    with pytest.raises(ForecastError, match=r"1 value\(s\) missing or infinite, first at 1"):
        score([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(ForecastError, match="shape"):
        score([1.0, 2.0], [1.0])
    assert math.isnan(score([], []))


@pytest.mark.parametrize("season_length", [1, 7])
def test_scaled_errors_are_utilsforecasts(season_length):
    from utilsforecast import losses

    panel = make_panel(6, 60)
    # From the first sale on is from the first day on, as utilsforecast has it.
    panel["y"] = panel["y"].where(panel["ds"] > panel["ds"].min(), 3).astype("float32")
    frame = make_forecasts(panel, ("A_mask",), h=7, n_windows=1)
    train = panel.loc[panel["ds"] <= frame["cutoff"].max(), ["unique_id", "ds", "y"]]
    held = frame.merge(panel[["unique_id", "ds", "y"]], on=["unique_id", "ds"])
    held = held.astype({"unique_id": str, "y": float}).drop(columns="cutoff")
    train = train.astype({"unique_id": str, "y": float})
    scores = evaluate(frame, panel, level=None, n_boot=0, season_length=season_length)
    expect = losses.mase(held, ["A_mask-median"], season_length, train)["A_mask-median"].mean()
    assert pooled(scores, "mase", "all_days").value == pytest.approx(expect, rel=1e-10)
    expect = losses.rmsse(held, ["A_mask"], 1, train)["A_mask"].mean()
    assert pooled(scores, "rmsse", "all_days").value == pytest.approx(expect, rel=1e-10)


def test_a_series_that_never_changes_has_no_scale_and_is_left_out():
    panel = make_panel(3, 40)
    flat = panel["unique_id"] == "s001"
    panel["y"] = panel["y"].where(~flat, 2).astype("float32")
    frame = make_forecasts(panel, ("A_mask",), h=7, n_windows=1)
    rest = frame[frame["unique_id"] != "s001"]
    whole, part = (evaluate(f, panel, level=None, n_boot=0) for f in (frame, rest))
    for metric in ("mase", "rmsse"):
        got, expect = pooled(whole, metric, "all_days"), pooled(part, metric, "all_days")
        assert got.value == pytest.approx(expect.value, rel=1e-12)
        assert got.n == expect.n
    only = evaluate(frame[frame["unique_id"] == "s001"], panel, level=None, n_boot=0)
    row = pooled(only, "mase", "all_days")
    assert np.isnan(row.value)
    assert "nothing to scale by" in row.note


def test_rmsse_weighs_windows_alike_whatever_days_are_in_stock():
    panel = make_panel(8, 60, seed=3, out_rate=0.4)
    frame = make_forecasts(panel, ("A_mask",), h=7, n_windows=2)
    row = pooled(evaluate(frame, panel, level=None, n_boot=0), "rmsse", "in_stock")
    held = frame.merge(panel, on=["unique_id", "ds"]).query("not is_censored")
    roots = []
    for (name, cutoff), part in held.groupby(["unique_id", "cutoff"], observed=True):
        past = panel[(panel["unique_id"] == name) & (panel["ds"] <= cutoff)]["y"].to_numpy(float)
        change = np.diff(past[np.flatnonzero(past)[0] :])
        roots.append(
            np.sqrt(np.square(part["A_mask"] - part["y"]).mean() / np.square(change).mean())
        )
    assert len({len(p) for _, p in held.groupby(["unique_id", "cutoff"], observed=True)}) > 1
    assert row.value == pytest.approx(np.mean(roots), rel=1e-10)
    assert row.n == len(roots)
