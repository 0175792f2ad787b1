"""The filter fitted to a panel: known truth found with everything estimated, treatments kept apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.data.synthetic import make_panel
from civstats.demand_filter import DemandFilter, FilterParameters, observations, smooth_levels
from civstats.demand_filter._estimation import first_levels
from civstats.demand_filter.groups import group_series
from civstats.schema import CENSORED, DEMAND, DS, ID, STOCK, CivstatsError, Y, validate_panel
from civstats.stockouts.simulate import simulate_stockouts

SMALL = {"rounds": 2, "sample_rows": 8_000, "n_jobs": 1}


@pytest.fixture(scope="module")
def world() -> pd.DataFrame:
    demand = make_panel(n_series=48, n_days=400, seed=2)
    return simulate_stockouts(demand, mechanism="inventory", rate=0.3, seed=2)


def bias(panel: pd.DataFrame, fitted: DemandFilter) -> float:
    """Smoothed mean demand of all days against the truth."""
    obs = fitted.observations(panel)
    level = smooth_levels(obs, fitted.parameters_, summaries=("smoothed",), n_jobs=1).smoothed
    return float((level.rate * np.exp(obs.offset)).sum() / panel[DEMAND].sum() - 1)


@pytest.fixture(scope="module")
def censored(world) -> DemandFilter:
    return DemandFilter(treatment="censor", **SMALL).fit(world)


def test_demand_is_found_with_everything_estimated(world, censored):
    assert world[Y].sum() / world[DEMAND].sum() < 0.8
    assert abs(bias(world, censored)) < 0.02
    assert bias(world, DemandFilter(treatment="ignore", **SMALL).fit(world)) < -0.15
    assert bias(world, DemandFilter(treatment="mask", **SMALL).fit(world)) < -0.25
    # Levels move by 0.02 a day, and by the year's wave, which 400 days cannot tell from them; the
    # departments' dispersions lie in 1 to 4.
    assert 0.015 < censored.estimates_["all"].in_units["level_sd"] < 0.06
    assert 1.0 < censored.estimates_["all"].in_units["dispersion"] < 5.0


def test_offsets_have_the_worlds_weekend_and_price(censored):
    pooled = dict(zip(censored.coefficients_.names, censored.coefficients_.pooled, strict=True))
    assert pooled["day_of_week_1"] < -0.05
    assert pooled["day_of_week_5"] > 0.05
    assert pooled["log_price"] < -0.5
    assert "statsmodels" in type(censored.coefficients_.result).__module__


def test_same_seed_same_result_and_inputs_are_left_alone(world, censored):
    before = world.copy(deep=True)
    again = DemandFilter(treatment="censor", **SMALL).fit(world)
    pd.testing.assert_frame_equal(world, before)
    np.testing.assert_array_equal(again.parameters_.dispersion, censored.parameters_.dispersion)
    np.testing.assert_array_equal(again.coefficients_.groups, censored.coefficients_.groups)


def test_mask_has_no_trace_of_stockout_days(world):
    part = world[world[ID].isin(world[ID].cat.categories[:12])]
    part = validate_panel(part.assign(**{ID: part[ID].cat.remove_unused_categories()}))
    rng = np.random.default_rng(0)
    hit = part[CENSORED].to_numpy()
    noise = rng.integers(0, 50, len(part)).astype(np.float32)
    other = part.assign(
        **{Y: np.where(hit, noise, part[Y]), STOCK: np.where(hit, noise, part[STOCK])}
    )
    one, two = (
        DemandFilter(treatment="mask", **SMALL).fit(validate_panel(p)) for p in (part, other)
    )
    np.testing.assert_array_equal(one.coefficients_.groups, two.coefficients_.groups)
    np.testing.assert_array_equal(one.parameters_.level_sd, two.parameters_.level_sd)
    np.testing.assert_array_equal(one.parameters_.prior_mean, two.parameters_.prior_mean)


def test_groups_share_parameters_and_the_future_has_offsets(world, censored):
    groups = censored.groups_
    assert groups.names == sorted(world["dept_id"].cat.categories)
    for g in range(len(groups.names)):
        assert len(np.unique(censored.parameters_.dispersion[groups.of_series == g])) == 1
    last = world[world[DS] == world[DS].max()]
    future = last.assign(ds=last[DS] + pd.Timedelta(days=7))[[c for c in last if c != Y]]
    offset = censored.offset(future)
    assert offset.shape == (len(last),)
    assert np.isfinite(offset).all()
    with pytest.raises(CivstatsError, match="1 series were not in the fit, first nobody"):
        censored.parameters_of(["nobody"])
    with pytest.raises(CivstatsError, match="not in the fit"):
        censored.offset(future.assign(unique_id="nobody"))


def test_a_dispersion_for_every_series_where_they_differ():
    rng = np.random.default_rng(4)
    n, days = 40, 300
    size = np.where(np.arange(n) % 2 == 0, 0.7, 12.0)
    mean = np.exp(rng.normal(1.5, 0.3, n))
    y = rng.negative_binomial(size[:, None], (size / (size + mean))[:, None], (n, days))
    panel = pd.DataFrame(
        {
            ID: np.repeat([f"s{i:02d}" for i in range(n)], days),
            DS: np.tile(pd.date_range("2024-01-01", periods=days), n),
            Y: y.ravel().astype(float),
        }
    )
    fitted = DemandFilter(treatment="ignore", individual=True, offsets=False, **SMALL).fit(
        validate_panel(panel)
    )
    assert fitted.heterogeneity_["dispersion"].p_value < 1e-4
    found = np.asarray(fitted.parameters_.dispersion)
    assert np.corrcoef(np.log(found), np.log(size))[0, 1] > 0.9
    assert np.median(found[size < 1]) == pytest.approx(0.7, rel=0.3)


def test_series_without_a_sale_count_as_half_a_sale_and_unseen_ones_not_at_all():
    """Their posterior would follow the prior down, and the prior follow it."""
    days = pd.date_range("2024-01-01", periods=20)
    frame = pd.DataFrame({ID: np.repeat(["a", "b", "c"], 20), DS: np.tile(days, 3), Y: 0.0})
    frame.loc[:19, Y] = 2.0
    frame[CENSORED] = frame[ID] == "c"
    obs = observations(validate_panel(frame), "censor")
    params = FilterParameters("poisson", prior_mean=0.0, prior_sd=3.0)
    level = smooth_levels(obs, params, summaries=("smoothed",), n_jobs=1).smoothed
    mean, second, known = first_levels(obs, params, level)
    assert known.tolist() == [True, True, False]
    assert mean.tolist() == [level.mean[0], np.log(0.5 / 20)]
    assert second.tolist() == [level.sd[0] ** 2, 0.0]


def test_refusals():
    with pytest.raises(CivstatsError, match="both explain zeros"):
        DemandFilter(family="zero_inflated_negbin", hidden=True)
    with pytest.raises(CivstatsError, match="family must be one of"):
        DemandFilter(family="gamma")
    with pytest.raises(CivstatsError, match="treatment"):
        DemandFilter(treatment="drop")


def test_a_panel_without_attributes_is_one_group():
    days = pd.date_range("2024-01-01", periods=30)
    panel = validate_panel(pd.DataFrame({ID: "a", DS: days, Y: 1.0}))
    assert group_series(panel, ("dept_id",)).names == ["all series"]
    with pytest.raises(CivstatsError, match=r"1 unknown column.*dept:"):
        group_series(panel, ("dept", "store_id"))
    fitted = DemandFilter(treatment="ignore", **SMALL).fit(panel)
    assert fitted.parameters_.n_series == 1
    assert abs(np.asarray(fitted.parameters_.prior_mean)[0]) < 1


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"sample_rows": 0}, {"rounds": 2.5}, {"harmonics": -1}]
)
def test_counts_out_of_range_are_refused(wrong):
    with pytest.raises(CivstatsError, match="must be a whole number"):
        DemandFilter(**wrong)


def test_a_department_called_all_and_labels_with_spaces_stay_apart():
    panel = make_panel(n_series=4, n_days=40, seed=0)
    names = panel["unique_id"].cat.codes.map({0: "A B", 1: "A", 2: "all", 3: "all"})
    pairs = panel["unique_id"].cat.codes.map({0: "C", 1: "B C", 2: "", 3: ""})
    two = panel.assign(dept_id=names.astype("category"), cat_id=pairs.astype("category"))
    assert len(group_series(two, ("dept_id", "cat_id")).names) == 3
    assert "all" not in group_series(two, ("dept_id",)).names
