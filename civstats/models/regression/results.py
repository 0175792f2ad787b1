"""Results of a censored regression: who was censored, fit statistics, recovered demand."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import statsmodels.base.wrapper as wrap
from scipy import stats
from statsmodels.base.model import GenericLikelihoodModelResults, LikelihoodResultsWrapper
from statsmodels.iolib.summary import Summary


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

    def recovered(self) -> np.ndarray:
        """Return the demand expected of each row given what was observed.

        Exact rows keep their value; a censored row gets E[D | D >= y].
        """
        model, right = self.model, self.model.kinds()["right"]
        eta = model.linear(self.params)
        above = self.family.conditional_mean(model.endog, eta, model._share)
        return np.where(right, above, model.endog)

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
