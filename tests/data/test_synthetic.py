"""The synthetic world: what is claimed to be known of it is true of what it draws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.data import WorldParameters, make_panel, make_world
from civstats.data.synthetic import calendar
from civstats.schema import CivstatsError, check_future, validate_panel

FLAT = WorldParameters(
    level_sd=0, shock_sd=0, weekly_sd=0, store_weekly_sd=0, annual_amplitude=(0, 0),
    event_sd=0, event_lift=0, snap_lift=0, promo_rate=0, price_change_rate=0, launch_share=0,
)  # fmt: skip
"""Every series has a constant mean, but for the common weekend and Christmas."""


def only(**parts) -> WorldParameters:
    """Return the flat world with some parts switched on."""
    return WorldParameters(**{**FLAT.__dict__, **parts})


def log_means(panel: pd.DataFrame) -> pd.DataFrame:
    """Log of the demand mean, days x series."""
    return np.log(panel.pivot_table("demand_mean", "ds", "unique_id", observed=True).astype(float))


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    return make_panel()


def test_contract(panel):
    assert panel.equals(validate_panel(panel))
    assert list(panel.columns) == [
        *("unique_id", "ds", "y", "demand", "demand_mean", "price", "promo"),
        *("event_name_1", "event_type_1", "event_name_2", "event_type_2", "snap"),
        *("item_id", "dept_id", "cat_id", "store_id", "state_id"),
    ]
    assert (panel["y"] == panel["demand"]).all()
    assert panel[["promo", "snap"]].dtypes.eq(bool).all()
    assert panel["unique_id"].nunique() == 120
    assert panel["ds"].nunique() == 730
    assert not panel.isna().any().any()
    categories = panel["unique_id"].cat.categories
    assert categories.is_monotonic_increasing
    assert "FOODS_1_001_CA_1" in categories


def test_nesting(panel):
    series = panel.drop_duplicates("unique_id").astype(str)
    assert (series["unique_id"] == series["item_id"] + "_" + series["store_id"]).all()
    assert (series["dept_id"] == series["item_id"].str[:-4]).all()
    assert (series["cat_id"] == series["dept_id"].str.split("_").str[0]).all()
    assert (series["state_id"] == series["store_id"].str[:2]).all()
    assert series.groupby("item_id")["store_id"].nunique().eq(4).all()
    assert series["dept_id"].nunique() == 6
    assert series["state_id"].nunique() == 2


@pytest.mark.parametrize("seed", range(4))
def test_slow_movers_like_m5(seed):
    panel = make_panel(seed=seed)
    assert (panel["y"] == 0).mean() == pytest.approx(2 / 3, abs=0.04)
    assert 0.7 < panel["y"].mean() < 1.6
    means = panel.groupby("unique_id", observed=True)["y"].mean()
    assert means.max() > 6
    assert means.median() < 0.5


def test_same_seed_same_panel():
    size = {"n_series": 20, "n_days": 100}
    panel = make_panel(**size)
    pd.testing.assert_frame_equal(make_panel(**size, seed=0), panel)
    pd.testing.assert_frame_equal(make_panel(**size, seed=np.random.default_rng(0)), panel)
    assert not make_panel(**size, seed=1)["y"].equals(panel["y"])


def test_history_does_not_depend_on_the_horizon():
    size = {"n_series": 20, "n_days": 101}
    near, far = make_world(**size, horizon=7), make_world(**size, horizon=40)
    for world in (near, far):
        pd.testing.assert_frame_equal(world.panel, make_panel(**size))
    first = far.future[far.future["ds"] <= near.future["ds"].max()].reset_index(drop=True)
    pd.testing.assert_frame_equal(near.future, first)


def test_future_continues_the_world():
    world = make_world(n_series=40, n_days=365, horizon=28)
    check_future(world.future)
    outcomes = ["y", "demand", "demand_mean"]
    assert set(world.future.columns) == set(world.panel.columns) - set(outcomes)
    assert len(world.future) == len(world.outcome) == 40 * 28
    both = world.future.merge(world.outcome, on=["unique_id", "ds"], validate="1:1")
    both["unique_id"] = both["unique_id"].astype(world.panel["unique_id"].dtype)
    whole = validate_panel(pd.concat([world.panel, both], ignore_index=True))
    assert len(whole) == len(world.panel) + 40 * 28
    for column in whole.columns:
        if isinstance(world.panel[column].dtype, pd.CategoricalDtype):
            assert world.future[column].dtype == world.panel[column].dtype
    # Levels go on from where they ended: a fresh start would move them by base_sd.
    logs = log_means(whole)
    assert (logs.iloc[365:].mean() - logs.iloc[337:365].mean()).abs().median() < 0.3


def test_counts_are_negative_binomial_given_the_mean():
    """Randomised PIT of every count under the known mean and dispersion is uniform."""
    world = make_world(n_series=60, n_days=500, horizon=60, seed=5)
    rng = np.random.default_rng(0)
    history = world.panel.merge(
        world.departments.reset_index().astype({"dept_id": world.panel["dept_id"].dtype}),
        on="dept_id",
    )
    department = history.drop_duplicates("unique_id").set_index("unique_id")["dispersion"]
    for frame in (history, world.outcome):
        a = frame["unique_id"].map(department).astype(float).to_numpy()
        mean, y = frame["demand_mean"].to_numpy(float), frame["demand"].to_numpy(float)
        below = stats.nbinom.cdf(y - 1, a, a / (a + mean))
        u = below + rng.random(len(y)) * stats.nbinom.pmf(y, a, a / (a + mean))
        assert stats.kstest(u, "uniform").pvalue > 0.01
        # By department too, so that a dispersion given to the wrong one is seen.
        busy = mean > 1
        for value in np.unique(a):
            observed = np.histogram(u[busy & (a == value)], bins=10, range=(0, 1))[0]
            assert stats.chisquare(observed).pvalue > 1e-4


def test_pit_would_notice_another_dispersion():
    world = make_world(n_series=60, n_days=500, seed=5)
    frame = world.panel[world.panel["demand_mean"] > 1]
    a = 2 * frame["dept_id"].map(world.departments["dispersion"]).astype(float).to_numpy()
    mean, y = frame["demand_mean"].to_numpy(float), frame["demand"].to_numpy(float)
    u = stats.nbinom.cdf(y - 1, a, a / (a + mean))
    u += np.random.default_rng(0).random(len(y)) * stats.nbinom.pmf(y, a, a / (a + mean))
    assert stats.kstest(u, "uniform").pvalue < 1e-6


def test_launches_leave_no_rows_before_them(panel):
    first = panel.groupby("unique_id", observed=True)["ds"].min()
    late = first[first > panel["ds"].min()]
    assert 0.15 < len(late) / len(first) < 0.45
    assert (late.dt.dayofweek == 5).all(), "a launch is the first day of a price week"
    assert late.max() <= panel["ds"].min() + pd.Timedelta(days=0.6 * 730)
    assert panel.groupby("unique_id", observed=True)["ds"].max().eq(panel["ds"].max()).all()
    assert make_panel(parameters=only())["ds"].value_counts().eq(120).all()


def test_prices_hold_for_whole_weeks_and_promotions_are_cuts(panel):
    week = (panel["ds"] - pd.Timestamp("1970-01-03")).dt.days // 7
    weeks = panel.groupby([panel["unique_id"], week], observed=True)
    assert weeks["price"].nunique().eq(1).all()
    assert weeks["promo"].nunique().eq(1).all()
    assert 0.04 < panel["promo"].mean() < 0.12
    usual = panel[~panel["promo"]].groupby("unique_id", observed=True)["price"].mean()
    on_promo = panel[panel["promo"]].groupby("unique_id", observed=True)["price"].mean()
    assert 0.7 < (on_promo / usual).mean() < 0.85
    assert (panel["price"] >= 0.01).all()
    # The same item is promoted in all stores of a state at once.
    spread = panel.groupby(["item_id", "state_id", "ds"], observed=True)["promo"]
    assert spread.nunique().max() == 1


def test_promotions_raise_demand_by_the_elasticity():
    cut, lift = 0.25, 0.2
    parts = only(
        promo_rate=0.08, promo_depth=(cut, cut), promo_lift=lift, price_sd=0, price_median=50
    )
    world = make_world(n_series=24, n_days=300, parameters=parts)
    panel = world.panel
    weekday = panel["ds"].dt.dayofweek
    keys = [panel["unique_id"], weekday, panel["event_name_1"] == "Christmas"]
    logs = np.log(panel["demand_mean"].astype(float))
    plain = logs.where(~panel["promo"]).groupby(keys, observed=True).transform("mean")
    effect = (logs - plain)[panel["promo"]]
    elasticity = panel["dept_id"].map(world.departments["elasticity"]).astype(float)[panel["promo"]]
    expected = -elasticity * np.log(1 - cut) + lift
    np.testing.assert_allclose(effect, expected, atol=1e-3)
    on, off = (panel.loc[panel["promo"] == p, "demand"].sum() for p in (True, False))
    share = panel["promo"].mean()
    assert on / off > 1.2 * share / (1 - share)


def test_stores_share_their_shocks():
    logs = log_means(make_panel(n_series=24, n_days=300, parameters=only(shock_sd=0.3)))
    logs -= log_means(make_panel(n_series=24, n_days=300, parameters=only()))
    stores = logs.columns.astype(str).str[-4:]
    for store in stores.unique():
        assert logs.loc[:, stores == store].std(axis=1).max() < 1e-5
    shocks = logs.T.groupby(stores).mean().T
    assert shocks.std().mean() == pytest.approx(0.3, rel=0.1)
    assert np.abs(np.corrcoef(shocks.T) - np.eye(4)).max() < 0.2
    assert np.abs(shocks.apply(lambda x: x.autocorr())).max() < 0.2


def test_levels_drift_as_random_walks():
    logs = log_means(make_panel(n_series=200, n_days=400, parameters=only(level_sd=0.05)))
    logs -= log_means(make_panel(n_series=200, n_days=400, parameters=only()))
    assert logs.diff().std().mean() == pytest.approx(0.05, rel=0.02)
    assert (logs.diff(28).std().mean() / 0.05) ** 2 == pytest.approx(28, rel=0.15)
    assert abs(np.corrcoef(logs.diff().iloc[1:].T)[np.triu_indices(200, 1)].mean()) < 0.01


def test_weekdays_seasons_events_and_snap_act_where_they_should():
    sizes = {"n_series": 24, "n_days": 730}
    base = log_means(make_panel(**sizes, parameters=only()))

    def effect(**parts) -> pd.DataFrame:
        return log_means(make_panel(**sizes, parameters=only(**parts))) - base

    department = base.columns.astype(str).str.rsplit("_", n=3).str[0]
    days = make_panel(**sizes).drop_duplicates("ds").set_index("ds")

    events = effect(event_sd=0.3)
    quiet = (days["event_name_1"] == "none") | (days["event_name_1"] == "Christmas")
    assert events[quiet].abs().max().max() < 1e-5
    thanksgiving = events[days["event_name_1"] == "Thanksgiving"]
    assert thanksgiving.std().max() < 1e-5, "an event has the same effect every year"
    assert thanksgiving.T.groupby(department).std().max().max() < 1e-5
    assert thanksgiving.iloc[0].std() > 0.1, "departments respond differently"

    snap = effect(snap_lift=0.5)
    for state in ("CA", "TX"):
        mine = snap.loc[:, base.columns.astype(str).str[-4:-2] == state]
        panel = make_panel(**sizes)
        on = panel[panel["state_id"] == state].drop_duplicates("ds").set_index("ds")["snap"]
        foods = mine.columns.astype(str).str.startswith("FOODS")
        np.testing.assert_allclose(mine.loc[on.index[on], foods], 0.5, atol=1e-5)
        np.testing.assert_allclose(mine.loc[on.index[on], ~foods], 0.05, atol=1e-5)
        np.testing.assert_allclose(mine.loc[on.index[~on]], 0, atol=1e-5)

    weekly = effect(weekly_sd=0.2, store_weekly_sd=0.1)
    assert weekly.groupby(weekly.index.dayofweek).std().max().max() < 1e-5
    assert weekly.groupby(weekly.index.dayofweek).mean().std().min() > 0.02
    annual = effect(annual_amplitude=(0.3, 0.3))
    np.testing.assert_allclose(annual.abs().max(), 0.3, atol=1e-3)
    np.testing.assert_allclose(annual.iloc[:364], annual.iloc[365:729], atol=0.01)
    christmas = base[days["event_name_1"] == "Christmas"].mean() - base.mean()
    assert (christmas < -2).all()


def test_calendar_against_known_dates():
    days = calendar.make_calendar(pd.Timestamp("2013-01-01"), 1461, 3)
    names = pd.Series(np.array(calendar.NAMES)[days.names[0]], index=days.days)
    for date, name in {
        "2013-02-03": "SuperBowl",
        "2013-03-31": "Easter",
        "2013-05-27": "MemorialDay",
        "2014-11-27": "Thanksgiving",
        "2015-09-07": "LaborDay",
        "2016-05-08": "Mother's day",
        "2016-12-25": "Christmas",
    }.items():
        assert names[date] == name
    second = pd.Series(np.array(calendar.NAMES)[days.names[1]], index=days.days)
    assert names["2014-04-20"] == "Easter"
    assert second["2014-04-20"] == "OrthodoxEaster"
    assert days.snap.sum(axis=1).tolist() == [480, 480, 480]
    kinds = np.array(calendar.TYPES)[days.types[0]]
    assert ((kinds == "none") == (names == "none")).all()


def test_m5_events_fall_on_the_same_days(shared_data):
    """The rules against M5's own calendar, for the holidays that both know."""
    import io
    import zipfile

    with zipfile.ZipFile(shared_data / "m5" / "m5-forecasting-accuracy.zip") as archive:
        real = pd.read_csv(io.BytesIO(archive.read("calendar.csv")), parse_dates=["date"])
    days = calendar.make_calendar(pd.Timestamp("2011-01-29"), 1969, 3)
    names = np.array(calendar.NAMES)[days.names]
    compared = set(real["event_name_1"].dropna()) & set(calendar.NAMES) - {"NBAFinalsEnd"}
    assert len(compared) > 15
    for name in compared:
        theirs = (real[["event_name_1", "event_name_2"]] == name).any(axis=1).to_numpy()
        ours = (names == name).any(axis=0)
        assert (theirs == ours).mean() > 0.999, name
    np.testing.assert_array_equal(days.snap, real[["snap_CA", "snap_TX", "snap_WI"]].to_numpy().T)
    assert (np.diff(days.week) == np.diff(real["wm_yr_wk"].factorize()[0])).all()


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_series": 1, "n_days": 1},
        {"n_series": 3, "n_days": 20, "n_stores": 5, "n_states": 5},
        {"n_series": 37, "n_days": 15, "n_departments": 14, "n_stores": 3, "n_states": 1},
        {"n_series": 40, "n_days": 40, "n_stores": 40, "n_states": 13, "start": "1999-12-25"},
    ],
)
def test_odd_sizes(sizes):
    world = make_world(**sizes, horizon=3)
    assert world.panel["unique_id"].nunique() == sizes["n_series"]
    assert len(world.future) == 3 * sizes["n_series"]
    for column in ("item_id", "dept_id", "cat_id", "store_id", "state_id"):
        used = set(world.panel[column].cat.categories)
        assert used == set(world.panel[column])
    assert set(world.departments.index) == set(world.panel["dept_id"])
    late = make_panel(**sizes, parameters=WorldParameters(launch_share=1, launch_until=1))
    assert late["unique_id"].nunique() == sizes["n_series"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n_series": 0}, "n_series must be a whole number, 1 or more, but got 0"),
        ({"n_days": -3}, "n_days must be"),
        ({"n_days": 10.5}, "n_days must be"),
        ({"n_departments": 0}, "n_departments must be"),
        ({"n_stores": True}, "n_stores must be"),
        ({"n_stores": 2, "n_states": 3}, "every state has a store"),
        ({"horizon": -1}, "horizon must be a whole number, 0 or more"),
        ({"start": "soon"}, "start must be a day"),
        ({"start": "2022-01-01 05:00"}, "start must be a day"),
    ],
)
def test_sizes_that_make_no_world(arguments, text):
    with pytest.raises(CivstatsError, match=text):
        make_world(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"base_median": 0},
        {"level_sd": -0.1},
        {"dispersion": (0, 1)},
        {"dispersion": (3, 1)},
        {"elasticity": 2},
        {"promo_depth": (0.2, 1.0)},
        {"promo_weeks": 0},
        {"promo_rate": 1.5},
        {"shock_sd": float("nan")},
    ],
)
def test_parameters_out_of_range(arguments):
    with pytest.raises(CivstatsError, match=next(iter(arguments))):
        WorldParameters(**arguments)


@pytest.mark.slow
def test_ten_thousand_series():
    panel = make_panel(n_series=10_000, n_stores=10, n_states=3, n_departments=7)
    assert len(panel) > 6_000_000
    assert panel["unique_id"].nunique() == 10_000
    assert (panel["y"] == 0).mean() == pytest.approx(2 / 3, abs=0.04)
    assert (panel.groupby("unique_id", observed=True)["y"].mean() > 10).sum() > 20
