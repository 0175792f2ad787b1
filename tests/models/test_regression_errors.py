"""What a user of the censored regressions can get wrong: one readable line, or the right answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from civstats.models.regression import CensoredLogNormal, CensoredNegBin, CensoredPoisson, Tobit
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
def test_nothing_left_to_fit_is_said_with_its_column(model):
    data = sales()
    with refused(r"all 80 row\(s\) miss a value, in y \(80 of 80\)"):
        model.from_formula("y ~ x", data.assign(y=np.nan), censored="out")
    with refused(r"in endog \(80 of 80\)"):
        model(np.full(N, np.nan), data[["one", "x"]], data["out"], missing="drop")
    with refused(r"out \(80 of 80\)|censored \(80 of 80\)"):
        model.from_formula("y ~ x", data.assign(out=np.nan), censored="out")
    half = data.assign(y=data["y"].where(data.index < 40), x=data["x"].where(data.index >= 40))
    with refused(r"x \(40 of 80\), y \(40 of 80\)"):
        model.from_formula("y ~ x", half, censored="out")
    with refused("no row"):
        model.from_formula("y ~ x", data, subset=data["x"] > 99, censored="out")


@every_model
def test_missing_and_infinite_values_are_counted_and_placed(model):
    data = sales()
    hole = data["x"].where(~data.index.isin([3, 9]))
    for bad, name in (
        ({"endog": data["y"].where(data.index != 3)}, "endog"),
        ({"exog": data[["one"]].assign(x=hole)}, "exog"),
        ({"offset": hole}, "offset"),
    ):
        args = {"endog": data["y"], "exog": data[["one", "x"]], "censored": data["out"], **bad}
        with refused(rf"{name} must not be missing, but \d row\(s\) \(first at position 3\)"):
            model(**args)
    with refused(r"x must not be missing, but 2 row\(s\) \(first at position 3\)"):
        model.from_formula("y ~ x", data.assign(x=hole), censored="out", missing="raise")
    flagged = int(data["out"].sum())
    top = data["y"].where(~data["out"], np.inf)
    with refused(rf"endog .* {flagged} row.* \({flagged} of them flagged as censored\).* no bound"):
        model.from_formula("y ~ x", data.assign(y=top), censored="out")
    with refused("exog must be finite"):
        model.from_formula("y ~ x", data.assign(x=data["x"].where(data.index != 3, -np.inf)))


def test_positions_are_those_of_the_callers_data():
    data = sales()
    data.loc[2, "x"], data.loc[20, "y"] = np.nan, 0.5
    with refused(r"whole numbers .*\(first at position 20\)"):
        CensoredPoisson.from_formula("y ~ x", data, subset=data.index >= 10)
    with refused(r"whole numbers .*\(first at position 20\)"):
        CensoredPoisson.from_formula("y ~ x", data)
    with refused(r"endog must be finite, .*\(first at position 20\)"):
        CensoredPoisson.from_formula("y ~ x", data.assign(y=data["y"].replace(0.5, np.inf)))


def test_groups_follow_the_rows_that_were_kept():
    data = sales().set_index(np.arange(N) + 1000)
    data.loc[[1003, 1031], "x"] = np.nan
    inside = (np.arange(N) >= 10) & (np.arange(N) != 50)
    kept = inside & data["x"].notna().to_numpy()
    expected = (
        smf.poisson("y ~ x", data[kept])
        .fit(disp=0, cov_type="cluster", cov_kwds={"groups": data["g"][kept]})
        .bse
    )
    formula = CensoredPoisson.from_formula("y ~ x", data, subset=inside)
    arrays = CensoredPoisson(data["y"][inside], data[["one", "x"]][inside], missing="drop")
    g = data["g"]
    shuffled = g.sample(frac=1, random_state=0)
    for model, groups in (
        (formula, "g"),
        (formula, g),
        (formula, shuffled),
        (formula, g.to_numpy()),
        (formula, list(g)),
        (formula, g.to_numpy()[inside]),
        (formula, g.to_numpy()[kept]),
        (arrays, g),
        (arrays, shuffled[shuffled.index.isin(data.index[inside])]),
        (arrays, g.to_numpy()[inside]),
        (arrays, g.to_numpy()[kept]),
        (arrays, g.map(str).to_numpy()[kept]),
    ):
        fit = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
        np.testing.assert_allclose(fit.bse, expected, rtol=1e-6)
    two = formula.fit(
        cov_type="cluster", cov_kwds={"groups": data.assign(h=np.arange(N) % 9)[["g", "h"]]}
    )
    theirs = smf.poisson("y ~ x", data[kept]).fit(
        disp=0,
        cov_type="cluster",
        cov_kwds={"groups": np.column_stack([g, np.arange(N) % 9])[kept]},
    )
    np.testing.assert_allclose(two.bse, theirs.bse, rtol=1e-6)
    for groups, match in (
        (
            g.to_numpy()[:7],
            r"groups has shape \(7,\), .* 80 rows, of which 68 are used.*80 or 69 or 68",
        ),
        (g.reset_index(drop=True), r"no entry for 68 row\(s\) .*to_numpy"),
        (pd.concat([g, g]), "labels are repeated"),
        ("nowhere", "not a column"),
        (np.ones(N), "a single group for all 68 rows"),
    ):
        with refused(match):
            formula.fit(cov_type="cluster", cov_kwds={"groups": groups})
    with refused("needs cov_kwds"):
        formula.fit(cov_type="cluster")


@every_model
def test_arrays_of_a_subset_are_matched(model):
    data = sales()
    inside = data.index >= 13
    expected = model.from_formula("y ~ x", data[inside], censored="out")
    for flags in (
        data["out"],
        data["out"].to_numpy(),
        data["out"].to_numpy()[inside],
        data["out"].sample(frac=1, random_state=1),
    ):
        got = model.from_formula("y ~ x", data, subset=inside, censored=flags)
        np.testing.assert_array_equal(got.censored, expected.censored)
    with refused("labels are repeated"):
        model.from_formula("y ~ x", data.set_index(data.index // 2), censored=data["out"])
    with refused(r"no entry for 5 row\(s\) \(first at position 0\)"):
        model.from_formula("y ~ x", data, censored=data["out"].set_axis(data.index + 5))
    with refused("subset .*length 3.* 80 rows"):
        model.from_formula("y ~ x", data, subset=[True, False, True])


@every_model
def test_lengths_are_said(model):
    data = sales()
    y, x, out = data["y"].to_numpy(), data[["one", "x"]].to_numpy(), data["out"].to_numpy()
    shifted = data[["one", "x"]].set_axis(data.index + 1)
    for args, match in (
        ({"exog": x[:50]}, "endog has 80 rows and exog 50"),
        ({"censored": out[:50]}, r"censored has shape \(50,\), but the data have 80"),
        ({"censored": out[:, None]}, r"censored has shape \(80, 1\)"),
        ({"exposure": np.ones(5)}, r"exposure has shape \(5,\), but the data have 80"),
        ({"offset": [0.1] * 5}, r"offset has shape \(5,\), but the data have 80"),
        ({"endog": np.column_stack([y, y])}, r"endog has shape \(80, 2\)"),
        ({"endog": data["y"], "exog": shifted}, "labels in 80 of 80 rows"),
        ({"exog": None}, "exog is missing"),
    ):
        with refused(match):
            model(**{"endog": y, "exog": x, "censored": out, **args})
    # An argument that would be ignored is refused: a weight that does nothing misleads.
    with refused("takes no argument weights; it takes censored"):
        model(y, x, out, weights=np.ones(N))
    fit = model(y, x, out).fit(warn_convergence=False)
    with refused(r"exog has shape \(80, 3\), but the model has 2"):
        fit.predict(np.column_stack([x, x[:, 0]]))
    with refused(r"exposure has shape \(4,\), but exog has 80"):
        fit.predict(exposure=np.ones(4))
    with refused(r"start_params must be \d numbers"):
        fit.model.fit(start_params=[0.0])


def test_limits_of_the_tobit():
    data = sales()
    with refused(r"left=3.0 must lie below right=2.0"):
        Tobit.from_formula("y ~ x", data, left=3, right=2)
    low, high = np.full(N, 1.0), np.full(N, 5.0)
    low[7] = 6.0
    with refused(r"left must lie below right, but 1 row\(s\) \(first at position 7\)"):
        Tobit.from_formula("y ~ x", data, left=low, right=high)
    with refused(r"left .* 80 row.* are inf: an infinite limit would censor every value"):
        Tobit.from_formula("y ~ x", data, left=np.inf)
    with refused("left is nan"):
        Tobit.from_formula("y ~ x", data, left=np.nan)
    with refused(r"upper is -inf in 80 row\(s\)"):
        Tobit.from_formula("y ~ x", data, upper=np.full(N, -np.inf))
    both = int(data["out"].sum())
    with refused(rf"one way only, but {both} row.*left_censored.*endog >= right"):
        Tobit.from_formula("y ~ x", data, censored="out", left_censored="out")
    with refused(rf"one way only, but {both} row.*finite upper: drop the flag"):
        Tobit.from_formula("y ~ x", data, censored="out", upper=data["y"] + 1)
    plain = Tobit.from_formula("y ~ x", data, right=5).fit()
    for args in (
        {"left": -np.inf, "right": 5},
        {"right": np.full(N, 5.0)},
        {"left": np.full(N, np.nan), "right": "top"},
    ):
        same = Tobit.from_formula("y ~ x", data.assign(top=5), **args).fit()
        np.testing.assert_allclose(same.params, plain.params)


@every_model
def test_text_and_flags_where_numbers_belong(model):
    data = sales().assign(text=lambda d: d["x"].map(str), word="a")
    for formula, match in (
        ("text ~ x", "left side .* not a number"),
        ("out ~ x", "left side .* not a number"),
        ("y ~ text", "text holds numbers stored as text, 80 levels in 80 rows"),
        ("y ~ nope", "'nope' is not defined; the data have x, g, one"),
    ):
        with refused(match):
            model.from_formula(formula, data, censored="out")
    with refused(r"censored has 80 value\(s\) that are neither numbers nor .* first 'a'"):
        model(data["y"], data[["one", "x"]], data["word"])
    with refused(r"exog column 'word' has 80 value\(s\)"):
        model(data["y"], data[["one", "word"]])
    with refused("missing must be none, drop or raise, but got 'ignore'"):
        model.from_formula("y ~ x", data, missing="ignore")
    # Small integers must not overflow, and nullable ones are numbers.
    plain = model.from_formula("y ~ g", data, censored="out")
    for dtype in ("uint8", "int8", "Int64"):
        small = data.astype({"y": dtype, "g": dtype})
        m = model(small["y"], small[["one", "g"]].astype({"one": dtype}), data["out"])
        at = np.append([0.3, 0.1], [0.2] * len(m.extra_names))
        assert m.loglike(at) == pytest.approx(plain.loglike(at), rel=1e-12)
        np.testing.assert_allclose(m.score(at), plain.score(at))


@every_model
def test_new_data_that_do_not_fit(model):
    data = sales()
    fit = model.from_formula("y ~ x + C(dept)", data, censored="out").fit(warn_convergence=False)
    with refused(r"lack the column\(s\) x of the formula"):
        fit.predict(data[["dept"]])
    with refused(r"dept has levels .* 2 row\(s\), first 'q' at position 1: it knows a, b, c"):
        fit.predict(data.head(3).assign(dept=["a", "q", "q"]))
    with refused("needs a DataFrame with x, dept, but got ndarray"):
        fit.predict(np.ones((2, 4)))
    new = data.head(4).assign(x=[0.0, np.nan, 1.0, 2.0], share=[1.0, 0.5, 0.5, 0.25])
    plain = fit.predict(new, exposure=new["share"])
    assert plain.isna().tolist() == [False, True, False, False]
    repeated = fit.predict(new.set_axis([5, 5, 6, 6]), exposure="share")
    np.testing.assert_array_equal(repeated, plain)
    assert repeated.index.tolist() == [5, 5, 6, 6]


def test_counts_and_exposures_that_cannot_be():
    data = sales()
    with refused(r"endog must not exceed 1e\+07 .* 80 row.* rescale the units"):
        CensoredNegBin.from_formula("y ~ x", data.assign(y=data["y"] * 1e15))
    for model in (CensoredPoisson, CensoredLogNormal):
        with refused(r"exposure must be positive .* 1 row\(s\) \(first at position 4\)"):
            model.from_formula("y ~ x", data, exposure=np.where(data.index == 4, 0.0, 1.0))
    with refused("exposure must be >= 0, but 80 row"):
        Tobit.from_formula("y ~ x", data, exposure=-np.ones(N))
