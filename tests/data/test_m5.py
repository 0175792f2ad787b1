"""The M5 loader against melt and merge, and every kind of wrong file."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pandas as pd
import pytest

from civstats.data import load_future, load_m5
from civstats.schema import CivstatsError, DataError, check_future, validate_panel
from tests.data import m5_world as world


@pytest.fixture(scope="module")
def files() -> world.Tables:
    return world.tables()


@pytest.fixture(scope="module")
def zipped(files, tmp_path_factory):
    return world.write_zip(tmp_path_factory.mktemp("m5") / "m5-forecasting-accuracy.zip", files)


@pytest.fixture
def folder(files, tmp_path):
    return world.write_folder(tmp_path / "m5", files)


def fails(path, **selection) -> str:
    """Return the error's text, which must be one line."""
    with pytest.raises(DataError) as caught:
        load_m5(path, **selection)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_panel_equals_melt_and_merge(files, zipped):
    panel = load_m5(zipped)
    expected = world.melt_and_merge(files)
    pd.testing.assert_frame_equal(world.plain(panel), expected)
    assert expected["price"].isna().sum() == 7, "the world has a week without a price"
    assert (expected["event_name_2"] != "none").any()
    pd.testing.assert_frame_equal(panel, validate_panel(panel))


def test_dtypes_are_small_and_events_share_their_categories(zipped):
    panel = load_m5(zipped)
    assert panel.dtypes.astype(str).to_dict() == {
        "unique_id": "category",
        "ds": "datetime64[ns]",
        "y": "float32",
        "price": "float32",
        **dict.fromkeys(world.STATIC_AND_EVENTS, "category"),
        "snap": "bool",
    }
    assert panel["unique_id"].array.codes.dtype == np.int8
    names = panel["event_name_1"].cat.categories
    assert names[0] == "none"
    assert list(names) == list(panel["event_name_2"].cat.categories)
    assert panel["unique_id"].cat.categories.is_monotonic_increasing


def test_days_before_launch_have_no_rows(zipped):
    panel = load_m5(zipped)
    first = panel.groupby("unique_id", observed=True)["ds"].min()
    assert first["FOODS_2_001_CA_1"] == pd.Timestamp("2011-01-29") + pd.Timedelta(weeks=5)
    assert first["FOODS_1_002_TX_1"] == pd.Timestamp("2011-01-29") + pd.Timedelta(weeks=2)
    assert first["HOBBIES_1_001_TX_1"] == pd.Timestamp("2011-01-29")
    assert len(panel) == 3 * (60 + 60 + 46 + 25)


def test_folder_zip_and_folder_of_the_zip_give_the_same(zipped, folder):
    panel = load_m5(zipped)
    pd.testing.assert_frame_equal(panel, load_m5(folder))
    pd.testing.assert_frame_equal(panel, load_m5(str(zipped.parent)))


def test_evaluation_is_preferred_and_validation_read_when_alone(files, folder, caplog):
    assert load_m5(folder).attrs["source"] == world.EVALUATION
    (folder / world.EVALUATION).unlink()
    with caplog.at_level(logging.INFO, logger="civstats.data.m5"):
        panel = load_m5(folder)
    assert panel.attrs["source"] == world.VALIDATION
    assert world.VALIDATION in caplog.text
    assert panel["ds"].max() == pd.Timestamp("2011-01-29") + pd.Timedelta(days=31)
    expected = world.melt_and_merge(files, world.VALIDATION)
    pd.testing.assert_frame_equal(world.plain(panel), expected)


def test_series_launched_after_the_file_ends_are_left_out(files, tmp_path, caplog):
    files = {k: v for k, v in files.items() if k != world.EVALUATION}
    path = world.write_folder(tmp_path / "validation", files)
    with caplog.at_level(logging.INFO, logger="civstats.data.m5"):
        panel = load_m5(path)
    assert "3 series launch after d_32" in caplog.text
    assert "FOODS_2_001" not in set(panel["item_id"].cat.categories)
    assert panel["unique_id"].cat.categories.size == 9
    with pytest.raises(DataError, match="no series is launched"):
        load_m5(path, stores="TX_1", items="FOODS_2_001")


@pytest.mark.parametrize(
    ("selection", "query"),
    [
        ({"stores": "CA_1"}, "store_id == 'CA_1'"),
        ({"stores": ["CA_1", "TX_1"]}, "store_id in ['CA_1', 'TX_1']"),
        ({"states": "TX"}, "state_id == 'TX'"),
        ({"departments": "FOODS_1"}, "dept_id == 'FOODS_1'"),
        (
            {"items": ["FOODS_2_001"], "states": ["CA"]},
            "item_id == 'FOODS_2_001' & state_id == 'CA'",
        ),
    ],
)
def test_selection_is_the_whole_filtered(files, zipped, selection, query):
    expected = world.melt_and_merge(files).query(query).reset_index(drop=True)
    panel = load_m5(zipped, **selection)
    pd.testing.assert_frame_equal(world.plain(panel), expected)
    for column in ("unique_id", *world.KEYS):
        assert set(panel[column].cat.categories) == set(expected[column])


def test_selection_survives_quotes_blank_lines_and_carriage_returns(files, folder):
    expected = load_m5(folder, stores="CA_2")
    text = files[world.EVALUATION].to_csv(index=False, quoting=1, lineterminator="\r\n")
    (folder / world.EVALUATION).write_bytes(text.encode() + b"\r\n\r\n")
    pd.testing.assert_frame_equal(load_m5(folder, stores="CA_2"), expected)


def test_top_takes_the_best_sellers_and_breaks_ties_by_name(files, tmp_path):
    files = dict(files)
    sales = files[world.EVALUATION].copy()
    labels = [c for c in sales if c.startswith("d_")]
    sales[labels] = 0
    at = sales.set_index(["item_id", "store_id"]).index.get_loc
    day = sales.columns.get_loc("d_60")
    for key, units in {
        ("FOODS_1_001", "CA_1"): 9,
        ("HOBBIES_1_001", "CA_2"): 5,
        ("FOODS_1_002", "TX_1"): 5,
        ("FOODS_1_001", "CA_2"): 4,
    }.items():
        sales.iloc[at(key), day] = units
    sales.iloc[at(("FOODS_1_001", "CA_2")), sales.columns.get_loc("d_1")] = 100
    files[world.EVALUATION] = sales
    path = world.write_zip(tmp_path / "a.zip", files)

    def ids(**kwargs):
        return list(load_m5(path, **kwargs)["unique_id"].cat.categories)

    assert ids(top=2) == ["FOODS_1_001_CA_1", "FOODS_1_001_CA_2"]
    # Only the days loaded count, and FOODS comes before HOBBIES among the two that sold five.
    assert ids(top=2, last_days=10) == ["FOODS_1_001_CA_1", "FOODS_1_002_TX_1"]
    assert ids(top=1, stores="CA_2", last_days=10) == ["HOBBIES_1_001_CA_2"]


def test_last_days(files, zipped):
    panel = load_m5(zipped, last_days=40)
    whole = world.melt_and_merge(files)
    late = whole[whole["ds"] > whole["ds"].max() - pd.Timedelta(days=40)].reset_index(drop=True)
    pd.testing.assert_frame_equal(world.plain(panel), late)
    assert "last_days must" in fails(zipped, last_days=61)
    assert "last_days must" in fails(zipped, last_days=0)


def test_future_carries_on_where_the_panel_ends(files, zipped):
    part = load_m5(zipped, states="CA", last_days=30)
    future = load_future(zipped, part)
    check_future(future)
    assert set(future.columns) == set(part.columns) - {"y"}
    for column in ("unique_id", *world.STATIC_AND_EVENTS):
        assert future[column].dtype == part[column].dtype
    # The same from the oracle: pretend that the sales file covers the days ahead.
    longer = dict(files)
    sales = files[world.EVALUATION]
    ahead = pd.DataFrame(0, index=sales.index, columns=[f"d_{k}" for k in range(61, 89)])
    longer[world.EVALUATION] = pd.concat([sales, ahead], axis=1).query("state_id == 'CA'")
    expected = world.melt_and_merge(longer)
    expected = expected[expected["ds"] > part["ds"].max()].drop(columns="y")
    pd.testing.assert_frame_equal(world.plain(future), expected.reset_index(drop=True))


def test_future_of_a_cut_panel_and_beyond_the_calendar(zipped):
    panel = load_m5(zipped, stores="CA_1", departments="FOODS_1")
    cut = panel[panel["ds"] <= "2011-03-01"]
    assert load_future(zipped, cut, h=3)["ds"].unique().tolist() == list(
        pd.date_range("2011-03-02", periods=3)
    )
    with pytest.raises(DataError, match="lower h"):
        load_future(zipped, panel, h=29)
    with pytest.raises(CivstatsError, match="h must be"):
        load_future(zipped, panel, h=0)
    with pytest.raises(DataError, match="lacks column"):
        load_future(zipped, panel.drop(columns="item_id"))


def test_missing_paths_and_files(zipped, folder):
    assert "does not exist" in fails(folder / "nothing")
    assert "neither sales_train_evaluation.csv nor" in fails(folder.parent)
    (folder / "sell_prices.csv").unlink()
    assert "holds no sell_prices.csv" in fails(folder)


def test_damaged_zips(zipped, tmp_path):
    whole = zipped.read_bytes()
    short = tmp_path / "short.zip"
    short.write_bytes(whole[: len(whole) // 2])
    assert "cut short or damaged" in fails(short)
    other = tmp_path / "other.zip"
    other.write_bytes(b"item,store\n1,2\n")
    assert "is not a zip" in fails(other)
    bad = bytearray(whole)
    place = whole.find(b"sales_train_evaluation.csv") + 400
    bad[place : place + 50] = bytes(50)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(bytes(bad))
    assert "sales_train_evaluation.csv in" in fails(damaged)
    assert "download" in fails(damaged)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        (world.EVALUATION, "store_id"),
        (world.EVALUATION, "dept_id"),
        ("calendar.csv", "event_type_2"),
        ("calendar.csv", "wm_yr_wk"),
        ("sell_prices.csv", "sell_price"),
        ("calendar.csv", "snap_TX"),
    ],
)
def test_missing_column(files, folder, name, column):
    files[name].drop(columns=column).to_csv(folder / name, index=False)
    text = fails(folder)
    assert name in text
    assert "lacks column" in text
    assert column in text


def test_unknown_names_list_close_matches(zipped):
    assert "did you mean CA_1" in fails(zipped, stores="ca_1")
    assert "the data hold CA_1, CA_2, TX_1" in fails(zipped, stores="Berlin")
    assert "FOODS_1" in fails(zipped, departments=["FOODS_1", "FODS_1"])
    assert "the data hold CA, TX" in fails(zipped, states="XX")
    assert "FOODS_1_001" in fails(zipped, items="FOODS_1_01")
    assert "no series has" in fails(zipped, stores="CA_1", states="TX")
    assert "is empty" in fails(zipped, stores=[])


@pytest.mark.parametrize("top", [0, -1, 2.5, True, 13])
def test_top_out_of_range(zipped, top):
    assert "top" in fails(zipped, top=top)


@pytest.mark.parametrize(
    ("value", "shown"), [("-3", "-3"), ("1.5", "1.5"), ("", "nan"), ("NaN", "nan"), ("x", "nan")]
)
def test_sales_that_are_no_counts(files, folder, value, shown):
    sales = files[world.EVALUATION].astype(object)
    row = int(
        np.flatnonzero((sales["item_id"] == "FOODS_1_001") & (sales["store_id"] == "CA_2"))[0]
    )
    sales.loc[row, "d_17"] = value
    sales.to_csv(folder / world.EVALUATION, index=False)
    text = fails(folder)
    assert "1 value(s) of sales are missing, negative or not whole" in text
    assert f"FOODS_1_001_CA_2 on d_17 ({shown})" in text
    # The file's other series can still be had.
    assert len(load_m5(folder, stores="TX_1"))


def test_whole_numbers_written_as_floats_and_large_ones_are_sales(files, folder):
    sales = files[world.EVALUATION].astype(object)
    sales.loc[0, "d_60"] = "70000.0"
    sales.to_csv(folder / world.EVALUATION, index=False)
    assert load_m5(folder)["y"].max() == 70_000


def test_csv_cut_short(files, folder):
    path = folder / world.EVALUATION
    path.write_bytes(path.read_bytes()[:-40])
    assert "cut short" in fails(folder)
    world.write_folder(folder, files)
    path = folder / "sell_prices.csv"
    lines = files["sell_prices.csv"].sort_values(["store_id", "item_id"])
    lines.iloc[:-20].to_csv(path, index=False)
    assert "1 series without any price" in fails(folder)


def test_repeats_and_files_that_do_not_belong_together(files, folder):
    def write(name, frame):
        world.write_folder(folder, files)
        frame.to_csv(folder / name, index=False)

    sales, prices = files[world.EVALUATION], files["sell_prices.csv"]
    calendar = files["calendar.csv"]
    write(world.EVALUATION, pd.concat([sales, sales.iloc[[3]]]))
    assert "1 row(s) repeat a series, first FOODS_2_001_TX_1" in fails(folder)
    write("sell_prices.csv", pd.concat([prices, prices.iloc[[5, 5]]]))
    assert "2 row(s) that repeat an item, store and week" in fails(folder)
    write("sell_prices.csv", prices.assign(sell_price=prices["sell_price"].where(prices.index > 0)))
    assert "1 row(s) with a price that is missing or not positive" in fails(folder)
    write("sell_prices.csv", prices.assign(wm_yr_wk=prices["wm_yr_wk"] + 5))
    assert "calendar.csv does not hold" in fails(folder)
    write("calendar.csv", calendar.drop(index=10))
    assert "days skip or repeat 1 time(s), first after 2011-02-07" in fails(folder)
    write("calendar.csv", calendar.iloc[:50])
    assert "does not hold" in fails(folder)
    write(
        "calendar.csv", calendar.assign(date=calendar["date"].where(calendar.index != 4, "5/2/11"))
    )
    assert "'5/2/11' in line 6 is not a date" in fails(folder)
    early = sales.copy()
    early.loc[early["item_id"] == "FOODS_2_001", "d_3"] = 2
    write(world.EVALUATION, early)
    assert "3 series sell before their first price week, first FOODS_2_001_CA_1" in fails(folder)
    write(world.EVALUATION, sales.drop(columns="d_7"))
    assert "skip or repeat days" in fails(folder)


def test_empty_and_binary_files(folder):
    (folder / world.EVALUATION).write_bytes(b"")
    assert "has no sales columns" in fails(folder)
    shutil.copy(folder / "calendar.csv", folder / world.EVALUATION)
    assert "has no sales columns" in fails(folder)
    (folder / world.EVALUATION).write_bytes(b"\x00\xff\xfe" * 1000)
    assert "has no sales columns" in fails(folder)
    sales = (folder / world.VALIDATION).read_bytes()
    (folder / world.EVALUATION).write_bytes(sales.replace(b"HOBBIES_1_001", b'"HOB', 1))
    assert "cannot be read" in fails(folder)


@pytest.fixture(scope="module")
def real(shared_data):
    return shared_data / "m5" / "m5-forecasting-accuracy.zip"


@pytest.mark.slow
def test_real_store_and_department(real):
    panel = load_m5(real, stores="CA_1", departments="FOODS_3", last_days=100)
    assert panel["unique_id"].nunique() == 823
    assert panel["ds"].max() == pd.Timestamp("2016-05-22")
    assert panel["price"].notna().all()
    future = load_future(real, panel)
    assert len(future) == 823 * 28
    assert future["ds"].max() == pd.Timestamp("2016-06-19")
    assert future["price"].notna().all()


@pytest.mark.slow
def test_all_of_m5(real):
    panel = load_m5(real)
    assert len(panel) == 46_881_677
    assert panel["unique_id"].cat.categories.size == 30_490
    assert float(panel["y"].max()) == 763
    assert int(panel["y"].to_numpy().sum(dtype=np.float64)) == 66_927_173
