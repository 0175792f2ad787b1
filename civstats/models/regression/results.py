"""Results of a censored regression: who was censored, fit statistics, recovered demand."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import statsmodels.base.wrapper as wrap
from scipy import stats
from statsmodels.base.model import GenericLikelihoodModelResults, LikelihoodResultsWrapper
from statsmodels.iolib.summary import Summary

from civstats.models.regression.formulas import is_formula_error, refuse_prediction
from civstats.models.regression.rows import Rows, column
from civstats.schema import CivstatsError


class CensoredResults(GenericLikelihoodModelResults):
    """Fitted censored regression.

    Everything of :class:`statsmodels.base.model.GenericLikelihoodModelResults` (``params``,
    ``bse``, ``cov_params()``, ``conf_int()``, ``t_test``, ``wald_test``, ``aic``, ``bic``), and
    the following.

    Attributes
    ----------
    n_right, n_left, n_interval, n_exact : int
        Rows by kind of censoring.
    llnull : float
        Log-likelihood with a constant only.
    prsquared : float
        McFadden's (1974) pseudo R-squared, ``1 - llf / llnull``.
    llr, llr_pvalue : float
        Likelihood ratio test against the constant.
    """

    @property
    def n_right(self) -> int:
        """Return the number of right-censored rows."""
        return int(self.model.kinds()["right"].sum())

    @property
    def n_left(self) -> int:
        """Return the number of left-censored rows."""
        return int(self.model.kinds()["left"].sum())

    @property
    def n_interval(self) -> int:
        """Return the number of interval-censored rows."""
        return int(self.model.kinds()["interval"].sum())

    @property
    def n_exact(self) -> int:
        """Return the number of exact rows."""
        return int(self.nobs) - self.n_right - self.n_left - self.n_interval

    @property
    def family(self) -> Any:
        """Return the fitted family of :mod:`civstats.censoring`."""
        return self.model.family(self.params)

    @cached_property
    def llnull(self) -> float:
        """Log-likelihood of the model with a constant only."""
        return self.model.null_model().fit(disp=0).llf

    @cached_property
    def prsquared(self) -> float:
        """McFadden's pseudo R-squared."""
        return 1.0 - self.llf / self.llnull

    @cached_property
    def llr(self) -> float:
        """Likelihood ratio statistic against the constant-only model."""
        return -2.0 * (self.llnull - self.llf)

    @cached_property
    def llr_pvalue(self) -> float:
        """Its p-value, chi-squared with ``df_model`` degrees of freedom."""
        return float(stats.chi2.sf(self.llr, self.df_model))

    @cached_property
    def fittedvalues(self) -> np.ndarray:
        """Mean of demand of each row, over its exposure."""
        return self.model.predict(self.params)

    def predict(
        self, exog: Any = None, transform: bool = True, *args: Any, **kwargs: Any
    ) -> np.ndarray | pd.Series:
        """Predict demand, see :meth:`CensoredModel.predict`.

        Parameters
        ----------
        exog : pandas.DataFrame or array_like, optional
            New data with the formula's columns, or a design matrix; the rows of the model by
            default.
        transform : bool
            Whether `exog` goes through the formula.
        *args, **kwargs
            ``exposure``, ``offset`` (arrays, or names of columns of `exog`) and ``which``.

        Raises
        ------
        CivstatsError
            If `exog` lacks a column, holds a level unseen in fitting, or lengths differ.
        """
        for name in ("exposure", "offset"):
            if isinstance(kwargs.get(name), str):
                if not isinstance(exog, pd.DataFrame):
                    raise CivstatsError(f"{name}={kwargs[name]!r} names a column: pass a DataFrame")
                kwargs[name] = column(kwargs[name], name, exog, Rows.of(exog))
        by_name = (pd.DataFrame, pd.Series, dict, type(None))
        if transform and hasattr(self.model, "formula") and not isinstance(exog, by_name):
            if not hasattr(exog, "to_pandas"):
                raise refuse_prediction(None, self.model, exog)
            exog = exog.to_pandas()
        # statsmodels puts rows with missing values back by label, which must then be unique.
        labels = exog.index if isinstance(exog, pd.DataFrame) else None
        if labels is not None and not labels.is_unique:
            exog = exog.reset_index(drop=True)
        else:
            labels = None
        try:
            out = super().predict(exog, transform, *args, **kwargs)
        except CivstatsError:
            raise
        except Exception as error:
            if is_formula_error(error):
                raise refuse_prediction(error, self.model, exog) from error
            raise
        return out if labels is None else pd.Series(np.asarray(out), index=labels)

    def recovered(self) -> np.ndarray:
        """Return the demand expected of each row given what was observed.

        Exact rows keep their value; a right-censored row gets E[D | D >= y], a left-censored one
        E[D | D <= y] and an interval E[D | y <= D <= upper].
        """
        return self.model.expected(self.params)

    def summary(
        self,
        yname: str | None = None,
        xname: list[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
    ) -> Summary:
        """Summarise the fit; arguments as in statsmodels."""
        kinds = [("Right-censored:", [str(self.n_right)])]
        if self.n_left or self.n_interval:
            kinds += [
                ("Left-censored:", [str(self.n_left)]),
                ("Interval-censored:", [str(self.n_interval)]),
            ]
        left = [
            ("Dep. Variable:", None),
            ("Model:", None),
            ("Method:", ["Maximum Likelihood"]),
            ("No. Observations:", None),
            *kinds,
            ("Df Residuals:", None),
            ("Df Model:", None),
        ]
        right = [
            ("Log-Likelihood:", None),
            ("LL-Null:", [f"{self.llnull:#8.5g}"]),
            ("Pseudo R-squ.:", [f"{self.prsquared:#6.4g}"]),
            ("LLR p-value:", [f"{self.llr_pvalue:#6.4g}"]),
            ("AIC:", [f"{self.aic:#8.5g}"]),
            ("BIC:", [f"{self.bic:#8.5g}"]),
            ("Covariance Type:", [str(self.cov_type)]),
        ]
        summary = Summary()
        summary.add_table_2cols(
            self,
            gleft=left,
            gright=right,
            yname=yname,
            xname=xname,
            title=title or f"{type(self.model).__name__} Results",
        )
        summary.add_table_params(self, yname=yname, xname=xname, alpha=alpha, use_t=self.use_t)
        return summary


class CensoredResultsWrapper(LikelihoodResultsWrapper):
    """Attaches the names of the data to the results."""

    _wrap_methods: ClassVar[dict[str, str]] = {
        **LikelihoodResultsWrapper._wrap_methods,
        "recovered": "rows",
    }


wrap.populate_wrapper(CensoredResultsWrapper, CensoredResults)
