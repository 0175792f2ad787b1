"""The normal family (Tobit) under left, right and interval censoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from civstats.censoring import _check
from civstats.censoring._normal_math import (
    IntervalParts,
    interval_parts,
    mills_excess,
    truncated_offset,
)
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
        inner, location = self._inner(y), self._location(eta, exposure)[0]
        with np.errstate(invalid="ignore"):
            z = (inner - location) / np.asarray(self.scale)
        # A bound that excludes nothing does not, even where nothing is left of the mean.
        return np.where(np.isneginf(inner) & np.isneginf(location), -np.inf, z)[()]

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
        self._refuse(low, high)
        parts = interval_parts(self._inner(low), self._inner(high), location, scale)
        jacobian = np.where(low == high, self._jacobian(low), 0.0)
        value, d, dd, s, ss, cross = parts
        return IntervalParts(value + jacobian, d * slope, dd * slope**2, s, ss, cross * slope)

    def _refuse(self, low: np.ndarray, high: np.ndarray) -> None:
        """Raise for bounds out of order or outside the support."""
        bad = ~(low <= high)
        if bad.any():
            raise CivstatsError(
                f"lower must not exceed upper, but it does (or is NaN) for {_check.first_bad(bad)}"
            )
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

    def interval_mean(
        self, lower: ArrayLike, upper: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0
    ) -> np.ndarray:
        """Return E[D | lower <= D <= upper], for any kind of censoring.

        Parameters
        ----------
        lower, upper : array_like
            As in :meth:`interval_loglik`; an exact observation is its own mean.
        eta, exposure : array_like
            Linear predictor and exposure.

        Returns
        -------
        numpy.ndarray
            Never outside the bounds, however far out they lie.

        Raises
        ------
        CivstatsError
            If a lower bound exceeds its upper bound, or a bound is NaN.

        Examples
        --------
        >>> from civstats.censoring import Normal
        >>> Normal(2.0).interval_mean([-np.inf, 0.0, 1.5], [0.0, 1.0, 1.5], 1.5).round(3)
        array([-1.158,  0.521,  1.5  ])
        """
        location, _ = self._location(eta, exposure)
        low, high, location, scale = _floats(lower, upper, location, np.asarray(self.scale))
        self._refuse(low, high)
        return self._mean_between(low, high, location, scale)[()]

    def _mean_between(
        self, low: np.ndarray, high: np.ndarray, location: np.ndarray, scale: np.ndarray
    ) -> np.ndarray:
        unknown = np.isneginf(low) & np.isposinf(high)
        a, b = np.where(unknown, location, low), np.where(unknown, location, high)
        from_high, offset = truncated_offset((a - location) / scale, (b - location) / scale)
        inside = np.clip(np.where(from_high, b, a) + scale * offset, a, b)
        return np.where(unknown, location, inside)

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
        beyond = np.isposinf(z)  # an infinite bound, or a mean of 0: the bound is all that is left
        z, location = np.where(beyond, 0.0, z), np.where(beyond, 0.0, location)
        draw = location - scale * special.ndtri_exp(np.log(u) + special.log_ndtr(-z))
        c = np.asarray(c, dtype=np.float64)
        return np.where(beyond, c, np.maximum(self._outer(draw), c))[()]

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
