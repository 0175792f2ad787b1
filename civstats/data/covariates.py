"""Compact categories for the covariates of a panel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def category(codes: np.ndarray, names: Sequence[str]) -> pd.Categorical:
    """Return a categorical in the smallest integer type that holds its codes.

    Parameters
    ----------
    codes : numpy.ndarray of int, shape (n,)
        Positions in `names`; trusted, not checked.
    names : sequence of str

    Examples
    --------
    >>> list(category(np.array([1, 0]), ["a", "b"]))
    ['b', 'a']
    """
    dtype = pd.CategoricalDtype(pd.Index(list(names), dtype=object))
    return pd.Categorical.from_codes(
        codes.astype(code_dtype(len(names))), dtype=dtype, validate=False
    )


def code_dtype(n: int) -> type[np.signedinteger]:
    """Return the integer type in which pandas stores the codes of n categories."""
    return np.int8 if n < 128 else np.int16 if n < 32_768 else np.int32
