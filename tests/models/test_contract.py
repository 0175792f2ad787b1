"""One contract for every registered forecaster, under every treatment it offers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from civstats import CivstatsError, ForecastError, validate_panel
from civstats.models import Forecaster, make_forecaster, registry
from civstats.schema import (
    CENSORED,
    CUTOFF,
    DEMAND,
    DEMAND_MEAN,
    DS,
    ID,
    IN_STOCK_SHARE,
    OUTCOMES,
    PRICE,
    STOCK,
    TREATMENTS,
    Forecast,
    PanelError,
    Y,
    stockout_days,
)

H = 14
LAUNCHED = 5
"""Days of history of the series launched before the cutoff."""


def _cases(only: str | None = None) -> list:
    return [
        pytest.param(
            name,
            treatment,
            id=f"{name}-{treatment}",
            marks=[pytest.mark.slow] if model.cost == "slow" else [],
        )
        for name, model in registry().items()
        for treatment in model.treatments
        if only in (None, treatment)
    ]


every_model = pytest.mark.parametrize(("name", "treatment"), _cases())
every_masking_model = pytest.mark.parametrize(("name", "treatment"), _cases("mask"))


@lru_cache
def _panel() -> pd.DataFrame:
    """Slow to quick sellers, a launch, a series of zeros and one never in stock."""
    rng = np.random.default_rng(7)
    days = pd.date_range("2024-01-01", periods=140)
    rows = {"slow": 0.4, "middle": 2.0, "quick": 9.0, "launched": 2.0, "zeros": 0.0, "gone": 2.0}
    frames = []
    for k, (series, mean) in enumerate(rows.items()):
        demand = rng.poisson(mean, len(days))
        out = rng.random(len(days)) < {"zeros": 0.0, "gone": 1.0}.get(series, 0.1)
        frame = pd.DataFrame(
            {
                ID: series,
                DS: days,
                Y: np.where(out, 0, demand),
                CENSORED: out,
                STOCK: np.where(out, 0, np.nan),
                # Out for a part of the day: a stockout day too, without a flag or a known stock.
                IN_STOCK_SHARE: np.where(out, 0.0, np.where(np.arange(len(days)) % 23, 1.0, 0.5)),
                DEMAND: demand,
                DEMAND_MEAN: mean,
                PRICE: 2.0 + k + 0.5 * (np.arange(len(days)) // 28 % 2),
                "item_id": series,
                "dept_id": "D1" if k < 3 else "D2",
                "store_id": "S1",
            }
        )
        frames.append(frame[-(H + LAUNCHED) :] if series == "launched" else frame)
    return validate_panel(pd.concat(frames))


@lru_cache
def _cut() -> tuple[pd.DataFrame, pd.DataFrame]:
    panel = _panel()
    cutoff = panel[DS].max() - pd.Timedelta(days=H)
    later = panel[panel[DS] > cutoff].drop(columns=[c for c in OUTCOMES if c in panel.columns])
    return validate_panel(panel[panel[DS] <= cutoff]), later.reset_index(drop=True)


@pytest.fixture
def history() -> pd.DataFrame:
    return _cut()[0].copy()


@pytest.fixture
def future() -> pd.DataFrame:
    return _cut()[1].copy()


def _build(name: str, treatment: str) -> Forecaster:
    return make_forecaster(name, treatment=treatment, **registry()[name].test_params())


@lru_cache
def _fitted(name: str, treatment: str) -> Forecaster:
    """Fitted once for all tests that only predict: fitting is what takes time."""
    return _build(name, treatment).fit(_cut()[0])


@lru_cache
def _usual(name: str, treatment: str) -> Forecast:
    return _fitted(name, treatment).predict(_cut()[1], n_paths=40, seed=3)


def _refitted(name: str, treatment: str, history: pd.DataFrame, future: pd.DataFrame) -> Forecast:
    return _build(name, treatment).fit(history).predict(future, n_paths=40, seed=3)


def _same(a: Forecast, b: Forecast) -> None:
    pd.testing.assert_frame_equal(a.frame, b.frame, check_exact=True)
    if a.paths is not None:
        np.testing.assert_array_equal(a.paths.to_numpy(), b.paths.to_numpy())


def test_the_registry_holds_models() -> None:
    assert {"SeasonalNaive", "SeasonalWindowAverage", "CrostonSBA", "IMAPA", "TSB", "CES"} <= set(
        registry("fast")
    )
    assert "AutoETS" in registry("slow")


@every_model
def test_fit_returns_self_and_leaves_inputs_alone(name, treatment, history, future) -> None:
    before = history.copy(), future.copy()
    model = _build(name, treatment)
    assert model.fit(history) is model
    model.predict(future, n_paths=5)
    pd.testing.assert_frame_equal(history, before[0])
    pd.testing.assert_frame_equal(future, before[1])


@every_model
def test_the_forecast_answers_what_was_asked(name, treatment, history, future) -> None:
    forecast = _fitted(name, treatment).predict(future, level=(50, 80, 95), n_paths=0)
    frame = forecast.frame
    asked = future.sort_values([ID, DS])
    assert frame[ID].astype(str).tolist() == asked[ID].astype(str).tolist()
    assert frame[DS].tolist() == asked[DS].tolist()
    assert (frame[CUTOFF] == history[DS].max()).all()
    assert forecast.name == f"{name}_{treatment}"
    assert forecast.level == (50.0, 80.0, 95.0)
    assert list(frame.columns) == [ID, DS, CUTOFF, *forecast.columns]
    values = frame[forecast.columns].to_numpy()
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (np.diff(values[:, 1:], axis=1) >= 0).all()


@every_model
def test_forecasts_are_of_the_size_of_sales(name, treatment) -> None:
    """Not one item's forecast under another's name: in-stock means of 0.4, 2 and 9 come back."""
    frame = _usual(name, treatment).frame
    means = frame.groupby(ID, observed=True)[f"{name}_{treatment}"].mean()
    for series, mean in (("slow", 0.4), ("middle", 2.0), ("quick", 9.0)):
        assert 0.3 * mean < means[series] < 2.5 * mean
    assert means["zeros"] < 0.4


@every_model
def test_paths_are_joint_and_agree_with_the_mean(name, treatment, future) -> None:
    forecast = _fitted(name, treatment).predict(future, n_paths=800)
    if not registry()[name].has_paths:
        assert forecast.paths is None
        return
    paths = forecast.paths
    assert paths.dims == (ID, "sample", DS)
    assert paths.sizes["sample"] == 800
    cells = forecast.frame.astype({ID: str}).pivot_table(forecast.name, ID, DS)
    assert paths[ID].to_numpy().tolist() == cells.index.tolist()
    assert (paths[DS].to_numpy() == cells.columns.to_numpy()).all()
    assert float(paths.min()) >= 0
    total, expected = paths.sum(DS).to_numpy(), cells.sum(axis=1).to_numpy()
    # Counts vary at least by their mean, also where all paths that were drawn are zeros.
    error = 5 * np.sqrt((total.var(axis=1) + expected) / total.shape[1])
    assert (np.abs(total.mean(axis=1) - expected) <= error + 0.02 * expected + 1e-6).all()


@every_model
def test_no_paths_when_none_are_asked(name, treatment, future) -> None:
    """A backtest asks for paths at its last cutoff alone; its columns must not depend on that."""
    model = _fitted(name, treatment)
    without, with_paths = (model.predict(future, n_paths=n) for n in (0, 7))
    assert without.paths is None
    pd.testing.assert_frame_equal(without.frame, with_paths.frame, check_exact=True)


@every_model
def test_same_seed_same_answer(name, treatment, history, future) -> None:
    first = _usual(name, treatment)
    _same(first, _refitted(name, treatment, history, future))
    if first.paths is not None:
        other = _fitted(name, treatment).predict(future, n_paths=40, seed=12)
        assert (first.paths.to_numpy() != other.paths.to_numpy()).any()


@pytest.mark.parametrize("name", sorted(registry()))
def test_a_treatment_is_honoured_or_refused(name) -> None:
    model = registry()[name]
    for treatment in TREATMENTS:
        if treatment not in model.treatments:
            with pytest.raises(CivstatsError, match="cannot honour"):
                model(treatment=treatment)
    with pytest.raises(CivstatsError, match="treatment must be one of"):
        model(treatment="drop")


@every_model
def test_what_nobody_knows_ahead_is_refused(name, treatment, future) -> None:
    model = _fitted(name, treatment)
    for column in (Y, STOCK, CENSORED, DEMAND, DEMAND_MEAN, IN_STOCK_SHARE):
        with pytest.raises(ForecastError, match=column):
            model.predict(future.assign(**{column: 0}))
    with pytest.raises(ForecastError, match="without history"):
        model.predict(future.assign(unique_id="new_" + future[ID].astype(str)))
    with pytest.raises(ForecastError, match="on or before the cutoff"):
        model.predict(future.assign(ds=future[DS] - pd.Timedelta(days=1)))
    with pytest.raises(ForecastError, match="not fitted"):
        _build(name, treatment).predict(future)


def test_a_future_that_makes_no_sense_is_refused_with_its_mend(history, future) -> None:
    model = _fitted("SeasonalNaive", "ignore")
    for changed, text in (
        (future.iloc[:0], "no rows"),
        (future.assign(ds=future[DS].dt.tz_localize("UTC")), "tz_localize"),
        (future.assign(ds=future[DS].astype(str)), "to_datetime"),
        (future.assign(price="2.50"), "to_numeric"),
        (future.assign(price=-1.0), f"{len(future)} price.* negative"),
    ):
        with pytest.raises(ForecastError, match=text):
            model.predict(changed)
    model.predict(future.assign(price=np.nan), n_paths=np.int64(2), seed=np.int64(1))
    for given in ({"n_paths": -1}, {"n_paths": 2.5}, {"seed": -1}, {"seed": True}):
        with pytest.raises(ForecastError, match="whole number from 0"):
            model.predict(future, **given)
    with pytest.raises(PanelError, match="not sorted"):
        _build("SeasonalNaive", "ignore").fit(history.sample(frac=1, random_state=0))


def test_an_update_must_have_the_covariates_of_the_fit(history) -> None:
    model = _build("SeasonalNaive", "mask").fit(history)
    with pytest.raises(PanelError, match="lacks price, dept_id"):
        model.update(history.drop(columns=["price", "dept_id"]))


@every_model
def test_truth_is_never_read(name, treatment, history, future) -> None:
    rng = np.random.default_rng(0)
    scrambled = history.assign(
        demand=rng.gamma(2, 9, len(history)).astype("float32"),
        demand_mean=rng.gamma(2, 9, len(history)).astype("float32"),
    )
    without = history.drop(columns=[DEMAND, DEMAND_MEAN])
    _same(_usual(name, treatment), _refitted(name, treatment, scrambled, future))
    _same(_usual(name, treatment), _refitted(name, treatment, without, future))


@every_masking_model
def test_mask_leaves_no_trace_of_stockout_days(name, treatment, history, future) -> None:
    """To the last bit: sales and stock of every stockout day changed together."""
    out = stockout_days(history)
    sales = np.random.default_rng(5).integers(1, 60, len(history)).astype("float32")
    changed = history.copy()
    changed.loc[out, Y] = sales[out]
    changed.loc[out & history[CENSORED], STOCK] = sales[out & history[CENSORED]]
    changed = validate_panel(changed)
    assert out.mean() > 0.1
    _same(_usual(name, treatment), _refitted(name, treatment, changed, future))


@every_masking_model
def test_mask_moves_something(name, treatment, history, future) -> None:
    """Invariance alone would be met by a model that reads no sales at all."""
    masked = _usual(name, treatment).frame[f"{name}_mask"]
    in_stock = history.copy()
    rows = ~stockout_days(history) & (history[ID] == "quick").to_numpy()
    in_stock.loc[rows, Y] += 5
    moved = _refitted(name, treatment, validate_panel(in_stock), future).frame
    here = (moved[ID] == "quick").to_numpy()
    assert (moved[f"{name}_mask"][here].mean() - masked[here].mean()) > 2


@every_model
def test_order_of_rows_is_irrelevant(name, treatment, history, future) -> None:
    shuffled = validate_panel(history.sample(frac=1, random_state=np.random.default_rng(1)))
    later = future.sample(frac=1, random_state=np.random.default_rng(2))
    _same(_usual(name, treatment), _refitted(name, treatment, shuffled, later))


@every_model
def test_days_before_a_launch_are_not_zeros(name, treatment, history) -> None:
    """A series of 5 days that sells about 2 a day is not forecast as if it had sold for 126."""
    assert (history[ID] == "launched").sum() == LAUNCHED
    frame = _usual(name, treatment).frame
    launched = frame[frame[ID] == "launched"]
    own = history[(history[ID] == "launched") & ~history[CENSORED]][Y].mean()
    assert launched[f"{name}_{treatment}"].mean() > 0.2 * own


@every_model
def test_nothing_but_stockouts_is_forecast_or_refused(name, treatment, history, future) -> None:
    """Within a panel every test here has a series never in stock; this one is alone."""
    alone = validate_panel(history[history[ID] == "gone"])
    asked = future[future[ID] == "gone"]
    try:
        forecast = _refitted(name, treatment, alone, asked)
    except CivstatsError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert len(forecast.frame) == H
