"""Log-probabilities of normal intervals with their derivatives, stable in both tails."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)


class IntervalParts(NamedTuple):
    """Log-likelihood of each observation with its derivatives in location and log scale."""

    loglik: np.ndarray
    location: np.ndarray
    location2: np.ndarray
    log_scale: np.ndarray
    log_scale2: np.ndarray
    cross: np.ndarray


def mills(z: np.ndarray) -> np.ndarray:
    """Return phi(z) / (1 - Phi(z)), the hazard of the standard normal."""
    return np.sqrt(2.0 / np.pi) / special.erfcx(z / np.sqrt(2.0))


def mills_excess(z: np.ndarray) -> np.ndarray:
    """Return mills(z) - z = E[Z - z | Z >= z], without cancellation in the far tail."""
    far = z > 40.0
    t = 1.0 / np.where(far, z, 1.0) ** 2
    series = np.sqrt(t) * (1 - t * (2 - t * (10 - t * (74 - t * (706 - t * 8162)))))
    return np.where(far, series, mills(np.where(far, 0.0, z)) - np.where(far, 0.0, z))


def truncated_offset(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return E[Z | low <= Z <= high] as the distance from a bound, without cancellation.

    Not both bounds infinite.

    Returns
    -------
    from_high, offset : numpy.ndarray
        Which bound it is measured from (the one nearer the middle), and the signed distance.
    """
    with np.errstate(invalid="ignore"):
        from_high = low + high < 0
        a, b = np.where(from_high, -high, low), np.where(from_high, -low, high)
        width = b - a
        narrow = width * (1.0 + np.abs(a)) < 1e-2
        middle, w = np.where(narrow, 0.5 * (a + b), 0.0), np.where(narrow, width, 0.0)
    inside = 0.5 * w - _narrow_slope(middle, w)[0]
    # Mills ratios R = 1 / mills: 1 - a R(a) is R(a) mills_excess(a), which does not cancel.
    ended, near = np.isfinite(b) & ~narrow, np.clip(a, -30.0, None)
    end, gap = np.where(ended, b, 0.0), np.where(ended, width, 0.0)
    fade = np.where(ended, np.exp(-0.5 * gap * np.where(ended, a + b, 0.0)), 0.0)
    start_ratio, end_ratio = 1.0 / mills(near), fade / mills(end)
    above = start_ratio * mills_excess(near) - end_ratio * (mills_excess(end) + gap)
    with np.errstate(invalid="ignore", divide="ignore"):
        above = above / (start_ratio - end_ratio)
    # Bounds 30 scales out on both sides cut nothing off.
    above = np.where(a <= -30.0, -a, above)
    offset = np.where(narrow, inside, above)
    return from_high, np.where(from_high, -offset, offset)


def log_lift(low: np.ndarray, high: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log E[exp(scale Z) | low <= Z <= high] as the distance from scale times a bound.

    The derivative of log E in the scale t is the mean of N(t, 1) truncated to the same bounds, so
    that its integral from 0 to the scale is the logarithm: nothing cancels for small scales.
    Exact to rounding for scales up to 8 (Gauss and Legendre, 32 nodes).

    Returns
    -------
    from_high, lift : numpy.ndarray
        Which bound it is measured from, as from `truncated_offset`, and the signed distance.
    """
    from_high, total = truncated_offset(low, high)[0], np.zeros(np.shape(low))
    for node, weight in zip(*np.polynomial.legendre.leggauss(32), strict=True):
        t = 0.5 * scale * (1.0 + node)
        side, offset = truncated_offset(low - t, high - t)
        with np.errstate(invalid="ignore"):
            moved = offset + np.where(side, high - low, low - high)
        total += weight * np.where(side == from_high, offset, moved)
    return from_high, 0.5 * scale * total


def log_between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return log(Phi(high) - Phi(low)), from whichever tail is nearer."""
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    log_b = special.log_ndtr(b)
    with np.errstate(invalid="ignore"):
        gap = np.where(np.isneginf(a), -np.inf, special.log_ndtr(a) - log_b)
        return log_b + np.log(-np.expm1(gap))


def _assemble(
    u: np.ndarray,
    v: np.ndarray,
    first: tuple[np.ndarray, ...],
    second: tuple[np.ndarray, ...],
    scale: np.ndarray,
    shape: tuple[float, float],
) -> tuple[np.ndarray, ...]:
    """Chain derivatives in (u, v), both linear in location and scale, to (location, log scale)."""
    (f_u, f_v), (f_uu, f_uv, f_vv) = first, second
    # shape: how u and v move with the location; both scale as 1 / scale.
    du, dv = shape
    slope = f_u * du + f_v * dv
    pull = f_u * u + f_v * v
    return (
        -slope / scale,
        (f_uu * du * du + 2 * f_uv * du * dv + f_vv * dv * dv) / scale**2,
        -pull,
        pull + f_uu * u * u + 2 * f_uv * u * v + f_vv * v * v,
        (slope + f_uu * du * u + f_uv * (du * v + dv * u) + f_vv * dv * v) / scale,
    )


def _exact(z: np.ndarray, scale: np.ndarray) -> IntervalParts:
    ones = np.ones_like(z) + 0.0 * z  # nan where z is
    value = -0.5 * z * z - HALF_LOG_2PI - np.log(scale)
    return IntervalParts(
        value, z / scale, -ones / scale**2, z * z - 1.0, -2.0 * z * z, -2.0 * z / scale
    )


def _wide(low: np.ndarray, high: np.ndarray, scale: np.ndarray) -> IntervalParts:
    value = log_between(low, high)
    u, v = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    right, left = np.isposinf(high), np.isneginf(low)
    inner = ~(left | right)
    a = -np.exp(np.where(inner, -0.5 * u * u - HALF_LOG_2PI - value, -np.inf))
    b = np.exp(np.where(inner, -0.5 * v * v - HALF_LOG_2PI - value, -np.inf))
    a = np.where(right & ~left, -mills(u), a)
    b = np.where(left & ~right, mills(-v), b)
    f_uu = np.where(right, a * mills_excess(u), -u * a - a * a)
    f_vv = np.where(left, -b * mills_excess(-v), -v * b - b * b)
    both = right & left
    f_uu, f_vv = np.where(left, 0.0, f_uu), np.where(right, 0.0, f_vv)
    value = np.where(both, 0.0, value)
    return IntervalParts(value, *_assemble(u, v, (a, b), (f_uu, -a * b, f_vv), scale, (1.0, 1.0)))


def _narrow_slope(m: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the width adds to the derivative in the middle, and to the density itself."""
    poly, slope = m**4 - 6 * m**2 + 3, 4 * m**3 - 12 * m
    rest = 1.0 + (m * m - 1) * w**2 / 24 + poly * w**4 / 1920
    return (m * w**2 / 12 + slope * w**4 / 1920) / rest, rest


def _narrow(low: np.ndarray, high: np.ndarray, scale: np.ndarray) -> IntervalParts:
    # phi integrated over a short interval: Taylor in the width about the middle.
    m, w = 0.5 * (low + high), high - low
    poly, slope, bend = m**4 - 6 * m**2 + 3, 4 * m**3 - 12 * m, 12 * m**2 - 12
    a_m, rest = _narrow_slope(m, w)
    a_w = ((m * m - 1) * w / 12 + poly * w**3 / 480) / rest
    a_mm = (w**2 / 12 + bend * w**4 / 1920) / rest - a_m * a_m
    a_ww = ((m * m - 1) / 12 + poly * w**2 / 160) / rest - a_w * a_w
    a_mw = (m * w / 6 + slope * w**3 / 480) / rest - a_m * a_w
    value = np.log(w) - 0.5 * m * m - HALF_LOG_2PI + np.log(rest)
    first = (a_m - m, 1.0 / w + a_w)
    second = (a_mm - 1.0, a_mw, a_ww - 1.0 / w**2)
    return IntervalParts(value, *_assemble(m, w, first, second, scale, (1.0, 0.0)))


def interval_parts(
    lower: np.ndarray, upper: np.ndarray, location: np.ndarray, scale: np.ndarray
) -> IntervalParts:
    """Return log-likelihood and derivatives of lower <= Y <= upper, Y ~ N(location, scale).

    Equal bounds are an exact observation (a density), infinite ones censor from one side.
    All arrays of one shape.
    """
    with np.errstate(invalid="ignore"):
        low, high = (lower - location) / scale, (upper - location) / scale
        # A bound that excludes nothing does not, wherever the location has gone.
        low = np.where(np.isneginf(lower) & np.isneginf(location), -np.inf, low)
        high = np.where(np.isposinf(upper) & np.isposinf(location), np.inf, high)
    exact = lower == upper
    with np.errstate(invalid="ignore"):
        narrow = ~exact & (np.abs(high - low) * (1.0 + np.abs(low)) < 1e-2)
    out = [np.empty(location.shape) for _ in IntervalParts._fields]
    for rows, rule in ((exact, None), (narrow, _narrow), (~exact & ~narrow, _wide)):
        if not rows.any():
            continue
        if rule is None:
            parts = _exact(low[rows], scale[rows])
        else:
            parts = rule(low[rows], high[rows], scale[rows])
        for column, values in zip(out, parts, strict=True):
            column[rows] = values
    return IntervalParts(*out)
