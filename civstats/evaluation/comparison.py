"""Differences of scores with paired intervals, and the table of naive against true scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.evaluation._pair import DISTANCES, doubt, join_words
from civstats.evaluation.metric import Metric
from civstats.evaluation.scoring import Scorer, choose_metrics
from civstats.schema import CivstatsError, Forecast, ForecastError, check_level

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Difference:
    """The score of `a` minus the score of `b`, from the same bootstrap weights.

    Attributes
    ----------
    a, b : str
        ``{Model}_{treatment}``.
    metric : str
    regimes : tuple of str
        Regime of `a`, regime of `b`.
    value, lo, hi : float
        The difference and its percentile interval.
    value_a, value_b : float
        Scores; distances from the figures below where those were asked for.
    from_a, from_b : float
        What distances were measured from; NaN where none were.
    note : str
        What figures these are.
    barred : str
        Why the difference decides nothing, whatever its interval; empty where it may.
    """

    a: str
    b: str
    metric: str
    regimes: tuple[str, str]
    value: float
    lo: float
    hi: float
    value_a: float
    value_b: float
    from_a: float = float("nan")
    from_b: float = float("nan")
    note: str = ""
    barred: str = ""

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out zero; one comparison, not adjusted for others."""
        return not self.barred and bool(self.lo > 0 or self.hi < 0)


def compare(
    forecasts: pd.DataFrame,
    panel: pd.DataFrame,
    a: str,
    b: str,
    metric: str = "bias",
    regime: str | tuple[str, str] = "all_days",
    *,
    level: float | None = None,
    absolute: bool = False,
    n_boot: int = 500,
    seed: int | np.random.Generator = 0,
    confidence: float = 95,
    block: int = 1,
    predictive: Iterable[Forecast] = (),
    availability: Mapping[pd.Timestamp, xr.Dataset] | None = None,
) -> Difference:
    """Return the pooled score of `a` minus that of `b`, with a paired two-way bootstrap interval.

    Parameters
    ----------
    forecasts, panel : pandas.DataFrame
        As for `evaluate`.
    a, b : str
        Forecast columns ``{Model}_{treatment}``; the same one twice compares two regimes.
    metric : str
    regime : str or pair of str
        One regime for both, or one each: ``("all_days", "in_stock")``.
    level : float, optional
        For coverage and width, percent.
    absolute : bool
        Compare distances: which bias, or coverage, is nearer to what a perfect forecast shows in
        its regime, as `evaluate` has it in ``expected``. Where nobody knows that, to zero, or to
        the nominal level; `Difference.note` says which. Other scores are losses already.
    n_boot, seed, confidence, block, predictive, availability
        As for `evaluate`.

    Raises
    ------
    CivstatsError
        As `evaluate`, and for unknown `a` or `b`.

    Examples
    --------
    >>> days = pd.date_range("2024-01-02", periods=2)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": [4.0, 0.0]})
    >>> forecasts = pd.DataFrame({"unique_id": "a", "ds": days, "cutoff": pd.Timestamp("2024-01-01")})
    >>> forecasts = forecasts.assign(M_mask=[3.0, 2.0], M_ignore=[3.0, 0.0])
    >>> compare(forecasts, panel, "M_mask", "M_ignore", "bias", n_boot=0).value
    0.5
    """
    levels = [] if level is None else check_level(level)
    (confidence,) = check_level(confidence)
    (chosen,) = choose_metrics(metric, levels)
    at = levels[0] if chosen.by_level else None
    pair = (regime, regime) if isinstance(regime, str) else tuple(regime)
    if len(pair) != 2:
        raise CivstatsError(f"regime must be one name or a pair of names, but got {regime!r}")
    scorer = Scorer(
        forecasts,
        panel,
        regimes=pair,
        n_boot=n_boot,
        seed=seed,
        block=block,
        predictive=predictive,
        availability=availability,
    )
    unknown = [name for name in (a, b) if name not in scorer.aligned.names]
    if unknown:
        raise ForecastError(
            f"no forecast column {', '.join(unknown)}; there are {', '.join(scorer.aligned.names)}"
        )
    first, second = (
        scorer.replicates(name, where, chosen, at)[:, :1]
        for name, where in zip((a, b), pair, strict=True)
    )
    origin, note = (float("nan"), float("nan")), ""
    if absolute:
        origin, note = _origins(scorer, (a, b), pair, chosen, at)
        first, second = np.abs(first - origin[0]), np.abs(second - origin[1])
    # The same forecast in two regimes is no contest.
    contest = a != b and (absolute or metric not in DISTANCES)
    barred = dict.fromkeys(
        doubt(scorer, name, where, chosen, at) for name, where in zip((a, b), pair, strict=True)
    )
    lo, hi = scorer.bootstrap.interval(first - second, confidence)
    value_a, value_b = float(first[0, 0]), float(second[0, 0])
    return Difference(
        a,
        b,
        metric,
        pair,
        value_a - value_b,
        float(lo[0]),
        float(hi[0]),
        value_a,
        value_b,
        *origin,
        note,
        join_words(*barred) if contest else "",
    )


def _origins(
    scorer: Scorer, names: tuple[str, str], pair: tuple[str, ...], metric: Metric, at: float | None
) -> tuple[tuple[float, float], str]:
    """Return what two scores' distances are measured from, and say what that is."""
    if metric.name not in DISTANCES:
        return (0.0, 0.0), "measured from 0"
    plain = 0.0 if at is None else at / 100
    found, said = [], []
    for name, regime in zip(names, pair, strict=True):
        expected = float(scorer.expected(name, regime, metric, at)[0])
        known = bool(np.isfinite(expected))
        own = known and bool(doubt(scorer, name, regime, metric, at))
        found.append(expected if known else plain)
        why = "what a perfect forecast shows there" if known else "what one shows is not known"
        why = "what its own demand and the availability imply" if own else why
        said.append(f"{name} in {regime}: measured from {found[-1]:+.1%}, {why}")
    return (found[0], found[1]), "; ".join(said)


def naive_against_truth(
    scores: pd.DataFrame, metric: str = "bias", level: float | None = None
) -> pd.DataFrame:
    """Set each model's score on all days, on in-stock days and against demand side by side.

    Parameters
    ----------
    scores : pandas.DataFrame
        A score frame.
    metric : str
    level : float, optional
        For interval scores, percent.

    Returns
    -------
    pandas.DataFrame
        ``model, treatment``, then for each regime in the scores the pooled ``{regime}``,
        ``{regime}_lo``, ``{regime}_hi``, ``{regime}_expected``, ``{regime}_note`` (empty where
        nothing stands against the figure, "not identified: ..." where its target is not); in the
        order of the score frame.

    Raises
    ------
    CivstatsError
        If the scores hold no pooled row of that metric and level.

    Examples
    --------
    >>> scores = pd.DataFrame({"model": "M", "treatment": "mask", "regime": ["all_days", "in_stock"],
    ...     "metric": "bias", "level": np.nan, "cutoff": pd.NaT, "value": [0.1, 0.2], "lo": 0.0,
    ...     "hi": 0.3, "expected": np.nan, "note": ""})
    >>> naive_against_truth(scores)[["model", "all_days", "in_stock"]].values.tolist()
    [['M', 0.1, 0.2]]
    """
    keep = (scores["metric"] == metric) & scores["cutoff"].isna()
    keep &= scores["level"].isna() if level is None else scores["level"] == level
    rows = scores[keep]
    if rows.empty:
        at = "" if level is None else f" at level {level:g}"
        raise CivstatsError(f"the scores hold no pooled row of metric {metric!r}{at}")
    keys = ["model", "treatment"]
    wide = rows[keys].drop_duplicates().reset_index(drop=True)
    for regime in _in_order(rows["regime"]):
        names = {
            "value": regime,
            "lo": f"{regime}_lo",
            "hi": f"{regime}_hi",
            "expected": f"{regime}_expected",
            "note": f"{regime}_note",
        }
        part = rows.loc[rows["regime"] == regime, [*keys, *names]].rename(columns=names)
        wide = wide.merge(part, on=keys, how="left", validate="one_to_one")
    return wide


def _in_order(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
