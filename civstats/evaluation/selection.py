"""The bias that a perfect forecast would show on the days that are scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.censoring import NegBin
from civstats.evaluation.alignment import Alignment, number_ids
from civstats.evaluation.distributions import Distribution, DrawRows, NegBinRows
from civstats.evaluation.regimes import REGIMES
from civstats.evaluation.significance import TwoWayBootstrap
from civstats.schema import DEMAND_MEAN, DS, ID, CivstatsError, PanelError, check_level

if TYPE_CHECKING:
    import xarray as xr

_SAMPLES = 100
_CELLS = 2_000_000


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
    for regime in (r for r in REGIMES if r.kind == "plain"):
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


def expected_sales(
    distribution: Distribution | None,
    availability: Mapping[pd.Timestamp, xr.Dataset],
    aligned: Alignment,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what a model expects to be sold, from joint draws of demand and stock under it.

    A day out with c units there has demand D given D >= c: demand makes the stockout, and what is
    left for in-stock days is lower than its mean. With p the chance of a day out, in-stock sales
    are ``E[D] - p E[D | out]``, so that both kinds of days add up to the demand that is forecast.

    Parameters
    ----------
    distribution : Distribution or None
        Demand of the aligned rows.
    availability : mapping of pandas.Timestamp to xarray.Dataset
        By cutoff, ``out, stock, share`` with dims ``unique_id, sample, ds``, as
        ``civstats.models.availability.Availability.paths`` draws them.
    aligned : Alignment

    Returns
    -------
    mean, in_stock_share, sales, in_stock_sales : numpy.ndarray, shape (n,)
        Expected demand, chance of an in-stock day, expected sales, and expected sales of the day
        times its being in stock. NaN on rows without a distribution or availability.
    at_odds : numpy.ndarray of bool, shape (n,)
        Where the two models contradict each other: days out alone would ask for more than all the
        demand that is forecast. In-stock sales are then taken for 0.
    """
    n = len(aligned.series)
    at_odds = np.zeros(n, dtype=bool)
    mean, share, sales, in_stock = (np.full(n, np.nan) for _ in range(4))
    for cutoff, paths in availability.items():
        k = aligned.cutoffs.get_indexer(pd.Index([pd.Timestamp(cutoff)]))[0]
        mine = np.flatnonzero(aligned.cutoff == k)
        i = pd.Index(paths[ID].to_numpy()).get_indexer(aligned.ids)[aligned.series[mine]]
        t = pd.DatetimeIndex(paths[DS].to_numpy()).get_indexer(aligned.days)
        t = t[aligned.column_day[aligned.column[mine]]]
        mine, i, t = (x[(i >= 0) & (t >= 0)] for x in (mine, i, t))
        if distribution is None or not len(mine):
            continue
        m = min(_SAMPLES, paths.sizes["sample"])
        cubes = [paths[c].isel(sample=slice(m)).to_numpy() for c in ("out", "stock", "share")]
        step = max(1, _CELLS // m)
        for start in range(0, len(mine), step):
            part = slice(start, start + step)
            rows = mine[part]
            out, cap, open_share = (x[i[part], :, t[part]] for x in cubes)
            some = distribution.take(rows)
            by_clock = out & (open_share < 1)
            cap = np.where(out & ~by_clock, cap, 0.0).astype(float)
            expected = some.expectation()
            above = _mean_above(some, cap, out & (cap > 0), expected)
            gone = np.where(out, above, 0.0).mean(axis=1)
            sold = np.where(by_clock, open_share * expected[:, None], cap)
            mean[rows], share[rows] = expected, 1 - out.mean(axis=1)
            # Rounding must not make a model contradict itself.
            at_odds[rows] = gone > expected * (1 + 1e-9)
            in_stock[rows] = np.maximum(expected - gone, 0.0)
            sales[rows] = in_stock[rows] + np.where(out, sold, 0.0).mean(axis=1)
    return mean, share, sales, in_stock, at_odds


def _mean_above(
    rows: Distribution, cap: np.ndarray, use: np.ndarray, mean: np.ndarray
) -> np.ndarray:
    """E[D | D >= cap] where `use`, else the mean, shape (n, m)."""
    out = np.broadcast_to(mean[:, None], cap.shape).copy()
    at, sample = np.nonzero(use)
    if not len(at):
        return out
    c = cap[at, sample]
    if isinstance(rows, NegBinRows):
        with np.errstate(divide="ignore"):
            eta, weight = np.log(rows.mean[at]), np.log(rows.weight[at])
        family = NegBin(rows.dispersion[at])
        log_weight = weight + family.log_survival(c[:, None], eta)
        log_weight -= np.logaddexp.reduce(log_weight, axis=1)[:, None]
        above = family.conditional_mean(c[:, None], eta)
        out[at, sample] = (np.exp(log_weight) * above).sum(axis=1)
        return out
    assert isinstance(rows, DrawRows)
    for start in range(0, len(at), 10_000):
        part = slice(start, start + 10_000)
        draws = rows.draws[at[part]].astype(float)
        reached = draws >= c[part, None]
        n_above = reached.sum(axis=1)
        total = np.where(reached, draws, 0.0).sum(axis=1)
        # A cap that no draw reaches: demand is the cap, nothing is lost.
        out[at[part], sample[part]] = np.where(n_above > 0, total / np.maximum(n_above, 1), c[part])
    return out
