"""A score's daily parts: what a test over days, and the share of days in its variance, rest on."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from civstats.evaluation.alignment import Alignment
from civstats.evaluation.metric import Metric
from civstats.evaluation.scoring import Scorer
from civstats.evaluation.significance import TwoWayBootstrap


@dataclass(frozen=True)
class DailyParts:
    """One model's score taken apart by day.

    Attributes
    ----------
    losses : numpy.ndarray, shape (n_days,)
        Loss of each scored day, summed over its series.
    bottoms : numpy.ndarray, shape (n_days,)
        What the sum of losses is divided by: rows, or units.
    pull : numpy.ndarray, shape (n_days,)
        First-order change of the score when a day counts once more. They add up to 0.
    """

    losses: np.ndarray
    bottoms: np.ndarray
    pull: np.ndarray


class DailyScorer(Scorer):
    """A scorer whose replicate 1 + k is the k-th scored day alone."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options, n_boot=0)  # type: ignore[arg-type]
        self.bootstrap = _EachDay(self.aligned)

    def parts(self, name: str, regime: str, metric: Metric, level: float | None) -> DailyParts:
        """Take the pooled score of a model apart; the score must be finite."""
        held = _Parts(**{f.name: getattr(metric, f.name) for f in fields(metric)})
        top, bottom = self.replicates(name, regime, held, level)[:, :, 0]
        ratio = top[0] / bottom[0]
        slope = 1.0
        if metric.root:
            slope = 0.5 / np.sqrt(ratio) if ratio > 0 else 0.0
        pull = slope * (top[1:] - ratio * bottom[1:]) / bottom[0]
        return DailyParts(top[1:], bottom[1:], pull)

    def rows_by_day(self, regime: str) -> np.ndarray:
        """Return how many rows a regime has on each scored day, shape (n_days,)."""
        count: np.ndarray = self.bootstrap.sums(None, self.rows[regime].cell)[1:, 0]
        return count


class _EachDay(TwoWayBootstrap):
    def __init__(self, aligned: Alignment) -> None:
        super().__init__(
            aligned.series,
            aligned.column,
            len(aligned.ids),
            aligned.column_day,
            aligned.column_cutoff,
            n_boot=0,
        )
        self._day = aligned.column_day

    def sums(self, values: np.ndarray | None, cell: np.ndarray) -> np.ndarray:
        by_column = np.bincount(cell, weights=values, minlength=self.n_columns)
        by_day = np.bincount(self._day, weights=by_column)
        return np.r_[by_day.sum(), by_day][:, None]


class _Parts(Metric):
    """A metric left undivided: its numerator and denominator."""

    def finish(self, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
        return np.stack([numerator, denominator])


def horizon(aligned: Alignment) -> int:
    """Return how many periods ahead the farthest forecast is.

    A period is the shortest distance between any two scored days or cutoffs.
    """
    days, cutoffs = aligned.days.to_numpy(), aligned.cutoffs.to_numpy()
    period = np.diff(np.unique(np.r_[days, cutoffs])).min()
    ahead = days[aligned.column_day] - cutoffs[aligned.column_cutoff]
    return int(np.ceil(ahead.max() / period))
