"""What the days say of the offsets' coefficients, their levels unknown and stockouts unseen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from civstats.demand_filter.grid import build_grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.responses import Responses, responses

_STEP = 0.02
"""Of a coefficient, times its regressor's largest value: log units of the days it moves most."""
_SPACING = 0.8


@dataclass(frozen=True)
class OffsetInformation:
    """How well the coefficients are known, and how much of their error a day's mean keeps.

    Attributes
    ----------
    observed : numpy.ndarray, shape (n_names, n_names)
        Minus the second derivatives of the log marginal likelihood of the pool. Less than with
        levels known, most for what moves as slowly as they do, and less than with demand seen.
    kept : numpy.ndarray, shape (n_names,)
        Where a coefficient is off by d, the levels make up for it: the log mean of a day moves by
        about ``kept * d`` times its regressor. Near 1 for the day of week, near 0 for what the level
        follows.
    """

    observed: np.ndarray
    kept: np.ndarray


def measure(
    obs: Observations,
    params: FilterParameters,
    matrix: np.ndarray,
    *,
    max_rows: int,
    seed: int,
    n_jobs: int | None,
) -> OffsetInformation:
    """Measure both by differences of the exact score, a pass over the days for each coefficient.

    Parameters
    ----------
    obs : Observations
        With the estimated offsets.
    matrix : numpy.ndarray, shape (n_rows, n_names)
    max_rows : int
        Days of the series that it is measured on, drawn at random; their information is scaled to
        all.
    """
    picked = _some(obs, max_rows, seed)
    some, params = obs.take(picked), params.take(picked)
    z = matrix[obs.rows_of(picked)].astype(np.float64)
    grid = build_grid(some, params, spacing=_SPACING)

    def said(offset: np.ndarray) -> Responses:
        moved = some.with_offset(offset)
        return responses(moved, params, grid=grid, n_jobs=n_jobs, means=True)

    k = z.shape[1]
    base = said(some.offset)
    assert base.level is not None
    spoken = base.info > 0
    observed, kept = np.zeros((k, k)), np.ones(k)
    for j in range(k):
        largest = float(np.abs(z[:, j]).max())
        if largest == 0:
            continue
        step = _STEP / largest
        moved = said(some.offset + step * z[:, j])
        assert moved.level is not None
        observed[:, j] = -(moved.score - base.score) @ z / step
        follows = (moved.level - base.level)[spoken] / step
        own = z[spoken, j]
        size = float(own @ own)
        # On days that say nothing the coefficient is not known either.
        kept[j] = 1 + float(follows @ own) / size if size > 0 else 1.0
    total = obs.n_rows / max(some.n_rows, 1)
    return OffsetInformation(total * (observed + observed.T) / 2, np.clip(kept, 0.0, 1.0))


def _some(obs: Observations, max_rows: int, seed: int) -> np.ndarray:
    """Draw series, in their order, until they have `max_rows` days; one at least."""
    order = np.random.default_rng(seed).permutation(obs.n_series)
    enough = int(np.searchsorted(np.cumsum(obs.lengths[order]), max_rows)) + 1
    return np.sort(order[:enough])
