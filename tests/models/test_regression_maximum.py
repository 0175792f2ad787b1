"""Where the likelihood of a censored regression has no finite, single maximum, it is said."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from civstats.models.regression import CensoredLogNormal, CensoredNegBin, CensoredPoisson, Tobit
from civstats.models.regression.existence import check_collinear, no_maximum
from civstats.schema import CivstatsError

MODELS = [CensoredPoisson, CensoredNegBin, Tobit, CensoredLogNormal]
every_model = pytest.mark.parametrize("model", MODELS)
N = 80


def sales(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"x": rng.normal(size=N), "g": rng.integers(0, 7, N), "one": 1.0})
    demand = rng.negative_binomial(2, 1 / (1 + np.exp(1 + 0.3 * data["x"])), N) + 1
    data["y"], data["out"] = np.minimum(demand, 5).astype(float), demand >= 5
    data["dept"] = rng.choice(list("abc"), N)
    return data


def refused(match: str):
    """Expect one CivstatsError of a single line."""
    return pytest.raises(CivstatsError, match=rf"\A(?=.*(?:{match}))[^\n]*\Z")


@every_model
def test_collinear_columns_are_named(model):
    data = sales().assign(twice=lambda d: 2 * d["x"] - 3, zero=0.0)
    for formula, match in (
        ("y ~ x + twice", r"rank 2 over 80 .*(twice on Intercept, x|Intercept on x, twice|x on)"),
        ("y ~ x + one", r"(one on Intercept|Intercept on one) depend"),
        ("y ~ x + zero", "0 in all 80 rows used: zero"),
        ("y ~ C(dept) + C(dept):one + x", "rank"),
    ):
        with refused(match):
            model.from_formula(formula, data, censored="out").fit()
    with refused("rank 4 over 4 row.* add rows"):
        model.from_formula("y ~ x + g + I(x**2) + I(g**2)", data[:4]).fit()
    # A small but real difference is none of these, in whatever unit.
    near = data.assign(near=1e-20 * (data["x"] + 1e-4 * np.cos(data["g"])))
    model.from_formula("y ~ x + near", near, censored="out")
    check_collinear(near[["one", "x", "near"]].to_numpy(), ["one", "x", "near"])


@every_model
def test_a_maximum_at_infinity_is_refused_or_named(model):
    data = sales()
    with refused("all 80 rows are right-censored.*no maximum"):
        model.from_formula("y ~ x", data.assign(out=True), censored="out").fit()
    group = data.assign(out=data["dept"] == "b")
    m = model.from_formula("y ~ C(dept)", group, censored="out")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        m.fit()
    said = [str(w.message) for w in seen if "no finite maximum" in str(w.message)]
    assert len(said) == 1
    assert "C(dept)[T.b] -> +inf" in said[0]
    assert "C(dept)[T.c]" not in said[0]
    # Ordinary data are left alone.
    assert no_maximum(*model.from_formula("y ~ x", data, censored="out")._faces()) is None


def test_a_level_of_zeros_and_one_without_information():
    data = sales()
    b = data["dept"] == "b"
    with pytest.warns(ConvergenceWarning) as seen:
        CensoredPoisson.from_formula("y ~ C(dept)", data.assign(y=data["y"].where(~b, 0))).fit()
    assert any("C(dept)[T.b] -> -inf:" in str(w.message) for w in seen)
    # A stockout over the whole day says nothing of its level.
    empty = data.assign(y=data["y"].where(~b, 0), out=b)
    with refused(r"no row of 80 says anything of C\(dept\)\[T.b\]:"):
        CensoredPoisson.from_formula("y ~ C(dept)", empty, censored="out").fit()


@pytest.mark.parametrize("model", [Tobit, CensoredLogNormal])
def test_a_fit_without_residual_is_refused(model):
    data = sales()
    with refused(r"fit all 80 exact row\(s\) of 80 without residual"):
        model.from_formula("y ~ x", data.assign(y=3.0)).fit()
    # A large level with a small spread is not that.
    model.from_formula("y ~ x", data.assign(y=1e6 + data["y"])).fit()


ROW = st.tuples(st.integers(-1, 1), st.integers(-1, 1), st.integers(0, 2), st.booleans())
ANGLES = np.arange(16) * np.pi / 8  # faces of whole rows in {-1, 0, 1} turn at multiples of 45


@settings(max_examples=150, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=5))
def test_poisson_maximum_exists_where_brute_force_says(rows):
    a = np.array(rows, dtype=float)
    m = CensoredPoisson(a[:, 2], a[:, :2], a[:, 3].astype(bool))
    rays = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])
    never_falls = any(m.loglike(40 * v) >= m.loglike(20 * v) - 1e-9 for v in rays)
    assert (no_maximum(*m._faces()) is not None) == never_falls


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 1), st.sampled_from("erl")), min_size=1, max_size=5))
def test_tobit_maximum_exists_where_brute_force_says(rows):
    y, kind = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows])
    m = Tobit(y, np.ones((y.size, 1)), kind == "r", kind == "l")

    def value(t: float, v: np.ndarray) -> float:
        gamma, h = t * v[0], 1.0 + t * v[1]
        return m.loglike([gamma / h, -np.log(h)])

    rays = [np.array([np.cos(w), np.sin(w)]) for w in ANGLES if np.sin(w) > -1e-9]
    never_falls = any(value(40, v) >= value(20, v) - 1e-9 for v in rays)
    assert (no_maximum(*m._faces()) is not None) == never_falls
