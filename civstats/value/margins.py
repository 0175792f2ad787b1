"""Margins: a number, a column, one per series, or a prior whose draws all series share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import CivstatsError, check_share
from civstats.value.inputs import margin_vector


def beta_shape(mean: np.ndarray, sd: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the parameters of Beta distributions of given mean and standard deviation.

    Raises
    ------
    CivstatsError
        If no Beta distribution has them: ``sd**2`` must lie below ``mean * (1 - mean)``.
    """
    room = mean * (1 - mean)
    bad = ~(sd**2 < room)
    if bad.any():
        raise CivstatsError(
            f"{name}: no distribution on [0, 1] has mean {mean[bad][0]:g} and sd {sd:g}; "
            "make sd smaller, or pass a plain number"
        )
    total = room / sd**2 - 1
    return mean * total, (1 - mean) * total


@dataclass(frozen=True)
class MarginPrior:
    """A margin that is known to within a standard deviation.

    Each sample draws one rank in [0, 1), shared by all series, and every series takes the value of
    that rank from its own Beta distribution: what is wrong with a margin (a cost that is left out)
    is wrong for all, so totals stay as uncertain as their parts.

    Attributes
    ----------
    mean : float, str or pandas.Series
        As the margin of :func:`gain_paths`.
    sd : float
        Standard deviation of each series' margin; 0 is a plain margin.

    Examples
    --------
    >>> draws = margin_draws(MarginPrior(0.3, 0.05), pd.Index(["a"]), None, 4000, seed=1)
    >>> round(float(draws.mean()), 2), round(float(draws.std()), 2)
    (0.3, 0.05)
    """

    mean: float | str | pd.Series = 0.2
    sd: float = 0.05

    def __post_init__(self) -> None:
        check_share("margin sd", self.sd)


def margin_draws(
    margin: float | str | pd.Series | MarginPrior,
    ids: pd.Index,
    static: pd.DataFrame | None,
    n: int,
    seed: int,
) -> np.ndarray:
    """Return margins by series and sample, shape (n_series, n).

    Parameters
    ----------
    margin : float, str, pandas.Series or MarginPrior
    ids : pandas.Index
    static : pandas.DataFrame, optional
    n : int
        Samples.
    seed : int
    """
    from scipy.stats import beta

    prior = margin if isinstance(margin, MarginPrior) else MarginPrior(margin, 0.0)
    mean = margin_vector(prior.mean, ids, static)
    if prior.sd == 0:
        return np.broadcast_to(mean[:, None], (len(ids), n))
    rank = np.random.default_rng([seed, 1]).random(n)
    levels, which = np.unique(mean, return_inverse=True)
    a, b = beta_shape(levels, prior.sd, "margin")
    return np.asarray(beta.ppf(rank, a[:, None], b[:, None]))[which]
