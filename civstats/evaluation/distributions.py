"""Predictive distributions of forecast rows: what a log score, a CRPS and a PIT are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from civstats.censoring import NegBin
from civstats.schema import DS, ID, ForecastError

MIN_DRAWS = 1000
"""Sample paths below which no CRPS is computed from them."""
_ROWS = 400_000
_DRAW_CELLS = 20_000_000


class Distribution(Protocol):
    """Predictive distributions of n rows of counts; NaN results where a row has none."""

    def take(self, rows: np.ndarray) -> Distribution:
        """Return the distributions of some rows."""

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return P(D <= x), shape (n,)."""

    def inside(self, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
        """Return P(lo <= D <= hi), shape (n,); NaN where `lo` is."""

    def log_survival(self, c: np.ndarray) -> np.ndarray | None:
        """Return log P(D >= c), shape (n,); None without a family."""

    def log_pmf(self, y: np.ndarray) -> np.ndarray | None:
        """Return log P(D = y), shape (n,); None without a family."""

    def crps(self, y: np.ndarray, bound: np.ndarray | None = None) -> np.ndarray | None:
        """Return the CRPS, localised below `bound` if given, shape (n,); None with few draws."""

    def expectation(self) -> np.ndarray:
        """Return E[D], shape (n,)."""


@dataclass(frozen=True)
class NegBinRows:
    """Mixtures of negative binomials, one a row; a mean of 0 is a point mass at 0.

    Attributes
    ----------
    weight, mean, dispersion : numpy.ndarray, shape (n, n_components)
        Variance of a component: mean + mean^2 / dispersion. NaN in rows without a forecast.

    Examples
    --------
    >>> one = NegBinRows(np.ones((1, 1)), np.array([[5.0]]), np.array([[2.0]]))
    >>> one.cdf(np.array([5.0])).round(4), one.crps(np.array([3.0])).round(4)
    (array([0.6395]), array([0.9984]))
    """

    weight: np.ndarray
    mean: np.ndarray
    dispersion: np.ndarray

    def take(self, rows: np.ndarray) -> NegBinRows:
        """Return the distributions of some rows."""
        return NegBinRows(self.weight[rows], self.mean[rows], self.dispersion[rows])

    def expectation(self) -> np.ndarray:
        """Return E[D], shape (n,)."""
        mean: np.ndarray = (self.weight * self.mean).sum(axis=1)
        return mean

    def _mix(self, of: str, x: np.ndarray, *, log: bool) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        out = np.full(len(x), np.nan)
        known = np.isfinite(self.mean[:, 0])
        for start in range(0, len(x), _ROWS):
            part = np.flatnonzero(known[start : start + _ROWS]) + start
            with np.errstate(divide="ignore"):
                eta, weight = np.log(self.mean[part]), np.log(self.weight[part])
            values = getattr(NegBin(self.dispersion[part]), of)(x[part, None], eta)
            if log:
                out[part] = np.logaddexp.reduce(values + weight, axis=1)
            else:
                out[part] = (values * self.weight[part]).sum(axis=1)
        return out

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return P(D <= x), shape (n,)."""
        return self._mix("cdf", x, log=False)

    def inside(self, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
        """Return P(lo <= D <= hi), shape (n,); NaN where `lo` is."""
        lo, hi = np.asarray(lo, dtype=float), np.asarray(hi, dtype=float)
        out = np.full(len(lo), np.nan)
        rows = np.flatnonzero(np.isfinite(lo))
        some = self.take(rows)
        out[rows] = some.cdf(np.floor(hi[rows])) - some.cdf(np.ceil(lo[rows]) - 1.0)
        return out

    def log_survival(self, c: np.ndarray) -> np.ndarray:
        """Return log P(D >= c), ties included, shape (n,)."""
        return self._mix("log_survival", c, log=True)

    def log_pmf(self, y: np.ndarray) -> np.ndarray:
        """Return log P(D = y), shape (n,)."""
        return self._mix("logpmf", y, log=True)

    def crps(self, y: np.ndarray, bound: np.ndarray | None = None) -> np.ndarray:
        """Return sum over x < bound of (F(x) - 1{y <= x})^2, shape (n,).

        Without a bound it is the CRPS of a count (Czado, Gneiting and Held, 2009); with the stock
        for a bound the localised one, which reads the forecast only where demand could be seen.
        """
        from civstats.evaluation._crps import crps_negbin

        y = np.asarray(y, dtype=float)
        bound = np.full(len(y), np.inf) if bound is None else np.asarray(bound, dtype=float)
        out = np.full(len(y), np.nan)
        rows = np.flatnonzero(np.isfinite(self.mean[:, 0]))
        mean, size = self.mean[rows], self.dispersion[rows]
        with np.errstate(divide="ignore"):
            eta = np.log(mean)
        # A component whose P(0) underflows begins far out in its lower tail instead.
        spread = np.sqrt(mean + mean**2 / size)
        first = np.where(mean < 300, 0.0, np.maximum(0.0, np.floor(mean - 12 * spread - 50)))
        begin = np.exp(NegBin(size).logpmf(first, eta))
        inner = np.empty(len(rows))
        crps_negbin(inner, y[rows], bound[rows], first, begin, self.weight[rows], mean, 1.0 / size)
        out[rows] = inner
        return out


@dataclass(frozen=True)
class DrawRows:
    """Sample draws, one set a row.

    Attributes
    ----------
    draws : numpy.ndarray, shape (n, n_draws)
        NaN in rows without a forecast.
    """

    draws: np.ndarray

    def take(self, rows: np.ndarray) -> DrawRows:
        """Return the draws of some rows."""
        return DrawRows(self.draws[rows])

    def expectation(self) -> np.ndarray:
        """Return the mean of the draws, shape (n,)."""
        return np.asarray(self.draws.mean(axis=1, dtype=float))

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return the share of draws <= x, shape (n,)."""
        out = (self.draws <= np.asarray(x, dtype=float)[:, None]).mean(axis=1)
        return np.where(np.isnan(self.draws[:, 0]), np.nan, out)

    def inside(self, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
        """Return the share of draws in [lo, hi], shape (n,); NaN where `lo` is."""
        lo, hi = np.asarray(lo, dtype=float), np.asarray(hi, dtype=float)
        out = ((self.draws >= lo[:, None]) & (self.draws <= hi[:, None])).mean(axis=1)
        return np.where(np.isnan(lo) | np.isnan(self.draws[:, 0]), np.nan, out)

    def log_survival(self, c: np.ndarray) -> None:
        """None: draws have no density."""

    def log_pmf(self, y: np.ndarray) -> None:
        """None: draws have no density."""

    def crps(self, y: np.ndarray, bound: np.ndarray | None = None) -> np.ndarray | None:
        """Return the unbiased ("fair") CRPS of the draws, shape (n,); None below `MIN_DRAWS`.

        The localised score is the CRPS of ``min(D, bound)`` at ``min(y, bound)``.
        """
        import scoringrules

        if self.draws.shape[1] < MIN_DRAWS:
            return None
        y = np.asarray(y, dtype=float)
        out = np.empty(len(y))
        step = max(1, _DRAW_CELLS // self.draws.shape[1])
        for start in range(0, len(y), step):
            part = slice(start, start + step)
            draws, actual = self.draws[part].astype(float), y[part]
            if bound is not None:
                draws = np.minimum(draws, bound[part, None])
                actual = np.minimum(actual, bound[part])
            # By probability-weighted moments it is the fair estimator, without a matrix of all pairs.
            out[part] = scoringrules.crps_ensemble(actual, draws, estimator="pwm")
        return out


def components(
    marginal: pd.DataFrame, n_rows: int, name: str = "forecast"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, means and dispersions of a rectangular marginal frame, (n_rows, k) each.

    Parameters
    ----------
    marginal : pandas.DataFrame
        ``unique_id, ds, family, mean, dispersion``, sorted by series and time. A mixture has the
        same number of rows for every day, next to each other, and a ``weight``.
    n_rows : int
        Series times days.
    name : str
        For the error.

    Raises
    ------
    ForecastError
        For another family than ``negbin``, another number of rows, or values out of range.
    """
    families = set(marginal["family"].unique())
    k, rest = divmod(len(marginal), max(n_rows, 1))
    if families != {"negbin"} or rest or (k > 1 and "weight" not in marginal.columns):
        raise ForecastError(
            f"{name}: marginals of {', '.join(map(str, sorted(families)))} with {len(marginal)} "
            f"row(s) for {n_rows} series and day(s); expected one negbin row each, or as many with "
            "a weight"
        )
    if {ID, DS} <= set(marginal.columns) and k > 1:
        keys = [pd.factorize(marginal[c])[0].reshape(n_rows, k) for c in (ID, DS)]
        if any((x != x[:, :1]).any() for x in keys):
            raise ForecastError(
                f"{name}: the components of a day's mixture must be rows next to each other; sort the "
                "marginals by series, day and component"
            )
    mean, size = (
        marginal[c].to_numpy(dtype=float).reshape(n_rows, k) for c in ("mean", "dispersion")
    )
    if "weight" in marginal.columns:
        weight = marginal["weight"].to_numpy(dtype=float).reshape(n_rows, k)
    else:
        weight = np.ones((n_rows, k))
    bad = ~(np.isfinite(mean) & (mean >= 0) & (size > 0) & (weight >= 0))
    if bad.any() or not np.allclose(weight.sum(axis=1), 1.0, atol=1e-6):
        raise ForecastError(
            f"{name}: {int(bad.any(axis=1).sum())} row(s) of the marginals with a mean, dispersion "
            "or weight out of range, or weights that do not add up to 1"
        )
    return weight / weight.sum(axis=1, keepdims=True), mean, size
