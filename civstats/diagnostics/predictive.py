"""Predictive checks through the censoring: replicated sales against what was sold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from civstats.diagnostics._statistics import STATISTICS, TAIL, Layout, statistics_of
from civstats.schema import CENSORED, STOCK, CivstatsError, Y, series_index, treated_sales

SOLD_OUT = "days sold out"
_BAND = (0.025, 0.975)


def sales_caps(panel: pd.DataFrame) -> tuple[np.ndarray, bool]:
    """Return the most that could be sold each day, and whether that is known wherever it matters.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.

    Returns
    -------
    caps : numpy.ndarray of float64, shape (n_rows,)
        The exhausted stock on a day whose sales are a bound, the recorded stock on another,
        infinity where it is unknown; NaN on days that say nothing (out of stock throughout), which
        no check looks at.
    known : bool
        False where some days are bounds and the stock of others is unknown: replicated sales may then be
        more than the shelf could have held, and upper tails and totals come out too high for
        the true model too (in-stock days are low-demand days).

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=3)
    >>> panel = pd.DataFrame(
    ...     {"ds": days, "y": [2.0, 0, 3], "is_censored": [True, True, False], "stock": [2, 0, 9.0]}
    ... )
    >>> caps, known = sales_caps(panel)
    >>> caps.tolist(), known
    ([2.0, nan, 9.0], True)
    """
    sales, _, bound = treated_sales(panel, "censor")
    caps = np.full(len(panel), np.inf)
    if STOCK in panel.columns:
        stock = panel[STOCK].to_numpy(dtype=float, na_value=np.nan)
        caps = np.where(np.isnan(stock), np.inf, stock)
    caps = np.where(bound, panel[Y].to_numpy(dtype=float), caps)
    # Records may say that more was sold than was there; a replicate may do so too.
    caps = np.maximum(caps, panel[Y].to_numpy(dtype=float))
    silent = np.isnan(sales)
    known = not bound.any() or bool(np.isfinite(caps[~silent]).all())
    return np.where(silent, np.nan, caps), known


def replicated_sales(panel: pd.DataFrame, demand: np.ndarray) -> np.ndarray:
    """Apply a panel's stockouts to replicated demand: what would have been sold.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    demand : numpy.ndarray, shape (n_draws, n_rows)
        Demand of the hours in stock, in the panel's order of rows.

    Returns
    -------
    numpy.ndarray of float64, shape (n_draws, n_rows)
        ``min(demand, cap)``; NaN on days that say nothing.

    Raises
    ------
    CivstatsError
        If rows do not match, or demand is negative or missing.
    """
    demand = _checked(panel, demand)
    return np.minimum(demand, sales_caps(panel)[0])


def predictive_check(
    panel: pd.DataFrame,
    demand: np.ndarray,
    *,
    completed: np.ndarray | None = None,
    by: str | None = None,
    statistics: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Hold statistics of observed sales against those of replicated sales, stockouts applied.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    demand : numpy.ndarray, shape (n_draws, n_rows)
        Replicated demand, a row a draw from the posterior (or the prior) predictive, in the panel's
        order of rows. Stockouts are applied here.
    completed : numpy.ndarray, shape (n_draws, n_rows), optional
        The panel's own demand, bounds filled in by draws from D given D >= y under the parameters
        of the same draw. Given this, demand is compared with demand and no stock is needed: the
        check of completed data (Gelman, Van Mechelen, Verbeke, Heitjan and Meulders, 2005). It is the one
        to read where the stock of in-stock days is unknown.
    by : str, optional
        A static column, such as ``dept_id``: a check for every value and one for all.
    statistics : iterable of str, optional
        Some of `civstats.diagnostics.STATISTICS`; all if None.

    Returns
    -------
    pandas.DataFrame
        ``group, statistic, observed, replicated, lo, hi, p_value, n_draws, identified``. Replicated
        is the median, `lo` to `hi` hold 95 % of draws. With `completed`, observed is the median of the
        completed panels. `identified` is False for what needs a stock that is unknown.

    Raises
    ------
    CivstatsError
        If shapes do not match, a statistic or the column is unknown, or nothing was observed.

    Notes
    -----
    The p-value is the share of draws whose statistic is above the observed one, ties counted
    half (Meng, 1994). A posterior predictive one has seen the data: under the true model it crowds
    around 0.5 rather than being uniform, so 0.05 is rarer than one in twenty; near 0 or 1 it
    says what the model cannot reproduce, and 0.5 proves nothing. There are many of them and they hang
    together: none is a test at its nominal level. A recorded stock is taken as it was, though under
    an inventory policy other sales would have led to another.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days, rng = pd.date_range("2024-01-01", periods=56), np.random.default_rng(0)
    >>> y = rng.poisson(3, 56).astype(float)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": y}))
    >>> table = predictive_check(panel, rng.poisson(3, (99, 56)), statistics=["mean"])
    >>> table["statistic"].tolist(), bool(table["p_value"].between(0.001, 0.999).all())
    (['mean'], True)
    """
    demand = _checked(panel, demand)
    wanted = list(STATISTICS) if statistics is None else list(statistics)
    unknown = [s for s in wanted if s not in STATISTICS]
    if unknown:
        raise CivstatsError(
            f"unknown statistic(s) {', '.join(unknown)}; there are {', '.join(STATISTICS)}"
        )
    caps, known = sales_caps(panel)
    silent = np.isnan(caps)
    if silent.all():
        raise CivstatsError("every day of the panel was out of stock throughout: nothing to check")
    layout = Layout.of(panel, by, series_index(panel).codes())
    if completed is not None:
        completed = _checked(panel, np.where(silent, 0.0, completed))
        if completed.shape != demand.shape:
            raise CivstatsError(
                f"completed has {len(completed)} draws and demand {len(demand)}: a pair must share "
                "its parameters"
            )
        known, caps = True, np.where(silent, np.nan, np.inf)
        completed = np.where(silent, np.nan, completed)
        seen = np.array([statistics_of(row, layout, wanted) for row in completed])
    else:
        sold = np.where(silent, np.nan, panel[Y].to_numpy(dtype=float))
        seen = statistics_of(sold, layout, wanted)[None]
    drawn = np.array([statistics_of(np.minimum(row, caps), layout, wanted) for row in demand])
    table = _compare(seen, drawn, layout, wanted)
    out = completed is None and known and np.isfinite(caps[~silent]).all() and CENSORED in panel
    if out and statistics is None:
        table = pd.concat([table, _sold_out(panel, demand, caps, layout)], ignore_index=True)
    tail = table["statistic"].isin([*TAIL])
    return table.assign(identified=known | ~tail)


def _checked(panel: pd.DataFrame, demand: np.ndarray) -> np.ndarray:
    array = np.asarray(demand)
    if array.ndim != 2 or array.shape[1] != len(panel) or not len(array):
        raise CivstatsError(
            f"replicates must have shape (n_draws, {len(panel)}), one column a row of the panel, but "
            f"have {array.shape}"
        )
    bad = ~(array >= 0)
    if bad.any():
        raise CivstatsError(
            f"{int(bad.any(axis=0).sum())} row(s) hold replicated demand that is negative or missing"
        )
    return array


def _compare(seen: np.ndarray, drawn: np.ndarray, layout: Layout, names: list[str]) -> pd.DataFrame:
    """Compare (1 or n, groups, k) with (n, groups, k)."""
    records = []
    for g, group in enumerate(layout.groups):
        for k, name in enumerate(names):
            x, t = drawn[:, g, k], np.broadcast_to(seen[:, g, k], len(drawn))
            use = np.isfinite(x) & np.isfinite(t)
            x, t = x[use], t[use]
            if not len(x):
                records.append((group, name, *[np.nan] * 5, 0))
                continue
            p = float((x > t).mean() + 0.5 * (x == t).mean())
            lo, hi = np.quantile(x, _BAND)
            records.append((group, name, np.median(t), np.median(x), lo, hi, p, len(x)))
    columns = ["group", "statistic", "observed", "replicated", "lo", "hi", "p_value", "n_draws"]
    return pd.DataFrame(records, columns=columns)


def _sold_out(
    panel: pd.DataFrame, demand: np.ndarray, caps: np.ndarray, layout: Layout
) -> pd.DataFrame:
    """Compare the share of days on which demand reaches the stock."""
    live = ~np.isnan(caps)
    seen = np.where(live, panel[CENSORED].to_numpy(dtype=float), np.nan)
    drawn = np.where(live, demand >= np.where(live, caps, 0), np.nan)
    mean = [layout.means(seen)[None, :, None], layout.means_of(drawn)[:, :, None]]
    return _compare(mean[0], mean[1], layout, [SOLD_OUT])
