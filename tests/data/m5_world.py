"""A tiny world in M5's files, and the obvious way to make a panel of them: melt and merge."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

EVALUATION = "sales_train_evaluation.csv"
VALIDATION = "sales_train_validation.csv"
N_DAYS, H = 60, 28
ITEMS = ("HOBBIES_1_001", "FOODS_1_001", "FOODS_1_002", "FOODS_2_001")
STORES = ("TX_1", "CA_2", "CA_1")
KEYS = ["item_id", "dept_id", "cat_id", "store_id", "state_id"]
STATIC_AND_EVENTS = [
    "event_name_1",
    "event_type_1",
    "event_name_2",
    "event_type_2",
    *KEYS,
]

Tables = dict[str, pd.DataFrame]


def tables(seed: int = 0) -> Tables:
    """Kaggle's four files: series and weeks shuffled, late launches, a week without a price."""
    rng = np.random.default_rng(seed)
    n = N_DAYS + H
    days = pd.date_range("2011-01-29", periods=n)
    calendar = pd.DataFrame(
        {
            "date": days.strftime("%Y-%m-%d"),
            "wm_yr_wk": 11101 + np.arange(n) // 7,
            "weekday": days.day_name(),
            "wday": (days.dayofweek + 2) % 7 + 1,
            "month": days.month,
            "year": days.year,
            "d": [f"d_{k + 1}" for k in range(n)],
            "event_name_1": None,
            "event_type_1": None,
            "event_name_2": None,
            "event_type_2": None,
            "snap_CA": (days.day <= 10).astype(int),
            "snap_TX": (days.day % 2).astype(int),
        }
    )
    calendar.loc[[8, 80], ["event_name_1", "event_type_1"]] = ["SuperBowl", "Sporting"]
    calendar.loc[30, ["event_name_1", "event_type_1"]] = ["Easter", "Cultural"]
    calendar.loc[30, ["event_name_2", "event_type_2"]] = ["OrthodoxEaster", "Religious"]
    series = pd.DataFrame([(i, s) for s in STORES for i in ITEMS], columns=["item_id", "store_id"])
    weeks = np.sort(calendar["wm_yr_wk"].unique())
    sales, prices = [], []
    for k, (item, store) in enumerate(series.itertuples(index=False)):
        launch = (0, 0, 2, 5)[k % 4]
        units = rng.poisson(0.3 + k % 5, N_DAYS)
        units[: 7 * launch] = 0
        sales.append(units)
        for w in weeks[launch:]:
            if k != 1 or w != weeks[3]:
                prices.append((store, item, w, round(float(rng.uniform(0.5, 9)), 2)))
    keys = pd.DataFrame(
        {
            "id": series["item_id"] + "_" + series["store_id"] + "_evaluation",
            "item_id": series["item_id"],
            "dept_id": series["item_id"].str.rsplit("_", n=1).str[0],
            "cat_id": series["item_id"].str.split("_").str[0],
            "store_id": series["store_id"],
            "state_id": series["store_id"].str.split("_").str[0],
        }
    )
    labels = [f"d_{k + 1}" for k in range(N_DAYS)]
    evaluation = pd.concat([keys, pd.DataFrame(np.array(sales), columns=labels)], axis=1)
    validation = evaluation.drop(columns=labels[-H:])
    validation["id"] = validation["id"].str.replace("evaluation", "validation")
    frame = pd.DataFrame(prices, columns=["store_id", "item_id", "wm_yr_wk", "sell_price"])
    return {
        "calendar.csv": calendar,
        "sell_prices.csv": frame.sample(frac=1, random_state=1, ignore_index=True),
        EVALUATION: evaluation,
        VALIDATION: validation,
    }


def write_folder(folder: Path, files: Tables) -> Path:
    """Write the files as csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in files.items():
        frame.to_csv(folder / name, index=False)
    return folder


def write_zip(path: Path, files: Tables) -> Path:
    """Write the files as Kaggle's zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, frame in files.items():
            archive.writestr(name, frame.to_csv(index=False))
    return path


def melt_and_merge(files: Tables, sales: str = EVALUATION) -> pd.DataFrame:
    """Make the panel in pandas, step by step, of the rows in `sales`."""
    frame = files[sales].melt(id_vars=["id", *KEYS], var_name="d", value_name="y")
    calendar = files["calendar.csv"]
    frame = frame.merge(calendar, on="d")
    prices = files["sell_prices.csv"]
    launch = prices.groupby(["store_id", "item_id"])["wm_yr_wk"].min().rename("launch")
    frame = frame.merge(launch.reset_index(), on=["store_id", "item_id"])
    frame = frame[frame["wm_yr_wk"] >= frame["launch"]]
    frame = frame.merge(prices, on=["store_id", "item_id", "wm_yr_wk"], how="left")
    snap = np.select(
        [frame["state_id"] == s.removeprefix("snap_") for s in calendar if s.startswith("snap_")],
        [frame[s] == 1 for s in calendar if s.startswith("snap_")],
    ).astype(bool)
    out = pd.DataFrame(
        {
            "unique_id": frame["item_id"] + "_" + frame["store_id"],
            "ds": pd.to_datetime(frame["date"]),
            "y": frame["y"].astype("float32"),
            "price": frame["sell_price"].astype("float32"),
            "snap": snap,
        }
    )
    for column in STATIC_AND_EVENTS:
        out[column] = frame[column].fillna("none")
    return out.sort_values(["unique_id", "ds"], ignore_index=True)


def plain(panel: pd.DataFrame) -> pd.DataFrame:
    """Turn categories into text and put columns in the oracle's order."""
    out = panel.copy()
    for column in ("unique_id", *STATIC_AND_EVENTS):
        out[column] = out[column].astype(object)
    first = ["unique_id", "ds", "y", "price", "snap"]
    return out[[c for c in [*first, *STATIC_AND_EVENTS] if c in out.columns]]
