"""Availability: calibrated chances, shrinkage, caps, and nothing read from after the cutoff."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betaln
from scipy.stats import binom

from civstats.models.availability import Availability, BetaBinomial
from civstats.models.availability.common import Cells, common_shift, entry_elasticity
from civstats.schema import CivstatsError, ForecastError, validate_panel

START = "2023-01-01"


def chain(rng, n_days, entry, exit_, state=False):
    out = np.empty(n_days, bool)
    for t in range(n_days):
        state = rng.random() < (1 - exit_ if state else entry)
        out[t] = state
    return out


def panel_of(outs, *, dept=None, mean=5.0, cap=None, seed=0, **columns):
    """Series of flags; sales Poisson in stock, `cap` (or nothing) on days out."""
    rng = np.random.default_rng(seed)
    frames = []
    for k, out in enumerate(outs):
        level = mean[k] if np.ndim(mean) else mean
        y = rng.poisson(level, len(out)).astype(float)
        y[out] = 0 if cap is None else cap[k]
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{k:03d}",
                    "ds": pd.date_range(START, periods=len(out)),
                    "y": y,
                    "is_censored": out,
                    "dept_id": dept[k] if dept else "D",
                }
            )
        )
    return validate_panel(pd.concat(frames, ignore_index=True).assign(**columns))


def future_days(panel, h=28):
    return pd.date_range(panel["ds"].max() + pd.Timedelta(days=1), periods=h)


# --- shrinkage -----------------------------------------------------------------------------------


def test_shrinkage_agrees_with_brute_force():
    hits, trials = np.array([2.0, 9.0, 0.0, 30.0]), np.array([50.0, 60.0, 4.0, 200.0])
    fit = BetaBinomial.fit(hits, trials, group=np.zeros(4, int))
    # The same model on a fine fixed grid.
    centre = np.log((hits.sum() + 0.5) / (trials.sum() - hits.sum() + 0.5))
    x, z = np.meshgrid(
        np.linspace(centre - 4, centre + 4, 400), np.linspace(-3, 9, 400), indexing="ij"
    )
    m, big = 1 / (1 + np.exp(-x)), np.exp(z)
    log = -0.5 * (x - centre) ** 2 - 0.5 * ((z - np.log(50)) / 1.5) ** 2
    for h, t in zip(hits, trials, strict=True):
        log = log + betaln(m * big + h, (1 - m) * big + t - h) - betaln(m * big, (1 - m) * big)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    exact = [(weight * (h + m * big) / (t + big)).sum() for h, t in zip(hits, trials, strict=True)]
    np.testing.assert_allclose(fit.posterior_mean(), exact, rtol=0.01)
    drawn = fit.draw(fit.draw_groups(20_000, np.random.default_rng(0)), np.arange(4), _rng(1))
    np.testing.assert_allclose(drawn.mean(axis=1), exact, rtol=0.03)


def _rng(seed):
    return np.random.default_rng(seed)


def test_posterior_intervals_of_a_proportion_cover():
    rng = _rng(3)
    n = 400
    truth = rng.beta(0.04 * 60, 0.96 * 60, n)
    trials = rng.choice([10, 60, 300], n)
    fit = BetaBinomial.fit(rng.binomial(trials, truth), trials, group=np.zeros(n, int))
    drawn = fit.draw(fit.draw_groups(800, rng), np.arange(n), rng)
    lo, hi = np.quantile(drawn, (0.1, 0.9), axis=1)
    covered = int(((truth >= lo) & (truth <= hi)).sum())
    assert binom.ppf(0.001, n, 0.8) <= covered <= binom.ppf(0.999, n, 0.8)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 400)), min_size=1, max_size=12),
    st.integers(1, 3),
)
def test_shrinkage_is_finite_and_between_its_bounds(counts, groups):
    hits = np.array([h for h, _ in counts], float)
    trials = hits + np.array([m for _, m in counts], float)
    group = np.arange(len(counts)) % min(groups, len(counts))
    mean = BetaBinomial.fit(hits, trials, group=group).posterior_mean()
    assert np.isfinite(mean).all()
    assert ((mean > 0) & (mean < 1)).all()


def test_a_series_with_three_days_of_history_stays_near_its_department():
    rng = _rng(5)
    outs = [chain(rng, 400, 0.02, 0.4) for _ in range(20)] + [
        chain(rng, 400, 0.2, 0.4) for _ in range(20)
    ]
    outs += [np.array([True, True, True]), np.array([False, False, False])]
    dept = ["A"] * 20 + ["B"] * 20 + ["A", "B"]
    probability = Availability().fit(panel_of(outs, dept=dept)).probability_["probability"]
    a, b = probability.iloc[:20].mean(), probability.iloc[20:40].mean()
    assert a == pytest.approx(0.02 / 0.42, rel=0.25)
    assert b == pytest.approx(0.2 / 0.6, rel=0.15)
    assert probability["s040"] < 2 * a, "three days out must not make a department's exception"
    assert probability["s041"] > 0.7 * b


# --- the chain -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def markov_world():
    """Series with chances of their own; the next 28 days held out."""
    rng = _rng(11)
    n = 150
    entry, exit_ = rng.beta(3, 60, n), rng.beta(8, 12, n)
    outs = [chain(rng, 528, e, x) for e, x in zip(entry, exit_, strict=True)]
    past = panel_of([o[:500] for o in outs], dept=[f"D{k % 3}" for k in range(n)])
    model = Availability(half_life=2000).fit(past)
    paths = model.paths(model.series_, future_days(past), 400, seed=1)
    return entry, exit_, np.stack([o[500:] for o in outs]), model, paths


def test_long_run_probability_is_calibrated(markov_world):
    entry, exit_, _, model, _ = markov_world
    truth = entry / (entry + exit_)
    got = model.probability_
    assert got["probability"].mean() == pytest.approx(truth.mean(), rel=0.06)
    covered = int(((truth >= got["p10"]) & (truth <= got["p90"])).sum())
    assert binom.ppf(0.001, len(truth), 0.8) <= covered <= binom.ppf(0.999, len(truth), 0.8)


def test_days_out_over_the_horizon_are_calibrated(markov_world):
    _, _, future, _, paths = markov_world
    drawn, truth = paths["out"].sum("ds").to_numpy(), future.sum(axis=1)
    u = _rng(2).random(len(truth))
    pit = (drawn < truth[:, None]).mean(axis=1) + u * (drawn == truth[:, None]).mean(axis=1)
    inside = int(((pit > 0.1) & (pit < 0.9)).sum())
    assert binom.ppf(0.001, len(pit), 0.8) <= inside <= binom.ppf(0.999, len(pit), 0.8)
    total = drawn.sum(axis=0)
    assert np.quantile(total, 0.005) <= truth.sum() <= np.quantile(total, 0.995)


def test_paths_have_the_runs_of_the_chain(markov_world):
    entry, exit_, _, _, paths = markov_world
    out = paths["out"].to_numpy()
    stay = (out[:, :, 1:] & out[:, :, :-1]).sum() / out[:, :, :-1].sum()
    weight = entry / (entry + exit_)
    assert stay == pytest.approx(np.average(1 - exit_, weights=weight), abs=0.04)


def test_paths_start_from_the_last_observed_state():
    outs = [np.r_[np.arange(300) % 30 < 6, False], np.r_[np.arange(300) % 30 < 6, True]]
    panel = panel_of(outs)
    paths = Availability().fit(panel).paths(["s000", "s001"], future_days(panel), 2000, seed=0)
    first = paths["out"].isel(ds=0).mean("sample").to_numpy()
    assert first[0] == pytest.approx(0.04, abs=0.03)
    assert first[1] == pytest.approx(5 / 6, abs=0.08)
    last = paths["out"].isel(ds=-1).mean("sample").to_numpy()
    assert abs(last[0] - last[1]) < 0.05


def test_unknown_days_at_the_end_are_bridged():
    out = np.r_[np.arange(300) % 30 < 6, True]
    one = panel_of([out])
    tail = panel_of([np.r_[out, np.zeros(40, bool)]])
    tail["flag_known"] = np.arange(len(tail)) < len(out)
    day = future_days(tail, 1)
    a = Availability().fit(one).paths(["s000"], day, 4000, seed=0)["out"].mean()
    b = Availability().fit(validate_panel(tail)).paths(["s000"], day, 4000, seed=0)["out"].mean()
    assert float(a) == pytest.approx(float(b), abs=0.03)
    # Six weeks after it was last seen out, the state says nothing: the long-run share, not 5 / 6.
    longrun = Availability().fit(one).probability_["probability"].iloc[0]
    assert float(b) == pytest.approx(longrun, abs=0.03)
    assert longrun < 0.35


def test_recent_history_counts_more():
    rng = _rng(0)
    outs = [np.r_[chain(rng, 400, 0.3, 0.4), chain(rng, 200, 0.02, 0.4)] for _ in range(20)]
    panel = panel_of(outs)
    recent = Availability(half_life=60).fit(panel).probability_["probability"].mean()
    forever = Availability(half_life=5000).fit(panel).probability_["probability"].mean()
    assert recent < 0.12 < 0.2 < forever


def test_demand_tilts_the_begin_of_outages_without_changing_how_many():
    rng = _rng(4)
    week = np.array([1, 1, 1, 1, 1, 2.0, 2.0])
    days = np.arange(420)
    outs = [rng.random(420) < 0.04 * week[(days + 6) % 7] ** 1.5 for _ in range(60)]
    panel = panel_of(outs)
    panel["y"] = np.where(panel["is_censored"], 0, 4 * week[panel["ds"].dt.dayofweek]).astype("f4")
    model = Availability().fit(panel)
    # Same weekday pattern of sales (x 2) and outages (x 2^1.5): the power is 1.5.
    assert model.elasticity_ == pytest.approx(1.5, abs=0.25)
    ds = future_days(panel)
    import xarray as xr

    mean = np.tile(4 * week[ds.dayofweek], (60, 1))
    demand = xr.DataArray(mean, {"unique_id": model.series_, "ds": ds}, ("unique_id", "ds"))
    tilted = model.paths(model.series_, ds, 300, seed=0, demand=demand)["out"].to_numpy()
    flat = model.paths(model.series_, ds, 300, seed=0)["out"].to_numpy()
    high = week[ds.dayofweek] > 1
    ratio = tilted[:, :, high].mean() / tilted[:, :, ~high].mean()
    assert ratio == pytest.approx(2**1.5, rel=0.2)
    assert flat[:, :, high].mean() == pytest.approx(flat[:, :, ~high].mean(), rel=0.05)
    assert tilted.mean() == pytest.approx(flat.mean(), rel=0.05)
    with pytest.raises(ForecastError, match="demand lacks 1 series"):
        model.paths(model.series_, ds, 10, demand=demand.isel(unique_id=slice(1, None)))


def test_elasticity_is_zero_where_outages_ignore_demand():
    rng = _rng(8)
    x = np.tile(np.exp(rng.normal(0, 0.3, 14)), 5)
    expected = np.full(70, 80.0)
    cells = Cells(
        np.repeat(np.arange(5), 14), 1000 * x, np.full(70, 1000.0), rng.poisson(expected), expected
    )
    assert abs(entry_elasticity(cells)) < 0.15


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_common_shift_is_recovered(shift):
    rng = _rng(9)
    blocks = 60
    factor = np.repeat(np.exp(shift * rng.normal(size=blocks)), 28)
    # Three a day: chance alone scatters a block by 11 %, which must not pass for a common shift.
    expected = np.full(28 * blocks, 3.0)
    out = rng.poisson(expected * factor)
    got = common_shift(np.arange(len(out)), out, expected, expected, half_life=1e6)
    assert got == pytest.approx(shift, abs=0.05)


def test_a_common_shift_widens_totals_and_not_their_mean():
    rng = _rng(12)
    panel = panel_of([chain(rng, 400, 0.04, 0.4) for _ in range(60)])
    model = Availability().fit(panel)
    totals = {}
    for shift in (0.0, 0.4):
        model.shift_ = shift
        out = model.paths(model.series_, future_days(panel), 1500, seed=0)["out"]
        totals[shift] = out.sum(["unique_id", "ds"]).to_numpy()
    spread = {k: v.std() / v.mean() for k, v in totals.items()}
    assert np.sqrt(spread[0.4] ** 2 - spread[0.0] ** 2) == pytest.approx(0.37, abs=0.06)
    assert totals[0.4].mean() == pytest.approx(totals[0.0].mean(), rel=0.05)


# --- caps and hours lost -------------------------------------------------------------------------


def test_own_caps_are_resampled_and_few_are_helped_by_the_department():
    rng = _rng(1)
    outs = [chain(rng, 400, 0.1, 0.5) for _ in range(10)]
    quiet = np.zeros(400, bool)
    panel = panel_of([*outs, quiet], mean=[10.0] * 10 + [40.0], cap=[12] * 10 + [0])
    model = Availability().fit(panel)
    paths = model.paths(model.series_, future_days(panel), 500, seed=0)
    stock, out = paths["stock"].to_numpy(), paths["out"].to_numpy()
    assert np.isposinf(stock[~out]).all()
    assert np.isfinite(stock[out]).all()
    own = stock[0][out[0]]
    assert np.median(own[own > 0]) == 12
    lent = stock[10][out[10]]
    # The department's caps are 1.2 times its level; the quiet series' level is 40.
    assert lent[lent > 0].mean() == pytest.approx(48, rel=0.1)
    assert (stock[out] == np.rint(stock[out])).all()
    assert (own == 0).mean() < 0.05


def test_first_and_later_days_of_an_outage_have_their_own_chance_of_nothing():
    rng = _rng(2)
    outs = [chain(rng, 600, 0.05, 0.3) for _ in range(12)]
    panel = panel_of(outs, mean=8.0)
    flag = panel["is_censored"].to_numpy()
    first = flag & ~np.r_[False, flag[:-1]]
    panel["y"] = np.where(first, 6, panel["y"]).astype("float32")
    paths = (
        Availability().fit(panel).paths(panel["unique_id"].cat.categories, future_days(panel), 300)
    )
    out, stock = paths["out"].to_numpy(), paths["stock"].to_numpy()
    begun = out[:, :, 1:] & ~out[:, :, :-1]
    later = out[:, :, 1:] & out[:, :, :-1]
    assert (stock[:, :, 1:][begun] > 0).mean() > 0.97
    assert (stock[:, :, 1:][later] == 0).mean() > 0.97


def test_hours_lost_come_as_shares():
    rng = _rng(6)
    outs = [chain(rng, 300, 0.1, 0.5) for _ in range(6)]
    panel = panel_of(outs)
    panel["in_stock_share"] = np.where(panel["is_censored"], 0.25, 1).astype("float32")
    panel["is_censored"] = False
    model = Availability().fit(validate_panel(panel))
    paths = model.paths(model.series_, future_days(panel), 200)
    out, share = paths["out"].to_numpy(), paths["share"].to_numpy()
    assert out.any()
    assert (share[out] == 0.25).all()
    assert (share[~out] == 1).all()
    assert np.isposinf(paths["stock"].to_numpy()).all()


# --- the contract --------------------------------------------------------------------------------


def test_without_flags_it_says_what_to_do():
    panel = panel_of([np.zeros(30, bool)]).drop(columns="is_censored")
    with pytest.raises(CivstatsError, match=r"no stockout flags.*simulate"):
        Availability().fit(panel)
    unknown = panel_of([np.zeros(30, bool)]).assign(flag_known=False)
    with pytest.raises(CivstatsError, match="flag_known is False on all 30 rows"):
        Availability().fit(unknown)


def test_no_stockout_in_the_panel_means_none_ahead():
    panel = panel_of([np.zeros(200, bool)] * 3)
    paths = Availability().fit(panel).paths(["s000", "s001", "s002"], future_days(panel), 100)
    assert not paths["out"].any()


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"ids": ["s000", "zzz"]}, "1 series without history.*zzz"),
        ({"days": pd.date_range(START, periods=3)}, "3 on or before it"),
        ({"days": []}, "0 day"),
        ({"n_paths": 0}, "n_paths must be"),
    ],
)
def test_bad_requests(kwargs, match):
    panel = panel_of([np.arange(60) % 10 < 2])
    model = Availability().fit(panel)
    with pytest.raises(ForecastError, match=match):
        model.paths(**{"ids": ["s000"], "days": future_days(panel), "n_paths": 5, **kwargs})
    with pytest.raises(ForecastError, match="not fitted"):
        Availability().paths(["s000"], future_days(panel))
    with pytest.raises(CivstatsError, match="half_life"):
        Availability(half_life=0)


def test_same_seed_same_paths_truth_unread_and_input_untouched():
    rng = _rng(0)
    panel = panel_of([chain(rng, 200, 0.1, 0.4) for _ in range(4)], cap=[0, 2, 3, 4])
    panel["demand"] = panel["y"] + 1
    before = panel.copy()
    ids, ds = panel["unique_id"].cat.categories, future_days(panel)
    a = Availability().fit(panel).paths(ids, ds, 50, seed=3)
    assert panel.equals(before)
    scrambled = panel.assign(demand=rng.permutation(panel["demand"]))
    assert a.identical(Availability().fit(scrambled).paths(ids, ds, 50, seed=3))
    assert not a.identical(Availability().fit(panel).paths(ids, ds, 50, seed=4))
    # Asked in another order, the answer keeps that order.
    assert list(Availability().fit(panel).paths(ids[::-1], ds, 5)["unique_id"].to_numpy()) == list(
        ids[::-1]
    )


def test_a_weekly_panel_counts_in_weeks():
    rng = _rng(0)
    panel = panel_of([chain(rng, 150, 0.1, 0.4) for _ in range(5)])
    panel["ds"] = pd.Timestamp("2020-01-05") + 7 * (panel["ds"] - pd.Timestamp(START))
    panel = validate_panel(panel, freq="W-SUN")
    model = Availability(half_life=500).fit(panel)
    assert model.elasticity_ == pytest.approx(0, abs=1e-6)
    weeks = pd.date_range(panel["ds"].max(), periods=9, freq="W-SUN")[1:]
    out = model.paths(model.series_, weeks, 500)["out"].to_numpy()
    stay = (out[:, :, 1:] & out[:, :, :-1]).sum() / out[:, :, :-1].sum()
    assert stay == pytest.approx(0.6, abs=0.1)
