"""The Bayesian model at its edges: refits, storage, arguments, odd panels, fractional demand."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.models.bayes import BayesDemand, Prior, Priors
from civstats.models.bayes._layout import lay_out, read_sales
from civstats.models.bayes._posterior import expected_demand
from civstats.schema import CivstatsError, ForecastError, validate_panel

for _name in ("pymc", "nutpie", "arviz"):
    if importlib.util.find_spec(_name) is None:
        pytest.skip(
            f"{_name} is not installed: pip install 'civstats[bayes]'", allow_module_level=True
        )

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS:UserWarning")

SMALL = {"draws": 60, "tune": 60, "harmonics": 0, "n_jobs": 1}


def make_panel(departments="AABB", n_days=49, seed=0):
    """Four series; those of the second half sell twenty times as much; stock runs short."""
    rng = np.random.default_rng(seed)
    frames = []
    for k, dept in enumerate(departments):
        demand = rng.poisson(0.5 if k < 2 else 10.0, n_days)
        stock = rng.choice([2, 50], n_days, p=[0.2, 0.8]) * (1 if k < 2 else 4)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{k}",
                    "ds": pd.date_range("2024-01-01", periods=n_days),
                    "y": np.minimum(demand, stock).astype(float),
                    "is_censored": demand >= stock,
                    "dept_id": dept,
                }
            )
        )
    return validate_panel(pd.concat(frames))


@pytest.fixture(scope="module")
def fitted():
    return BayesDemand(**SMALL).fit(make_panel())


class Compiled:
    """Stands for a compiled model that has been given other data."""

    shared_data = ("_exact_value",)
    told = 0

    def with_data(self, **_):
        self.told += 1
        return self


def test_a_compiled_model_is_used_again_for_other_sales_never_for_other_groups():
    model = BayesDemand(**SMALL).build(make_panel("AABB"))
    model._compiled = compiled = Compiled()
    model.build(make_panel("AABB", seed=1))
    assert model._compiled is compiled
    assert compiled.told == 1
    before = model.model_
    model.build(make_panel("ABAB"))
    assert model._compiled is None
    assert model.model_ is not before


def test_few_paths_are_of_all_draws(fitted):
    """The second chain is told apart by its level: about half of a few paths are its own."""
    import copy

    panel = make_panel()
    moved = copy.copy(fitted)
    moved._draws = copy.copy(fitted._draws)
    level = fitted._draws["level"].copy()
    level[len(level) // 2 :] += 6.0
    moved._draws._values = fitted._draws._values | {"level": level}
    future = panel.groupby("unique_id", observed=True).tail(7)[["unique_id", "ds", "dept_id"]]
    future = future.assign(ds=future["ds"] + pd.Timedelta(days=7)).reset_index(drop=True)
    paths = moved.predict(future, level=[80], n_paths=40, seed=0).paths.to_numpy()
    high = paths[-1].mean(axis=1) > 200
    assert 8 < high.sum() < 32


def test_one_item_label_in_two_departments_is_two_items():
    panel = make_panel("ABAB").assign(
        item_id=pd.Categorical(np.repeat(["i", "i", "j", "j"], 49)),
        store_id=pd.Categorical(np.repeat(["u", "v", "u", "v"], 49)),
    )
    layout = lay_out(validate_panel(panel), None, "week")
    assert layout.names["item"] == ["A / i", "A / j", "B / i", "B / j"]
    of_item = np.array(layout.names["department"])[layout.item_department]
    assert list(of_item) == ["A", "A", "B", "B"]
    assert (layout.item_department[layout.item] == layout.department).all()


def test_sales_stored_in_a_short_format_are_whole_again():
    panel = make_panel()
    short = validate_panel(panel.assign(y=panel["y"].to_numpy() * (1 - 4e-8)))
    layout = lay_out(panel, None, "week")
    whole, other = (read_sales(p, layout, "censor", "negbin") for p in (panel, short))
    assert (short["y"] != panel["y"]).any()
    np.testing.assert_array_equal(whole.above, other.above)
    np.testing.assert_array_equal(whole.exact.value, other.exact.value)
    np.testing.assert_array_equal(whole.bound.value, other.bound.value)


def test_another_panel_is_not_recovered(fitted):
    panel = make_panel()
    fitted.recover(panel, n_draws=20)
    for changed, column in (
        (panel.assign(ds=panel["ds"] + pd.Timedelta(days=365)), "ds"),
        (panel.assign(is_censored=~panel["is_censored"]), "is_censored"),
        (panel.assign(y=panel["y"] + (panel.index == 3)), "y"),
    ):
        with pytest.raises(CivstatsError, match=rf"another panel .*: {column} differs in \d+ row"):
            fitted.recover(changed)


def test_a_stored_model_says_what_it_can_and_what_not(fitted, tmp_path):
    panel = make_panel().assign(price=2.0)
    panel.loc[panel["ds"].dt.day > 20, "price"] = 1.5
    model = BayesDemand(**SMALL, priors=Priors(coefficient_scale=2)).fit(panel)
    model.save(tmp_path)
    loaded = BayesDemand.load(tmp_path)
    assert loaded.covariates_ == model.covariates_ == ("dept_id", "price")
    assert loaded.priors == model.priors
    with pytest.raises(ForecastError, match="was loaded"):
        loaded.sample()
    (tmp_path / "layout.npz").unlink()
    with pytest.raises(CivstatsError, match=r"no stored BayesDemand: layout\.npz is missing"):
        BayesDemand.load(tmp_path)
    with pytest.raises(CivstatsError, match=r"no stored BayesDemand: model\.json"):
        BayesDemand.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, "seed must be a whole number >= 0"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"n_jobs": 0}, "n_jobs must be a whole number >= 1"),
        ({"target_accept": "a"}, "target_accept must lie"),
        ({"priors": [1]}, "priors must be Priors or a mapping"),
        ({"priors": {"drift_sd": Prior("normal", 0, 1)}}, "drift_sd takes a prior of the family"),
        ({"priors": {"zero_prob": Prior("log_normal", 0, 1)}}, "zero_prob takes .* beta"),
        ({"priors": {"intercept": Prior("beta", 1, 1)}}, "intercept takes .* normal"),
    ],
)
def test_arguments_are_checked_before_any_work(given, message):
    with pytest.raises(CivstatsError, match=message):
        BayesDemand(**given)


def test_numpys_whole_numbers_are_whole_numbers():
    assert BayesDemand(draws=np.int64(100), seed=np.int32(3)).draws == 100


def test_a_panel_without_a_sale_is_named():
    panel = make_panel()
    panel = validate_panel(panel.assign(y=0.0, is_censored=False))
    problems = BayesDemand(**SMALL).build(panel).problems_
    assert "series without sales" in {p.name for p in problems}


def test_priors_of_the_normal_family_are_of_the_size_of_mean_days():
    """Seven of eight prior days of an ordinary panel sell, none of them 20 mean days."""
    panel = make_panel()
    panel = panel.assign(y=panel["y"] + 0.25)
    model = BayesDemand(**SMALL, family="normal").build(validate_panel(panel))
    demand = model.prior_predictive(400, 0)["demand"].to_numpy()
    of_mean = demand / model._scale[model._layout.series]
    assert (demand > 0).mean() > 0.8
    assert np.median(of_mean) == pytest.approx(1.0, abs=0.15)
    assert np.quantile(of_mean, 0.99) < 20


def test_normal_demand_that_is_never_negative_has_the_mean_of_its_paths():
    rng = np.random.default_rng(0)
    panel = make_panel()
    y = np.maximum(rng.normal(1.0, 2.0, len(panel)), 0.0).round(2)
    panel = validate_panel(panel.assign(y=y, is_censored=False))
    model = BayesDemand(**SMALL, family="normal").fit(panel)
    from civstats.censoring import Normal

    scale = np.array([1.0, 2.0])
    expected = expected_demand(Normal(scale), np.array([0.5, -1.0]))
    for k, (loc, sd) in enumerate(((0.5, 1.0), (-1.0, 2.0))):
        grid = np.linspace(0, 40, 400_001)
        slow = np.trapezoid(grid * stats.norm(loc, sd).pdf(grid), grid)
        assert expected[k] == pytest.approx(slow, rel=1e-6)
    future = panel.groupby("unique_id", observed=True).tail(7)[["unique_id", "ds", "dept_id"]]
    future = future.assign(ds=future["ds"] + pd.Timedelta(days=7)).reset_index(drop=True)
    made = model.predict(future, level=[80], n_paths=2_000, seed=0)
    mean = made.frame["BayesDemand_censor"].to_numpy()
    paths = made.paths.mean("sample").to_numpy().ravel()
    assert mean == pytest.approx(paths, rel=0.12)
    assert mean.sum() == pytest.approx(paths.sum(), rel=0.02)
