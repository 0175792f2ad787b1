"""Means of damped levels: the integral over them, a known world found, forecasts that return."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.demand_filter import (
    SILENT,
    DemandFilter,
    FilterParameters,
    build_grid,
    filter_levels,
    log_likelihood,
    observations,
)
from civstats.demand_filter.empirical_bayes import SCALES, maximise
from civstats.demand_filter.series_means import Crude, SeriesMeans, crude_means
from civstats.schema import CENSORED, DS, ID, Y, validate_panel

N, DAYS, LATER = 40, 400, 400
TRUE = {"dispersion": 3.0, "level_sd": 0.12, "damping": 0.95}
RNG = np.random.default_rng


def known(n: int = 3, **values: object) -> SeriesMeans:
    start = SeriesMeans(
        np.zeros(n), np.ones(n), np.array([0.5]), np.array([0.8]), np.zeros(n, dtype=int), 0.3
    )
    return replace(start, **values)


def test_the_integral_is_exact_where_the_likelihood_is_normal():
    seen, error = np.array([0.2, 1.5, -0.4]), np.array([0.3, 0.05, 2.0])
    means = known()
    loglik = lambda m: stats.norm.logpdf(seen, m, error)  # noqa: E731
    precision = 1 / 0.8**2 + 1 / error**2
    mean, sd = (0.5 / 0.8**2 + seen / error**2) / precision, precision**-0.5
    settled = means.updated(loglik, times=12)
    np.testing.assert_allclose(settled.centre, mean, atol=1e-8)
    np.testing.assert_allclose(settled.sd, sd, rtol=1e-8)
    truth = stats.norm.logpdf(seen, 0.5, np.hypot(0.8, error))
    np.testing.assert_allclose(settled.integrated(loglik), truth, rtol=1e-10)


def test_the_integral_over_the_filters_likelihood_against_a_sum_over_many_points():
    panel, _, _ = world(n=4, days=60)
    obs = observations(panel, "ignore")
    params = FilterParameters("negbin", **TRUE)
    means = known(4)
    grid = build_grid(obs, replace(params, prior_mean=0.5, prior_sd=2.0))

    def loglik(m: np.ndarray) -> np.ndarray:
        return log_likelihood(obs, means.parameters(params, m), grid=grid, n_jobs=1)

    points = np.linspace(-2, 4, 31)
    joint = np.stack([loglik(np.full(4, p)) for p in points]).T + stats.norm.logpdf(
        points, 0.5, 0.8
    )
    truth = np.log(np.exp(joint - joint.max()).sum(axis=1) * 0.2) + joint.max()
    settled = means.updated(loglik, times=5)
    np.testing.assert_allclose(settled.integrated(loglik), truth, atol=0.01)
    weight = np.exp(joint - joint.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(settled.centre, weight @ points, atol=0.01)


def test_series_without_a_sale_count_as_half_a_sale_and_unseen_ones_not_at_all():
    crude = Crude(
        np.array([0.1, -4.0, 9.0]), np.array([True, True, False]), np.array([False, True, False])
    )
    means = known(centre=np.array([0.3, -30.0, 0.5]), sd=np.array([0.1, 1.0, 0.8]))
    moved = means.regrouped(crude, np.array([0.4, -30.0, 0.5]), np.array([0.01, 1.0, 1.0]))
    np.testing.assert_allclose(moved.group_mean, [(0.3 - 4.0) / 2])
    assert moved.first_sd == pytest.approx(np.sqrt(0.1**2 + 0.01 + 0.1**2))


def test_crude_means_take_off_offsets_and_exposure():
    days = pd.date_range("2024-01-01", periods=4)
    panel = pd.DataFrame({ID: np.repeat(["a", "b", "c"], 4), DS: np.tile(days, 3), Y: 4.0})
    panel.loc[4:7, Y] = 0.0
    panel[CENSORED] = panel[ID] == "c"
    panel.loc[8:, Y] = 0.0
    obs = observations(validate_panel(panel), "censor", offset=np.full(12, np.log(2.0)))
    found = crude_means(obs, FilterParameters("poisson"))
    np.testing.assert_allclose(found.mean[:2], np.log([2.0, 0.5 / 8]))
    assert found.counted.tolist() == [True, True, False]
    assert found.without_sale.tolist() == [False, True, False]
    normal = crude_means(obs, FilterParameters("normal", dispersion=1.0))
    np.testing.assert_allclose(normal.mean[:2], np.array([4.0, 0.0]) - np.log(2.0))


def world(n: int = N, days: int = DAYS + LATER, seed: int = 0):
    """AR(1) levels around means that differ; returns panel, means and levels."""
    rng = RNG(seed)
    mean = rng.normal(0.8, 0.7, n)
    phi, sd = TRUE["damping"], TRUE["level_sd"]
    level = np.empty((n, days))
    level[:, 0] = mean + rng.normal(0, sd / np.sqrt(1 - phi**2), n)
    for t in range(1, days):
        level[:, t] = mean + phi * (level[:, t - 1] - mean) + rng.normal(0, sd, n)
    units = rng.poisson(rng.gamma(3.0, np.exp(level) / 3.0))
    panel = pd.DataFrame(
        {
            ID: np.repeat([f"s{i:03d}" for i in range(n)], days),
            DS: np.tile(pd.date_range("2023-01-02", periods=days), n),
            Y: units.ravel().astype(float),
        }
    )
    return validate_panel(panel), mean, level


@pytest.fixture(scope="module")
def fitted():
    panel, mean, _ = world()
    before = panel[DS] < panel[DS].min() + pd.Timedelta(days=DAYS)
    parts = [validate_panel(panel[rows].reset_index(drop=True)) for rows in (before, ~before)]
    model = DemandFilter(treatment="ignore", offsets=None, damped=True, rounds=2, n_jobs=1)
    return model.fit(parts[0]), *parts, mean


def test_damping_step_and_means_are_found(fitted):
    model, _, _, mean = fitted
    whole = model.estimates_["all"]
    for name, value in TRUE.items():
        j = whole.names.index(name)
        error = (whole.theta[j] - SCALES[name].to(value)) / np.sqrt(whole.covariance[j, j])
        assert abs(error) < 3, name
        assert whole.in_units[name] == pytest.approx(value, rel=0.15)
    found = model.means_
    z = (found.centre - mean) / found.sd
    assert 0.7 < np.sqrt(np.square(z).mean()) < 1.3
    # A mean of 400 days whose level forgets in 20: about 0.12 apart, the groups' 0.7.
    assert np.sqrt(np.square(found.centre - mean).mean()) < 0.25
    assert found.between_sd[0] == pytest.approx(0.7, rel=0.3)
    np.testing.assert_array_equal(model.parameters_.level_mean, found.centre)


def test_later_days_are_likelier_than_under_a_common_mean_or_a_walk(fitted):
    model, before, later, _ = fitted
    obs, ahead = (observations(p, "ignore") for p in (before, later))
    common = replace(model.parameters_, prior_mean=0.8, prior_sd=0.8, level_mean=0.8)
    walk = replace(common, damping=1.0)

    def best(params: FilterParameters, names: tuple[str, ...]) -> FilterParameters:
        grid = build_grid(obs, params, spacing=0.8)

        def loglik(values: dict[str, float]) -> np.ndarray:
            return log_likelihood(obs, replace(params, **values), grid=grid, n_jobs=1)

        return replace(params, **maximise(loglik, names, {"level_sd": 0.1}).in_units)

    scores = []
    for params in (
        model.parameters_,
        best(common, ("level_sd", "damping")),
        best(walk, ("level_sd",)),
    ):
        state = filter_levels(obs, params, summaries=(), n_jobs=1).state
        # Every twentieth day alone is seen: days ahead count, not the next one only.
        scores.append(log_likelihood(_thinned(ahead), params, state=state, n_jobs=1))
    for other in scores[1:]:
        gain = scores[0] - other
        assert gain.sum() > 3 * np.sqrt(len(gain)) * gain.std()


def _thinned(obs):
    day = np.arange(obs.n_rows) - np.repeat(obs.starts, obs.lengths)
    return replace(obs, kind=np.where(day % 20 == 19, obs.kind, SILENT).astype(np.uint8))


def test_a_series_never_seen_has_its_groups_mean_and_all_of_its_spread():
    panel, _, _ = world(n=10, days=150, seed=3)
    panel[CENSORED] = False
    gone = panel[ID] == "s009"
    panel.loc[gone, CENSORED], panel.loc[gone, Y] = True, 0.0
    model = DemandFilter(offsets=None, damped=True, rounds=1, n_jobs=1).fit(validate_panel(panel))
    means = model.means_
    assert means.centre[9] == pytest.approx(means.group_mean[0], abs=0.02)
    assert means.sd[9] == pytest.approx(means.between_sd[0], rel=0.05)
    assert (means.sd[:9] < 0.8 * means.between_sd[0]).all()
