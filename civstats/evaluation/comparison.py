"""Differences of scores with paired intervals, and the table of naive against true scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.evaluation.scoring import Scorer, choose_metrics
from civstats.schema import CivstatsError, ForecastError, check_level


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

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out zero; one comparison, not adjusted for others."""
        return bool(self.lo > 0 or self.hi < 0)


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
        Compare |score|: which bias is nearer to zero.
    n_boot, seed, confidence, block
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
    scorer = Scorer(forecasts, panel, regimes=pair, n_boot=n_boot, seed=seed, block=block)
    unknown = [name for name in (a, b) if name not in scorer.aligned.names]
    if unknown:
        raise ForecastError(
            f"no forecast column {', '.join(unknown)}; there are {', '.join(scorer.aligned.names)}"
        )
    first, second = (
        scorer.replicates(name, where, chosen, at)[:, :1]
        for name, where in zip((a, b), pair, strict=True)
    )
    if absolute:
        first, second = np.abs(first), np.abs(second)
    lo, hi = scorer.bootstrap.interval(first - second, confidence)
    value_a, value_b = float(first[0, 0]), float(second[0, 0])
    return Difference(
        a, b, metric, pair, value_a - value_b, float(lo[0]), float(hi[0]), value_a, value_b
    )


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
        ``{regime}_lo``, ``{regime}_hi``, ``{regime}_expected``; in the order of the score frame.

    Raises
    ------
    CivstatsError
        If the scores hold no pooled row of that metric and level.

    Examples
    --------
    >>> scores = pd.DataFrame({"model": "M", "treatment": "mask", "regime": ["all_days", "in_stock"],
    ...     "metric": "bias", "level": np.nan, "cutoff": pd.NaT, "value": [0.1, 0.2], "lo": 0.0,
    ...     "hi": 0.3, "expected": np.nan})
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
        }
        part = rows.loc[rows["regime"] == regime, [*keys, *names]].rename(columns=names)
        wide = wide.merge(part, on=keys, how="left", validate="one_to_one")
    return wide


def _in_order(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
