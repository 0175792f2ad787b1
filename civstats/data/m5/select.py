"""Which of M5's series a caller wants."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from civstats.schema import DataError

Choice = str | Sequence[str] | None


def select_rows(keys: Mapping[str, np.ndarray], wanted: Mapping[str, Choice]) -> np.ndarray:
    """Return the positions of the rows whose every attribute is among those wanted.

    Parameters
    ----------
    keys : mapping of str to numpy.ndarray of str, shape (n_rows,)
    wanted : mapping of str to (str, sequence of str or None)
        By attribute; None takes all.

    Raises
    ------
    DataError
        For a name that is not in the data (close matches are listed), or if nothing is left.
    """
    keep = np.ones(len(next(iter(keys.values()))), dtype=bool)
    chosen = {k: [v] if isinstance(v, str) else list(v) for k, v in wanted.items() if v is not None}
    for attribute, names in chosen.items():
        if not names:
            raise DataError(f"the list of {attribute} is empty; leave it out to take all")
        there = sorted(set(keys[attribute]))
        unknown = [str(x) for x in names if x not in there]
        if unknown:
            raise DataError(
                f"unknown {attribute} {', '.join(map(repr, unknown))}; {_hint(unknown[0], there)}"
            )
        keep &= np.isin(keys[attribute], names)
    if not keep.any():
        text = ", ".join(f"{k} in {', '.join(map(str, v))}" for k, v in chosen.items())
        raise DataError(f"no series has {text} at once; widen the selection")
    return np.flatnonzero(keep)


def _hint(name: str, there: list[str]) -> str:
    close = difflib.get_close_matches(name.upper(), there, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    more = f", ... ({len(there)} in all)" if len(there) > 10 else ""
    return f"the data hold {', '.join(there[:10])}{more}"


def best_sellers(ids: np.ndarray, totals: np.ndarray, top: int) -> np.ndarray:
    """Return the positions, in rising order, of the `top` series that sold most.

    Parameters
    ----------
    ids : numpy.ndarray of str, shape (n_series,)
        Ties are broken by name.
    totals : numpy.ndarray, shape (n_series,)
        Units sold.
    top : int

    Raises
    ------
    DataError
        If `top` is not a whole number from 1 to the number of series.
    """
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or top < 1:
        raise DataError(f"top must be a whole number of series, 1 or more, but got {top!r}")
    if top > len(ids):
        raise DataError(f"top = {top} asks for more than the {len(ids)} series selected; lower it")
    return np.sort(np.lexsort((ids, -totals))[:top])
