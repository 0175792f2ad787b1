"""What is wrong with the data of a Bayesian fit before it starts, each with advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from civstats.demand_filter.layout import BOUND, EXACT, Observations
from civstats.models.bayes._layout import Layout
from civstats.schema import CivstatsError

_SHOWN = 3


@dataclass(frozen=True)
class Problem:
    """Something a reader of a posterior must know.

    Attributes
    ----------
    name : str
        Short and fixed, for gates and tables.
    message : str
        What, how many, where.
    advice : str
        The mend.
    """

    name: str
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(str, names[:_SHOWN])) + more


def refuse_fractions(obs: Observations, family: str) -> None:
    """Refuse sales that are no whole numbers where the likelihood is that of counts.

    Raises
    ------
    CivstatsError
        Naming how many rows, and where the first is.
    """
    if family == "normal":
        return
    broken = (obs.kind <= BOUND) & (np.abs(obs.y - np.rint(obs.y)) > 1e-6)
    if broken.any():
        row = int(np.argmax(broken))
        series = int(np.searchsorted(obs.ends, row, side="right"))
        raise CivstatsError(
            f"{int(broken.sum())} row(s) have fractional sales, first {obs.y[row]:g} on day "
            f"{row - int(obs.starts[series]) + 1} of {obs.ids[series]}, but the likelihood "
            f"{family} is one of counts: use family='normal', or multiply sales by the number that "
            "makes them whole"
        )


def find_problems(obs: Observations, layout: Layout, chains: int) -> list[Problem]:
    """Return what data and arguments cannot tell, worst first."""
    out = []
    exact, bound = obs.kind == EXACT, obs.kind == BOUND

    def count(mask: np.ndarray, code: np.ndarray, n: int) -> np.ndarray:
        return np.bincount(code[mask], minlength=n)

    names = layout.names["department"]
    row = layout.row_department
    seen = count(exact, row, len(names))
    mute = [n for n, k in zip(names, seen, strict=True) if k == 0]
    if mute:
        out.append(
            Problem(
                "group without exact days",
                f"{len(mute)} department(s) have no day on which demand is known exactly: {_some(mute)}",
                "their dispersion and weekly pattern are their priors; pool them with another "
                "department, or bring a history with days in stock",
            )
        )
    ids = layout.names["series"]
    exact_days = count(exact, layout.series, len(ids))
    bound_days = count(bound, layout.series, len(ids))
    silent = [i for i, e, b in zip(ids, exact_days, bound_days, strict=True) if e == 0 and b == 0]
    if silent:
        out.append(
            Problem(
                "series always out of stock",
                f"{len(silent)} series are out of stock on every day, without a sale: {_some(silent)}",
                "their demand is what items, stores and departments like them sell; drop them, or "
                "read their bands as those of a new item",
            )
        )
    only_bounds = [i for i, e, b in zip(ids, exact_days, bound_days, strict=True) if e == 0 and b]
    if only_bounds:
        out.append(
            Problem(
                "series never in stock",
                f"{len(only_bounds)} series sold out on every day that sold: {_some(only_bounds)}",
                "only the group's prior bounds their demand from above; check their flags, or read "
                "the upper band as a guess",
            )
        )
    zeros = count(exact & (obs.y > 0), layout.series, len(ids)) == 0
    never = [i for i, z, e in zip(ids, zeros, exact_days, strict=True) if z and e > 0]
    if never:
        out.append(
            Problem(
                "series without sales",
                f"{len(never)} series never sold on a day in stock: {_some(never)}",
                "their level is bounded from above alone; they may be delisted",
            )
        )
    if chains < 2:
        out.append(
            Problem(
                "one chain",
                "one chain was asked for: R-hat compares chains, and cannot see one that is stuck",
                "use chains=2 or more, 4 for a result that is reported",
            )
        )
    return out
