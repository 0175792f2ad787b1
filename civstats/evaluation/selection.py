"""The bias that a perfect forecast would show on the days that are scored."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.evaluation.alignment import number_ids
from civstats.evaluation.regimes import REGIMES
from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import DEMAND_MEAN, DS, ID, CivstatsError, PanelError, check_level


def selection_bias(
    panel_rows: pd.DataFrame,
    *,
    n_boot: int = 500,
    seed: int | np.random.Generator = 0,
    confidence: float = 95,
    block: int = 1,
) -> pd.DataFrame:
    """Return the bias of the true mean in each regime: what of an observed bias is selection.

    In-stock days are days of low demand, so that even the true mean seems too high on them, by
    mu / E[D | D < C] - 1; on all days it is held against sales, which stockouts cut. The figure is
    a Monte Carlo estimate from the one realisation at hand: ``sum demand_mean / sum target - 1``
    over the regime's rows, with a two-way bootstrap interval.

    Parameters
    ----------
    panel_rows : pandas.DataFrame
        The scored rows of a validated panel with ``demand_mean``.
    n_boot, seed, confidence, block
        As for `evaluate`.

    Returns
    -------
    pandas.DataFrame
        ``regime, value, lo, hi, n, identified``, a row per regime the rows can offer. Without
        sales in a regime the value is undefined: NaN, and `identified` is False.

    Raises
    ------
    CivstatsError
        If the true mean is not known.
    PanelError
        If it, or the target, is missing or infinite on some rows.

    Examples
    --------
    >>> rows = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=2),
    ...     "y": [2.0, 8.0], "is_censored": [False, True], "demand_mean": [5.0, 5.0]})
    >>> selection_bias(rows, n_boot=0)[["regime", "value"]].values.tolist()
    [['all_days', 0.0], ['in_stock', 1.5]]
    """
    (confidence,) = check_level(confidence)
    if DEMAND_MEAN not in panel_rows.columns:
        raise CivstatsError(f"the panel has no {DEMAND_MEAN}: it is known in simulations only")
    if panel_rows.empty:
        raise PanelError("there are no rows to compute a bias on")
    order = np.lexsort((panel_rows[DS].to_numpy(), number_ids(panel_rows[ID])[0]))
    rows = panel_rows.iloc[order]
    series = np.unique(number_ids(rows[ID])[0], return_inverse=True)[1]
    day = np.unique(rows[DS].to_numpy(), return_inverse=True)[1]
    days = np.arange(int(day.max()) + 1)
    bootstrap = TwoWayBootstrap(
        series,
        day,
        int(series.max()) + 1,
        days,
        np.zeros_like(days),
        n_boot=n_boot,
        seed=seed,
        block=block,
    )
    mean = rows[DEMAND_MEAN].to_numpy(dtype=float)
    records = []
    for regime in REGIMES:
        if regime.refusal(rows) is not None:
            continue
        take = regime.rows(rows)
        target = rows[regime.target].to_numpy(dtype=float)
        bad = take & ~(np.isfinite(target) & np.isfinite(mean))
        if bad.any():
            i = int(bad.argmax())
            raise PanelError(
                f"{int(bad.sum())} row(s) with missing or infinite {regime.target} or {DEMAND_MEAN} "
                f"(first {rows[ID].iloc[i]} on {rows[DS].iloc[i].date()})"
            )
        cell = bootstrap.cell[take]
        top, bottom = (bootstrap.sums(x[take], cell)[:, :1] for x in (mean - target, target))
        values = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
        lo, hi = bootstrap.interval(values, confidence)
        value = float(values[0, 0])
        records.append(
            (regime.name, value, lo[0], hi[0], int(take.sum()), bool(np.isfinite(value)))
        )
    return pd.DataFrame(records, columns=["regime", "value", "lo", "hi", "n", "identified"])
