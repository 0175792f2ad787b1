"""The bias of a perfect forecast on scored days: worked numbers and their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.evaluation import evaluate, selection_bias
from civstats.schema import CivstatsError, PanelError, validate_panel


def world(family, cap=8, n_series=400, n_days=150, seed=0):
    rng = np.random.default_rng(seed)
    demand = family.rvs(n_series * n_days, random_state=rng)
    return validate_panel(
        pd.DataFrame(
            {
                "unique_id": np.repeat([f"s{i:03d}" for i in range(n_series)], n_days),
                "ds": np.tile(pd.date_range("2024-01-01", periods=n_days), n_series),
                "y": np.minimum(demand, cap),
                "is_censored": demand >= cap,
                "stock": cap,
                "demand": demand,
                "demand_mean": family.mean(),
            }
        )
    )


@pytest.mark.parametrize(
    ("family", "printed"), [(stats.poisson(5), 0.14), (stats.nbinom(2, 2 / 7), 0.56)]
)
def test_a_perfect_forecast_looks_biased_on_in_stock_days(family, printed):
    """Mean 5, stock 8: mu / E[D | D < 8] - 1 is +14 % for Poisson, +56 % for NB(5, 2)."""
    x = np.arange(400)
    p = family.pmf(x)
    exact_in_stock = 5 / ((x * p)[:8].sum() / p[:8].sum()) - 1
    exact_all = 5 / (np.minimum(x, 8) * p).sum() - 1
    assert exact_in_stock == pytest.approx(printed, abs=0.005)
    table = selection_bias(world(family), n_boot=200).set_index("regime")
    for regime, exact in (("in_stock", exact_in_stock), ("all_days", exact_all), ("demand", 0)):
        row = table.loc[regime]
        assert row["value"] == pytest.approx(exact, abs=0.02)
        assert row["lo"] < exact < row["hi"]
        assert row["hi"] - row["lo"] < 0.08


def test_equals_the_score_of_the_true_mean_with_its_interval():
    panel = world(stats.nbinom(2, 2 / 7), n_series=20, n_days=40)
    truth = panel[["unique_id", "ds"]].assign(
        cutoff=panel["ds"].min() - pd.Timedelta(days=1), T_mask=panel["demand_mean"].astype(float)
    )
    scores = evaluate(truth, panel, metrics="bias", level=None, seed=4, n_boot=99)
    scores = scores[scores["cutoff"].isna()].reset_index(drop=True)
    rows = panel.sample(frac=1, random_state=1)
    table = selection_bias(rows, seed=4, n_boot=99)
    columns = ["regime", "value", "lo", "hi", "n", "identified"]
    pd.testing.assert_frame_equal(table, scores[columns], rtol=1e-12)


def test_undefined_and_refused():
    panel = world(stats.poisson(5), n_series=2, n_days=5)
    dark = panel.assign(is_censored=True).drop(columns="stock")
    row = selection_bias(dark, n_boot=10).set_index("regime").loc["in_stock"]
    assert np.isnan(row["value"])
    assert np.isnan(row["lo"])
    assert row["n"] == 0
    assert not row["identified"]
    with pytest.raises(CivstatsError, match="no demand_mean"):
        selection_bias(panel.drop(columns="demand_mean"))
    with pytest.raises(PanelError, match="no rows"):
        selection_bias(panel.iloc[:0])
    hole = panel.assign(demand_mean=panel["demand_mean"].where(panel.index != 3))
    with pytest.raises(PanelError, match=r"1 row\(s\) with missing or infinite y or demand_mean"):
        selection_bias(hole)


def availability(ids, days, out, cap):
    """Draws with the same days out and cap for every series."""
    import xarray as xr

    shape = (len(ids), len(out), len(days))
    gone = np.broadcast_to(np.asarray(out)[None, :, None], shape)
    return xr.Dataset(
        {
            "out": (("unique_id", "sample", "ds"), gone),
            "stock": (("unique_id", "sample", "ds"), np.where(gone, cap, np.inf)),
            "share": (("unique_id", "sample", "ds"), np.ones(shape)),
        },
        coords={"unique_id": list(ids), "ds": days},
    )


@pytest.mark.parametrize("kind", ["family", "mixture", "paths"])
def test_the_models_own_joint_draws_give_the_expected_bias(kind):
    """Stock 8 and NB(5, 2): what joint draws say without truth is mu / E[D | D < 8] - 1, +56 %."""
    import xarray as xr

    from civstats.schema import Forecast
    from tests.evaluation.test_censored import forecasts_of

    panel = world(stats.nbinom(2, 2 / 7), n_series=6, n_days=60).drop(
        columns=["demand", "demand_mean"]
    )
    cutoff = pd.Timestamp("2024-02-10")
    frame, (handed,) = forecasts_of(panel, 5.0, "M_censor", [cutoff], 7)
    ids, days = panel["unique_id"].cat.categories, pd.date_range("2024-02-11", periods=7)
    marginal = handed.marginal
    if kind == "mixture":
        marginal = marginal.loc[marginal.index.repeat(2)].assign(weight=0.5)
    draws = stats.nbinom(2, 2 / 7).ppf((np.arange(1000) + 0.5) / 1000)
    paths = xr.DataArray(
        np.broadcast_to(draws[None, :, None], (6, 1000, 7)),
        dims=("unique_id", "sample", "ds"),
        coords={"unique_id": list(ids), "ds": days},
    )
    more = {"paths": paths} if kind == "paths" else {"marginal": marginal}
    handed = Forecast(frame, "M", "censor", (80,), **more)
    p_out = stats.nbinom(2, 2 / 7).sf(7)
    out = np.arange(100) < round(100 * p_out)
    scores = evaluate(
        frame,
        panel,
        level=80,
        n_boot=0,
        metrics="bias",
        predictive=[handed],
        availability={cutoff: availability(ids, days, out, 8.0)},
    ).set_index("regime")
    x, p = np.arange(400), stats.nbinom(2, 2 / 7).pmf(np.arange(400))
    in_stock = 5 / ((x * p)[:8].sum() / p[:8].sum()) - 1
    assert scores["expected"]["in_stock"].iloc[0] == pytest.approx(in_stock, abs=0.02)
    all_days = 5 / (np.minimum(x, 8) * p).sum() - 1
    assert scores["expected"]["all_days"].iloc[0] == pytest.approx(all_days, abs=0.01)


def test_whole_days_out_and_days_lost_by_the_clock_select_nothing():
    from tests.evaluation.test_censored import forecasts_of

    panel = world(stats.poisson(5), n_series=4, n_days=60).drop(columns=["demand", "demand_mean"])
    cutoff = pd.Timestamp("2024-02-10")
    frame, handed = forecasts_of(panel, 5.0, "M_censor", [cutoff], 7)
    ids, days = panel["unique_id"].cat.categories, pd.date_range("2024-02-11", periods=7)
    whole = availability(ids, days, np.arange(10) < 2, 0.0)
    clock = whole.assign(
        stock=whole["stock"].where(~whole["out"], np.inf), share=1 - 0.5 * whole["out"]
    )
    for paths, all_days in ((whole, 1 / 0.8 - 1), (clock, 1 / 0.9 - 1)):
        scores = evaluate(frame, panel, level=80, n_boot=0, metrics="bias", predictive=handed,
                          availability={cutoff: paths}).set_index("regime")  # fmt: skip
        assert scores["expected"]["in_stock"].iloc[0] == pytest.approx(0.0, abs=1e-12)
        assert scores["expected"]["all_days"].iloc[0] == pytest.approx(all_days, abs=1e-12)


def test_availability_that_does_not_fit_the_demand_is_noted():
    from tests.evaluation.test_censored import forecasts_of

    panel = world(stats.poisson(5), n_series=4, n_days=60).drop(columns=["demand", "demand_mean"])
    cutoff = pd.Timestamp("2024-02-10")
    frame, handed = forecasts_of(panel, 5.0, "M_censor", [cutoff], 7)
    ids, days = panel["unique_id"].cat.categories, pd.date_range("2024-02-11", periods=7)

    def notes(share, cap):
        out = np.arange(100) < 100 * share
        scores = evaluate(frame, panel, level=80, n_boot=0, metrics=["bias", "rmse"],
                          predictive=handed,
                          availability={cutoff: availability(ids, days, out, cap)})  # fmt: skip
        return scores[scores["cutoff"].isna()].set_index(["metric", "regime"])["note"]

    # Half of the days would sell out at 20 units, of 5 that are wanted on average.
    odd = notes(0.5, 20.0)
    for regime in ("all_days", "in_stock"):
        assert "expected is rough: on 100% of the days the availability" in odd["bias", regime]
        assert "expected is rough" not in odd["rmse", regime]
    assert not notes(0.2, 8.0).str.contains("expected is rough").any()
    # Always out: all the demand is on days out, and no more than that.
    assert not notes(1.0, 0.0).str.contains("expected is rough").any()


def test_caps_count_for_their_chance_on_the_day():
    """Two stock levels, two kinds of day: in-stock sales of each kind as simulated.

    Caps of stockouts are known for the series as a whole. A day of low demand is seldom stopped by
    the higher stock, one of high demand often.
    """
    from civstats.evaluation.alignment import align
    from civstats.evaluation.distributions import NegBinRows
    from civstats.evaluation.selection import expected_sales

    rng = np.random.default_rng(8)
    means, dispersion, n = np.array([3.0, 9.0]), 5.0, 400_000
    days = pd.date_range("2024-03-01", periods=2)
    cutoff = pd.Timestamp("2024-02-29")
    panel = validate_panel(
        pd.DataFrame({"unique_id": "a", "ds": days, "y": [1.0, 2.0], "is_censored": False})
    )
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "cutoff": cutoff, "M_censor": means})
    demand = rng.negative_binomial(dispersion, dispersion / (dispersion + means), (n, 2))
    stock = rng.choice([4.0, 12.0], (n, 2))
    out = demand >= stock
    in_stock = np.where(out, 0, demand).mean(axis=0)

    paths = availability(["a"], days, np.zeros(100), 0.0)
    caps = stock[out]
    # Each day has its own chance of a stockout, and any cap of the series.
    gone = np.stack([np.arange(100) < round(100 * p) for p in out.mean(axis=0)], axis=1)[None]
    # As many of each as there are: what is tested is not how well a hundred draws stand for all.
    drawn = np.empty(gone.shape)
    for day in range(2):
        k = int(gone[0, :, day].sum())
        drawn[0, :k, day] = np.quantile(caps, (np.arange(k) + 0.5) / k, method="inverted_cdf")
    where = ("unique_id", "sample", "ds")
    paths = paths.assign(out=(where, gone), stock=(where, np.where(gone, drawn, np.inf)))
    rows = NegBinRows(np.ones((2, 1)), means[:, None], np.full((2, 1), dispersion))
    got = expected_sales(rows, {cutoff: paths}, align(frame, panel))
    _mean, _share, sales, found, at_odds = got
    np.testing.assert_allclose(found, in_stock, rtol=0.04)
    np.testing.assert_allclose(sales, np.minimum(demand, stock).mean(axis=0), rtol=0.04)
    assert not at_odds.any()


def test_no_forecast_is_excused_by_the_selection_that_it_expects_itself():
    from civstats.evaluation import compare
    from civstats.evaluation.pairwise import pairwise
    from tests.evaluation.test_censored import forecasts_of

    panel = world(stats.nbinom(2, 2 / 7), n_series=30, n_days=100)
    blind = panel.drop(columns=["demand", "demand_mean"])
    cutoff = pd.Timestamp("2024-02-10")
    frame, first = forecasts_of(blind, 5.0, "True_censor", [cutoff], 28)
    high, second = forecasts_of(blind, 10.0, "High_censor", [cutoff], 28)
    frame = frame.merge(high, on=["unique_id", "ds", "cutoff"])
    days = pd.date_range("2024-02-11", periods=28)
    out = np.arange(100) < round(100 * stats.nbinom(2, 2 / 7).sf(7))
    more = {
        "predictive": [*first, *second],
        "availability": {cutoff: availability(panel["unique_id"].cat.categories, days, out, 8.0)},
    }
    names = "True_censor", "High_censor", "bias", "in_stock"
    gap = compare(frame, blind, *names, absolute=True, **more)
    assert not gap.decided
    assert "no ground to rank by" in gap.barred
    pair = pairwise(frame, blind, metric="bias", regime="in_stock", block=7, **more).iloc[0]
    assert pair["better"] == ""
    assert "no ground to rank by" in pair["note"]
    # Where the true mean is known, all are measured from the same figure.
    assert compare(frame, panel, *names, absolute=True).decided
