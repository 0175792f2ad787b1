"""The checks behind the panel contract, run over blocks of rows: fast, and in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from civstats.schema.columns import (
    CENSORED,
    DEMAND,
    DEMAND_MEAN,
    DS,
    FLAG_KNOWN,
    ID,
    IN_STOCK_SHARE,
    PRICE,
    RECAPTURED,
    STATIC,
    STOCK,
    Y,
)

BLOCK = 1 << 17  # rows at a time: temporaries stay in the processor's cache

Check = Callable[[slice], np.ndarray]
"""Marks the rows of a block that breach the contract."""


def blocks(n: int) -> Iterator[slice]:
    """Cut n rows into blocks that overlap by one row, so that steps between rows are all seen."""
    for start in range(0, n, BLOCK):
        yield slice(max(start - 1, 0), min(start + BLOCK, n))


def breaches(frame: pd.DataFrame, ticks: np.ndarray, freq: str) -> list[str]:
    """Describe every breach of a sorted frame: kind, number of rows, first place, mend.

    Parameters
    ----------
    frame : pandas.DataFrame
        Canonical dtypes, sorted by series and time.
    ticks : numpy.ndarray of int, shape (n_rows,)
        Number of each row's period in the calendar of `freq`.
    freq : str
        For the texts.
    """
    checks = [
        *_column_checks(frame),
        *_order_checks(frame, ticks, freq),
        *_stock_checks(frame),
        *_static_checks(frame),
    ]
    counts, first = [0] * len(checks), [0] * len(checks)
    with np.errstate(invalid="ignore"):
        for rows in blocks(len(frame)):
            shared = int(rows.start > 0)  # the row before the block counted with its own block
            for k, (_, _, check) in enumerate(checks):
                bad = check(rows)[shared:]
                n = int(np.count_nonzero(bad))
                if n and not counts[k]:
                    first[k] = rows.start + shared + int(np.argmax(bad))
                counts[k] += n
    return [
        f"{n} row(s) {text} (first {frame[ID].iloc[i]} on {frame[DS].iloc[i].date()}): {mend}"
        for n, i, (text, mend, _) in zip(counts, first, checks, strict=True)
        if n
    ]


def _column_checks(frame: pd.DataFrame) -> Iterator[tuple[str, str, Check]]:
    y = frame[Y].to_numpy()
    yield "with missing sales", "sales of a day without sale are 0", lambda r: np.isnan(y[r])
    yield "with infinite sales", "mend the source", lambda r: np.isinf(y[r])
    yield "with negative sales", "net returns out or clip at 0", lambda r: y[r] < 0
    for column in (STOCK, DEMAND, DEMAND_MEAN, RECAPTURED, PRICE):
        if column in frame.columns:
            yield (
                f"with negative or infinite {column}",
                "mend the source",
                _below_zero(frame[column].to_numpy()),
            )
    if IN_STOCK_SHARE in frame.columns:
        share = frame[IN_STOCK_SHARE].to_numpy()
        yield (
            f"with {IN_STOCK_SHARE} outside [0, 1]",
            "clip it",
            lambda r: ~((share[r] >= 0) & (share[r] <= 1)),
        )


def _below_zero(x: np.ndarray) -> Check:
    return lambda r: (x[r] < 0) | np.isinf(x[r])


def _changes(codes: np.ndarray, x: np.ndarray) -> Check:
    return lambda r: _within(codes, r, x[r][1:] != x[r][:-1])


def _within(codes: np.ndarray, rows: slice, test: np.ndarray) -> np.ndarray:
    """Mark rows whose step from the row before, in the same series, fails a test."""
    out = np.zeros(rows.stop - rows.start, dtype=bool)
    block = codes[rows]
    out[1:] = (block[1:] == block[:-1]) & test
    return out


def _order_checks(
    frame: pd.DataFrame, ticks: np.ndarray, freq: str
) -> Iterator[tuple[str, str, Check]]:
    codes = frame[ID].array.codes
    yield (
        "repeat a series and date",
        "aggregate or drop the repeats",
        lambda r: _within(codes, r, ticks[r][1:] == ticks[r][:-1]),
    )
    yield (
        f"follow a gap in the {freq} calendar",
        "insert the missing periods, or name the panel's own freq",
        lambda r: _within(codes, r, ticks[r][1:] > ticks[r][:-1] + 1),
    )


def _stock_checks(frame: pd.DataFrame) -> Iterator[tuple[str, str, Check]]:
    if STOCK not in frame.columns:
        return
    y, stock = frame[Y].to_numpy(), frame[STOCK].to_numpy()
    yield (
        f"sold more than {STOCK}",
        "stock is what could be sold that day",
        lambda r: y[r] > stock[r],
    )
    if CENSORED in frame.columns:
        flag = frame[CENSORED].to_numpy()
        known = (
            frame[FLAG_KNOWN].to_numpy()
            if FLAG_KNOWN in frame.columns
            else np.broadcast_to(np.True_, len(frame))
        )
        yield (
            f"flagged {CENSORED} with units left",
            f"a censored day ends with {Y} == {STOCK}",
            lambda r: flag[r] & (y[r] < stock[r]),
        )
        yield (
            f"ended empty without the flag {CENSORED}",
            "ties are censored: demand was at least the stock",
            lambda r: ~flag[r] & (y[r] == stock[r]) & known[r],
        )


def _static_checks(frame: pd.DataFrame) -> Iterator[tuple[str, str, Check]]:
    codes = frame[ID].array.codes
    for column in STATIC:
        if column in frame.columns:
            yield (
                f"change {column} within a series",
                "static attributes are constant",
                _changes(codes, frame[column].array.codes),
            )
