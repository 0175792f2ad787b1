"""The table of all metrics, and the choice from it."""

from __future__ import annotations

from collections.abc import Sequence

from civstats.evaluation.censored import CENSORED_SCORES
from civstats.evaluation.intervals import INTERVALS
from civstats.evaluation.metric import Metric
from civstats.evaluation.points import POINTS
from civstats.evaluation.probabilistic import PROBABILISTIC
from civstats.schema import CivstatsError

METRICS: dict[str, Metric] = {
    metric.name: metric for metric in (*POINTS, *INTERVALS, *PROBABILISTIC, *CENSORED_SCORES)
}
"""Every metric by name."""


def choose_metrics(names: Sequence[str] | str | None, levels: Sequence[float]) -> list[Metric]:
    """Return the metrics asked for, by default all that `levels` allow.

    Raises
    ------
    CivstatsError
        For an unknown name, or an interval metric without a level.

    Examples
    --------
    >>> [m.name for m in choose_metrics(["bias", "coverage"], [80])]
    ['bias', 'coverage']
    """
    if names is None:
        return [m for m in METRICS.values() if levels or not m.by_level]
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise CivstatsError(
            f"metrics must be some of {', '.join(METRICS)}, but got {', '.join(unknown) or 'none'}"
        )
    chosen = [METRICS[name] for name in names]
    if not levels and any(m.by_level for m in chosen):
        raise CivstatsError("interval scores need a level in percent, such as level=80")
    return chosen
