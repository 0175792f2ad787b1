"""Predictive checks: the true model passes them, and each way of being wrong shows where it should."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.diagnostics._statistics import STATISTICS, Layout, statistics_of
from civstats.diagnostics.predictive import (
    SOLD_OUT,
    predictive_check,
    replicated_sales,
    sales_caps,
)
from civstats.schema import CivstatsError, series_index
from tests.diagnostics.worlds import panel_of, rates

N = 300


def replicates(panel: pd.DataFrame, seed: int = 1, factor: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(factor * rates(panel), size=(N, len(panel)))


def at(table: pd.DataFrame, statistic: str, group: str = "all") -> pd.Series:
    return table.set_index(["group", "statistic"]).loc[(group, statistic)]


def two_sided(table: pd.DataFrame) -> pd.Series:
    return 2 * np.minimum(table["p_value"], 1 - table["p_value"])


def test_statistics_are_those_of_pandas():
    panel = panel_of()
    y = panel["y"].to_numpy(dtype=float).copy()
    y[[3, 40, 41, 300]] = np.nan
    layout = Layout.of(panel, "dept_id", series_index(panel).codes())
    found = pd.DataFrame(
        statistics_of(y, layout, STATISTICS), index=layout.groups, columns=STATISTICS
    )
    assert layout.groups == ["all", "D0", "D1"]
    frame = panel.assign(y=y)
    for group, part in (("all", frame), ("D1", frame[frame["dept_id"] == "D1"])):
        row, by = found.loc[group], part.groupby("unique_id", observed=True)["y"]
        assert row["mean"] == pytest.approx(part["y"].mean())
        assert row["share of zeros"] == pytest.approx((part["y"].dropna() == 0).mean())
        assert row["99 % quantile"] == pytest.approx(part["y"].quantile(0.99))
        assert row["maximum"] == part["y"].max()
        within = (by.var() * (by.count() - 1)).sum() / (by.count() - 1).sum()
        assert row["dispersion"] == pytest.approx(within / part["y"].mean())
        friday = part.loc[part["ds"].dt.day_name() == "Friday", "y"].mean()
        assert row["Friday / mean"] == pytest.approx(friday / part["y"].mean())
        for lag in (1, 7):
            off = part["y"] - by.transform("mean")
            pairs = off * off.groupby(part["unique_id"], observed=True).shift(lag)
            name = f"autocorrelation, {lag} day{'s' if lag > 1 else ''}"
            assert row[name] == pytest.approx(pairs.sum() / (off**2).sum())


def test_stockouts_cap_replicates_and_days_out_are_left_out():
    panel = panel_of()
    caps, known = sales_caps(panel)
    assert known
    silent = (panel["stock"] == 0).to_numpy()
    assert np.isnan(caps[silent]).all()
    np.testing.assert_array_equal(caps[~silent], panel["stock"][~silent])
    sold = replicated_sales(panel, np.full((1, len(panel)), 1000.0))[0]
    np.testing.assert_array_equal(sold[~silent], panel["stock"][~silent])
    # A bound is a cap even where no stock is on record.
    caps, known = sales_caps(panel.drop(columns="stock"))
    bound = panel["is_censored"].to_numpy() & ~silent
    np.testing.assert_array_equal(caps[bound], panel["y"][bound])
    assert np.isinf(caps[~bound & ~silent]).all()
    assert not known


def test_the_true_model_passes_and_its_p_values_are_uniform():
    # Parameters known, so these are prior predictive p-values: uniform over worlds.
    found = []
    for seed in range(40):
        panel = panel_of(seed, n_days=56)
        found.append(predictive_check(panel, replicates(panel, seed + 100)[:100]))
    table = pd.concat(found)
    assert set(table["statistic"]) == {*STATISTICS, SOLD_OUT}
    by = table.groupby("statistic")["p_value"]
    assert by.mean().sub(0.5).abs().max() < 4 / np.sqrt(12 * 40)
    assert (by.std() > 0.18).all()
    assert table["identified"].all()


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_wrong_mean_shows_through_the_stock(factor):
    panel = panel_of()
    table = predictive_check(panel, replicates(panel, factor=factor), by="dept_id")
    row = at(table, "mean", "D1")
    assert row["p_value"] == (1.0 if factor > 1 else 0.0)
    assert at(table, SOLD_OUT)["p_value"] == (1.0 if factor > 1 else 0.0)
    # 95 % of replicates, and the observed mean beyond them.
    assert row["lo"] < row["replicated"] < row["hi"]
    assert not row["lo"] < row["observed"] < row["hi"]


def test_a_flat_week_shows_in_days_and_in_lag_seven():
    panel = panel_of(n_days=364)
    flat = np.random.default_rng(2).poisson(
        rates(panel).mean() + 0 * rates(panel), size=(N, len(panel))
    )
    p = two_sided(predictive_check(panel, flat).set_index("statistic"))
    assert p["Saturday / mean"] < 0.01
    assert p["Monday / mean"] < 0.01
    assert p["autocorrelation, 7 days"] < 0.01


def test_too_wide_a_family_shows_in_dispersion_and_zeros():
    panel = panel_of()
    rng = np.random.default_rng(3)
    wide = rng.poisson(rates(panel) * rng.gamma(2, 0.5, size=(N, len(panel))))
    table = predictive_check(panel, wide).set_index("statistic")
    assert table.loc["dispersion", "p_value"] == 1
    assert table.loc["share of zeros", "p_value"] == 1


def test_without_the_stock_of_other_days_tails_are_not_identified_and_completed_data_are():
    panel = panel_of(n_days=224).drop(columns="stock")
    demand = replicates(panel)
    table = predictive_check(panel, demand)
    assert SOLD_OUT not in set(table["statistic"])
    wrong = table.set_index("statistic")["identified"]
    assert not wrong[["mean", "maximum", "99 % quantile", "dispersion"]].any()
    assert wrong[["share of zeros", "Monday / mean"]].all()
    # The true model looks wrong there, which is why it is flagged ...
    assert at(table, "mean")["p_value"] > 0.95
    # ... and right once the bounds are filled in.
    y, bound = panel["y"].to_numpy(dtype=float), panel["is_censored"].to_numpy()
    filled = np.where(bound, panel["demand"], y) + 0 * demand
    full = predictive_check(panel, demand, completed=filled)
    assert full["identified"].all()
    assert (two_sided(full) > 0.005).all()
    assert at(full, "mean")["observed"] == pytest.approx(
        panel.loc[~(bound & (y == 0)), "demand"].mean(), rel=1e-6
    )


def test_ties_count_half():
    panel = panel_of(short=False)
    same = np.repeat(panel["y"].to_numpy(dtype=float)[None], 5, axis=0)
    table = predictive_check(panel, same)
    assert (table["p_value"] == 0.5).all()


def test_a_prior_beyond_all_numbers_is_no_error():
    panel = panel_of()
    demand = replicates(panel).astype("float32")
    demand[0] = np.inf
    free = panel.drop(columns=["stock", "is_censored"])
    table = predictive_check(free, demand)
    assert at(table, "maximum")["n_draws"] == N - 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d[:, 1:], "shape"),
        (lambda d: -d - 1.0, "negative or missing"),
        (lambda d: np.where(d > 8, np.nan, d), "negative or missing"),
    ],
)
def test_bad_replicates_are_refused(spoil, message):
    panel = panel_of(n_series=2)
    with pytest.raises(CivstatsError, match=message):
        predictive_check(panel, spoil(replicates(panel)))


def test_bad_requests_are_refused():
    panel = panel_of(n_series=2)
    demand = replicates(panel)
    with pytest.raises(CivstatsError, match="median"):
        predictive_check(panel, demand, statistics=["median"])
    with pytest.raises(CivstatsError, match="store_id"):
        predictive_check(panel, demand, by="store_id")
    with pytest.raises(CivstatsError, match="share"):
        predictive_check(panel, demand, completed=demand[:5])
    out = panel.assign(y=np.float32(0), is_censored=True, stock=np.float32(0))
    with pytest.raises(CivstatsError, match="out of stock throughout"):
        predictive_check(out, demand)
