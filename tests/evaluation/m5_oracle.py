"""M5's scores the slow, obvious way: the competitors' guide's formulas, group by group.

Nothing of the package is used: sales are Kaggle's wide table, dollars are merged from its prices.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

PROBS = (0.005, 0.025, 0.165, 0.25, 0.5, 0.75, 0.835, 0.975, 0.995)
GROUPS = (
    [],
    ["state_id"],
    ["store_id"],
    ["cat_id"],
    ["dept_id"],
    ["state_id", "cat_id"],
    ["state_id", "dept_id"],
    ["store_id", "cat_id"],
    ["store_id", "dept_id"],
    ["item_id"],
    ["state_id", "item_id"],
    ["item_id", "store_id"],
)
KEYS = ["item_id", "dept_id", "cat_id", "store_id", "state_id"]


def aggregate(keys: pd.DataFrame, values: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Sum the rows of `values` by some of the `keys`; the whole sum where there are none."""
    if not by:
        return values.sum().to_frame().T
    return values.groupby([keys[c] for c in by]).sum()


def name(by: list[str], key) -> str:
    """A series' name in the competition's files."""
    if not by:
        return "Total_X"
    parts = list(key) if isinstance(key, tuple) else [key]
    return "_".join(parts if len(parts) == 2 else [*parts, "X"])


def changes(history: np.ndarray) -> np.ndarray:
    """Day-to-day changes over the periods following the first non-zero demand."""
    active = history[int((history > 0).argmax()) :]
    return active[1:] - active[:-1]


def weights(keys: pd.DataFrame, dollars: pd.Series) -> pd.DataFrame:
    """``m5_level, unique_id, dollars, weight``."""
    rows = []
    for level, by in enumerate(GROUPS, 1):
        sums = aggregate(keys, dollars.to_frame("d"), by)["d"]
        for key, value in sums.items():
            rows.append((level, name(by, key), value, value / dollars.sum()))
    return pd.DataFrame(rows, columns=["m5_level", "unique_id", "dollars", "weight"])


def wrmsse(keys, dollars, history, actual, forecast) -> list[float]:
    """The mean of the levels, then the levels; tables of bottom series x days, a row as in keys."""
    levels = []
    for by in GROUPS:
        weight = aggregate(keys, dollars.to_frame("d"), by)["d"] / dollars.sum()
        past, came, said = (
            aggregate(keys, x, by).to_numpy(float) for x in (history, actual, forecast)
        )
        total = 0.0
        for i, w in enumerate(weight):
            scale = (changes(past[i]) ** 2).mean()
            total += w * np.sqrt(((came[i] - said[i]) ** 2).mean() / scale)
        levels.append(total)
    return [sum(levels) / 12, *levels]


def spl(history: np.ndarray, actual: np.ndarray, quantiles: np.ndarray) -> float:
    """Scaled pinball loss of nine quantiles (9, h), averaged over quantiles and days."""
    total = 0.0
    for p, q in zip(PROBS, quantiles, strict=True):
        total += np.where(actual >= q, (actual - q) * p, (q - actual) * (1 - p)).mean()
    return total / 9 / np.abs(changes(history)).mean()


def wspl(keys, dollars, history, actual, quantiles) -> list[float]:
    """As `wrmsse`; ``quantiles(level, by)`` yields each series' quantiles, sorted by its key."""
    levels = []
    for level, by in enumerate(GROUPS, 1):
        weight = aggregate(keys, dollars.to_frame("d"), by)["d"] / dollars.sum()
        past, came = (aggregate(keys, x, by).to_numpy(float) for x in (history, actual))
        parts = zip(weight, past, came, quantiles(level, by), strict=True)
        levels.append(sum(w * spl(y, a, q) for w, y, a, q in parts))
    return [sum(levels) / 12, *levels]


def path_quantiles(keys, paths: np.ndarray):
    """Quantiles of the sums of paths (n, n_samples, h), for `wspl`."""
    flat = pd.DataFrame(paths.reshape(len(paths), -1), index=keys.index)

    def of(level: int, by: list[str]):
        for row in aggregate(keys, flat, by).to_numpy():
            yield np.quantile(row.reshape(paths.shape[1:]), PROBS, axis=0)

    return of


def read(path: Path, last: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Kaggle's files: keys, sales (columns 1, 2, ...), dollars of the 28 days to day `last`."""
    with zipfile.ZipFile(path) as files:
        with files.open("sales_train_evaluation.csv") as file:
            head = pd.read_csv(file, nrows=0).columns
        small = {c: "int16" for c in head if c.startswith("d_")}
        with files.open("sales_train_evaluation.csv") as file:
            table = pd.read_csv(file, dtype=small)
        with files.open("calendar.csv") as file:
            week = pd.read_csv(file).set_index("d")["wm_yr_wk"]
        with files.open("sell_prices.csv") as file:
            text = dict.fromkeys(("store_id", "item_id"), "category")
            prices = pd.read_csv(file, dtype=text)
    days = [f"d_{k}" for k in range(last - 27, last + 1)]
    prices = prices[prices["wm_yr_wk"].isin(week[days])]
    price = prices.astype({"store_id": str, "item_id": str}).pivot_table(
        index=["item_id", "store_id"], columns="wm_yr_wk", values="sell_price"
    )
    price = price.reindex(pd.MultiIndex.from_frame(table[["item_id", "store_id"]]))
    dollars = pd.Series(0.0, index=table.index)
    for day in days:
        dollars += (table[day] * price[week[day]].to_numpy()).fillna(0.0)
    sales = table[list(small)].set_axis(range(1, len(small) + 1), axis=1)
    return table[KEYS], sales, dollars
