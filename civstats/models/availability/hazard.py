"""Chance that tomorrow ends out of stock: a logit on flags, sales, calendar, with shrunk effects."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import (
    CENSORED,
    DS,
    ID,
    IN_STOCK_SHARE,
    PROMO,
    CivstatsError,
    ForecastError,
    Y,
    series_index,
    stockout_days,
)

_MEMORY, _FIXED_SD = 0.03, 2.5


class StockoutLogit:
    """One-day-ahead chance of a stockout, with uncertainty.

    Penalised logit: the last two days' flags, the share of the last 28 days out, last week's sales
    against the series' level, weekday, promotion and, where the caller has one, the day's expected
    demand against that level; a normal prior on every coefficient and an effect per series, shrunk
    to the others (a Laplace approximation of the posterior; the series' prior is given, not
    estimated). It says how likely each day is, one day ahead; paths over many days, in which
    flags and stock feed on each other, are what `Availability` and `Shelf` draw.

    Parameters
    ----------
    series_sd : float
        Prior standard deviation of the series' effects, on the log odds.

    Attributes
    ----------
    coefficients_ : pandas.Series
        Posterior means of all but the series' effects.
    cutoff_ : pandas.Timestamp
    """

    coefficients_: pd.Series
    cutoff_: pd.Timestamp

    def __init__(self, *, series_sd: float = 0.7) -> None:
        if not (np.isfinite(series_sd) and series_sd > 0):
            raise CivstatsError(f"series_sd must be positive, but got {series_sd!r}")
        self.series_sd = float(series_sd)

    def fit(self, panel: pd.DataFrame, expected: np.ndarray | None = None) -> StockoutLogit:
        """Learn from the flags of a validated panel.

        Parameters
        ----------
        panel : pandas.DataFrame
        expected : numpy.ndarray, shape (n_rows,), optional
            Expected demand of each day from the days before it (a forecast, never the truth).
        """
        x, y, usable, names = _design(panel, expected)
        codes = series_index(panel).codes()[usable]
        x, y = x[usable], y[usable].astype(float)
        n = int(series_index(panel).codes().max()) + 1
        p = x.shape[1]
        penalty = np.full(p, _FIXED_SD**-2)
        ridge = self.series_sd**-2
        b, u = np.zeros(p), np.zeros(n)
        for _ in range(60):
            chance = 1 / (1 + np.exp(-(x @ b + u[codes])))
            w, rest = chance * (1 - chance), y - chance
            g_b, g_u = x.T @ rest - penalty * b, np.bincount(codes, rest, n) - ridge * u
            d = np.bincount(codes, w, n) + ridge
            c = np.stack([np.bincount(codes, w * x[:, j], n) for j in range(p)])
            # The series' block is diagonal: eliminate it (Schur complement).
            schur = (x.T * w) @ x + np.diag(penalty) - (c / d) @ c.T
            step_b = np.linalg.solve(schur, g_b - c @ (g_u / d))
            step_u = (g_u - c.T @ step_b) / d
            size = min(1.0, 2.0 / max(np.abs(step_b).max(), np.abs(step_u).max(), 1e-12))
            b, u = b + size * step_b, u + size * step_u
            if max(np.abs(step_b).max(), np.abs(step_u).max()) < 1e-8:
                break
        self._b, self._u, self._c, self._d = b, u, c, d
        self._covariance = np.linalg.inv(schur)
        self._ids, self._names = pd.Index(series_index(panel).ids, dtype=object), names
        self.coefficients_ = pd.Series(b, index=names)
        self.cutoff_ = pd.Timestamp(panel[DS].max())
        return self

    def predict(self, panel: pd.DataFrame, expected: np.ndarray | None = None) -> pd.DataFrame:
        """Return each day's chance from the days before it.

        Parameters
        ----------
        panel : pandas.DataFrame
            The past with the days asked for behind it; a row's own sales and flag are not read.
        expected : numpy.ndarray, shape (n_rows,), optional
            As in :meth:`fit`; needed if it was given there.

        Returns
        -------
        pandas.DataFrame
            ``unique_id, ds, probability, lo, hi`` (80 % band of the chance), a row per row of
            `panel`; a series that was not fitted has the prior's effect.
        """
        if not hasattr(self, "_b"):
            raise ForecastError("StockoutLogit is not fitted: call fit(panel) first")
        x, _, _, names = _design(panel, expected)
        if names != self._names:
            raise ForecastError(
                f"fitted on {', '.join(self._names)} but asked with {', '.join(names)}: pass the same "
                "covariates"
            )
        ids = panel[ID].astype(object).to_numpy()
        at = self._ids.get_indexer(pd.Index(ids))
        known = at >= 0
        k = np.where(known, at, 0)
        eta = x @ self._b + np.where(known, self._u[k], 0.0)
        # Variance of x'b + u_i: cov(b) = S^-1, u_i given b has slope -c_i / d_i and variance 1 / d_i.
        slope = x - np.where(known[:, None], (self._c / self._d).T[k], 0.0)
        variance = np.einsum("ij,jk,ik->i", slope, self._covariance, slope)
        variance += np.where(known, 1 / self._d[k], self.series_sd**2)
        reach = 1.2816 * np.sqrt(variance)
        # Mean of the chance over a normal log odds (MacKay, 1992).
        centre = eta / np.sqrt(1 + np.pi * variance / 8)
        chances = [1 / (1 + np.exp(-v)) for v in (centre, eta - reach, eta + reach)]
        return pd.DataFrame(
            {ID: panel[ID].to_numpy(), DS: panel[DS].to_numpy()}
            | dict(zip(("probability", "lo", "hi"), chances, strict=True))
        )


def _design(
    panel: pd.DataFrame, expected: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Regressors from the days before each row, the flag, and which rows have a past."""
    if CENSORED not in panel.columns and IN_STOCK_SHARE not in panel.columns:
        raise CivstatsError(
            f"the panel carries no stockout flags ({CENSORED} or {IN_STOCK_SHARE}), so how often an "
            "item is out cannot be told; add them, or simulate stockouts first"
        )
    out = stockout_days(panel)
    codes = series_index(panel).codes()
    y = panel[Y].to_numpy(float)
    # A day out says little of the pace: it is left out of level and of last week's sales.
    sold = pd.Series(np.where(out, np.nan, y)).groupby(codes)
    level = sold.ewm(alpha=_MEMORY, ignore_na=True).mean().reset_index(level=0, drop=True)
    recent = sold.rolling(7, min_periods=1).mean().reset_index(level=0, drop=True)
    share = pd.Series(out.astype(float)).groupby(codes)
    month = share.rolling(28, min_periods=1).mean().reset_index(level=0, drop=True)

    def before(values: pd.Series, lag: int = 1) -> np.ndarray:
        return values.sort_index().groupby(codes).shift(lag).to_numpy(float)

    flags = pd.Series(out.astype(float))
    pace = before(level.groupby(codes).ffill())
    usable = np.isfinite(before(flags, 2)) & np.isfinite(pace)
    pace = np.nan_to_num(pace)
    week = np.nan_to_num(before(recent.groupby(codes).ffill()), nan=0.0)
    day = panel[DS].dt.dayofweek.to_numpy()
    columns = {
        "intercept": np.ones(len(y)),
        "out yesterday": np.nan_to_num(before(flags)),
        "out two days ago": np.nan_to_num(before(flags, 2)),
        # After two days out the truck is nearer: persistence is no sum of two effects.
        "out on both": np.nan_to_num(before(flags) * before(flags, 2)),
        "share of 28 days out": np.nan_to_num(before(month)),
        "recent sales": np.log((week + 0.1) / (pace + 0.1)),
        "level": np.log(pace + 0.1),
    }
    columns |= {f"weekday {k}": (day == k).astype(float) for k in range(1, 7)}
    if PROMO in panel.columns:
        columns["promotion"] = (panel[PROMO].to_numpy() > 0).astype(float)
    if expected is not None:
        if np.shape(expected) != (len(y),) or not (np.isfinite(expected) & (expected >= 0)).all():
            raise CivstatsError(f"expected must hold {len(y)} numbers of 0 or more")
        columns["expected demand"] = np.log((np.asarray(expected) + 0.1) / (pace + 0.1))
    return np.column_stack(list(columns.values())), out, usable, list(columns)
