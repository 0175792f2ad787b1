"""Scores of whole predictive distributions where the target is what it says: CRPS and log score."""

from __future__ import annotations

import numpy as np

from civstats.evaluation.metric import Metric, View


def _crps(view: View) -> np.ndarray:
    assert view.distribution is not None
    out = view.distribution.crps(view.actual)
    assert out is not None
    return out


def _log_score(view: View) -> np.ndarray:
    assert view.distribution is not None
    out = view.distribution.log_pmf(view.actual)
    assert out is not None
    return -out


PROBABILISTIC = (
    Metric("crps", _crps, needs=frozenset({"distribution"})),
    Metric("log_score", _log_score, needs=frozenset({"family"})),
)
"""The table of scores of distributions, the smaller the better. `log_score` is -log P(D = y): it
takes counts of a family; `crps` also 1,000 draws or more."""
