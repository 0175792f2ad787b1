"""Sums behind the CRPS of mixtures of negative binomials, up to a bound."""

from __future__ import annotations

import numpy as np
from numba import njit

_REST = 1e-13
"""Upper tail taken for 0: each unit between it and the outcome errs by twice as much at most."""
_GONE = 1e-18
"""Probability below which, beyond every mean, no term of the sum is left."""


@njit(nogil=True, cache=True, error_model="numpy")
def crps_negbin(
    out: np.ndarray,
    y: np.ndarray,
    bound: np.ndarray,
    first: np.ndarray,
    start: np.ndarray,
    weight: np.ndarray,
    mean: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Fill `out` with the sum over x < bound of (F(x) - 1{y <= x})^2.

    F is a mixture over the columns of `weight`, `mean`, `alpha` (inverse dispersion). A component
    begins at `first`, where its probability is `start`; below that it is negligible.
    """
    n, n_parts = weight.shape
    p = np.empty(n_parts)
    for i in range(n):
        begin = first[i, 0]
        for k in range(n_parts):
            begin = min(begin, first[i, k])
            p[k] = 0.0
        # Below the first component F is 0: each step past y costs 1.
        x = begin
        total = max(0.0, min(x, bound[i]) - y[i])
        below = 0.0
        while x < bound[i]:
            for k in range(n_parts):
                if x == first[i, k]:
                    p[k] = start[i, k]
                below += weight[i, k] * p[k]
            gap = below - (1.0 if y[i] <= x else 0.0)
            total += gap * gap
            for k in range(n_parts):
                grow = (1.0 + alpha[i, k] * x) * mean[i, k]
                p[k] *= grow / ((x + 1.0) * (1.0 + alpha[i, k] * mean[i, k]))
            x += 1.0
            left = 0.0
            for k in range(n_parts):
                left = max(left, p[k] if x > mean[i, k] else 1.0)
            # Rounded weights may never add up to 1: then the probabilities say that it is over.
            if 1.0 - below < _REST or left < _GONE:
                # F is 1 from here on: each step up to y costs 1.
                total += max(0.0, min(y[i], bound[i]) - x)
                break
        out[i] = total
