"""A panel laid out for a walk over days: where series lie, what they face, who is whose sister."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import DEMAND, DS, ID, PanelError, SeriesIndex, Y, series_index
from civstats.stockouts.simulate.recapture import Recapture

_SISTERS = ("store_id", "dept_id")
_SAMPLE_ROWS = 2_000_000


class Layout:
    """What every walk needs of a panel, with every draw made.

    Parameters
    ----------
    panel : pandas.DataFrame
        A validated panel.
    rng : numpy.random.Generator
    recapture : Recapture, optional

    Attributes
    ----------
    demand : numpy.ndarray, shape (n_rows,), float32
    panel_args : tuple
        Groups of series walked together (sisters where customers substitute, else each alone),
        rows and first day of each series, demand: what a walk takes first.
    sample_args : tuple
        The same for some whole groups of series, enough to try a policy on.
    n_rows : tuple of int
        Rows of the panel and of the sample.
    recapture_args : tuple
        Shares and longest wait: what a walk takes last, before the arrays it fills.
    key : numpy.ndarray, shape (n_series,), uint64
        Where the hashed draws of each series start.

    Raises
    ------
    PanelError
        If demand is missing; with recapture, if it is fractional or store or department is missing.
    """

    def __init__(
        self, panel: pd.DataFrame, rng: np.random.Generator, recapture: Recapture | None
    ) -> None:
        index = series_index(panel)
        self.demand = true_demand(panel)
        if recapture is not None:
            whole_units(panel, self.demand, "recapture")
        rule = recapture or Recapture()
        ends, member = sister_groups(panel, index, rule)
        self.panel_args = (
            ends,
            member,
            index.starts.astype(np.int64),
            index.ends.astype(np.int64),
            _first_days(panel, index.starts),
            self.demand,
        )
        self.recapture_args = (float(rule.substitute), float(rule.later), int(rule.within_days))
        self.key = rng.integers(0, 2**64, size=len(index.ids), dtype=np.uint64)
        sample, n_sample = _sample(ends, member, index.lengths)
        self.sample_args = (*sample, *self.panel_args[2:])
        self.n_rows = (len(self.demand), n_sample)
        self._moves = recapture is not None

    def blank(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return arrays for a walk to fill: stock, sales, units recaptured."""
        n = len(self.demand)
        stock, sales = np.full(n, np.nan, np.float32), np.zeros(n, np.float32)
        return stock, sales, np.zeros(n if self._moves else 0, np.float32)


def true_demand(panel: pd.DataFrame) -> np.ndarray:
    """Return demand, or sales where no demand is known, shape (n_rows,), float32."""
    demand = panel[DEMAND if DEMAND in panel.columns else Y].to_numpy()
    missing = np.isnan(demand)
    if missing.any():
        i = int(np.argmax(missing))
        raise PanelError(
            f"{int(missing.sum())} row(s) without {DEMAND} (first {panel[ID].iloc[i]} on "
            f"{panel[DS].iloc[i].date()}): fill them, or drop the column to start from {Y}"
        )
    return demand


def whole_units(panel: pd.DataFrame, demand: np.ndarray, why: str) -> None:
    """Raise unless demand comes in whole units."""
    bad = demand != np.floor(demand)
    if bad.any():
        i = int(np.argmax(bad))
        raise PanelError(
            f"{why} moves whole units, but demand is fractional on {int(bad.sum())} row(s) "
            f"(first {panel[ID].iloc[i]} on {panel[DS].iloc[i].date()}, {demand[i]:g}): "
            "scale it to counts and round"
        )


def sister_groups(
    panel: pd.DataFrame, index: SeriesIndex, recapture: Recapture
) -> tuple[np.ndarray, np.ndarray]:
    """Group series by store and department if customers substitute, else each by itself.

    Returns
    -------
    ends : numpy.ndarray, shape (n_groups,)
    member : numpy.ndarray, shape (n_series,)
        Group g is the series ``member[ends[g - 1]:ends[g]]``, in panel order.
    """
    n = len(index.ids)
    if recapture.substitute == 0:
        return np.arange(1, n + 1), np.arange(n)
    missing = [c for c in _SISTERS if c not in panel.columns]
    if missing:
        raise PanelError(
            f"recapture.substitute needs {' and '.join(_SISTERS)}, but the panel lacks "
            f"{', '.join(missing)}; add them or set substitute=0"
        )
    store, dept = (panel[c].cat.codes.to_numpy()[index.starts].astype(np.int64) for c in _SISTERS)
    group = store * (dept.max() + 2) + dept
    member = np.argsort(group, kind="stable")
    return np.r_[np.flatnonzero(np.diff(group[member])) + 1, n], member


def _sample(
    ends: np.ndarray, member: np.ndarray, lengths: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Pick every k-th group, so that about `_SAMPLE_ROWS` rows are left."""
    step = min(max(int(lengths.sum()) // _SAMPLE_ROWS, 1), len(ends))
    if step == 1:
        return (ends, member), int(lengths.sum())
    groups = np.split(member, ends[:-1])[::step]
    chosen = np.concatenate(groups)
    return (np.cumsum([len(g) for g in groups]), chosen), int(lengths[chosen].sum())


def _first_days(panel: pd.DataFrame, starts: np.ndarray) -> np.ndarray:
    """Number each series' first period on the panel's calendar, shape (n_series,), int64."""
    ds = panel[DS].to_numpy().view("int64")
    calendar = np.unique(pd.unique(ds))
    return np.searchsorted(calendar, ds[starts]).astype(np.int64)
