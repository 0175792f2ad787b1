"""What a panel's days say of the regression coefficients, the levels integrated out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from civstats.demand_filter.layout import BOUND, SILENT
from civstats.models.bayes import _walk_kernels as kernels
from civstats.models.bayes._layout import Layout, Sales

_SPREAD = 1.0
_LEAST_SD = 0.02


@dataclass(frozen=True)
class Known:
    """A Gaussian picture of the likelihood of the coefficients, by department.

    Attributes
    ----------
    at : numpy.ndarray, shape (n_departments, n_regressors)
        Where it was taken.
    slope : numpy.ndarray, shape (n_departments, n_regressors)
        Slopes of the log-likelihood there.
    information : numpy.ndarray, shape (n_departments, n_regressors, n_regressors)
        Less what the levels, which are not known, take away.
    """

    at: np.ndarray
    slope: np.ndarray
    information: np.ndarray

    def apart(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return directions in which each department's own coefficients are known one by one.

        Two events that fall on the same days are known by their sum alone. Coefficients of a block
        have the same spread about the mean, so their prior is the same in all directions.

        Parameters
        ----------
        block : numpy.ndarray of int, shape (n_regressors,)

        Returns
        -------
        turn : numpy.ndarray, shape (n_departments, n_regressors, n_regressors)
            Orthogonal, a column per direction, each within one block.
        hint, strength : numpy.ndarray, shape (n_departments, n_regressors)
            Best value and information of each direction, the others known.
        """
        turn = np.zeros_like(self.information)
        strength = np.zeros_like(self.at)
        for d, information in enumerate(self.information):
            for b in np.unique(block):
                own = np.flatnonzero(block == b)
                found = information[np.ix_(own, own)]
                value, vectors = np.linalg.eigh(0.5 * (found + found.T))
                turn[d][np.ix_(own, own)] = vectors
                strength[d, own] = np.maximum(value, 0.0)
        at, slope = (np.einsum("dkj,dk->dj", turn, x) for x in (self.at, self.slope))
        known = strength > 1e-8
        step = np.where(known, slope / np.where(known, strength, 1.0), 0.0)
        return turn, at + np.clip(step, -0.5, 0.5), strength

    def together(self, scale: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return directions in which the departments' mean is known one by one.

        Regressors that fall on the same days, such as promotion and price, are known together but
        not apart. In units of the prior's `scale` the prior is the same in all directions: the
        eigenvectors of the information are then those in which prior and likelihood part.

        Parameters
        ----------
        scale, between : numpy.ndarray, shape (n_regressors,)
            Standard deviations of the prior, and about that of departments around their mean.

        Returns
        -------
        turn : numpy.ndarray, shape (n_regressors, n_regressors)
            A column per direction, in units of `scale`.
        hint, strength : numpy.ndarray, shape (n_regressors,)
            Best value and information of each direction; the latter for departments that agree.
        """
        k = len(scale)
        apart = np.diag(np.square(np.maximum(between, _LEAST_SD)))
        total, push, alike = np.zeros((k, k)), np.zeros(k), np.zeros((k, k))
        for at, slope, information in zip(self.at, self.slope, self.information, strict=True):
            damped = np.linalg.solve(np.eye(k) + information @ apart, np.eye(k))
            total += damped @ information
            push += damped @ (information @ at + slope)
            alike += information
        total = scale[:, None] * (0.5 * (total + total.T)) * scale
        value, turn = np.linalg.eigh(total)
        known = value > 1e-8
        hint = np.where(known, turn.T @ (scale * push) / np.where(known, value, 1.0), 0.0)
        strength = np.einsum("kj,k,kl,l,lj->j", turn, scale, alike, scale, turn)
        return turn, np.clip(hint, -10.0, 10.0), np.maximum(strength, 0.0)


def tell(
    layout: Layout,
    sales: Sales,
    family: Any,
    offset: np.ndarray,
    beta: np.ndarray,
    level: np.ndarray,
    info: np.ndarray,
    drift: np.ndarray,
) -> Known:
    """Return what the days say of the coefficients, seen from `beta` and the levels' mode there."""
    obs, n = sales.obs, len(layout.names["department"])
    k = layout.matrix.shape[1]
    speaks, share = obs.kind != SILENT, np.ones(obs.n_rows)
    if obs.exposure is not None:
        share = obs.exposure
    slope, curve = family.grad_hess(obs.y, level[layout.node] + offset, obs.kind == BOUND, share)
    slope = np.where(speaks, slope, 0.0)
    weight = np.where(speaks, np.maximum(-curve, 0.0), 0.0)
    row, node = layout.row_department, layout.department[layout.node_series]
    steps, spread = drift[layout.department], np.full(obs.n_series, _SPREAD)
    base, still = np.zeros(obs.n_series), np.zeros(layout.n_nodes)
    sums, moved = np.zeros((2, layout.n_nodes, k))
    for j in range(k):
        sums[:, j] = np.bincount(
            layout.node, weight * layout.matrix[:, j], minlength=layout.n_nodes
        )
        mean = np.where(info > 1e-8, sums[:, j] / np.maximum(info, 1e-8), 0.0)
        made, pivot, middle = np.empty_like(still), np.empty_like(still), np.empty_like(still)
        kernels.walk_forward(
            still, base, steps, spread, mean, info, layout.starts, made, pivot, middle
        )
        moved[:, j] = made
    pushes, found = np.zeros((n, k)), np.zeros((n, k, k))
    for d in range(n):
        own, nodes = row == d, node == d
        x = layout.matrix[own].astype(np.float64)
        pushes[d] = slope[own] @ x
        taken = sums[nodes].T @ moved[nodes]
        found[d] = x.T @ (weight[own][:, None] * x) - 0.5 * (taken + taken.T)
    return Known(beta, pushes, found)
