"""What becomes of a lost unit: shares that move to sister items or to later days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import CivstatsError, PanelError, SeriesIndex, check_share

_SISTERS = ("store_id", "dept_id")


@dataclass(frozen=True)
class Recapture:
    """Shares of each lost unit of demand that another item or another day gets to see.

    Units move whole, each at most once and independently of the others: with probability
    `substitute` to a sister item (same store and department, any of those that opened the day in
    stock with equal chance; no sister open: lost), with probability `later` to the same item one
    to `within_days` days later (equal chances), otherwise lost. What moves joins the demand that
    the receiving series faces, behind the demand of its own; a moved unit that meets an empty
    shelf, or arrives after the panel's last day, is lost for good.

    Attributes
    ----------
    substitute, later : float
        Shares in [0, 1], together at most 1.
    within_days : int
        Longest wait of a customer who comes back, days.

    Examples
    --------
    >>> Recapture(substitute=0.2, later=0.1).within_days
    3
    """

    substitute: float = 0.0
    later: float = 0.0
    within_days: int = 3

    def __post_init__(self) -> None:
        check_share("recapture.substitute", self.substitute)
        check_share("recapture.later", self.later)
        if self.substitute + self.later > 1 + 1e-12:
            raise CivstatsError(
                f"recapture: substitute {self.substitute:g} and later {self.later:g} add up to more "
                "than 1; a lost unit moves at most once"
            )
        if isinstance(self.within_days, bool) or int(self.within_days) != self.within_days:
            raise CivstatsError(
                f"recapture.within_days must be whole, but got {self.within_days!r}"
            )
        if self.within_days < 1:
            raise CivstatsError(f"recapture.within_days must be 1 or more, not {self.within_days}")


@dataclass(frozen=True)
class Groups:
    """Series that are walked together: sisters where customers substitute, else each alone.

    Attributes
    ----------
    member : numpy.ndarray, shape (n_series,)
        Positions of series, group after group.
    ends : numpy.ndarray, shape (n_groups,)
        Group g is ``member[ends[g - 1]:ends[g]]``.
    """

    member: np.ndarray
    ends: np.ndarray


def sister_groups(panel: pd.DataFrame, index: SeriesIndex, recapture: Recapture | None) -> Groups:
    """Group series by store and department if `recapture` lets customers substitute.

    Raises
    ------
    PanelError
        If store or department is not in the panel, though substitution needs them.
    """
    n = len(index.ids)
    if recapture is None or recapture.substitute == 0:
        return Groups(np.arange(n), np.arange(1, n + 1))
    missing = [c for c in _SISTERS if c not in panel.columns]
    if missing:
        raise PanelError(
            f"recapture.substitute needs {' and '.join(_SISTERS)}, but the panel lacks "
            f"{', '.join(missing)}; add them or set substitute=0"
        )
    group = np.zeros(n, dtype=np.int64)
    for column in _SISTERS:
        codes = panel[column].cat.codes.to_numpy()[index.starts].astype(np.int64)
        group = group * (codes.max() + 2) + codes
    member = np.argsort(group, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(group[member])) + 1, n]
    return Groups(member, ends)


def whole_units(panel: pd.DataFrame, demand: np.ndarray, why: str) -> None:
    """Raise unless demand comes in whole units."""
    bad = demand != np.floor(demand)
    if bad.any():
        i = int(np.argmax(bad))
        raise PanelError(
            f"{why} moves whole units, but demand is fractional on {int(bad.sum())} row(s) "
            f"(first {panel['unique_id'].iloc[i]}, {demand[i]:g}): scale it to counts and round"
        )
