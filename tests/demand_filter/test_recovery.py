"""Recovery against Bayes on a grid done by hand, against known truth, and its edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats import CivstatsError, validate_panel
from civstats.censoring import NegBin
from civstats.data.synthetic import WorldParameters, make_panel
from civstats.demand_filter import DemandFilter, FilterParameters, build_grid, smooth_levels
from civstats.demand_filter._offset_information import OffsetInformation
from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.empirical_bayes import Estimate
from civstats.demand_filter.model import Groups
from civstats.demand_filter.offsets import zero_offsets
from civstats.demand_filter.recovery import recover
from civstats.schema import series_index, stockout_days
from civstats.stockouts.simulate import simulate_stockouts

RNG = np.random.default_rng


def known(panel, params, treatment="censor", hidden=False):
    """A filter whose parameters are given instead of fitted."""
    model = DemandFilter(treatment=treatment, family=params.family, hidden=hidden, offsets=False)
    n = len(series_index(panel).ids)
    values = {}
    for name in ("dispersion", "level_sd", "prior_mean", "prior_sd", "zero_inflation"):
        values[name] = np.broadcast_to(getattr(params, name), (n,)).copy()
    if hidden:
        values["out_rate"] = np.broadcast_to(params.out_rate, (n,)).copy()
        values["back_rate"] = np.broadcast_to(params.back_rate, (n,)).copy()
    model.parameters_ = FilterParameters(params.family, **values)
    model.ids_ = series_index(panel).ids
    model.groups_ = Groups(["all series"], np.zeros(n, dtype=int))
    sure, nothing = np.zeros((1, 1)), np.zeros((0, 1))
    theta = np.log([float(np.mean(values["level_sd"])) or 1.0])
    model.estimates_ = {
        "all": Estimate(("level_sd",), theta, sure, nothing, nothing, np.zeros(1), (False,), 0.0)
    }
    return model


def panel_of(series, **columns):
    """A panel from lists of sales by series."""
    frames = []
    for name, y in series.items():
        days = pd.date_range("2024-01-01", periods=len(y))
        frame = {"unique_id": name, "ds": days, "y": np.asarray(y, dtype="float32")}
        frames.append(pd.DataFrame(frame | {c: v[name] for c, v in columns.items()}))
    return validate_panel(pd.concat(frames))


FLAT = FilterParameters("negbin", dispersion=2.0, level_sd=0.0, prior_mean=0.7, prior_sd=0.8)
"""A level that never moves: its posterior is the prior times one likelihood after another."""
SALES = [3, 2, 4, 1, 0, 5, 0, 2, 2]
OUT = [False, True, False, False, True, True, False, False, True]


@pytest.fixture
def flat():
    panel = panel_of({"a": SALES}, is_censored={"a": OUT})
    model = known(panel, FLAT)
    levels = build_grid(model.observations(panel), model.parameters_).levels(0)
    family = NegBin(2.0)
    logs = np.array([family.loglik(y, levels, out) for y, out in zip(SALES, OUT, strict=True)])
    prior = -0.5 * ((levels - 0.7) / 0.8) ** 2
    return panel, model, levels, prior + np.cumsum(logs, axis=0)


def normalised(logs):
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


def test_expectations_against_bayes_by_hand(flat):
    panel, model, levels, logs = flat
    found = recover(panel, model, levels=[80]).frame
    family = NegBin(2.0)
    for t, (y, out) in enumerate(zip(SALES, OUT, strict=True)):
        for column, level, weights in (
            ("recovered_filtered", "level_filtered", normalised(logs[t])),
            ("recovered", "level_smoothed", normalised(logs[-1])),
        ):
            want = weights @ family.conditional_mean(y, levels) if out else y
            assert found[column][t] == pytest.approx(float(want), rel=1e-6)
            assert found[level][t] == pytest.approx(float(weights @ np.exp(levels)), rel=1e-6)
    assert found["stockout"].tolist() == OUT
    np.testing.assert_allclose(found["lost"], found["recovered"] - np.array(SALES), rtol=1e-6)


def test_bands_of_demand_against_bayes_by_hand(flat):
    panel, model, levels, logs = flat
    found = recover(panel, model, levels=[80, 95]).frame
    weights, family = normalised(logs[-1]), NegBin(2.0)
    for t in np.flatnonzero(OUT):
        over = family.log_survival(SALES[t], levels)
        d = SALES[t] + np.arange(200)
        cdf = [(weights * -np.expm1(family.log_survival(x + 1, levels) - over)).sum() for x in d]
        for column, p in (("lo-80", 0.1), ("hi-80", 0.9), ("lo-95", 0.025), ("hi-95", 0.975)):
            assert found[f"recovered-{column}"][t] == d[np.searchsorted(cdf, p)]
    inside = ~np.array(OUT)
    assert (found["recovered-hi-95"][inside] == np.array(SALES)[inside]).all()


def test_the_bands_of_the_level_are_not_those_of_demand(flat):
    panel, model, levels, logs = flat
    found = recover(panel, model, levels=[80]).frame
    below = np.cumsum(normalised(logs[-1]))
    step = np.exp(levels[1] - levels[0])
    for column, p in (("lo-80", 0.1), ("hi-80", 0.9)):
        want = np.exp(levels[np.searchsorted(below, p)])
        assert want / step < found[f"level_smoothed-{column}"][0] < want * step


def test_draws_are_joint_over_days(flat):
    """The variance of the sum: that of the days given the level, plus that of the level's sum."""
    panel, model, levels, logs = flat
    found = recover(panel, model, levels=(), n_draws=40_000, seed=5)
    weights, family = normalised(logs[-1]), NegBin(2.0)
    mean, within = np.zeros(len(levels)), np.zeros(len(levels))
    for t in np.flatnonzero(OUT):
        d = SALES[t] + np.arange(400)
        pmf = np.exp(family.logpmf(d[:, None], levels))
        pmf /= pmf.sum(axis=0)
        first = d @ pmf
        mean += first
        within += d**2 @ pmf - first**2
    total = found.samples.sum(axis=0)
    between = weights @ mean**2 - (weights @ mean) ** 2
    want = weights @ within + between
    assert between > 0.3 * want
    assert total.mean() == pytest.approx(weights @ mean, abs=5 * np.sqrt(want / 40_000))
    assert total.var() == pytest.approx(want, rel=0.06)
    np.testing.assert_allclose(
        found.samples.mean(axis=1), found.frame["recovered"][OUT], rtol=0, atol=0.1
    )


def world(rate, seed=0, n=80, days=500):
    """Random walks, an inventory policy, and the parameters both came from."""
    rng = RNG(seed)
    level = rng.normal(0.6, 0.8, (n, 1)) + np.cumsum(rng.normal(0, 0.03, (n, days)), axis=1)
    demand = rng.poisson(np.exp(level) * rng.gamma(2.0, 0.5, (n, days)))
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i:03}" for i in range(n)], days),
            "ds": np.tile(pd.date_range("2023-01-01", periods=days), n),
            "y": demand.ravel(),
            "demand": demand.ravel(),
            "demand_mean": np.exp(level).ravel(),
        }
    )
    panel = simulate_stockouts(
        validate_panel(frame), mechanism="inventory", rate=rate, seed=seed + 1
    )
    return panel, FilterParameters("negbin", 2.0, 0.03, prior_mean=0.6, prior_sd=0.8)


def coverage(frame, column, truth, level, rows):
    low, high = (frame[f"{column}-{end}-{level}"].to_numpy()[rows] for end in ("lo", "hi"))
    return ((truth[rows] >= low) & (truth[rows] <= high)).mean()


def held_up(panel, found, bias, slack):
    """Bias of recovered demand, and every band, on all days and on stockout days."""
    frame, demand = found.frame, panel["demand"].to_numpy(dtype=float)
    mean = panel["demand_mean"].to_numpy(dtype=float)
    out = frame["stockout"].to_numpy()
    assert abs(frame["recovered"].sum() / demand.sum() - 1) < bias
    for level in (80, 95):
        for rows in (np.ones(len(out), dtype=bool), out):
            observed = coverage(frame, "level_smoothed", mean, level, rows)
            assert observed == pytest.approx(level / 100, abs=slack)
        # Counts are discrete: what the model itself expects its bands to cover.
        low, high = (frame[f"recovered-{e}-{level}"].to_numpy()[out, None] for e in ("lo", "hi"))
        expected = ((found.samples >= low) & (found.samples <= high)).mean()
        observed = coverage(frame, "recovered", demand, level, out)
        assert observed == pytest.approx(expected, abs=slack)
    assert (found.samples - panel["y"].to_numpy()[found.rows, None]).min() >= 0
    assert (frame["lost"] >= 0).all()


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.45])
def test_truth_comes_back(rate):
    panel, params = world(rate)
    assert panel["y"].sum() < 0.985 * panel["demand"].sum()
    found = recover(panel, known(panel, params), n_draws=60, n_jobs=2)
    held_up(panel, found, bias=0.01, slack=0.02)


def test_bands_of_lost_units_over_spans_cover():
    """By series over half a year: bands of sums, which sums of bands would overshoot by far."""
    panel, params = world(0.3, seed=4)
    found = recover(panel, known(panel, params), n_draws=200, n_jobs=2)
    span = {"start": "2023-03-01", "end": "2023-08-31"}
    table = found.lost("unique_id", **span)
    rows = panel["ds"].between(span["start"], span["end"])
    true = (panel["demand"] - panel["y"])[rows].groupby(panel["unique_id"][rows], observed=True)
    true = true.sum().reindex(table["unique_id"]).to_numpy()
    for level in (80, 95):
        low, high = table[f"lost-lo-{level}"], table[f"lost-hi-{level}"]
        hit = ((true >= low) & (true <= high)).mean()
        chance = level / 100
        assert abs(hit - chance) < 3.5 * np.sqrt(chance * (1 - chance) / len(table)) + 0.02
    total = found.lost(**span)
    assert total["lost"][0] == pytest.approx(table["lost"].sum(), rel=1e-6)
    width = (table["lost-hi-80"] - table["lost-lo-80"]).sum()
    assert total["lost-hi-80"][0] - total["lost-lo-80"][0] < 0.5 * width
    by_day = found.lost("ds", **span)
    assert by_day["lost"].sum() == pytest.approx(table["lost"].sum(), rel=1e-6)
    assert by_day["ds"].between(span["start"], span["end"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.15, 0.3, 0.45])
def test_truth_comes_back_with_everything_estimated(rate):
    parameters = WorldParameters(shock_sd=0.0, store_weekly_sd=0.0, base_median=1.0, base_sd=1.0)
    truth = make_panel(n_series=100, n_days=730, n_departments=2, seed=1, parameters=parameters)
    panel = simulate_stockouts(truth, mechanism="inventory", rate=rate, seed=3)
    found = recover(panel, n_draws=200, parameter_draws=20)
    held_up(panel, found, bias=0.01, slack=0.02)


def test_the_filtered_value_reads_no_later_day():
    panel, params = world(0.3, n=4, days=200)
    early = validate_panel(panel[panel["ds"] < panel["ds"].min() + pd.Timedelta(days=120)])
    whole = recover(panel, known(panel, params)).frame
    part = recover(early, known(early, params)).frame
    both = whole.merge(part, on=["unique_id", "ds"], suffixes=("", "_part"))
    for column in ("recovered_filtered", "level_filtered"):
        np.testing.assert_allclose(both[column], both[f"{column}_part"], rtol=2e-4)
    assert (np.abs(both["recovered"] - both["recovered_part"]) > 0.02).any()


def test_part_days():
    """Sales of a share of the day plus the rest, which rises with what was sold."""
    share = [1.0, 1.0, 0.5, 1.0, 0.25, 0.5]
    panel = panel_of(
        {"a": [2, 3, 0, 2, 1, 9], "b": [2, 3, 0, 2, 1, 1]},
        in_stock_share={"a": share, "b": share},
    )
    params = FilterParameters("negbin", 1.5, 0.0, prior_mean=0.7, prior_sd=1e-3)
    found = recover(panel, known(panel, params), levels=[80], n_draws=4000, seed=2)
    frame, mu = found.frame, np.exp(0.7)
    y, s = panel["y"].to_numpy(), np.tile(share, 2)
    want = y + mu * (1 - s) * (1.5 + y) / (1.5 + mu * s)
    np.testing.assert_allclose(frame["recovered"], want, rtol=1e-3)
    assert frame["stockout"].tolist() == (s < 1).tolist()
    assert (found.samples >= y[found.rows, None]).all()
    np.testing.assert_allclose(found.samples.mean(axis=1), want[found.rows], rtol=0.05)
    high = stats.nbinom(1.5 + 9, (1.5 + mu * 0.5) / (1.5 + mu)).ppf(0.9)
    assert frame["recovered-hi-80"][5] == 9 + high


def test_hidden_availability():
    """Without flags a zero is a lost day as far as the filter doubts it."""
    y = [4, 5, 6, 4, 0, 0, 0, 0, 5, 6, 4, 5] * 3
    panel = panel_of({"a": y})
    params = FilterParameters(
        "negbin", 20.0, 0.02, prior_mean=1.5, prior_sd=0.5, out_rate=0.05, back_rate=0.3
    )
    found = recover(panel, known(panel, params, hidden=True), levels=[80], n_draws=3000)
    frame = found.frame
    zero = np.array(y) == 0
    assert (frame["stockout"] == zero).all()
    assert (frame["p_out"][zero] > 0.9).all()
    assert (frame["p_out"][~zero] == 0).all()
    want = frame["p_out"][zero] * frame["level_smoothed"][zero]
    np.testing.assert_allclose(frame["recovered"][zero], want, rtol=0.02)
    np.testing.assert_allclose(found.samples.mean(axis=1), frame["recovered"][zero], rtol=0.05)
    assert (frame["recovered"][~zero] == np.array(y)[~zero]).all()


def test_zero_inflation():
    """On a day without information demand may be nothing at all; on a bound above 0 it is not."""
    out = [False] * 3 + [True, True, False]
    panel = panel_of(
        {"a": [2, 0, 3, 0, 2, 0]},
        is_censored={"a": out},
        in_stock_share={"a": [1, 1, 1, 0, 1, 0.5]},
    )
    params = FilterParameters(
        "zero_inflated_negbin", 2.0, 0.0, prior_mean=0.9, prior_sd=1e-3, zero_inflation=0.3
    )
    found = recover(panel, known(panel, params), levels=[80], n_draws=20_000)
    frame, mu = found.frame, np.exp(0.9)
    np.testing.assert_allclose(frame["level_smoothed"], 0.7 * mu, rtol=1e-3)
    above = NegBin(2.0).conditional_mean(2, 0.9)
    seen = (1 + mu * 0.5 / 2) ** -2.0
    rest = 0.7 * seen / (0.3 + 0.7 * seen) * mu * 0.5 * 2 / (2 + mu * 0.5)
    np.testing.assert_allclose(frame["recovered"][3:], [0.7 * mu, above, rest], rtol=2e-3)
    np.testing.assert_allclose(found.samples.mean(axis=1), frame["recovered"][3:], rtol=0.04)
    assert frame["recovered-lo-80"][3] == 0
    zeros = 0.3 + 0.7 * (1 + mu / 2) ** -2.0
    assert (found.samples[0] == 0).mean() == pytest.approx(zeros, abs=0.02)


@pytest.mark.parametrize("family", ["normal", "lognormal"])
def test_continuous_demand(family):
    out = [False, False, True, True, False, False]
    y = [2.5, 3.1, 2.2, 4.0, 1.9, 1.2]
    panel = panel_of({"a": y}, is_censored={"a": out}, in_stock_share={"a": [1, 1, 1, 1, 1, 0.5]})
    params = FilterParameters(family, 0.4, 0.0, prior_mean=1.0, prior_sd=1e-4)
    found = recover(panel, known(panel, params), levels=[80], n_draws=20_000)
    frame = found.frame
    law = stats.norm(1.0, 0.4)
    z = np.array(y) if family == "normal" else np.log(y)
    for t in (2, 3):
        q = law.isf(law.sf(z[t]) * np.array([0.9, 0.1]))
        q = q if family == "normal" else np.exp(q)
        np.testing.assert_allclose(
            frame[["recovered-lo-80", "recovered-hi-80"]].iloc[t], q, rtol=1e-3
        )
    part = 1.2 + 0.5 if family == "normal" else 2.4
    assert frame["recovered"][5] == pytest.approx(part, rel=1e-3)
    np.testing.assert_allclose(
        found.samples.mean(axis=1), frame["recovered"][found.rows], rtol=0.01
    )
    assert (found.samples >= np.array(y, dtype="float32")[found.rows, None]).all()


def test_a_series_always_out_takes_the_prior_and_says_so():
    panel = panel_of(
        {"gone": [0] * 5, "seen": [2, 3, 1, 2, 2]},
        is_censored={"gone": [True] * 5, "seen": [False] * 5},
    )
    params = FilterParameters("negbin", 2.0, 0.05, prior_mean=0.4, prior_sd=0.7)
    found = recover(panel, known(panel, params), n_draws=10)
    gone = (found.frame["unique_id"] == "gone").to_numpy()
    assert (~found.frame["informed"][gone]).all()
    assert found.frame["informed"][~gone].all()
    assert found.frame["recovered"][0] == pytest.approx(np.exp(0.4 + 0.7**2 / 2), rel=0.01)
    assert "1 of 2 series say nothing" in found.note


def test_treatments():
    panel, params = world(0.3, n=6, days=150)
    frames = {
        t: recover(panel, known(panel, params, t)).frame for t in ("ignore", "mask", "censor")
    }
    assert (frames["ignore"]["lost"] == 0).all()
    totals = {t: float(f["lost"].sum()) for t, f in frames.items()}
    assert 0 < totals["mask"] < totals["censor"]
    assert (frames["mask"]["lost"] >= 0).all()
    # The level under mask has never seen what a stockout day sold.
    out = stockout_days(panel)
    changed = panel.copy()
    changed.loc[out, ["y", "stock"]] += 3
    again = recover(changed, known(changed, params, "mask")).frame
    pd.testing.assert_series_equal(again["level_smoothed"], frames["mask"]["level_smoothed"])


def test_draws_belong_to_the_series_whatever_its_neighbours():
    panel, params = world(0.3, n=5, days=100)
    whole = recover(panel, known(panel, params), n_draws=7, seed=3)
    part = validate_panel(panel[panel["unique_id"].isin(["s001", "s004"])])
    some = recover(part, known(part, params), n_draws=7, seed=3)
    array = whole.draws(["s001", "s004"])
    assert array.dims == ("unique_id", "sample", "ds")
    np.testing.assert_array_equal(array, some.draws())
    first = panel[panel["unique_id"] == "s001"]
    there = ~np.isnan(array.sel(unique_id="s001").to_numpy()[0])
    days = array["ds"].to_numpy()[there]
    assert (days == first["ds"].to_numpy()[stockout_days(first)]).all()
    assert not np.array_equal(
        whole.samples, recover(panel, known(panel, params), n_draws=7).samples
    )


def test_parameter_draws_are_shared_and_widen_the_total():
    panel, params = world(0.3, n=30, days=60)
    panel["dept_id"] = pd.Categorical(["d"] * len(panel))
    model = known(panel, params)
    names = ("dispersion", "level_sd")
    covariance = np.diag([0.5, np.inf])
    empty = np.zeros((0, 2))
    theta = np.log([2.0, 0.03])
    found = Estimate(names, theta, covariance, empty, empty, np.zeros(2), (False, True), 0.0)
    model.estimates_ = {"all": found}
    fixed = recover(panel, model, n_draws=300).lost("dept_id")
    drawn = recover(panel, model, n_draws=300, parameter_draws=60).lost("dept_id")
    width = [float(t["lost-hi-80"][0] - t["lost-lo-80"][0]) for t in (fixed, drawn)]
    assert width[1] > 1.3 * width[0]
    assert drawn["lost"][0] == fixed["lost"][0]


def test_inputs_stay_and_errors_mend():
    panel, params = world(0.3, n=2, days=40)
    before = panel.copy()
    found = recover(panel, known(panel, params), levels=())
    pd.testing.assert_frame_equal(panel, before)
    assert "recovered-lo-80" not in found.frame
    assert list(found.lost("unique_id").columns) == ["unique_id", "n_days", "lost"]
    with pytest.raises(CivstatsError, match="n_draws above 0"):
        found.draws()
    with pytest.raises(CivstatsError, match="under treatment 'censor', not 'mask'"):
        recover(panel, known(panel, params), treatment="mask")
    with pytest.raises(CivstatsError, match="static columns"):
        found.lost("price")
    with pytest.raises(CivstatsError, match="n_draws must"):
        recover(panel, known(panel, params), n_draws=-1)


def test_the_error_of_the_offsets_widens_the_bands_of_the_level():
    panel, params = world(0.3, n=3, days=70)
    model = known(panel, params)
    narrow = recover(panel, model, levels=[80], n_draws=400, parameter_draws=200)
    model.offsets = True
    model.design_ = OffsetDesign.learn(panel, harmonics=0)
    k = len(model.design_.names)
    covariance = np.diag(np.linspace(0.02, 0.08, k))
    zero = zero_offsets(model.design_.names, 1)
    data = np.linalg.inv(covariance) - np.diag(1 / np.square(model.design_.prior_sd))
    kept = np.linspace(1.0, 0.6, k)
    model.coefficients_ = replace(zero, information=OffsetInformation(data, kept))
    wide = recover(panel, model, levels=[80], n_draws=400, parameter_draws=200)
    z = model.design_.matrix(panel).astype(float)
    z = z * kept
    variance = ((z @ covariance) * z).sum(axis=1)
    obs = model.observations(panel)
    sd = smooth_levels(obs, model.parameters_).smoothed.sd
    width = [
        np.log(f.frame["level_smoothed-hi-80"] / f.frame["level_smoothed-lo-80"])
        for f in (narrow, wide)
    ]
    np.testing.assert_allclose(width[1] / width[0], np.sqrt(1 + variance / sd**2), rtol=1e-3)
    # Shared by all series and days, so that totals are wider, too.
    total = [f.lost(level=80) for f in (narrow, wide)]
    spread = [float(t["lost-hi-80"][0] - t["lost-lo-80"][0]) for t in total]
    assert spread[1] > 1.05 * spread[0]


def test_demand_is_never_below_sales_even_where_records_contradict_each_other():
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=60)
    share = np.where(np.arange(60) % 5 == 0, 0.0, 1.0).astype("float32")
    panel = validate_panel(
        pd.DataFrame({"unique_id": "a", "ds": days, "y": rng.poisson(3, 60) + 1,
                      "in_stock_share": share})
    )  # fmt: skip
    found = recover(panel, n_draws=50)
    assert found.frame["lost"].min() >= 0
    assert (found.frame["recovered-lo-95"] >= found.frame["y"]).all()
