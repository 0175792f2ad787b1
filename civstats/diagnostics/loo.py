"""PSIS-LOO through the censoring: what each day, week or series says when it is left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from civstats.schema import CivstatsError

LEFT_OUT = {
    "day": (
        "A day is left out, given all other days of all series, those after it too: this says how well "
        "a gap of one day is filled, not how well the future is forecast, and a drifting level "
        "makes it easy."
    ),
    "week": (
        "A week of a series is left out, given the weeks before and after it. A weekly level has no "
        "data of its own then, so the draws lie far from where they should be: expect large k."
    ),
    "series": (
        "A whole series is left out, given the others: how well a new item is foreseen. Draws of its "
        "own levels come from the days left out, so importance weights fail almost surely (large k): "
        "fit without the series instead."
    ),
}
"""What is left out, by name, and what that means."""


@dataclass(frozen=True)
class Loo:
    """Leave-one-out predictive accuracy.

    Attributes
    ----------
    elpd, se : float
        Expected log predictive density and its standard error over what is left out.
    p_loo : float
        Effective number of parameters.
    n : int
        What was left out, one at a time; days out of stock throughout count nowhere.
    n_silent : int
        Those that say nothing: their log-likelihood is exactly 0.
    good_k : float
        The Pareto k up to which an estimate from so many draws is reliable.
    pointwise : pandas.DataFrame
        ``item, elpd, k, p``: position of what was left out (a row, or the number of its
        group), in order.
    log_weights : numpy.ndarray, shape (n, n_draws)
        Smoothed, normalised; for the PIT.
    note : str
    """

    elpd: float
    se: float
    p_loo: float
    n: int
    n_silent: int
    good_k: float
    pointwise: pd.DataFrame
    log_weights: np.ndarray
    note: str

    @property
    def bad(self) -> pd.DataFrame:
        """What was left out and cannot be estimated so, worst first."""
        table = self.pointwise[~(self.pointwise["k"] <= self.good_k)]
        return table.sort_values("k", ascending=False)


def psis_loo(
    loglik: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    leave_out: str = "day",
    reff: float = 1.0,
) -> Loo:
    """Estimate leave-one-out predictive accuracy from pointwise log-likelihoods.

    Parameters
    ----------
    loglik : numpy.ndarray, shape (n_draws, n_rows)
        log p(y | draw) of exact days and log P(D >= y | draw) of bounds.
    groups : numpy.ndarray of int, shape (n_rows,), optional
        Leaves out all rows of a number at once.
    leave_out : {"day", "week", "series"}
        What a row or a group is, for the note.
    reff : float
        Effective over actual draws, 1 for draws thinned to independence.

    Returns
    -------
    Loo

    Raises
    ------
    CivstatsError
        For fewer than 100 draws, values that are not finite, or nothing that was observed.

    Notes
    -----
    Vehtari, Gelman and Gabry (2017); Pareto smoothing and k of Vehtari, Simpson, Gelman, Yao and
    Gabry (2024), by arviz. A survival term is a probability and a density term is one of counts, too,
    so both add; with fractional sales densities and probabilities do not share a scale, and only
    models of one family compare.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import stats
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=30)
    >>> mu = rng.normal(y.mean(), 30**-0.5, size=1000)
    >>> found = psis_loo(stats.norm.logpdf(y, mu[:, None]))
    >>> found.n, bool(0.3 < found.p_loo < 3), len(found.bad)
    (30, True, 0)
    """
    loglik = np.asarray(loglik, dtype=float)
    if leave_out not in LEFT_OUT:
        raise CivstatsError(
            f"leave_out must be one of {', '.join(LEFT_OUT)}, but got {leave_out!r}"
        )
    if loglik.ndim != 2 or len(loglik) < 100:
        raise CivstatsError(
            f"PSIS needs 100 draws or more, shape (n_draws, n_rows), but got {loglik.shape}"
        )
    bad = ~np.isfinite(loglik)
    if bad.any():
        raise CivstatsError(
            f"{int(bad.any(axis=0).sum())} row(s) have a log-likelihood that is not finite, first "
            f"row {int(np.argmax(bad.any(axis=0)))}: the draws give what was seen no chance"
        )
    if groups is not None:
        loglik = _sum_by(loglik, np.asarray(groups))
    live = np.flatnonzero((loglik != 0).any(axis=0))
    if not len(live):
        raise CivstatsError("no day says anything: all were out of stock throughout")
    import arviz as az

    columns = np.ascontiguousarray(loglik[:, live].T)
    weights, k = az.psislw(-columns, reff)
    elpd = logsumexp(weights + columns, axis=1)
    lppd = logsumexp(columns, axis=1) - np.log(len(loglik))
    table = pd.DataFrame({"item": live, "elpd": elpd, "k": k, "p": lppd - elpd})
    return Loo(
        float(elpd.sum()),
        float(np.sqrt(len(live) * elpd.var())),
        float((lppd - elpd).sum()),
        len(live),
        loglik.shape[1] - len(live),
        float(min(1 - 1 / np.log10(len(loglik)), 0.7)),
        table,
        weights,
        LEFT_OUT[leave_out],
    )


def _sum_by(loglik: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sum columns by group number, 0 .. max."""
    if groups.shape != (loglik.shape[1],):
        raise CivstatsError(
            f"groups must name each of {loglik.shape[1]} row(s), but has shape {groups.shape}"
        )
    order = np.argsort(groups, kind="stable")
    names, starts = np.unique(groups[order], return_index=True)
    out = np.zeros((len(loglik), int(names.max()) + 1))
    out[:, names] = np.add.reduceat(loglik[:, order], starts, axis=1)
    return out
