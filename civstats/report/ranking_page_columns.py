"""The columns of the interactive ranking: which it knows, what it refuses, how each is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from civstats.report.ranking_page_data import is_number
from civstats.schema import ID, CivstatsError

KINDS = ("text", "integer", "number", "money", "share", "percent")
VALUE, LOW, HIGH = "value_mean", "value_p10", "value_p90"


@dataclass(frozen=True)
class Column:
    """A column that the ranking page knows: its name in the frame, its heading, how it is written."""

    name: str
    label: str
    kind: str
    shown: bool = True


COLUMNS = (
    Column("rank", "rank", "integer"),
    Column(ID, "series", "text"),
    Column(VALUE, "value", "money"),
    Column("interval", "p10 to p90", "interval"),
    Column("spark", "sales, forecast", "spark"),
    Column("prob_top_k", "P(top k)", "share"),
    Column("share_of_total", "share of total", "percent"),
    Column("driver", "driver", "text"),
    Column("units_mean", "units", "number"),
    Column("stockout_probability", "P(out)", "percent"),
    Column("dept_id", "department", "text"),
    Column("store_id", "store", "text"),
    Column("value_p50", "value, median", "money", shown=False),
    Column(LOW, "value, p10", "money", shown=False),
    Column(HIGH, "value, p90", "money", shown=False),
    Column("units_p10", "units, p10", "number", shown=False),
    Column("units_p50", "units, median", "number", shown=False),
    Column("units_p90", "units, p90", "number", shown=False),
    Column("demand_mean", "demand", "number", shown=False),
    Column("lost_mean", "units lost", "number", shown=False),
    Column("price", "price", "money", shown=False),
    Column("margin", "margin", "percent", shown=False),
)
"""The columns the page knows, in the order it shows them. Only `unique_id` and `value_mean` must be
there. ``interval`` is drawn from `value_p10` and `value_p90`, ``spark`` from `sparklines`."""


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    """Refuse what the page could only show wrongly; return the rows in order."""
    names = [str(c) for c in frame.columns]
    missing = [c for c in (ID, VALUE) if c not in names]
    if missing:
        raise CivstatsError(
            f"the ranking has no column(s) {', '.join(missing)}; it has {', '.join(names[:12])}"
        )
    if len(set(names)) < len(names):
        twice = next(c for c in names if names.count(c) > 1)
        raise CivstatsError(f"the ranking has column {twice!r} more than once; rename one")
    drawn = sorted({"interval", "spark"} & set(names))
    if drawn:
        raise CivstatsError(f"{', '.join(drawn)} is drawn by the page itself; rename that column")
    if (LOW in names) != (HIGH in names):
        raise CivstatsError(f"the ranking needs both {LOW} and {HIGH}, or neither")
    full = frame.set_axis(names, axis=1)
    repeated = full[ID].duplicated()
    if repeated.any():
        raise CivstatsError(
            f"the ranking holds {int(repeated.sum())} series more than once, first "
            f"{full[ID][repeated].iloc[0]!r}; give one row per series"
        )
    words = [c.name for c in COLUMNS if c.kind not in ("text", "interval", "spark")]
    wrong = [c for c in words if c in names and not is_number(full[c])]
    if wrong:
        raise CivstatsError(f"column(s) {', '.join(wrong)} of the ranking must hold numbers")
    if LOW in names:
        crossed = (full[LOW] > full[HIGH]).to_numpy(dtype=bool, na_value=False)
        if crossed.any():
            raise CivstatsError(
                f"{LOW} is above {HIGH} in {int(crossed.sum())} row(s), first series "
                f"{full[ID].iloc[int(crossed.argmax())]!r}; swap them"
            )
    if "rank" in names:
        full = full.sort_values("rank", kind="stable")
    return full.reset_index(drop=True)


def columns_of(
    full: pd.DataFrame,
    spark: bool,
    currency: str,
    k: int | None,
    show: Sequence[str] | None,
    labels: Mapping[str, str],
    formats: Mapping[str, str],
) -> list[Column]:
    """All columns of the page: those of the contract that are there, then the frame's others."""
    drawn = {"interval": LOW in full.columns, "spark": spark}
    here = [c for c in COLUMNS if drawn.get(c.name, c.name in full.columns)]
    names = {c.name for c in here}
    for other in map(str, full.columns):
        if other not in names:
            kind = "number" if is_number(full[other]) else "text"
            here.append(Column(other, other.replace("_", " "), kind, shown=False))
    by_name = {c.name: c for c in here}
    unknown = [name for name in (*(show or ()), *labels, *formats) if name not in by_name]
    if unknown:
        raise CivstatsError(
            f"the ranking page has no column(s) {', '.join(unknown)}; it has {', '.join(by_name)}"
        )
    bad = [
        name for name, kind in formats.items() if kind not in KINDS or not _fits(full, name, kind)
    ]
    if bad:
        raise CivstatsError(
            f"formats of {', '.join(bad)} must be one of {', '.join(KINDS)}, and fit what the column holds"
        )
    sign = f", {currency}" if currency else ""
    result = []
    for c in here:
        kind = formats.get(c.name, c.kind)
        label = c.label + (sign if kind in ("money", "interval") else "")
        if c.name == "prob_top_k" and k is not None:
            label = f"P(top {k})"
        shown = c.shown if show is None else c.name in show
        result.append(Column(c.name, labels.get(c.name, label), kind, shown))
    if show is not None:
        result.sort(key=lambda c: show.index(c.name) if c.name in show else len(show))
    return result


def _fits(full: pd.DataFrame, name: str, kind: str) -> bool:
    return name in full.columns and is_number(full[name]) == (kind != "text")
