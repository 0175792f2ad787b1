"""Jitted loops of the count mathematics over flat float64 arrays of one length."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from civstats.censoring import _count_math as scalar
from civstats.censoring._jit import drop_stale_cache, jit

SLOPE_TERMS_MAX = 1e5  # reached only for means ten thousand times the dispersion, far out


@jit
def log_pmf(out: np.ndarray, y: np.ndarray, eta: np.ndarray, alpha: np.ndarray) -> None:
    """Fill out with log P(D = y)."""
    for i in range(y.size):
        out[i] = scalar.log_pmf(y[i], eta[i], alpha[i])


@jit
def tail(
    below: np.ndarray,
    log_survival: np.ndarray,
    score: np.ndarray,
    excess: np.ndarray,
    c: np.ndarray,
    eta: np.ndarray,
    alpha: np.ndarray,
) -> None:
    """Fill P(D < c), log P(D >= c), its derivative and E[D - c | D >= c]."""
    for i in range(c.size):
        below[i], log_survival[i], score[i], excess[i] = scalar.tail(c[i], eta[i], alpha[i])


@jit
def sample_tail(
    out: np.ndarray, c: np.ndarray, eta: np.ndarray, alpha: np.ndarray, u: np.ndarray
) -> None:
    """Fill out with draws of D given D >= c."""
    for i in range(c.size):
        out[i] = scalar.sample_tail(c[i], eta[i], alpha[i], u[i])


@jit
def quantile(out: np.ndarray, prob: np.ndarray, eta: np.ndarray, alpha: np.ndarray) -> None:
    """Fill out with quantiles."""
    for i in range(prob.size):
        out[i] = scalar.quantile(prob[i], eta[i], alpha[i])


@jit
def derivatives(
    grad: np.ndarray,
    hess: np.ndarray,
    y: np.ndarray,
    eta: np.ndarray,
    alpha: np.ndarray,
    is_censored: np.ndarray,
) -> None:
    """Fill the first and second derivative of the log-likelihood in eta."""
    for i in range(y.size):
        mu = math.exp(min(eta[i], scalar.ETA_MAX))
        q = 1.0 / (1.0 + alpha[i] * mu)
        if is_censored[i]:
            _, _, score, excess = scalar.tail(y[i], eta[i], alpha[i])
            grad[i] = score
            hess[i] = 0.0 - score * excess * q
        else:
            grad[i] = (y[i] - mu) * q
            hess[i] = -mu * q * q * (1.0 + alpha[i] * y[i])


@jit
def _log_alpha_parts(y: float, mu: float, alpha: float, big: float) -> tuple[float, float, float]:
    """Return score and curvature in log alpha, and the cross term, of an exact count."""
    q = 1.0 / (1.0 + alpha * mu)
    p = alpha * mu * q
    first, second = 0.0, 0.0
    for j in range(1, int(y)):
        share = 1.0 / (1.0 + alpha * j)
        first += alpha * j * share
        second += alpha * j * share * share
    spread = big / alpha - mu * q
    return first - y * p + spread, second + (mu - y) * p * q - spread, (mu - y) * p * q


@jit
def _log_alpha_above(
    c: float, eta: float, mu: float, alpha: float, big: float
) -> tuple[float, float, float]:
    """Return the same three for log P(D >= c), summed from c upwards."""
    q = 1.0 / (1.0 + alpha * mu)
    x, p = mu * q, alpha * mu * q
    base, curve, cross = _log_alpha_parts(c, mu, alpha, big)
    weight, total = 1.0, 1.0
    # Deviations from the value at c: the covariances below do not cancel in the far tail.
    mean_s = mean_e = mean_ss = mean_se = mean_h = mean_x = 0.0
    step, bend, k = 0.0, 0.0, 0.0
    while True:
        share = 1.0 / (1.0 + alpha * (c + k))
        step += alpha * (c + k) * share - p
        bend += alpha * (c + k) * share * share - p * q
        ratio = x * (1.0 + alpha * (c + k)) / (c + k + 1.0)
        weight *= ratio
        k += 1.0
        total += weight
        mean_s += weight * step
        mean_e += weight * k * q
        mean_ss += weight * step * step
        mean_se += weight * step * k * q
        mean_h += weight * bend
        mean_x -= weight * k * p * q
        left = 1.0 - max(ratio, p)
        done = left > 0.0 and weight * (k + 1.0) <= 1e-15 * total * left * left
        if done or weight == 0.0 or k >= SLOPE_TERMS_MAX:
            break
    s, e = mean_s / total, mean_e / total
    variance = mean_ss / total - s * s
    covariance = mean_se / total - s * e
    return base + s, curve + mean_h / total + variance, cross + mean_x / total + covariance


@jit
def _log_alpha_below(
    c: float, eta: float, mu: float, alpha: float, big: float, over: float, score: float
) -> tuple[float, float, float]:
    """Return the same three from the pmf below c, where P(D >= c) is not small."""
    q = 1.0 / (1.0 + alpha * mu)
    p = alpha * mu * q
    spread = big / alpha - mu * q
    first, second, cross, rise, bend = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(int(c)):
        pmf = math.exp(scalar.log_pmf(float(k), eta, alpha))
        s = rise - k * p + spread
        first -= pmf * s
        second -= pmf * (bend + (mu - k) * p * q - spread + s * s)
        cross -= pmf * ((mu - k) * p * q + s * (k - mu) * q)
        share = 1.0 / (1.0 + alpha * k)
        rise += alpha * k * share
        bend += alpha * k * share * share
    first /= over
    return first, second / over - first * first, cross / over - first * score


@jit
def log_alpha_derivatives(
    grad: np.ndarray,
    hess: np.ndarray,
    cross: np.ndarray,
    y: np.ndarray,
    eta: np.ndarray,
    alpha: np.ndarray,
    is_censored: np.ndarray,
) -> None:
    """Fill the derivatives of the log-likelihood in log alpha, and the cross term with eta."""
    for i in range(y.size):
        log_mu = min(eta[i], 200.0)  # the square of mu must not overflow
        mu = math.exp(log_mu)
        big = math.log1p(alpha[i] * mu)
        if math.isnan(eta[i]):
            parts = (math.nan, math.nan, math.nan)
        elif alpha[i] == 0.0 or (is_censored[i] and y[i] <= 0.0):
            parts = (0.0, 0.0, 0.0)
        elif not is_censored[i]:
            parts = _log_alpha_parts(y[i], mu, alpha[i], big)
        else:
            _, log_over, score, _ = scalar.tail(y[i], log_mu, alpha[i])
            # Above needs some 40 / (1 - p) terms; below c terms, and digits of the survival.
            slow = alpha[i] * mu > 100.0
            if log_over > (-15.0 if slow else -3.0):
                parts = _log_alpha_below(y[i], log_mu, mu, alpha[i], big, math.exp(log_over), score)
            else:
                parts = _log_alpha_above(y[i], log_mu, mu, alpha[i], big)
        grad[i], hess[i], cross[i] = parts


def over_arrays(kernel: Callable[..., None], n_out: int, *inputs: object) -> tuple[np.ndarray, ...]:
    """Run a kernel over broadcast inputs; return `n_out` arrays of the broadcast shape."""
    given = [np.asarray(a) for a in inputs]
    shape = np.broadcast_shapes(*(a.shape for a in given))
    # Views that numpy broadcasts carry a flag that warns when numba looks at it: those are copied.
    arrays = [a if a.shape == shape else np.array(np.broadcast_to(a, shape)) for a in given]
    flat = [
        np.ascontiguousarray(a, dtype=bool if a.dtype == bool else np.float64).reshape(-1)
        for a in arrays
    ]
    out = [np.empty(flat[0].size) for _ in range(n_out)]
    kernel(*out, *flat)
    return tuple(o.reshape(shape) for o in out)


drop_stale_cache(__name__, tail)
