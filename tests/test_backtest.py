"""What a model may see at a cutoff, how windows tile, and that nothing leaks."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from civstats import CivstatsError, Forecast, ForecastError, PanelError, validate_panel
from civstats.backtest import cross_validation
from civstats.models import Forecaster, baselines
from civstats.schema import (
    CENSORED,
    CUTOFF,
    DEMAND,
    DEMAND_MEAN,
    DS,
    ID,
    OUTCOMES,
    PRICE,
    STOCK,
    TRUTH,
    Y,
)


class Spy(Forecaster):
    """Forecast the last day's sales, and note what was handed in."""

    name = "Spy"
    can_update = True
    log: list[tuple[str, pd.DataFrame, int]]

    def __init__(self, log: list | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.log = [] if log is None else log

    def __deepcopy__(self, memo: dict) -> Spy:
        return type(self)(self.log, treatment=self.treatment)

    def _fit(self, panel):
        self.log.append(("fit", panel, os.getpid()))
        self._last = panel.groupby(ID, observed=True)[Y].last()

    def _update(self, panel):
        self._fit(panel)
        self.log[-1] = ("update", *self.log[-1][1:])

    def _predict(self, future, *, level, n_paths, seed):
        self.log.append(("predict", future, n_paths))
        frame = future[[ID, DS]].assign(**{CUTOFF: self.cutoff_})
        stem = f"{self.name}_{self.treatment}"
        sales = frame[ID].map(self._last).astype(float)
        columns = Forecast.columns.fget(_Stub(stem, level))
        return Forecast(
            frame.assign(**dict.fromkeys(columns, sales)), self.name, self.treatment, tuple(level)
        )

    def seen(self, what: str) -> list[pd.DataFrame]:
        return [x[1] for x in self.log if x[0] == what]


class _Stub:
    def __init__(self, name, level):
        self.name, self.level = name, level


class Threaded(Spy):
    name = "Threaded"
    own_threads = True


@pytest.fixture
def panel(tiny_panel: pd.DataFrame) -> pd.DataFrame:
    """Three whole series, one launched in the last window, one that ended, one just launched."""
    last = tiny_panel[DS].max()
    base = tiny_panel[tiny_panel[ID] == "item1_S1"]
    extra = [
        base[base[DS] > last - pd.Timedelta(days=10)].assign(unique_id="new", item_id="new"),
        base[base[DS] <= last - pd.Timedelta(days=20)].assign(unique_id="old", item_id="old"),
        base[base[DS] > last - pd.Timedelta(days=25)].assign(unique_id="just", item_id="just"),
    ]
    frame = pd.concat([tiny_panel, *extra], ignore_index=True)
    frame["event"] = pd.Categorical(np.where(frame[DS] == last, "party", "none"))
    return validate_panel(frame)


def _models(*names: str) -> list[Forecaster]:
    return [
        getattr(baselines, name)(treatment=treatment, n_origins=4)
        for name in names
        for treatment in ("ignore", "mask")
    ]


def _run(panel, models, **kwargs):
    return cross_validation(panel, models, **({"h": 14, "n_windows": 2, "n_paths": 20} | kwargs))


def test_a_model_sees_the_days_up_to_the_cutoff_and_covariates_after_it(panel) -> None:
    spy = Spy()
    result = _run(panel, spy, n_windows=3)
    assert len(result.cutoffs) == 3
    histories, futures = spy.seen("fit"), spy.seen("predict")
    for cutoff, history, future in zip(result.cutoffs, histories, futures, strict=True):
        assert history[DS].max() == cutoff
        expected = panel[panel[DS] <= cutoff]
        assert len(history) == len(expected)
        np.testing.assert_array_equal(history[Y], expected[Y])
        assert not set(TRUTH) & set(history.columns)
        assert not set(OUTCOMES) & set(future.columns)
        assert {PRICE, "event", "item_id"} <= set(future.columns)
        assert future[DS].min() == cutoff + pd.Timedelta(days=1)
        assert future[DS].max() == cutoff + pd.Timedelta(days=14)
        # Categories would tell of launches and events to come.
        for column in (ID, "item_id", "event"):
            assert set(history[column].cat.categories) == set(history[column])
    assert not hasattr(spy, "cutoff_")


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(20, 60),
    h=st.integers(1, 12),
    n_windows=st.integers(1, 5),
    step=st.one_of(st.none(), st.integers(1, 15)),
    freq=st.sampled_from(["D", "W-SUN"]),
)
def test_windows_tile_and_end_with_the_panel(length, h, n_windows, step, freq) -> None:
    days = pd.date_range("2024-01-07", periods=length, freq=freq)
    panel = pd.DataFrame({ID: "a", DS: days, Y: 1.0})
    arguments = {"h": h, "n_windows": n_windows, "step_size": step, "freq": freq}
    used = h if step is None else step
    need = 2 * h + (n_windows - 1) * used
    if need > length:
        fit = max(0, (length - 2 * h) // used + 1)
        with pytest.raises(CivstatsError, match=f"spans {length}; {fit} would fit"):
            cross_validation(panel, Spy(), **arguments)
        if fit:
            cross_validation(panel, Spy(), **arguments | {"n_windows": fit})
        return
    result = cross_validation(panel, Spy(), **arguments)
    frame = result.frame
    assert len(frame) == n_windows * h
    assert frame[DS].max() == days[-1]
    position = pd.Series(np.arange(length), index=days)
    cutoffs = position[result.cutoffs].to_numpy()
    np.testing.assert_array_equal(np.diff(cutoffs), used)
    ahead = position[frame[DS]].to_numpy() - position[frame[CUTOFF]].to_numpy()
    np.testing.assert_array_equal(np.sort(ahead), np.repeat(np.arange(1, h + 1), n_windows))
    if step is None:
        assert frame[DS].is_unique


def test_the_frame_is_one_row_per_series_day_and_cutoff(panel) -> None:
    result = _run(panel, _models("SeasonalNaive", "TSB"), step_size=7)
    frame = result.frame
    assert result.models == (
        "SeasonalNaive_ignore",
        "SeasonalNaive_mask",
        "TSB_ignore",
        "TSB_mask",
    )
    assert frame[ID].cat.categories.equals(panel[ID].cat.categories)
    keys = frame[[ID, DS, CUTOFF]]
    assert not keys.duplicated().any()
    pd.testing.assert_frame_equal(keys, keys.sort_values([ID, DS, CUTOFF], ignore_index=True))
    assert frame.notna().all().all()
    assert f"{result.models[0]}-lo-80" in frame.columns
    assert set(result.seconds) == set(result.models)
    assert all(x > 0 for x in result.seconds.values())
    last = result.forecasts["TSB_mask"]
    rows = frame[frame[CUTOFF] == result.cutoffs[-1]].reset_index(drop=True)
    np.testing.assert_array_equal(rows["TSB_mask-hi-95"], last.frame["TSB_mask-hi-95"])
    assert last.paths.sizes["sample"] == 20


def test_launches_and_ended_series_are_left_out_and_counted(panel) -> None:
    spy = Spy()
    result = _run(panel, spy)
    early, late = result.cutoffs
    assert {tuple(x) for x in result.left_out.itertuples(index=False)} == {
        (early, "just", "launched after the cutoff"),
        (early, "old", "no rows on every day of the window"),
        (late, "new", "launched after the cutoff"),
        (late, "old", "no rows on every day of the window"),
    }
    asked = result.frame.groupby(CUTOFF)[ID].unique()
    assert set(asked[early]) == {"item0_S1", "item1_S1", "item2_S1"}
    assert set(asked[late]) == {"item0_S1", "item1_S1", "item2_S1", "just"}
    # Days before the launch are nothing: 11 rows at the cutoff, not 126.
    history = spy.seen("fit")[-1]
    assert (history[ID] == "just").sum() == 11
    assert _run(panel[panel[ID] == "item0_S1"], Spy()).left_out.empty


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), after=st.integers(0, 28))
def test_nothing_after_a_cutoff_changes_its_forecasts(seed, after) -> None:
    """Outcomes replaced, permuted, and series launched or removed after a day."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=98)
    sales = rng.poisson(3, (3, 98))
    panel = pd.DataFrame(
        {
            ID: np.repeat(["a", "b", "c"], 98),
            DS: np.tile(days, 3),
            Y: sales.ravel().astype(float),
            CENSORED: rng.random(294) < 0.2,
        }
    )
    day = days[-1] - pd.Timedelta(days=28 - after)
    later = (panel[DS] > day).to_numpy()
    changed = panel.copy()
    changed.loc[later, Y] = rng.permutation(panel.loc[later, Y].to_numpy()) + rng.integers(0, 50)
    changed.loc[later, CENSORED] = rng.random(later.sum()) < 0.5
    changed.loc[later, STOCK] = np.nan
    launched = changed[later & (panel[ID] == "a")].assign(unique_id="_launched")
    changed = pd.concat([changed, launched], ignore_index=True)
    models = _models("SeasonalNaive", "TSB", "CES")
    first, second = (_run(x, models, keep_paths=True) for x in (panel, changed))
    before = [x for x in first.cutoffs if x <= day]
    assert before or after == 0 or day < first.cutoffs[0]
    for cutoff in before:
        for name in first.models:
            one, two = (x.all_forecasts[name, cutoff] for x in (first, second))
            rows = two.frame[ID] != "_launched"
            columns = [DS, CUTOFF, *one.columns]
            if "_launched" in set(two.frame[ID]):
                # It has history at this cutoff: the bands share a dispersion with it.
                columns = [DS, CUTOFF, name]
            else:
                np.testing.assert_array_equal(one.paths.to_numpy(), two.paths.to_numpy())
            pd.testing.assert_frame_equal(
                one.frame[columns], two.frame.loc[rows, columns].reset_index(drop=True)
            )


def test_truth_scrambled_changes_nothing(panel) -> None:
    rng = np.random.default_rng(2)
    scrambled = panel.assign(
        **{k: rng.permutation(panel[k].to_numpy()) for k in (DEMAND, DEMAND_MEAN)}
    )
    models = _models("SeasonalWindowAverage", "IMAPA")
    first, second = _run(panel, models), _run(scrambled, models)
    pd.testing.assert_frame_equal(first.frame, second.frame, check_exact=True)


def test_any_number_of_processes_gives_the_same(panel) -> None:
    models = [*_models("SeasonalNaive", "IMAPA"), Threaded()]
    first, second = _run(panel, models, n_jobs=1), _run(panel, models, n_jobs=2)
    pd.testing.assert_frame_equal(first.frame, second.frame, check_exact=True)
    pd.testing.assert_frame_equal(first.left_out, second.left_out)
    assert first.models == second.models
    for name in first.models[:-1]:
        np.testing.assert_array_equal(
            first.forecasts[name].paths.to_numpy(), second.forecasts[name].paths.to_numpy()
        )
    # A model with threads of its own stays here, where its log can be read.
    assert [x[2] for x in models[-1].log if x[0] == "fit"] == [os.getpid()] * 4
    # Told to use one thread it runs beside the others, like any other.
    models[-1].num_threads = 1
    third = _run(panel, models, n_jobs=2)
    pd.testing.assert_frame_equal(first.frame, third.frame, check_exact=True)
    assert len([x for x in models[-1].log if x[0] == "fit"]) == 4


def test_same_seed_same_paths(panel) -> None:
    one, two, other = (_run(panel, _models("TSB"), seed=s) for s in (1, 1, 2))
    paths = [x.forecasts["TSB_mask"].paths.to_numpy() for x in (one, two, other)]
    np.testing.assert_array_equal(paths[0], paths[1])
    assert (paths[0] != paths[2]).any()
    pd.testing.assert_frame_equal(one.frame, other.frame)


def test_paths_are_kept_for_the_last_cutoff_or_for_all(panel) -> None:
    models = _models("SeasonalNaive")[:1]
    usual, kept, without = (
        _run(panel, models, **x) for x in ({}, {"keep_paths": True}, {"n_paths": 0})
    )
    name = usual.models[0]
    assert set(usual.all_forecasts) == set(kept.all_forecasts)
    assert all(x.paths is None for x in usual.all_forecasts.values())
    assert set(kept.all_forecasts) == {(name, x) for x in kept.cutoffs}
    assert all(x.paths is not None for x in kept.all_forecasts.values())
    assert without.forecasts[name].paths is None
    pd.testing.assert_frame_equal(usual.frame, kept.frame)
    pd.testing.assert_frame_equal(usual.frame, without.frame)


def test_with_actuals_puts_what_came_beside_the_forecasts(panel) -> None:
    result = _run(panel, Spy(), step_size=7)
    joined = result.with_actuals(panel.sample(frac=1, random_state=np.random.default_rng(0)))
    assert list(joined.columns[:7]) == [ID, DS, CUTOFF, Y, CENSORED, STOCK, DEMAND]
    pd.testing.assert_frame_equal(joined[result.frame.columns], result.frame)
    came = panel.set_index([ID, DS])
    for row in joined.sample(30, random_state=np.random.default_rng(1)).itertuples():
        assert row.y == came.at[(row.unique_id, row.ds), Y]
        assert row.demand == came.at[(row.unique_id, row.ds), DEMAND]
    with pytest.raises(PanelError, match=r"lacks 7 forecast row\(s\), first item2_S1"):
        result.with_actuals(
            panel[(panel[ID] != "item2_S1") | (panel[DS] < panel[DS].max() - pd.Timedelta(days=6))]
        )


def test_without_refit_a_model_is_fitted_once_and_then_updated(panel) -> None:
    spy = Spy()
    result = _run(panel, spy, n_windows=3, refit=False)
    assert [x[0] for x in spy.log] == ["fit", "predict", "update", "predict", "update", "predict"]
    assert [x[DS].max() for x in spy.seen("update")] == result.cutoffs[1:]
    models = _models("SeasonalNaive", "TSB")
    pd.testing.assert_frame_equal(
        _run(panel, models, refit=False).frame, _run(panel, models, refit=True).frame
    )
    with pytest.raises(CivstatsError, match="CES_ignore, CES_mask cannot; use refit=True"):
        _run(panel, [*models, *_models("CES")], refit=False)


def test_a_forecast_of_other_rows_is_refused(panel) -> None:
    class Forgetful(Spy):
        name = "Forgetful"

        def _predict(self, future, **kwargs):
            return super()._predict(future.iloc[1:], **kwargs)

    with pytest.raises(ForecastError, match=r"41 row\(s\) are not the 42 asked for"):
        _run(panel, Forgetful())


def test_inputs_are_left_alone(panel) -> None:
    before, models = panel.copy(), _models("SeasonalNaive", "CES")
    _run(panel, models)
    pd.testing.assert_frame_equal(panel, before)
    assert not any(hasattr(x, "cutoff_") for x in models)


def test_progress_goes_to_stderr_where_it_is_asked_for(panel, capsys) -> None:
    _run(panel, Spy())
    assert capsys.readouterr() == ("", "")
    _run(panel, Spy(), progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "2/2" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"h": 0}, "h must be a whole number"),
        ({"n_windows": 0}, "n_windows must be a whole number, 1 or more"),
        ({"step_size": 0}, "step_size must be a whole number, 1 or more"),
        ({"n_jobs": 0}, "n_jobs must be a whole number"),
        ({"n_paths": -1}, "n_paths must be a whole number, 0 or more"),
        ({"n_windows": 10}, "10 window.s. of h=14 every 14 need 154 periods.* 9 would fit"),
        ({"level": (0.8,)}, "did you mean 80"),
        ({"freq": "W-SUN"}, "off the W-SUN calendar"),
    ],
)
def test_arguments_outside_their_range(panel, arguments, text) -> None:
    with pytest.raises(CivstatsError, match=text) as error:
        _run(panel, Spy(), **arguments)
    assert "\n" not in str(error.value)


def test_forecasters_must_be_some_and_of_different_names(panel) -> None:
    with pytest.raises(CivstatsError, match="no forecaster given"):
        _run(panel, [])
    with pytest.raises(CivstatsError, match=r"two forecasters would write .* Spy_ignore"):
        _run(panel, [Spy(), Spy()])
    with pytest.raises(CivstatsError, match="must be Forecaster objects"):
        _run(panel, ["SeasonalNaive"])
    late = panel[(panel[ID] == "new") | (panel[ID] == "old")]
    with pytest.raises(CivstatsError, match="no series has both history"):
        _run(late, Spy())
