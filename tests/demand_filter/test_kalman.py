"""The normal family without censoring against statsmodels' Kalman filter and smoother."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from civstats.demand_filter import EXACT, SILENT, FilterParameters, build_grid, smooth_levels
from tests.demand_filter.worlds import one

SD, STEP, N = 1.3, 0.4, 80


def kalman(y, damping, prior_mean, prior_sd):
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if damping == 1:
            model = UnobservedComponents(y, level="llevel")
            values = {"sigma2.irregular": SD**2, "sigma2.level": STEP**2}
        else:
            model = UnobservedComponents(y, irregular=True, autoregressive=1)
            values = {"sigma2.irregular": SD**2, "sigma2.ar": STEP**2, "ar.L1": damping}
        model.ssm.initialize_known(np.array([prior_mean]), np.array([[prior_sd**2]]))
        return model.smooth([values[name] for name in model.param_names], transformed=True)


@pytest.mark.parametrize(
    ("damping", "mean", "drift"), [(1.0, 0.5, 0.0), (0.9, 0.0, 0.0), (1.0, 0.5, 0.1)]
)
def test_against_the_kalman_filter(damping, mean, drift):
    rng = np.random.default_rng(8)
    level = np.empty(N)
    now = 1.0
    for t in range(N):
        now = damping * now + rng.normal(0, STEP)
        level[t] = now + drift * t
    y = level + rng.normal(0, SD, N)
    silent = rng.random(N) < 0.15
    offset = rng.normal(0, 1.0, N)
    params = FilterParameters(
        "normal",
        dispersion=SD,
        level_sd=STEP,
        damping=damping,
        prior_mean=mean,
        prior_sd=1.5,
        level_mean=0.0,
        level_drift=drift,
    )
    obs = one(np.where(silent, 0.0, y + offset), np.where(silent, SILENT, EXACT), offset=offset)
    grid = build_grid(obs, params, spacing=0.06, cover=7.0)
    got = smooth_levels(
        obs,
        params,
        summaries=("predicted", "filtered", "smoothed"),
        quantiles=[0.1, 0.9],
        lag_covariance=True,
        grid=grid,
    )
    # A walk with drift is a line and a walk without: the one is taken off, and put back.
    line = drift * np.arange(N)
    want = kalman(np.where(silent, np.nan, y - line), damping, mean, 1.5)
    assert got.loglik[0] == pytest.approx(want.llf_obs.sum(), abs=5e-4)
    for name, mean_of, var_of in (
        ("predicted", want.predicted_state[0, :N], want.predicted_state_cov[0, 0, :N]),
        ("filtered", want.filtered_state[0], want.filtered_state_cov[0, 0]),
        ("smoothed", want.smoothed_state[0], want.smoothed_state_cov[0, 0]),
    ):
        summary = getattr(got, name)
        np.testing.assert_allclose(summary.mean, mean_of + line, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(summary.sd, np.sqrt(var_of), rtol=1e-3, err_msg=name)
    autocov = want.smoother_results.smoothed_state_autocovariance(1)[0, 0, 1:]
    np.testing.assert_allclose(got.lag_covariance[1:], autocov, rtol=3e-3, atol=2e-4)
    sd = np.sqrt(want.smoothed_state_cov[0, 0])
    np.testing.assert_allclose(
        got.quantiles, (want.smoothed_state[0] + line)[:, None] + sd[:, None] * [-1.2815516, 1.2815516],
        atol=3e-3,
    )  # fmt: skip
