"""Which days a score looks at, and what it holds the forecast against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.evaluation.metric import Kind
from civstats.schema import (
    CENSORED,
    DEMAND,
    FLAG_KNOWN,
    IN_STOCK_SHARE,
    STOCK,
    CivstatsError,
    Y,
    stockout_days,
)


@dataclass(frozen=True)
class Regime:
    """A row of the regime table.

    Attributes
    ----------
    name : str
    target : str
        Panel column that the forecast is held against.
    rows : callable
        From scored panel rows to the mask of rows the regime takes, shape (n,).
    refusal : callable
        From scored panel rows to the reason why the regime cannot be had, None if it can.
    kind : {"plain", "censored"}
        Whether its scores take the target for what it is, or a stockout day's sales for a bound.
    """

    name: str
    target: str
    rows: Callable[[pd.DataFrame], np.ndarray]
    refusal: Callable[[pd.DataFrame], str | None]
    kind: Kind = "plain"


def _every(rows: pd.DataFrame) -> np.ndarray:
    return np.ones(len(rows), dtype=bool)


def _known_in_stock(rows: pd.DataFrame) -> np.ndarray:
    # A day of unknown status may have been a stockout: it is not known to be in stock.
    known = rows[FLAG_KNOWN].to_numpy() if FLAG_KNOWN in rows.columns else True
    return known & ~stockout_days(rows)


def _known_whole(rows: pd.DataFrame) -> np.ndarray:
    known = rows[FLAG_KNOWN].to_numpy() if FLAG_KNOWN in rows.columns else np.ones(len(rows), bool)
    if IN_STOCK_SHARE in rows.columns:
        # A day lost by the clock is a matter of exposure, not of a bound: nothing here scores it.
        bound = rows[CENSORED].to_numpy(dtype=bool)
        known = known & ~((rows[IN_STOCK_SHARE].to_numpy() < 1) & ~bound)
    return np.asarray(known)


def _no_bounds(rows: pd.DataFrame) -> str | None:
    if CENSORED not in rows.columns:
        return f"the panel has no {CENSORED}: nobody knows which sales are bounds of demand"
    return _no_flags(rows)


def _no_flags(rows: pd.DataFrame) -> str | None:
    if CENSORED not in rows.columns and IN_STOCK_SHARE not in rows.columns:
        return f"the panel has no {CENSORED} or {IN_STOCK_SHARE}: nobody knows which days were in stock"
    if FLAG_KNOWN in rows.columns and not rows[FLAG_KNOWN].any():
        return f"{FLAG_KNOWN} is False on every scored day"
    return None


def _no_demand(rows: pd.DataFrame) -> str | None:
    if DEMAND not in rows.columns or rows[DEMAND].isna().all():
        return f"the panel has no {DEMAND}: it is known in simulations only"
    return None


REGIMES: tuple[Regime, ...] = (
    Regime("all_days", Y, _every, lambda rows: None),
    Regime("in_stock", Y, _known_in_stock, _no_flags),
    Regime("demand", DEMAND, _every, _no_demand),
    Regime("censored", Y, _known_whole, _no_bounds, "censored"),
)
"""The table of regimes: a row here adds one to every score frame.

`in_stock` takes the days known to be in stock and is biased by selection: they are the days of
low demand (see `civstats.evaluation.selection_bias`). `censored` takes every day of known status and a
stockout day's sales for a bound, with scores of its own; a day wholly out adds 0, and where all days
are such there is no score. There is no regime of stockout
days: a plain error against a bound is no score."""

NEEDED = (Y, CENSORED, FLAG_KNOWN, IN_STOCK_SHARE, STOCK, DEMAND)
"""Panel columns that the table reads."""


def choose_regimes(names: Sequence[str] | str | None, rows: pd.DataFrame) -> tuple[Regime, ...]:
    """Return the regimes asked for, by default those the panel can offer.

    Parameters
    ----------
    names : sequence of str, str or None
    rows : pandas.DataFrame
        The scored panel rows.

    Raises
    ------
    CivstatsError
        For an unknown name, or a regime that the panel cannot offer.

    Examples
    --------
    >>> [r.name for r in choose_regimes(None, pd.DataFrame({"y": [1.0], "demand": [2.0]}))]
    ['all_days', 'demand']
    """
    if names is None:
        return tuple(r for r in REGIMES if r.refusal(rows) is None)
    table = {r.name: r for r in REGIMES}
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    if not names:
        raise CivstatsError(f"regimes is empty: name some of {', '.join(table)}")
    for name in names:
        if name not in table:
            hint = ""
            if "stockout" in name:
                hint = (
                    "; sales of a stockout day are only a lower bound of demand, "
                    "so a plain error on those days is not offered"
                )
            raise CivstatsError(f"regime must be one of {', '.join(table)}, but got {name!r}{hint}")
        reason = table[name].refusal(rows)
        if reason is not None:
            raise CivstatsError(f"regime {name} is not available: {reason}")
    return tuple(table[name] for name in names)
