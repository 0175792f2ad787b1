"""The information on the offsets against linear algebra, where everything is Gaussian."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.demand_filter import FilterParameters, observations
from civstats.demand_filter._offset_information import measure
from civstats.schema import validate_panel

N, T = 6, 60
NOISE, WALK, FIRST = 0.5, 0.2, 1.0


def regressors() -> np.ndarray:
    t = np.arange(N * T) % T
    return np.column_stack([np.where(t % 7 == 0, 1.0, 0.0), np.cos(2 * np.pi * t / T), t % 2 - 0.5])


def gaussian() -> tuple[np.ndarray, np.ndarray]:
    """Covariances of a series' levels, and of its days."""
    t = np.arange(T)
    level = FIRST**2 + WALK**2 * np.minimum(t[:, None], t[None, :])
    return level, level + NOISE**2 * np.eye(T)


def found(missing: np.ndarray, **how):
    rng = np.random.default_rng(3)
    level, _ = gaussian()
    walks = rng.multivariate_normal(np.full(T, 20.0), level, N)
    y = (walks + rng.normal(0, NOISE, walks.shape)).ravel() + regressors() @ [0.5, 0.3, -0.4]
    panel = validate_panel(
        pd.DataFrame(
            {
                "unique_id": np.repeat([f"s{i}" for i in range(N)], T),
                "ds": np.tile(pd.date_range("2024-01-01", periods=T), N),
                "y": y,
                "is_censored": missing,
            }
        )
    )
    params = FilterParameters(
        "normal", dispersion=NOISE, level_sd=WALK, prior_mean=20.0, prior_sd=FIRST
    )
    x = regressors() @ [0.5, 0.3, -0.4]
    obs = observations(panel, "mask", x)
    params = params.take(np.zeros(N, dtype=int)) if np.ndim(params.level_sd) else params
    return measure(obs, params, regressors(), seed=0, n_jobs=1, **how)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_information_and_what_the_levels_make_up_for_are_the_gaussian_ones(share):
    missing = np.random.default_rng(1).random(N * T) < share
    measured = found(missing, max_rows=10**6)
    z = regressors()
    level, day = gaussian()
    information, follows, own = np.zeros((3, 3)), np.zeros(3), np.zeros(3)
    for i in range(N):
        rows = np.arange(i * T, (i + 1) * T)
        seen = np.flatnonzero(~missing[rows])
        z_i = z[rows][seen]
        weighted = np.linalg.solve(day[np.ix_(seen, seen)], z_i)
        information += z_i.T @ weighted
        kept = z_i - level[np.ix_(seen, seen)] @ weighted
        follows += (kept * z_i).sum(axis=0)
        own += np.square(z_i).sum(axis=0)
    np.testing.assert_allclose(
        measured.observed, information, rtol=0.01, atol=0.005 * information.max()
    )
    np.testing.assert_allclose(measured.kept, follows / own, atol=0.01)
    # The slow regressor is mostly the level's, the alternating one hardly.
    assert measured.kept[1] < 0.3 < 0.8 < measured.kept[2]


def test_a_part_of_the_series_stands_for_all():
    nothing = np.zeros(N * T, dtype=bool)
    whole = found(nothing, max_rows=10**6).observed
    part = found(nothing, max_rows=2 * T).observed
    # Without missing days all series are alike.
    np.testing.assert_allclose(part, whole, rtol=0.01, atol=0.005 * whole.max())


def test_days_that_say_nothing_hold_no_information():
    measured = found(np.ones(N * T, dtype=bool), max_rows=10**6)
    np.testing.assert_allclose(measured.observed, 0, atol=1e-6)
    np.testing.assert_array_equal(measured.kept, 1)
