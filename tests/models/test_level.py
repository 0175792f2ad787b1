"""The filter as a forecaster: its mixtures against sums by hand, updates, launches, availability."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats import CivstatsError, ForecastError, validate_panel
from civstats.demand_filter import FilterParameters, Observations, filter_levels
from civstats.evaluation.intervals import expected_marginal_coverage
from civstats.models._level_ahead import Mixture, mixture_ahead, paths_ahead
from civstats.models._level_mixture import gauss_nodes
from civstats.models._level_state import (
    World,
    advance,
    concatenate,
    draw_parameters,
    silent_days,
)
from civstats.models.level import LocalLevel
from civstats.schema import CENSORED, DS, ID, Y

DAYS = pd.date_range("2024-01-01", periods=400)
QUICK = {"rounds": 1, "n_jobs": 1}


def _panel(sales: dict[str, np.ndarray], **columns: object) -> pd.DataFrame:
    """Series of any length that end together."""
    frames = [
        pd.DataFrame({ID: name, DS: DAYS[300 - len(y) : 300], Y: y}) for name, y in sales.items()
    ]
    return validate_panel(pd.concat(frames).assign(**columns))


def _future(panel: pd.DataFrame, h: int, ids: list[str] | None = None) -> pd.DataFrame:
    days = pd.date_range(panel[DS].max() + pd.Timedelta(days=1), periods=h)
    names = ids or list(panel[ID].cat.categories)
    return pd.MultiIndex.from_product([names, days], names=[ID, DS]).to_frame(index=False)


def _until(panel: pd.DataFrame, day: int) -> pd.DataFrame:
    part = panel[panel[DS] <= DAYS[day - 1]].reset_index(drop=True)
    return part.assign(unique_id=part[ID].cat.remove_unused_categories())


def _world(params: FilterParameters, y: np.ndarray | None = None) -> World:
    """One series after the days `y`, or after one silent day."""
    obs = silent_days(pd.Index(["a"]), np.array([1 if y is None else len(y)]))
    if y is not None:
        n = len(y)
        obs = Observations(obs.ids, obs.starts, obs.ends, y, np.zeros(n), np.ones(n), np.zeros(n))
    return World(params, filter_levels(obs, params, summaries=()).state)


def _walks(n: int = 60, days: int = 300, size: float = 3.0, seed: int = 4) -> dict[str, np.ndarray]:
    """Demand of the model itself."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0.5, 0.8, (n, 1)) + np.cumsum(rng.normal(0, 0.03, (n, days)), axis=1)
    units = rng.poisson(rng.gamma(size, np.exp(level) / size))
    return {f"s{k:03d}": y for k, y in enumerate(units)}


@pytest.mark.parametrize(("sd", "error"), [(0.0, 1e-9), (0.1, 1e-9), (0.4, 1e-5), (1.5, 1e-3)])
def test_few_nodes_stand_for_many(sd: float, error: float) -> None:
    rng = np.random.default_rng(3)
    levels = np.linspace(-6, 9, 301)
    mass = stats.norm.pdf(levels, 0.7, max(sd, 1e-3)) * rng.uniform(0.5, 1.5, levels.size)
    mass = 0.8 * mass / mass.sum()
    nodes, weights = np.empty(12), np.empty(12)
    assert gauss_nodes(nodes, weights, levels, mass) == pytest.approx(0.8)
    for power in range(8):
        held = (mass * (levels - 0.7) ** power).sum()
        assert (weights * (nodes - 0.7) ** power).sum() == pytest.approx(held, rel=1e-8, abs=1e-10)
    counts = np.arange(60)
    size = 2.0

    def below(at: np.ndarray, weight: np.ndarray) -> np.ndarray:
        p = size / (size + np.exp(at))
        return weight @ stats.nbinom.cdf(counts[None, :], size, p[:, None])

    np.testing.assert_allclose(below(nodes, weights), below(levels, mass), atol=error)


def test_nodes_of_a_level_that_is_known() -> None:
    nodes, weights = np.empty(5), np.empty(5)
    gauss_nodes(nodes, weights, np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0]))
    assert (weights * np.exp(nodes)).sum() == pytest.approx(np.exp(2.0), rel=1e-12)
    gauss_nodes(nodes, weights, np.array([1.0, 2.0]), np.array([0.25, 0.75]))
    assert (weights * np.exp(nodes)).sum() == pytest.approx(
        0.25 * np.exp(1) + 0.75 * np.exp(2), rel=1e-10
    )


@pytest.mark.parametrize("centre", [-2.0, 1.0, 4.0, 6.5, 9.0])
@pytest.mark.parametrize("alpha", [0.0, 0.05, 2.0])
def test_quantiles_of_a_mixture_are_those_of_its_summed_distribution(
    centre: float, alpha: float
) -> None:
    eta = centre + np.array([[-0.7, 0.0, 0.5]])
    weights, zero = np.array([[0.2, 0.4, 0.3]]), np.array([0.1])
    mixture = Mixture(eta, weights, np.full(eta.shape, alpha), zero)
    counts = np.arange(int(60 * np.exp(centre + 1)) + 60)
    below = np.full(len(counts), zero[0])
    for e, w in zip(eta[0], weights[0], strict=True):
        mu = np.exp(e)
        law = stats.poisson(mu) if alpha == 0 else stats.nbinom(1 / alpha, 1 / (1 + alpha * mu))
        below += w * law.cdf(counts)
    probs = [0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995]
    expected = [counts[np.searchsorted(below, p)] for p in probs]
    np.testing.assert_array_equal(mixture.quantiles(probs)[0], expected)
    assert mixture.mean()[0] == pytest.approx((weights * np.exp(eta)).sum())


@pytest.mark.parametrize("drift", [None, 0.0])
def test_a_walking_level_widens_with_the_horizon_and_expected_demand_stays(drift) -> None:
    params = FilterParameters(
        "poisson", level_sd=0.1, prior_mean=1.0, prior_sd=0.0, level_drift=drift
    )
    steps = np.array([1, 10, 40])
    mixture = mixture_ahead([_world(params)], steps, np.zeros((1, 3)), sales=False, n_jobs=1)
    # E exp of a Gaussian walk, but for what one step on the grid has beyond a normal one.
    growth = 0.0 if drift is None else 0.5 * 0.01
    np.testing.assert_allclose(mixture.mean(), np.exp(1 + growth * steps), rtol=2e-3)
    units = paths_ahead([_world(params)], steps, np.zeros((1, 3)), 40_000, 5, sales=False)
    error = 5 * units[0].std(axis=0) / np.sqrt(40_000)
    np.testing.assert_array_less(np.abs(units[0].mean(axis=0) - mixture.mean()), error)
    variance = (mixture.weights * mixture.eta**2).sum(1) - (mixture.weights * mixture.eta).sum(
        1
    ) ** 2
    np.testing.assert_allclose(variance, 0.01 * steps, rtol=1e-6)


def test_offsets_move_the_days_they_belong_to() -> None:
    world = _world(FilterParameters("negbin", dispersion=2.0, prior_sd=0.3))
    offset = np.array([[0.0, np.log(2), 0.0]])
    mixture = mixture_ahead([world], np.arange(1, 4), offset, sales=False, n_jobs=1)
    mean = mixture.mean()
    assert mean[1] / mean[0] == pytest.approx(2, rel=1e-4)


@pytest.mark.parametrize("family", ["poisson", "negbin", "zero_inflated_negbin"])
@pytest.mark.parametrize("hidden", [False, True])
def test_paths_are_draws_of_the_mixture(family: str, hidden: bool) -> None:
    if hidden and family == "zero_inflated_negbin":
        pytest.skip("both explain zeros")
    extra = {"zero_inflation": 0.3} if family == "zero_inflated_negbin" else {}
    extra |= {"out_rate": 0.1, "back_rate": 0.3} if hidden else {}
    params = FilterParameters(family, dispersion=1.5, level_sd=0.1, prior_sd=0.5, **extra)
    world = _world(params, np.array([2.0, 1, 3, 0, 0]))
    steps, offset = np.array([1, 4, 9]), np.array([[0.0, 0.4, -0.3]])
    for sales in (False, True) if hidden else (False,):
        mixture = mixture_ahead([world], steps, offset, sales=sales, n_jobs=1)
        assert (mixture.weights.sum(axis=1) + mixture.zero).tolist() == pytest.approx([1.0] * 3)
        paths = paths_ahead([world], steps, offset, 40_000, 1, sales=sales)[0]
        np.testing.assert_allclose(paths.mean(axis=0), mixture.mean(), rtol=0.05)
        for p in (0.5, 0.8, 0.95):
            q = mixture.quantiles([p])[:, 0]
            assert ((paths <= q).mean(axis=0) > p - 0.01).all()
            assert ((paths < q).mean(axis=0) < p + 0.01).all()


def test_sales_are_demand_times_the_chance_to_be_in_stock() -> None:
    params = FilterParameters(
        "poisson", level_sd=0.0, prior_mean=1.0, prior_sd=0.0, out_rate=0.2, back_rate=0.5
    )
    world = _world(params, np.array([4.0, 2.0]))
    steps = np.arange(1, 15)
    demand, sales = (
        mixture_ahead([world], steps, np.zeros((1, 14)), sales=s, n_jobs=1).mean()
        for s in (False, True)
    )
    np.testing.assert_allclose(demand, np.e, rtol=1e-9)
    # From a sale on, in stock for sure: a chain of two states.
    share = 0.2 / 0.7 * (1 - 0.3**steps)
    np.testing.assert_allclose(sales / demand, 1 - share, rtol=1e-9)


def test_worlds_of_parameters_are_mixed_and_interleaved() -> None:
    a, b = (
        _world(FilterParameters("poisson", level_sd=0.0, prior_mean=m, prior_sd=0.0))
        for m in (0.0, 3.0)
    )
    steps, offset = np.array([1]), np.zeros((1, 1))
    mixture = mixture_ahead([a, b], steps, offset, sales=False, n_jobs=1)
    assert mixture.mean()[0] == pytest.approx((1 + np.exp(3)) / 2)
    paths = paths_ahead([a, b], steps, offset, 2_000, 0, sales=False)[0, :, 0]
    assert paths[0::2].mean() == pytest.approx(1, abs=0.15)
    assert paths[1::2].mean() == pytest.approx(np.exp(3), rel=0.05)


def test_states_of_series_come_back_in_order_and_time_passes_for_the_late_alone() -> None:
    params = FilterParameters(level_sd=0.1, prior_mean=[0.0, 1.0, 2.0])
    obs = silent_days(pd.Index(["a", "b", "c"]), np.array([5, 5, 5]))
    state = filter_levels(obs, params, summaries=()).state
    moved = advance(state, params, np.array([0, 7, 0]), 1)
    assert moved.ids.tolist() == ["a", "b", "c"]
    for i in (0, 2):
        np.testing.assert_array_equal(moved.probabilities(i), state.probabilities(i))

    def variance(s: object, i: int) -> float:
        p, x = s.probabilities(i)[0], s.grid.levels(i)
        return float(p @ x**2 - (p @ x) ** 2)

    assert variance(moved, 1) - variance(state, 1) == pytest.approx(0.07, rel=1e-3)
    again = concatenate([state.take([2]), state.take([0, 1])]).match(state.ids)
    np.testing.assert_array_equal(again.cells, state.cells)


@pytest.fixture(scope="module")
def walks() -> pd.DataFrame:
    return _panel(_walks())


@pytest.fixture(scope="module")
def fitted(walks: pd.DataFrame) -> LocalLevel:
    return LocalLevel(**QUICK, harmonics=0).fit(_until(walks, 272))


def test_intervals_hold_what_the_model_says_they_hold(walks, fitted) -> None:
    """On demand of the model itself, parameters estimated."""
    later = walks[walks[DS] > DAYS[271]]
    forecast = fitted.predict(later[[ID, DS]], level=(80, 95), n_paths=0)
    y = later[Y].to_numpy()
    for level in (80, 95):
        lo, hi = (forecast.frame[f"{forecast.name}-{e}-{level}"].to_numpy() for e in ("lo", "hi"))
        shape = (60, 28)
        expected = expected_marginal_coverage(
            forecast.marginal, lo.reshape(shape), hi.reshape(shape)
        ).mean()
        assert expected >= level / 100
        inside = ((y >= lo) & (y <= hi)).mean()
        assert inside == pytest.approx(expected, abs=0.03)
    mean = forecast.frame[forecast.name].to_numpy()
    assert mean.sum() == pytest.approx(y.sum(), rel=0.1)
    weight = forecast.marginal.groupby([ID, DS], observed=True)["weight"].sum()
    np.testing.assert_allclose(weight, 1.0, atol=1e-9)
    by_day = (forecast.marginal["weight"] * forecast.marginal["mean"]).to_numpy()
    np.testing.assert_allclose(by_day.reshape(len(mean), -1).sum(1), mean, rtol=1e-9)


def test_update_is_a_refit_with_the_parameters_frozen(walks, fitted) -> None:
    model, again = copy.deepcopy(fitted), copy.deepcopy(fitted)
    model.update(_until(walks, 285)).update(walks)
    history = again._admit(walks)
    again._worlds = again._first_worlds(again.filter_, history, again._moves)
    again._note_days(history)
    future = _future(walks, 14)
    a, b = (m.predict(future, n_paths=0).frame["LocalLevel_ignore"] for m in (model, again))
    # The grid of a longer history may be spaced otherwise; on one grid states agree to 1e-9.
    np.testing.assert_allclose(a, b, rtol=2e-4)
    before = fitted.predict(_future(_until(walks, 272), 14), n_paths=0).frame["LocalLevel_ignore"]
    assert np.abs(a / before - 1).max() > 0.05


def test_a_history_with_a_gap_is_refused(walks, fitted) -> None:
    late = validate_panel(walks[walks[DS] > DAYS[280]])
    with pytest.raises(ForecastError, match="pass the whole history"):
        copy.deepcopy(fitted).update(late)


def test_series_launched_after_the_fit_take_their_groups_parameters() -> None:
    rng = np.random.default_rng(8)
    sales = {f"a{k}": rng.poisson(0.5, 300) for k in range(12)}
    sales |= {f"b{k}": rng.poisson(12, 300) for k in range(12)}
    panel = _panel(sales)
    panel["dept_id"] = pd.Categorical(panel[ID].astype(str).str[0])
    model = LocalLevel(**QUICK).fit(_until(panel, 290))
    new = pd.DataFrame({ID: "b_new", DS: DAYS[299:300], Y: [0.0], "dept_id": "b"})
    other = pd.DataFrame({ID: "c_new", DS: DAYS[295:300], Y: [3.0] * 5, "dept_id": "c"})
    grown = validate_panel(
        pd.concat([panel.astype({ID: str, "dept_id": str}), new, other]).astype({ID: str})
    )
    model.update(grown)
    frame = model.predict(_future(grown, 3), n_paths=10).frame
    mean = frame.groupby(frame[ID].astype(str))["LocalLevel_ignore"].mean()
    # One day without a sale, against a department that sells twelve a day: between both.
    assert mean["a0"] < 1 < mean["b_new"] < mean["b0"]
    assert 0.5 < mean["c_new"] < 8
    at = model.filter_.ids_.get_indexer(["b0", "b_new"])
    dispersion = model.filter_.parameters_.dispersion[at]
    assert dispersion[0] == dispersion[1]
    # As if it had been there from the start.
    once = LocalLevel(**QUICK)
    once.filter_ = model.filter_
    once._top, once._moves, once._spoken = model._top, model._moves, model._spoken
    history = once._admit(grown)
    once._worlds = once._first_worlds(once.filter_, history, once._moves)
    once._note_days(history)
    again = once.predict(_future(grown, 3), n_paths=0).frame
    rows = frame[ID] == "b_new"
    np.testing.assert_allclose(
        frame.loc[rows, "LocalLevel_ignore"], again.loc[rows, "LocalLevel_ignore"], rtol=1e-9
    )


def test_nothing_seen_one_day_seen_and_nothing_ever_sold() -> None:
    rng = np.random.default_rng(1)
    sales = {f"s{k}": rng.poisson(2.0, 200) for k in range(10)}
    sales |= {"zeros": np.zeros(200), "day": np.array([2.0]), "gone": np.zeros(200)}
    panel = _panel(sales)
    panel[CENSORED] = (panel[ID] == "gone").to_numpy()
    for treatment in ("mask", "censor"):
        model = LocalLevel(treatment=treatment, **QUICK).fit(panel)
        forecast = model.predict(_future(panel, 28), n_paths=50)
        frame = forecast.frame
        mean = frame.groupby(frame[ID].astype(str))[forecast.name].mean()
        assert mean["zeros"] < 0.05
        assert 0.5 < mean["day"] < 4
        # Of its group's prior, not of the far tail of a normal fitted to levels.
        assert 0 < mean["gone"] < 20
        # And the same, however long nothing was seen of it.
        briefly = panel[
            (panel[ID] != "gone") | (panel[DS] > panel[DS].max() - pd.Timedelta(days=9))
        ]
        short = copy.copy(model)
        short.update(briefly.reset_index(drop=True))
        late = short.predict(_future(panel, 28), n_paths=0).frame
        whole = model.predict(_future(panel, 28), n_paths=0).frame
        gone = (whole[ID] == "gone").to_numpy()
        np.testing.assert_allclose(late[gone][forecast.name], whole[gone][forecast.name])
        assert np.isfinite(forecast.paths.to_numpy()).all()


def test_a_series_that_ended_is_forecast_from_its_own_last_day() -> None:
    rng = np.random.default_rng(2)
    panel = _panel({f"s{k}": rng.poisson(3.0, 250) for k in range(10)})
    short = panel[(panel[ID] != "s0") | (panel[DS] <= DAYS[239])]
    model = LocalLevel(**QUICK).fit(validate_panel(short))
    frame = model.predict(_future(panel, 2), level=(80,), n_paths=5).frame
    spread = (frame["LocalLevel_ignore-hi-80"] - frame["LocalLevel_ignore-lo-80"]).to_numpy()
    assert np.isfinite(frame["LocalLevel_ignore"]).all()
    assert spread[0] >= np.median(spread)


def test_hidden_availability_tells_sales_from_demand() -> None:
    """Outages nobody flagged, 20 % of days: demand comes back, and so do sales."""
    rng = np.random.default_rng(6)
    sales = _walks(24, 300, seed=5)
    means = {}
    for name, y in sales.items():
        out = np.zeros(300, dtype=bool)
        for t in range(1, 300):
            out[t] = rng.random() < (0.8 if out[t - 1] else 0.05)
        means[name] = y.mean()
        sales[name] = np.where(out, 0, y + 4)
    panel = _panel(sales)
    history = _until(panel, 272)
    options = QUICK | {"harmonics": 0, "hidden": True}
    demand = LocalLevel(**options).fit(history)
    sold = LocalLevel(**options, sales=True).fit(history)
    future = _future(history, 28)
    d, s = (m.predict(future, n_paths=200) for m in (demand, sold))
    actual = panel[panel[DS] > DAYS[271]][Y]
    whole = sum(m + 4 for m in means.values()) * 28
    assert d.frame[d.name].sum() == pytest.approx(whole, rel=0.08)
    assert s.frame[s.name].sum() == pytest.approx(actual.sum(), rel=0.08)
    assert (d.paths == 0).mean() < 0.05
    assert float((s.paths == 0).mean()) == pytest.approx((actual == 0).mean(), abs=0.05)
    assert (s.marginal["mean"] == 0).any()


def test_parameter_draws_have_the_sandwichs_covariance_and_stop_at_the_boundary(fitted) -> None:
    whole = fitted.filter_.estimates_["all"]
    drawn = draw_parameters(fitted.filter_, 4_000, seed=1)
    moved = np.array([[float(p.dispersion[0]), float(p.level_sd[0])] for p in drawn])
    here = fitted.filter_.parameters_
    gap = np.log(moved) - np.log([here.dispersion[0], here.level_sd[0]])
    np.testing.assert_allclose(np.cov(gap.T), whole.covariance, rtol=0.2, atol=2e-3)
    edge = np.array([[np.inf, 0.0], [0.0, 0.04]])
    stuck = copy.copy(fitted.filter_)
    stuck.estimates_ = {"all": replace(whole, covariance=edge)}
    drawn = draw_parameters(stuck, 50, seed=1)
    assert len({float(p.dispersion[0]) for p in drawn}) == 1
    assert np.log([p.level_sd[0] for p in drawn]).std() == pytest.approx(0.2, rel=0.3)


def test_forecasts_are_averaged_over_parameter_draws(walks) -> None:
    few = walks[walks[ID].isin(["s000", "s001", "s002"])]
    few = validate_panel(few[few[DS] > DAYS[239]])
    future = _future(few, 28)
    drawn, again = (
        LocalLevel(**QUICK, harmonics=0, parameter_draws=6).fit(few).predict(future, n_paths=12)
        for _ in range(2)
    )
    pd.testing.assert_frame_equal(drawn.frame, again.frame)
    np.testing.assert_array_equal(drawn.paths, again.paths)
    mean = drawn.marginal["mean"].to_numpy().reshape(len(future), 6, -1)
    weight = drawn.marginal["weight"].to_numpy().reshape(len(future), 6, -1)
    np.testing.assert_allclose(weight.sum(axis=2), 1 / 6)
    by_draw = (mean * weight).sum(axis=2)
    assert (np.ptp(by_draw, axis=1) > 0).all()
    np.testing.assert_allclose(by_draw.sum(axis=1), drawn.frame[drawn.name])


def test_options_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(CivstatsError, match="needs hidden=True"):
        LocalLevel(sales=True)
    with pytest.raises(CivstatsError, match="forecasts counts"):
        LocalLevel(family="normal")
    with pytest.raises(CivstatsError, match="zero inflation is not fitted beside"):
        LocalLevel(hidden=True, family="zero_inflated_negbin")
    for wrong in (-1, 1.5, True):
        with pytest.raises(CivstatsError, match="parameter_draws must be"):
            LocalLevel(parameter_draws=wrong)


def test_flagged_stockouts_may_be_apart_from_the_hidden_state() -> None:
    """Long outages that are flagged: with `flags_apart` they are none of the hidden state's."""
    sales = {k: np.where(np.arange(300) % 30 < 12, 0, y + 4) for k, y in _walks(8).items()}
    panel = _panel(sales)
    panel[CENSORED] = np.arange(len(panel)) % 300 % 30 < 12
    history = _until(panel, 280)
    mean = {}
    for apart in (False, True):
        model = LocalLevel(
            **QUICK, treatment="censor", harmonics=0, hidden=True, sales=True, flags_apart=apart
        )
        forecast = model.fit(history).predict(_future(history, 20), n_paths=0)
        mean[apart] = forecast.frame[forecast.name].mean()
    sold = history.loc[~history[CENSORED], Y].mean()
    assert mean[True] == pytest.approx(sold, rel=0.15)
    assert mean[False] < 0.85 * mean[True]


def _returning(n: int = 24, days: int = 300) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """AR(1) levels around means that differ, and those means."""
    rng = np.random.default_rng(8)
    mean = np.linspace(-0.5, 2.0, n)
    level = np.tile(mean[:, None], (1, days))
    for t in range(1, days):
        level[:, t] = mean + 0.9 * (level[:, t - 1] - mean) + rng.normal(0, 0.15, n)
    return {f"s{k:02d}": rng.poisson(np.exp(x)) for k, x in enumerate(level)}, mean


def test_damped_levels_return_to_the_series_own_mean_and_launches_to_their_groups() -> None:
    sales, mean = _returning()
    panel = _panel(sales)
    model = LocalLevel(offsets=None, damped=True, **QUICK).fit(panel)
    means = model.filter_.means_
    assert len(model._worlds) == 2
    for world, sign in zip(model._worlds, (1, -1), strict=True):
        np.testing.assert_allclose(world.params.level_mean, means.centre + sign * means.sd)
    forecast = model.predict(_future(panel, 60), n_paths=0)
    found = np.log(forecast.frame[forecast.name].to_numpy().reshape(-1, 60)[:, -1])
    assert np.sqrt(np.square(found - mean).mean()) < 0.25
    assert np.polyfit(mean, found, 1)[0] == pytest.approx(1.0, abs=0.1)
    # A series that starts after the fit has all of its group's spread.
    new = {**sales, "t": np.full(12, 3)}
    model.update(_panel(new))
    assert model.filter_.means_.centre[-1] == means.group_mean[0]
    assert model.filter_.means_.sd[-1] == means.between_sd[0]
    ahead = model.predict(_future(_panel(new), 30, ["t"]), n_paths=0).frame
    assert np.isfinite(ahead["LocalLevel_ignore"]).all()


def _promoted() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two departments; one was never promoted, of the other one item on five days; all will be."""
    rng = np.random.default_rng(5)
    panel = _panel({f"s{k}": rng.poisson(4.0, 200) for k in range(10)})
    panel["dept_id"] = pd.Categorical(np.where(panel[ID].cat.codes % 2, "a", "b"))
    on = panel[DS].isin(DAYS[[230, 240, 250, 260, 270]])
    panel["promo"] = ((panel[ID] == "s1") & on).to_numpy()
    future = _future(panel, 14).assign(promo=True)
    future["dept_id"] = np.where(future[ID].str[1:].astype(int) % 2, "a", "b")
    return panel, future


def test_parameter_draws_share_what_the_offsets_may_be_wrong_by() -> None:
    panel, future = _promoted()
    sure, drawn = (LocalLevel(**QUICK, harmonics=0, parameter_draws=n).fit(panel) for n in (0, 40))
    logs = []
    for model in (sure, drawn):
        paths = model.predict(future, n_paths=1200, seed=3).paths.sum(DS).to_numpy()
        logs.append(np.log(paths + 1))
    alike = [np.corrcoef(x)[np.triu_indices(10, 1)].mean() for x in logs]
    assert abs(alike[0]) < 0.03
    assert alike[1] > 0.12
    assert logs[1].mean(axis=0).std() > 1.5 * logs[0].mean(axis=0).std()
    # Paths and the exact mixture tell of the same worlds.
    forecast = drawn.predict(future, n_paths=4000, seed=4)
    mean = forecast.frame["LocalLevel_ignore"].to_numpy().reshape(10, 14)
    np.testing.assert_allclose(forecast.paths.mean("sample"), mean, rtol=0.15)


def test_a_level_goes_on_under_the_offsets_it_was_learned_under() -> None:
    panel, future = _promoted()
    early = _until(panel, 280)
    went_on = LocalLevel(**QUICK, harmonics=0, parameter_draws=5).fit(early)
    once = copy.deepcopy(went_on)
    went_on.update(panel)
    history = once._admit(panel)
    once._worlds = once._first_worlds(once.filter_, history, once._moves)
    once._note_days(history)
    a, b = (m.predict(future, n_paths=0).frame["LocalLevel_ignore"] for m in (went_on, once))
    np.testing.assert_allclose(a, b, rtol=2e-3)


def test_draws_of_parameters_share_the_means_evenly() -> None:
    sales, _ = _returning(n=8, days=120)
    model = LocalLevel(offsets=None, damped=True, **QUICK).fit(_panel(sales))
    means = model.filter_.means_
    for n, signs in ((1, [0]), (2, [1, -1]), (3, [1, -1, 0])):
        drawn = draw_parameters(model.filter_, n, seed=0)
        for params, sign in zip(drawn, signs, strict=True):
            np.testing.assert_allclose(params.level_mean, means.centre + sign * means.sd)


def test_launches_are_read_by_the_trees_and_give_them_no_level() -> None:
    rng = np.random.default_rng(2)
    lift = np.where(np.arange(300) % 7 >= 5, 1.0, 0.0) * (np.arange(300) // 7 % 3 == 0)
    sales = {f"s{k}": rng.poisson(np.exp(1.0 + 1.2 * lift)) for k in range(9)}
    promo = (np.arange(300) // 7 % 3 == 0).astype(float)
    panel = _panel(sales, promo=np.tile(promo, 9))
    model = LocalLevel(offsets="lightgbm", **QUICK).fit(panel)
    assert model.filter_.coefficients_.trees
    longer = _panel({**sales, "t": sales["s0"][200:]}, promo=np.r_[np.tile(promo, 9), promo[200:]])
    model.update(longer)
    mine = longer[longer[ID] == "t"]
    mine = mine.assign(**{ID: mine[ID].cat.remove_unused_categories()})
    other = longer[(longer[ID] == "s0")].iloc[200:]
    other = other.assign(**{ID: other[ID].cat.remove_unused_categories()})
    new, old = model.filter_.offset(mine), model.filter_.offset(other)
    np.testing.assert_allclose(new - new.mean(), old - old.mean(), atol=0.02)
    assert np.ptp(new) > 0.8


@pytest.mark.slow
def test_four_weeks_of_m5_are_not_forecast_too_high(shared_data) -> None:
    """Levels jump there: a symmetric walk of the log, its mean growing, was 40 % too high."""
    from civstats.backtest import cross_validation
    from civstats.data import load_m5
    from civstats.stockouts.simulate import simulate_stockouts

    path = shared_data / "m5" / "m5-forecasting-accuracy.zip"
    panel = load_m5(path, stores=["CA_1"], departments=["FOODS_3"])
    late = panel[DS] > panel[DS].max() - pd.Timedelta(days=600)
    some = panel[ID].isin(panel[ID].cat.categories[::8])
    panel = validate_panel(panel[late & some])
    panel = simulate_stockouts(panel, mechanism="inventory", rate=0.15, seed=0)
    model = LocalLevel(treatment="censor", n_jobs=2)
    found = cross_validation(panel, model, n_windows=3, step_size=56, n_paths=0, progress=False)
    both = found.frame.merge(panel[[ID, DS, "demand"]], on=[ID, DS])
    bias = both["LocalLevel_censor"].sum() / both["demand"].sum() - 1
    assert abs(bias) < 0.1
