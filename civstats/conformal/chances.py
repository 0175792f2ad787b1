"""The chance that stock reaches a threshold, given what is known at the cutoff: inverse weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from civstats.schema import ID

Chance = Callable[[pd.DataFrame, np.ndarray, pd.DataFrame], np.ndarray]
"""``chance(old, kept, new)``: learn from old rows and whether stock reached the threshold there;
return the chance that it does on new rows, shape (n_new,). The rows' columns are those of
:func:`civstats.conformal.chance_features`."""

LEAST = 0.01
"""A chance below this counts as this: no row shall stand for more than a hundred."""
_PRIOR_DAYS = 10.0
_RIDGE, _SERIES_RIDGE, _ROUNDS = 1.0, 4.0, 4


def constant_chance(old: pd.DataFrame, kept: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    """One chance for all rows: right if stock is independent of everything that demand follows."""
    return np.full(len(new), max(float(np.mean(kept)), LEAST))


def series_chance(old: pd.DataFrame, kept: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    """The share of each series' own days, shrunk to the share of all, which weighs ten days."""
    ids = pd.Index(pd.unique(pd.concat([old[ID], new[ID]]).astype(object)))
    at, at_new = ids.get_indexer(old[ID].astype(object)), ids.get_indexer(new[ID].astype(object))
    n = np.bincount(at, minlength=len(ids))
    hits = np.bincount(at, weights=kept, minlength=len(ids))
    share = (hits + _PRIOR_DAYS * np.mean(kept)) / (n + _PRIOR_DAYS)
    return np.maximum(share[at_new], LEAST)


def logistic_chance(old: pd.DataFrame, kept: np.ndarray, new: pd.DataFrame) -> np.ndarray:
    """A ridge logistic regression on the features, with an effect of each series.

    Numeric features are standardised and enter linearly, the log of the forecast mean squared too,
    whole-number features of few values (the day of the week) one by one.
    """
    from threadpoolctl import threadpool_limits

    x, x1 = _design(old, new)
    ids = pd.Index(pd.unique(pd.concat([old[ID], new[ID]]).astype(object)))
    at, at_new = ids.get_indexer(old[ID].astype(object)), ids.get_indexer(new[ID].astype(object))
    target = np.asarray(kept, dtype=float)
    share = np.clip(target.mean(), LEAST, 1 - LEAST / 10)
    beta = np.zeros(x.shape[1])
    beta[0] = np.log(share / (1 - share))
    effect = np.zeros(len(ids))
    # One BLAS thread: the last bits of a product must not depend on how many cores are free.
    with threadpool_limits(1, user_api="blas"):
        for _ in range(_ROUNDS):
            beta = _newton(x, target, effect[at], beta)
            for _ in range(3):
                p = _sigmoid(x @ beta + effect[at])
                up = (
                    np.bincount(at, weights=target - p, minlength=len(ids)) - _SERIES_RIDGE * effect
                )
                down = np.bincount(at, weights=p * (1 - p), minlength=len(ids)) + _SERIES_RIDGE
                effect = effect + np.clip(up / down, -1, 1)
        return np.maximum(_sigmoid(x1 @ beta + effect[at_new]), LEAST)


def _design(old: pd.DataFrame, new: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    both = pd.concat([old, new], ignore_index=True)
    columns = [np.ones(len(both))]
    for name in both.columns.drop([ID]):
        values = both[name].to_numpy(dtype=float)
        if name in ("weekday",):
            columns += [(values == k).astype(float) for k in np.unique(values)[1:]]
        elif name in ("mean", "threshold"):
            log = np.log1p(np.maximum(values, 0))
            columns += [log, log**2]
        else:
            columns.append(values)
    x = np.column_stack(columns)
    x[:, 1:] = np.where(np.isfinite(x[:, 1:]), x[:, 1:], 0.0)
    n = len(old)
    centre, spread = x[:n, 1:].mean(axis=0), x[:n, 1:].std(axis=0)
    # What does not vary in the old rows has taught nothing; what leaves their range is cut.
    varies = spread > 1e-9
    z = (x[:, 1:][:, varies] - centre[varies]) / spread[varies]
    lo, hi = (z[:n].min(axis=0), z[:n].max(axis=0)) if z.shape[1] else (0.0, 0.0)
    x = np.column_stack([x[:, 0], np.clip(z, lo, hi)])
    return x[:n], x[n:]


def _newton(x: np.ndarray, target: np.ndarray, offset: np.ndarray, beta: np.ndarray) -> np.ndarray:
    ridge = np.full(x.shape[1], _RIDGE)
    ridge[0] = 1e-3

    def loss(b: np.ndarray) -> float:
        eta = x @ b + offset
        return float(np.logaddexp(0, eta).sum() - target @ eta + (ridge * b**2).sum() / 2)

    now = loss(beta)
    for _ in range(25):
        p = _sigmoid(x @ beta + offset)
        slope = x.T @ (p - target) + ridge * beta
        curve = (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while (then := loss(beta - size * step)) > now and size > 1e-3:
            size /= 2
        if then >= now - 1e-8 * (1 + abs(now)):
            break
        beta, now = beta - size * step, then
    return beta


def _sigmoid(eta: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    p: np.ndarray = expit(eta)
    return p
