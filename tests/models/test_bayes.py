"""The Bayesian model's density against scipy, its reparametrisations against brute force, its refusals."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.models.bayes import BayesDemand, Prior, Priors
from civstats.schema import CivstatsError, validate_panel

for _name in ("pymc", "nutpie", "arviz"):
    if importlib.util.find_spec(_name) is None:
        pytest.skip(
            f"{_name} is not installed: pip install 'civstats[bayes]'", allow_module_level=True
        )

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS:UserWarning")


def make_panel(n_days=42, fractional=False):
    """Two departments, three items in two stores; stock that runs short, days wholly out, part days."""
    rng = np.random.default_rng(5)
    days = pd.date_range("2024-01-01", periods=n_days)
    frames = []
    for k, mean in enumerate((0.6, 2.0, 5.0, 9.0, 3.0, 1.0)):
        demand = rng.negative_binomial(2, 2 / (2 + mean), n_days).astype(float)
        if fractional:
            demand = np.maximum(rng.normal(mean, 0.4 * mean, n_days), 0).round(2)
        stock = rng.choice([0, 2, 5, 100], n_days, p=[0.05, 0.15, 0.2, 0.6])
        share = np.where(rng.random(n_days) < 0.1, 0.5, 1.0)
        share = np.where(demand >= stock, 0.0, share)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"item{k // 2}_store{k % 2}",
                    "ds": days,
                    "y": np.minimum(demand, stock),
                    "is_censored": demand >= stock,
                    "in_stock_share": share,
                    "item_id": f"item{k // 2}",
                    "store_id": f"store{k % 2}",
                    "dept_id": "A" if k < 4 else "B",
                    "price": 2.0 + k + 0.5 * (np.arange(n_days) // 10 % 2),
                }
            )
        )
    return validate_panel(pd.concat(frames))


@pytest.fixture(scope="module")
def panel():
    return make_panel()


def at_a_point(model, names, seed=0):
    """Value of some of a model's quantities at a random point, in plain Python."""
    import pytensor
    from pytensor.compile.mode import Mode

    graphs = model.model_.replace_rvs_by_values([model.model_[n] for n in names])
    inputs = model.model_.value_vars
    mode = Mode(linker="py", optimizer=None)
    run = pytensor.function(inputs, graphs, mode=mode, on_unused_input="ignore")
    rng = np.random.default_rng(seed)
    start = model.model_.initial_point()
    point = [start[v.name] + 0.2 * rng.normal(size=np.shape(start[v.name])) for v in inputs]
    return dict(zip(names, run(*point), strict=True))


@pytest.mark.parametrize("family", ["poisson", "negbin", "zero_inflated_negbin"])
@pytest.mark.parametrize("treatment", ["ignore", "censor"])
def test_the_likelihood_of_days_is_scipys(panel, family, treatment):
    model = BayesDemand(family=family, treatment=treatment, harmonics=0).build(panel)
    wanted = ["days", "level", "department_coefficient"]
    extra = {"poisson": [], "negbin": ["dispersion"]}.get(family, ["dispersion", "zero_prob"])
    found = at_a_point(model, wanted + extra)
    day = panel["ds"].to_numpy()
    # By hand: weeks from the first day, effect-coded days of week, price against its median.
    series = panel["unique_id"].cat.codes.to_numpy()
    week = (day - day.min()) // np.timedelta64(7, "D")
    department = (panel["dept_id"].astype(str) == "B").to_numpy().astype(int)
    weekday = panel["ds"].dt.dayofweek.to_numpy()
    x = np.column_stack(
        [np.where(weekday == k, 1.0, np.where(weekday == 6, -1.0, 0.0)) for k in range(6)]
    )
    log_price = np.log(panel["price"].astype(float))
    usual = log_price.groupby(panel["unique_id"], observed=True).transform("median")
    x = np.column_stack([x, log_price - usual]).astype(np.float32).astype(float)
    beta = found["department_coefficient"]
    eta = found["level"].reshape(6, -1)[series, week] + (x * beta[department]).sum(axis=1)
    y = panel["y"].to_numpy(dtype=float)
    out = panel["is_censored"].to_numpy() & (treatment == "censor")
    share = panel["in_stock_share"].to_numpy(dtype=float)
    part = (share < 1) & (share > 0) & ~out & (treatment == "censor")
    assert treatment == "ignore" or (out.sum() > 30 and part.sum() > 5)
    mu = np.exp(eta) * np.where(part, share, 1.0)
    if family == "poisson":
        demand = stats.poisson(mu)
    else:
        a = found["dispersion"][department]
        demand = stats.nbinom(a, a / (a + mu))
    exact, bound = demand.logpmf(y), demand.logsf(y - 1)
    if family == "zero_inflated_negbin":
        pi = found["zero_prob"][department]
        exact = np.where(y == 0, np.log(pi + (1 - pi) * np.exp(exact)), np.log1p(-pi) + exact)
        bound = np.where(y == 0, 0.0, np.log1p(-pi) + bound)
    expected = np.where(out, bound, exact).sum()
    assert found["days"] == pytest.approx(expected, rel=1e-10, abs=1e-8)


def test_the_likelihood_of_fractional_sales_is_scipys():
    panel = make_panel(fractional=True)
    model = BayesDemand(family="normal", harmonics=0, covariates=False).build(panel)
    found = at_a_point(model, ["days", "level", "noise"])
    out = panel["is_censored"].to_numpy()
    y, share = panel["y"].to_numpy(dtype=float), panel["in_stock_share"].to_numpy(dtype=float)
    series = panel["unique_id"].cat.codes.to_numpy()
    silent = out & (y == 0)
    speaks = ~silent
    scale = np.array([y[speaks & (series == s)].mean() for s in range(6)])[series]
    day = panel["ds"].to_numpy()
    week = (day - day.min()) // np.timedelta64(7, "D")
    part = ~out & (share < 1)
    mean = found["level"].reshape(6, -1)[series, week] * np.where(part, share, 1.0)
    noise = found["noise"][(panel["dept_id"].astype(str) == "B").to_numpy().astype(int)]
    demand = stats.norm(mean, noise)
    each = np.where(out, demand.logsf(y / scale), demand.logpdf(y / scale))
    assert found["days"] == pytest.approx(each[speaks].sum(), rel=1e-10, abs=1e-8)


@pytest.mark.parametrize("descent", [0.0, 0.5])
def test_the_walk_has_the_density_of_a_random_walk(descent):
    """Brute force: the map's Jacobian column by column, the walk's density by scipy."""
    from civstats.models.bayes import _ops

    rng = np.random.default_rng(0)
    starts = np.array([0, 7, 8, 13])
    n, department = 13, np.array([0, 1, 1])
    base, drift, spread = rng.normal(size=3), np.array([0.2, 0.6]), np.array(0.8)
    beta, hinted = rng.normal(size=(2, 3)), rng.normal(size=(2, 1))
    info = rng.uniform(0, 9, n)
    info[2:5] = 0
    rest = (
        base, drift, spread, beta, rng.normal(size=n), info, rng.normal(size=(n, 1)), hinted,
        np.array([1]), department, starts, np.array(descent),
    )  # fmt: skip
    raw = rng.normal(size=n)
    level, density = _ops.walk(raw, *rest)
    jacobian = np.array([_ops.walk(raw + e, *rest)[0] - level for e in np.eye(n)])
    expected = np.linalg.slogdet(jacobian)[1] - stats.norm.logpdf(raw).sum()
    for s in range(3):
        mine = level[starts[s] : starts[s + 1]]
        expected += stats.norm.logpdf(mine[0], base[s], spread)
        sd = drift[department[s]]
        expected += stats.norm.logpdf(np.diff(mine), -descent * sd**2, sd).sum()
    assert float(density) == pytest.approx(expected, abs=1e-9)
    # Given the pseudo-data, raw = 0 is the mode: a move of any level lowers their joint density.
    g_level, one = rng.normal(size=n), np.array(1.3)
    slopes = _ops.walk_slopes(raw, *rest, level, g_level, one)

    def total(raw, base, drift, spread, beta):
        found, log = _ops.walk(raw, base, drift, spread, beta, *rest[4:])
        return g_level @ found + 1.3 * log

    inputs = (raw, *rest[:4])
    for k, value in enumerate(inputs):
        for at in np.ndindex(value.shape):
            step = np.zeros(value.shape)
            step[at] = 1e-6
            up, down = (
                total(*(v + sign * step if j == k else v for j, v in enumerate(inputs)))
                for sign in (1, -1)
            )
            assert slopes[k][at] == pytest.approx((up - down) / 2e-6, abs=1e-5)


def test_informed_effects_have_the_density_of_their_prior():
    from civstats.models.bayes import _ops

    rng = np.random.default_rng(1)
    raw, mean, hint = rng.normal(size=(3, 5))
    sd, strength = rng.uniform(0.1, 2, 5), np.array([0.0, 0.1, 1.0, 10.0, 1000.0])
    value, change = _ops.inform(raw, mean, sd, hint, strength)
    moved = _ops.inform(raw + 1.0, mean, sd, hint, strength)[0] - value
    expected = stats.norm.logpdf(value, mean, sd) - stats.norm.logpdf(raw) + np.log(moved)
    assert float(change) == pytest.approx(expected.sum(), abs=1e-10)
    np.testing.assert_allclose(value[0], mean[0] + sd[0] * raw[0])
    weight = rng.normal(size=5)
    slopes = _ops.inform_slopes(raw, mean, sd, hint, strength, weight, np.array(0.7))
    for k, slope in enumerate(slopes):
        for i in range(5):
            step = 1e-6 * np.eye(5)[i]
            ends = []
            for sign in (1, -1):
                inputs = [v + sign * step if j == k else v for j, v in enumerate((raw, mean, sd))]
                found, log = _ops.inform(*inputs, hint, strength)
                ends.append(weight @ found + 0.7 * log)
            assert slope[i] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 0.3, 2.0])
@pytest.mark.parametrize("c", [1.0, 4.0, 60.0, 300.0])
def test_a_bounds_slopes(alpha, c):
    from civstats.censoring import NegBin, Poisson
    from civstats.models.bayes._kernels import bound_tail

    for eta in (-3.0, 0.5, 3.0, 6.5):
        family = NegBin(1 / alpha) if alpha else Poisson()
        value, score, slope = bound_tail(c, eta, alpha)
        assert value == pytest.approx(float(family.log_survival(c, eta)), rel=1e-9, abs=1e-12)
        assert score == pytest.approx(float(family.grad_hess(c, eta, True)[0]), rel=1e-6, abs=1e-9)
        if alpha > 1e-3:
            step = 1e-5 * alpha
            ends = [NegBin(1 / (alpha + s)).log_survival(c, eta) for s in (step, -step)]
            expected = float(ends[0] - ends[1]) / (2 * step)
            assert slope == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_days_that_share_a_mean_are_one_cell(panel):
    plain = panel.drop(columns=["price", "in_stock_share"])
    from civstats.models.bayes._layout import lay_out, read_sales

    layout = lay_out(plain, None, None)
    found = read_sales(plain, layout, "mask", "negbin")
    assert len(found.exact.row) == 6
    kept = ~plain["is_censored"]
    assert found.exact.value.sum() == plain["y"][kept].sum()
    assert found.exact.days.sum() == kept.sum()


def test_prior_draws_are_in_units_of_sales(panel):
    model = BayesDemand(harmonics=0)
    drawn = model.prior_draws(panel, 800, seed=1)
    assert drawn["demand"].shape == (800, len(panel))
    assert (drawn["demand"] >= 0).all()
    # The intercept's median is one unit a day; effects are symmetric on the log scale.
    mean = np.exp(drawn["level"].mean("node"))
    assert 0.5 < float(mean.median()) < 2
    steps = drawn["level"].to_numpy().reshape(800, 6, -1)
    sd = drawn["drift_sd"].to_numpy()[:, [0, 0, 0, 0, 1, 1], None]
    # Expected demand is a martingale: a step of its log falls by half its variance.
    drift = np.diff(steps, axis=2) / sd + 0.5 * sd
    assert drift.std() == pytest.approx(1.0, abs=0.03)
    error = np.sqrt(np.square(np.broadcast_to(sd, drift.shape)).sum())
    assert abs((drift * sd).sum()) < 3 * error
    assert 0.5 * error > 6  # a symmetric walk would be so many standard errors off
    assert float(abs(drawn["store_effect"].sum("store")).max()) < 1e-9


def test_problems_are_named_with_advice(panel):
    gone = panel.assign(
        y=np.where(panel["unique_id"] == "item0_store0", 0, panel["y"]),
        is_censored=panel["is_censored"] | (panel["dept_id"].astype(str) == "B")
        | (panel["unique_id"] == "item0_store0"),
    ).drop(columns="in_stock_share")  # fmt: skip
    model = BayesDemand(harmonics=0, chains=1).build(validate_panel(gone))
    named = {p.name: p for p in model.problems_}
    assert {
        "group without exact days", "series always out of stock", "series never in stock", "one chain",
    } <= set(named)  # fmt: skip
    assert "B" in named["group without exact days"].message
    assert "item0_store0" in named["series always out of stock"].message
    assert all(p.advice for p in model.problems_)


def test_fractional_sales_need_the_normal_family(panel):
    half = panel.assign(y=panel["y"] + 0.5 * (panel.index == 7)).drop(columns="in_stock_share")
    half["is_censored"] = False
    with pytest.raises(CivstatsError, match=r"1 row.s. have fractional sales, .*family='normal'"):
        BayesDemand(harmonics=0).build(validate_panel(half))


def test_priors_are_replaced_by_name_only():
    changed = Priors().replaced(series_sd=Prior("half_normal", 0.2))
    assert changed.series_sd.first == 0.2
    assert Priors.from_dict(changed.as_dict()) == changed
    with pytest.raises(CivstatsError, match="no prior is named slope; the priors are intercept"):
        BayesDemand(priors={"slope": Prior("normal", 0, 1)})
    with pytest.raises(CivstatsError, match="sd of a half_normal prior must be positive"):
        Prior("half_normal", -1.0)
    with pytest.raises(CivstatsError, match="takes 2 number"):
        Prior("beta", 1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler": "stan"}, "sampler must be one of nutpie"),
        ({"family": "gamma"}, "family must be one of"),
        ({"draws": 0}, "draws must be a whole number"),
        ({"target_accept": 1.0}, "target_accept must lie"),
    ],
)
def test_arguments_are_checked(given, message):
    with pytest.raises(CivstatsError, match=message):
        BayesDemand(**given)
