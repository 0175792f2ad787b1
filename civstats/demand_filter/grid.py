"""Each series' grid of levels: an equally spaced lattice, as wide as prior and data ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from civstats.demand_filter.layout import Observations
from civstats.demand_filter.parameters import COLUMNS, COUNTS, FAMILIES, FilterParameters
from civstats.schema import CivstatsError

SPACING = 0.5
"""Spacing over the standard deviation of the filtered level where the data say most."""
COVER = 5.0
"""Standard deviations of the prior and of the filtered level that the grid covers."""
WIDEST = 0.5
"""Largest spacing in log units."""
MOST = 20_000
"""Most points of a grid."""
_ROUND = 8  # whole vectors


@dataclass(frozen=True)
class Grid:
    """Levels of series i: ``anchor[i] + spacing[i] * (first[i] + g)``, g in ``range(size[i])``.

    A lattice with a fixed anchor: a grid that is widened keeps its points.

    Attributes
    ----------
    anchor, spacing : numpy.ndarray of float64, shape (n_series,)
    first, size : numpy.ndarray of int64, shape (n_series,)
    """

    anchor: np.ndarray
    spacing: np.ndarray
    first: np.ndarray
    size: np.ndarray

    def levels(self, series: int) -> np.ndarray:
        """Return the levels of one series, shape (size,)."""
        steps = self.first[series] + np.arange(self.size[series])
        return self.anchor[series] + self.spacing[series] * steps

    def take(self, series: np.ndarray | list[int] | slice) -> Grid:
        """Return the grids of some series, by position."""
        return Grid(
            self.anchor[series], self.spacing[series], self.first[series], self.size[series]
        )

    def cells(self, n_states: int) -> np.ndarray:
        """Return where each series' cells start in a flat array, shape (n_series + 1,)."""
        return np.r_[0, np.cumsum(self.size * n_states)].astype(np.int64)

    def widened(self, low: np.ndarray, high: np.ndarray) -> Grid:
        """Return the grids with at least `low` and `high` more points at their ends.

        Raises
        ------
        CivstatsError
            If a grid would outgrow `MOST` points.
        """
        size = self.size + low + high
        extra = -size % _ROUND
        below = np.where(high > 0, extra // 2, extra) * (low > 0)
        grown = Grid(self.anchor, self.spacing, self.first - low - below, size + extra)
        _refuse_huge(grown)
        return grown


def _refuse_huge(grid: Grid) -> None:
    huge = grid.size > MOST
    if huge.any():
        i = int(np.argmax(huge))
        raise CivstatsError(
            f"the level of {int(huge.sum())} series asks for more than {MOST} grid points, first "
            f"series {i} with {int(grid.size[i])} of {grid.spacing[i]:.3g}: give prior_sd, level_sd "
            "or dispersion values nearer to each other, or a grid of your own; in a fitted filter, series of "
            "means thousands of times apart that share a group (dept_id) do this: give them groups of "
            "their own, or fit them apart"
        )


def build_grid(
    obs: Observations, params: FilterParameters, *, spacing: float = SPACING, cover: float = COVER
) -> Grid:
    """Place a grid for every series.

    The spacing is a share of the standard deviation that the filtered level settles to where the
    series sells most, ``sqrt(level_sd * obs_sd)`` with obs_sd the inverse root of the information
    of a day; the lattice is anchored at the prior mean. The range holds `cover` standard
    deviations of the prior, and of the level around a rough estimate of where it runs. The range
    decides results no further than the mass at its ends, which the passes check.

    Parameters
    ----------
    obs : Observations
    params : FilterParameters
    spacing, cover : float

    Returns
    -------
    Grid

    Raises
    ------
    CivstatsError
        If a series would need too many points.

    Notes
    -----
    The grid reads all days it is given. Where a filtered value must not depend on later days to
    the last bit, build it from the earlier days and pass it on.
    """
    from civstats.demand_filter._prefit import rough_range

    n = obs.n_series
    matrix = params.matrix(n)
    columns = {name: matrix[:, k] for k, name in enumerate(COLUMNS)}
    rough = np.empty((n, 4))
    family = FAMILIES.index(params.family)
    shift, slope = shifts(obs.offset, obs.exposure, params.family)
    rough_range(rough, obs.starts, obs.ends, obs.y, obs.kind, shift, slope, family, matrix)
    low, high, peak, spoke = rough.T
    level_sd, prior_sd = np.sqrt(columns["level_var"]), columns["prior_sd"]
    settled = _settled_sd(params, columns, peak, spoke, obs.lengths)
    d = spacing * np.maximum(settled, 1e-4)
    d = np.minimum(d, spacing * np.maximum(prior_sd, 3 * level_sd) + 1e-9)
    d = np.where(prior_sd + level_sd > 0, d, 1e-3)
    damping = columns["damping"]
    # Twice that, and a pull by half a cell would spread further than the variance of a day.
    d = np.where((damping < 1) & (level_sd > 0), np.minimum(d, np.sqrt(2) * level_sd), d)
    if params.log_link:
        d = np.minimum(d, WIDEST)
    # A wider cell could not hold the drift: a move against it would have less than no chance.
    drift = np.abs(columns["level_drift"])
    with np.errstate(divide="ignore", invalid="ignore"):
        widest = np.where(drift > 0, np.square(level_sd) / drift, np.inf)
    d = np.minimum(d, widest)
    d = 2.0 ** (np.floor(4 * np.log2(d)) / 4)
    walk = level_sd * np.sqrt(obs.lengths)
    quiet = np.minimum(
        _settled_sd(params, columns, low, spoke, obs.lengths), np.hypot(prior_sd, walk)
    )
    mean = columns["prior_mean"]
    bottom = np.minimum(mean - cover * prior_sd, low - cover * quiet)
    top = np.maximum(mean + cover * prior_sd, high + cover * settled)
    first = np.floor((bottom - mean) / d).astype(np.int64)
    last = np.ceil((top - mean) / d).astype(np.int64)
    size = last - first + 1
    size = np.maximum(size, 3 * _ROUND)
    size += -size % _ROUND
    grid = Grid(mean.copy(), d, first - (size - (last - first + 1)) // 2, size)
    _refuse_huge(grid)
    return grid


def _settled_sd(
    params: FilterParameters,
    columns: dict[str, np.ndarray],
    level: np.ndarray,
    spoke: np.ndarray,
    lengths: np.ndarray,
) -> np.ndarray:
    """Return the standard deviation the filtered level settles to around a level."""
    if params.family in COUNTS:
        mu = np.exp(np.minimum(level, 300.0))
        information = mu / (1 + columns["spread"] * mu)
        information = information * (1 - columns["zero_inflation"])
    else:
        information = 1 / columns["spread"] ** 2
    steady = np.sqrt(np.sqrt(columns["level_var"] / information))
    precision = 1 / np.maximum(columns["prior_sd"], 1e-6) ** 2 + spoke * information
    return np.maximum(steady, 1 / np.sqrt(precision))


def shifts(
    offset: np.ndarray, exposure: np.ndarray | None, family: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the kernels add to the level, and what multiplies it (normal family alone)."""
    if exposure is None:
        return offset, np.empty(0)
    if family == "normal":
        return offset * exposure, exposure
    return offset + np.log(exposure), np.empty(0)
