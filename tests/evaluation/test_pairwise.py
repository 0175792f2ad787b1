"""Pairs of forecasts: values against their oracles, and winners only where there is one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.evaluation import compare, evaluate
from civstats.evaluation._pair import _p_value, reach
from civstats.evaluation.pairwise import (
    DISTANCES,
    PAIRS,
    REFUSED,
    diebold_mariano,
    pairwise,
    winners,
)
from civstats.evaluation.scoring import METRICS
from civstats.schema import CivstatsError, Forecast, ForecastError
from tests.evaluation.world import make_forecasts, make_panel, pooled

KEYS = ["unique_id", "ds"]


@pytest.fixture(scope="module")
def panel():
    return make_panel(30, 80)


@pytest.fixture(scope="module")
def forecasts(panel):
    """The truth, a tenth higher, half as high again; intervals and medians as drawn."""
    frame = make_forecasts(panel, ("A_mask", "A_ignore", "B_mask"), h=7, n_windows=6)
    mean = frame[KEYS].merge(panel[[*KEYS, "demand_mean"]])["demand_mean"].astype(float)
    return frame.assign(A_mask=mean, A_ignore=1.1 * mean, B_mask=1.5 * mean)


def world(rng, n_series, n_windows, h, errors):
    """Poisson demand whose days are shared, and a forecast for each array of log errors."""
    n = n_windows * h
    mean = rng.gamma(2, 2, (n_series, 1)) * np.exp(0.2 * rng.normal(size=(1, n)))
    days = pd.date_range("2024-01-01", periods=n + 1)
    ids = [f"s{i:03d}" for i in range(n_series)]
    frame = pd.DataFrame({"unique_id": np.repeat(ids, n), "ds": np.tile(days[1:], n_series)})
    panel = frame.assign(y=rng.poisson(mean).ravel().astype("float32"))
    frame["cutoff"] = np.tile(np.repeat(days[:-1:h], h), n_series)
    for k, error in enumerate(errors):
        frame[f"M{k}_mask"] = (mean * np.exp(error)).ravel()
    return frame, panel


def shocks(rng, n_series, n_windows, h, *, day=0.0, window=0.0, series=0.0, noise=0.2):
    return (
        day * rng.normal(size=(1, n_windows * h))
        + window * np.repeat(rng.normal(size=(1, n_windows)), h, axis=1)
        + series * rng.normal(size=(n_series, 1))
        + noise * rng.normal(size=(n_series, n_windows * h))
    )


def test_values_are_those_of_the_scores_in_the_order_of_the_columns(forecasts, panel):
    scores = evaluate(forecasts, panel, n_boot=0, metrics=["rmse", "winkler"], level=95)
    for metric, level in (("rmse", None), ("winkler", 95)):
        pairs = pairwise(forecasts, panel, metric=metric, regime="in_stock", level=level)
        assert list(pairs.columns) == list(PAIRS)
        names = [("A_mask", "A_ignore"), ("A_mask", "B_mask"), ("A_ignore", "B_mask")]
        assert list(zip(pairs["a"], pairs["b"], strict=True)) == names
        for row in pairs.itertuples():
            a, b = (pooled(scores, metric, "in_stock", n, level).value for n in (row.a, row.b))
            assert (row.value_a, row.value_b) == (a, b)
            assert row.difference == pytest.approx(a - b, abs=1e-12)
    some = pairwise(forecasts, panel, regime="demand", names=["B_mask", "A_mask"])
    assert some[["a", "b"]].to_numpy().tolist() == [["B_mask", "A_mask"]]
    assert some["better"].item() == "A_mask"


@pytest.mark.parametrize("regime", ["all_days", "in_stock"])
@pytest.mark.parametrize(("metric", "power"), [("rmse", 2), ("wape", 1)])
@pytest.mark.parametrize("step", [7, 3])
def test_diebold_mariano_is_that_of_the_days_losses(panel, metric, power, regime, step):
    forecasts = make_forecasts(panel, ("A_mask", "B_mask"), h=7, n_windows=6, step=step)
    frame = forecasts.merge(panel[[*KEYS, "y", "is_censored"]], on=KEYS)
    if regime == "in_stock":
        frame = frame[~frame["is_censored"]]
    part = "-median" if metric == "wape" else ""
    a, b = (
        (frame[f"{name}{part}"] - frame["y"]).abs().pow(power).groupby(frame["ds"]).sum()
        for name in ("A_mask", "B_mask")
    )
    row = pairwise(forecasts, panel, metric=metric, regime=regime).iloc[0]
    # A week ahead: twice the horizon is more than 1.3 sqrt(n), and in overlapping windows more
    # than half the days.
    want = diebold_mariano(a, b, h=14 if step == 7 else 11, kernel="bartlett")
    assert row.n_days == len(a) == (42 if step == 7 else 22)
    assert row.dm == pytest.approx(want.statistic, rel=1e-10)
    assert row.p_dm == pytest.approx(want.p_value, rel=1e-10)


def test_one_series_in_blocks_is_the_paired_t_test_of_the_blocks():
    rng = np.random.default_rng(4)
    errors = [shocks(rng, 1, 8, 5, noise=0.5) for _ in range(2)]
    forecasts, panel = world(rng, 1, 8, 5, errors)
    row = pairwise(forecasts, panel, metric="rmse", n_boot=40_000).iloc[0]
    loss = [(forecasts[f"M{k}_mask"] - panel["y"]) ** 2 for k in range(2)]
    mean = [x.to_numpy().reshape(8, 5).mean(axis=1) for x in loss]
    # A root: to first order its difference is that of the means over twice the root.
    unit = [m / (2 * np.sqrt(m.mean())) for m in mean]
    error = np.std(unit[0] - unit[1], ddof=1) / np.sqrt(8)
    assert row.p == pytest.approx(2 * stats.t.sf(abs(row.difference) / error, 7), rel=0.06)
    reach = stats.t.isf(0.025, 7) * error
    assert (row.hi - row.lo) / 2 == pytest.approx(reach, rel=0.04)
    assert (row.hi + row.lo) / 2 == pytest.approx(row.difference)


@pytest.mark.parametrize("factors", [(1.4, 1.2), (1.4, 0.7), (0.8, 0.7)])
def test_one_series_bias_in_blocks(factors):
    rng = np.random.default_rng(5)
    errors = [np.log(f) + shocks(rng, 1, 3, 80, noise=0.3) for f in factors]
    forecasts, panel = world(rng, 1, 3, 80, errors)
    row = pairwise(forecasts, panel, metric="bias", n_boot=40_000).iloc[0]
    y = panel["y"].to_numpy(dtype=float)
    unit = np.zeros(3)
    for k, sign in ((0, 1), (1, -1)):
        gap = forecasts[f"M{k}_mask"].to_numpy() - y
        side = 1 if gap.sum() > 0 else -1
        part = side * (gap - gap.sum() / y.sum() * y) / y.mean()
        unit += sign * part.reshape(3, 80).mean(axis=1)
    error = np.std(unit, ddof=1) / np.sqrt(3)
    assert (row.hi - row.lo) / 2 == pytest.approx(stats.t.isf(0.025, 2) * error, rel=0.05)


def test_with_many_blocks_the_error_is_that_of_the_replicates(forecasts, panel):
    row = pairwise(forecasts, panel, names=["A_mask", "B_mask"], block=1, n_boot=2000).iloc[0]
    gap = compare(forecasts, panel, "A_mask", "B_mask", "rmse", n_boot=2000)
    assert row.lo == pytest.approx(gap.lo, abs=0.15 * (gap.hi - gap.lo))
    assert row.hi == pytest.approx(gap.hi, abs=0.15 * (gap.hi - gap.lo))


def test_adjustments(forecasts, panel):
    one = pairwise(forecasts, panel, metric="wape", names=["A_mask", "B_mask"])
    assert one["p_adjusted"].item() == one["p"].item()
    assert one["p_dm_adjusted"].item() == one["p_dm"].item()
    holm, all_three = (
        pairwise(forecasts, panel, metric="wape", adjust=a) for a in ("holm", "bonferroni")
    )
    for column in ("p", "p_dm"):
        p = np.sort(holm[column])
        step = np.minimum(np.maximum.accumulate(p * [3, 2, 1]), 1)
        np.testing.assert_allclose(np.sort(holm[f"{column}_adjusted"]), step)
        np.testing.assert_allclose(all_three[f"{column}_adjusted"], np.minimum(3 * holm[column], 1))
    # The intervals hold together: wider than the one alone by what three of them ask for.
    pair = holm.set_index(["a", "b"]).loc[("A_mask", "B_mask")]
    assert (pair.hi - pair.lo) > 1.15 * (one["hi"] - one["lo"]).item()
    assert (holm["lo"] == all_three["lo"]).all()


def test_clear_cases_are_decided_and_equal_ones_are_not(forecasts, panel):
    pairs = pairwise(forecasts, panel, regime="demand")
    assert pairs["better"].tolist() == ["A_mask", "A_mask", "A_ignore"]
    twin = forecasts.assign(C_mask=forecasts["A_mask"])
    row = pairwise(twin, panel, regime="demand", names=["A_mask", "C_mask"]).iloc[0]
    assert (row.difference, row.p, row.better) == (0, 1, "")
    assert row.note == "no Diebold-Mariano test: the losses differ by the same every day"


def test_a_gap_of_some_series_alone_names_no_winner():
    # Every forecast misjudges some series, day after day: over days that looks certain, but
    # other series would say otherwise.
    rng = np.random.default_rng(11)
    errors = [shocks(rng, 12, 8, 7, series=0.5) for _ in range(4)]
    pairs = pairwise(*world(rng, 12, 8, 7, errors))
    assert (pairs["p_dm_adjusted"] < 0.01).any()
    assert (pairs["better"] == "").all()


def test_one_window_tells_nothing(forecasts, panel):
    last = forecasts[forecasts["cutoff"] == forecasts["cutoff"].max()]
    pairs = pairwise(last, panel, regime="demand")
    assert (pairs["better"] == "").all()
    assert pairs[["lo", "p", "p_dm"]].isna().all(axis=None)
    assert pairs["note"][0] == (
        "all 7 scored days in one block of 7: one draw tells nothing; "
        "no Diebold-Mariano test: 7 days for a horizon of 7"
    )
    # Days for blocks: the bootstrap alone is not enough.
    daily = pairwise(last, panel, regime="demand", block=1)
    assert (daily["p_adjusted"] < 0.05).any()
    assert (daily["better"] == "").all()


def test_the_horizon_counts_periods_not_rows(panel):
    rng = np.random.default_rng(2)
    # Each day forecast seven days ahead, one window a day.
    days = np.sort(panel["ds"].unique())[-60:]
    frame = panel.loc[panel["ds"].isin(days), [*KEYS, "demand_mean"]]
    mean = frame.pop("demand_mean").to_numpy(dtype=float)
    frame = frame.assign(cutoff=frame["ds"] - pd.Timedelta(days=7))
    frame = frame.assign(A_mask=mean, B_mask=mean * rng.gamma(9, 1 / 9, len(mean)))
    row = pairwise(frame, panel, metric="rmse", regime="demand").iloc[0]
    loss = [
        (frame[n] - panel.loc[frame.index, "demand"]).pow(2).groupby(frame["ds"]).sum()
        for n in ("A_mask", "B_mask")
    ]
    assert row.dm == pytest.approx(diebold_mariano(*loss, h=14, kernel="bartlett").statistic)


def test_bias_is_held_against_what_a_perfect_forecast_shows():
    # Poisson(5), a stock of 6: in-stock days are low days, the truth looks 27 % too high there.
    rng = np.random.default_rng(8)
    panel = make_panel(40, 60, out_rate=0.0)
    demand = rng.poisson(5.0, len(panel))
    sold = np.minimum(demand, 6)
    panel = panel.assign(y=sold, is_censored=demand >= 6, demand=demand, demand_mean=5.0)
    frame = make_forecasts(panel, ("A_censor",), n_windows=6).assign(A_censor=5.0, A_mask=3.55)
    plain = evaluate(frame, panel, n_boot=0, metrics="bias", regimes="in_stock", level=None)
    bias = {n: pooled(plain, "bias", "in_stock", n).value for n in ("A_mask", "A_censor")}
    assert abs(bias["A_mask"]) < 0.1 < 0.2 < bias["A_censor"]
    for regime in ("in_stock", "all_days", "demand"):
        row = pairwise(frame, panel, metric="bias", regime=regime).iloc[0]
        assert row.better == "A_censor"
        assert np.isnan(row.dm)
        assert row.note.endswith("no Diebold-Mariano test: not a mean of daily losses")
    assert row.difference == pytest.approx(abs(row.value_a) - abs(row.value_b), abs=0.02)
    real = panel.drop(columns=["demand", "demand_mean"])
    with pytest.raises(
        CivstatsError, match=r"\d+ of the forecast days are stockouts, so a perfect"
    ):
        pairwise(frame, real, metric="bias")
    # Without stockouts the plain figure is right: less is better on either side of 0.
    clean = real.assign(y=demand, is_censored=False)
    frame = frame.assign(A_mask=4.6, A_censor=6.5)
    row = pairwise(frame, clean, metric="bias").iloc[0]
    assert row.value_a > 0.2 > 0 > row.value_b
    assert row.difference == pytest.approx(abs(row.value_a) - abs(row.value_b), abs=1e-12)
    assert row.better == "A_mask"


def test_coverage_is_held_against_what_the_model_expects(panel):
    frame = make_forecasts(panel, ("A_mask",), n_windows=6)
    mean = frame[KEYS].merge(panel[[*KEYS, "demand_mean"]])["demand_mean"].to_numpy(dtype=float)
    frame = frame[[*KEYS, "cutoff"]]
    held = []
    for name, factor in (("A_mask", 1.0), ("B_mask", 0.5)):
        law = stats.poisson(factor * mean)
        frame[name] = factor * mean
        for part, share in (("median", 0.5), ("lo-80", 0.1), ("hi-80", 0.9)):
            frame[f"{name}-{part}"] = law.ppf(share)
    with pytest.raises(CivstatsError, match="pass the forecasts' distributions as predictive"):
        pairwise(frame, panel, metric="coverage", regime="demand", level=80)
    for name in ("A_mask", "B_mask"):
        columns = [*KEYS, "cutoff", *(c for c in frame if c.startswith(name))]
        for _, part in frame[columns].sort_values(KEYS).groupby("cutoff"):
            part = part.reset_index(drop=True)
            marginal = part[KEYS].assign(family="negbin", mean=part[name], dispersion=1e6)
            held.append(Forecast(part, name[0], "mask", (80.0,), marginal=marginal))
    row = pairwise(
        frame, panel, metric="coverage", regime="demand", level=80, predictive=held
    ).iloc[0]
    # Counts: the true intervals cover more than 80 %, as they should.
    assert row.value_a > 0.84
    assert row.value_b < row.value_a
    assert row.better == "A_mask"
    crps = pairwise(frame, panel, metric="crps", regime="demand", predictive=held)
    assert crps["better"].item() == "A_mask"
    half = frame.assign(C_mask=mean)
    crps = pairwise(half, panel, metric="crps", regime="demand", predictive=held)
    assert crps["better"].tolist() == ["A_mask", "", ""]
    assert "predictive distribution" in crps["note"][1]
    assert crps["p_adjusted"][0] == crps["p"][0]
    with pytest.raises(CivstatsError, match="crps in regime demand is not to be had: needs a pred"):
        pairwise(frame, panel, metric="crps", regime="demand", predictive=held[:6])


def test_a_flagged_score_names_no_winner(forecasts, panel):
    # Two days in three out: sales do not tell the mean.
    out = np.arange(len(panel)) % 3 > 0
    bare = panel.assign(y=np.where(out, 0, panel["y"]).astype("float32"), is_censored=out)
    pairs = pairwise(forecasts, bare, metric="rmse", regime="all_days")
    assert (pairs["p_adjusted"] < 0.05).any()
    assert (pairs["better"] == "").all()
    assert pairs["note"].str.contains("not identified").all()


def test_every_metric_is_a_loss_a_distance_or_refused():
    losses = {"wape", "wape_total", "rmse", "mase", "rmsse", "winkler", "pinball", "crps"}
    losses |= {"log_score", "localised_crps", "censored_log_score", "censored_pinball"}
    assert set(METRICS) == losses | set(DISTANCES) | set(REFUSED)


def test_refusals(forecasts, panel):
    def refused(match, error=CivstatsError, **options):
        with pytest.raises(error, match=match):
            pairwise(forecasts, panel, **options)

    refused("a narrow interval is not a better one", metric="width", level=80)
    refused("adjust must be one of holm, bonferroni, fdr_by", adjust="none")
    refused("n_boot must be at least 100", n_boot=50)
    refused("need a level", metric="winkler")
    refused("metrics must be some of", metric="accuracy")
    refused("no forecast column X_mask", ForecastError, names=["X_mask", "A_mask"])
    refused("two forecasts, but there is A_mask", ForecastError, names=["A_mask", "A_mask"])
    refused("not proper here", metric="censored_log_score", regime="censored")
    with pytest.raises(ForecastError, match="missing or infinite"):
        pairwise(forecasts.assign(A_mask=np.nan), panel)


def test_inputs_are_left_alone_and_a_seed_is_an_answer(forecasts, panel):
    before = forecasts.copy(deep=True), panel.copy(deep=True)
    first, again = (pairwise(forecasts, panel, metric="wape", seed=5) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    assert first["p"][0] != pairwise(forecasts, panel, metric="wape", seed=6)["p"][0]
    pd.testing.assert_frame_equal(forecasts, before[0])
    pd.testing.assert_frame_equal(panel, before[1])
    # The order of a pair is its sign.
    back = pairwise(forecasts, panel, metric="wape", seed=5, names=["B_mask", "A_mask"]).iloc[0]
    there = pairwise(forecasts, panel, metric="wape", seed=5, names=["A_mask", "B_mask"]).iloc[0]
    assert (back.lo, back.dm, back.p) == pytest.approx((-there.hi, -there.dm, there.p))


def test_winners_in_words(forecasts, panel):
    pairs = pairwise(forecasts, panel, regime="demand")
    table = winners(pairs)
    assert table["name"].tolist() == ["A_mask", "A_ignore", "B_mask"]
    assert table["not_beaten"].tolist() == [True, False, False]
    assert table["sentence"].tolist() == [
        "A_mask is better than A_ignore and B_mask.",
        "A_ignore is better than B_mask; worse than A_mask.",
        "B_mask is worse than A_mask and A_ignore.",
    ]
    both = winners(pd.concat([pairs, pairs.assign(metric="wape", better="")]))
    assert both["metric"].tolist() == ["rmse"] * 3 + ["wape"] * 3
    assert both["not_beaten"].tolist() == [True, False, False, True, True, True]
    assert both["sentence"].iloc[-1].startswith("Between B_mask and A_mask and A_ignore nothing")
    assert both.loc[3, ["better_than", "worse_than", "undecided"]].tolist() == [
        "",
        "",
        "A_ignore, B_mask",
    ]
    with pytest.raises(CivstatsError, match="the pairs lack better"):
        winners(pairs.drop(columns="better"))
    with pytest.raises(CivstatsError, match="the pairs lack rows"):
        winners(pairs.iloc[:0])


def test_a_winner_by_sales_is_said_to_be_none_of_demand(forecasts, panel):
    tables = {r: winners(pairwise(forecasts, panel, regime=r, n_boot=100))
              for r in ("in_stock", "all_days", "demand")}  # fmt: skip
    assert tables["in_stock"]["not_beaten"].any()
    for regime, words in (("in_stock", "in-stock days alone"), ("all_days", "sales, not demand")):
        assert tables[regime]["caveat"].str.startswith(f"scores {words}").all()
        assert tables[regime]["sentence"].str.contains(rf" \(scores {words}").all()
    assert (tables["demand"]["caveat"] == "").all()
    clean = panel.assign(y=panel["demand"], is_censored=False)
    assert (winners(pairwise(forecasts, clean, n_boot=100))["caveat"] == "").all()


@pytest.mark.parametrize("p", [0.05, 0.01])
@pytest.mark.parametrize("truth", [0.2, 0.5, 0.8])
def test_few_blocks_and_many_series_together_are_on_the_safe_side(p, truth):
    # A sum of two normal parts whose variances are estimated with 2 and 29 degrees of freedom.
    rng = np.random.default_rng(6)
    n = 5_000
    days, series = truth * rng.chisquare(2, n) / 2, (1 - truth) * rng.chisquare(29, n) / 29
    ratio = np.abs(rng.normal(size=n)) / np.sqrt(days + series)
    share = days / (days + series)
    far = np.array([reach(p, w, 2, 29) for w in share])
    assert 0.02 * p < (ratio > far).mean() < p + 2 * np.sqrt(p * (1 - p) / n)
    # What a part of few degrees of freedom does to an approximation by one t distribution.
    lack = share**2 / 2 + (1 - share) ** 2 / 29
    if p == 0.01 and truth == 0.5:
        assert (ratio > stats.t.isf(p / 2, 1 / lack)).mean() > 1.25 * p
    for k in range(5):
        assert _p_value(far[k], share[k], 2, 29) == pytest.approx(p, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((30, 3, 28), {"day": 0.1, "window": 0.3, "series": 0.1}),
        ((30, 12, 7), {"day": 0.3, "series": 0.1}),
        ((30, 56, 1), {"day": 0.3, "series": 0.1}),
        ((30, 6, 7), {"series": 0.4}),
    ],
    ids=["shared_windows", "shared_days", "one_step", "series"],
)
@pytest.mark.parametrize("metric", ["rmse", "bias", "wape_total"])
def test_false_winners_are_rare(shape, parts, metric):
    """Four forecasts whose errors have one distribution: any winner is a false one."""
    rng = np.random.default_rng(3)
    n_worlds, false = 100, 0
    for _ in range(n_worlds):
        errors = [shocks(rng, *shape, **parts) for _ in range(4)]
        forecasts, panel = world(rng, *shape, errors)
        pairs = pairwise(forecasts, panel, metric=metric, n_boot=200, seed=rng)
        false += (pairs["better"] != "").any()
    assert false / n_worlds <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / n_worlds)
