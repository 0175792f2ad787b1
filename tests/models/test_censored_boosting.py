"""LightGBM under censor: the likelihood it climbs, its start, and demand recovered on known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.censoring import NegBin
from civstats.data.synthetic import make_panel
from civstats.features.history import history_features, sales_grid
from civstats.models import make_forecaster
from civstats.models._censored_boosting import CensoredObjective, Given, Observed, Shape, start
from civstats.models.boosting import LightGBM
from civstats.schema import DS, OUTCOMES, CivstatsError, ForecastError, validate_panel
from civstats.stockouts.simulate import simulate_stockouts


def capped(mean: float, size: float, n: int, caps: list[int], seed: int) -> Observed:
    rng = np.random.default_rng(seed)
    demand = rng.negative_binomial(size, size / (size + mean), n)
    cap = rng.choice(caps, n)
    return Observed(np.minimum(demand, cap).astype(float), demand >= cap, np.full(n, np.log(2.0)))


def test_start_recovers_mean_and_dispersion_where_sales_are_too_low():
    data = capped(5.0, 2.0, 60_000, [6, 8, 12], 1)
    shift, shape = start(data)
    assert data.y.mean() < 4.4
    assert 2.0 * np.exp(shift) == pytest.approx(5.0, rel=0.02)
    assert shape.dispersion == pytest.approx(2.0, rel=0.08)
    assert shape.zero_prob == 0.0


def test_start_tells_zero_inflation_from_dispersion():
    """Zeros that no mean explains, taken for dispersion, would fatten the tail of the bounds."""
    data = capped(5.0, 4.0, 60_000, [6, 8, 12], 1)
    gone = np.random.default_rng(2).random(60_000) < 0.15
    data = Observed(np.where(gone, 0.0, data.y), data.censored & ~gone, data.offset)
    shift, shape = start(data, Given(zero_inflated=True))
    assert shape.zero_prob == pytest.approx(0.15, abs=0.01)
    assert shape.dispersion == pytest.approx(4.0, rel=0.08)
    assert 2.0 * np.exp(shift) == pytest.approx(5.0, rel=0.02)
    plain_shift, plain = start(data)
    assert plain.dispersion < 2.0
    assert 2.0 * np.exp(plain_shift) > 1.04 * 0.85 * 5.0


def test_objective_is_the_reference_gradient():
    data = capped(5.0, 2.0, 500, [0, 3, 8], 2)
    score = np.random.default_rng(3).normal(1.5, 0.7, 500)
    grad, hess = CensoredObjective(data, Shape(2.0, 0.0), seed=0, num_threads=1)(score, None)
    slope, _ = NegBin(2.0).grad_hess(data.y, score, data.censored)
    np.testing.assert_allclose(grad, -slope, rtol=1e-5, atol=1e-6)
    assert (hess >= 0).all()
    silent = data.censored & (data.y == 0)
    assert silent.any()
    assert (grad[silent] == 0).all()
    assert (hess[silent] == 0).all()


def test_dispersion_follows_the_means():
    """The estimate moves from where it started to the truth as the means become right."""
    data = capped(5.0, 2.0, 40_000, [6, 8, 12], 4)
    objective = CensoredObjective(data, Shape(50.0, 0.0), seed=0, num_threads=1)
    for _ in range(25):
        objective(np.full(len(data.y), np.log(5.0)), None)
    assert objective.shape.dispersion == pytest.approx(2.0, rel=0.1)


def flagged() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    y = rng.poisson(3, 60).astype(float)
    flag, share = np.zeros(60, bool), np.ones(60)
    flag[[50, 55]] = True
    y[50] = 0.0
    share[57] = 0.25
    panel = pd.DataFrame(
        {
            "unique_id": "a",
            "ds": pd.date_range("2024-01-01", periods=60),
            "y": y,
            "is_censored": flag,
            "in_stock_share": share,
        }
    )
    return validate_panel(panel)


def test_a_mean_is_units_sold_over_exposure():
    panel = flagged()
    grid = sales_grid(panel, "censor")
    y = panel["y"].to_numpy()[53:60]
    # Day 55 gives units but no exposure, day 57 a quarter of a day.
    expected = y.sum() / (5 + 0.25)
    got = history_features(grid, [60]).at(0)
    assert got["mean_7"][0, 0] == pytest.approx(expected, rel=1e-6)
    assert np.isnan(history_features(grid, [56]).at(0)["lag_1"][0, 0])
    assert np.isnan(grid.y[0, 50])
    assert grid.censored[0].nonzero()[0].tolist() == [55]


def test_days_wholly_out_are_to_censor_what_they_are_to_mask():
    panel = flagged()
    whole = validate_panel(
        panel.drop(columns="in_stock_share").assign(
            is_censored=panel["is_censored"], y=panel["y"].where(~panel["is_censored"], 0.0)
        )
    )
    mask, censor = sales_grid(whole, "mask"), sales_grid(whole, "censor")
    np.testing.assert_array_equal(mask.y, censor.y)
    np.testing.assert_array_equal(mask.exposure, censor.exposure)
    assert not censor.censored.any()


def test_a_sum_of_bounds_is_refused():
    with pytest.raises(CivstatsError, match="cannot honour treatment 'censor'"):
        LightGBM(treatment="censor", target="week_sum")


@pytest.fixture(scope="module")
def world():
    return make_panel(n_series=60, n_days=420, seed=5)


def bias(panel: pd.DataFrame, treatment: str) -> float:
    cutoff = panel[DS].max() - pd.Timedelta(days=28)
    history = validate_panel(panel[panel[DS] <= cutoff])
    future = panel[(panel[DS] > cutoff) & panel["unique_id"].isin(history["unique_id"].unique())]
    known = future.drop(columns=[c for c in OUTCOMES if c in future.columns])
    model = make_forecaster("LightGBM", treatment=treatment, n_rounds=120, num_threads=1)
    frame = model.fit(history).predict(known, level=[80], n_paths=0).frame
    return frame[f"LightGBM_{treatment}"].sum() / future["demand_mean"].sum() - 1


def test_censor_recovers_demand_that_ignore_and_mask_lose(world):
    short = simulate_stockouts(world, mechanism="inventory", rate=0.3, seed=5)
    oracle = bias(world, "ignore")
    found = {t: bias(short, t) for t in ("ignore", "mask", "censor")}
    assert found["ignore"] < oracle - 0.15
    assert found["mask"] < oracle - 0.15
    assert abs(found["censor"] - oracle) < 0.08


def test_without_stockouts_the_treatments_agree(world):
    plain = validate_panel(world.assign(is_censored=False))
    found = {t: bias(plain, t) for t in ("ignore", "mask", "censor")}
    assert found["ignore"] == found["mask"]
    assert abs(found["censor"] - found["ignore"]) < 0.05


def test_a_dispersion_can_be_given(world):
    short = simulate_stockouts(world, mechanism="inventory", rate=0.3, seed=5)
    small = {"treatment": "censor", "n_rounds": 30, "max_rows": 20_000, "num_threads": 1}
    free = LightGBM(**small).fit(short)
    assert 0.3 < free.dispersion_ < 20
    poisson = LightGBM(**small, dispersion=np.inf).fit(short)
    assert poisson.dispersion_ == np.inf
    wild = LightGBM(**small, dispersion=0.25 * free.dispersion_).fit(short)
    assert wild.dispersion_ == 0.25 * free.dispersion_
    # The heavier the assumed tail beyond a bound, the more demand is taken to lie there.
    shifts = [m._model.shift for m in (poisson, free, wild)]
    assert shifts == sorted(shifts)


def test_bounds_alone_are_refused(world):
    flagged = validate_panel(world.assign(is_censored=True))
    with pytest.raises(ForecastError, match=r"all \d+ row\(s\) are censored"):
        LightGBM(treatment="censor", n_rounds=5).fit(flagged)
    with pytest.raises(CivstatsError, match="zero_inflated goes with treatment 'censor'"):
        LightGBM(treatment="mask", zero_inflated=True)


def test_zero_inflation_is_an_option_that_enters_the_mean(world):
    """Days off the shelf on no record: the same chance for all, so that the option fits."""
    gone = np.random.default_rng(3).random(len(world)) < 0.15
    empty = world.assign(y=world["y"].where(~gone, 0), demand=world["demand"].where(~gone, 0))
    short = simulate_stockouts(empty, mechanism="random", rate=0.2, seed=5)
    small = {"treatment": "censor", "n_rounds": 60, "max_rows": 20_000, "num_threads": 1}
    model = LightGBM(**small, zero_inflated=True).fit(short)
    plain = LightGBM(**small).fit(short)
    assert model.zero_prob_ == pytest.approx(0.15, abs=0.04)
    assert plain.zero_prob_ == 0.0
    assert model.dispersion_ > 1.2 * plain.dispersion_
    # The mean of the counts, less the days without: about the same total as without the option.
    totals = [np.nansum(m._fitted) / np.nansum(m._fitted > 0) for m in (model, plain)]
    assert totals[0] == pytest.approx(totals[1], rel=0.06)


@pytest.mark.parametrize(("treatment", "given"), [("censor", 0.0), ("mask", 2.0), ("censor", -1.0)])
def test_a_dispersion_that_means_nothing_is_refused(treatment, given):
    with pytest.raises(CivstatsError, match="dispersion must be positive"):
        LightGBM(treatment=treatment, dispersion=given)
