"""What the hours out of stock would have sold, given what the hours in stock sold."""

from __future__ import annotations

import numpy as np

from civstats.censoring.continuous import LogNormal, Normal
from civstats.censoring.counts import CountFamily, NegBin
from civstats.censoring.zero_inflated import ZeroInflatedNegBin


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
    if isinstance(family, LogNormal):
        rest = y / share - y
        return rest, rest
    if isinstance(family, Normal):
        rest = (1 - share) * np.maximum(eta, 0.0)
        return rest, rest
    alpha, mu = np.asarray(family.inverse_dispersion, dtype=float), np.exp(eta)
    mean = mu * (1 - share) * (1 + alpha * y) / (1 + alpha * mu * share)
    with np.errstate(divide="ignore"):
        size, log_mean = 1 / alpha + y, np.log(mean)
    drawn = NegBin(np.broadcast_to(size, mu.shape)).sample(log_mean, rng)
    if isinstance(family, ZeroInflatedNegBin):
        zero = np.asarray(family.zero_prob)
        none = np.exp(NegBin(family.dispersion).logpmf(0.0, eta, np.maximum(share, 1e-9)))
        structural = np.where(y == 0, zero / (zero + (1 - zero) * none), 0.0)
        drawn = np.where(rng.random(mu.shape) < structural, 0.0, drawn)
        mean = mean * (1 - structural)
    return drawn, mean
