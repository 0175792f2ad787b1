"""The tables that `value_of_instock.py` leaves: the ranking, totals, levers, and the planner's list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from civstats._csv import write_csv
from civstats.schema import ID

if TYPE_CHECKING:
    from value_pricing import Results

PLANNER = {
    "rank": "rank",
    ID: "series",
    "item_id": "item",
    "store_id": "store",
    "dept_id": "department",
    "driver": "here for its",
    "value_mean": "net value expected",
    "value_p10": "net value, 1 in 10 is less",
    "value_p90": "net value, 1 in 10 is more",
    "gross_mean": "gross value expected",
    "cost": "cost of the lever",
    "return_mean": "return on cost",
    "units_mean": "units gained",
    "units_p10": "units gained, 1 in 10 is less",
    "units_p90": "units gained, 1 in 10 is more",
    "prob_top_k": "chance to belong to the top",
    "share_of_total": "share of all net value",
    "cumulative_share": "share of this row and those above",
    "stockout_probability": "share of days expected out of stock",
    "out_tomorrow_mean": "chance to be out on the first day",
    "lost_units_mean": "units lost in the past",
    "demand_mean": "units wanted",
    "price": "price",
    "margin": "margin, share of price",
}
"""Columns of the planner's list and what a planner reads above them."""


def planner_list(ranking: pd.DataFrame) -> pd.DataFrame:
    """Return the ranking in a planner's words, all rows, in order.

    Units have one decimal, money two, shares four: more digits than are known help nobody.
    """
    shown = {c: words for c, words in PLANNER.items() if c in ranking.columns}
    table = ranking[list(shown)].copy()
    for c in shown:
        if pd.api.types.is_float_dtype(table[c].dtype):
            money = c.startswith(("value", "gross", "price", "cost"))
            units = c.startswith(("units", "lost", "demand"))
            table[c] = table[c].round(2 if money else 1 if units else 4)
    return table.rename(columns=shown)


def write_tables(results: Results, folder: Path) -> None:
    """Write ranking.csv, planner.csv, totals.csv and levers.csv.

    Parameters
    ----------
    results : Results
    folder : pathlib.Path
    """
    write_csv(results.ranking, folder / "ranking.csv")
    write_csv(planner_list(results.ranking), folder / "planner.csv")
    write_csv(results.totals, folder / "totals.csv")
    write_csv(results.levers, folder / "levers.csv")
