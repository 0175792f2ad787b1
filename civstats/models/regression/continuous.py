"""Tobit and censored log-normal regression under left, right and interval censoring."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from civstats.censoring import IntervalParts, LogNormal, Normal
from civstats.models.regression.base import CensoredModel
from civstats.models.regression.rows import Rows, as_flags, as_numbers
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
    left, right : float or array_like, optional
        Classical limits: rows with ``endog <= left`` are left-censored there, rows with
        ``endog >= right`` right-censored. In an array NaN means no limit on that row.
    exposure, offset, missing
        As in :class:`CensoredModel`; exposure scales the location.

    Raises
    ------
    CivstatsError
        If a row is censored in two ways, `upper` lies below `endog`, or `left` does not lie
        below `right`.

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
    bound_arrays: ClassVar[dict[str, float]] = {
        "upper": -np.inf,
        "left": -np.inf,
        "right": np.inf,
    }
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
        left: ArrayLike | None = None,
        right: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        missing: str = "none",
        **kwargs: Any,
    ) -> None:
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

    def _read(self, name: str, values: Any, rows: Rows) -> Any:
        if name == "upper" and values is not None:
            bad = np.isneginf(as_numbers(values, name).astype(float))
            if bad.any():
                raise CivstatsError(
                    f"upper is -inf in {int(bad.sum())} row(s), below any endog: use NaN where "
                    "there is no interval"
                )
        return super()._read(name, values, rows)

    def _limit(self, name: str, beyond: np.ndarray) -> np.ndarray:
        """Return which rows a classical limit censors."""
        values = getattr(self, name)
        if values is None:
            return beyond
        values = np.asarray(values, dtype=float)
        none = self.bound_arrays[name]
        self._refuse(
            name,
            values == -none,
            f"must be a finite number ({none} or None for no limit), but {{}} are {-none}: an "
            "infinite limit would censor every value",
        )
        y = np.asarray(self.endog, dtype=float)
        return beyond | (np.isfinite(values) & (y <= values if name == "left" else y >= values))

    def _check_data(self) -> None:
        y, n = np.asarray(self.endog, dtype=float), self.endog.size
        upper = np.full(n, -np.inf) if self.upper is None else np.asarray(self.upper, float)
        upper = np.where(np.isneginf(upper), y, upper)
        flagged = as_flags(self.left_censored, self._rows, "left_censored")
        if self.left is not None and self.right is not None:
            crossed = np.asarray(self.left, float) >= np.asarray(self.right, float)
            if np.ndim(crossed) == 0 and crossed:
                raise CivstatsError(
                    f"left={self.left} must lie below right={self.right}: no value lies between "
                    "them; swap them"
                )
            self._refuse("left", crossed, "must lie below right, but {} do not: swap the two")
        right = self._limit("right", self.censored | np.isposinf(upper))
        left = self._limit("left", flagged)
        interval = ~right & ~left & (upper != y)
        self._refuse(
            "a row",
            left & right,
            "can be censored in one way only, but {} are both left-censored (left_censored, or "
            "endog <= left) and right-censored (censored, infinite upper, or endog >= right): "
            "drop one of the marks, or give the interval as endog and upper",
        )
        self._refuse(
            "a row",
            (left | right) & np.isfinite(upper) & (upper != y),
            "can be censored in one way only, but {} have both a flag or limit and a finite "
            "upper: drop the flag, or set upper to NaN",
        )
        self._refuse("upper", interval & (upper < y), "must not lie below endog, but {} do")
        self._kinds = {"right": right, "left": left, "interval": interval}
        self._low = np.where(left, -np.inf, y)
        self._high = np.where(right, np.inf, np.where(left, y, upper))
        self._family_check()

    def _family_check(self) -> None:
        """Raise for values that the family cannot take."""

    def _faces(self) -> tuple[np.ndarray, np.ndarray]:
        # In Olsen's (1978) terms, coefficients and unity both over the scale, the likelihood is
        # concave: the last entry of a row stands for 1 / scale, which cannot be negative.
        def sides(bound: np.ndarray, rows: np.ndarray) -> np.ndarray:
            shift = (0.0 if self.offset is None else self.offset) + np.zeros(rows.size)
            inner, slope = self._inner(bound, shift)
            return np.column_stack([slope[:, None] * self.exog, -inner])[rows]

        kinds, finite = self._kinds, self._informative()
        exact = ~(kinds["right"] | kinds["left"] | kinds["interval"])
        low = sides(np.asarray(self.endog, float), (kinds["right"] | kinds["interval"]) & finite)
        high = sides(
            np.where(exact | kinds["right"], 1.0, self._high), kinds["left"] | kinds["interval"]
        )
        scale = np.append(np.zeros(self.exog.shape[1]), 1.0)
        above = np.vstack([low, -high, scale])
        return sides(np.asarray(self.endog, float), exact), above

    def _informative(self) -> np.ndarray:
        """Return rows whose lower bound says something."""
        return np.ones(self.endog.size, dtype=bool)

    def _inner(self, bound: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return bounds net of the offset on the normal scale, and the slope of the predictor."""
        share = np.broadcast_to(self._share, bound.shape)
        return bound - share * shift, share

    def kinds(self) -> dict[str, np.ndarray]:
        """Return which rows are right-, left- and interval-censored."""
        return self._kinds

    def family(self, params: ArrayLike) -> Normal:
        """Return the family of :mod:`civstats.censoring` at these parameters."""
        return self.location_family(float(np.exp(np.clip(np.asarray(params)[-1], -300, 300))))

    def expected(self, params: ArrayLike) -> np.ndarray:
        """Return the mean of each row of the model given its bounds."""
        eta = self.linear(params)
        return self.family(params).interval_mean(self._low, self._high, eta, self._share)

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
        self._refuse(
            "endog",
            (exact | self._kinds["left"]) & (np.asarray(self.endog) <= 0),
            "must be positive where exact or left-censored, since the log-normal is positive, but "
            "{} are not: drop them or use Tobit or a count model",
        )
        self._refuse(
            "upper", self._high <= 0, "must be positive for the log-normal, but {} are not"
        )
        self._refuse(
            "exposure", self._share <= 0, "must be positive for the log-normal, but {} are not"
        )

    def _informative(self) -> np.ndarray:
        return np.asarray(self.endog) > 0

    def _inner(self, bound: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = np.broadcast_to(self._share, bound.shape)
        with np.errstate(divide="ignore"):
            return np.log(np.maximum(bound, 0.0)) - np.log(share) - shift, np.ones(bound.shape)

    def _middle(self) -> np.ndarray:
        tiny = np.min(self.endog[self.endog > 0], initial=1.0)
        share = np.maximum(self._share, 1e-3)
        return np.log(np.maximum(super()._middle(), 0.5 * tiny)) - np.log(share)
