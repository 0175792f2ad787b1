"""Scores every model, treatment, regime, metric and level of a backtest into one tidy frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.evaluation._notes import caution, join, remarks
from civstats.evaluation.metric import Metric
from civstats.evaluation.scoring import Scorer, choose_metrics
from civstats.schema import SCORES, CivstatsError, Forecast, check_level, parse_alias

if TYPE_CHECKING:
    import xarray as xr


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
    availability: Mapping[pd.Timestamp, xr.Dataset] | None = None,
    season_length: int = 7,
    stock_independent: bool = False,
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
        Of ``all_days`` (sales, every day), ``in_stock`` (sales, days known to be in stock),
        ``demand`` (true demand, every day) and ``censored`` (every day of known status, a stockout
        day's sales being a bound; undefined where all days are wholly out, which say nothing); by
        default those the panel can offer.
    metrics : sequence of str, optional
        By default all that can be had. With the median: ``wape`` (daily), ``mase`` (in units of
        the seasonal naive's in-sample error). With the mean: ``wape_total`` (totals of each series'
        window over the regime's days), ``rmse``, ``bias`` (relative), ``rmsse`` (in units of one-step
        changes since the first sale, as in M5, averaged over series and windows). By level:
        ``coverage``, ``width``, ``winkler``, ``pinball`` (mean of the two ends). With `predictive`:
        ``crps``, ``log_score``. In regime ``censored``: ``localised_crps``, ``censored_log_score``,
        ``censored_pinball``.
    n_boot : int
        Bootstrap replicates over series and days; 0 leaves `lo` and `hi` empty.
    seed : int or numpy.random.Generator
    confidence : float
        Level of `lo` and `hi`, percent.
    block : int
        Consecutive days that are resampled together, 7 where days depend on each other.
    predictive : iterable of Forecast
        Forecasts whose marginals or sample paths give distributions, and with them the coverage that
        the model itself expects.
    availability : mapping of pandas.Timestamp to xarray.Dataset, optional
        By cutoff, draws of availability (``Availability.paths``): with `predictive` they give the
        bias that the model itself expects on all days and in stock, where no truth is known.
    season_length : int
        Periods of a season, for ``mase``.
    stock_independent : bool
        Whether stock may be taken as independent of demand after the cutoff (outages at random).
        Otherwise the regime ``censored`` is scored one step ahead only, where that holds under an
        inventory policy too.

    Returns
    -------
    pandas.DataFrame
        The score frame: ``model, treatment, regime, metric, level, cutoff, value, lo, hi, n,
        expected, identified, note``. Pooled rows have no cutoff, point scores no level. `n` counts
        rows (windows for ``wape_total``). `expected` is what a perfect forecast would show: for
        bias the score of the true mean on the same rows (a Monte Carlo figure of this one
        realisation; needs ``demand_mean``) or, without it, that of the model's own joint draws of
        demand and stock (needs `availability`); for coverage of demand the model's own probability
        of its intervals (needs `predictive`). A score without rows, or relative to no units, is
        undefined: NaN, and `identified` is False. So are scores that are not proper here. A score
        whose target the data do not identify keeps its value with `identified` False; `note` says
        why: the mean where over half of the days are stockouts, a censored pinball whose quantiles
        reach what was ever stocked. A note beside an identified score says what it is not, or what
        it lacks: one of sales is not one of demand once 5 % of the days are stockouts; series
        without a forecast at some cutoff, unequal windows, windows without a scale.

    Raises
    ------
    ForecastError
        If a forecast or an actual is missing or infinite: nothing is dropped to make a score.
    CivstatsError
        For an unknown metric or regime, a regime the panel cannot offer, metrics that no regime
        asked for has, or a metric asked for that needs a stock nobody recorded.

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
        availability=availability,
        season_length=season_length,
        stock_independent=stock_independent,
    )
    _refuse(scorer, chosen, asked=metrics is not None)
    blocks = []
    for name in scorer.aligned.names:
        for regime, rows in scorer.rows.items():
            for metric in chosen:
                if metric.kind != rows.regime.kind:
                    continue
                if (
                    metrics is None
                    and metric.needs & {"family", "distribution"}
                    and not scorer.predictive
                ):
                    continue
                for at in levels if metric.by_level else [None]:
                    blocks.append(_score(scorer, name, regime, metric, at, confidence))
    return pd.DataFrame({c: np.concatenate([b[c] for b in blocks]) for c in SCORES})


SILENT = "undefined: every day is out from the start, which says nothing of demand"


def _refuse(scorer: Scorer, chosen: list[Metric], *, asked: bool) -> None:
    """Raise for metrics asked for that no regime here has, or that lack the stock they need."""
    if not asked:
        return
    kinds = {rows.regime.kind for rows in scorer.rows.values()}
    stray = [m.name for m in chosen if m.kind not in kinds]
    if stray:
        raise CivstatsError(
            f"{', '.join(stray)}: no score of regime {', '.join(scorer.rows)}; censored scores belong "
            "to regime censored, the others to the others"
        )
    for regime, rows in scorer.rows.items():
        for metric in (m for m in chosen if m.kind == rows.regime.kind):
            reason = scorer.obstacle(scorer.aligned.names[0], regime, metric)
            if "stock" in metric.needs and reason and scorer.proper:
                raise CivstatsError(f"{metric.name}: {reason}")


def _score(
    scorer: Scorer, name: str, regime: str, metric: Metric, level: float | None, confidence: float
) -> dict[str, np.ndarray]:
    """One model's score in one regime, pooled first, then by cutoff."""
    size = 1 + scorer.n_cutoffs
    model, treatment = parse_alias(name)
    reason = scorer.obstacle(name, regime, metric)
    note = np.full(size, reason, dtype=object)
    said = np.full(size, "", dtype=object)
    value, lo, hi, expected = (np.full(size, np.nan) for _ in range(4))
    if not reason:
        values = scorer.replicates(name, regime, metric, level)
        lo, hi = scorer.bootstrap.interval(values, confidence)
        value, expected = values[0], scorer.expected(name, regime, metric, level)
        note = caution(scorer, name, regime, metric, level)
        said = remarks(scorer, name, regime, metric)
        lost = "undefined: nothing to score, or to divide by"
        if metric.needs & {"family", "distribution"} and (scorer.count(regime, metric) > 0).all():
            lost = (
                "needs the predictive distribution of every row: pass the forecasts of every cutoff"
            )
        note[np.isnan(value)] = lost
        note[scorer.silent(regime) & np.isnan(value)] = SILENT
        note[np.isposinf(value)] = "an outcome had probability 0 under the model"
    return {
        "model": np.full(size, model, dtype=object),
        "treatment": np.full(size, treatment, dtype=object),
        "regime": np.full(size, regime, dtype=object),
        "metric": np.full(size, metric.name, dtype=object),
        "level": np.full(size, np.nan if level is None else level),
        "cutoff": np.r_[np.datetime64("NaT", "ns"), scorer.aligned.cutoffs],
        "value": value,
        "lo": lo,
        "hi": hi,
        "n": scorer.count(regime, metric),
        "expected": expected,
        "identified": note == "",
        "note": join(note, np.where(np.isnan(value), "", said)),
    }
