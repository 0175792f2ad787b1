"""The only place where columns are named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

Treatment = Literal["ignore", "mask", "censor"]

ID = "unique_id"
DS = "ds"
Y = "y"
CENSORED = "is_censored"
FLAG_KNOWN = "flag_known"
STOCK = "stock"
IN_STOCK_SHARE = "in_stock_share"
DEMAND = "demand"
DEMAND_MEAN = "demand_mean"
RECAPTURED = "recaptured"
"""Units a day owes to other days' or sister items' stockouts; demand excludes them."""
PRICE = "price"
PROMO = "promo"
EVENTS = ("event_name_1", "event_type_1", "event_name_2", "event_type_2")
NO_EVENT = "none"
"""Category of the event columns on a day without event."""
SNAP = "snap"
"""True on days on which food stamps are paid out in the state of the series' store."""
CUTOFF = "cutoff"

TRUTH = (DEMAND, DEMAND_MEAN, RECAPTURED)
"""Known in simulations only; no model may read them."""
OUTCOMES = (Y, CENSORED, FLAG_KNOWN, STOCK, IN_STOCK_SHARE, *TRUTH)
"""Unknown on the forecast origin; a `future` that carries one of them is refused."""
LEVEL_FILTERED, LEVEL_SMOOTHED = "level_filtered", "level_smoothed"
"""Mean demand of a day, given the days up to it and given all days."""
RECOVERED_FILTERED, RECOVERED, LOST = "recovered_filtered", "recovered", "lost"
"""Expected demand of a past day given what was observed, and what of it was not sold."""
STOCKOUT, P_OUT, INFORMED = "stockout", "p_out", "informed"
STATUS = "status"
STATUSES = ("in_stock", "out", "not_launched", "delisted", "closed")
"""What a day was, as far as sales tell: categories of `STATUS`."""
RUN, CHANCE, ALARM = "run", "chance", "alarm"
"""A day's run of zeros, how probable one that long is, and whether that is too improbable."""
STATIC = ("item_id", "dept_id", "cat_id", "store_id", "state_id")
TREATMENTS: tuple[Treatment, ...] = ("ignore", "mask", "censor")
REGIMES = ("all_days", "in_stock", "demand", "censored")
SCORES = (
    "model",
    "treatment",
    "regime",
    "metric",
    "level",
    "cutoff",
    "value",
    "lo",
    "hi",
    "n",
    "expected",
    "identified",
    "note",
)
RANKING = (
    "rank",
    "unique_id",
    "units_mean",
    "units_p10",
    "units_p90",
    "value_mean",
    "value_p10",
    "value_p90",
    "prob_top_k",
)


def alias(model: str, treatment: str) -> str:
    """Return the forecast column of a model under a treatment, ``{model}_{treatment}``."""
    return f"{model}_{treatment}"


def parse_alias(column: str) -> tuple[str, str]:
    """Split ``{model}_{treatment}`` into its parts.

    Raises
    ------
    ValueError
        If the column does not end in a treatment.
    """
    model, _, treatment = column.rpartition("_")
    if not model or treatment not in TREATMENTS:
        raise ValueError(
            f"{column!r} is not of the form model_treatment, treatment in {TREATMENTS}"
        )
    return model, treatment


def _text(level: float) -> str:
    return f"{level:g}"


def level_columns(name: str, level: float) -> tuple[str, str]:
    """Return the lower and upper column of a central prediction interval (level in percent)."""
    return f"{name}-lo-{_text(level)}", f"{name}-hi-{_text(level)}"


def quantiles_of_levels(levels: Sequence[float]) -> list[float]:
    """Return the sorted probabilities that intervals of these levels (percent) and the median need.

    Examples
    --------
    >>> quantiles_of_levels([80])
    [0.1, 0.5, 0.9]
    """
    probabilities = {0.5}
    for level in levels:
        probabilities |= {round(0.5 - level / 200, 6), round(0.5 + level / 200, 6)}
    return sorted(probabilities)


def quantile_column(name: str, probability: float) -> str:
    """Return the column that holds a quantile: ``-median``, ``-lo-80``, ``-hi-80``.

    Examples
    --------
    >>> quantile_column("M_mask", 0.9)
    'M_mask-hi-80'
    """
    if probability == 0.5:
        return f"{name}-median"
    level = round(abs(2 * probability - 1) * 100, 6)
    lo, hi = level_columns(name, level)
    return lo if probability < 0.5 else hi


def known_covariates(columns: Iterable[str]) -> list[str]:
    """Return the columns that are known ahead: everything but keys and outcomes."""
    return [c for c in columns if c not in (ID, DS, *OUTCOMES)]
