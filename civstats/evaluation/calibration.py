"""Whether probabilities hold: randomised PIT, its histogram and test, coverage by level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from civstats.evaluation._pit_shares import PIT, edges_of, shares_of
from civstats.evaluation.censored import NOT_PROPER
from civstats.evaluation.scoring import Scorer
from civstats.schema import CUTOFF, DS, ID, CivstatsError, Forecast, check_level, parse_alias

__all__ = ["PIT", "calibration_curve", "pit", "pit_histogram", "pit_uniformity"]


def pit(
    forecasts: pd.DataFrame,
    panel: pd.DataFrame,
    predictive: Iterable[Forecast],
    *,
    regime: str = "all_days",
    seed: int | np.random.Generator = 0,
    stock_independent: bool = False,
) -> pd.DataFrame:
    """Return the randomised probability integral transform of every scored day.

    u ~ U(F(y - 1), F(y)), uniform under the true model (Czado, Gneiting and Held 2009). In regime
    ``censored`` a stockout day, of which only D >= y is known, gives u ~ U(F(y - 1), 1). On in-stock
    days alone it is not uniform for the true model where demand makes the stockouts.

    Parameters
    ----------
    forecasts, panel : pandas.DataFrame
        As for :func:`civstats.evaluation.evaluate`.
    predictive : iterable of Forecast
        With marginals of a family. Models without are left out.
    regime : str
    seed : int or numpy.random.Generator
        Of the randomisation; all models share the uniforms.
    stock_independent : bool
        As for `evaluate`: in regime ``censored`` forecasts further than one step ahead are refused
        without it.

    Returns
    -------
    pandas.DataFrame
        ``unique_id, ds, cutoff, regime, model, treatment, pit``. Frames of several regimes, one below
        the other, are kept apart by what reads them. Days out from the start, without a sale, say
        nothing and are left out of regime ``censored``.

    Raises
    ------
    CivstatsError
        If no model has a family, the regime is not available or not proper, a target is no whole
        number, or all days say nothing.
    """
    scorer = Scorer(
        forecasts,
        panel,
        regimes=regime,
        n_boot=0,
        predictive=predictive,
        stock_independent=stock_independent,
    )
    (rows,) = scorer.rows.values()
    if rows.regime.kind == "censored" and not scorer.proper:
        raise CivstatsError(f"the PIT of regime {regime} is {NOT_PROPER}")
    if (rows.actual % 1 != 0).any():
        raise CivstatsError(
            f"{int((rows.actual % 1 != 0).sum())} target(s) are no whole numbers: the families are "
            "of counts"
        )
    aligned = scorer.aligned
    bounds = rows.is_censored if rows.regime.kind == "censored" else np.zeros_like(rows.is_censored)
    u = np.random.default_rng(seed).random(len(aligned.series))
    keys = pd.DataFrame(
        {
            ID: pd.Categorical.from_codes(rows.of(aligned.series), categories=aligned.ids),
            DS: aligned.days.to_numpy()[aligned.column_day[rows.of(aligned.column)]],
            CUTOFF: aligned.cutoffs.to_numpy()[rows.cutoff],
        }
    )
    frames = []
    for name in aligned.names:
        held = scorer.distribution(name, regime)
        log_pmf = None if held is None else held.log_pmf(rows.actual)
        if held is None or log_pmf is None:
            continue
        under = held.cdf(rows.actual - 1.0)
        width = np.where(bounds, 1.0 - under, np.exp(log_pmf))
        model, treatment = parse_alias(name)
        values = np.minimum(under + width * rows.of(u), 1.0)
        frames.append(keys.assign(regime=regime, model=model, treatment=treatment, **{PIT: values}))
    if not frames:
        raise CivstatsError("no model has marginals of a family: a PIT cannot be had from paths")
    # P(D >= 0) = 1: the PIT of a day out from the start is the random number alone.
    mute = bounds & (rows.actual <= 0)
    if mute.all():
        raise CivstatsError(
            f"all {len(mute)} scored day(s) are out from the start and say nothing of demand: there "
            "is no PIT to look at"
        )
    out = pd.concat([f[~mute] for f in frames], ignore_index=True)
    missing = out[PIT].isna()
    if missing.any():
        first = out[missing].iloc[0]
        raise CivstatsError(
            f"{int(missing.sum())} row(s) without a distribution (first {first['model']}, {first[ID]} "
            f"on {first[DS].date()}): hand in the forecasts of every cutoff"
        )
    return out


def pit_histogram(
    values: pd.DataFrame,
    *,
    bins: int = 10,
    n_boot: int = 500,
    seed: int | np.random.Generator = 0,
    confidence: float = 95,
    block: int = 1,
) -> pd.DataFrame:
    """Return how the PIT is spread over bins of equal width; flat is calibrated.

    Parameters
    ----------
    values : pandas.DataFrame
        From :func:`pit`.
    bins : int
    n_boot, seed, confidence, block
        Of the two-way bootstrap over series and days, as for `evaluate`.

    Returns
    -------
    pandas.DataFrame
        ``regime, model, treatment, left, right, density, lo, hi, n``: density is the share over the share
        of a uniform PIT, 1 if calibrated.

    Raises
    ------
    CivstatsError
        For fewer than two bins, or no rows.
    """
    (confidence,) = check_level(confidence)
    edges = edges_of(bins)
    frames = []
    for keys, shares, bootstrap in shares_of(values, edges, n_boot, seed, block):
        lo, hi = bootstrap.interval(shares * bins, confidence)
        frames.append(
            pd.DataFrame(
                {
                    **keys,
                    "left": edges[:-1],
                    "right": edges[1:],
                    "density": shares[0] * bins,
                    "lo": lo,
                    "hi": hi,
                    "n": len(bootstrap.cell),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def pit_uniformity(
    values: pd.DataFrame,
    *,
    bins: int = 10,
    n_boot: int = 500,
    seed: int | np.random.Generator = 0,
    block: int = 1,
) -> pd.DataFrame:
    """Test whether the PIT is uniform, with days that series share.

    The statistic is the largest departure of a bin from its share, in bootstrap standard errors;
    its distribution under uniformity is that of the centred two-way bootstrap. A chi-square test
    would take every series and day for independent, and reject good models.

    Parameters
    ----------
    values : pandas.DataFrame
        From :func:`pit`.
    bins, n_boot, seed, block
        As for :func:`pit_histogram`.

    Returns
    -------
    pandas.DataFrame
        ``regime, model, treatment, statistic, p_value, largest`` (departure of density from 1 in the worst
        bin), ``n``. A bin that is empty has the standard error of independent values under
        uniformity. Without series or days to resample the p-value is NaN.

    Raises
    ------
    CivstatsError
        As :func:`pit_histogram`.
    """
    edges = edges_of(bins)
    records = []
    for keys, shares, bootstrap in shares_of(values, edges, n_boot, seed, block):
        gap, noise = shares[0] - 1 / bins, shares[1:] - shares[0]
        statistic = p_value = float("nan")
        if bootstrap.estimable:
            # No resample fills an empty bin, yet that it is empty is evidence.
            alone = np.sqrt((1 - 1 / bins) / bins / len(bootstrap.cell))
            sd = noise.std(axis=0)
            sd = np.where(sd > 0, sd, alone)
            statistic = float(np.abs(gap / sd).max())
            draws = np.abs(noise / sd).max(axis=1)
            p_value = (1 + int((draws >= statistic).sum())) / (1 + len(draws))
        largest = float(gap[np.abs(gap).argmax()] * bins)
        found = {"statistic": statistic, "p_value": p_value, "largest": largest}
        records.append({**keys, **found, "n": len(bootstrap.cell)})
    return pd.DataFrame(records)


def calibration_curve(
    values: pd.DataFrame,
    *,
    levels: Sequence[float] = tuple(range(5, 100, 5)),
    n_boot: int = 500,
    seed: int | np.random.Generator = 0,
    confidence: float = 95,
    block: int = 1,
) -> pd.DataFrame:
    """Return the coverage of central intervals of every level, randomised for counts.

    The share of PIT values inside ``[(1 - level) / 2, (1 + level) / 2]``: the coverage of intervals
    whose ends are randomised, so that nominal is what a calibrated model shows, discrete or not.

    Parameters
    ----------
    values : pandas.DataFrame
        From :func:`pit`.
    levels : sequence of float
        Percent.
    n_boot, seed, confidence, block
        As for :func:`pit_histogram`.

    Returns
    -------
    pandas.DataFrame
        ``regime, model, treatment, level, observed, lo, hi, n``, shares in [0, 1].

    Raises
    ------
    CivstatsError
        For a level out of range, or no rows.
    """
    (confidence,) = check_level(confidence)
    wanted = np.array(sorted(check_level(levels))) / 100
    # Between consecutive ends of intervals; sums from the middle outwards are the coverages.
    edges = np.unique(np.r_[0.0, (1 - wanted) / 2, (1 + wanted) / 2, 1.0])
    frames = []
    for keys, shares, bootstrap in shares_of(values, edges, n_boot, seed, block):
        upto = np.column_stack([np.zeros(len(shares)), np.cumsum(shares, axis=1)])
        low, high = (np.searchsorted(edges, (1 + s * wanted) / 2 - 1e-12) for s in (-1, 1))
        inside = upto[:, high] - upto[:, low]
        lo, hi = bootstrap.interval(inside, confidence)
        frames.append(
            pd.DataFrame(
                {
                    **keys,
                    "level": wanted * 100,
                    "observed": inside[0],
                    "lo": lo,
                    "hi": hi,
                    "n": len(bootstrap.cell),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
