"""M5's weekly prices as a matrix, series x week."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.data.m5.calendar import Calendar
from civstats.data.m5.parse import codes, parse
from civstats.data.m5.source import CALENDAR, PRICES, Source
from civstats.schema import DataError

_TYPES = {
    "store_id": "Categorical",
    "item_id": "Categorical",
    "wm_yr_wk": "Int32",
    "sell_price": "Float32",
}


def read_prices(
    source: Source, calendar: Calendar, items: np.ndarray, stores: np.ndarray
) -> np.ndarray:
    """Read the price of each series in each week of the calendar.

    Parameters
    ----------
    source : Source
    calendar : Calendar
    items, stores : numpy.ndarray of str, shape (n_series,)

    Returns
    -------
    numpy.ndarray, shape (n_series, n_weeks), float32
        NaN in weeks without a price.

    Raises
    ------
    DataError
        Missing column, a price that is missing or not positive, repeated rows, weeks that the
        calendar does not hold, a series without any price.
    """
    where = f"{PRICES} in {source.path}"
    frame = parse(source.read(PRICES), where, tuple(_TYPES), _TYPES)
    item_names, item = np.unique(items.astype(str), return_inverse=True)
    store_names, store = np.unique(stores.astype(str), return_inverse=True)
    # One row and column more: rows of items or stores that were not asked for end up there.
    series = np.full((len(store_names) + 1, len(item_names) + 1), -1, dtype=np.int32)
    series[store, item] = np.arange(len(items))
    row = series[codes(frame["store_id"], store_names), codes(frame["item_id"], item_names)]
    number, price = frame["wm_yr_wk"].fill_null(-1).to_numpy(), frame["sell_price"].to_numpy()
    if len(items) < series.size or (row < 0).any():
        mine = row >= 0
        row, number, price = row[mine], number[mine], price[mine]

    def complain(bad: np.ndarray, what: str, mend: str) -> None:
        if bad.any():
            i = int(np.argmax(bad))
            raise DataError(
                f"{where}: {int(bad.sum())} row(s) {what}, first {items[row[i]]} in "
                f"{stores[row[i]]}, week {number[i]}; {mend}"
            )

    complain(
        ~(np.isfinite(price) & (price > 0)),
        "with a price that is missing or not positive",
        "mend or drop them",
    )
    week = np.minimum(np.searchsorted(calendar.weeks, number), len(calendar.weeks) - 1)
    complain(
        calendar.weeks[week] != number,
        f"in a week that {CALENDAR} does not hold",
        "the files do not belong together",
    )
    prices = np.full((len(items), len(calendar.weeks)), np.nan, dtype=np.float32)
    prices[row, week] = price
    priced = ~np.isnan(prices)
    if priced.sum() < len(row):
        cell = pd.Index(row.astype(np.int64) * len(calendar.weeks) + week)
        complain(cell.duplicated(), "that repeat an item, store and week", "drop the repeats")
    bare = ~priced.any(axis=1)
    if bare.any():
        i = int(np.argmax(bare))
        raise DataError(
            f"{where}: {int(bare.sum())} series without any price, first {items[i]} in "
            f"{stores[i]}; if the file was cut short, download it again"
        )
    return prices
