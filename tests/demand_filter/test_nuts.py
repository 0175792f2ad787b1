"""The filter's posterior against NUTS on the same model, written down in PyMC."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats import validate_panel
from civstats.demand_filter import DemandFilter, FilterParameters, build_grid, smooth_levels
from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.groups import group_series
from civstats.demand_filter.offsets import OffsetCoefficients
from civstats.demand_filter.recovery import recover
from civstats.schema import series_index

N_DAYS, DRAWS, CHAINS = 90, 1500, 4
MEAN = np.array([0.4, 4.0, 40.0])
SIZE = np.array([1.0, 2.0, 8.0])
LEVEL_SD = np.array([0.08, 0.05, 0.04])
PRIOR_SD = 1.5
DAY_OF_WEEK = np.array([-0.2, -0.1, 0.0, 0.1, 0.3, 0.2])
FINE_MEAN, FINE_SD, GRID_MEAN = 0.01, 0.002, 0.02
"""What the grid's spacing may cost on a day (reference/README.md): at a spacing of 0.25 the level's
mean, in its standard deviations, and the relative error of those; at the usual 0.5 the mean."""


@pytest.fixture(scope="module")
def panel():
    """A slow, a middle and a quick mover: 30 % of days sold out, two spells without stock."""
    rng = np.random.default_rng(11)
    days = pd.date_range("2024-01-01", periods=N_DAYS)
    weekly = np.r_[DAY_OF_WEEK, -DAY_OF_WEEK.sum()][days.dayofweek]
    frames = []
    for k, mean in enumerate(MEAN):
        level = np.log(mean) + np.cumsum(rng.normal(0, LEVEL_SD[k], N_DAYS))
        mu = np.exp(level + weekly)
        demand = rng.poisson(mu * rng.gamma(SIZE[k], 1 / SIZE[k], N_DAYS))
        stock = np.maximum(np.ceil(mu * rng.choice([0.3, 0.7, 1.2, 2.5], N_DAYS)), 1)
        stock[40:46] = stock[70:73] = 0
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{k}",
                    "ds": days,
                    "y": np.minimum(demand, stock).astype("float32"),
                    "is_censored": demand >= stock,
                }
            )
        )
    made = validate_panel(pd.concat(frames))
    sold_out = (made["is_censored"] & (made["y"] > 0)).groupby(made["unique_id"], observed=True)
    assert sold_out.mean().between(0.2, 0.5).all()
    return made


@pytest.fixture(scope="module")
def given(panel):
    """The filter with everything given, nothing estimated."""
    model = DemandFilter(treatment="censor", family="negbin")
    model.ids_ = series_index(panel).ids
    model.groups_ = group_series(panel, ())
    model.design_ = OffsetDesign.learn(panel, harmonics=0)
    assert model.design_.names == tuple(f"day_of_week_{k}" for k in range(6))
    model.coefficients_ = OffsetCoefficients(
        model.design_.names, DAY_OF_WEEK, DAY_OF_WEEK[None, :], np.zeros(6)
    )
    model.parameters_ = FilterParameters(
        "negbin",
        dispersion=SIZE,
        level_sd=LEVEL_SD,
        prior_mean=np.log(MEAN) - 0.3,
        prior_sd=PRIOR_SD,
    )
    return model


def log_pmf(k, eta, size):
    """Negative binomial with mean ``exp(eta)``."""
    import pytensor.tensor as pt

    log_total = pt.log(size + pt.exp(eta))
    constant = pt.gammaln(k + size) - pt.gammaln(k + 1) - pt.gammaln(size)
    return constant + size * (pt.log(size) - log_total) + k * (eta - log_total)


@pytest.fixture(scope="module")
def drawn(panel):
    """Levels by NUTS, (chain, draw, series, day)."""
    for name in ("pymc", "nutpie", "arviz"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'civstats[bayes]'")
    import nutpie
    import pymc as pm
    import pytensor.tensor as pt

    shape = (len(MEAN), N_DAYS)
    y = panel["y"].to_numpy(dtype=float).reshape(shape)
    flag = panel["is_censored"].to_numpy().reshape(shape)
    weekday = panel["ds"].dt.dayofweek.to_numpy().reshape(shape)
    weekly = np.r_[DAY_OF_WEEK, -DAY_OF_WEEK.sum()][weekday]
    exact, bound = np.nonzero(~flag), np.nonzero(flag & (y > 0))
    below = np.arange(y[bound].max())
    # Demand is at least the stock, a tie included: what is left out is 0 .. stock - 1.
    short = below < y[bound][:, None]
    with pm.Model() as model:
        first = pm.Normal("first", 0, 1, shape=len(MEAN))
        step = pm.Normal("step", 0, 1, shape=(len(MEAN), N_DAYS - 1))
        start = (np.log(MEAN) - 0.3 + PRIOR_SD * first)[:, None]
        # Expected demand is a martingale: its log falls by half the variance of a step.
        walk = start + pt.cumsum(LEVEL_SD[:, None] * (step - LEVEL_SD[:, None] / 2), axis=1)
        level = pm.Deterministic("level", pt.concatenate([start, walk], axis=1))
        eta = level + weekly
        pm.Potential("exact", log_pmf(y[exact], eta[exact], SIZE[exact[0]]).sum())
        logs = log_pmf(below[None, :], eta[bound][:, None], SIZE[bound[0]][:, None])
        sold_less = pt.logsumexp(pt.where(short, logs, -np.inf), axis=1)
        pm.Potential("bound", pt.log1mexp(sold_less).sum())
    compiled = nutpie.compile_pymc_model(model)
    trace = nutpie.sample(
        compiled,
        draws=DRAWS,
        tune=800,
        chains=CHAINS,
        cores=1,
        seed=3,
        progress_bar=False,
    )
    assert int(trace.sample_stats["diverging"].sum()) == 0
    return trace.posterior["level"].to_numpy()


def monte_carlo(draws):
    """Mean, sd, and the Monte Carlo errors of both over the sd, of draws (chain, draw, n)."""
    import arviz as az

    mean, sd = draws.mean(axis=(0, 1)), draws.std(axis=(0, 1))
    deviations = {"first": draws - mean, "second": np.square(draws - mean)}
    data = az.convert_to_dataset(deviations)
    assert float(az.rhat(data).to_array().max()) < 1.01
    error = az.mcse(data, method="mean")
    # The sd moves by half of what the variance moves by, in relative terms.
    return mean, sd, error["first"].to_numpy() / sd, error["second"].to_numpy() / sd**2 / 2


@pytest.mark.slow
def test_levels(panel, given, drawn):
    obs = given.observations(panel)
    grid = build_grid(obs, given.parameters_, spacing=0.25)
    found = smooth_levels(obs, given.parameters_, summaries=("smoothed",), grid=grid).smoothed
    mean, sd, mean_error, sd_error = monte_carlo(drawn.reshape(CHAINS, DRAWS, -1))
    # So that a twentieth of a standard deviation would be seen.
    assert max(mean_error.max(), sd_error.max()) < 0.02
    z = (found.mean - mean) / sd / np.hypot(mean_error, FINE_MEAN)
    assert np.abs(z).max() < 4
    z = np.log(found.sd / sd) / np.hypot(sd_error, FINE_SD)
    assert np.abs(z).max() < 4


@pytest.mark.slow
def test_recovered_demand(panel, given, drawn):
    """By day and in total: expectations, and the spread of the total over joint draws."""
    found = recover(panel, given, levels=[], n_draws=6000, seed=4)
    stockout = panel["is_censored"].to_numpy()
    assert found.frame["stockout"].tolist() == stockout.tolist()
    series, day = np.nonzero(stockout.reshape(len(MEAN), N_DAYS))
    offset = given.offset(panel)[stockout]
    mu = np.exp(drawn[:, :, series, day] + offset)
    size, least = SIZE[series], panel["y"].to_numpy(dtype=float)[stockout]
    p = size / (size + mu)
    reached = stats.nbinom.sf(least - 1, size, p)
    # k pmf(k; size) = mu pmf(k - 1; size + 1), summed from the stock up.
    expected = mu * stats.nbinom.sf(least - 2, size + 1, p) / reached
    mean, sd, error, _ = monte_carlo(expected)
    z = (found.frame["recovered"].to_numpy()[stockout] - mean) / sd / np.hypot(error, GRID_MEAN)
    assert np.abs(z).max() < 4
    rng = np.random.default_rng(5)
    demand = stats.nbinom.isf(rng.random(mu.shape) * reached, size, p)
    assert (demand >= least).all()
    for k in range(len(MEAN)):
        mine = series == k
        total = expected[..., mine].sum(axis=-1, keepdims=True)
        mean, sd, error, _ = monte_carlo(total)
        got = found.frame["recovered"].to_numpy()[stockout][mine].sum()
        assert abs(got - mean[0]) < 4 * sd[0] * np.hypot(error[0], GRID_MEAN)
        mean, sd, error, sd_error = monte_carlo(demand[..., mine].sum(axis=-1, keepdims=True))
        ours = found.samples[mine].sum(axis=0)
        alone = 1 / np.sqrt(len(ours))
        assert abs(ours.mean() - mean[0]) < 4 * sd[0] * np.hypot(error[0], alone)
        assert abs(np.log(ours.std() / sd[0])) < 4 * np.hypot(sd_error[0], alone)
