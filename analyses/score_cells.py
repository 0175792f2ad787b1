"""One replication of `score_study.py`: the truth and its distortions under every score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from score_worlds import Draw, outcomes

from civstats.evaluation.distributions import NegBinRows
from civstats.evaluation.metric import Metric, View
from civstats.evaluation.metrics import METRICS

LEVEL = 80.0
PLAIN = ("wape", "wape_total", "rmse", "bias", "winkler", "crps", "log_score")
BOUNDED = ("localised_crps", "censored_log_score", "censored_pinball")
REGIMES = ("all_days", "in_stock", "demand", "censored")
TRUTH = "truth"
CONTENDERS = {
    TRUTH: (1.0, 1.0),
    "mean x 0.85": (0.85, 1.0),
    "mean x 1.15": (1.15, 1.0),
    "dispersion x 0.5": (1.0, 0.5),
    "dispersion x 2": (1.0, 2.0),
}
"""Factors on the mean and on the dispersion."""
CURVE = (0.7, 0.75, 0.8, 0.9, 0.95, 1.05, 1.1)
"""More factors on the mean."""
ALONG = ("localised_crps", "censored_log_score")
"""What is scored along them."""
Cell = tuple[str, str, str]
"""Regime, metric, contender."""


@dataclass(frozen=True)
class Rows:
    """The scored rows of one regime.

    Attributes
    ----------
    take : numpy.ndarray or None
        Rows of all scored ones; None for all of them.
    actual, stock : numpy.ndarray, shape (n,)
    is_censored : numpy.ndarray of bool, shape (n,)
    window : numpy.ndarray of int, shape (n,)
        One a row: each day is forecast from its own cutoff.
    """

    take: np.ndarray | None
    actual: np.ndarray
    stock: np.ndarray
    is_censored: np.ndarray
    window: np.ndarray


@dataclass(frozen=True)
class Contender:
    """A forecast: its distribution, mean and quantiles, each of shape (n,) but the first."""

    distribution: NegBinRows
    mean: np.ndarray
    median: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


def distort(truth: NegBinRows, mean: float, dispersion: float) -> NegBinRows:
    """Return the distribution with its means and dispersions multiplied."""
    return replace(truth, mean=truth.mean * mean, dispersion=truth.dispersion * dispersion)


def make(distribution: NegBinRows, level: float = LEVEL) -> Contender:
    """Return the forecast that a distribution makes."""
    tail = (1 - level / 100) / 2
    mean = (distribution.weight * distribution.mean).sum(axis=1)
    lo, median, hi = quantiles(distribution, (tail, 0.5, 1 - tail)).T
    return Contender(distribution, mean, median, lo, hi)


def quantiles(rows: NegBinRows, probabilities: Sequence[float]) -> np.ndarray:
    """Return the smallest counts with P(D <= x) >= p, shape (n, n_probabilities).

    By adding up probabilities from 0 on, rows dropping out once they have their last quantile.
    """
    wanted = np.asarray(probabilities)
    out = np.zeros((len(rows.mean), len(wanted)))
    left = np.arange(len(rows.mean))
    m, a, w = rows.mean, np.asarray(rows.dispersion), np.asarray(rows.weight)
    p = np.exp(-a * np.log1p(m / a))
    below, x = (w * p).sum(axis=1), 0.0
    while True:
        # Rounding must not put the quantile of an exact probability one count higher.
        short = below[:, None] < wanted - 1e-12
        more = short.any(axis=1)
        if not more.any():
            return out
        if not more.all():
            left, below, short = left[more], below[more], short[more]
            p, m, a, w = p[more], m[more], a[more], w[more]
        x += 1.0
        out[left] += short
        p = p * ((x - 1 + a) * m) / (x * (a + m))
        below = below + (w * p).sum(axis=1)


def regimes(drawn: Draw) -> dict[str, Rows]:
    """Return the rows of each regime, as `civstats.evaluation` takes them."""
    y, demand, stock, out = outcomes(drawn)
    window = np.arange(len(y))

    def some(actual: np.ndarray, take: np.ndarray | None) -> Rows:
        parts = (actual, stock, out, window)
        return Rows(take, *(parts if take is None else (x[take] for x in parts)))

    return {
        "all_days": some(y, None),
        "in_stock": some(y, np.flatnonzero(~out)),
        "demand": some(demand, None),
        "censored": some(y, None),
    }


def score(metric: Metric, rows: Rows, forecast: Contender) -> float:
    """Return one pooled score, as `evaluate` computes it; of bias, its distance from zero."""

    def of(values: np.ndarray) -> np.ndarray:
        return values if rows.take is None else values[rows.take]

    held = forecast.distribution
    view = View(
        rows.actual,
        rows.window,
        int(rows.window.max()) + 1,
        lambda part, level: of(getattr(forecast, part)),
        LEVEL if metric.by_level else None,
        distribution=held if rows.take is None else held.take(rows.take),
        stock=rows.stock,
        is_censored=rows.is_censored,
    )
    errors = metric.errors(view)
    bottom = rows.actual.sum() if metric.per == "units" else float(len(errors))
    return float(abs(metric.finish(np.asarray(errors.sum()), np.asarray(bottom))))


def replicate(drawn: Draw, h: int, *, curve: bool = True) -> dict[Cell, float]:
    """Score the truth and its distortions, `h` days ahead, in all regimes.

    With `curve` the scores of `ALONG` at the factors of `CURVE` too.
    """
    truth, by_regime = drawn.truth(h), regimes(drawn)
    out = {}
    for name, factors in CONTENDERS.items():
        forecast = make(distort(truth, *factors))
        for regime, rows in by_regime.items():
            for metric in BOUNDED if regime == "censored" else PLAIN:
                out[regime, metric, name] = score(METRICS[metric], rows, forecast)
    if not curve:
        return out
    blank = np.empty(0)
    for factor in CURVE:
        law = distort(truth, factor, 1.0)
        forecast = Contender(law, blank, blank, blank, blank)
        for metric in ALONG:
            cell = ("censored", metric, f"mean x {factor:g}")
            out[cell] = score(METRICS[metric], by_regime["censored"], forecast)
    return out
