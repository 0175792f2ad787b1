"""What the hours out of stock would have sold, given what the hours in stock sold."""

from __future__ import annotations

import numpy as np

from civstats.censoring.continuous import LogNormal, Normal
from civstats.censoring.counts import CountFamily, NegBin
from civstats.censoring.zero_inflated import ZeroInflatedNegBin


def unseen_mean(
    family: CountFamily | Normal | LogNormal, y: np.ndarray, eta: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Return the expected demand of a day's hours out of stock, given its sales.

    As :func:`sample_unseen`, which draws it.
    """
    y, eta, share = np.broadcast_arrays(y, eta, share)
    if isinstance(family, LogNormal):
        return np.asarray(y / share - y)
    if isinstance(family, Normal):
        return np.asarray((1 - share) * np.maximum(eta, 0.0))
    mean = _gamma_rest(family, y, eta, share)
    if isinstance(family, ZeroInflatedNegBin):
        mean = mean * (1 - _structural(family, y, eta, share))
    return mean


def _gamma_rest(
    family: CountFamily, y: np.ndarray, eta: np.ndarray, share: np.ndarray
) -> np.ndarray:
    alpha, mu = np.asarray(family.inverse_dispersion, dtype=float), np.exp(eta)
    return np.asarray(mu * (1 - share) * (1 + alpha * y) / (1 + alpha * mu * share))


def _structural(
    family: ZeroInflatedNegBin, y: np.ndarray, eta: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Return the probability that a day without a sale is one without demand."""
    zero = np.asarray(family.zero_prob)
    none = np.exp(NegBin(family.dispersion).logpmf(0.0, eta, np.maximum(share, 1e-9)))
    return np.where(y == 0, zero / (zero + (1 - zero) * none), 0.0)


def sample_unseen(
    family: CountFamily | Normal | LogNormal,
    y: np.ndarray,
    eta: np.ndarray,
    share: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the demand of a day's hours out of stock, given its sales; return its mean besides.

    One gamma stands for the whole day of a negative binomial, known better for the hours seen, and a
    structural zero is one of the whole day. A normal demand has its expectation, a lognormal one
    goes on as it went.

    Parameters
    ----------
    family : CountFamily, Normal or LogNormal
        Its parameters broadcast against the rest.
    y : numpy.ndarray
        Sales of the hours in stock.
    eta : numpy.ndarray
        Location of the whole day: the log mean of a count.
    share : numpy.ndarray
        Of the day in stock, in (0, 1]; 1 leaves nothing unseen.
    rng : numpy.random.Generator

    Returns
    -------
    drawn, mean : numpy.ndarray
        Of the shape that all broadcast to.

    Examples
    --------
    >>> import numpy as np
    >>> from civstats.censoring import NegBin
    >>> rng = np.random.default_rng(0)
    >>> drawn, mean = sample_unseen(NegBin(2.0), np.array([3.0]), np.log([4.0]), np.array([0.5]), rng)
    >>> float(mean[0])  # 4 x 0.5 x (1 + 3 / 2) / (1 + 4 x 0.5 / 2)
    2.5
    """
    y, eta, share = np.broadcast_arrays(y, eta, share)
    mean = unseen_mean(family, y, eta, share)
    if isinstance(family, LogNormal | Normal):
        return mean, mean
    with np.errstate(divide="ignore"):
        size = 1 / np.asarray(family.inverse_dispersion, dtype=float) + y
        log_rest = np.log(_gamma_rest(family, y, eta, share))
    drawn = NegBin(np.broadcast_to(size, mean.shape)).sample(log_rest, rng)
    if isinstance(family, ZeroInflatedNegBin):
        structural = _structural(family, y, eta, share)
        drawn = np.where(rng.random(mean.shape) < structural, 0.0, drawn)
    return drawn, mean
