"""Offsets learned jointly with the level: a pooled regression that alternates with the filter.

Each round the filter says, with the level integrated out, how the likelihood rises with every day's
offset; a weighted least squares step (statsmodels) moves the coefficients there, pooled first and
then by group with shrinkage towards the pool. It is Fisher scoring with the information of known
levels: every round raises the marginal likelihood, and where it stops is a stationary point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter.responses import Responses

Respond = Callable[[np.ndarray], Responses]
"""From the offsets of all rows to what the filter says of them."""

TOLERANCE = 2e-6
"""Rise of the log-likelihood per informative day, still to come, below which alternating stops."""
RELAX = 1.6
"""Length of a step. Below 2 it still converges, since the information used is that of known levels
and so at least the one there is; the directions that the level can mimic gain the most."""
_LEAST_SD = 1e-3
_START_SD = 0.15


@dataclass(frozen=True)
class OffsetCoefficients:
    """Coefficients of the offsets.

    Attributes
    ----------
    names : tuple of str
    pooled : numpy.ndarray, shape (n_names,)
    groups : numpy.ndarray, shape (n_groups, n_names)
        Pooled plus each group's own, shrunk, departure.
    between_sd : numpy.ndarray, shape (n_names,)
        Estimated standard deviation of the departures.
    logliks : list of float
        Log marginal likelihood by round.
    result : statsmodels results, optional
        The last pooled regression; its ``summary()`` prints it. Standard errors take the levels as
        known and days as independent.
    trees : str
        What LightGBM adds, in its own text format; empty without.
    centre : pandas.Series, optional
        By series: mean of what the trees say of its days, taken off, since it belongs to the level.
    """

    names: tuple[str, ...]
    pooled: np.ndarray
    groups: np.ndarray
    between_sd: np.ndarray
    logliks: list[float] = field(default_factory=list)
    result: Any = None
    trees: str = ""
    centre: pd.Series | None = None

    def offsets(self, matrix: np.ndarray, group: np.ndarray) -> np.ndarray:
        """Return the regression's offset of rows with regressors `matrix` in groups `group`."""
        out = np.empty(len(matrix))
        for g in np.unique(group):
            rows = group == g
            out[rows] = matrix[rows] @ self.groups[g]
        return out

    def start_of(self, n_groups: int) -> OffsetCoefficients:
        """Return the same coefficients for another number of groups, all at the pool."""
        groups = np.tile(self.pooled, (n_groups, 1))
        return OffsetCoefficients(self.names, self.pooled, groups, self.between_sd)


def zero_offsets(names: tuple[str, ...], n_groups: int) -> OffsetCoefficients:
    """Return coefficients of 0."""
    k = len(names)
    return OffsetCoefficients(names, np.zeros(k), np.zeros((n_groups, k)), np.full(k, _START_SD))


def fit_offsets(
    respond: Respond,
    matrix: np.ndarray,
    group: np.ndarray,
    prior_sd: np.ndarray,
    start: OffsetCoefficients,
    *,
    max_rounds: int = 12,
) -> OffsetCoefficients:
    """Alternate between the filter and a regression until the likelihood stops rising.

    Parameters
    ----------
    respond : callable
    matrix : numpy.ndarray, shape (n_rows, n_names)
    group : numpy.ndarray of int, shape (n_rows,)
        0 .. n_groups - 1.
    prior_sd : numpy.ndarray, shape (n_names,)
        Of the pooled coefficients, around 0.
    start : OffsetCoefficients
    max_rounds : int
    """
    found, relax = start, RELAX
    history: list[float] = []
    kept: OffsetCoefficients | None = None
    for _ in range(max_rounds + 1):
        offset = found.offsets(matrix, group)
        said = respond(offset)
        spoken = said.info > 0
        loglik = float(said.loglik.sum())
        if kept is not None and loglik < history[-1]:
            # A step that lowers the likelihood is not taken; a shorter one may raise it.
            if relax == 1.0:
                found = kept
                break
            relax, found = 1.0, kept
            continue
        history.append(loglik)
        if len(history) > max_rounds or not spoken.any():
            break
        if _left(history) < TOLERANCE * int(spoken.sum()):
            break
        kept = found
        found = _step(
            found, matrix[spoken], group[spoken], offset[spoken], said, spoken, prior_sd, relax
        )
    else:
        found = kept or found
    return OffsetCoefficients(
        found.names, found.pooled, found.groups, found.between_sd, history, found.result
    )


def _left(history: list[float]) -> float:
    """Return the rise that is still to come if the last rises go on shrinking as they do."""
    if len(history) < 3:
        return np.inf
    last, before = history[-1] - history[-2], history[-2] - history[-3]
    ratio = min(last / before, 0.98) if before > 0 else 0.98
    return last * max(1.0, ratio / (1 - ratio))


def _step(
    now: OffsetCoefficients,
    matrix: np.ndarray,
    group: np.ndarray,
    offset: np.ndarray,
    said: Responses,
    spoken: np.ndarray,
    prior_sd: np.ndarray,
    relax: float,
) -> OffsetCoefficients:
    """Move all coefficients by one weighted least squares step."""
    weight = said.info[spoken]
    target = offset + relax * said.score[spoken] / weight
    z = np.asarray(matrix, dtype=np.float64)
    # The pool takes the groups' departures as they are.
    own = np.einsum("ij,ij->i", z, (now.groups - now.pooled)[group])
    pooled, result = _ridge(z, target - own, weight, np.zeros(z.shape[1]), prior_sd)
    if len(now.groups) == 1:
        return OffsetCoefficients(now.names, pooled, pooled[None, :], now.between_sd, result=result)
    groups, variance = np.empty_like(now.groups), np.empty_like(now.groups)
    sd = np.maximum(now.between_sd, _LEAST_SD)
    for g in range(len(groups)):
        rows = group == g
        if not rows.any():
            groups[g], variance[g] = pooled, np.square(sd)
            continue
        groups[g], variance[g] = _departures(z[rows], target[rows], weight[rows], pooled, sd)
    between = np.sqrt((np.square(groups - pooled) + variance).mean(axis=0))
    return OffsetCoefficients(now.names, pooled, groups, between, result=result)


def _ridge(
    z: np.ndarray, target: np.ndarray, weight: np.ndarray, centre: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, Any]:
    """Weighted least squares with a normal prior, its rows put below those of the data."""
    from statsmodels.regression.linear_model import WLS

    k = z.shape[1]
    fit = WLS(
        np.concatenate([target, centre]),
        np.vstack([z, np.eye(k)]),
        weights=np.concatenate([weight, 1 / np.square(sd)]),
        # Spares the search for a constant, a singular value decomposition of all rows.
        hasconst=False,
    ).fit(method="qr")
    return np.asarray(fit.params), fit


def _departures(
    z: np.ndarray, target: np.ndarray, weight: np.ndarray, centre: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same of a group, and the coefficients' variances, by the normal equations."""
    weighted = z * weight[:, None]
    information = z.T @ weighted + np.diag(1 / np.square(sd))
    covariance = np.linalg.inv(information)
    return covariance @ (weighted.T @ target + centre / np.square(sd)), np.diag(covariance)
