"""Scores every model, treatment, regime, metric and level of a backtest into one tidy frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from civstats.evaluation.scoring import Scorer, choose_metrics
from civstats.schema import SCORES, Forecast, check_level, parse_alias


def evaluate(
    forecasts: pd.DataFrame,
    panel: pd.DataFrame,
    *,
    level: Sequence[float] | float | None = (80, 95),
    regimes: Sequence[str] | str | None = None,
    metrics: Sequence[str] | str | None = None,
    n_boot: int = 500,
    seed: int | np.random.Generator = 0,
    confidence: float = 95,
    block: int = 1,
    predictive: Iterable[Forecast] = (),
) -> pd.DataFrame:
    """Score forecasts against a panel: every model, treatment, regime, metric and level.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        ``unique_id, ds, cutoff`` and, for every ``{Model}_{treatment}``, the mean in that column
        and quantiles in ``-median, -lo-80, -hi-80, ...``; a row per series, cutoff and day.
    panel : pandas.DataFrame
        Validated panel with the actuals. Rows outside the forecast days are not read.
    level : sequence of float, optional
        Interval levels, percent; None scores no intervals.
    regimes : sequence of str, optional
        Of ``all_days`` (sales, every day), ``in_stock`` (sales, days known to be in stock) and
        ``demand`` (true demand, every day); by default those the panel can offer.
    metrics : sequence of str, optional
        Of ``wape`` (daily, with the median), ``wape_total`` (totals of each series' window over
        the regime's days, with the mean), ``rmse``, ``bias`` (relative; with the mean),
        ``coverage`` and ``width``; by default all.
    n_boot : int
        Bootstrap replicates over series and days; 0 leaves `lo` and `hi` empty.
    seed : int or numpy.random.Generator
    confidence : float
        Level of `lo` and `hi`, percent.
    block : int
        Consecutive days that are resampled together, 7 where days depend on each other.
    predictive : iterable of Forecast
        Forecasts whose sample paths give the coverage that the model itself expects.

    Returns
    -------
    pandas.DataFrame
        The score frame: ``model, treatment, regime, metric, level, cutoff, value, lo, hi, n,
        expected, identified``. Pooled rows have no cutoff, point scores no level. `n` counts
        rows (windows for ``wape_total``). `expected` is what a perfect forecast would show: for
        bias the score of the true mean on the same rows (a Monte Carlo figure of this one
        realisation; needs ``demand_mean``), for coverage of demand the model's own probability
        of its intervals (needs `predictive`). A score without rows, or relative to no units, is
        undefined: NaN, and `identified` is False.

    Raises
    ------
    ForecastError
        If a forecast or an actual is missing or infinite: nothing is dropped to make a score.
    CivstatsError
        For an unknown metric or regime, or a regime the panel cannot offer.

    Examples
    --------
    >>> days = pd.date_range("2024-01-02", periods=2)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": [4.0, 0.0]})
    >>> forecasts = pd.DataFrame(
    ...     {"unique_id": "a", "ds": days, "cutoff": pd.Timestamp("2024-01-01"), "M_mask": [3.0, 2.0]}
    ... )
    >>> scores = evaluate(forecasts, panel, metrics="bias", n_boot=0)
    >>> scores.loc[0, ["model", "treatment", "metric"]].tolist(), float(scores["value"][0])
    (['M', 'mask', 'bias'], 0.25)
    """
    levels = [] if level is None else check_level(level)
    (confidence,) = check_level(confidence)
    chosen = choose_metrics(metrics, levels)
    scorer = Scorer(
        forecasts,
        panel,
        regimes=regimes,
        n_boot=n_boot,
        seed=seed,
        block=block,
        predictive=predictive,
    )
    size = 1 + scorer.n_cutoffs
    blocks = []
    for name in scorer.aligned.names:
        model, treatment = parse_alias(name)
        for regime in scorer.rows:
            for metric in chosen:
                count = scorer.count(regime, metric)
                for at in levels if metric.by_level else [None]:
                    values = scorer.replicates(name, regime, metric, at)
                    lo, hi = scorer.bootstrap.interval(values, confidence)
                    blocks.append(
                        {
                            "model": np.full(size, model, dtype=object),
                            "treatment": np.full(size, treatment, dtype=object),
                            "regime": np.full(size, regime, dtype=object),
                            "metric": np.full(size, metric.name, dtype=object),
                            "level": np.full(size, np.nan if at is None else at),
                            "cutoff": np.r_[np.datetime64("NaT", "ns"), scorer.aligned.cutoffs],
                            "value": values[0],
                            "lo": lo,
                            "hi": hi,
                            "n": count,
                            "expected": scorer.expected(name, regime, metric, at),
                            "identified": np.isfinite(values[0]),
                        }
                    )
    return pd.DataFrame({c: np.concatenate([b[c] for b in blocks]) for c in SCORES})
