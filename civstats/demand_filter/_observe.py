"""Jitted likelihood of a day at every level of the grid, for every family."""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _row_kernels as rows
from civstats.demand_filter import _chain as chain
from civstats.demand_filter._jit import drop_stale_cache, jit

POISSON, NEGBIN, ZERO_INFLATED, NORMAL, LOGNORMAL = 0, 1, 2, 3, 4  # as in parameters.FAMILIES
BOUND, SILENT = 1, 2  # as in layout
WORK_ROWS = 3


@jit
def says_nothing(family: int, kind: int, y: float) -> bool:
    """Tell whether a day carries no likelihood: silent, or a bound that always holds."""
    return kind == SILENT or (kind == BOUND and y <= 0.0 and family != NORMAL)


@jit
def fill_loglik(
    out: np.ndarray,
    family: int,
    kind: int,
    y: float,
    shift: float,
    slope: float,
    levels: np.ndarray,
    rates: np.ndarray,
    parameters: np.ndarray,
    table: np.ndarray,
    work: np.ndarray,
) -> None:
    """Fill out with the log-likelihood of a day that says something, by level, in stock.

    `shift` is what is added to the level (offset plus log exposure), `slope` what multiplies it
    (the exposure, for the normal family alone).
    """
    spread = parameters[chain.SPREAD]
    if family == NORMAL:
        rows.normal(out, y, kind == BOUND, levels, slope, shift, spread)
    elif family == LOGNORMAL:
        if y <= 0.0:
            out[:] = -math.inf
            return
        rows.normal(out, math.log(y), kind == BOUND, levels, 1.0, shift, spread)
        if kind != BOUND:
            jacobian = math.log(y)
            for g in range(out.size):
                out[g] -= jacobian
    else:
        if kind == BOUND:
            rows.bound_count(out, y, levels, rates, shift, spread, table, work)
        else:
            rows.exact_count(out, y, levels, rates, shift, spread, table)
        if family == ZERO_INFLATED:
            rows.inflate(out, y, kind == BOUND, parameters[chain.ZERO_PROB])


drop_stale_cache(__name__, fill_loglik)
