"""Conformal lower bounds of demand that stockouts do not spoil, as intervals of a backtest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from civstats.conformal._bounder import Bounder, StockRows, Threshold
from civstats.conformal._rows import (
    ConformalForecasts,
    Dates,
    assemble,
    interval_frame,
    model_names,
    read,
    split_rows,
    spread_of,
    whole_units,
)
from civstats.conformal.chances import Chance, logistic_chance
from civstats.conformal.groups import group_rows
from civstats.conformal.split import SCORES, whole
from civstats.schema import (
    CivstatsError,
    Y,
    check_level,
    level_columns,
)


def censored_conformal(
    forecasts: pd.DataFrame,
    panel: pd.DataFrame,
    *,
    level: Sequence[float] = (80, 95),
    names: Sequence[str] | None = None,
    score: str = "auto",
    scale: str | None = "sqrt",
    threshold: Threshold = "auto",
    chance: Chance = logistic_chance,
    unknown_stock: str = "refuse",
    test: Dates | None = None,
    calibration: Dates | None = None,
    training: Dates | None = None,
    by: str | None = "size",
    future: pd.DataFrame | None = None,
    integer: bool = True,
    tag: str = "",
) -> ConformalForecasts:
    """Give forecasts a lower end that demand keeps to, stockouts or not; the upper is the model's.

    Conformalized survival analysis (Candes, Lei and Ren 2023, JRSS-B 85), stock as the censoring
    time; see :func:`civstats.conformal.censored_lower_bound`. Stockout days take part, with what
    they say: where stock reached the threshold c(x), min(demand, c(x)) is known. Training cutoffs
    settle c(x), a multiple of the forecast mean, and the chance that stock reaches it; calibration
    cutoffs, later, settle the bound.

    **What is guaranteed, and when.** P(demand >= lower end) >= 1 - a/2, a the complement of `level`
    (90 % at level 80), if

    1. calibration rows and a test row are exchangeable (with drift and shared days: roughly);
    2. stock is independent of demand given x, what the features hold: a matter of the mechanism.
       It holds for outages at random and for those that follow the features. Under an inventory
       policy stock follows past demand; it holds **one day ahead** as far as the forecast
       and the features say all that the past says of the day's demand. Further ahead stock depends
       on demand after the cutoff, and nothing is guaranteed;
    3. every x has a chance of enough stock (else the bound falls to 0, which is valid);
    4. the chances are right.

    It is marginal, an average over rows, exact in finite samples for known chances. Estimated ones
    cost at most E|1/estimate - 1/chance| / 2 over the rows with enough stock, both weights scaled to mean
    one; and the bound is doubly robust: for many rows the promise holds too where the chances are wrong but the
    model's own lower quantile of demand is right (score ``"quantile"``). **Of the upper end nothing
    is guaranteed**: it is the model's own, and no method can do better without assumptions on what
    nobody saw sold.

    Without knowledge of stock, ``split_conformal(stockouts="keep")`` has a valid lower end too, that of
    sales: under any mechanism, but 0 as soon as stockouts take more than a/2 of the days whole.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        As `Backtest.frame`, with the models' upper ends at each level. Under an inventory policy
        from a backtest with ``h=1``.
    panel : pandas.DataFrame
        Validated, with ``stock`` known on every training and calibration day.
    level, names, score, scale, test, calibration, by, integer, tag
        As for :func:`civstats.conformal.split_conformal`.
    threshold : float, "auto" or callable
        A multiple of the forecast mean, rounded up to a unit; the least of `MULTIPLES` whose bounds on
        the training rows come within 5 % of the highest, for each group; or a function of the rows (``unique_id, ds, cutoff,
        ahead`` and forecasts) that returns units.
    chance : callable
        :func:`logistic_chance`, :func:`series_chance`, :func:`constant_chance` or your own.
    unknown_stock : {"refuse", "plenty"}
        What a day without known stock and without a stockout is taken for. Plenty is right where
        stock is noted only when it is short, **whether or not it sold out**; where it is noted only
        when it sold out, plenty makes the bound too high.
    training : sequence of dates, optional
        By default the earlier half of the cutoffs before the test.
    future : pandas.DataFrame, optional
        Known covariates of test days beyond the panel.

    Returns
    -------
    ConformalForecasts
        `details`: ``name, level, score, group, threshold`` (the multiple; NaN for a function), ``n``
        (calibration rows), ``kept`` (with enough stock), ``effective`` (kept rows by Kish's measure,
        1965), ``late``, ``lowest_chance`` (of the test rows), ``vacuous`` (share of test rows whose
        bound is 0 or less before rounding).

    Raises
    ------
    PanelError
        If stock is not known on some rows (how many), or sales exceed it.
    ForecastError
        For missing columns or too few cutoffs.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.schema import validate_panel
    >>> rng = np.random.default_rng(0)
    >>> days = pd.date_range("2024-01-01", periods=200)
    >>> demand, stock = rng.poisson(20, 200), rng.integers(5, 40, 200)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days,
    ...     "y": np.minimum(demand, stock), "stock": stock, "is_censored": demand >= stock}))
    >>> rows = panel[["unique_id", "ds"]].assign(cutoff=panel["ds"] - pd.Timedelta(days=1))
    >>> rows = rows.assign(**{"M_censor": 20.0, "M_censor-lo-80": 12.0, "M_censor-hi-80": 26.0})
    >>> found = censored_conformal(rows, panel, level=[80])
    >>> found.frame.iloc[0, 3:].astype(float).tolist()
    [20.0, 15.0, 26.0]
    """
    levels = check_level(level)
    if score not in SCORES:
        raise CivstatsError(f"score must be one of {', '.join(SCORES)}, but got {score!r}")
    parts = split_rows(forecasts, test, calibration, training, trained=True)
    models = model_names(forecasts, names)
    facts = [StockRows(x, panel, unknown_stock) for x in (parts.training, parts.calibration)]
    if integer:
        for x in facts:
            whole_units(x.sales, Y)
    columns, details = [], []
    for name in models:
        ends = {}
        means = [read(x, name) for x in (parts.training, parts.calibration, parts.test)]
        spreads = [spread_of(m, scale) for m in means]
        world = Bounder(parts, facts, panel, future, chance, means, spreads)
        calibration_rows, training_rows, test_rows = group_rows(
            (parts.calibration, parts.training, parts.test),
            (means[1], means[0], means[2]),
            panel, by, np.ones(len(parts.calibration), dtype=bool), max(levels),
        )  # fmt: skip
        groups = (training_rows, calibration_rows, test_rows)
        for a in levels:
            lo_column, hi_column = level_columns(name, a)
            own = score == "quantile" or (score == "auto" and lo_column in forecasts.columns)
            bound, found = world.bound(lo_column if own else name, threshold, a, groups)
            # The upper end is the model's own; a lower end above it moves it.
            lo, hi = whole(bound, np.maximum(read(parts.test, hi_column), bound), integer)
            ends[a] = lo, np.maximum(hi, lo)
            kind = "quantile" if own else "residual"
            details += [{"name": name, "level": a, "score": kind, **x} for x in found]
        columns.append(interval_frame(parts.test, name, tag, ends, integer))
    return assemble(parts.test, columns, details)
