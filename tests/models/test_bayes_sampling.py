"""Posteriors drawn: what a fit hands back, a Tobit regression, the demand filter's levels."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest
from scipy.special import digamma

from civstats.models.bayes import BayesDemand, Prior, Priors
from civstats.schema import validate_panel

for _name in ("pymc", "nutpie", "arviz"):
    if importlib.util.find_spec(_name) is None:
        pytest.skip(
            f"{_name} is not installed: pip install 'civstats[bayes]'", allow_module_level=True
        )

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS:UserWarning"),
    # numba cannot keep the machine code of what nutpie calls back.
    pytest.mark.filterwarnings("ignore:Cannot cache compiled function"),
]
H = 14


def make_panel(seed=0, n_days=84):
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=n_days)
    frames = []
    for k, mean in enumerate((0.6, 2.0, 5.0, 9.0, 3.0, 1.0)):
        demand = rng.negative_binomial(2, 2 / (2 + mean), n_days)
        stock = rng.choice([0, 2, 5, 100], n_days, p=[0.05, 0.15, 0.2, 0.6])
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"item{k // 2}_store{k % 2}",
                    "ds": days,
                    "y": np.minimum(demand, stock),
                    "is_censored": demand >= stock,
                    "demand": demand,
                    "item_id": f"item{k // 2}",
                    "store_id": f"store{k % 2}",
                }
            )
        )
    return validate_panel(pd.concat(frames))


@pytest.fixture(scope="module")
def panel():
    return make_panel()


@pytest.fixture(scope="module")
def fitted(panel):
    return BayesDemand(harmonics=0, draws=400, tune=300, n_jobs=1).fit(panel)


def test_the_posterior_is_sound(fitted):
    import arviz as az

    posterior = fitted.idata_.posterior
    assert not [n for n in posterior if str(n).endswith(("_raw", "__", "_change"))]
    assert posterior["level"].dims == ("chain", "draw", "node")
    assert int(fitted.idata_.sample_stats["diverging"].sum()) == 0
    assert float(az.rhat(posterior).to_array().max()) < 1.05
    assert len(fitted.idata_.constant_data["y"]) == 6 * 84


def test_recovered_demand_is_at_least_sales(fitted, panel):
    found = fitted.recover(panel, n_draws=300, seed=1)
    out = panel["is_censored"].to_numpy()
    assert found.frame["stockout"].to_numpy().tolist() == out.tolist()
    y = panel["y"].to_numpy()[found.rows]
    assert (found.samples >= y[:, None]).all()
    assert (found.samples == np.rint(found.samples)).all()
    # The mean by formula and the mean of the draws.
    error = found.samples.std(axis=1) / np.sqrt(300) + 1e-9
    z = (found.frame["recovered"].to_numpy()[found.rows] - found.samples.mean(axis=1)) / error
    assert np.sqrt(np.square(z).mean()) < 1.6
    truth = float((panel["demand"] - panel["y"]).sum())
    band = found.lost(level=95)
    assert band["lost-lo-95"][0] < truth < band["lost-hi-95"][0]


def test_forecasts_are_joint_paths(fitted, panel):
    days = pd.date_range(panel["ds"].max() + pd.Timedelta(days=1), periods=H)
    ids = list(panel["unique_id"].cat.categories)
    future = pd.DataFrame({"unique_id": np.repeat(ids, H), "ds": np.tile(days, len(ids))})
    found = fitted.predict(future, n_paths=800, seed=2)
    assert found.paths.shape == (6, 800, H)
    mean = found.frame[found.name].to_numpy().reshape(6, H)
    np.testing.assert_allclose(found.paths.mean(["sample", "ds"]), mean.mean(axis=1), rtol=0.1)
    keyed = found.marginal.assign(part=found.marginal["mean"] * found.marginal["weight"])
    sums = keyed.groupby(["unique_id", "ds"], observed=True)["part"].sum().to_numpy()
    np.testing.assert_allclose(sums.reshape(6, H), mean, rtol=1e-6)
    # A level that is not known is shared by the days of a path.
    total = found.paths.sum("ds").var("sample")
    assert float((total / found.paths.var("sample").sum("ds")).mean()) > 1.1


def test_stored_and_read_back(fitted, panel, tmp_path):
    fitted.save(tmp_path / "model")
    read = BayesDemand.load(tmp_path / "model")
    days = pd.date_range(panel["ds"].max() + pd.Timedelta(days=1), periods=3)
    ids = list(panel["unique_id"].cat.categories)
    future = pd.DataFrame({"unique_id": np.repeat(ids, 3), "ds": np.tile(days, len(ids))})
    one, two = (m.predict(future, n_paths=20, seed=3) for m in (fitted, read))
    pd.testing.assert_frame_equal(one.frame, two.frame)
    one, two = (m.recover(n_draws=40, seed=3) for m in (fitted, read))
    np.testing.assert_array_equal(one.samples, two.samples)
    pd.testing.assert_frame_equal(one.lost("unique_id"), two.lost("unique_id"))


def test_log_likelihood_of_days_adds_up(fitted):
    each = fitted.pointwise(np.arange(5))
    kind = fitted.idata_.constant_data["kind"].to_numpy()
    assert each.shape == (5, len(kind))
    assert (each[:, kind == 2] == 0).all()
    assert (each[:, kind != 2] < 0).all()


def test_other_sales_reuse_the_compiled_model(panel):
    model = BayesDemand(covariates=False, draws=100, tune=100, n_jobs=1).fit(panel)
    code, level = model._compiled.compiled_logp_func, model.idata_.posterior["level"].mean()
    model.fit(make_panel(seed=9).assign(y=lambda p: p["y"] * 3))
    assert model._compiled.compiled_logp_func is code
    assert float(model.idata_.posterior["level"].mean() - level) > 0.7


def test_a_wide_prior_is_tobit():
    """One series without drift: a censored regression, posterior against maximum likelihood."""
    from civstats.models.regression import Tobit

    rng = np.random.default_rng(3)
    n = 800
    days = pd.date_range("2022-01-01", periods=n)
    x = rng.normal(size=n)
    demand = 20 + 3 * x + rng.normal(0, 4, n)
    stock = rng.choice([17.0, 22.0, 1000.0], n)
    y = np.minimum(demand, stock)
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": days, "y": y, "is_censored": demand >= stock, "x": x}
    )
    panel = validate_panel(frame)
    wide = Priors(
        intercept=Prior("normal", 0.0, 100.0), series_sd=Prior("half_normal", 100.0),
        coefficient_scale=100.0, noise=Prior("log_normal", 0.0, 10.0),
    )  # fmt: skip
    model = BayesDemand(
        family="normal", drift=None, harmonics=0, priors=wide, draws=3000, tune=800, n_jobs=1
    ).fit(panel)
    post, scale = model.idata_.posterior, model._scale[0]
    weekday = days.dayofweek.to_numpy()
    dummies = [np.where(weekday == k, 1.0, np.where(weekday == 6, -1.0, 0.0)) for k in range(6)]
    centred = np.asarray(panel["x"] - panel["x"].median(), dtype=float)
    exog = np.column_stack([np.ones(n), *dummies, centred])
    fit = Tobit(panel["y"].to_numpy(dtype=float), exog, censored=panel["is_censored"]).fit(disp=0)
    drawn = [
        post["level"].isel(node=0) * scale,
        post["coefficient"].sel(regressor="x") * scale,
        np.log(post["noise"].isel(department=0) * scale),
    ]
    # Maximum likelihood takes the coefficients for known, the posterior does not: without censoring
    # the mean of log sigma lies (log n - digamma((n - 8) / 2) - log 2) / 2 above it.
    exact = int((~panel["is_censored"]).sum())
    above = 0.5 * (np.log(exact) - digamma((exact - 8) / 2) - np.log(2))
    for draws, k, more in zip(drawn, (0, 7, 8), (0.0, 0.0, above), strict=True):
        value, error = fit.params[k] + more, fit.bse[k]
        assert abs(float(draws.mean()) - value) < 0.1 * error
        assert float(draws.std()) == pytest.approx(error, rel=0.07)


def test_levels_agree_with_the_demand_filters():
    """Three dozen series with stockouts: weekly levels of NUTS against the filter's daily ones."""
    from civstats.data.synthetic import make_panel as make_world
    from civstats.demand_filter import DemandFilter, smooth_levels
    from civstats.stockouts.simulate import simulate_stockouts

    made = make_world(n_series=36, n_days=182, seed=4)
    panel = simulate_stockouts(made, mechanism="inventory", rate=0.25, seed=4)
    model = BayesDemand(harmonics=0, draws=400, tune=400).fit(panel)
    fitted = DemandFilter(treatment="censor", harmonics=0).fit(panel)
    obs = fitted.observations(panel)
    smoothed = smooth_levels(obs, fitted.parameters_, summaries=("smoothed",)).smoothed
    eta, _ = model.predictor()
    difference = eta.mean(axis=0) - (smoothed.mean + obs.offset)
    spread = np.hypot(eta.std(axis=0), smoothed.sd)
    assert np.sqrt(np.mean(np.square(difference / spread))) < 0.5
    assert np.corrcoef(eta.mean(axis=0), smoothed.mean + obs.offset)[0, 1] > 0.97


def test_draws_that_lay_on_disk_are_those_of_nutpie_in_memory(panel) -> None:
    import nutpie

    from civstats.models.bayes import _samplers

    model = BayesDemand(harmonics=0).build(panel)
    compiled = _samplers.compile_nutpie(model.model_)
    options = {"draws": 50, "tune": 50, "chains": 2, "cores": 1, "seed": 0}
    theirs = nutpie.sample(compiled, **options, progress_bar=False, save_warmup=False)
    ours = _samplers.sample(
        model.model_, compiled, sampler="nutpie", target_accept=0.8, progress=False, **options
    )
    kept = {n for n in theirs.posterior if not str(n).endswith(("_raw", "__"))}
    assert set(ours.posterior) == kept
    for name in kept:
        values = theirs.posterior[name]
        assert ours.posterior[name].dims == values.dims
        np.testing.assert_allclose(ours.posterior[name], values, rtol=1e-6)
        for d in values.dims[2:]:
            np.testing.assert_array_equal(ours.posterior[name][d], values[d])
    assert ours.posterior["level"].dtype == np.float32
    for name in ("diverging", "energy", "depth", "n_steps"):
        np.testing.assert_array_equal(ours.sample_stats[name], theirs.sample_stats[name])


def test_numpyro_draws_from_the_same_posterior(panel) -> None:
    for name in ("jax", "numpyro"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'civstats[numpyro]'")
    drawn = {
        sampler: BayesDemand(
            harmonics=0, draws=400, tune=400, chains=2, n_jobs=1, sampler=sampler
        ).fit(panel)
        for sampler in ("nutpie", "numpyro")
    }
    for name in ("level", "dispersion", "coefficient"):
        one, other = (m.idata_.posterior[name] for m in drawn.values())
        dims = ("chain", "draw")
        gap = np.abs(one.mean(dims) - other.mean(dims)) / one.std(dims)
        # Monte Carlo error of means of 800 draws each, ESS of a few hundred.
        assert float(gap.mean()) < 0.1
        ratio = other.std(dims) / one.std(dims)
        assert float(np.abs(np.log(ratio)).mean()) < 0.12
