"""Which of several forecasts is better than which, and which differences decide nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.evaluation._daily import DailyScorer, horizon
from civstats.evaluation._dm import DieboldMariano, diebold_mariano
from civstats.evaluation._pair import DISTANCES, Entry, compare_pair, reach
from civstats.evaluation._winners import winners
from civstats.evaluation.scoring import Scorer, choose_metrics
from civstats.schema import (
    CivstatsError,
    Forecast,
    ForecastError,
    check_level,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ADJUSTMENTS",
    "DISTANCES",
    "PAIRS",
    "REFUSED",
    "DieboldMariano",
    "diebold_mariano",
    "pairwise",
    "winners",
]

PAIRS = (
    "metric",
    "regime",
    "level",
    "a",
    "b",
    "value_a",
    "value_b",
    "difference",
    "lo",
    "hi",
    "p",
    "p_adjusted",
    "dm",
    "p_dm",
    "p_dm_adjusted",
    "n_days",
    "better",
    "note",
    "caveat",
)
"""Columns of a frame of pairs."""
ADJUSTMENTS = ("holm", "bonferroni", "fdr_by")
"""Adjustments that hold however the pairs depend on each other, as pairs that share a model do."""
REFUSED = {"width": "a narrow interval is not a better one; compare winkler, pinball or crps"}
"""Metrics by which nothing is better."""


def pairwise(
    forecasts: pd.DataFrame,
    panel: pd.DataFrame,
    *,
    metric: str = "rmse",
    regime: str = "all_days",
    level: float | None = None,
    names: Sequence[str] | None = None,
    n_boot: int = 500,
    seed: int | np.random.Generator = 0,
    block: int | None = None,
    confidence: float = 95,
    adjust: str = "holm",
    predictive: Iterable[Forecast] = (),
    availability: Mapping[pd.Timestamp, xr.Dataset] | None = None,
    season_length: int = 7,
    stock_independent: bool = False,
) -> pd.DataFrame:
    """Test the difference in a score of every pair of models and treatments.

    Two tests, each adjusted for the number of pairs, and no winner where they do not agree:

    1. the two-way bootstrap over series and days of `evaluate`, one set of weights for all
       forecasts. The difference is held against its bootstrap standard error and t distributions;
    2. the Diebold-Mariano test over the days' losses, each summed over its series.

    Parameters
    ----------
    forecasts, panel : pandas.DataFrame
        As for `evaluate`.
    metric : str
        A loss, of which less is better; or ``bias`` or ``coverage``, of which the one nearer to
        what is to be expected is better. That must be known: for bias the true mean or the
        availability, unless no scored day is a stockout; for coverage of counts the models'
        own distributions (`predictive`), as the nominal level is not what a perfect interval
        of counts covers.
    regime : str
    level : float, optional
        For scores of intervals, percent.
    names : sequence of str, optional
        Columns ``{Model}_{treatment}``; by default all.
    n_boot, seed
        As for `evaluate`; at least 100 replicates.
    block : int, optional
        Consecutive scored days that are resampled together. By default as many as the forecasts
        look ahead, because the days of a window share what was not known at its cutoff. With one
        window there is then one block, and nothing can be decided.
    confidence : float
        Percent. All intervals together hold with it, and the tests use what is left as their
        level.
    adjust : {"holm", "bonferroni", "fdr_by"}
        The first two bound the probability of any false winner, the last the expected share
        of false ones among winners.
    predictive, availability, season_length, stock_independent
        As for `evaluate`.

    Returns
    -------
    pandas.DataFrame
        A row per pair, in the order of the columns: ``metric, regime, level, a, b, value_a,
        value_b, difference, lo, hi, p, p_adjusted, dm, p_dm, p_dm_adjusted, n_days, better, note,
        caveat``.
        `difference` is the score of `a` less that of `b` (for bias and coverage, of their
        distances from the expected figure); `lo` and `hi` hold simultaneously (Bonferroni), so
        that Holm's test can decide a pair whose interval just reaches 0. `dm` is negative where
        `a` loses less. `better` is `a` or `b` if both adjusted p-values are at most
        1 - confidence / 100, else empty. `note` says what a row lacks, `caveat` of what the better one is better:
        once 5 % of the days are stockouts, of sales or of in-stock days, not of demand.

    Raises
    ------
    ForecastError, CivstatsError
        As `evaluate`; for fewer than two forecasts with that score, a metric by which nothing is
        better, or one whose expected figure is not known.

    Notes
    -----
    **Bootstrap.** Let V be the variance of the bootstrap's replicates of the difference and B
    the number of blocks of days. Resampling B things understates their variance by the factor
    1 - 1/B, so V is raised by V_d / B, where V_d is the variance that blocks of days alone make, by
    the delta method. How many standard errors the difference may reach follows Banerjee (1960):
    with w = V_d / V, the root of w t_{B-1}^2 + (1 - w) t_{S-1}^2 for S series. A few windows
    are few, however many series there are. A p-value that counts replicates could not fall below
    1 / n_boot, and so never pass an adjustment for 45 pairs.

    **Diebold-Mariano.** A day's loss difference is scaled so that the mean over days is the
    difference in the pooled score (of squares, for a root). The kernel is Bartlett's, which is
    never negative. The bandwidth is the larger of twice the horizon and 1.3 sqrt(n) (Lazarus,
    Lewis, Stock and Watson 2018), at most half the days, and takes the horizon's place in the
    correction of Harvey, Leybourne and Newbold (1997). It does not apply to ``bias`` and
    ``coverage``, where no loss of a day is compared, nor to ``wape_total`` and ``rmsse``, which
    are no sums over days: there the bootstrap decides alone, and `note` says so.

    **Size.** Of four forecasts whose errors had one distribution (30 series, 6 x 7 to 56 x 1 and
    3 x 28 days, shocks shared by days, windows or within series) the bootstrap found some
    difference in at most 4 % of 100 trials each. Diebold-Mariano alone found one in 4 to 13 %, and
    in nine of ten where each forecast misjudged series of its own all along: it takes the series
    for given.

    In regimes of sales (``all_days``, ``in_stock``) the better one is better at sales, not at
    demand: stockouts favour forecasts that are too low.

    Examples
    --------
    >>> days = pd.date_range("2024-01-02", periods=28)
    >>> keys = {"unique_id": np.repeat(["a", "b", "c"], 28), "ds": np.tile(days, 3)}
    >>> panel = pd.DataFrame(keys | {"y": np.random.default_rng(0).poisson(4.0, 84)})
    >>> forecasts = pd.DataFrame(keys).assign(cutoff=lambda x: x["ds"] - pd.Timedelta(days=1))
    >>> forecasts = forecasts.assign(A_mask=4.0, B_mask=8.0)
    >>> pairs = pairwise(forecasts, panel, metric="rmse")
    >>> pairs[["a", "b", "better"]].to_numpy().tolist()
    [['A_mask', 'B_mask', 'A_mask']]
    """
    if metric in REFUSED:
        raise CivstatsError(f"no model is better by its {metric}: {REFUSED[metric]}")
    if adjust not in ADJUSTMENTS:
        raise CivstatsError(f"adjust must be one of {', '.join(ADJUSTMENTS)}, but got {adjust!r}")
    if isinstance(n_boot, int) and n_boot < 100:
        raise CivstatsError(f"n_boot must be at least 100 to test by, but got {n_boot}")
    levels = [] if level is None else check_level(level)
    (confidence,) = check_level(confidence)
    (chosen,) = choose_metrics(metric, levels)
    at = levels[0] if chosen.by_level else None
    options = {
        "regimes": regime,
        "predictive": tuple(predictive),
        "availability": availability,
        "season_length": season_length,
        "stock_independent": stock_independent,
    }
    daily = DailyScorer(forecasts, panel, **options)
    h = horizon(daily.aligned)
    block = h if block is None else block
    scorer = Scorer(forecasts, panel, n_boot=n_boot, seed=seed, block=block, **options)  # type: ignore[arg-type]
    entries = {
        name: Entry(scorer, daily, panel, name, regime, chosen, at)
        for name in _choose(names, scorer.aligned.names)
    }
    if sum(not e.reason for e in entries.values()) < 2:
        reason = next(e.reason for e in entries.values() if e.reason)
        raise CivstatsError(f"{metric} in regime {regime} is not to be had: {reason}")
    count = daily.rows_by_day(regime)
    rows = [
        {"metric": metric, "regime": regime, "level": np.nan if at is None else at, "a": a, "b": b}
        | vars(
            compare_pair(entries[a], entries[b], chosen, count, h, scorer.bootstrap.n_groups, block)
        )
        for a, b in combinations(entries, 2)
    ]
    return _decide(pd.DataFrame(rows), confidence, adjust)


def _choose(names: Sequence[str] | None, known: tuple[str, ...]) -> list[str]:
    chosen = list(known) if names is None else list(dict.fromkeys(names))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ForecastError(
            f"no forecast column {', '.join(unknown)}; there are {', '.join(known)}"
        )
    if len(chosen) < 2:
        raise ForecastError(
            f"a pair needs two forecasts, but there is {', '.join(chosen) or 'none'}"
        )
    return chosen


def _decide(rows: pd.DataFrame, confidence: float, adjust: str) -> pd.DataFrame:
    """Adjust for the number of pairs, and name the better ones."""
    alpha = 1 - confidence / 100
    rows["p_adjusted"] = _adjusted(rows["p"], adjust)
    rows["p_dm_adjusted"] = _adjusted(rows["p_dm"], adjust)
    tested = max(int(rows["p"].notna().sum()), 1)
    law = rows[["share", "df_days", "df_series"]].itertuples(index=False)
    half = rows["error"] * [reach(alpha / tested, *x) for x in law]
    rows["lo"], rows["hi"] = rows["difference"] - half, rows["difference"] + half
    sign = np.sign(rows["difference"])
    agree = rows["alone"] | ((rows["p_dm_adjusted"] <= alpha) & (np.sign(rows["dm"]) == sign))
    won = (rows["p_adjusted"] <= alpha) & agree & ~rows["barred"]
    rows["better"] = np.where(won, np.where(sign < 0, rows["a"], rows["b"]), "")
    return rows[list(PAIRS)]


def _adjusted(p: pd.Series, adjust: str) -> np.ndarray:
    from statsmodels.stats.multitest import multipletests

    out = np.full(len(p), np.nan)
    known = np.flatnonzero(p.notna())
    if known.size:
        out[known] = multipletests(p.to_numpy(dtype=float)[known], method=adjust)[1]
    return out
