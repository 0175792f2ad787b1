"""LightGBM: nothing from after a cutoff, no trace of masked days, targets, accuracy, coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.features.history import sales_grid
from civstats.features.known import known_features
from civstats.models._design import Design, KnownTable
from civstats.models.boosting import LightGBM
from civstats.schema import CivstatsError, ForecastError, known_covariates, validate_panel

N_DAYS, H = 300, 28
SMALL = {"n_rounds": 15, "max_rows": 4_000, "params": {"min_data_in_leaf": 10}}


def world(seed: int = 0, n_series: int = 12, n_days: int = N_DAYS, size: float = 3.0):
    """Counts with a weekly pattern and a price effect; a third of the days of series 0 is out."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2023-01-02", periods=n_days)
    week = np.exp(np.array([-0.5, -0.4, -0.3, 0.0, 0.3, 0.7, 0.5]))[days.dayofweek]
    frames = []
    for k in range(n_series):
        price = np.where(rng.random(n_days // 7 + 1) < 0.2, 1.5, 2.0).repeat(7)[:n_days]
        mean = np.exp(rng.normal(0.7, 0.8)) * week * (2.0 / price) ** 1.5
        demand = rng.negative_binomial(size, size / (size + mean))
        out = rng.random(n_days) < (0.33 if k == 0 else 0.05)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{k:02d}",
                    "ds": days,
                    "y": np.where(out, 0, demand),
                    "is_censored": out,
                    "stock": np.where(out, 0.0, np.nan),
                    "demand": demand,
                    "demand_mean": mean,
                    "price": price,
                    "item_id": f"i{k}",
                    "dept_id": f"d{k % 2}",
                }
            ).iloc[(n_days - H - 5 if k == 1 else 0) :]
        )
    return validate_panel(pd.concat(frames))


def cut(panel: pd.DataFrame, h: int = H) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    cutoff = panel["ds"].max() - pd.Timedelta(days=H)
    later = panel[(panel["ds"] > cutoff) & (panel["ds"] <= cutoff + pd.Timedelta(days=h))]
    future = later[["unique_id", "ds", *known_covariates(panel.columns)]]
    return validate_panel(panel[panel["ds"] <= cutoff]), future, later.reset_index(drop=True)


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    return world()


@pytest.fixture(scope="module")
def steady() -> tuple[LightGBM, pd.DataFrame, pd.DataFrame]:
    """A fitted model on a world that stays as it is, its future and what came."""
    history, future, later = cut(world(seed=3, n_series=40))
    # Without stockouts: sales are demand.
    history = history.assign(y=history["demand"]).drop(columns=["is_censored", "stock"])
    model = LightGBM(n_rounds=80, params={"learning_rate": 0.1}, num_threads=1)
    return model.fit(history), future, later


def design(panel: pd.DataFrame, treatment: str = "mask") -> Design:
    grid = sales_grid(panel, treatment)
    known = known_features(panel[["unique_id", "ds", *known_covariates(panel.columns)]])
    origins = np.arange(30, grid.y.shape[1] + 1, 10)
    return Design(grid, KnownTable(known, grid), origins, 7)


def test_training_rows_hold_nothing_from_after_the_cut(panel):
    """The booster behind the residuals, too: its cut lies well before the panel's end."""
    until = 200
    after = ((panel["ds"] - panel["ds"].min()).dt.days >= until).to_numpy()
    changed = panel.copy()
    rng = np.random.default_rng(0)
    changed.loc[after, "y"] = rng.permutation(changed.loc[after, "y"].to_numpy()) + 50
    changed.loc[after, "price"] = rng.permutation(changed.loc[after, "price"].to_numpy())
    changed.loc[after, "is_censored"] = rng.random(after.sum()) < 0.5
    origins = np.arange(30, until, 10)
    rows = [
        design(p).sample(origins, H, until, 1_500, np.random.default_rng(1))
        for p in (panel, changed)
    ]
    assert len(rows[0].y) > 1_000
    np.testing.assert_array_equal(rows[0].x, rows[1].x)
    np.testing.assert_array_equal(rows[0].y, rows[1].y)
    days = (panel["ds"] - panel["ds"].min()).dt.days.to_numpy()[rows[0].cell]
    assert days.max() < until


def test_rows_are_what_they_claim(panel):
    """Targets and price of the panel's own row, a lag of the day before the origin."""
    d = design(panel, "ignore")
    rows = d.sample(d.origins[:-3], H, N_DAYS, 2_000, np.random.default_rng(2))
    x = pd.DataFrame(rows.x, columns=d.names)
    at = panel.iloc[rows.cell]
    np.testing.assert_array_equal(rows.y, at["y"])
    np.testing.assert_array_equal(x["price"], at["price"])
    np.testing.assert_array_equal(x["day_of_week"], at["ds"].dt.dayofweek)
    back = rows.cell - x["ahead"].to_numpy(dtype=int) - 1
    np.testing.assert_allclose(
        x["lag_1"] * rows.start, panel["y"].to_numpy()[back], rtol=1e-4, atol=1e-5
    )
    assert set(x["ahead"]) == set(range(H))


def test_stockout_days_are_no_targets_under_mask(panel):
    drawn = {}
    for treatment in ("ignore", "mask"):
        d = design(panel, treatment)
        rows = d.sample(d.origins[:-3], H, N_DAYS, 10**9, np.random.default_rng(0))
        drawn[treatment] = panel["is_censored"].to_numpy()[rows.cell]
    assert drawn["ignore"].mean() > 0.05
    assert not drawn["mask"].any()


def test_mask_forecasts_ignore_what_stockout_days_sold(panel):
    history, future, _ = cut(panel)
    out = history["is_censored"].to_numpy()
    changed = history.copy()
    sales = np.random.default_rng(4).integers(0, 90, len(history)).astype("float32")
    changed.loc[out, "y"] = sales[out]
    changed.loc[out, "stock"] = sales[out]
    a, b = (
        LightGBM(treatment="mask", **SMALL).fit(p).predict(future, n_paths=30)
        for p in (history, validate_panel(changed))
    )
    pd.testing.assert_frame_equal(a.frame, b.frame, check_exact=True)
    np.testing.assert_array_equal(a.paths, b.paths)
    c, d = (
        LightGBM(treatment="ignore", **SMALL).fit(p).predict(future, n_paths=0).frame
        for p in (history, validate_panel(changed))
    )
    assert (c["LightGBM_ignore"] - d["LightGBM_ignore"]).abs().max() > 0.5
    # A third of the days of this series sold nothing: ignore takes that for demand.
    first = (c["unique_id"] == "s00").to_numpy()
    assert c["LightGBM_ignore"][first].sum() < 0.85 * a.frame["LightGBM_mask"][first].sum()


def test_threads_change_nothing(panel):
    history, future, _ = cut(panel)
    one, two = (
        LightGBM(num_threads=n, **SMALL).fit(history).predict(future, n_paths=20) for n in (1, 2)
    )
    pd.testing.assert_frame_equal(one.frame, two.frame, check_exact=True)
    np.testing.assert_array_equal(one.paths, two.paths)


def test_it_learns_what_a_moving_average_cannot(steady):
    """The week, prices that change ahead; nearly unbiased; against the known mean of demand."""
    model, future, later = steady
    frame = model.predict(future, n_paths=0).frame
    truth = later["demand_mean"].to_numpy(dtype=float)
    mean = frame["LightGBM_ignore"].to_numpy()
    old = (later["unique_id"] != "s01").to_numpy()
    flat = later.groupby("unique_id", observed=True)["demand_mean"].transform("mean").to_numpy()
    error, best_flat = (np.sqrt(((m - truth)[old] ** 2).mean()) for m in (mean, flat))
    assert error < 0.6 * best_flat
    assert mean[old].sum() == pytest.approx(truth[old].sum(), rel=0.06)


def test_intervals_cover_demand(steady):
    """Expected coverage is that of the true distribution, above nominal since counts are lumpy."""
    model, future, later = steady
    forecast = model.predict(future, n_paths=500)
    frame, y = forecast.frame, later["demand"].to_numpy()
    mu, size = later["demand_mean"].to_numpy(dtype=float), 3.0
    old = (later["unique_id"] != "s01").to_numpy()
    for level in (80, 95):
        lo, hi = (frame[f"LightGBM_ignore-{s}-{level}"].to_numpy() for s in ("lo", "hi"))
        a = 0.5 - level / 200
        q = stats.nbinom.ppf([[a], [1 - a]], size, size / (size + mu))
        law = stats.nbinom(size, size / (size + mu))
        expected = (law.cdf(q[1]) - law.cdf(q[0] - 1))[old].mean()
        observed = ((y >= lo) & (y <= hi))[old].mean()
        assert observed == pytest.approx(expected, abs=0.03)
        totals = forecast.paths.sum("ds").to_numpy()
        lo, hi = np.quantile(totals, [a, 1 - a], axis=1)
        true = later.groupby("unique_id", observed=True)["demand"].sum().to_numpy()
        assert ((true >= lo) & (true <= hi)).mean() >= level / 100 - 0.13
    grand = forecast.paths.sum(["ds", "unique_id"]).to_numpy()
    assert stats.norm.cdf((y.sum() - grand.mean()) / grand.std()) == pytest.approx(0.5, abs=0.499)


def test_paths_quantiles_and_marginal_tell_one_story(steady):
    model, future, _ = steady
    forecast = model.predict(future, level=[80], n_paths=800, seed=5)
    paths, frame = forecast.paths.to_numpy(), forecast.frame
    mean = frame[forecast.name].to_numpy().reshape(-1, H)
    assert paths.mean() == pytest.approx(mean.mean(), rel=0.01)
    hi = frame[f"{forecast.name}-hi-80"].to_numpy().reshape(-1, H)
    above, reached = (paths > hi[:, None]).mean(axis=1), (paths >= hi[:, None]).mean(axis=1)
    assert (above <= 0.1 + 0.003).all()
    assert (reached >= 0.1 - 0.003).all()
    m = forecast.marginal
    law = stats.nbinom(m["dispersion"], m["dispersion"] / (m["dispersion"] + m["mean"]))
    np.testing.assert_array_equal(law.ppf(0.9), hi.ravel())


def test_an_update_moves_the_origin_and_keeps_the_booster():
    history, future, _ = cut(world(seed=3, n_series=40))
    history = history.assign(y=history["demand"]).drop(columns=["is_censored", "stock"])
    earlier = validate_panel(history[history["ds"] <= history["ds"].max() - pd.Timedelta(days=21)])
    other = LightGBM(**SMALL).fit(earlier)
    before = other.booster_.model_to_string()
    days = history[history["ds"] > earlier["ds"].max()].drop(columns=["y", "demand", "demand_mean"])
    ids = set(earlier["unique_id"])
    old = other.predict(days[days["unique_id"].isin(ids)], n_paths=0).frame
    other.update(history)
    assert other.cutoff_ == history["ds"].max()
    assert other.booster_.model_to_string() == before
    new = other.predict(future).frame
    # The series launched in between is forecast from its own few days.
    assert set(new["unique_id"]) - set(old["unique_id"]) == {"s01"}
    assert np.isfinite(new["LightGBM_ignore"]).all()
    again = LightGBM(**SMALL).fit(earlier).update(history).predict(future).frame
    pd.testing.assert_frame_equal(new, again)


def test_next_day(panel):
    history, future, _ = cut(panel, h=1)
    frame = LightGBM(target="next_day", **SMALL).fit(history).predict(future).frame
    assert len(frame) == 12
    with pytest.raises(ForecastError, match=r"learnt 1 period.*reaches 2"):
        LightGBM(target="next_day", **SMALL).fit(history).predict(cut(panel, h=2)[1])


def test_the_sum_of_a_week(steady):
    _, _, later = steady
    history, future, _ = cut(world(seed=3, n_series=40), h=7)
    history = history.assign(y=history["demand"]).drop(columns=["is_censored", "stock"])
    model = LightGBM(target="week_sum", n_rounds=40, num_threads=1).fit(history)
    forecast = model.predict(future, n_paths=300)
    assert forecast.paths.shape == (40, 300, 1)
    assert (forecast.frame["ds"] == future["ds"].max()).all()
    week = later[later["ds"].isin(future["ds"])]
    truth = week.groupby("unique_id", observed=True)["demand_mean"].sum()
    got = forecast.frame["LightGBM_ignore"].to_numpy()
    old = truth.index != "s01"
    assert np.corrcoef(np.log(got[old]), np.log(truth[old]))[0, 1] > 0.95
    assert got[old].sum() == pytest.approx(truth[old].sum(), rel=0.1)
    with pytest.raises(ForecastError, match="exactly the 7 days"):
        model.predict(cut(world(seed=3, n_series=40), h=8)[1])


def test_a_week_with_a_masked_day_is_no_target(panel):
    grid = sales_grid(panel, "mask")
    known = KnownTable(known_features(panel.drop(columns="y")), grid, span=7)
    d = Design(grid, known, np.arange(30, N_DAYS, 10), 7)
    rows = d.sample(d.origins, 1, N_DAYS, 10**9, np.random.default_rng(0))
    y, out = panel["y"].to_numpy(), panel["is_censored"].to_numpy()
    price = panel["price"].to_numpy()
    for cell, target, x in zip(rows.cell, rows.y, rows.x, strict=True):
        assert not out[cell : cell + 7].any()
        assert target == y[cell : cell + 7].sum()
        assert x[d.names.index("price")] == pytest.approx(price[cell : cell + 7].mean(), rel=1e-5)


def test_a_bare_panel_and_a_short_one():
    days = pd.date_range("2024-01-01", periods=40)
    y = np.random.default_rng(0).poisson(2.0, 40)
    history = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": y}))
    future = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-02-10", periods=7)})
    frame = LightGBM(h=7, **SMALL).fit(history).predict(future).frame
    assert frame["LightGBM_ignore"].mean() == pytest.approx(2.0, rel=0.5)


def test_sales_of_nothing_are_forecast_as_next_to_nothing():
    days = pd.date_range("2024-01-01", periods=120)
    history = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": 0.0}))
    future = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-04-30", periods=28)})
    frame = LightGBM(**SMALL).fit(history).predict(future).frame
    assert (frame["LightGBM_ignore"] < 0.05).all()
    assert (frame["LightGBM_ignore-hi-80"] == 0).all()


def test_what_cannot_be_done_is_said(panel):
    history, future, _ = cut(panel)
    for params, text in (
        ({"target": "month"}, "target must be one of"),
        ({"objective": "l1"}, "objective must be one of"),
        ({"h": 0}, "h must be a whole number"),
    ):
        with pytest.raises(CivstatsError, match=text):
            LightGBM(**params)
    with pytest.raises(ForecastError, match=r"learnt 14 period.*fit it with h=28"):
        LightGBM(h=14, **SMALL).fit(history).predict(future)
    nothing = history.assign(is_censored=True, stock=history["y"])
    with pytest.raises(ForecastError, match="no target to train on"):
        LightGBM(treatment="mask", **SMALL).fit(nothing)


def test_the_filter_may_stand_in_for_stockout_days_in_the_features() -> None:
    panel = world(2, n_series=6)
    model = LightGBM(treatment="censor", history="filter", h=7, **SMALL).fit(panel)
    out = panel["is_censored"].to_numpy()
    sold = sales_grid(panel, "censor")
    at = np.nonzero(np.isfinite(sales_grid(panel).y))
    assert (model._grid.exposure[at] == 1).all()
    assert (model._grid.y[at][~out] == panel["y"].to_numpy()[~out]).all()
    assert (model._grid.y[at][out] > panel["y"].to_numpy()[out]).all()
    # What is learned stays what was observed.
    np.testing.assert_array_equal(model._targets().y, sold.y)
    np.testing.assert_array_equal(model._targets().censored, sold.censored)
    ask = world(2, n_series=6, n_days=N_DAYS + 7)
    ask = ask[ask["ds"] > panel["ds"].max()][["unique_id", "ds", "price"]]
    usual = LightGBM(treatment="censor", h=7, **SMALL).fit(panel)
    means = [m.predict(ask, n_paths=0).frame["LightGBM_censor"] for m in (model, usual)]
    assert (means[0] != means[1]).any()
    assert 0.7 < means[0].sum() / means[1].sum() < 1.4
    for bad in ({"history": "smoothed"}, {"history": "filter", "treatment": "mask"}):
        with pytest.raises(CivstatsError, match="history must be one of"):
            LightGBM(**bad)
