"""Count families under right censoring: Poisson and negative binomial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from civstats.censoring import _check

Seed = int | np.random.Generator


def _run(kernel: str, n_out: int, *inputs: object) -> tuple[np.ndarray, ...]:
    # numba costs half a second to import: only those who evaluate a count pay.
    from civstats.censoring import _count_arrays

    return _count_arrays.over_arrays(getattr(_count_arrays, kernel), n_out, *inputs)


class CountFamily:
    """Counts with log link: `eta` is the log mean, `exposure` multiplies the mean.

    All arguments broadcast against each other and against array-valued parameters. A censored
    row contributes log P(D >= c), ties included; c = 0 contributes exactly 0 to the
    log-likelihood and to its derivatives. A value within 1e-6 (relative to itself where above 1)
    of a whole number is that number in every method; a bound further off is rounded up, the
    argument of :meth:`cdf` down.

    Raises
    ------
    CivstatsError
        From any method, for counts that are negative or not whole, and for bad exposures.
    """

    @property
    def inverse_dispersion(self) -> np.ndarray:
        """Return alpha in var = mu + alpha mu^2; 0 for the Poisson."""
        raise NotImplementedError

    def _eta(self, eta: ArrayLike, exposure: ArrayLike) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.asarray(eta, dtype=np.float64) + np.log(_check.exposure_of(exposure))

    def _tail(self, c: ArrayLike, eta: ArrayLike, exposure: ArrayLike) -> tuple[np.ndarray, ...]:
        c = _check.bound(c)
        return _run("tail", 4, c, self._eta(eta, exposure), self.inverse_dispersion)

    def mean(self, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return E[D]."""
        return np.exp(self._eta(eta, exposure))

    def variance(self, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return the variance of D, ``mu + mu^2 / dispersion``."""
        mu = np.exp(self._eta(eta, exposure))
        return mu + self.inverse_dispersion * mu**2

    def logpmf(self, y: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return log P(D = y); saddle point form (Loader, 2000) for large counts."""
        alpha = self.inverse_dispersion
        return _run("log_pmf", 1, _check.counts(y), self._eta(eta, exposure), alpha)[0][()]

    def log_survival(self, c: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return log P(D >= c), ties included: scipy's ``logsf(c - 1)``, finite in any tail."""
        return self._tail(c, eta, exposure)[1][()]

    def cdf(self, x: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return P(D <= x)."""
        last = np.floor(_check.settled(x))
        # Far beyond any mean: keeps the arithmetic finite for x = inf.
        inside = self._tail(np.clip(last, -1.0, 1e15) + 1.0, eta, exposure)[0]
        return np.where(np.isposinf(last), 1.0, np.where(np.isnan(last), np.nan, inside))[()]

    def quantile(self, prob: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0) -> np.ndarray:
        """Return the smallest whole d with P(D <= d) >= prob."""
        alpha = self.inverse_dispersion
        return _run("quantile", 1, prob, self._eta(eta, exposure), alpha)[0][()]

    def loglik(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Return the log-likelihood of each observation.

        Parameters
        ----------
        y : array_like
            Observed sales, whole units >= 0; on a censored row the exhausted stock c.
        eta : array_like
            Linear predictor, the log of the mean over a full day.
        is_censored : array_like of bool, optional
            True where all that is known is D >= y. Absent: all exact.
        exposure : array_like
            Share of the day's demand that falls in the hours in stock; scales the mean.
        """
        y, shifted, alpha = _check.counts(y), self._eta(eta, exposure), self.inverse_dispersion
        y, shifted, alpha, cens = np.broadcast_arrays(y, shifted, alpha, _check.flags(is_censored))
        out = np.empty(y.shape)
        # Only the rows that need it pay for the tail.
        out[~cens] = _run("log_pmf", 1, y[~cens], shifted[~cens], alpha[~cens])[0]
        out[cens] = _run("tail", 4, y[cens], shifted[cens], alpha[cens])[1]
        return out[()]

    def grad_hess(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        exposure: ArrayLike = 1.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and second derivative of :meth:`loglik` in `eta` (not negated).

        A censored row has d/d eta = c f(c) / S(c) =: r and second derivative
        ``-r E[D - c | D >= c] / (1 + mu / dispersion)``, a product without cancellation.
        """
        grad, hess = _run(
            "derivatives",
            2,
            _check.counts(y),
            self._eta(eta, exposure),
            self.inverse_dispersion,
            _check.flags(is_censored),
        )
        return grad[()], hess[()]

    def conditional_mean(
        self, c: ArrayLike, eta: ArrayLike, exposure: ArrayLike = 1.0
    ) -> np.ndarray:
        """Return E[D | D >= c]; subtract c for the expected lost units, never negative.

        With a mean of 0 (no exposure) it is c, the limit as the mean vanishes.
        """
        c = _check.bound(c)
        return (c + self._tail(c, eta, exposure)[3])[()]

    def sample_above(
        self,
        c: ArrayLike,
        eta: ArrayLike,
        seed: Seed,
        size: tuple[int, ...] | int | None = None,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Draw D given D >= c by inversion, whole numbers >= c however far out c lies.

        With a mean of 0 (no exposure) every draw is c, as in :meth:`conditional_mean`.

        Parameters
        ----------
        c, eta, exposure : array_like
            Bound, log mean, exposure; they broadcast to the shape of one draw.
        seed : int or numpy.random.Generator
            Source of randomness.
        size : tuple of int or int, optional
            Leading axes: the result has shape ``size + broadcast shape``.
        """
        c = _check.bound(c)
        shifted, alpha = self._eta(eta, exposure), self.inverse_dispersion
        lead = () if size is None else tuple(np.atleast_1d(size))
        u = _check.uniforms(seed, lead + np.broadcast_shapes(c.shape, shifted.shape, alpha.shape))
        # No demand reaches c > 0 without a mean: all that remains is the limit, c itself.
        return np.where(np.isneginf(shifted) & ~np.isnan(c), c, self._draw(c, shifted, u))[()]

    def _draw(self, c: np.ndarray, eta: np.ndarray, u: np.ndarray) -> np.ndarray:
        return _run("sample_tail", 1, c, eta, self.inverse_dispersion, u)[0]

    def sample(
        self,
        eta: ArrayLike,
        seed: Seed,
        size: tuple[int, ...] | int | None = None,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Draw D."""
        return self.sample_above(0.0, eta, seed, size, exposure)

    def pit(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        *,
        seed: Seed,
        exposure: ArrayLike = 1.0,
    ) -> np.ndarray:
        """Return the randomised, censored probability integral transform.

        u ~ U(F(c - 1), 1) on a censored row, U(F(y - 1), F(y)) on an exact one (Czado, Gneiting
        and Held, 2009, for counts). Uniform under the true model if the stock is independent of
        demand given what the forecaster knew.
        """
        y, cens = _check.counts(y), _check.flags(is_censored)
        under = self.cdf(y - 1.0, eta, exposure)
        width = np.where(cens, 1.0 - under, np.exp(self.logpmf(y, eta, exposure)))
        return np.minimum(under + width * _check.uniforms(seed, width.shape), 1.0)[()]


@dataclass(frozen=True)
class Poisson(CountFamily):
    """Poisson counts with mean exp(eta).

    Examples
    --------
    >>> from civstats.censoring import Poisson
    >>> round(float(Poisson().log_survival(6, 1.6)), 4)
    -0.9787
    """

    @property
    def inverse_dispersion(self) -> np.ndarray:
        """Return 0: the Poisson is the negative binomial at alpha = 0."""
        return np.zeros(())


@dataclass(frozen=True)
class NegBin(CountFamily):
    """Negative binomial counts with mean mu = exp(eta) and variance mu + mu^2 / dispersion.

    Parameters
    ----------
    dispersion : float or array_like
        Positive; ``inf`` is the Poisson, exactly. Broadcasts against the data.

    Examples
    --------
    >>> import numpy as np
    >>> from civstats.censoring import NegBin
    >>> family = NegBin(2.0)
    >>> family.loglik([3, 8], np.log(5.0), [False, True]).round(4)
    array([-2.1286, -1.5022])
    """

    dispersion: Any

    def __post_init__(self) -> None:
        _check.positive("dispersion", self.dispersion, infinite=True)

    @property
    def inverse_dispersion(self) -> np.ndarray:
        """Return 1 / dispersion."""
        return 1.0 / np.asarray(self.dispersion, dtype=np.float64)

    def dispersion_derivatives(
        self,
        y: ArrayLike,
        eta: ArrayLike,
        is_censored: ArrayLike | None = None,
        exposure: ArrayLike = 1.0,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the derivatives of :meth:`loglik` in t = log dispersion.

        Returns
        -------
        first, second, cross : numpy.ndarray
            d/dt, d2/dt2 and d2/(dt d eta) of each observation.
        """
        first, second, cross = _run(
            "log_alpha_derivatives",
            3,
            _check.counts(y),
            self._eta(eta, exposure),
            self.inverse_dispersion,
            _check.flags(is_censored),
        )
        return -first[()], second[()], -cross[()]
