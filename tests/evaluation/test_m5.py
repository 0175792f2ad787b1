"""M5's scores: by hand, against loops from the guide's formulas, and the official weights file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from civstats import CivstatsError, ForecastError, PanelError, validate_panel
from civstats.data.m5 import load_m5
from civstats.evaluation.m5 import KEYS, M5Scorer
from civstats.schema import SCORES, quantile_column
from tests.evaluation import m5_oracle as oracle

FIRST = pd.Timestamp("2011-01-29")
DAY_1913, DAY_1941 = pd.Timestamp("2016-04-24"), pd.Timestamp("2016-05-22")
NAME = "SeasonalNaive_ignore"


# --- worlds -------------------------------------------------------------------------------------


def by_hand(actual_x=(3, 1), actual_y=(0, 2)) -> pd.DataFrame:
    """Two series of one item, 28 days of history and two to score."""
    x = [*[0] * 20, 2, 0, 2, 0, 2, 0, 2, 0, *actual_x]  # changes of 2, from its first sale on
    y = [*[0] * 24, 1, 4, 1, 4, *actual_y]  # changes of 3
    panel = pd.DataFrame(
        {
            "unique_id": np.repeat(["A_1_S", "A_1_T"], 30),
            "ds": np.tile(pd.date_range("2024-01-01", periods=30), 2),
            "y": [*x, *y],
            "price": np.repeat([3.0, 0.8], 30),  # 24 and 8 dollars: weights of 3/4 and 1/4
            "item_id": "A_1",
            "dept_id": "A",
            "cat_id": "C",
            "store_id": np.repeat(["S", "T"], 30),
            "state_id": "Z",
        }
    )
    return validate_panel(panel)


HAND_CUTOFF = pd.Timestamp("2024-01-28")
ALIKE = (1, 2, 4, 5, 6, 7, 10, 11)
"""Levels of the world by hand that hold one series, the total; the others hold both."""


def frame(ids, days, cutoff, values, name="M_mask") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.asarray(ids, dtype=object), len(days)),
            "ds": np.tile(days, len(ids)),
            "cutoff": cutoff,
            name: np.asarray(values, dtype=float).ravel(),
        }
    )


def with_quantiles(forecast: pd.DataFrame, quantiles: np.ndarray, name="M_mask") -> pd.DataFrame:
    """Add the nine quantiles, shape (n_rows, 9)."""
    columns = {quantile_column(name, p): quantiles[:, j] for j, p in enumerate(oracle.PROBS)}
    return forecast.assign(**columns)


def shop(seed: int = 0, n_days: int = 75):
    """A hierarchy of every kind: wide sales and prices as Kaggle has them, and the panel."""
    rng = np.random.default_rng(seed)
    items = [
        ("H_1_1", "H_1", "H"),
        ("F_1_1", "F_1", "F"),
        ("F_2_1", "F_2", "F"),
        ("F_2_2", "F_2", "F"),
    ]
    stores = [("X_2", "X"), ("W_1", "W"), ("X_1", "X")]
    keys = pd.DataFrame([(*i, *s) for s in stores for i in items], columns=oracle.KEYS)
    units = rng.poisson(rng.uniform(0.2, 6, (len(keys), 1)), (len(keys), n_days))
    launch = rng.integers(0, 30, len(keys))
    launch[0], launch[3] = 0, n_days - 20  # one within the days of the weights
    units[np.arange(n_days) < launch[:, None]] = 0
    price = np.round(rng.uniform(0.5, 9, (len(keys), n_days)), 2)
    days = pd.date_range(FIRST, periods=n_days)
    ids = (keys["item_id"] + "_" + keys["store_id"]).to_numpy()
    parts = []
    for i, start in enumerate(launch):
        part = pd.DataFrame({"unique_id": ids[i], "ds": days, "y": units[i], "price": price[i]})
        parts.append(part.assign(**keys.iloc[i])[start:])
    last = slice(n_days - 7 - 28, n_days - 7)
    dollars = pd.Series((units * price)[:, last].sum(axis=1))
    return (
        keys.assign(unique_id=ids),
        pd.DataFrame(units),
        dollars,
        validate_panel(pd.concat(parts)),
    )


@pytest.fixture(scope="module")
def world():
    keys, sales, dollars, panel = shop()
    cutoff = panel["ds"].max() - pd.Timedelta(days=7)
    past, came = sales.iloc[:, :-7], sales.iloc[:, -7:]
    return keys, dollars, past, came, panel, cutoff, M5Scorer(panel, cutoff, h=7)


def levels(scores: pd.DataFrame) -> np.ndarray:
    assert scores["m5_level"].tolist() == list(range(13))
    return scores["value"].to_numpy()


# --- by hand ------------------------------------------------------------------------------------


def test_wrmsse_by_hand():
    panel = by_hand()
    scorer = M5Scorer(panel, HAND_CUTOFF, h=2)
    scores = scorer.wrmsse(frame(["A_1_S", "A_1_T"], scorer.days, HAND_CUTOFF, [1, 1, 3, 2]))
    # Errors of 2, 0 over changes of 4; of 3, 0 over changes of 9; of the sum, 1, 0 over 24 / 7.
    total, parts = np.sqrt(0.5 / (24 / 7)), np.sqrt(2 / 4) * 3 / 4 + np.sqrt(4.5 / 9) / 4
    expected = [total if k in ALIKE else parts for k in range(1, 13)]
    np.testing.assert_allclose(levels(scores), [np.mean(expected), *expected], rtol=1e-14)
    assert scores["n"].tolist() == [16, *(1 if k in ALIKE else 2 for k in range(1, 13))]


def test_wspl_by_hand():
    scorer = M5Scorer(by_hand(), HAND_CUTOFF, h=2)
    # Paths on which the two sell in turn: quantiles of either spread, those of the sum do not.
    draws = np.array([[[0, 1], [4, 1]], [[4, 2], [0, 2]]], dtype=np.float32)
    ids = np.array(["A_1_S", "A_1_T"], dtype=object)
    paths = xr.DataArray(
        draws,
        dims=("unique_id", "sample", "ds"),
        coords={"unique_id": ids, "sample": [0, 1], "ds": scorer.days},
    )
    scores = scorer.wspl_from_paths(paths, "M_mask")
    # Sum: 4, 3 against 3, 3, at all nine quantiles. Mean of (1 - p) is 1/2; changes are 12 / 7.
    total = 0.5 * 1 / 2 / (12 / 7)
    # First day: quantile p of {0, 4} is 4 p. Second day: both are hit.
    p = np.array(oracle.PROBS)
    x = np.where(4 * p <= 3, p * (3 - 4 * p), (1 - p) * (4 * p - 3)).mean() / 2 / 2
    y = ((1 - p) * 4 * p).mean() / 2 / 3
    expected = [total if k in ALIKE else 0.75 * x + 0.25 * y for k in range(1, 13)]
    np.testing.assert_allclose(levels(scores), [np.mean(expected), *expected], rtol=1e-14)


def test_weights_by_hand():
    scorer = M5Scorer(by_hand(), "2024-01-28", h=2)
    weights = scorer.weights.set_index(["m5_level", "unique_id"])
    assert weights.loc[(12, "A_1_S"), "weight"] == 0.75
    assert weights.loc[(3, "T_X"), ["key_1", "key_2", "dollars"]].tolist() == ["T", "X", 8.0]
    assert weights.loc[(1, "Total_X"), ["dollars", "weight"]].tolist() == [32.0, 1.0]
    assert weights.loc[(11, "Z_A_1"), "squared_change"] == 24 / 7
    assert weights.loc[(8, "S_C"), "absolute_change"] == 2
    assert len(weights) == 8 + 4 * 2


# --- against the oracle -------------------------------------------------------------------------


def test_weights_are_those_of_the_oracle(world):
    keys, dollars, *_, scorer = world
    both = scorer.weights.merge(
        oracle.weights(keys, dollars), on=["m5_level", "unique_id"], how="outer"
    )
    assert len(both) == len(scorer.weights)
    np.testing.assert_allclose(both["weight_x"], both["weight_y"], rtol=1e-12)
    assert set(scorer.weights["m5_level"]) == set(KEYS)
    sums = scorer.weights.groupby("m5_level")["weight"].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-12)


def test_wrmsse_is_that_of_the_oracle(world):
    keys, dollars, past, came, _panel, cutoff, scorer = world
    rng = np.random.default_rng(1)
    one, two = (pd.DataFrame(rng.gamma(2, 1.5, came.shape)) for _ in range(2))
    forecasts = frame(keys["unique_id"], scorer.days, cutoff, one).assign(
        N_ignore=two.to_numpy().ravel()
    )
    before = forecasts.copy()
    scores = scorer.wrmsse(forecasts.sample(frac=1, random_state=3))
    pd.testing.assert_frame_equal(forecasts, before)
    assert list(scores.columns) == [*SCORES, "m5_level"]
    for model, said in (("M", one), ("N", two)):
        mine = levels(scores[scores["model"] == model])
        np.testing.assert_allclose(mine, oracle.wrmsse(keys, dollars, past, came, said), rtol=1e-12)


def test_wspl_of_given_quantiles_is_that_of_the_oracle(world):
    keys, dollars, past, came, _panel, cutoff, scorer = world
    rng = np.random.default_rng(2)
    names = scorer.weights["unique_id"]
    q = np.sort(rng.gamma(2, 3, (len(names), 7, 9)), axis=2)
    table = dict(zip(names, q, strict=True))

    def quantiles(level, by):
        for key in oracle.aggregate(keys, came, by).index:
            label = f"{key[0]}_{key[1]}" if level == 12 else oracle.name(by, key)
            yield table[label].T

    forecasts = with_quantiles(frame(names, scorer.days, cutoff, q[..., 4]), q.reshape(-1, 9))
    scores = scorer.wspl(forecasts)
    assert set(scores["metric"]) == {"wspl"}
    expected = oracle.wspl(keys, dollars, past, came, quantiles)
    np.testing.assert_allclose(levels(scores), expected, rtol=1e-12)


@pytest.mark.parametrize("n_samples", [1, 2, 37])
@pytest.mark.parametrize("size", [1, 5, 12])
def test_wspl_of_paths_is_that_of_the_oracle_in_blocks_of_any_size_and_order(
    world, size, n_samples
):
    keys, dollars, past, came, _panel, _cutoff, scorer = world
    rng = np.random.default_rng(size)
    draws = rng.negative_binomial(2, 0.4, (len(keys), n_samples, 7)).astype(np.float32)
    order = rng.permutation(len(keys))
    whole = xr.DataArray(
        draws,
        dims=("unique_id", "sample", "ds"),
        coords={"unique_id": keys["unique_id"].to_numpy(object), "ds": scorer.days},
    )
    blocks = (whole[order[k : k + size]] for k in range(0, len(order), size))
    scores = scorer.wspl_from_paths(blocks, "M_mask")
    expected = oracle.wspl(keys, dollars, past, came, oracle.path_quantiles(keys, draws))
    np.testing.assert_allclose(levels(scores), expected, rtol=1e-12)
    pd.testing.assert_frame_equal(scores, scorer.wspl_from_paths(whole, "M_mask"))
    np.testing.assert_array_equal(whole, draws)


def test_a_planted_weight_error_is_caught(world):
    keys, dollars, past, came, panel, cutoff, scorer = world
    said = pd.DataFrame(np.random.default_rng(1).gamma(2, 1.5, came.shape))
    forecast = frame(keys["unique_id"], scorer.days, cutoff, said)
    expected = oracle.wrmsse(keys, dollars, past, came, said)
    recent = panel["ds"] > cutoff - pd.Timedelta(days=28)
    for planted in (
        panel.assign(price=panel["price"].where(panel["unique_id"] != "F_1_1_W_1", 9.5)),
        panel.assign(
            price=panel["price"].where(panel["ds"] != cutoff - pd.Timedelta(days=27), 9.5)
        ),
        panel.assign(price=np.float32(1)),
        panel.assign(price=panel["price"].where(~recent, panel["price"] + np.float32(0.01))),
    ):
        wrong = M5Scorer(planted, cutoff, h=7).wrmsse(forecast)
        assert abs(wrong["value"].iloc[0] - expected[0]) > 1e-7


def test_days_after_the_cutoff_change_no_weight_and_no_scale(world):
    *_, panel, cutoff, scorer = world
    later = panel["ds"] > cutoff
    for changed in (
        panel[~later],
        panel.assign(
            y=panel["y"].where(~later, panel["y"] * 3 + 1), price=panel["price"].where(~later, 99)
        ),
    ):
        pd.testing.assert_frame_equal(M5Scorer(changed, cutoff, h=7).weights, scorer.weights)


def test_prices_before_the_last_28_days_change_no_weight(world):
    *_, panel, cutoff, scorer = world
    recent = panel["ds"] > cutoff - pd.Timedelta(days=28)
    changed = panel.assign(price=panel["price"].where(recent, np.nan))
    pd.testing.assert_frame_equal(M5Scorer(changed, cutoff, h=7).weights, scorer.weights)


def test_totals_are_the_series_of_a_level(world):
    keys, _dollars, past, _came, _panel, _cutoff, scorer = world
    for level, by in enumerate(oracle.GROUPS, 1):
        expected = oracle.aggregate(keys, past, by)
        if level == 12:
            expected = past.set_axis(keys["unique_id"]).sort_index()
        np.testing.assert_array_equal(scorer.totals(level), expected)


# --- what is not official says so ---------------------------------------------------------------


def test_a_part_of_m5_is_scored_and_says_that_it_is_not_official(world):
    keys, dollars, past, came, panel, cutoff, _ = world
    part = panel[panel["store_id"] == "X_1"]
    rows = keys.index[keys["store_id"] == "X_1"]
    scorer = M5Scorer(validate_panel(part), cutoff, h=7)
    said = came + 1.0
    scores = scorer.wrmsse(frame(keys["unique_id"][rows], scorer.days, cutoff, said.loc[rows]))
    expected = oracle.wrmsse(*(x.loc[rows] for x in (keys, dollars, past, came, said)))
    np.testing.assert_allclose(levels(scores), expected, rtol=1e-12)
    assert scorer.caveat == "not M5's official score: 4 of 30,490 series; 7 days, not 28"
    assert set(scores["note"]) == {scorer.caveat}


def test_series_without_a_scale_are_left_out_and_counted():
    panel = by_hand()
    late = panel.assign(
        y=panel["y"].where((panel["unique_id"] != "A_1_T") | (panel["ds"].dt.day > 27), 0)
    )
    scorer = M5Scorer(late, HAND_CUTOFF, h=2)  # its first sale is on the cutoff
    assert "4 series with a weight but without a scale left out" in scorer.caveat
    scores = scorer.wrmsse(frame(["A_1_S", "A_1_T"], scorer.days, HAND_CUTOFF, [1, 1, 3, 2]))
    assert scores["value"].iloc[12] == pytest.approx(np.sqrt(2 / 4), rel=1e-14)
    assert scores["n"].iloc[[3, 8, 9, 12]].tolist() == [1] * 4
    never = panel.assign(
        y=panel["y"].where((panel["unique_id"] != "A_1_T") | (panel["ds"].dt.day > 28), 0)
    )
    scorer = M5Scorer(never, HAND_CUTOFF, h=2)
    assert "scale" not in scorer.caveat
    scores = scorer.wrmsse(frame(["A_1_S", "A_1_T"], scorer.days, HAND_CUTOFF, [1, 1, 3, 2]))
    assert np.isfinite(scores["value"]).all()


def test_a_level_without_any_scale_is_undefined_not_zero():
    panel = by_hand()
    once = panel.assign(
        y=panel["y"].where(panel["ds"].dt.day >= 28, 0) + (panel["ds"].dt.day == 28)
    )
    scorer = M5Scorer(once.astype({"y": "float32"}), HAND_CUTOFF, h=2)
    scores = scorer.wrmsse(frame(["A_1_S", "A_1_T"], scorer.days, HAND_CUTOFF, [1, 1, 3, 2]))
    assert scores["value"].isna().all()
    assert not scores["identified"].any()


def test_series_launched_after_the_cutoff_are_left_out_and_said():
    panel = by_hand()
    new = panel[(panel["unique_id"] == "A_1_S") & (panel["ds"] > HAND_CUTOFF)]
    new = new.assign(unique_id="A_2_S", item_id="A_2")
    both = validate_panel(pd.concat([panel, new]))
    scorer = M5Scorer(both, HAND_CUTOFF, h=2)
    assert "1 series launched after the cutoff left out" in scorer.caveat
    old = M5Scorer(panel, HAND_CUTOFF, h=2)
    forecast = frame(["A_1_S", "A_1_T"], old.days, HAND_CUTOFF, [1, 1, 3, 2])
    np.testing.assert_array_equal(levels(scorer.wrmsse(forecast)), levels(old.wrmsse(forecast)))


def test_demand_can_be_the_target_and_is_said():
    panel = by_hand()
    panel = panel.assign(demand=panel["y"] * 2)
    scorer = M5Scorer(panel, HAND_CUTOFF, h=2, target="demand")
    scores = scorer.wrmsse(frame(["A_1_S", "A_1_T"], scorer.days, HAND_CUTOFF, [2, 2, 6, 4]))
    assert set(scores["regime"]) == {"demand"}
    assert "of demand, not sales" in scorer.caveat
    plain = M5Scorer(panel, HAND_CUTOFF, h=2)
    other = plain.wrmsse(frame(["A_1_S", "A_1_T"], plain.days, HAND_CUTOFF, [1, 1, 3, 2]))
    np.testing.assert_allclose(levels(scores), levels(other), rtol=1e-12)


# --- refusals -----------------------------------------------------------------------------------


def _drop(panel, *columns):
    return panel.drop(columns=list(columns))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: _drop(p, "price"), "lacks column.s. price"),
        (lambda p: _drop(p, "dept_id", "state_id"), "lacks dept_id, state_id"),
        (lambda p: p.assign(unique_id=p["unique_id"].astype(str)), "validate_panel first"),
        (
            lambda p: p.assign(price=np.float32("nan")),
            "8 day.s. with sales but without a price.*A_1_S",
        ),
        (lambda p: p[p["ds"].dt.day != 20], "2 series with gaps"),
        (lambda p: p[p["ds"].dt.day > 3], "no cutoff for a panel.*28 days"),
        (lambda p: p[p["ds"].dt.day < 20], "no cutoff for a panel"),
        (
            lambda p: p[(p["store_id"] != "S") | (p["ds"].dt.day < 30)],
            "1 series end before 2024-01-30",
        ),
        (lambda p: p.assign(y=p["y"] * 0), "nothing was sold"),
        (lambda p: p.assign(y=p["y"].where(p["ds"].dt.day != 9)), "2 series with y missing"),
        (lambda p: p.assign(store_id="S"), "repeat an item and store"),
        (lambda p: p.assign(state_id=p["ds"].dt.day.astype(str), store_id="S"), "repeat an item"),
        (
            lambda p: p.assign(item_id=p["store_id"], dept_id=p["store_id"], store_id="S"),
            "stand for series",
        ),
        (
            lambda p: p.assign(dept_id=p["store_id"]),
            "item_id with more than one dept_id, first A_1",
        ),
        (lambda p: p.assign(state_id=None), "2 series without an attribute"),
    ],
)
def test_a_panel_that_cannot_be_scored_is_refused(change, message):
    with pytest.raises(PanelError, match=message) as error:
        M5Scorer(change(by_hand()), HAND_CUTOFF, h=2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cutoff", ["soon", None, "2024-01-28 12:00", pd.NaT])
def test_a_cutoff_that_is_no_day_is_refused(cutoff):
    with pytest.raises(CivstatsError, match="cutoff must be a day"):
        M5Scorer(by_hand(), cutoff, h=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f[f["unique_id"] != "A_1_T"], "1 of 2 series without a forecast, first A_1_T"),
        (lambda f: f[f["ds"] < f["ds"].max()], "forecasts of 1 of the 2 days"),
        (lambda f: f.iloc[1:], "without a forecast inside a window"),
        (lambda f: f.assign(M_mask=np.nan), "missing or infinite"),
        (lambda f: f.assign(M_mask=np.inf), "missing or infinite"),
        (lambda f: pd.concat([f, f]), "repeat a series"),
        (lambda f: f.assign(cutoff=f["cutoff"] - pd.Timedelta(days=1)), "of another cutoff"),
        (lambda f: f.assign(ds=f["ds"] + pd.Timedelta(days=1)), "without an actual"),
        (lambda f: f.assign(unique_id=f["unique_id"] + "x"), "not in the panel"),
        (lambda f: f.drop(columns="cutoff"), "lack column.s. cutoff"),
    ],
)
def test_a_forecast_that_is_not_whole_is_refused(change, message):
    scorer = M5Scorer(by_hand(), HAND_CUTOFF, h=2)
    forecast = frame(["A_1_S", "A_1_T"], scorer.days, HAND_CUTOFF, [1, 1, 3, 2])
    with pytest.raises(ForecastError, match=message):
        scorer.wrmsse(change(forecast))


def test_bottom_quantiles_do_not_stand_for_those_of_the_aggregates():
    scorer = M5Scorer(by_hand(), HAND_CUTOFF, h=2)
    forecast = frame(["A_1_S", "A_1_T"], scorer.days, HAND_CUTOFF, [1, 1, 3, 2])
    with pytest.raises(ForecastError, match=r"14 of 16 series .* give paths"):
        scorer.wspl(with_quantiles(forecast, np.ones((4, 9))))
    full = frame(scorer.weights["unique_id"], scorer.days, HAND_CUTOFF, np.ones(32))
    with pytest.raises(ForecastError, match="lack column M_mask-lo-99"):
        scorer.wspl(full)


def test_nothing_to_score_is_refused():
    panel = by_hand()
    scorer = M5Scorer(panel[panel["ds"] <= HAND_CUTOFF], HAND_CUTOFF, h=2)
    forecast = frame(["A_1_S", "A_1_T"], scorer.days, HAND_CUTOFF, [1, 1, 3, 2])
    with pytest.raises(PanelError, match="ends before 2024-01-30"):
        scorer.wrmsse(forecast)
    with pytest.raises(ForecastError, match="m5_level"):
        scorer.totals(13)


def test_paths_that_are_not_whole_are_refused():
    scorer = M5Scorer(by_hand(), HAND_CUTOFF, h=2)
    whole = xr.DataArray(
        np.ones((2, 3, 2), dtype=np.float32),
        dims=("unique_id", "sample", "ds"),
        coords={"unique_id": np.array(["A_1_S", "A_1_T"], dtype=object), "ds": scorer.days},
    )
    for paths, message in (
        (whole[:1], "1 series have no paths, first A_1_T"),
        ([whole, whole[:1]], "1 series come twice, first A_1_S"),
        ([], "2 series have no paths"),
        ([whole[:1], whole[1:, :2]], "2 samples, the first 3"),
        (whole[:, :0], "0 samples"),
        (whole[:, :, ::-1], "not of the 2 days"),
        (whole.where(whole["unique_id"] != "A_1_T"), "1 series have missing or infinite paths"),
        (whole.assign_coords(unique_id=np.array(["A_1_S", "b"], dtype=object)), "not in the panel"),
        (whole.transpose("unique_id", "ds", "sample"), "dims"),
    ):
        with pytest.raises(ForecastError, match=message):
            scorer.wspl_from_paths(paths, "M_mask")
    with pytest.raises(ForecastError, match="model_treatment"):
        scorer.wspl_from_paths(whole, "M")


# --- the real thing -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared_data):
    folder = shared_data / "m5"
    if not (folder / "weights_evaluation.csv").is_file():
        pytest.skip("M5 is not on this machine")
    return folder


@pytest.fixture(scope="module")
def official(real):
    """The official weights, named as ours."""
    file = pd.read_csv(real / "weights_evaluation.csv")
    keys = {"Agg_Level_1": "key_1", "Agg_Level_2": "key_2"}
    file["m5_level"] = file["Level_id"].str.removeprefix("Level").astype(int)
    return file.rename(columns=keys).set_index(["m5_level", "key_1", "key_2"])


def rows_off(weights: pd.DataFrame, official: pd.DataFrame) -> int:
    """Rows that differ from the file by more than its printed precision, or that lack a partner."""
    mine = weights.set_index(["m5_level", "key_1", "key_2"])
    both = mine[["dollars", "weight"]].join(official, how="outer", rsuffix="_file")
    # Weights are printed to 12 decimals, dollars to 2; the rest is for double precision.
    same = (both["weight"] - both["weight_file"]).abs() <= 0.5e-12 * (1 + 1e-6)
    same &= (both["dollars"] - both["Dollar_Sales"]).abs() <= 0.005
    return int((~same).sum())


def test_dollars_of_a_real_store_are_the_official_ones(real, official):
    panel = load_m5(real, stores="CA_1", last_days=40)
    mine = M5Scorer(panel, DAY_1941).weights
    store = mine[mine["m5_level"].isin((3, 8, 9, 12))].set_index(["m5_level", "key_1", "key_2"])
    assert len(store) == 1 + 3 + 7 + 3049
    file = official.loc[store.index]
    np.testing.assert_allclose(store["dollars"], file["Dollar_Sales"], atol=1e-9, rtol=0)
    share = file["weight"].iloc[0]
    np.testing.assert_allclose(store["weight"] * share, file["weight"], atol=1e-12, rtol=0)


@pytest.fixture(scope="module")
def whole(real):
    """All of M5, what the scores read of it."""
    panel = load_m5(real)
    return panel[["unique_id", "ds", "y", "price", *oracle.KEYS]]


@pytest.fixture(scope="module")
def raw(real):
    keys, sales, dollars = oracle.read(real / "m5-forecasting-accuracy.zip", 1913)
    ids = keys["item_id"] + "_" + keys["store_id"]
    order = np.argsort(ids.to_numpy(str), kind="stable")
    keys, sales, dollars = (x.iloc[order].reset_index(drop=True) for x in (keys, sales, dollars))
    history, actual = sales.loc[:, :1913], sales.loc[:, 1914:]
    return keys.assign(unique_id=ids.to_numpy()[order]), dollars, history, actual


@pytest.fixture(scope="module")
def scorer(whole):
    return M5Scorer(whole, DAY_1913)


@pytest.mark.slow
def test_the_official_weights_to_their_printed_precision(whole, official):
    weights = M5Scorer(whole, DAY_1941).weights
    assert len(weights) == len(official) == 42_840
    assert rows_off(weights, official) == 0
    # Planted errors: a day off, units for dollars, a cent on the best seller's price.
    assert rows_off(M5Scorer(whole, DAY_1941 - pd.Timedelta(days=1)).weights, official) > 40_000
    units = whole.assign(price=np.float32(1))
    assert rows_off(M5Scorer(units, DAY_1941).weights, official) > 40_000
    best = weights[weights["m5_level"] == 12].nlargest(1, "dollars")["unique_id"].iloc[0]
    mine = (whole["unique_id"] == best).to_numpy()
    cent = whole.assign(price=whole["price"] + np.where(mine, np.float32(0.01), np.float32(0)))
    assert rows_off(M5Scorer(cent, DAY_1941).weights, official) >= 12


@pytest.mark.slow
def test_wrmsse_of_seasonal_naive_on_days_1914_to_1941_two_ways(whole, raw, scorer):
    keys, dollars, history, actual = raw
    assert scorer.caveat == ""
    theirs = oracle.weights(keys, dollars)
    theirs = theirs.set_index("unique_id")["weight"]
    names = scorer.weights["unique_id"].where(
        scorer.weights["m5_level"] < 12, scorer.weights["key_1"] + "_" + scorer.weights["key_2"]
    )
    np.testing.assert_allclose(scorer.weights["weight"], theirs[names], rtol=0, atol=1e-14)
    naive = pd.DataFrame(np.tile(history.loc[:, 1907:].to_numpy(), 4), columns=actual.columns)
    forecast = frame(keys["unique_id"], scorer.days, DAY_1913, naive, NAME)
    mine = levels(scorer.wrmsse(forecast))
    expected = oracle.wrmsse(keys, dollars, history, actual, naive)
    np.testing.assert_allclose(mine, expected, rtol=1e-10)
    assert mine[0] == pytest.approx(0.869701, abs=5e-7)
    # A planted error: the price of the series that earns most, doubled.
    best = scorer.weights.iloc[12_350:].nlargest(1, "dollars")["unique_id"].iloc[0]
    double = whole["price"].where(whole["unique_id"] != best, whole["price"] * np.float32(2))
    wrong = levels(M5Scorer(whole.assign(price=double), DAY_1913).wrmsse(forecast))
    assert abs(wrong[0] - expected[0]) > 1e-6


@pytest.mark.slow
def test_seasonal_naive_of_the_package_is_the_last_week(whole, raw):
    from civstats.models import make_forecaster

    keys, _, history, _actual = raw
    few = keys["unique_id"].iloc[::500]
    panel = validate_panel(whole[whole["unique_id"].isin(few) & (whole["ds"] <= DAY_1913)])
    future = pd.MultiIndex.from_product([few, pd.date_range(DAY_1913, periods=29)[1:]])
    future = future.to_frame(index=False, name=["unique_id", "ds"])
    made = make_forecaster("SeasonalNaive").fit(panel).predict(future, n_paths=0).frame
    np.testing.assert_array_equal(
        made[NAME].to_numpy().reshape(-1, 28),
        np.tile(history.loc[few.index, 1907:].to_numpy(float), 4),
    )


@pytest.mark.slow
def test_wspl_of_seasonal_naive_on_days_1914_to_1941_two_ways(raw, scorer):
    """Its quantiles are the last week's value and those of the past weekly changes, not below 0."""
    keys, dollars, history, actual = raw

    def quantiles(y: np.ndarray) -> np.ndarray:
        gap = np.quantile(y[-364:] - y[-371:-7], oracle.PROBS)
        return np.maximum(np.tile(y[-7:], 4) + gap[:, None], 0)

    def theirs(level, by):
        for y in oracle.aggregate(keys, history, by).to_numpy(float):
            yield quantiles(y)

    mine = np.concatenate([[quantiles(y) for y in scorer.totals(k)] for k in KEYS])
    rows = mine.transpose(0, 2, 1).reshape(-1, 9)
    forecast = frame(scorer.weights["unique_id"], scorer.days, DAY_1913, rows[:, 4], NAME)
    scores = levels(scorer.wspl(with_quantiles(forecast, rows, NAME)))
    expected = oracle.wspl(keys, dollars, history, actual, theirs)
    np.testing.assert_allclose(scores, expected, rtol=1e-10)


@pytest.mark.slow
def test_wspl_of_joint_paths_of_all_of_m5_two_ways(raw, scorer):
    """A path is the last week and the weekly changes of some past 28 days, the same for all."""
    keys, dollars, history, actual = raw
    table = history.to_numpy(np.float32)
    starts = np.random.default_rng(0).integers(1000, 1880, 15)
    last = np.tile(table[:, -7:], 4)

    def paths(rows: slice) -> np.ndarray:
        gaps = [table[rows, s : s + 28] - table[rows, s - 7 : s + 21] for s in starts]
        return np.maximum(last[rows, None] + np.stack(gaps, axis=1), 0)

    def blocks():
        for k in range(0, len(table), 777):
            rows = slice(k, k + 777)
            ids = keys["unique_id"].iloc[rows].to_numpy(object)
            yield xr.DataArray(
                paths(rows),
                dims=("unique_id", "sample", "ds"),
                coords={"unique_id": ids, "ds": scorer.days},
            )

    scores = levels(scorer.wspl_from_paths(blocks(), NAME))
    whole_of = oracle.path_quantiles(keys, paths(slice(None)))
    expected = oracle.wspl(keys, dollars, history, actual, whole_of)
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
