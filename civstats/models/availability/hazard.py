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
_START_SD, _EM_ROUNDS = 0.7, 25


class StockoutLogit:
    """One-day-ahead chance of a stockout, with uncertainty.

    Penalised logit: the last two days' flags, the share of the last 28 days out, last week's sales
    against the series' level, weekday, promotion and, where the caller has one, the day's expected
    demand against that level; a normal prior on every coefficient; an effect per department, shrunk
    to none, and one per series, shrunk to its department's (a Laplace approximation of the
    posterior). It says how likely each day is, one day ahead; paths over many days, in which
    flags and stock feed on each other, are what `Availability` and `Shelf` draw.

    Parameters
    ----------
    series_sd, group_sd : float, optional
        Standard deviation of the series' and the departments' effects, on the log odds; estimated
        (EM on the Laplace approximation, as penalised quasi-likelihood does; Breslow and Clayton,
        1993) if None.
    group : str, optional
        Column of the departments; without it, or with None, series are shrunk to the panel.

    Attributes
    ----------
    coefficients_ : pandas.Series
        Posterior means of all but the series' effects; ``dept_id=...`` are the departments'.
    series_sd_, group_sd_ : float
    cutoff_ : pandas.Timestamp
    """

    coefficients_: pd.Series
    cutoff_: pd.Timestamp

    def __init__(
        self,
        *,
        series_sd: float | None = None,
        group_sd: float | None = None,
        group: str | None = "dept_id",
    ) -> None:
        for name, value in (("series_sd", series_sd), ("group_sd", group_sd)):
            if value is not None and not (np.isfinite(value) and value > 0):
                raise CivstatsError(f"{name} must be positive, but got {value!r}")
        self.series_sd, self.group_sd, self.group = series_sd, group_sd, group

    def fit(self, panel: pd.DataFrame, expected: np.ndarray | None = None) -> StockoutLogit:
        """Learn from the flags of a validated panel.

        Parameters
        ----------
        panel : pandas.DataFrame
        expected : numpy.ndarray, shape (n_rows,), optional
            Expected demand of each day from the days before it (a forecast, never the truth).
        """
        x, y, usable, names = _design(panel, expected)
        self._groups = self._group_names(panel)
        x = np.column_stack([x, self._group_columns(panel)])[usable]
        codes = series_index(panel).codes()
        n, codes, y = int(codes.max()) + 1, codes[usable], y[usable].astype(float)
        of_group = np.arange(x.shape[1]) >= len(names)
        sds = [self.series_sd or _START_SD, self.group_sd or _START_SD]
        b, u = np.zeros(x.shape[1]), np.zeros(n)
        free = self.series_sd is None, self.group_sd is None and bool(of_group.any())
        for _ in range(_EM_ROUNDS if any(free) else 1):
            penalty = np.where(of_group, sds[1] ** -2, _FIXED_SD**-2)
            b, u, c, d, covariance = _mode(x, y, codes, penalty, sds[0] ** -2, b, u)
            # Second moments of the effects: posterior mean squared plus posterior variance.
            own = 1 / d + np.einsum("ji,jk,ki->i", c / d, covariance, c / d)
            spread = np.diag(covariance)[of_group]
            moved = [np.sqrt((u**2 + own).mean()), sds[1]]
            if free[1]:
                # A weak prior keeps a handful of departments from being all alike.
                moved[1] = np.sqrt(
                    ((b[of_group] ** 2 + spread).sum() + _START_SD**2) / (of_group.sum() + 1)
                )
            now = [max(m, 1e-3) if f else s for m, s, f in zip(moved, sds, free, strict=True)]
            change = max(abs(m - s) for m, s in zip(now, sds, strict=True))
            sds = now
            if change < 1e-3:
                break
        self.series_sd_, self.group_sd_ = (float(s) for s in sds)
        self._b, self._u, self._c, self._d, self._covariance = b, u, c, d, covariance
        self._ids, self._names = pd.Index(series_index(panel).ids, dtype=object), names
        labels = [f"{self.group}={g}" for g in self._groups]
        self.coefficients_ = pd.Series(b, index=[*names, *labels])
        self.cutoff_ = pd.Timestamp(panel[DS].max())
        return self

    def _group_names(self, panel: pd.DataFrame) -> list[str]:
        if self.group is None or self.group not in panel.columns:
            return []
        return sorted(panel[self.group].dropna().astype(str).unique())

    def _group_columns(self, panel: pd.DataFrame) -> np.ndarray:
        """Return a column of zeros and ones per department, shape (n_rows, n_groups)."""
        if not self._groups or self.group not in panel.columns:
            return np.zeros((len(panel), len(self._groups)))
        at = pd.Index(self._groups).get_indexer(pd.Index(panel[self.group].astype(str)))
        return (at[:, None] == np.arange(len(self._groups))).astype(float)

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
        own = self._group_columns(panel)
        x = np.column_stack([x, own])
        ids = panel[ID].astype(object).to_numpy()
        at = self._ids.get_indexer(pd.Index(ids))
        known = at >= 0
        k = np.where(known, at, 0)
        eta = x @ self._b + np.where(known, self._u[k], 0.0)
        # Variance of x'b + u_i: cov(b) = S^-1, u_i given b has slope -c_i / d_i and variance 1 / d_i.
        slope = x - np.where(known[:, None], (self._c / self._d).T[k], 0.0)
        variance = np.einsum("ij,jk,ik->i", slope, self._covariance, slope)
        variance += np.where(known, 1 / self._d[k], self.series_sd_**2)
        if self._groups:
            variance += np.where(known | own.any(axis=1), 0.0, self.group_sd_**2)
        reach = 1.2816 * np.sqrt(variance)
        # Mean of the chance over a normal log odds (MacKay, 1992).
        centre = eta / np.sqrt(1 + np.pi * variance / 8)
        chances = [1 / (1 + np.exp(-v)) for v in (centre, eta - reach, eta + reach)]
        return pd.DataFrame(
            {ID: panel[ID].to_numpy(), DS: panel[DS].to_numpy()}
            | dict(zip(("probability", "lo", "hi"), chances, strict=True))
        )


def _mode(
    x: np.ndarray,
    y: np.ndarray,
    codes: np.ndarray,
    penalty: np.ndarray,
    ridge: float,
    b: np.ndarray,
    u: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Return the posterior mode of coefficients and series' effects, and its curvature in parts."""
    n, p = len(u), x.shape[1]
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
    return b, u, c, d, np.linalg.inv(schur)


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
