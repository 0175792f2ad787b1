"""Tobit and censored log-normal regression under left, right and interval censoring."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from civstats.censoring import IntervalParts, LogNormal, Normal
from civstats.models.regression.base import CensoredModel
from civstats.models.regression.rows import as_flags
from civstats.schema import CivstatsError


class Tobit(CensoredModel):
    """Normal linear regression of a censored variable (Tobin, 1958).

    The last parameter is ``log_scale``, as in R's ``survreg``.

    Parameters
    ----------
    endog : array_like, shape (n,)
        Observed value; the known bound on one-sided censored rows, the lower bound on intervals.
    exog : array_like, shape (n, k)
        Regressors; add the constant yourself, or use :meth:`from_formula`.
    censored : array_like of bool, optional
        Right-censored rows: the variable is at least `endog`.
    left_censored : array_like of bool, optional
        Left-censored rows: the variable is at most `endog`.
    upper : array_like, optional
        Interval-censored rows: the variable lies between `endog` and `upper`. NaN, or a value
        equal to `endog`, means no interval; infinity means right-censored.
    left, right : float, optional
        Classical limits: rows with ``endog <= left`` are left-censored there, rows with
        ``endog >= right`` right-censored.
    exposure, offset, missing
        As in :class:`CensoredModel`; exposure scales the location.

    Raises
    ------
    CivstatsError
        If a row is censored in two ways, or `upper` lies below `endog`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.models.regression import Tobit
    >>> rng = np.random.default_rng(0)
    >>> data = pd.DataFrame({"x": rng.normal(size=4000)})
    >>> data["y"] = np.maximum(1 + 2 * data["x"] + rng.normal(size=4000), 0)
    >>> Tobit.from_formula("y ~ x", data, left=0).fit().params.round(1).abs().to_dict()
    {'Intercept': 1.0, 'x': 2.0, 'log_scale': 0.0}
    """

    extra_names = ("log_scale",)
    row_arrays = ("censored", "left_censored", "exposure", "offset")
    location_family: type[Normal] = Normal

    upper: np.ndarray | None
    left_censored: np.ndarray

    def __init__(
        self,
        endog: ArrayLike,
        exog: ArrayLike,
        censored: ArrayLike | None = None,
        left_censored: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        left: float | None = None,
        right: float | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        missing: str = "none",
        **kwargs: Any,
    ) -> None:
        # statsmodels drops rows with NaN in any array: "no interval" needs another mark.
        if upper is not None:
            upper = np.asarray(upper, dtype=float)
            upper = np.where(np.isnan(upper), -np.inf, upper)
        left_censored = None if left_censored is None else np.asarray(left_censored)
        super().__init__(
            endog,
            exog,
            censored,
            exposure,
            offset,
            missing,
            left_censored=left_censored,
            upper=upper,
            left=left,
            right=right,
            **kwargs,
        )

    def _check_data(self) -> None:
        y, n = np.asarray(self.endog, dtype=float), self.endog.size
        upper = np.full(n, -np.inf) if self.upper is None else np.asarray(self.upper, float)
        upper = np.where(np.isneginf(upper), y, upper)
        right = self.censored | np.isposinf(upper)
        left = as_flags(self.left_censored, n, "left_censored")
        if self.left is not None:
            left = left | (y <= self.left)
        if self.right is not None:
            right = right | (y >= self.right)
        interval = ~right & ~left & (upper != y)
        twice = (left & right) | ((left | right) & np.isfinite(upper) & (upper != y))
        for bad, what in (
            (~np.isfinite(y), "endog must be finite"),
            (twice, "a row can be censored in one way only"),
            (interval & (upper < y), "upper must not lie below endog"),
        ):
            if bad.any():
                raise CivstatsError(
                    f"{what}, but {int(bad.sum())} row(s) break this, first at position "
                    f"{int(bad.argmax())}"
                )
        self._kinds = {"right": right, "left": left, "interval": interval}
        self._low = np.where(left, -np.inf, y)
        self._high = np.where(right, np.inf, np.where(left, y, upper))
        self._family_check()

    def _family_check(self) -> None:
        """Raise for values that the family cannot take."""

    def kinds(self) -> dict[str, np.ndarray]:
        """Return which rows are right-, left- and interval-censored."""
        return self._kinds

    def family(self, params: ArrayLike) -> Normal:
        """Return the family of :mod:`civstats.censoring` at these parameters."""
        return self.location_family(float(np.exp(np.clip(np.asarray(params)[-1], -300, 300))))

    def null_model(self) -> Tobit:
        """Return the same model with a constant only."""
        # The interval of a censored row is rebuilt from its kind, limits included.
        upper = np.where(self._kinds["interval"], self._high, np.nan)
        return type(self)(
            self.endog,
            np.ones((self.endog.size, 1)),
            self._kinds["right"],
            self._kinds["left"],
            upper,
            exposure=self.exposure,
            offset=self.offset,
        )

    def _middle(self) -> np.ndarray:
        """Return a point inside what is known of each row, on the scale of the regression."""
        return np.where(self._kinds["interval"], 0.5 * (self.endog + self._high), self.endog)

    @property
    def start_params(self) -> np.ndarray:
        """Least squares on the bounds, net of exposure and offset."""
        target, design = self._middle(), self.exog
        if self.offset is not None:
            target = target - self.offset
        beta = np.linalg.lstsq(design, target, rcond=None)[0]
        spread = np.std(target - design @ beta)
        return np.append(beta, np.log(max(float(spread), 1e-8)))

    def _row_parts(self, eta: np.ndarray, params: np.ndarray) -> IntervalParts:
        return self.family(params).interval_loglik(self._low, self._high, eta, self._share)


class CensoredLogNormal(Tobit):
    """Log-normal regression of a positive censored variable; R's ``survreg(dist="lognormal")``.

    Parameters are those of :class:`Tobit`; the linear predictor is the mean of the logarithm and
    exposure adds its own.
    """

    location_family = LogNormal

    def _family_check(self) -> None:
        exact = self._low == self._high
        bad = (exact | self._kinds["left"]) & (np.asarray(self.endog) <= 0)
        if bad.any():
            raise CivstatsError(
                f"the log-normal is positive, but {int(bad.sum())} exact or left-censored row(s) "
                f"are not, first at position {int(bad.argmax())}: drop them or use Tobit or a "
                "count model"
            )

    def _middle(self) -> np.ndarray:
        tiny = np.min(self.endog[self.endog > 0], initial=1.0)
        share = np.maximum(self._share, 1e-3)
        return np.log(np.maximum(super()._middle(), 0.5 * tiny)) - np.log(share)
