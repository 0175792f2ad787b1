"""What all censored regressions share: data handling, Newton's method, prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from statsmodels.base.model import GenericLikelihoodModel

from civstats.censoring import CountFamily, IntervalParts, Normal
from civstats.models.regression.newton import maximise
from civstats.models.regression.results import CensoredResults, CensoredResultsWrapper
from civstats.models.regression.rows import as_flags, check_lengths, column
from civstats.schema import CivstatsError


class CensoredModel(GenericLikelihoodModel):
    """Base of the censored regressions; a subclass supplies the likelihood of one row.

    Parameters
    ----------
    endog : array_like, shape (n,)
        Observed sales; the bound on censored rows.
    exog : array_like, shape (n, k)
        Regressors; add the constant yourself, or use :meth:`from_formula`.
    censored : array_like of bool, optional
        True where demand is at least `endog`.
    exposure : array_like, optional
        Share of the day's demand that falls in the hours in stock; scales the mean.
    offset : array_like, optional
        Added to the linear predictor.
    missing : {"none", "drop", "raise"}
        What to do with rows that lack a value, a flag, an exposure or an offset.
    **arrays
        Further arrays of one entry per row that the subclass knows.

    Raises
    ------
    CivstatsError
        For flags that are not True or False, or data outside the family's support.
    """

    results_class = CensoredResults
    extra_names: tuple[str, ...] = ()
    # Arrays in which a missing entry makes a row unusable.
    row_arrays: tuple[str, ...] = ("censored", "exposure", "offset")

    censored: np.ndarray
    exposure: np.ndarray | None
    offset: np.ndarray | None

    def __init__(
        self,
        endog: ArrayLike,
        exog: ArrayLike,
        censored: ArrayLike | None = None,
        exposure: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        missing: str = "none",
        **arrays: Any,
    ) -> None:
        given = {"censored": censored, "exposure": exposure, "offset": offset}
        known = {k: np.asarray(v) if v is not None and np.ndim(v) else v for k, v in given.items()}
        check_lengths(endog, arrays.get("missing_idx"), {**known, **arrays})
        super().__init__(endog, exog, missing=missing, extra_params_names=None, **known, **arrays)
        if self.exog is None:
            raise CivstatsError("exog is missing: pass at least a column of ones")
        self.censored = as_flags(self.censored, self.endog.shape[0], "censored")
        self.df_model = float(self.exog.shape[1] - self.k_constant)
        self.df_resid = float(self.exog.shape[0] - self.exog.shape[1])
        self.k_extra = 0
        if self.extra_names:
            self._set_extra_params_names(list(self.extra_names))
        self.nparams = self.exog.shape[1] + len(self.extra_names)
        self._memo: tuple[bytes, IntervalParts] | None = None
        self._check_data()

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: pd.DataFrame,
        subset: Any = None,
        drop_cols: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> CensoredModel:
        """Build the model from a formula and a frame.

        Parameters
        ----------
        formula : str
            As for any statsmodels formula model: ``"y ~ price + C(dept_id)"``.
        data : pandas.DataFrame
            One row per observation; left unchanged.
        subset, drop_cols
            As in statsmodels.
        *args, **kwargs
            Of the model. ``censored``, ``exposure``, ``offset`` (and ``left_censored``, ``upper``
            of the continuous models) name a column of `data` or are arrays with one entry per
            row of `data`. Rows with a missing value in the formula or in one of these are
            dropped together with their flags (``missing="raise"`` refuses them).

        Returns
        -------
        CensoredModel

        Raises
        ------
        CivstatsError
            If a named column does not exist.
        """
        if subset is not None:
            data = data.loc[subset]
        for name in (*cls.row_arrays, "upper"):
            if kwargs.get(name) is not None:
                kwargs[name] = column(kwargs[name], name, data)
        # statsmodels counts the frames between the formula and its caller: this is one more.
        depth = kwargs.pop("eval_env", 1)
        kwargs["eval_env"] = depth if depth == -1 or not isinstance(depth, int) else depth + 1
        return super().from_formula(formula, data, None, drop_cols, *args, **kwargs)

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

    def fit(
        self,
        start_params: ArrayLike | None = None,
        method: str = "newton",
        maxiter: int = 200,
        full_output: int = 1,
        disp: int = 0,
        callback: Any = None,
        retall: int = 0,
        **kwargs: Any,
    ) -> CensoredResults:
        """Maximise the likelihood.

        Parameters
        ----------
        start_params : array_like, optional
            Where to start; moment estimates by default.
        method : str
            ``"newton"``: Newton steps with a trust region and the analytic hessian; or any
            method of :meth:`statsmodels.base.model.LikelihoodModel.fit`.
        maxiter, full_output, disp, callback, retall
            As in statsmodels.
        **kwargs
            ``cov_type`` (``"nonrobust"``, ``"HC0"``, ``"HC1"``, ``"cluster"``, ...) and
            ``cov_kwds``; the ``groups`` of a clustered covariance may name a column of the
            formula's data.

        Returns
        -------
        CensoredResults
            With pandas labels where the data had them.

        Warns
        -----
        statsmodels.tools.sm_exceptions.ConvergenceWarning
            If no maximum was found, as when every row of a group is censored.
        """
        start = np.asarray(self.start_params if start_params is None else start_params, float)
        if method == "newton":
            start = maximise(self.loglike, self.score, self.hessian, start, maxiter)
        groups = (kwargs.get("cov_kwds") or {}).get("groups")
        if groups is not None:
            kwargs["cov_kwds"] = {**kwargs["cov_kwds"], "groups": self._groups(groups)}
        fitted = super().fit(start, method, maxiter, full_output, disp, callback, retall, **kwargs)
        return CensoredResultsWrapper(fitted)

    def _groups(self, groups: Any) -> np.ndarray:
        frame = getattr(self.data, "frame", None)
        if isinstance(groups, str):
            if frame is None or groups not in frame.columns:
                raise CivstatsError(f"groups={groups!r} is not a column of the formula's data")
            groups = frame[groups]
        values = np.asarray(groups)
        kept = self.kept_rows
        if kept is not None and values.shape[0] == kept.size:
            values = values[kept]
        codes, _ = pd.factorize(values, use_na_sentinel=True)
        if (codes < 0).any():
            raise CivstatsError(
                f"groups is missing in {int((codes < 0).sum())} row(s) used by the model; fill "
                "them or drop the rows before fitting"
            )
        return codes

    @property
    def kept_rows(self) -> np.ndarray | None:
        """Return which rows of the formula's data the model uses; None without a formula."""
        frame = getattr(self.data, "frame", None)
        if frame is None:
            return None
        kept = np.ones(len(frame), dtype=bool)
        kept[list(getattr(self.data, "missing_row_idx", []))] = False
        return kept

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
        params = np.asarray(params, dtype=float)
        if exog is None:
            exog = self.exog
            exposure = self.exposure if exposure is None else exposure
            offset = self.offset if offset is None else offset
        eta = np.asarray(exog, dtype=float) @ params[: self.exog.shape[1]]
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
