"""Normal (Tobit) and log-normal families under left, right and interval censoring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from civstats.censoring import _check
from civstats.censoring._normal_family import Normal
from civstats.censoring._normal_math import log_between, log_lift, mills_excess
from civstats.schema import CivstatsError

__all__ = ["LogNormal", "Normal"]


@dataclass(frozen=True)
class LogNormal(Normal):
    """Log-normal demand: log D is normal with location eta; exposure adds its logarithm.

    Bounds at or below zero say nothing about D and contribute exactly 0, with no exposure either.

    Parameters
    ----------
    scale : float or array_like
        Standard deviation of log D, positive.

    Examples
    --------
    >>> from civstats.censoring import LogNormal
    >>> round(float(LogNormal(0.5).mean(0.0)), 4)
    1.1331
    """

    def _location(self, eta: ArrayLike, exposure: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        share = _check.exposure_of(exposure)
        with np.errstate(divide="ignore"):
            return np.asarray(eta, dtype=np.float64) + np.log(share), np.ones_like(share)

    def _inner(self, y: ArrayLike) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(np.maximum(np.asarray(y, dtype=np.float64), 0.0))

    def _outer(self, x: np.ndarray) -> np.ndarray:
        return np.exp(x)

    def _refuse(self, low: np.ndarray, high: np.ndarray) -> None:
        super()._refuse(low, high)
        bad = (high <= 0) | (np.isposinf(low))
        if bad.any():
            raise CivstatsError(
                f"log-normal demand is positive, but {_check.first_bad(bad)} cannot be: an exact "
                "zero needs another family"
            )

    def _jacobian(self, y: np.ndarray) -> np.ndarray:
        return -self._inner(y)

    def mean(self, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return E[D] = exp(eta + scale^2 / 2) exposure."""
        return np.exp(self._location(eta, exposure)[0] + 0.5 * np.asarray(self.scale, float) ** 2)

    def variance(self, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return the variance of D."""
        return self.mean(eta, exposure) ** 2 * np.expm1(np.asarray(self.scale, float) ** 2)

    def conditional_mean(
        self, c: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0
    ) -> np.ndarray:
        """Return E[D | D >= c]."""
        location, scale = self._location(eta, exposure)[0], np.asarray(self.scale, float)
        return self._above(np.asarray(c, float), self._z(c, eta, exposure), location, scale)[()]

    @staticmethod
    def _above(c: np.ndarray, z: np.ndarray, location: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Return E[D | D >= c], its excess over c without cancellation."""
        # At infinite z (an infinite bound, or a mean of 0) nothing lies above c: the ratio is 0/0.
        beyond, near = np.isposinf(z), z - scale > -30.0
        z, finite = np.where(beyond, 0.0, z), np.where(beyond, 0.0, c)
        lift = special.log_ndtr(scale - z) - special.log_ndtr(-z)
        with np.errstate(over="ignore"):  # a mean beyond all numbers is inf
            above = np.exp(location + 0.5 * scale**2 + lift)
        # E / c is a ratio of Mills ratios, erfcx, at z - scale and z: of digits enough for a wide
        # step, and for a narrow one the integral of the slope of the logarithm over it.
        inner, step = np.where(near, z, 0.0), np.minimum(scale, 0.5)
        rise = np.zeros(np.broadcast_shapes(inner.shape, step.shape))
        for node, weight in zip(*np.polynomial.legendre.leggauss(8), strict=True):
            rise += 0.5 * step * weight * mills_excess(inner - 0.5 * step * (1.0 + node))
        start = np.where(near & (scale > 0.5), z - scale, inner)
        ratio = special.erfcx(start / np.sqrt(2.0)) / special.erfcx(inner / np.sqrt(2.0))
        ratio = np.where(scale > 0.5, ratio, 1.0)
        rise = np.where(scale > 0.5, 0.0, np.expm1(rise))
        above = np.maximum(np.where(near, finite * ratio + finite * rise, above), c)
        return np.where(beyond, c, above)

    def _mean_between(
        self, low: np.ndarray, high: np.ndarray, location: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        low, out = np.maximum(low, 0.0), np.empty(location.shape)
        right, dead = np.isposinf(high), np.isneginf(location)
        out[dead] = low[dead]  # the limit as the mean vanishes
        with np.errstate(invalid="ignore"):
            a, b = (self._inner(low) - location) / scale, (self._inner(high) - location) / scale
        rows = right & ~dead
        out[rows] = self._above(low[rows], a[rows], location[rows], scale[rows])
        rows = ~right & ~dead & (scale <= 8.0)
        from_high, lift = log_lift(a[rows], b[rows], scale[rows])
        out[rows] = np.where(from_high, high[rows], low[rows]) * np.exp(lift)
        rows = ~right & ~dead & (scale > 8.0)
        a, b, s = a[rows], b[rows], scale[rows]
        # An exact one has no probability: its mean is its bound, by the clip below.
        with np.errstate(divide="ignore", invalid="ignore"):
            log_mean = location[rows] + 0.5 * s**2 + log_between(a - s, b - s) - log_between(a, b)
        out[rows] = np.where(a == b, low[rows], np.exp(log_mean))
        return np.clip(out, low, high)
