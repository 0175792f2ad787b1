"""Censored regressions against R's survreg, statsmodels, brute force and simulated truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import optimize, stats
from statsmodels.tools.numdiff import approx_hess

from civstats.censoring import NegBin
from civstats.models.regression import CensoredLogNormal, CensoredNegBin, CensoredPoisson, Tobit
from civstats.schema import CivstatsError

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="module")
def survreg():
    frame = pd.read_csv(REFERENCE / "survreg.csv")
    return lambda fit, robust: frame[(frame["fit"] == fit) & (frame["robust"] == robust)].set_index(
        "term"
    )


@pytest.fixture(scope="module")
def lung() -> pd.DataFrame:
    frame = pd.read_csv(REFERENCE / "lung.csv").rename(columns=lambda c: c.replace(".", "_"))
    frame["is_censored"] = frame["status"] == 1
    return frame


def assert_same_as_r(fit, reference: pd.DataFrame) -> None:
    names = {"(Intercept)": "Intercept", "Log(scale)": "log_scale", "ph.ecog": "ph_ecog"}
    reference = reference.rename(index=lambda t: names.get(t, t.replace(".", "_")))
    assert list(fit.params.index) == list(reference.index)
    np.testing.assert_allclose(fit.params, reference["estimate"], rtol=1e-4)
    np.testing.assert_allclose(fit.bse, reference["se"], rtol=1e-4)
    assert fit.llf == pytest.approx(reference["loglik"].iloc[0], rel=1e-4)
    assert fit.llnull == pytest.approx(reference["loglik_null"].iloc[0], rel=1e-4)
    assert fit.nobs == reference["n"].iloc[0]


def test_tobit_left_censored_matches_survreg(survreg):
    tobin = pd.read_csv(REFERENCE / "tobin.csv")
    fit = Tobit.from_formula("durable ~ age + quant", tobin, left=0).fit()
    assert_same_as_r(fit, survreg("tobin", "no"))
    flags = Tobit.from_formula(
        "durable ~ age + quant", tobin.assign(zero=tobin["durable"] == 0), left_censored="zero"
    ).fit()
    np.testing.assert_allclose(flags.params, fit.params)
    assert (fit.n_left, fit.n_right, fit.n_exact) == (13, 0, 7)


@pytest.mark.parametrize(("name", "model"), [("lung", CensoredLogNormal), ("lung_tobit", Tobit)])
def test_right_censored_real_data_with_missing_rows_matches_survreg(survreg, lung, name, model):
    fit = model.from_formula(
        "time ~ age + sex + ph_ecog + wt_loss", lung, censored="is_censored"
    ).fit()
    assert_same_as_r(fit, survreg(name, "no"))
    complete = lung.dropna(subset=["age", "sex", "ph_ecog", "wt_loss"])
    assert fit.n_right == int(complete["is_censored"].sum())


def test_robust_and_clustered_errors_match_survreg(survreg, lung):
    formula = "time ~ age + sex + ph_ecog + wt_loss"
    model = CensoredLogNormal.from_formula(formula, lung, censored="is_censored")
    assert_same_as_r(model.fit(cov_type="HC0"), survreg("lung", "HC0"))
    inside = lung[lung["inst"].notna()]
    model = CensoredLogNormal.from_formula(formula, inside, censored="is_censored")
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": "inst", "use_correction": False})
    assert_same_as_r(fit, survreg("lung_inst", "cluster"))
    with pytest.raises(CivstatsError, match="is not a column"):
        model.fit(cov_type="cluster", cov_kwds={"groups": "nowhere"})
    whole = CensoredLogNormal.from_formula(formula, lung, censored="is_censored")
    with pytest.raises(CivstatsError, match="groups is missing in 1 row"):
        whole.fit(cov_type="cluster", cov_kwds={"groups": "inst"})


@pytest.mark.parametrize(
    ("name", "model", "columns"),
    [
        ("simulated", Tobit, ("low", "high")),
        ("simulated_log", CensoredLogNormal, ("low_pos", "high_pos")),
    ],
)
def test_left_right_and_interval_censoring_at_once_match_survreg(survreg, name, model, columns):
    sim = pd.read_csv(REFERENCE / "simulated.csv")
    low, high = columns
    sim["y"] = sim[low].fillna(sim[high])
    sim["upper"] = sim[high].where(sim["kind"] == "interval")
    sim["right"], sim["left"] = sim["kind"] == "right", sim["kind"] == "left"
    fit = model.from_formula(
        "y ~ x + z", sim, censored="right", left_censored="left", upper="upper"
    ).fit()
    assert_same_as_r(fit, survreg(name, "no"))
    assert (fit.n_right, fit.n_left, fit.n_interval) == tuple(
        int((sim["kind"] == k).sum()) for k in ("right", "left", "interval")
    )
    text = fit.summary().as_text()
    for line in ("Right-censored:", "Left-censored:", "Interval-censored:", "log_scale"):
        assert line in text
    # An infinite upper bound is another way to say right-censored.
    sim["upper"] = sim["upper"].where(~sim["right"], np.inf)
    again = model.from_formula("y ~ x + z", sim, left_censored="left", upper="upper").fit()
    np.testing.assert_allclose(again.params, fit.params)


def demand_frame(n: int = 3000, seed: int = 0, dispersion: float = 2.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {
            "price": rng.uniform(1, 2, n),
            "promo": rng.random(n) < 0.3,
            "store": rng.integers(0, 40, n),
            "share": rng.choice([1.0, 0.5], n),
        }
    )
    eta = 2.5 - 1.2 * data["price"] + 0.6 * data["promo"]
    demand = NegBin(dispersion).sample(eta.to_numpy(), rng, exposure=data["share"])
    stock = rng.choice([1.0, 3.0, 6.0, 12.0], n)
    data["demand"] = demand
    data["y"] = np.minimum(demand, stock)
    data["is_censored"] = demand >= stock
    return data


TRUE = np.array([2.5, 0.6, -1.2])  # intercept, promo, price


def test_without_censoring_the_counts_are_statsmodels_own():
    data = demand_frame()
    ours = CensoredPoisson.from_formula("demand ~ promo + price", data).fit()
    theirs = smf.poisson("demand ~ promo + price", data).fit(disp=0)
    np.testing.assert_allclose(ours.params, theirs.params, rtol=1e-6)
    np.testing.assert_allclose(ours.bse, theirs.bse, rtol=1e-6)
    for name in ("llf", "llnull", "aic", "bic", "prsquared", "llr_pvalue", "df_resid"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-8), name
    robust = ours.model.fit(cov_type="HC0")
    np.testing.assert_allclose(
        robust.bse, smf.poisson("demand ~ promo + price", data).fit(disp=0, cov_type="HC0").bse
    )
    shares = {"exposure": data["share"]}
    ours = CensoredNegBin.from_formula("demand ~ promo + price", data, **shares).fit()
    theirs = smf.negativebinomial("demand ~ promo + price", data, **shares).fit(
        disp=0, method="newton", maxiter=200, start_params=[*ours.params[:3], 1 / ours.dispersion]
    )
    np.testing.assert_allclose(ours.params[:3], theirs.params[:3], rtol=1e-5)
    np.testing.assert_allclose(ours.bse[:3], theirs.bse[:3], rtol=1e-3)
    assert ours.alpha == pytest.approx(theirs.params["alpha"], rel=1e-5)
    assert ours.llf == pytest.approx(theirs.llf, rel=1e-9)
    assert ours.aic == pytest.approx(theirs.aic, rel=1e-9)
    np.testing.assert_allclose(ours.fittedvalues, theirs.predict(), rtol=1e-5)


def test_censored_negative_binomial_is_the_brute_force_optimum():
    data = demand_frame(800)
    x = np.column_stack([np.ones(800), data["promo"], data["price"]])
    y, cens, share = data["y"].to_numpy(), data["is_censored"].to_numpy(), data["share"].to_numpy()

    def loss(params):
        # scipy only: none of the package's mathematics.
        mu, a = np.exp(x @ params[:3]) * share, np.exp(params[3])
        law = stats.nbinom(a, a / (a + mu))
        return -np.where(cens, law.logsf(y - 1), law.logpmf(y)).sum()

    best = optimize.minimize(loss, [0.0, 0.0, 0.0, 0.0], method="BFGS", options={"gtol": 1e-4})
    fit = CensoredNegBin.from_formula(
        "y ~ promo + price", data, censored="is_censored", exposure="share"
    ).fit()
    np.testing.assert_allclose(fit.params, best.x, atol=2e-4)
    assert -fit.llf == pytest.approx(best.fun, rel=1e-9)
    np.testing.assert_allclose(
        fit.bse, np.sqrt(np.diag(np.linalg.inv(approx_hess(best.x, loss)))), rtol=2e-3
    )


def test_treatments_on_known_truth():
    data = demand_frame(30_000)
    formula, args = "y ~ promo + price", {"exposure": "share"}
    censor = CensoredNegBin.from_formula(formula, data, censored="is_censored", **args).fit()
    ignore = CensoredNegBin.from_formula(formula, data, **args).fit()
    mask = CensoredNegBin.from_formula(formula, data[~data["is_censored"]], **args).fit()
    inside = np.abs(censor.params[:3] - TRUE) < 3.5 * censor.bse[:3]
    assert inside.all()
    assert censor.dispersion == pytest.approx(2.0, abs=4 * censor.dispersion_se)
    new = pd.DataFrame({"price": [1.5], "promo": [True]})
    truth = np.exp(2.5 - 1.8 + 0.6)
    means = [float(np.asarray(f.predict(new))[0]) / truth for f in (censor, ignore, mask)]
    assert means[0] == pytest.approx(1.0, abs=0.03)
    assert means[1] < 0.9
    assert means[2] < 0.75
    recovered = censor.recovered()
    assert (recovered >= data["y"]).all()
    assert recovered.mean() == pytest.approx(data["demand"].mean(), rel=0.02)
    assert (recovered[~data["is_censored"]] == data["y"][~data["is_censored"]]).all()


@pytest.mark.parametrize("model", [CensoredPoisson, CensoredNegBin, CensoredLogNormal, Tobit])
def test_score_and_hessian_are_the_derivatives(model):
    data = demand_frame(300).assign(y=lambda d: d["y"] + (model is CensoredLogNormal))
    args = {"censored": "is_censored", "exposure": "share", "offset": np.linspace(0, 0.3, 300)}
    m = model.from_formula("y ~ promo + price", data, **args)
    at = np.append([0.4, 0.3, -0.2], [0.2] * len(m.extra_names))
    numeric = optimize.approx_fprime(at, m.loglike, 1e-6)
    np.testing.assert_allclose(m.score(at), numeric, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(m.score_obs(at).sum(0), m.score(at), rtol=1e-10)
    curve = np.array(
        [optimize.approx_fprime(at, lambda p, j=j: m.score(p)[j], 1e-6) for j in range(at.size)]
    )
    np.testing.assert_allclose(m.hessian(at), curve, rtol=1e-3, atol=2e-2)


def test_full_day_out_rows_change_nothing():
    data = demand_frame(1000)
    out = data.assign(y=0.0, is_censored=True).head(400)
    formula = "y ~ promo + price"
    plain = CensoredNegBin.from_formula(formula, data, censored="is_censored").fit()
    more = CensoredNegBin.from_formula(
        formula, pd.concat([data, out], ignore_index=True), censored="is_censored"
    ).fit()
    np.testing.assert_allclose(more.params, plain.params, rtol=1e-7)
    np.testing.assert_allclose(more.bse, plain.bse, rtol=1e-6)
    assert more.llf == pytest.approx(plain.llf, rel=1e-12)


def test_missing_rows_go_with_their_flags():
    data = demand_frame(600)
    holed = data.astype({"is_censored": "boolean"})
    holed.loc[3, "price"] = np.nan
    holed.loc[10, "y"] = np.nan
    holed.loc[20, "is_censored"] = pd.NA
    holed.loc[30, "share"] = np.nan
    before = holed.copy(deep=True)
    args = {"censored": "is_censored", "exposure": "share"}
    fit = CensoredNegBin.from_formula("y ~ promo + price", holed, **args).fit()
    clean = CensoredNegBin.from_formula(
        "y ~ promo + price", data.drop(index=[3, 10, 20, 30]), **args
    ).fit()
    pd.testing.assert_frame_equal(holed, before)
    assert fit.nobs == 596
    np.testing.assert_allclose(fit.params, clean.params)
    assert list(np.flatnonzero(~fit.model.kept_rows)) == [3, 10, 20, 30]
    grouped = fit.model.fit(cov_type="cluster", cov_kwds={"groups": "store"})
    same = clean.model.fit(cov_type="cluster", cov_kwds={"groups": "store"})
    np.testing.assert_allclose(grouped.bse, same.bse)
    # Arrays take the same route as the formula.
    x = np.column_stack([np.ones(600), holed["promo"], holed["price"]])
    arrays = CensoredNegBin(
        holed["y"].to_numpy(float),
        x,
        censored=holed["is_censored"].to_numpy(float, na_value=np.nan),
        exposure=holed["share"].to_numpy(),
        missing="drop",
    ).fit()
    np.testing.assert_allclose(arrays.params, clean.params)


def test_formula_sees_the_callers_names():
    def half(v):
        return v / 2

    data = demand_frame(400)
    fit = CensoredPoisson.from_formula("y ~ half(price)", data, censored="is_censored").fit()
    plain = CensoredPoisson.from_formula("y ~ price", data, censored="is_censored").fit()
    assert fit.params["half(price)"] == pytest.approx(2 * plain.params["price"])


def test_results_speak_statsmodels():
    data = demand_frame(1500)
    fit = CensoredNegBin.from_formula(
        "y ~ promo + price", data, censored="is_censored", exposure="share"
    ).fit(cov_type="cluster", cov_kwds={"groups": "store"})
    names = ["Intercept", "promo[T.True]", "price", "log_dispersion"]
    assert list(fit.params.index) == list(fit.bse.index) == list(fit.pvalues.index) == names
    assert list(fit.cov_params().columns) == names
    assert fit.conf_int().shape == (4, 2)
    wald = fit.wald_test("price = 0", scalar=True)
    assert wald.statistic == pytest.approx(fit.tvalues["price"] ** 2)
    assert fit.t_test("price = -1.2").pvalue > 1e-3
    text = fit.summary().as_text()
    for piece in (
        "Right-censored:",
        str(int(data["is_censored"].sum())),
        "cluster",
        "Pseudo R-squ.",
    ):
        assert piece in text
    sigma = fit.predict(which="sigma")
    mean = fit.predict()
    np.testing.assert_allclose(sigma**2, mean + mean**2 / fit.dispersion)
    whole_day = fit.predict(data)
    np.testing.assert_allclose(whole_day * data["share"], mean)
    np.testing.assert_allclose(fit.predict(data, exposure=data["share"]), mean)
    with pytest.raises(CivstatsError, match="which must be"):
        fit.predict(which="median")


def test_bad_data_ends_in_one_readable_line():
    data = demand_frame(50)
    with pytest.raises(CivstatsError, match="censored='flag' is not a column"):
        CensoredPoisson.from_formula("y ~ price", data, censored="flag")
    with pytest.raises(
        CivstatsError, match=r"whole numbers >= 0 .* 1 row\(s\) \(first at position 7"
    ):
        CensoredPoisson.from_formula(
            "y ~ price", data.assign(y=data["y"].where(data.index != 7, 0.5))
        )
    with pytest.raises(CivstatsError, match="must hold True or False"):
        CensoredPoisson.from_formula("y ~ price", data, censored=np.arange(50))
    with pytest.raises(CivstatsError, match="one entry per row"):
        CensoredPoisson(data["y"], data[["price"]], censored=[True])
    with pytest.raises(CivstatsError, match="must be positive where exact"):
        CensoredLogNormal.from_formula("y ~ price", data.assign(y=0.0))
    with pytest.raises(CivstatsError, match="upper must not lie below"):
        Tobit.from_formula("y ~ price", data, upper=data["y"] - 1)
    with pytest.raises(CivstatsError, match="one way only"):
        Tobit.from_formula("y ~ price", data, censored=data["y"] >= 0, left_censored=data["y"] >= 0)


@pytest.mark.parametrize("flag", ["yes", "True"])
def test_an_unreadable_flag_is_refused_not_dropped(flag):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.poisson(3, 60), "price": rng.random(60)})
    flags = np.array([False] * 60, dtype=object)
    flags[::4] = flag
    with pytest.raises(CivstatsError, match="15 value"):
        CensoredNegBin.from_formula("y ~ price", data.assign(out=flags), censored="out")


@pytest.mark.parametrize("exposed", [False, True])
def test_recovered_is_the_mean_given_what_was_observed_under_every_censoring(exposed):
    """The truncated normal of scipy, row by row; the log-normal by quadrature of its density."""
    rng = np.random.default_rng(4)
    n = 240
    share = rng.uniform(0.4, 1.0, n) if exposed else np.ones(n)
    data = pd.DataFrame({"x": rng.normal(size=n), "share": share})
    truth = (1.5 + data["x"]) * share + rng.normal(size=n)
    kind = np.arange(n) % 4  # exact, right, left, interval
    data["right"], data["left"] = kind == 1, kind == 2
    data["y"] = truth + np.choose(kind, [0.0, -0.4, 0.7, -0.5])
    data["upper"] = np.where(kind == 3, truth + 0.9, np.nan)
    marks = {"censored": "right", "left_censored": "left", "upper": "upper", "exposure": "share"}
    low = np.where(kind == 2, -np.inf, data["y"])
    high = np.select([kind == 1, kind == 3], [np.inf, data["upper"]], data["y"])

    fit = Tobit.from_formula("y ~ x", data, **marks).fit()
    scale = np.exp(fit.params["log_scale"])
    location = (fit.params["Intercept"] + fit.params["x"] * data["x"]) * share
    expected = data["y"].copy()
    for i in np.flatnonzero(kind > 0):
        a, b = (low[i] - location[i]) / scale, (high[i] - location[i]) / scale
        expected[i] = stats.truncnorm.mean(a, b, loc=location[i], scale=scale)
    np.testing.assert_allclose(fit.recovered(), expected, rtol=1e-7, atol=1e-9)
    assert fit.recovered().index.equals(data.index)
    np.testing.assert_array_equal(fit.recovered()[kind == 0], data["y"][kind == 0])

    logs = data.assign(y=np.exp(data["y"]), upper=np.exp(data["upper"]))
    fit = CensoredLogNormal.from_formula("y ~ x", logs, **marks).fit()
    scale = np.exp(fit.params["log_scale"])
    recovered = fit.recovered()
    for i in np.flatnonzero(kind > 0)[:24]:
        eta = fit.params["Intercept"] + fit.params["x"] * data["x"][i]
        law = stats.lognorm(scale, scale=share[i] * np.exp(eta))
        mean = law.expect(lambda v: v, lb=np.exp(low[i]), ub=np.exp(high[i]), conditional=True)
        assert recovered[i] == pytest.approx(mean, rel=1e-6)
    np.testing.assert_array_equal(recovered[kind == 0], logs["y"][kind == 0])
