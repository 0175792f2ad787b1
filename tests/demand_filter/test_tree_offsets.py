"""Trees on top of the regression: what it cannot represent is found, what is not there is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.demand_filter import DemandFilter, _tree_boosting, log_likelihood
from civstats.demand_filter.online import Posterior, posterior, update
from civstats.demand_filter.recovery import recover
from civstats.demand_filter.tree_offsets import BLOCK, _parts
from civstats.schema import DS, ID, PRICE, PROMO, CivstatsError, Y, validate_panel

N, DAYS = 30, 360
QUICK = {"treatment": "ignore", "rounds": 1, "n_jobs": 1, "sample_rows": 20_000}


def world(kind: str, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Weekends, promotions and cut prices; returns the panel and its true offsets."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2023-01-02", periods=DAYS)
    weekend = np.asarray(days.dayofweek) >= 5
    weeks = (N, DAYS // 7 + 1)
    cut = rng.choice([0, 0.1, 0.3], p=[0.6, 0.2, 0.2], size=weeks).repeat(7, 1)[:, :DAYS]
    promo = (rng.random(weeks) < 0.25).repeat(7, 1)[:, :DAYS]
    if kind == "interaction":
        x = 0.2 * weekend + 0.8 * promo * weekend + 0.8 * (cut > 0.2)
    elif kind == "linear":
        x = 0.25 * weekend + 0.4 * promo - 1.2 * np.log(1 - cut)
    else:
        # What hits every series on the same date, and no date is like another.
        x = np.broadcast_to(rng.normal(0, 0.25, DAYS), (N, DAYS))
    usual = np.exp(np.random.default_rng(9).normal(1, 0.4, (N, 1)))
    level = rng.normal(1.0, 0.6, (N, 1)) + np.cumsum(rng.normal(0, 0.02, (N, DAYS)), axis=1)
    units = rng.poisson(rng.gamma(4.0, np.exp(level + x) / 4.0))
    panel = pd.DataFrame(
        {
            ID: np.repeat([f"s{i:02d}" for i in range(N)], DAYS),
            DS: np.tile(days, N),
            Y: units.ravel(),
            PRICE: (usual * (1 - cut)).ravel(),
            PROMO: promo.ravel(),
            "dept_id": np.repeat([f"d{i % 2}" for i in range(N)], DAYS),
        }
    )
    return validate_panel(panel), np.asarray(x, dtype=float)


def error(fitted: DemandFilter, panel: pd.DataFrame, truth: np.ndarray) -> float:
    """Root mean squared error of the offsets within series: a constant belongs to the level."""
    found = fitted.offset(panel).reshape(truth.shape)
    gap = (found - found.mean(1, keepdims=True)) - (truth - truth.mean(1, keepdims=True))
    return float(np.sqrt(np.square(gap).mean()))


@pytest.fixture(scope="module")
def interaction() -> tuple[pd.DataFrame, np.ndarray]:
    return world("interaction")


@pytest.fixture(scope="module")
def trees(interaction) -> DemandFilter:
    return DemandFilter(offsets="lightgbm", **QUICK).fit(interaction[0])


def test_an_interaction_and_a_threshold_are_found(interaction, trees):
    panel, truth = interaction
    straight = DemandFilter(offsets="regression", **QUICK).fit(panel)
    assert max(trees.trees_.gains) > 2 * trees.trees_.error > 0
    assert error(trees, panel, truth) < 0.75 * error(straight, panel, truth)
    other, beyond = world("interaction", seed=7)
    assert error(trees, other, beyond) < 0.8 * error(straight, other, beyond)
    gain = [
        float(log_likelihood(f.observations(other), f.parameters_, n_jobs=1).sum())
        for f in (trees, straight)
    ]
    assert gain[0] - gain[1] > 0.01 * len(other)
    # What the regression had to leave in the dispersion.
    assert trees.estimates_["all"].in_units["dispersion"] == pytest.approx(4.0, rel=0.15)
    assert straight.estimates_["all"].in_units["dispersion"] < 3.5


def test_where_the_truth_is_linear_trees_do_no_harm():
    panel, truth = world("linear")
    straight = DemandFilter(offsets="regression", **QUICK).fit(panel)
    fitted = DemandFilter(offsets="lightgbm", **QUICK).fit(panel)
    assert error(fitted, panel, truth) < 1.05 * error(straight, panel, truth)


def test_shocks_of_single_dates_are_no_gain():
    """Every series shows them, so that series held out alone would believe in them."""
    panel, _ = world("dates")
    fitted = DemandFilter(offsets="lightgbm", **QUICK).fit(panel)
    assert fitted.coefficients_.trees == ""
    assert len(fitted.trees_.gains) < 10


def test_parts_are_thirds_of_every_group_and_whole_blocks_of_days():
    days = np.tile(np.arange("2024-01-01", "2024-06-17", dtype="datetime64[D]"), 9)
    series, rows = _parts(days, np.repeat([2, 0, 1], 3), seed=3)
    assert np.sort(series.reshape(3, 3), axis=1).tolist() == [[0, 1, 2]] * 3
    by_day = rows.reshape(9, -1)
    assert (by_day == by_day[0]).all()
    assert np.bincount(by_day[0]).tolist() == [2 * BLOCK] * 3
    assert all(len(np.unique(by_day[0][k : k + BLOCK])) == 1 for k in range(0, 168, BLOCK))


def test_the_trees_part_averages_to_nothing_over_a_series_and_reads_the_day_alone(
    interaction, trees
):
    panel, _ = interaction
    whole = trees.offset(panel)
    member = np.repeat(trees.groups_.of_series, DAYS)
    linear = trees.coefficients_.offsets(trees.design_.matrix(panel), member)
    added = (whole - linear).reshape(N, DAYS)
    np.testing.assert_allclose(added.mean(axis=1), 0, atol=1e-12)
    assert added.std() > 0.05
    rows = panel.iloc[[5, 400, 3000]]
    np.testing.assert_array_equal(trees.offset(rows), whole[[5, 400, 3000]])
    # The days after the panel: offsets of planned prices and promotions, none of the series' sales.
    ahead = panel.iloc[[5, 400, 3000]].drop(columns=Y)
    ahead = ahead.assign(**{DS: ahead[DS] + pd.Timedelta(days=364)})
    assert np.isfinite(trees.offset(ahead)).all()


@pytest.mark.parametrize("small", [50_000, pytest.param(0, marks=pytest.mark.slow)])
def test_trees_depend_on_the_seed_and_not_on_threads(interaction, trees, monkeypatch, small):
    monkeypatch.setattr(_tree_boosting, "SMALL", small)
    again = DemandFilter(offsets="lightgbm", **{**QUICK, "n_jobs": 2}).fit(interaction[0])
    assert again.coefficients_.trees == trees.coefficients_.trees
    np.testing.assert_array_equal(again.parameters_.level_sd, trees.parameters_.level_sd)


def test_a_stored_filter_has_its_trees(interaction, trees, tmp_path):
    panel, _ = interaction
    last = panel[DS] == panel[DS].max()
    before, new = panel[~last], panel[last]
    posterior(trees, before).save(tmp_path / "filter.npz")
    loaded = Posterior.load(tmp_path / "filter.npz")
    np.testing.assert_array_equal(loaded.model.offset(panel), trees.offset(panel))
    _, frame = update(loaded, new, n_jobs=1)
    found = recover(panel, trees, levels=[80], n_jobs=1)
    whole = found.frame["level_filtered"].to_numpy()[last.to_numpy()]
    np.testing.assert_allclose(frame["level_filtered"], whole, rtol=1e-3)


def test_refusals(interaction):
    with pytest.raises(CivstatsError, match="offsets must be 'regression', 'lightgbm' or None"):
        DemandFilter(offsets="trees")
    assert DemandFilter(offsets=True).offsets == "regression"
    assert DemandFilter(offsets=False).offsets is None
    panel = interaction[0]
    few = panel[panel[ID].isin(["s00", "s01", "s02"])]
    with pytest.raises(CivstatsError, match=r"needs 6 series and 84 days.*3 series and 360 days"):
        DemandFilter(offsets="lightgbm", **QUICK).fit(validate_panel(few))
