"""The same chain, slowly and obviously: dense transition matrices and scipy's distributions."""

from __future__ import annotations

import numpy as np
from scipy import stats

EXACT, BOUND, SILENT = 0, 1, 2
UNKNOWN, IN, OUT = 0, 1, 2


def level_matrix(levels, level_sd, phi, mean, drift=0.0):
    """Transition matrix of one day and the number of birth-death substeps in it.

    A random walk: a power of a birth-death matrix with reflecting ends, whose moves have the mean
    and the variance of a substep. A damped level: first the
    pull to the point next to mean + phi (l - mean), with two neighbours, which carries at most
    d^2 / 2 of the variance, then birth-death moves for the rest.
    """
    n, d = len(levels), levels[1] - levels[0]
    v = level_sd**2 / d**2
    pull = np.eye(n)
    m = max(1, int(np.ceil(2 * v - 1e-9)))
    if phi < 1:
        own = min(v, 0.5)
        v = v - own
        m = int(np.ceil(2 * v - 1e-9))
        pull = np.zeros((n, n))
        for g in range(n):
            goal = (mean + phi * (levels[g] - mean) - levels[0]) / d
            near = int(np.floor(goal + 0.5))
            part = goal - near
            either = max(own + part**2, abs(part))
            for to, chance in (
                (near + 1, (either + part) / 2), (near - 1, (either - part) / 2), (near, 1 - either)
            ):  # fmt: skip
                pull[g, np.clip(to, 0, n - 1)] += chance
    one = np.zeros((n, n))
    for g in range(n):
        if not m:
            up = down = 0.0
        else:
            # Two equations: mean (up - down) d, variance (up + down) d^2 less the mean's square.
            first, second = drift / m / d, v / m + (drift / m / d) ** 2
            up, down = (second + first) / 2, (second - first) / 2
        if g + 1 < n:
            one[g, g + 1] = up
        if g > 0:
            one[g, g - 1] = down
        one[g, g] = 1 - one[g].sum()
    return pull @ np.linalg.matrix_power(one, m), m


def drift_of(p):
    """Mean of a day's step: given, or minus half the variance of a random walk of the log."""
    if p.get("level_drift") is not None:
        return p["level_drift"]
    walks = p.get("damping", 1.0) == 1 and p["family"] != "normal"
    return -(p["level_sd"] ** 2) / 2 if walks else 0.0


def likelihood(levels, family, spread, pi, kind, y, offset, exposure):
    """Likelihood of a day in stock, by level, from scipy."""
    if kind == SILENT:
        return np.ones_like(levels)
    eta = levels + offset
    if family == "normal":
        law = stats.norm(exposure * eta, spread)
        return law.sf(y) if kind == BOUND else law.pdf(y)
    if family == "lognormal":
        if y <= 0:
            return np.ones_like(levels) if kind == BOUND else np.zeros_like(levels)
        law = stats.norm(eta + np.log(exposure), spread)
        return law.sf(np.log(y)) if kind == BOUND else law.pdf(np.log(y)) / y
    mu = np.exp(eta) * exposure
    if family == "poisson" or np.isinf(spread):
        law = stats.poisson(mu)
    else:
        law = stats.nbinom(spread, spread / (spread + mu))
    if kind == BOUND:
        return (1 - pi) * law.sf(y - 1) if y > 0 else np.ones_like(levels)
    return (1 - pi) * law.pmf(y) + pi * (y == 0)


def run(levels, p, y, kind, status, offset, exposure=None):
    """Return loglik, predicted, filtered, smoothed (T, S, G), pair sums and the transition matrix.

    `p` is a dict: family, dispersion, level_sd, damping, level_mean, zero_inflation, prior_mean,
    prior_sd, and out_rate, back_rate or None. Scaled sums over all paths by matrix products of the
    whole chain (both states stacked), forward and backward with the likelihoods themselves.
    """
    hidden = p.get("out_rate") is not None
    n, T, S = len(levels), len(y), 2 if hidden else 1
    exposure = np.ones(T) if exposure is None else exposure
    mean = p.get("level_mean", p["prior_mean"])
    A, m = level_matrix(levels, p["level_sd"], p.get("damping", 1.0), mean, drift_of(p))
    start = stats.norm.pdf(levels, p["prior_mean"], p["prior_sd"])
    start = start / start.sum()
    if hidden:
        o, b = p["out_rate"], p["back_rate"]
        A = np.kron(np.array([[1 - o, o], [b, 1 - b]]), A)
        share = o / (o + b) if b > 0 else 0.0
        start = np.r_[(1 - share) * start, share * start]
    L = np.empty((T, S * n))
    for t in range(T):
        lik = likelihood(
            levels, p["family"], p.get("dispersion", np.inf), p.get("zero_inflation", 0.0),
            kind[t], y[t], offset[t], exposure[t],
        )  # fmt: skip
        if hidden:
            silent = kind[t] == SILENT or (kind[t] == BOUND and y[t] <= 0)
            out = np.full(n, float(silent or y[t] == 0))
            lik = np.r_[lik * (status[t] != OUT), out * (status[t] != IN)]
        L[t] = lik
    alpha, predicted, loglik = np.empty((T, S * n)), np.empty((T, S * n)), 0.0
    for t in range(T):
        predicted[t] = start if t == 0 else alpha[t - 1] @ A
        alpha[t] = predicted[t] * L[t]
        total = alpha[t].sum()
        loglik += np.log(total)
        alpha[t] /= total
    beta = np.ones((T, S * n))
    pairs = []
    for t in range(T - 2, -1, -1):
        beta[t] = A @ (L[t + 1] * beta[t + 1])
        beta[t] /= beta[t].max()
    smoothed = alpha * beta
    smoothed /= smoothed.sum(axis=1, keepdims=True)
    for t in range(T - 1):
        joint = alpha[t][:, None] * A * (L[t + 1] * beta[t + 1])[None, :]
        pairs.append((joint / joint.sum()).reshape(S, n, S, n))
    shape = (T, S, n)
    return {
        "loglik": loglik,
        "predicted": predicted.reshape(shape),
        "filtered": alpha.reshape(shape),
        "smoothed": smoothed.reshape(shape),
        "pairs": pairs,
        "substeps": m,
    }


def enumerate_loglik(levels, p, y, kind, status, offset):
    """Sum over every single path of a chain without hidden state: for very short series."""
    from itertools import product

    mean = p.get("level_mean", p["prior_mean"])
    A, _ = level_matrix(levels, p["level_sd"], p.get("damping", 1.0), mean, drift_of(p))
    start = stats.norm.pdf(levels, p["prior_mean"], p["prior_sd"])
    start = start / start.sum()
    L = [
        likelihood(levels, p["family"], p.get("dispersion", np.inf), p.get("zero_inflation", 0.0),
                   kind[t], y[t], offset[t], 1.0)
        for t in range(len(y))
    ]  # fmt: skip
    total = 0.0
    for path in product(range(len(levels)), repeat=len(y)):
        weight = start[path[0]] * L[0][path[0]]
        for t in range(1, len(y)):
            weight *= A[path[t - 1], path[t]] * L[t][path[t]]
        total += weight
    return np.log(total)
