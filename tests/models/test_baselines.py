"""Baselines against hand-written recursions, the library's own loops and brute-force imputation."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from civstats import CivstatsError, ForecastError, validate_panel
from civstats.demand_filter.recovery import recover
from civstats.features.history import filtered_demand
from civstats.models import make_forecaster
from civstats.models._impute import histories
from civstats.schema import CENSORED, DS, ID, IN_STOCK_SHARE, Y

QUICK = ("SeasonalNaive", "SeasonalWindowAverage", "CrostonSBA", "IMAPA", "TSB", "CES")


def _panel(series: dict[str, np.ndarray], out: dict[str, np.ndarray] | None = None, freq="D"):
    """Series that all end on the same day."""
    length = max(len(y) for y in series.values())
    days = pd.date_range("2024-01-07", periods=length, freq=freq)
    frames = [
        pd.DataFrame(
            {
                ID: name,
                DS: days[length - len(y) :],
                Y: np.asarray(y, dtype=float),
                CENSORED: (out or {}).get(name, np.zeros(len(y), dtype=bool)),
            }
        )
        for name, y in series.items()
    ]
    return validate_panel(pd.concat(frames), freq=freq)


def _future(panel: pd.DataFrame, h: int, freq: str = "D", first: int = 1) -> pd.DataFrame:
    days = pd.date_range(panel[DS].max(), periods=h + 1, freq=freq)[first:]
    ids = panel[ID].cat.categories
    return pd.DataFrame({ID: np.repeat(ids, len(days)), DS: np.tile(days, len(ids))})


def _mean(name: str, panel: pd.DataFrame, future: pd.DataFrame, **params) -> np.ndarray:
    model = make_forecaster(name, n_origins=4, **params).fit(panel)
    forecast = model.predict(future, n_paths=0)
    return forecast.frame[forecast.name].to_numpy().reshape(panel[ID].nunique(), -1)


@pytest.fixture
def sales() -> np.ndarray:
    return np.random.default_rng(3).poisson(0.7, 200).astype(float)


def _ses(x: np.ndarray, alpha: float) -> float:
    level = x[0]
    for value in x[1:]:
        level = alpha * value + (1 - alpha) * level
    return level


def test_seasonal_models_are_what_they_are_called(sales) -> None:
    panel = _panel({"a": sales})
    future = _future(panel, 10)
    np.testing.assert_array_equal(
        _mean("SeasonalNaive", panel, future)[0], np.tile(sales[-7:], 2)[:10]
    )
    weeks = sales[-21:].reshape(3, 7).mean(axis=0)
    np.testing.assert_allclose(
        _mean("SeasonalWindowAverage", panel, future, window=3)[0], np.tile(weeks, 2)[:10]
    )


def test_croston_sba_by_hand(sales) -> None:
    panel = _panel({"a": sales})
    at = np.flatnonzero(sales) + 1
    expected = 0.95 * _ses(sales[sales > 0], 0.1) / _ses(np.diff(at, prepend=0), 0.1)
    np.testing.assert_allclose(_mean("CrostonSBA", panel, _future(panel, 3)), expected, rtol=1e-6)


def test_tsb_by_hand(sales) -> None:
    panel = _panel({"a": sales})
    expected = _ses(sales[sales > 0], 0.3) * _ses((sales > 0).astype(float), 0.2)
    found = _mean("TSB", panel, _future(panel, 3), alpha_size=0.3, alpha_probability=0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["SeasonalNaive", "IMAPA"])
def test_past_origins_agree_with_the_librarys_own_cross_validation(name) -> None:
    """Alignment of what was forecast, and of what came, seven days apart."""
    import statsforecast
    import statsforecast.models

    rng = np.random.default_rng(5)
    panel = _panel({k: rng.poisson(m, 120) for k, m in (("a", 0.5), ("b", 3.0))})
    model = make_forecaster(name, n_origins=5).fit(panel)
    steps = np.arange(1, 15)
    _, fitted, actual, _, _ = model._means(np.arange(2), np.zeros(2, dtype=int), steps)
    library = getattr(statsforecast.models, name)
    engine = statsforecast.StatsForecast(
        [library(7) if name == "SeasonalNaive" else library()], freq="D"
    )
    frame = engine.cross_validation(14, panel[[ID, DS, Y]].astype({ID: str}), 5, step_size=7)
    # The library walks forward in time; origins here start with the latest.
    expected = frame[name].to_numpy().reshape(2, 5, 14)[:, ::-1]
    np.testing.assert_allclose(fitted, expected, rtol=1e-5)
    np.testing.assert_array_equal(actual, frame[Y].to_numpy().reshape(2, 5, 14)[:, ::-1])


@pytest.mark.parametrize("name", ["CES", "AutoETS"])
def test_frozen_models_forecast_what_the_library_does(name) -> None:
    import statsforecast.models

    rng = np.random.default_rng(6)
    y = rng.poisson(4 + 3 * np.sin(np.arange(150) * 2 * np.pi / 7)).astype(float)
    panel = _panel({"a": y})
    library = {
        "CES": lambda: statsforecast.models.AutoCES(7, model="P"),
        "AutoETS": lambda: statsforecast.models.AutoETS(7),
    }[name]
    expected = library().forecast(y=y, h=14)["mean"]
    np.testing.assert_allclose(_mean(name, panel, _future(panel, 14))[0], expected, rtol=1e-4)
    model = make_forecaster(name, n_origins=3).fit(panel)
    steps = np.arange(1, 15)
    fitted = model._means(np.array([0]), np.array([0]), steps)[1]
    once = library().fit(y)
    for k in range(3):
        past = once.forward(y=y[: 150 - 14 - 7 * k], h=14)["mean"]
        np.testing.assert_allclose(fitted[0, k], np.maximum(past, 0), rtol=1e-4)


def _impute_slowly(y: np.ndarray, out: np.ndarray, season: int) -> list[float]:
    kept: list[float] = []
    if out.all():
        return kept
    for t in range(int(np.argmin(out)), len(y)):
        if not out[t]:
            kept.append(y[t])
            continue
        same = [y[s] for s in range(t) if s % season == t % season and not out[s]][-4:]
        kept.append(np.mean(same) if same else np.mean([y[s] for s in range(t) if not out[s]]))
    return kept


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    season=st.sampled_from([1, 2, 7]),
    rate=st.sampled_from([0.0, 0.2, 0.8, 1.0]),
)
def test_imputation_uses_the_series_own_past_in_stock(seed, lengths, season, rate) -> None:
    rng = np.random.default_rng(seed)
    series = {f"s{k}": rng.integers(0, 9, n) for k, n in enumerate(lengths)}
    out = {k: rng.random(len(y)) < rate for k, y in series.items()}
    panel = _panel(series, out)
    found = histories(panel, "mask", season)
    for k, (name, y) in enumerate(series.items()):
        rows = slice(found.starts[k], found.ends[k])
        np.testing.assert_allclose(found.sales[rows], _impute_slowly(y, out[name], season))
        first = len(y) - (found.ends[k] - found.starts[k])
        np.testing.assert_array_equal(found.observed[rows], ~out[name][first:])
    untouched = histories(panel, "ignore", season)
    np.testing.assert_array_equal(untouched.sales, panel[Y])
    assert untouched.observed.all()


def test_a_report_can_say_what_was_imputed() -> None:
    y = np.full(40, 2.0)
    out = np.zeros(40, dtype=bool)
    out[[0, 1, 10, 39]] = True
    panel = _panel({"a": y, "b": y}, {"a": out, "b": np.ones(40, dtype=bool)})
    model = make_forecaster("TSB", treatment="mask")
    assert model.imputation == ""
    text = model.fit(panel).imputation
    assert text.startswith("2 stockout day(s), 2.5% of the history")
    assert "2 with the mean of the last 4 in-stock values of the same weekday" in text
    assert "42 before the first in-stock day left out" in text
    assert "1 series never in stock, forecast as 0" in text
    assert make_forecaster("TSB").fit(panel).imputation.startswith("none")


def test_stockout_days_are_no_outcomes_under_mask() -> None:
    rng = np.random.default_rng(1)
    out = rng.random(100) < 0.3
    panel = _panel({"a": rng.poisson(5, 100)}, {"a": out})
    panel[IN_STOCK_SHARE] = np.where(np.arange(100) == 95, 0.5, 1.0).astype("float32")
    where = {}
    for treatment in ("ignore", "mask"):
        model = make_forecaster("SeasonalNaive", treatment=treatment, n_origins=4).fit(panel)
        actual = model._means(np.array([0]), np.array([0]), np.arange(1, 8))[2]
        where[treatment] = np.isnan(actual[0, ::-1].ravel())
    late = out[-28:].copy()
    late[-5] = True
    assert not where["ignore"].any()
    np.testing.assert_array_equal(where["mask"], late)


def _cut_short(seed: int = 2, n: int = 200) -> tuple[pd.DataFrame, np.ndarray]:
    """Four series whose stock runs out on busy days, two days out throughout at the start."""
    rng = np.random.default_rng(seed)
    series, out = {}, {}
    for k, mean in enumerate((1.0, 3.0, 6.0, 2.0)):
        demand = rng.poisson(mean * rng.gamma(3.0, 1 / 3, n))
        stock = rng.poisson(mean * 1.1, n)
        stock[:2] = 0
        series[f"s{k}"], out[f"s{k}"] = np.minimum(demand, stock), demand >= stock
    out["s3"][:] = True
    series["s3"][:] = 0
    return _panel(series, out), np.array([1.0, 3.0, 6.0])


def test_history_under_censor_is_the_filters_past_only_value() -> None:
    panel, _ = _cut_short()
    demand, fitted = filtered_demand(panel)
    found = histories(panel, "censor", 7, demand)
    out = panel[CENSORED].to_numpy()
    sales = panel[Y].to_numpy()
    assert (found.sales[~out] == sales[~out]).all()
    assert (found.sales[out] > sales[out]).all()
    frame = recover(panel, fitted, levels=()).frame
    np.testing.assert_array_equal(found.sales, frame["recovered_filtered"].to_numpy(dtype=float))
    # The first day that says anything; a series that never does keeps the prior of the filter.
    says = ~out | (sales > 0)
    for k in range(3):
        rows = np.arange(200 * k, 200 * (k + 1))
        assert found.starts[k] == rows[np.argmax(says[rows])]
    assert found.ends[3] - found.starts[3] == 200
    assert found.sales[600:].min() > 0
    assert "1 series say nothing on any day" in found.imputation
    # Later days change nothing but what is shared, and that is kept here.
    early = panel[panel[DS] < panel[DS].min() + pd.Timedelta(days=150)]
    again, _ = filtered_demand(validate_panel(early), fitted)
    kept = (panel[DS] <= early[DS].max()).to_numpy()
    np.testing.assert_allclose(again, demand[kept], rtol=1e-3, atol=1e-4)


def test_outcomes_under_censor_are_bounds_and_shares() -> None:
    panel, _ = _cut_short()
    share = np.ones(len(panel), dtype="float32")
    share[np.flatnonzero(~panel[CENSORED])[::11]] = 0.5
    panel[IN_STOCK_SHARE] = share
    model = make_forecaster("SeasonalWindowAverage", treatment="censor", n_origins=6).fit(panel)
    at = np.array([2]), np.array([0]), np.arange(1, 8)
    _, fitted, actual, bound, _ = model._means(*at)
    rows = slice(600 - 42, 600)
    sales, out = panel[Y].to_numpy()[rows], panel[CENSORED].to_numpy()[rows]
    want = np.where(out & (sales == 0), np.nan, sales)
    np.testing.assert_array_equal(actual[0, ::-1].ravel(), want)
    np.testing.assert_array_equal(bound[0, ::-1].ravel(), out & (sales > 0))
    model._history.share[:] = 1.0
    whole = model._means(*at)[1]
    np.testing.assert_allclose(fitted[0, ::-1].ravel(), whole[0, ::-1].ravel() * share[rows])
    assert (share[rows] < 1).any()


def test_censor_finds_the_demand_that_the_others_miss() -> None:
    panel, mean = _cut_short(n=600)
    ask = _future(panel, 7)
    error = {}
    for treatment in ("ignore", "mask", "censor"):
        model = make_forecaster("SeasonalWindowAverage", treatment=treatment, window=40)
        forecast = model.fit(panel).predict(ask, n_paths=0)
        found = forecast.frame[forecast.name].to_numpy().reshape(4, 7).mean(axis=1)[:3]
        error[treatment] = float((found / mean).mean() - 1)
    assert abs(error["censor"]) < 0.06
    assert error["ignore"] < -0.15
    assert error["mask"] < -0.15


def test_an_update_under_censor_keeps_the_filter_and_admits_launches() -> None:
    panel, _ = _cut_short()
    cut = panel[DS].min() + pd.Timedelta(days=149)
    early = panel[(panel[DS] <= cut) & (panel[ID] != "s1")]
    model = make_forecaster("CrostonSBA", treatment="censor").fit(validate_panel(early))
    parameters = model._filter.parameters_.take([0]).dispersion
    model.update(panel)
    assert (model._filter.parameters_.take([0]).dispersion == parameters).all()
    frame = model.predict(_future(panel, 3), n_paths=0).frame
    assert frame.groupby(ID, observed=True)["CrostonSBA_censor"].mean()["s1"] > 1.5


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("length", [1, 2, 5, 7, 8, 22])
def test_short_histories(name, length) -> None:
    rng = np.random.default_rng(length)
    short = rng.integers(1, 6, length)
    panel = _panel({"old": rng.poisson(3, 90), "short": short})
    model = make_forecaster(name, n_origins=4).fit(panel)
    frame = model.predict(_future(panel, 7), n_paths=10).frame
    mean = frame[frame[ID] == "short"][f"{name}_ignore"].to_numpy()
    shortest = {"SeasonalNaive": 7, "SeasonalWindowAverage": 7, "CES": 21}.get(name, 1)
    assert list(model.fallback_) == (["short"] if length < shortest else [])
    if length < shortest:
        np.testing.assert_allclose(mean, short[-28:].mean())
    if name == "SeasonalWindowAverage" and length in (7, 8, 22):
        weeks = length // 7
        expected = short[-7 * weeks :].reshape(weeks, 7).mean(axis=0)
        np.testing.assert_allclose(mean, expected)


def test_a_series_that_ended_is_forecast_from_its_own_last_day() -> None:
    week = np.arange(7.0)
    panel = _panel({"a": np.tile(week, 12), "b": np.tile(week, 12)})
    panel = validate_panel(
        panel[(panel[ID] == "a") | (panel[DS] <= panel[DS].max() - pd.Timedelta(days=3))]
    )
    np.testing.assert_array_equal(
        _mean("SeasonalNaive", panel, _future(panel, 9)), np.tile(week, (2, 2))[:, :9]
    )


def test_days_need_not_start_right_after_the_cutoff(sales) -> None:
    panel = _panel({"a": sales})
    whole = _mean("SeasonalWindowAverage", panel, _future(panel, 14))
    late = _mean("SeasonalWindowAverage", panel, _future(panel, 14, first=6))
    np.testing.assert_array_equal(late, whole[:, 5:])


def test_one_series_mean_does_not_depend_on_the_others_asked_for() -> None:
    rng = np.random.default_rng(9)
    panel = _panel({k: rng.poisson(3, 100) for k in "abc"})
    future = _future(panel, 7)
    alone = make_forecaster("CES", n_origins=3).fit(panel).predict(future[future[ID] == "b"])
    np.testing.assert_array_equal(alone.frame["CES_ignore"], _mean("CES", panel, future)[1])


def test_columns_beside_sales_never_become_regressors(sales) -> None:
    panel = _panel({"a": sales})
    priced = panel.assign(price=np.random.default_rng(0).random(200).astype("float32"))
    for name in QUICK:
        future = _future(panel, 7)
        np.testing.assert_array_equal(
            _mean(name, panel, future), _mean(name, priced, future.assign(price=1.0))
        )


def test_weeks_and_a_wrong_freq() -> None:
    panel = _panel({"a": np.tile(np.arange(4.0), 20)}, freq="W-SUN")
    future = _future(panel, 6, freq="W-SUN")
    found = _mean("SeasonalNaive", panel, future, season_length=4, freq="W-SUN")
    np.testing.assert_array_equal(found[0], [0, 1, 2, 3, 0, 1])
    with pytest.raises(CivstatsError, match="not consecutive in freq 'D'"):
        make_forecaster("SeasonalNaive").fit(panel)
    model = make_forecaster("SeasonalNaive", season_length=4, freq="W-SUN").fit(panel)
    with pytest.raises(ForecastError, match="off the W-SUN calendar"):
        model.predict(future.assign(ds=future[DS] + pd.Timedelta(days=1)))


def test_bands_cover_as_often_as_they_say() -> None:
    """Against outcomes drawn from the truth: counts, so a little more than nominal."""
    rng = np.random.default_rng(8)
    means = np.repeat(rng.uniform(1, 12, 60), 28)
    panel = _panel({f"s{k:02}": rng.poisson(m, 300) for k, m in enumerate(means[::28])})
    model = make_forecaster("SeasonalWindowAverage").fit(panel)
    frame = model.predict(_future(panel, 28), level=(80, 95), n_paths=0).frame
    drawn = rng.poisson(means, (200, len(means)))
    stem = "SeasonalWindowAverage_ignore"
    for level, least, most in ((80, 0.80, 0.90), (95, 0.94, 0.985)):
        lo, hi = (frame[f"{stem}-{side}-{level}"].to_numpy() for side in ("lo", "hi"))
        assert least < ((drawn >= lo) & (drawn <= hi)).mean() < most


def test_update_is_offered_only_where_nothing_is_estimated(sales) -> None:
    early, late = _panel({"a": sales[:150]}), _panel({"a": sales})
    for name in ("SeasonalNaive", "SeasonalWindowAverage", "CrostonSBA", "TSB"):
        model = make_forecaster(name, n_origins=3).fit(early)
        assert model.update(late) is model
        assert model.cutoff_ == late[DS].max()
        found = model.predict(_future(late, 7), n_paths=0).frame[f"{name}_ignore"].to_numpy()
        np.testing.assert_array_equal(found, _mean(name, late, _future(late, 7))[0])
        with pytest.raises(ForecastError, match="not fitted"):
            make_forecaster(name).update(late)
    for name in ("IMAPA", "CES", "AutoETS"):
        with pytest.raises(CivstatsError, match="offers no update"):
            make_forecaster(name).fit(early).update(late)


@pytest.mark.parametrize(
    ("name", "params", "text"),
    [
        ("SeasonalNaive", {"n_origins": 0}, "n_origins"),
        ("SeasonalNaive", {"season_length": 0}, "whole number"),
        ("SeasonalWindowAverage", {"window": 0}, "whole number"),
        ("TSB", {"alpha_size": 1.5}, "alpha_size"),
        ("CES", {"form": "Q"}, "form must be one of"),
        ("CES", {"treatment": "drop"}, "treatment must be one of"),
    ],
)
def test_arguments_outside_their_range(name, params, text) -> None:
    with pytest.raises(CivstatsError, match=text):
        make_forecaster(name, **params)


def test_the_registry_does_not_import_statsforecast() -> None:
    code = (
        "import sys; from civstats.models import make_forecaster as m; m('CES'); "
        "sys.exit('statsforecast' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
