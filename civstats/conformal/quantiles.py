"""The order statistics behind conformal prediction: with equal weights, with weights, censored."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from civstats.schema import CivstatsError, check_share

_HAIR = 1e-9
"""Shares such as 1 - 0.1 are not exact: without it their rounding would ask for one row more."""


def conformal_quantile(scores: ArrayLike, probability: float) -> float:
    """Return the ceil((n + 1) p)-th smallest of n scores; infinite if there are too few.

    The score of a new row, exchangeable with these, is at most that with probability `p` or more,
    and below p + 1 / (n + 1) if no two scores are equal (Vovk, Gammerman and Shafer 2005,
    "Algorithmic learning in a random world"; Lei et al. 2018, JASA 113).

    Parameters
    ----------
    scores : array_like, shape (n,)
    probability : float
        In (0, 1).

    Raises
    ------
    CivstatsError
        For a probability out of range or a missing score.

    Examples
    --------
    >>> conformal_quantile([3.0, 1.0, 2.0, 4.0], 0.8), conformal_quantile([1.0, 2.0], 0.8)
    (4.0, inf)
    """
    v = _scores(scores)
    p = check_share("probability", probability, closed=False)
    k = math.ceil((len(v) + 1) * p - _HAIR)
    return float(np.partition(v, k - 1)[k - 1]) if k <= len(v) else math.inf


def weighted_conformal_quantile(
    scores: ArrayLike, weights: ArrayLike, new_weights: ArrayLike, probability: float
) -> np.ndarray:
    """Return, per new row, the smallest score up to which the weights hold a share `p`.

    The new row's own weight counts at infinity: where it is so large that the scores cannot hold
    the share without it, the quantile is infinite (Tibshirani, Barber, Candes and Ramdas 2019,
    "Conformal prediction under covariate shift", NeurIPS). Equal weights give
    :func:`conformal_quantile`.

    Parameters
    ----------
    scores, weights : array_like, shape (n,)
        Weights are positive and finite; a common factor has no effect.
    new_weights : array_like, shape (m,)
        On the same scale.
    probability : float
        In (0, 1).

    Returns
    -------
    numpy.ndarray, shape (m,)

    Raises
    ------
    CivstatsError
        For a probability out of range, shapes that differ, a missing score, a weight that is not
        positive and finite.

    Examples
    --------
    >>> weighted_conformal_quantile([1.0, 2.0, 3.0], [1.0, 1.0, 8.0], [1.0, 9.0], 0.6)
    array([ 3., inf])
    """
    v, w = _scores(scores), np.asarray(weights, dtype=float)
    own = np.asarray(new_weights, dtype=float)
    p = check_share("probability", probability, closed=False)
    if v.shape != w.shape:
        raise CivstatsError(f"{len(v)} score(s) have weights of shape {w.shape}")
    for name, x in (("weight", w), ("weight of new rows", own)):
        odd = ~(np.isfinite(x) & (x > 0))
        if odd.any():
            raise CivstatsError(f"{int(odd.sum())} {name}(s) not positive and finite")
    order = np.argsort(v, kind="stable")
    held = np.cumsum(w[order])
    total = held[-1] if len(held) else 0.0
    place = np.searchsorted(held, p * (total + own) * (1 - _HAIR), side="left")
    return np.append(v[order], np.inf)[place]


def censored_lower_bound(
    *,
    sales: ArrayLike,
    stock: ArrayLike,
    centre: ArrayLike,
    threshold: ArrayLike,
    chance: ArrayLike,
    new_centre: ArrayLike,
    new_threshold: ArrayLike,
    new_chance: ArrayLike,
    probability: float,
    scale: ArrayLike = 1.0,
    new_scale: ArrayLike = 1.0,
) -> np.ndarray:
    """Return lower bounds of demand from sales that stock cut short.

    The method of Candes, Lei and Ren (2023, "Conformalized survival analysis", JRSS-B 85), stock in
    the place of the censoring time. Where stock reaches a threshold c(x), min(demand, c(x)) is known,
    sold out or not. Those rows are a selection: given x, their min(demand, c(x)) is distributed as
    everywhere if stock and demand are independent given x, but their x are not. Weights
    1 / P(stock >= c(x) | x) undo that, and a bound of min(demand, c(x)) is one of demand.

    Parameters
    ----------
    sales, stock : array_like, shape (n,)
        Calibration rows, all of them: ``sales = min(demand, stock)``. Infinite stock is plenty.
    centre, scale : array_like, shape (n,) or scalar
        The score is ``(centre - min(demand, c)) / scale``, `scale` positive.
    threshold : array_like, shape (n,)
        c(x). Candes, Lei and Ren take a constant; any function of x fixed before calibration does
        (Gui, Hore, Ren and Barber 2024, "Conformalized survival analysis with adaptive cut-offs",
        Biometrika 111). With Z = min(demand, c(X)), a function of demand and X alone, selecting on
        S = {stock >= c(X)} leaves P(Z | X, S) = P(Z | X), since S is a matter of stock and X alone,
        and dP(X) / dP(X | S) = P(S) / P(S | X). Nothing in that asks c to be constant, only that c
        was not chosen by the rows that are now calibrated on.
    chance : array_like, shape (n,)
        P(stock >= c(x) | x), in (0, 1].
    new_centre, new_threshold, new_chance, new_scale : array_like, shape (m,)
        Of the rows to bound.
    probability : float
        That demand reaches the bound.

    Returns
    -------
    numpy.ndarray, shape (m,)
        At most `new_threshold`; minus infinity where the weights allow none.

    Raises
    ------
    CivstatsError
        For shapes that differ, missing values, sales above stock, a chance out of (0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> demand, stock = rng.poisson(20, 999), rng.integers(5, 40, 999)
    >>> old = dict(sales=np.minimum(demand, stock), stock=stock, centre=np.full(999, 20.0))
    >>> bound = censored_lower_bound(
    ...     **old, threshold=np.full(999, 18), chance=np.full(999, 22 / 35), new_centre=[20.0],
    ...     new_threshold=[18], new_chance=[22 / 35], probability=0.9)
    >>> float(bound[0])
    14.0
    """
    given = (sales, stock, centre, threshold, chance, scale)
    try:
        y, c, f, t, q, s = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in given))
        new = (new_centre, new_threshold, new_chance, new_scale)
        f1, t1, q1, s1 = np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in new))
    except ValueError as error:
        raise CivstatsError(f"calibration and new rows each need one length: {error}") from None
    finite = (y, f, t, s, f1, t1, s1)
    odd = sum(int((~np.isfinite(x)).sum()) for x in finite) + int(np.isnan(c).sum())
    if odd:
        raise CivstatsError(f"{odd} value(s) missing; stock must be known on every row")
    if (y > c).any():
        raise CivstatsError(f"{int((y > c).sum())} row(s) sell more than their stock")
    if min(s.min(initial=1), s1.min(initial=1)) <= 0:
        raise CivstatsError("scale must be positive")
    for x in (q, q1):
        if not ((x > 0) & (x <= 1)).all():
            raise CivstatsError("chance must lie in (0, 1] on every row")
    kept = c >= t
    scores = (f - np.minimum(y, t))[kept] / s[kept]
    found = weighted_conformal_quantile(scores, 1 / q[kept], 1 / q1, probability)
    return np.minimum(f1 - found * s1, t1)


def _scores(scores: ArrayLike) -> np.ndarray:
    v = np.asarray(scores, dtype=float)
    if v.ndim != 1 or np.isnan(v).any():
        raise CivstatsError(f"scores must be a line of numbers, {int(np.isnan(v).sum())} missing")
    return v
