"""Jitted mixtures of counts over a distribution of levels: few nodes for many, and quantiles."""

from __future__ import annotations

import math

import numpy as np

from civstats.censoring import _count_math as counts
from civstats.demand_filter._jit import drop_stale_cache, jit

_PLAIN_MAX = 5.5  # log mean up to which probabilities are summed from zero
_TINY = 1e-15


@jit
def gauss_nodes(
    nodes: np.ndarray, weights: np.ndarray, levels: np.ndarray, mass: np.ndarray
) -> float:
    """Replace a distribution over many levels by one over few; return its total mass.

    The nodes are those of the Gauss quadrature of `mass`, from its own orthogonal polynomials
    (discretised Stieltjes procedure; Gautschi 2004, 2.2.3): m nodes carry the first 2 m moments.

    Parameters
    ----------
    nodes, weights : array of shape (m,)
        Filled; `weights` sum to the total. What is left over has weight 0.
    levels, mass : array of shape (G,)
    """
    total, mean = 0.0, 0.0
    for g in range(levels.size):
        total += mass[g]
        mean += mass[g] * levels[g]
    nodes[:] = 0.0
    weights[:] = 0.0
    if total <= 0.0:
        return 0.0
    mean /= total
    square = 0.0
    for g in range(levels.size):
        gap = levels[g] - mean
        square += mass[g] * gap * gap
    sd = math.sqrt(square / total)
    nodes[:] = mean
    weights[0] = total
    if sd <= 1e-9 * (1.0 + abs(mean)):
        return total
    z = (levels - mean) / sd
    p = mass / total
    m = nodes.size
    jacobi = np.zeros((m, m))
    before, now = np.zeros(z.size), np.ones(z.size)
    used = 0
    for k in range(m):
        a = 0.0
        for g in range(z.size):
            a += p[g] * z[g] * now[g] * now[g]
        jacobi[k, k] = a
        used = k + 1
        b = jacobi[k - 1, k] if k > 0 else 0.0
        grown = 0.0
        for g in range(z.size):
            value = (z[g] - a) * now[g] - b * before[g]
            before[g] = now[g]
            now[g] = value
            grown += p[g] * value * value
        # Fewer points of support than nodes: the polynomials end here.
        if k + 1 == m or grown < 1e-20:
            break
        root = math.sqrt(grown)
        jacobi[k, k + 1] = root
        jacobi[k + 1, k] = root
        for g in range(z.size):
            now[g] /= root
    values, vectors = np.linalg.eigh(jacobi[:used, :used])
    for k in range(used):
        nodes[k] = mean + sd * values[k]
        weights[k] = total * vectors[0, k] * vectors[0, k]
    return total


@jit
def gauss_days(
    nodes: np.ndarray, weights: np.ndarray, mass: np.ndarray, levels: np.ndarray, cells: np.ndarray
) -> None:
    """Do so for every day of a series: nodes, weights (n, m), mass (n,), cells (n, G)."""
    for t in range(cells.shape[0]):
        mass[t] = gauss_nodes(nodes[t], weights[t], levels, cells[t])


@jit
def _below(
    value: float, eta: np.ndarray, weights: np.ndarray, zero: float, alpha: np.ndarray
) -> float:
    """P(D <= value) of one day."""
    total = zero
    for j in range(eta.size):
        if weights[j] > 0.0:
            total += weights[j] * counts.cdf(value, eta[j], alpha[j])
    return total


@jit
def _far(
    prob: float, eta: np.ndarray, weights: np.ndarray, zero: float, alpha: np.ndarray
) -> float:
    """Quantile of one day by bisection, between the least and the largest of the components'."""
    low, high = -1.0, 0.0
    for j in range(eta.size):
        if weights[j] > 0.0:
            high = max(high, counts.quantile(prob, eta[j], alpha[j]))
    while high - low > 1.0:
        middle = math.floor(0.5 * (low + high))
        if not low < middle < high:
            break
        if _below(middle, eta, weights, zero, alpha) >= prob - _TINY:
            high = middle
        else:
            low = middle
    return high


@jit
def quantiles(
    out: np.ndarray,
    probs: np.ndarray,
    eta: np.ndarray,
    weights: np.ndarray,
    zero: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Fill the smallest counts whose cumulative probability reaches `probs`.

    Parameters
    ----------
    out : array of shape (n, n_probs)
    probs : array of shape (n_probs,)
        Ascending, in (0, 1).
    eta, weights : array of shape (n, m)
        Log means of a day's components, and their weights.
    zero : array of shape (n,)
        Weight of a demand of zero for sure; all weights of a day sum to 1.
    alpha : array of shape (n, m)
        Inverse dispersion of the components.
    """
    m = eta.shape[1]
    pmf, x = np.empty(m), np.empty(m)
    for i in range(eta.shape[0]):
        top = -math.inf
        for j in range(m):
            if weights[i, j] > 0.0:
                top = max(top, eta[i, j])
        if top > _PLAIN_MAX:
            for k in range(probs.size):
                out[i, k] = _far(probs[k], eta[i], weights[i], zero[i], alpha[i])
            continue
        below = zero[i]
        for j in range(m):
            pmf[j], x[j] = 0.0, 0.0
            if weights[i, j] > 0.0:
                pmf[j] = weights[i, j] * math.exp(counts.log_pmf(0.0, eta[i, j], alpha[i, j]))
                x[j] = 1.0 / (math.exp(-eta[i, j]) + alpha[i, j])
            below += pmf[j]
        count, k = 0.0, 0
        while k < probs.size:
            if below >= probs[k] - _TINY or count > counts.TERMS_MAX:
                out[i, k] = count
                k += 1
                continue
            for j in range(m):
                pmf[j] *= x[j] * (1.0 + alpha[i, j] * count) / (count + 1.0)
                below += pmf[j]
            count += 1.0


drop_stale_cache(__name__, gauss_nodes)
drop_stale_cache(__name__, gauss_days)
drop_stale_cache(__name__, quantiles)
