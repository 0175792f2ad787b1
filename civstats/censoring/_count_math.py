"""Jitted scalar mathematics of the negative binomial: pmf, tail, excess, quantile and tail sampler.

Everything is written in ``eta`` (log mean) and ``alpha = 1 / dispersion``, so that the Poisson is
the regular point ``alpha = 0`` and not a limit that is never reached. With ``x = mu / (1 + alpha
mu)`` the pmf obeys ``f(k + 1) = f(k) x (1 + alpha k) / (k + 1)``, and ``alpha x`` is the success
probability of the beta representation.
"""

from __future__ import annotations

import math

from civstats.censoring._jit import jit

HALF_LOG_2PI = 0.9189385332046727
ETA_DRAW_MAX = 27.6  # draws and quantiles treat means beyond 1e12 as 1e12
ETA_MAX = 690.0  # exp(690) still leaves room for the products below
FORWARD_MAX = 256.0  # longest plain sum from zero
TERMS_MAX = 1e5  # of any series: reached only beyond means of 1e8 or so, and then cut off
SERIES_P_MAX = 0.9  # beyond this success probability the continued fraction is the shorter way


@jit
def stirling_error(x: float) -> float:
    """Return log Gamma(x + 1) minus its Stirling approximation."""
    if x < 10.0:
        return math.lgamma(x + 1.0) - (x + 0.5) * math.log(x) + x - HALF_LOG_2PI
    z = 1.0 / (x * x)
    series = 1.0 / 1188.0 - z * 691.0 / 360360.0
    return (1 / 12.0 - z * (1 / 360.0 - z * (1 / 1260.0 - z * (1 / 1680.0 - z * series)))) / x


@jit
def bregman(t: float) -> float:
    """Return (1 + t) log(1 + t) - t without cancellation near zero."""
    if abs(t) > 0.15:
        return (1.0 + t) * math.log1p(t) - t
    total = 0.0
    power = t * t
    for k in range(2, 40):
        step = power / (k * (k - 1.0))
        total += step
        if abs(step) < 1e-17 * abs(total):
            break
        power *= -t
    return total


@jit
def log_pmf(y: float, eta: float, alpha: float) -> float:
    """Return log P(D = y) for integer y; saddle point form for large y (Loader, 2000)."""
    if math.isnan(eta) or math.isnan(y):
        return math.nan
    if y < 0.0:
        return -math.inf
    if eta == -math.inf:
        return 0.0 if y == 0.0 else -math.inf
    eta = min(eta, ETA_MAX)
    mu = math.exp(eta)
    big = math.log1p(alpha * mu)
    zero = -mu if alpha == 0.0 else -big / alpha
    if y < 16.0:
        total = y * (eta - big) - math.lgamma(y + 1.0) + zero
        for j in range(1, int(y)):
            total += math.log1p(j * alpha)
        return total
    small = math.log1p(alpha * y)
    if abs(y - mu) <= 0.1 * mu:
        deviance = mu * bregman((y - mu) / mu)
        if alpha > 0.0:
            t = alpha * mu
            deviance -= (1.0 + t) / alpha * bregman(alpha * (y - mu) / (1.0 + t))
    else:
        between = mu - y if alpha == 0.0 else (big - small) / alpha
        deviance = y * (math.log(y) - eta + big - small) + between
    total = -0.5 * math.log(y) - HALF_LOG_2PI - 0.5 * small - stirling_error(y) - deviance
    if alpha > 0.0:
        a = 1.0 / alpha
        total += stirling_error(a + y) - stirling_error(a)
    return total


@jit
def beta_fraction(a: float, b: float, x: float) -> float:
    """Return I_x(a, b) a B(a, b) / (x^a (1 - x)^b), DLMF 8.17.22 by Lentz's method."""
    tiny = 1e-300
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > tiny else tiny)
    f = d
    for m in range(1, 200_000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d = 1.0 + even * d
        c = 1.0 + even / c
        d = 1.0 / (d if abs(d) > tiny else tiny)
        c = c if abs(c) > tiny else tiny
        f *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d = 1.0 + odd * d
        c = 1.0 + odd / c
        d = 1.0 / (d if abs(d) > tiny else tiny)
        c = c if abs(c) > tiny else tiny
        f *= d * c
        if abs(d * c - 1.0) < 1e-15:
            break
    return f


@jit
def mills_series(c: float, x: float, alpha: float) -> tuple[float, float]:
    """Return S(c) / f(c) and E[D - c | D >= c], both sums of positive terms."""
    limit = alpha * x
    weight, ratio_sum, moment, k = 1.0, 1.0, 0.0, 0.0
    while True:
        ratio = x * (1.0 + alpha * (c + k)) / (c + k + 1.0)
        weight *= ratio
        k += 1.0
        ratio_sum += weight
        moment += k * weight
        left = 1.0 - max(ratio, limit)
        done = left > 0.0 and weight * (k + 1.0) <= 1e-17 * moment * left * left
        if done or weight == 0.0 or k >= TERMS_MAX:
            return ratio_sum, moment / ratio_sum


@jit
def upper_tail(c: float, mu: float, eta: float, x: float, alpha: float) -> tuple[float, ...]:
    """Return log S(c), d log S / d eta and the excess, from the pmf at c upwards."""
    if alpha * x < SERIES_P_MAX:
        mills, excess = mills_series(c, x, alpha)
    else:
        mills = beta_fraction(c, 1.0 / alpha, alpha * x)
        excess = mu + c / mills * (1.0 + alpha * mu) - c
    return min(0.0, log_pmf(c, eta, alpha) + math.log(mills)), c / mills, excess


@jit
def below(c: float, eta: float, x: float, alpha: float, big: float) -> tuple[float, float, float]:
    """Return F = P(D < c), S = P(D >= c) and f(c), from the pmf below c."""
    zero = -x if alpha == 0.0 else -big / alpha
    if c <= FORWARD_MAX and zero > -650.0:
        pmf = math.exp(zero)
        first, total = pmf, 0.0
        for k in range(int(c) - 1):
            pmf *= x * (1.0 + alpha * k) / (k + 1.0)
            total += pmf
        pmf *= x * (1.0 + alpha * (c - 1.0)) / c
        return first + total, -math.expm1(zero) - total, pmf
    pmf = math.exp(log_pmf(c, eta, alpha))
    if alpha * c > 1.0:
        total = pmf * c * alpha * beta_fraction(1.0 / alpha, c, math.exp(-big))
    else:
        weight, total, count = pmf, 0.0, c
        while count >= 1.0 and weight > 1e-18 * total and c - count < TERMS_MAX:
            weight *= count / (x * (1.0 + alpha * (count - 1.0)))
            total += weight
            count -= 1.0
    return total, 1.0 - total, pmf


@jit
def tail(c: float, eta: float, alpha: float) -> tuple[float, float, float, float]:
    """Describe D >= c for integer c.

    Returns
    -------
    below, log_survival, score, excess : float
        P(D < c), log P(D >= c), d log P(D >= c) / d eta = c f(c) / S(c), and E[D - c | D >= c].
        The second derivative is ``-score * excess / (1 + alpha mu)``: a product of positive
        terms, exact where the textbook form ``score (score + a p - c (1 - p))`` cancels.
    """
    if math.isnan(eta) or not math.isfinite(c) or not math.isfinite(alpha):
        return math.nan, math.nan, math.nan, math.nan
    eta = min(eta, ETA_MAX)
    mu = math.exp(eta)
    if c <= 0.0:
        return 0.0, 0.0, 0.0, mu
    if eta == -math.inf:
        return 1.0, -math.inf, c, 0.0
    x = 1.0 / (math.exp(-eta) + alpha)
    if x * (1.0 + alpha * (c + 2.0)) >= c + 1.0:
        under, over, pmf = below(c, eta, x, alpha, math.log1p(alpha * mu))
        if over > 0.01:
            score = c * pmf / over
            log_over = math.log(over) if over < 0.5 else math.log1p(-under)
            return under, log_over, score, max(0.0, mu + score * (1.0 + alpha * mu) - c)
    log_over, score, excess = upper_tail(c, mu, eta, x, alpha)
    return -math.expm1(log_over), log_over, score, max(0.0, excess)


@jit
def cdf(value: float, eta: float, alpha: float) -> float:
    """Return P(D <= value)."""
    return 0.0 if value < 0.0 else tail(math.floor(value) + 1.0, eta, alpha)[0]


@jit
def sample_tail(c: float, eta: float, alpha: float, u: float) -> float:
    """Return the draw of D given D >= c that belongs to the uniform u, by inversion."""
    c = max(c, 0.0)
    if math.isnan(eta) or not math.isfinite(c) or not math.isfinite(alpha):
        return math.nan
    eta = min(eta, ETA_DRAW_MAX)
    _, log_over, _, excess = tail(c, eta, alpha)
    start = log_pmf(c, eta, alpha)
    if excess < 2000.0 and log_over - start < 600.0:
        # Relative to f(c): nothing underflows however far out c lies.
        x = 1.0 / (math.exp(-eta) + alpha)
        target = u * math.exp(log_over - start)
        weight, total, k = 1.0, 1.0, 0.0
        while total < target and weight > 1e-18 * total and k < TERMS_MAX:
            weight *= x * (1.0 + alpha * (c + k)) / (c + k + 1.0)
            total += weight
            k += 1.0
        if k < TERMS_MAX:
            return c + k
    goal = log_over + math.log1p(-u)
    low, high = c, c + max(1.0, math.ceil(excess))
    while high < 1e18 and tail(high, eta, alpha)[1] >= goal:
        low, high = high, c + 2.0 * (high - c)
    while high - low > 1.0:
        middle = math.floor(0.5 * (low + high))
        if not low < middle < high:  # beyond 2^53 neighbours are further apart than 1
            break
        if tail(middle, eta, alpha)[1] >= goal:
            low = middle
        else:
            high = middle
    return low


@jit
def quantile(prob: float, eta: float, alpha: float) -> float:
    """Return the smallest integer d with P(D <= d) >= prob."""
    if not 0.0 <= prob <= 1.0 or math.isnan(eta):
        return math.nan
    if prob == 1.0:
        return math.inf if eta > -math.inf else 0.0
    eta = min(eta, ETA_DRAW_MAX)
    guess = sample_tail(0.0, eta, alpha, prob)
    # The sum and the tail differ in the last bits: the public cdf has the last word.
    for _ in range(10_000):
        if cdf(guess, eta, alpha) >= prob:
            break
        guess += 1.0
    for _ in range(10_000):
        if guess <= 0.0 or cdf(guess - 1.0, eta, alpha) < prob:
            break
        guess -= 1.0
    return guess
