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
_CAPS = 24
"""Caps that stand for those of a series' stockouts."""


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
    Caps are those that the availability model draws for the series, each weighted by its chance
    to make a stockout of that very day.

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
        out, stock, clock = (
            paths[c].isel(sample=slice(m)).to_numpy() for c in ("out", "stock", "share")
        )
        by_clock = out & (clock < 1)
        capped = out & ~by_clock & (stock > 0)
        caps = _typical(stock, capped)
        # Chances of a day: out after some sales, out for other reasons, and what it sells by the clock.
        p_capped, p_out = (x.mean(axis=1)[i, t] for x in (capped, out))
        open_share = np.where(by_clock, clock, 0.0).mean(axis=1)[i, t]
        expected = distribution.take(mine).expectation()
        survival, above = _tails(distribution, mine, caps[i])
        weight = _by_chance(survival, i, len(caps))
        gone = (p_out - p_capped) * expected + p_capped * (weight * above).sum(axis=1)
        mean[mine], share[mine] = expected, 1 - p_out
        # Rounding must not make a model contradict itself.
        at_odds[mine] = gone > expected * (1 + 1e-9)
        in_stock[mine] = np.maximum(expected - gone, 0.0)
        sold = p_capped * (weight * np.nan_to_num(caps[i])).sum(axis=1) + open_share * expected
        sales[mine] = in_stock[mine] + sold
    return mean, share, sales, in_stock, at_odds


def _typical(stock: np.ndarray, capped: np.ndarray) -> np.ndarray:
    """Return evenly spaced quantiles of each series' caps, (n_series, `_CAPS`); NaN without any."""
    out = np.full((len(stock), _CAPS), np.nan)
    levels = (np.arange(_CAPS) + 0.5) / _CAPS
    for k in np.flatnonzero(capped.any(axis=(1, 2))):
        out[k] = np.quantile(stock[k][capped[k]], levels, method="inverted_cdf")
    return out


def _by_chance(survival: np.ndarray, series: np.ndarray, n_series: int) -> np.ndarray:
    """Return the weights of the caps on each row, summing to 1; 0 without caps.

    A series' caps are those of its past stockouts, met on days of all kinds. On a day of its own a
    cap makes a stockout with chance P(D >= cap): it counts for that chance, over the one on an
    average day of the series.
    """
    total = np.zeros((n_series, survival.shape[1]))
    np.add.at(total, series, survival)
    count = np.bincount(series, minlength=n_series)[:, None]
    usual = (total / np.maximum(count, 1))[series]
    weight = np.divide(survival, usual, out=np.zeros_like(survival), where=usual > 0)
    size = weight.sum(axis=1, keepdims=True)
    return np.divide(weight, size, out=np.zeros_like(weight), where=size > 0)


def _tails(
    distribution: Distribution, rows: np.ndarray, caps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """P(D >= cap) and E[D | D >= cap], each of the shape of `caps`; 0 where a cap is NaN."""
    survival, above = np.zeros(caps.shape), np.zeros(caps.shape)
    known = np.flatnonzero(np.isfinite(caps[:, 0]))
    step = max(1, _CELLS // (caps.shape[1] * 24))
    for start in range(0, len(known), step):
        part = known[start : start + step]
        some, cap = distribution.take(rows[part]), caps[part]
        if isinstance(some, NegBinRows):
            with np.errstate(divide="ignore"):
                eta, log_weight = np.log(some.mean)[:, None], np.log(some.weight)[:, None]
            family = NegBin(some.dispersion[:, None])
            log_weight = log_weight + family.log_survival(cap[:, :, None], eta)
            log_survival = np.logaddexp.reduce(log_weight, axis=2)
            survival[part] = np.exp(log_survival)
            # Of a demand that cannot reach the cap all weights are 0, and stay 0.
            usual = np.where(np.isfinite(log_survival), log_survival, 0.0)
            held = np.exp(log_weight - usual[:, :, None])
            above[part] = (held * family.conditional_mean(cap[:, :, None], eta)).sum(axis=2)
            continue
        assert isinstance(some, DrawRows)
        for k in range(caps.shape[1]):
            draws = some.draws.astype(float)
            reached = draws >= cap[:, k, None]
            survival[part, k] = reached.mean(axis=1)
            total = np.where(reached, draws, 0.0).sum(axis=1)
            # A cap that no draw reaches has no weight.
            above[part, k] = total / np.maximum(reached.sum(axis=1), 1)
    return survival, above
