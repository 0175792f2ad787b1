"""Normal (Tobit) and log-normal families under left, right and interval censoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from civstats.censoring import _check
from civstats.censoring._normal_math import IntervalParts, interval_parts, mills_excess
from civstats.schema import CivstatsError

Seed = int | np.random.Generator


def _floats(*values: ArrayLike) -> list[np.ndarray]:
    return [np.array(a) for a in np.broadcast_arrays(*[np.asarray(v, float) for v in values])]


@dataclass(frozen=True)
class Normal:
    """Normal demand with location eta (Tobin, 1958, when censored); exposure scales the location.

    Parameters
    ----------
    scale : float or array_like
        Standard deviation, positive. Broadcasts against the data.

    Examples
    --------
    >>> from civstats.censoring import Normal
    >>> Normal(2.0).loglik([1.0, 3.0], 1.5, [False, True]).round(4)
    array([-1.6433, -1.4844])
    """

    scale: Any

    def __post_init__(self) -> None:
        _check.positive("scale", self.scale)

    def _location(self, eta: ArrayLike, exposure: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return the location and its derivative in eta."""
        share = _check.exposure_of(exposure)
        return np.asarray(eta, dtype=np.float64) * share, share

    def _inner(self, y: ArrayLike) -> np.ndarray:
        """Return y on the scale where it is normal."""
        return np.asarray(y, dtype=np.float64)

    def _outer(self, x: np.ndarray) -> np.ndarray:
        return x

    def _jacobian(self, y: np.ndarray) -> np.ndarray:
        return np.zeros_like(y)

    def mean(self, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return E[D]."""
        return self._location(eta, exposure)[0] + 0.0 * np.asarray(self.scale)

    def variance(self, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return the variance of D."""
        return np.asarray(self.scale, float) ** 2 + 0.0 * self._location(eta, exposure)[0]

    def _z(self, y: ArrayLike, eta: ArrayLike, exposure: ArrayLike) -> np.ndarray:
        return (self._inner(y) - self._location(eta, exposure)[0]) / np.asarray(self.scale)

    def logpdf(self, y: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return the log density."""
        return self.loglik(y, eta, None, exposure)

    def log_survival(self, c: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return log P(D >= c)."""
        return special.log_ndtr(-self._z(c, eta, exposure))

    def cdf(self, x: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return P(D <= x)."""
        return special.ndtr(self._z(x, eta, exposure))

    def quantile(self, prob: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return the quantile function."""
        location, _ = self._location(eta, exposure)
        return self._outer(
            location + np.asarray(self.scale) * special.ndtri(np.asarray(prob, dtype=np.float64))
        )

    def interval_loglik(
        self, lower: ArrayLike, upper: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0
    ) -> IntervalParts:
        """Return log-likelihood and derivatives for observations known to lie in an interval.

        Parameters
        ----------
        lower, upper : array_like
            Bounds of each observation: equal for an exact one, ``upper = inf`` for right
            censoring, ``lower = -inf`` (0 for the log-normal) for left censoring.
        eta, exposure : array_like
            Linear predictor and exposure.

        Returns
        -------
        IntervalParts
            ``loglik, location, location2, log_scale, log_scale2, cross``: the value, first and
            second derivatives in eta and log scale, and the mixed one.

        Raises
        ------
        CivstatsError
            If a lower bound exceeds its upper bound, or a bound is NaN.
        """
        location, slope = self._location(eta, exposure)
        low, high, location, scale, slope = _floats(
            lower, upper, location, np.asarray(self.scale), slope
        )
        bad = ~(low <= high)
        if bad.any():
            raise CivstatsError(
                f"lower must not exceed upper, but it does (or is NaN) for {_check.first_bad(bad)}"
            )
        self._refuse(low, high)
        parts = interval_parts(self._inner(low), self._inner(high), location, scale)
        jacobian = np.where(low == high, self._jacobian(low), 0.0)
        value, d, dd, s, ss, cross = parts
        return IntervalParts(value + jacobian, d * slope, dd * slope**2, s, ss, cross * slope)

    def _refuse(self, low: np.ndarray, high: np.ndarray) -> None:
        """Raise for bounds outside the support."""
        bad = (low == high) & np.isinf(low)
        if bad.any():
            raise CivstatsError(f"an exact observation must be finite, but {_check.first_bad(bad)}")

    def _parts(
        self, y: ArrayLike, eta: ArrayLike, is_censored: ArrayLike | None, exposure: ArrayLike
    ) -> IntervalParts:
        y = np.asarray(y, dtype=np.float64)
        upper = np.where(_check.flags(is_censored), np.inf, y)
        return self.interval_loglik(y, upper, eta, exposure)

    def loglik(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Return the log-likelihood of each observation; censored rows say D >= y."""
        return self._parts(y, eta, is_censored, exposure).loglik[()]

    def grad_hess(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        exposure: ArrayLike = 1.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and second derivative of :meth:`loglik` in `eta` (not negated)."""
        parts = self._parts(y, eta, is_censored, exposure)
        return parts.location[()], parts.location2[()]

    def conditional_mean(
        self, c: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0
    ) -> np.ndarray:
        """Return E[D | D >= c]."""
        z = self._z(c, eta, exposure)
        location, _ = self._location(eta, exposure)
        above = np.asarray(c, float) + np.asarray(self.scale) * mills_excess(np.maximum(z, -40.0))
        # Below -40 the bound says nothing; a nan is not below and stays.
        return np.where(z <= -40.0, location, above)[()]

    def sample_above(
        self,
        c: ArrayLike,
        eta: ArrayLike,
        seed: Seed,
        size: tuple[int, ...] | int | None = None,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Draw D given D >= c by inversion in log survival; shape ``size + broadcast shape``."""
        z, scale = np.broadcast_arrays(self._z(c, eta, exposure), np.asarray(self.scale, float))
        location, _ = self._location(eta, exposure)
        u = _check.uniforms(seed, (() if size is None else tuple(np.atleast_1d(size))) + z.shape)
        draw = location - scale * special.ndtri_exp(np.log(u) + special.log_ndtr(-z))
        return np.maximum(self._outer(draw), np.asarray(c, dtype=np.float64))[()]

    def sample(
        self,
        eta: ArrayLike,
        seed: Seed,
        size: tuple[int, ...] | int | None = None,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Draw D."""
        return self.sample_above(-np.inf, eta, seed, size, exposure)

    def pit(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        *,
        seed: Seed,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Return the censored PIT: F(y) of an exact row, u ~ U(F(c), 1) of a censored one."""
        under, cens = np.broadcast_arrays(self.cdf(y, eta, exposure), _check.flags(is_censored))
        drawn = under + (1.0 - under) * _check.uniforms(seed, under.shape)
        return np.where(cens, drawn, under)[()]


@dataclass(frozen=True)
class LogNormal(Normal):
    """Log-normal demand: log D is normal with location eta; exposure adds its logarithm.

    Bounds at or below zero say nothing about D and contribute exactly 0.

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
        z, scale = self._z(c, eta, exposure), np.asarray(self.scale, float)
        # At infinite z (an infinite bound, or a mean of 0) nothing lies above c: the ratio is 0/0.
        beyond, c = np.isposinf(z), np.asarray(c, float)
        z = np.where(beyond, 0.0, z)
        lift = special.log_ndtr(scale - z) - special.log_ndtr(-z)
        above = np.maximum(self.mean(eta, exposure) * np.exp(lift), c)
        return np.where(beyond, c, above)[()]
