"""The contract that every mechanism keeps, and what each of them promises."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from civstats.data import load_m5
from civstats.schema import CivstatsError, PanelError, validate_panel
from civstats.stockouts.simulate import MECHANISMS, Recapture, simulate_stockouts
from civstats.stockouts.simulate.serve import Server
from tests.stockouts.simulate.world import negbin_world

RATES = (0.05, 0.15, 0.30, 0.45)


@pytest.fixture(scope="module")
def shop_world() -> pd.DataFrame:
    """Mostly slow movers, two thirds zeros, with promotions and events."""
    return negbin_world(100, 365, mean=0.5, spread=1.1, plain=False)


@pytest.fixture(scope="module")
def even_world() -> pd.DataFrame:
    """Every series NB(mean 5, dispersion 2), every day like any other."""
    return negbin_world(200, 300)


def units(frame: pd.DataFrame, column: str) -> np.ndarray:
    return frame[column].to_numpy(dtype=float)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_contract(shop_world, mechanism, rate):
    before = shop_world.copy(deep=True)
    out = simulate_stockouts(shop_world, mechanism=mechanism, rate=rate, seed=4)
    pd.testing.assert_frame_equal(shop_world, before)
    pd.testing.assert_frame_equal(validate_panel(out), out)
    assert (units(out, "demand") == units(before, "y")).all()
    assert (units(out, "demand_mean") == units(before, "demand_mean")).all()
    y, demand, stock = units(out, "y"), units(out, "demand"), units(out, "stock")
    flag = out["is_censored"].to_numpy()
    if mechanism == "part_day":
        share = units(out, "in_stock_share")
        assert abs((share < 1).mean() - rate) < 0.01
        assert not flag.any()
        assert np.isnan(stock).all()
        assert (y <= demand).all()
        assert (y[share == 1] == demand[share == 1]).all()
        return
    assert abs(flag.mean() - rate) < 0.01
    room = np.where(np.isnan(stock), np.inf, stock)
    assert (y == np.minimum(demand, room)).all()
    assert (flag == (demand >= room)).all()
    assert (y[flag] == stock[flag]).all()
    assert (y[stock == 0] == 0).all()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_seed_decides(shop_world, mechanism):
    def run(seed):
        return simulate_stockouts(shop_world, mechanism=mechanism, rate=0.15, seed=seed)

    first = run(1)
    pd.testing.assert_frame_equal(first, run(1))
    pd.testing.assert_frame_equal(first, run(np.random.default_rng(1)))
    assert (first["y"] != run(2)["y"]).mean() > 0.02


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_sales_are_demand_where_no_demand_is_known(mechanism):
    world = negbin_world(20, 200).drop(columns=["demand", "demand_mean"])
    out = simulate_stockouts(world, mechanism=mechanism, rate=0.2, seed=1)
    assert (out["demand"] == world["y"]).all()
    assert "demand_mean" not in out
    assert out["y"].sum() < world["y"].sum()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_true_means_are_not_read(mechanism):
    world = negbin_world(20, 200, spread=1.0)
    lied = world.assign(demand_mean=world["demand_mean"].to_numpy()[::-1] * 3)
    a, b = (
        simulate_stockouts(w, mechanism=mechanism, rate=0.2, seed=1).drop(columns="demand_mean")
        for w in (world, lied)
    )
    pd.testing.assert_frame_equal(a, b)


@pytest.mark.parametrize("column", ["is_censored", "in_stock_share", "stock"])
def test_stockouts_on_record_are_refused(column):
    world = negbin_world(3, 60)
    world[column] = False if column == "is_censored" else np.float32(1 if "share" in column else 99)
    with pytest.raises(PanelError, match=rf"carries {column}.*without simulation, or drop"):
        simulate_stockouts(world, mechanism="random", rate=0.1, seed=1)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_too_few_days_for_the_rate(mechanism):
    short = negbin_world(1, 5, mean=0.2, seed=3)
    with pytest.raises(CivstatsError, match=rf"{mechanism} cannot bring 5\.0 % .* nearest"):
        simulate_stockouts(short, mechanism=mechanism, rate=0.05, seed=1)


def test_a_rate_out_of_reach():
    world = negbin_world(30, 200).assign(demand=np.float32(0), y=np.float32(0))
    with pytest.raises(CivstatsError, match=r"nearest it comes is 0\.0 %"):
        simulate_stockouts(world, mechanism="inventory", rate=0.3, seed=1)


@pytest.mark.parametrize("rate", [0, 1, 15, -0.1, float("nan")])
def test_rate_is_a_share(rate):
    with pytest.raises(CivstatsError, match="rate must be a share"):
        simulate_stockouts(negbin_world(2, 60), mechanism="random", rate=rate, seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mechanism": "plague"}, "must be one of random, promotion, inventory, part_day"),
        ({"mechanism": "random", "depth": 1}, "has no option depth"),
        ({"mechanism": "random", "run_length": 0.5}, "run_length must be 1 day or more"),
        ({"mechanism": "promotion", "capped": 2}, "capped must be a share"),
        ({"mechanism": "promotion", "cover": (2, 1)}, "cover must hold"),
        ({"mechanism": "promotion", "event_hazard": 0}, "must be positive"),
        ({"mechanism": "part_day", "beta": (0, 1)}, "beta must hold"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(CivstatsError, match=message):
        simulate_stockouts(negbin_world(2, 100), rate=0.1, seed=1, **options)


def test_fractional_and_missing_demand():
    world = negbin_world(2, 100)
    for mechanism, recapture in (("part_day", None), ("random", Recapture(later=0.1))):
        with pytest.raises(PanelError, match=r"fractional on 200 row.*first i0000 on 2024-01-01"):
            simulate_stockouts(
                world.assign(demand=world["demand"] + 0.5),
                mechanism=mechanism, rate=0.1, seed=1, recapture=recapture,
            )  # fmt: skip
    with pytest.raises(PanelError, match=r"1 row\(s\) without demand \(first i0000 on 2024-01-03"):
        simulate_stockouts(
            world.assign(demand=world["demand"].where(world.index != 2)),
            mechanism="random", rate=0.1, seed=1,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("mechanism", "column"), [("random", "is_censored"), ("part_day", "in_stock_share")]
)
def test_outages_that_ignore_demand(even_world, mechanism, column):
    """Not only uncorrelated: another demand altogether meets the very same outages."""
    other = even_world.assign(demand=even_world["demand"].to_numpy()[::-1] + 7)
    a, b = (
        simulate_stockouts(w, mechanism=mechanism, rate=0.2, seed=1) for w in (even_world, other)
    )
    assert (a[column] == b[column]).all()


def test_random_runs():
    world = negbin_world(50, 400)
    for run_length in (1, 1.5, 6):
        out = simulate_stockouts(
            world, mechanism="random", rate=0.04, seed=1, run_length=run_length
        )["is_censored"].to_numpy()
        grid = np.pad(out.reshape(50, 400).astype(int), ((0, 0), (1, 1)))
        starts = (np.diff(grid, axis=1) == 1).sum()
        # Overlaps lengthen runs a little, the end of a series cuts some.
        assert out.sum() / starts == pytest.approx(run_length * 1.03, rel=0.12)


def test_part_days_thin_demand(even_world):
    out = simulate_stockouts(
        even_world, mechanism="part_day", rate=0.3, seed=1, beta=(2.0, 3.0)
    ).query("in_stock_share < 1 and demand > 0")
    y, demand, share = (units(out, c) for c in ("y", "demand", "in_stock_share"))
    assert share.mean() == pytest.approx(0.4, abs=0.01)
    z = (y - demand * share) / np.sqrt(demand * share * (1 - share))
    assert abs(z.mean()) < 4 / np.sqrt(len(z))
    # Sold units are binomial: neither all or nothing nor a fixed part.
    p = stats.binom.cdf(y, demand, share) - np.random.default_rng(1).random(
        len(y)
    ) * stats.binom.pmf(y, demand, share)
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_promotions_events_and_promising_days_are_hit_more(shop_world):
    out = simulate_stockouts(shop_world, mechanism="promotion", rate=0.1, seed=1, run_length=1)
    hit = out["stock"].notna()
    promo, event = out["promo"] > 0, out["event_name_1"] == "Feast"
    assert hit[promo & ~event].mean() / hit[~promo & ~event].mean() == pytest.approx(3, rel=0.25)
    assert hit[event & ~promo].mean() / hit[~promo & ~event].mean() == pytest.approx(2, rel=0.25)


def test_caps_do_not_know_the_days_demand(even_world):
    out = simulate_stockouts(even_world, mechanism="promotion", rate=0.2, seed=1, capped=1.0)
    late = out["ds"] > "2024-02-01"
    hit = out[out["stock"].notna() & late]
    demand, stock = units(hit, "demand"), units(hit, "stock")
    assert abs(demand.mean() - 5) < 4 * demand.std() / np.sqrt(len(hit))
    assert abs(stats.spearmanr(demand, stock).statistic) < 4 / np.sqrt(len(hit))
    assert hit["is_censored"].mean() < 0.95
    assert len(np.unique(stock)) > 6


def test_caps_follow_past_sales_only(shop_world):
    rng = np.random.default_rng(0)
    cover = np.where(rng.random(len(shop_world)) < 0.3, 1.2, np.nan).astype("float32")
    day = shop_world["ds"].rank(method="dense").to_numpy()

    def serve(demand):
        world = shop_world.assign(demand=demand.astype("float32"))
        return Server(world, rng=np.random.default_rng(1)).serve(cover)

    demand = units(shop_world, "demand")
    stock, sales, _ = serve(demand)
    changed, _, _ = serve(np.where(day >= 150, demand + 9, demand))
    same = (stock == changed) | np.isnan(stock)
    assert same[day <= 150].all()
    assert not same[day > 150].all()
    # What was demanded beyond the stock was never observed.
    unseen, _, _ = serve(np.where(sales >= stock, demand + 50, demand))
    np.testing.assert_array_equal(unseen, stock)


def negbin_mean(y: np.ndarray, flag: np.ndarray, treatment: str) -> float:
    """Maximum-likelihood mean of negative-binomial sales under a treatment, by scipy."""

    def loss(theta):
        mean, a = np.exp(theta)
        p = a / (a + mean)
        if treatment == "ignore":
            return -(stats.nbinom.logpmf(values, a, p) * n_all).sum()
        exact = (stats.nbinom.logpmf(values, a, p) * n_exact).sum()
        tail = (stats.nbinom.logsf(values - 1, a, p) * n_flag).sum() if treatment == "censor" else 0
        return -exact - tail

    values = np.arange(int(y.max()) + 1)
    n_all, n_flag = np.bincount(y.astype(int)), np.bincount(y[flag].astype(int), None, len(values))
    n_exact = n_all - n_flag
    found = optimize.minimize(loss, np.log([4.0, 2.0]), method="Nelder-Mead")
    return float(np.exp(found.x[0]))


@pytest.mark.parametrize("mechanism", ["random", "promotion", "inventory"])
def test_what_each_treatment_makes_of_it(even_world, mechanism):
    """Truth 5. Standard error of the censored estimate about 0.3 %."""
    out = simulate_stockouts(even_world, mechanism=mechanism, rate=0.33, seed=2)
    y, flag = units(out, "y"), out["is_censored"].to_numpy()
    ratio = {t: negbin_mean(y, flag, t) / 5 for t in ("ignore", "mask", "censor")}
    assert ratio["censor"] == pytest.approx(1, abs=0.012)
    assert ratio["ignore"] < 0.85
    if mechanism == "random":
        assert ratio["mask"] == pytest.approx(ratio["censor"], abs=0.002)
    elif mechanism == "promotion":
        assert 0.88 < ratio["mask"] < 0.97
    else:
        assert ratio["mask"] < ratio["ignore"] - 0.025


def test_numba_waits_until_it_is_needed():
    code = "import sys, civstats.stockouts.simulate; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_department_of_m5(shared_data, mechanism):
    path = shared_data / "m5" / "m5-forecasting-accuracy.zip"
    panel = load_m5(path, stores=["CA_1"], departments=["FOODS_3"])
    for rate in RATES:
        out = simulate_stockouts(panel, mechanism=mechanism, rate=rate, seed=1)
        hit = out["in_stock_share"] < 1 if mechanism == "part_day" else out["is_censored"]
        assert abs(hit.mean() - rate) < 0.01
        assert (out["demand"] == panel["y"]).all()
