"""The zero-inflated negative binomial under right censoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from civstats.censoring import _check
from civstats.censoring.counts import CountFamily, NegBin
from civstats.schema import CivstatsError


@dataclass(frozen=True)
class ZeroInflatedNegBin(CountFamily):
    """Zero with probability `zero_prob`, otherwise negative binomial with mean exp(eta).

    As in statsmodels and PyMC, `eta` is the log mean of the count part: E[D] is
    ``(1 - zero_prob) exp(eta)``, see :meth:`mean`. A structural zero is a day without demand, not
    a day without stock. The log-likelihood is not concave in `eta` at an exact zero.

    Parameters
    ----------
    dispersion : float or array_like
        Dispersion of the count part, positive; ``inf`` gives the zero-inflated Poisson.
    zero_prob : float or array_like
        In [0, 1).

    Examples
    --------
    >>> from civstats.censoring import ZeroInflatedNegBin
    >>> round(float(ZeroInflatedNegBin(2.0, 0.3).mean(0.0)), 4)
    0.7
    """

    dispersion: Any
    zero_prob: Any

    def __post_init__(self) -> None:
        _check.positive("dispersion", self.dispersion, infinite=True)
        share = np.asarray(self.zero_prob, dtype=np.float64)
        bad = ~((share >= 0) & (share < 1))
        if bad.any():
            raise CivstatsError(
                f"zero_prob must lie in [0, 1), but {_check.first_bad(bad)} does not"
            )

    @property
    def inverse_dispersion(self) -> np.ndarray:
        """Return 1 / dispersion of the count part."""
        return 1.0 / np.asarray(self.dispersion, dtype=np.float64)

    @property
    def _zero(self) -> np.ndarray:
        return np.asarray(self.zero_prob, dtype=np.float64)

    @property
    def _part(self) -> NegBin:
        return NegBin(self.dispersion)

    def mean(self, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return E[D] = (1 - zero_prob) exp(eta) exposure."""
        return (1.0 - self._zero) * self._part.mean(eta, exposure)

    def variance(self, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return the variance of D."""
        mu, inner = self._part.mean(eta, exposure), self._part.variance(eta, exposure)
        return (1.0 - self._zero) * (inner + self._zero * mu**2)

    def logpmf(self, y: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return log P(D = y)."""
        part = np.log1p(-self._zero) + self._part.logpmf(y, eta, exposure)
        # The last is for a nan in eta, which nan says well enough.
        with np.errstate(divide="ignore", invalid="ignore"):
            at_zero = np.logaddexp(np.log(self._zero), part)
        return np.where(_check.counts(y) == 0, at_zero, part)[()]

    def log_survival(self, c: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return log P(D >= c), ties included."""
        part = self._part.log_survival(c, eta, exposure)
        # A nan is not "<= 0": it stays a nan, as does that of eta at c = 0.
        return np.where(_check.settled(c) <= 0, part, np.log1p(-self._zero) + part)[()]

    def cdf(self, x: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return P(D <= x)."""
        inside = self._zero + (1.0 - self._zero) * self._part.cdf(x, eta, exposure)
        return np.where((_check.settled(x) < 0) & ~np.isnan(inside), 0.0, inside)[()]

    def quantile(self, prob: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return the smallest whole d with P(D <= d) >= prob."""
        prob = np.asarray(prob, dtype=np.float64)
        inner = np.where(prob <= self._zero, np.minimum(prob, 0.0), prob)
        inner = np.where(inner > 0, (prob - self._zero) / (1.0 - self._zero), inner)
        return self._part.quantile(inner, eta, exposure)

    def loglik(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Return the log-likelihood of each observation, see :meth:`CountFamily.loglik`."""
        above = self.log_survival(_check.counts(y), eta, exposure)
        return np.where(_check.flags(is_censored), above, self.logpmf(y, eta, exposure))[()]

    def grad_hess(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        exposure: ArrayLike = 1.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and second derivative of :meth:`loglik` in `eta` (not negated)."""
        grad, hess = self._part.grad_hess(y, eta, is_censored, exposure)
        exact_zero = (_check.counts(y) == 0) & ~_check.flags(is_censored)
        # Share of the count part in a zero: the rest is structural and does not depend on eta.
        part = np.log1p(-self._zero) + self._part.logpmf(0, eta, exposure)
        share = np.exp(part - self.logpmf(0, eta, exposure))
        curved = share * hess + share * (1.0 - share) * grad**2
        return (
            np.where(exact_zero, share * grad, grad)[()],
            np.where(exact_zero, curved, hess)[()],
        )

    def conditional_mean(
        self, c: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0
    ) -> np.ndarray:
        """Return E[D | D >= c]."""
        above = self._part.conditional_mean(c, eta, exposure)
        return np.where(_check.settled(c) <= 0, self.mean(eta, exposure), above)[()]

    def _draw(self, c: np.ndarray, eta: np.ndarray, u: np.ndarray) -> np.ndarray:
        zero = np.where(c > 0, 0.0, self._zero)
        inner = np.maximum((u - zero) / (1.0 - zero), 2.0**-54)
        drawn = self._part._draw(c, eta, inner)
        return np.where((u <= zero) & ~np.isnan(drawn), 0.0, drawn)
