"""Likelihood, derivatives and prediction of a censored regression, given one row's likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.base.model import GenericLikelihoodModel

from civstats.censoring import CountFamily, IntervalParts, Normal
from civstats.models.regression.checks import check_new_data
from civstats.models.regression.rows import numeric_data
from civstats.schema import CivstatsError


class CensoredLikelihood(GenericLikelihoodModel):
    """What follows from the likelihood of one row, which a subclass supplies."""

    extra_names: tuple[str, ...] = ()

    endog: np.ndarray
    censored: np.ndarray
    exposure: np.ndarray | None
    offset: np.ndarray | None
    _memo: tuple[bytes, IntervalParts] | None = None

    def _check_data(self) -> None:
        """Raise for data outside the family's support."""

    def family(self, params: ArrayLike) -> CountFamily | Normal:
        """Return the family of :mod:`civstats.censoring` at these parameters."""
        raise NotImplementedError

    def _row_parts(self, eta: np.ndarray, params: np.ndarray) -> IntervalParts:
        """Return log-likelihood and derivatives of every row."""
        raise NotImplementedError

    @property
    def start_params(self) -> np.ndarray:
        """Return where the search starts."""
        raise NotImplementedError

    def linear(self, params: ArrayLike) -> np.ndarray:
        """Return the linear predictor of the rows of the model, offset included."""
        eta = self.exog @ np.asarray(params)[: self.exog.shape[1]]
        return eta if self.offset is None else eta + self.offset

    @property
    def _share(self) -> np.ndarray:
        return np.ones(()) if self.exposure is None else np.asarray(self.exposure, dtype=float)

    def _parts(self, params: ArrayLike) -> IntervalParts:
        params = np.asarray(params, dtype=float)
        key = params.tobytes()
        # Value, score and hessian are asked for in turn at the same point.
        if self._memo is None or self._memo[0] != key:
            self._memo = (key, self._row_parts(self.linear(params), params))
        return self._memo[1]

    def loglikeobs(self, params: ArrayLike) -> np.ndarray:
        """Return the log-likelihood of each row."""
        return self._parts(params).loglik

    def nloglikeobs(self, params: ArrayLike) -> np.ndarray:
        """Return the negative log-likelihood of each row."""
        return -self._parts(params).loglik

    def score_obs(self, params: ArrayLike, **kwargs: Any) -> np.ndarray:
        """Return the analytic score of each row, shape (n, parameters)."""
        parts = self._parts(params)
        score = self.exog * parts.location[:, None]
        return np.column_stack([score, parts.log_scale]) if self.extra_names else score

    def score(self, params: ArrayLike) -> np.ndarray:
        """Return the analytic score."""
        parts = self._parts(params)
        score = self.exog.T @ parts.location
        return np.append(score, parts.log_scale.sum()) if self.extra_names else score

    def hessian(self, params: ArrayLike) -> np.ndarray:
        """Return the analytic hessian."""
        parts = self._parts(params)
        inner = self.exog.T @ (self.exog * parts.location2[:, None])
        if not self.extra_names:
            return inner
        cross = self.exog.T @ parts.cross
        return np.block([[inner, cross[:, None]], [cross[None, :], parts.log_scale2.sum()]])

    def _faces(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what exact and one-sided rows demand of a direction, see `no_maximum`."""
        raise NotImplementedError

    def kinds(self) -> dict[str, np.ndarray]:
        """Return which rows are right-, left- and interval-censored."""
        raise NotImplementedError

    def expected(self, params: ArrayLike) -> np.ndarray:
        """Return the demand expected of each row of the model given what was observed of it."""
        raise NotImplementedError

    def predict(
        self,
        params: ArrayLike,
        exog: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        which: str = "mean",
    ) -> np.ndarray:
        """Predict demand.

        Parameters
        ----------
        params : array_like
            Parameters of the model.
        exog : array_like, optional
            Regressors; those of the model, with its exposure and offset, by default.
        exposure, offset : array_like, optional
            For new `exog`: a full day and no offset by default.
        which : {"mean", "sigma", "variance", "linear"}
            Mean, standard deviation or variance of demand, or the linear predictor.
        """
        params, k = np.asarray(params, dtype=float), self.exog.shape[1]
        if exog is None:
            exog = self.exog
            exposure = self.exposure if exposure is None else exposure
            offset = self.offset if offset is None else offset
        exog = np.asarray(numeric_data(exog, "exog"), dtype=float)
        check_new_data(exog, list(self.exog_names[:k]), exposure, offset)
        eta = exog @ params[:k]
        eta = eta if offset is None else eta + np.asarray(offset, dtype=float)
        if which == "linear":
            return eta
        share = 1.0 if exposure is None else exposure
        family = self.family(params)
        if which == "mean":
            return family.mean(eta, share)
        if which in ("sigma", "variance"):
            variance = family.variance(eta, share)
            return np.sqrt(variance) if which == "sigma" else variance
        raise CivstatsError(f"which must be mean, sigma, variance or linear, but got {which!r}")
