"""M5's twelve levels of aggregation: which series there are, and sums up to them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from civstats.schema import ID, STATIC, PanelError

ITEM, DEPT, CAT, STORE, STATE = STATIC
KEYS: dict[int, tuple[str, ...]] = {
    1: (),
    2: (STATE,),
    3: (STORE,),
    4: (CAT,),
    5: (DEPT,),
    6: (STATE, CAT),
    7: (STATE, DEPT),
    8: (STORE, CAT),
    9: (STORE, DEPT),
    10: (ITEM,),
    11: (STATE, ITEM),
    12: (ITEM, STORE),
}
"""What each level's series are totals by (Makridakis, Spiliotis and Assimakopoulos 2022)."""
BOTTOM = 12
OFFICIAL_SIZES = (1, 3, 10, 3, 7, 9, 21, 30, 70, 3049, 9147, 30490)
"""Number of series at each level of the competition."""
M5_LEVEL = "m5_level"
KEY_COLUMNS = ("key_1", "key_2")
_FROM = {11: 12, 10: 11, 9: 12, **dict.fromkeys(range(8, 0, -1), 9)}
"""The level that each level is summed from, in the order of summing."""
_NESTED = ((ITEM, DEPT), (DEPT, CAT), (STORE, STATE))


class Hierarchy:
    """The series of all levels, and how the bottom ones add up.

    Parameters
    ----------
    series : pandas.DataFrame
        ``unique_id, item_id, dept_id, cat_id, store_id, state_id``, a row per bottom series.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``m5_level, unique_id, key_1, key_2``: every series of levels 1 to 12, in that order. Names
        and keys are the competition's: ``Total_X``, ``CA_X``, ``CA_1_FOODS``, ``CA_FOODS_1_001``;
        bottom series keep their own names.
    codes : dict of int to numpy.ndarray, shape (n_bottom,)
        By level, each bottom series' number among the level's series.
    sizes : dict of int to int
        By level, the number of series.

    Raises
    ------
    PanelError
        For attributes that are missing or not nested, an item that is twice in a store, or names
        that repeat.

    Examples
    --------
    >>> h = Hierarchy(pd.DataFrame({
    ...     "unique_id": ["A_1_x", "A_1_y"], "item_id": "A_1", "dept_id": "A", "cat_id": "C",
    ...     "store_id": ["x", "y"], "state_id": "s"}))
    >>> h.sizes[3], h.sizes[10]
    (2, 1)
    """

    def __init__(self, series: pd.DataFrame) -> None:
        missing = [c for c in STATIC if c not in series.columns]
        if missing:
            raise PanelError(
                f"the panel lacks {', '.join(missing)}, which M5's levels are totals by; load it "
                "with civstats.data.m5.load_m5, or add the columns"
            )
        names = series[list(STATIC)].astype(object)
        if names.isna().any(axis=None):
            bad = names.isna().any(axis=1).to_numpy()
            raise PanelError(
                f"{int(bad.sum())} series without an attribute, first "
                f"{series[ID].iloc[int(bad.argmax())]}; fill them in"
            )
        _check_nested(names)
        self.codes: dict[int, np.ndarray] = {}
        self.sizes: dict[int, int] = {}
        blocks = []
        for level, keys in KEYS.items():
            block, self.codes[level] = _groups(names, series[ID], level, keys)
            self.sizes[level] = len(block)
            blocks.append(block)
        self.frame = pd.concat(blocks, ignore_index=True)
        repeated = self.frame[ID].duplicated()
        if repeated.any():
            raise PanelError(
                f"{int(repeated.sum())} name(s) stand for series of two levels, first "
                f"{self.frame.loc[repeated, ID].iloc[0]}; rename stores, items or departments"
            )
        self._steps = {fine: _first_of(self.codes[fine], self.sizes[fine]) for fine in (9, 11)}

    @property
    def rows(self) -> dict[int, slice]:
        """By level, the rows of `frame` that hold its series."""
        ends = np.cumsum([0, *self.sizes.values()])
        return {level: slice(ends[level - 1], ends[level]) for level in KEYS}

    def parents(self, level: int) -> tuple[int, np.ndarray]:
        """Return the finer level that a level is summed from, and the number of each part's sum.

        Parameters
        ----------
        level : int
            1 to 11.
        """
        fine = _FROM[level]
        codes = self.codes[level]
        return fine, codes if fine == BOTTOM else codes[self._steps[fine]]

    def totals(self, bottom: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each level's number and sums, shape (n_series, ...), from the bottom up.

        One level at a time is held, and the sums by store and department.

        Parameters
        ----------
        bottom : numpy.ndarray, shape (n_bottom, ...)
            In the order of the bottom series; sums are float64.
        """
        yield BOTTOM, bottom
        held: dict[int, np.ndarray] = {BOTTOM: bottom}
        for level in _FROM:
            fine, codes = self.parents(level)
            sums = group_sums(held[fine], codes, self.sizes[level])
            if level in (9, 11):
                held = {BOTTOM: bottom, level: sums}
            yield level, sums

    def all_totals(self, bottom: np.ndarray) -> np.ndarray:
        """Return the sums of all levels in the order of `frame`, (n_all, ...), float64."""
        out = np.empty((len(self.frame), *bottom.shape[1:]))
        for level, sums in self.totals(bottom):
            out[self.rows[level]] = sums
        return out


def group_sums(values: np.ndarray, codes: np.ndarray, n: int) -> np.ndarray:
    """Sum rows by group, in double precision; every group has a row.

    Examples
    --------
    >>> group_sums(np.array([[1.0], [2.0], [4.0]]), np.array([1, 0, 1]), 2).ravel()
    array([2., 5.])
    """
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(n))
    return np.add.reduceat(values[order], starts, axis=0, dtype=np.float64)


def _groups(
    names: pd.DataFrame, ids: pd.Series, level: int, keys: tuple[str, ...]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Name one level's series, sorted by their keys, and number the bottom series by them."""
    codes: np.ndarray
    if level == BOTTOM:
        pairs, codes = names[list(keys)].to_numpy(), np.arange(len(names))
        labels = ids.astype(object).to_numpy()
    elif not keys:
        pairs, codes = np.array([["Total", "X"]], dtype=object), np.zeros(len(names), dtype=int)
        labels = np.array(["Total_X"], dtype=object)
    else:
        codes = names.groupby(list(keys), sort=True).ngroup().to_numpy(dtype=np.int64)
        first = _first_of(codes, int(codes.max()) + 1)
        pairs = names[list(keys)].to_numpy()[first]
        if len(keys) == 1:
            pairs = np.c_[pairs, np.full(len(pairs), "X", dtype=object)]
        labels = pairs[:, 0] + "_" + pairs[:, 1]
    columns = {ID: labels, KEY_COLUMNS[0]: pairs[:, 0], KEY_COLUMNS[1]: pairs[:, 1]}
    return pd.DataFrame({M5_LEVEL: level, **columns}), codes


def _first_of(codes: np.ndarray, n: int) -> np.ndarray:
    """Return the first row of each group, shape (n,)."""
    order = np.argsort(codes, kind="stable")
    return order[np.searchsorted(codes[order], np.arange(n))]


def _check_nested(names: pd.DataFrame) -> None:
    for fine, coarse in _NESTED:
        pairs = names[[fine, coarse]].drop_duplicates()
        twice = pairs[fine].duplicated()
        if twice.any():
            raise PanelError(
                f"{int(twice.sum())} {fine} with more than one {coarse}, first "
                f"{pairs.loc[twice, fine].iloc[0]}; M5's levels are nested: mend the attributes"
            )
    twice = names[[ITEM, STORE]].duplicated()
    if twice.any():
        first = names.loc[twice].iloc[0]
        raise PanelError(
            f"{int(twice.sum())} series repeat an item and store, first {first[ITEM]} in "
            f"{first[STORE]}; a series is one item in one store"
        )
