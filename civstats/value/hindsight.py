"""Acting on the top of a ranking against acting with hindsight: precision, regret, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from civstats.schema import ID, CivstatsError


def top_k_regret(
    ranking: pd.DataFrame, truth: pd.DataFrame, ks: int | Sequence[int] = 50
) -> pd.DataFrame:
    """Hold the first k of a ranking against the k that were worth most.

    Parameters
    ----------
    ranking : pandas.DataFrame
        ``unique_id`` in order of rank.
    truth : pandas.DataFrame
        ``unique_id, value``, as :func:`true_gain` returns it.
    ks : int or sequence of int

    Returns
    -------
    pandas.DataFrame
        Per ``k`` (no more than there are series): ``precision`` (share of the first k in the true
        top k; series tied at its border share its places), ``gained``, ``best`` (with hindsight),
        ``regret = best - gained``, ``regret_share = regret / best`` (NaN where best is 0).

    Examples
    --------
    >>> ranking = pd.DataFrame({"unique_id": ["a", "b", "c"]})
    >>> truth = pd.DataFrame({"unique_id": ["a", "b", "c"], "value": [5.0, 1.0, 3.0]})
    >>> top_k_regret(ranking, truth, 2)
       k  precision  gained  best  regret  regret_share
    0  2        0.5     6.0   8.0     2.0          0.25
    """
    worth = pd.Series(truth["value"].to_numpy(float), index=truth[ID].astype(str))
    order = ranking[ID].astype(str)
    absent = ~order.isin(worth.index)
    if absent.any() or len(order) != len(worth):
        raise CivstatsError(
            f"ranking and truth differ in their series ({len(order)} and {len(worth)}, "
            f"{int(absent.sum())} of the ranking unknown to the truth): hold the same ones together"
        )
    gained, n = worth.loc[order].to_numpy(), len(order)
    best = np.sort(gained)[::-1]
    rows = []
    for k in [ks] if isinstance(ks, (int, np.integer)) else ks:
        if k < 1:
            raise CivstatsError(f"k must be 1 or more, but got {k}")
        k = min(int(k), n)
        border = best[k - 1]
        sure = (gained[:k] > border).sum()
        places = k - (gained > border).sum()
        hit = sure + min((gained[:k] == border).sum(), places)
        got, most = float(gained[:k].sum()), float(best[:k].sum())
        rows.append((k, hit / k, got, most, most - got, 1 - got / most if most > 0 else np.nan))
    return pd.DataFrame(
        rows, columns=["k", "precision", "gained", "best", "regret", "regret_share"]
    )


def in_true_top(truth: pd.DataFrame, k: int) -> pd.Series:
    """Return each series' place in the true top k, by ``unique_id``: 1, 0, or a share of a tie."""
    value = truth["value"].to_numpy(float)
    k = min(int(k), len(value))
    border = np.sort(value)[::-1][k - 1]
    above, tied = value > border, value == border
    places = (k - above.sum()) / tied.sum()
    return pd.Series(above + tied * places, index=pd.Index(truth[ID].astype(str), name=ID))


def reliability(
    probability: np.ndarray,
    outcome: np.ndarray,
    *,
    edges: Sequence[float] = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1),
    cluster: np.ndarray | None = None,
) -> pd.DataFrame:
    """Tell how often what had a chance of p came about, bin by bin.

    Parameters
    ----------
    probability, outcome : numpy.ndarray, shape (n,)
        Chances, and 0, 1 or a share of a place.
    edges : sequence of float
        Bins of the chance, the last one closed.
    cluster : numpy.ndarray, shape (n,), optional
        What goes together (replication, series): the interval is over clusters' sums, since rows
        of one cluster are not independent.

    Returns
    -------
    pandas.DataFrame
        ``lo, hi, n, expected`` (mean chance), ``observed``, ``half`` (95 % half-width of observed
        minus expected); bins without a row are left out.
    """
    p, y = np.asarray(probability, float), np.asarray(outcome, float)
    if p.shape != y.shape or not ((p >= 0) & (p <= 1)).all():
        raise CivstatsError("reliability needs chances in [0, 1] and as many outcomes")
    groups = np.arange(len(p)) if cluster is None else pd.factorize(np.asarray(cluster))[0]
    limits = np.asarray(edges, float)
    bins = np.clip(np.searchsorted(limits, p, side="right") - 1, 0, len(limits) - 2)
    rows = []
    for b in np.unique(bins):
        i = bins == b
        error, n = y[i] - p[i], int(i.sum())
        sums = np.bincount(groups[i], error - error.mean())
        m = len(np.unique(groups[i]))
        half = 1.96 * np.sqrt((sums**2).sum() * m / max(m - 1, 1)) / n if m > 1 else np.nan
        rows.append((limits[b], limits[b + 1], n, p[i].mean(), y[i].mean(), half))
    return pd.DataFrame(rows, columns=["lo", "hi", "n", "expected", "observed", "half"])
