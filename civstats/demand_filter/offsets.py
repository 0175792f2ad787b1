"""Offsets learned jointly with the level: a pooled regression that alternates with the filter.

Each round the filter says, with the level integrated out, how the likelihood rises with every day's
offset; a weighted least squares step moves the coefficients there, pooled first and then by group
with shrinkage towards the pool. It is Fisher scoring with the information of known levels: every
round raises the marginal likelihood, and where it stops is a stationary point. The steps solve the
normal equations; the last one is a regression of statsmodels, which can be asked for its summary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter._offset_information import OffsetInformation
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
    information : OffsetInformation, optional
        What the sample says of the pooled coefficients.
    """

    names: tuple[str, ...]
    pooled: np.ndarray
    groups: np.ndarray
    between_sd: np.ndarray
    logliks: list[float] = field(default_factory=list)
    result: Any = None
    trees: str = ""
    centre: pd.Series | None = None
    information: OffsetInformation | None = None

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
    regress: bool = True,
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
        0 for the last step alone.
    regress : bool
        Whether the last step is made by statsmodels, which takes some times as long as the others.
    """
    found, relax = start, RELAX
    history: list[float] = []
    kept: OffsetCoefficients | None = None
    rows_of = [np.flatnonzero(group == g) for g in range(len(start.groups))]
    last: tuple[Responses, np.ndarray] | None = None
    for _ in range(max_rounds + 1):
        offset = found.offsets(matrix, group)
        said = respond(offset)
        loglik = float(said.loglik.sum())
        if kept is not None and loglik < history[-1]:
            # A step that lowers the likelihood is not taken; a shorter one may raise it.
            if relax == 1.0:
                found = kept
                break
            relax, found = 1.0, kept
            continue
        history.append(loglik)
        last = said, offset
        spoken = int((said.info > 0).sum())
        if len(history) > max_rounds or not spoken:
            break
        if _left(history) < TOLERANCE * spoken:
            break
        kept = found
        found = _step(found, matrix, rows_of, offset, said, prior_sd, relax)
    else:
        found = kept or found
    if regress and last is not None and (last[0].info > 0).any():
        fit = _regression(found, matrix, group, last[1], last[0], prior_sd)
        pooled = np.asarray(fit.params)
        groups = found.groups + (pooled - found.pooled)
        found = replace(found, pooled=pooled, groups=groups, result=fit)
    return replace(found, logliks=history)


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
    rows_of: list[np.ndarray],
    offset: np.ndarray,
    said: Responses,
    prior_sd: np.ndarray,
    relax: float,
) -> OffsetCoefficients:
    """Move all coefficients by one weighted least squares step, by the normal equations."""
    k = matrix.shape[1]
    grams, sides = np.zeros((len(rows_of), k, k)), np.zeros((len(rows_of), k))
    for g, rows in enumerate(rows_of):
        z = matrix[rows].astype(np.float64)
        weight = said.info[rows]
        grams[g] = z.T @ (z * weight[:, None])
        # Weight times target, so that days without a weight need no target.
        sides[g] = (weight * offset[rows] + relax * said.score[rows]) @ z
    # The pool takes the groups' departures as they are.
    departures = now.groups - now.pooled
    side = (sides - np.einsum("gij,gj->gi", grams, departures)).sum(axis=0)
    precision = np.diag(1 / np.square(prior_sd))
    pooled = np.linalg.solve(grams.sum(axis=0) + precision, side)
    if len(rows_of) == 1:
        return OffsetCoefficients(now.names, pooled, pooled[None, :], now.between_sd)
    sd = np.maximum(now.between_sd, _LEAST_SD)
    covariance = np.linalg.inv(grams + np.diag(1 / np.square(sd)))
    groups = np.einsum("gij,gj->gi", covariance, sides + pooled / np.square(sd))
    variance = np.einsum("gii->gi", covariance)
    between = np.sqrt((np.square(groups - pooled) + variance).mean(axis=0))
    return OffsetCoefficients(now.names, pooled, groups, between)


def _regression(
    found: OffsetCoefficients,
    matrix: np.ndarray,
    group: np.ndarray,
    offset: np.ndarray,
    said: Responses,
    prior_sd: np.ndarray,
) -> Any:
    """Return the pooled step as a regression of statsmodels, the prior's rows below the data's."""
    from statsmodels.regression.linear_model import WLS

    spoken = said.info > 0
    weight, k = said.info[spoken], matrix.shape[1]
    z = matrix[spoken].astype(np.float64)
    own = np.einsum("ij,ij->i", z, (found.groups - found.pooled)[group[spoken]])
    target = offset[spoken] + said.score[spoken] / weight - own
    return WLS(
        np.concatenate([target, np.zeros(k)]),
        np.vstack([z, np.eye(k)]),
        weights=np.concatenate([weight, 1 / np.square(prior_sd)]),
        # Spares the search for a constant, a singular value decomposition of all rows.
        hasconst=False,
    ).fit(method="qr")
