"""Whether ranks are uniform: their ECDF, its simultaneous band, and the p-value of leaving it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import stats

from civstats.schema import CivstatsError


def ecdf_band(n: int, n_draws: int, prob: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the simultaneous band of the ECDF of uniform ranks.

    Parameters
    ----------
    n : int
        Number of ranks.
    n_draws : int
        Ranks are 0 .. n_draws.
    prob : float
        Chance that the whole ECDF lies inside, at least: counts come in steps.

    Returns
    -------
    lower, upper : numpy.ndarray of float, shape (n_draws,)
        Ends (inside) for the share of ranks <= k, k = 0 .. n_draws - 1.

    Raises
    ------
    CivstatsError
        For fewer than 1 rank or draw, or a chance that is none.

    Notes
    -----
    Pointwise binomial intervals, all of one coverage, which is chosen so that the ECDF stays in
    all of them with the chance asked for. That chance is exact, by the recursion over the counts
    at consecutive points, which are Markov (Saeilynoja, Buerkner and Vehtari, 2022).

    Examples
    --------
    >>> lower, upper = ecdf_band(100, 63)
    >>> bool((lower < upper).all()), bool(lower[31] < 0.5 < upper[31])
    (True, True)
    """
    _check(n, n_draws)
    if not 0 < prob < 1:
        raise CivstatsError(f"prob must lie inside (0, 1), but got {prob!r}")
    low, high = _counts(n, n_draws, _tail_of(n, n_draws, prob))
    return low / n, high / n


def uniform_p_value(ranks: np.ndarray, n_draws: int) -> float:
    """Return the chance that uniform ranks' ECDF strays at least as far as this one.

    Parameters
    ----------
    ranks : numpy.ndarray of int
        0 .. n_draws, independent of each other.
    n_draws : int

    Returns
    -------
    float
        At or below 1 - prob exactly where the ECDF leaves `ecdf_band` of that prob.

    Raises
    ------
    CivstatsError
        If there is no rank, or one is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> uniform_p_value(np.repeat(np.arange(64), 4), 63) > 0.99
    True
    """
    ranks = np.asarray(ranks)
    _check(ranks.size, n_draws)
    bad = (ranks < 0) | (ranks > n_draws) | (ranks != np.round(ranks))
    if bad.any():
        raise CivstatsError(
            f"{int(bad.sum())} rank(s) are not whole numbers from 0 to {n_draws}, first {ranks[bad][0]}"
        )
    n, z = ranks.size, _points(n_draws)
    counts = np.cumsum(np.bincount(ranks.astype(int), minlength=n_draws + 1))[:-1]
    tail = np.minimum(stats.binom.cdf(counts, n, z), stats.binom.sf(counts - 1, n, z))
    # Everything that strays less has tails strictly above this one.
    return float(1 - _inside(n, n_draws, float(tail.min()) * (1 + 1e-9)))


def rank_table(ranks: pd.DataFrame, n_draws: int, *, prob: float = 0.95) -> pd.DataFrame:
    """Test ranks by quantity: inside the band or not, alone and as one of many.

    Parameters
    ----------
    ranks : pandas.DataFrame
        ``model, quantity, rank``; within a model and quantity independent of each other.
    n_draws : int
        Ranks are 0 .. n_draws.
    prob : float
        Of the band.

    Returns
    -------
    pandas.DataFrame
        ``model, quantity, n, mean, p_value, inside, p_adjusted, inside_all``: mean of the ranks
        as a share (0.5 if right; above, the truth is above its draws); whether the ECDF is inside its
        own band; p-values adjusted for the number of quantities of the model (Holm, 1979), and
        whether it is inside a band that all of them leave with chance 1 - prob together.

    Raises
    ------
    CivstatsError
        As `uniform_p_value`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> ranks = pd.DataFrame({"model": "m", "quantity": "mu", "rank": np.repeat(np.arange(64), 2)})
    >>> rank_table(ranks, 63)["inside"].tolist()
    [True]
    """
    rows = []
    for (model, quantity), part in ranks.groupby(["model", "quantity"], sort=False, observed=True):
        rank = part["rank"].to_numpy()
        p = uniform_p_value(rank, n_draws)
        rows.append((model, quantity, len(rank), float(rank.mean() / n_draws), p, p > 1 - prob))
    table = pd.DataFrame(rows, columns=["model", "quantity", "n", "mean", "p_value", "inside"])
    if table.empty:
        raise CivstatsError("there are no ranks")
    adjusted = table.groupby("model", sort=False)["p_value"].transform(_holm)
    return table.assign(p_adjusted=adjusted, inside_all=adjusted > 1 - prob)


def _check(n: int, n_draws: int) -> None:
    if n < 1 or n_draws < 1:
        raise CivstatsError(f"there must be a rank and a draw, but got {n} and {n_draws}")


def _points(n_draws: int) -> np.ndarray:
    return np.arange(1, n_draws + 1) / (n_draws + 1)


def _counts(n: int, n_draws: int, tail: float) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest counts whose own tails are `tail` or more, shape (n_draws,)."""
    z = _points(n_draws)
    low = stats.binom.ppf(tail, n, z)
    low = np.where(stats.binom.cdf(low, n, z) < tail, low + 1, low)
    low = np.where(stats.binom.cdf(low - 1, n, z) >= tail, low - 1, low)
    high = stats.binom.isf(tail, n, z) + 1
    high = np.where(stats.binom.sf(high - 1, n, z) < tail, high - 1, high)
    return np.clip(low, 0, n).astype(int), np.clip(high, 0, n).astype(int)


@lru_cache(maxsize=64)
def _tail_of(n: int, n_draws: int, prob: float) -> float:
    """Largest pointwise tail whose intervals hold the whole ECDF with the chance asked for."""
    low, high = 0.0, (1 - prob) / 2
    if _inside(n, n_draws, high) >= prob:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(n, n_draws, middle) >= prob else (low, middle)
    return low


def _inside(n: int, n_draws: int, tail: float) -> float:
    """Chance that uniform ranks' counts have tails of `tail` or more at every point."""
    z = _points(n_draws)
    low, high = _counts(n, n_draws, tail)
    if (low > high).any():
        return 0.0
    at, chance, before = np.zeros(1, dtype=int), np.ones(1), 0.0
    for k in range(n_draws):
        to = np.arange(low[k], high[k] + 1)
        # Of the ranks not yet counted, each falls on this point with the same chance.
        step = stats.binom.pmf(
            to[None] - at[:, None], n - at[:, None], (z[k] - before) / (1 - before)
        )
        at, chance, before = to, chance @ step, z[k]
    return float(min(chance.sum(), 1.0))


def _holm(p: pd.Series) -> pd.Series:
    """Adjust p-values for their number (Holm, 1979)."""
    order = np.argsort(p.to_numpy(), kind="stable")
    steps = p.to_numpy()[order] * np.arange(len(p), 0, -1)
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return pd.Series(out, index=p.index)
