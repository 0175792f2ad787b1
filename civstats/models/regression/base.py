"""What all censored regressions share: reading the data, formulas, the search."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from civstats.models.regression.checks import check_complete, check_shapes
from civstats.models.regression.existence import check_maximum
from civstats.models.regression.formulas import (
    as_frame,
    is_formula_error,
    missing_in,
    refuse_formula,
    refuse_numbers_as_text,
    take_subset,
)
from civstats.models.regression.groups import cluster_groups
from civstats.models.regression.likelihood import CensoredLikelihood
from civstats.models.regression.newton import maximise
from civstats.models.regression.results import CensoredResults, CensoredResultsWrapper
from civstats.models.regression.rows import (
    Rows,
    as_flags,
    as_numbers,
    column,
    numeric_data,
    some,
)
from civstats.schema import CivstatsError

# What statsmodels' formula route hands to a model beside its own arguments.
FORMULA_ARGUMENTS = ("missing_idx", "formula", "model_spec", "hasconst")


class CensoredModel(CensoredLikelihood):
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
        For flags that are not True or False, data outside the family's support, arrays of
        different lengths, missing or infinite values, no complete row, or unknown arguments.
    """

    results_class = CensoredResults
    # Arrays in which a missing entry makes a row unusable.
    row_arrays: tuple[str, ...] = ("censored", "exposure", "offset")
    # Arrays in which it says that there is no bound, and the mark that says so instead:
    # statsmodels would drop the row.
    bound_arrays: ClassVar[dict[str, float]] = {}

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
        rows = arrays.pop("_rows", None)
        known = {"censored": censored, "exposure": exposure, "offset": offset, **arrays}
        strange = sorted(set(known) - {*self.row_arrays, *self.bound_arrays, *FORMULA_ARGUMENTS})
        if strange:
            raise CivstatsError(
                f"{type(self).__name__} takes no argument {some(strange)}; it takes "
                f"{some([*self.row_arrays, *self.bound_arrays])} and missing"
            )
        if missing not in ("none", "drop", "raise"):
            raise CivstatsError(f"missing must be none, drop or raise, but got {missing!r}")
        if exog is None:
            raise CivstatsError("exog is missing: pass at least a column of ones")
        endog, exog = numeric_data(endog, "endog"), numeric_data(exog, "exog")
        rows = Rows.of(endog, exog) if rows is None else rows
        given = {n: self._read(n, known.pop(n, None), rows) for n in self.row_arrays}
        given |= {n: self._read(n, known.pop(n, None), rows) for n in self.bound_arrays}
        dropped = known.get("missing_idx")
        check_shapes(endog, exog, rows.positions.size, given)
        check_complete(endog, exog, given, rows, dropped, missing)
        super().__init__(endog, exog, missing=missing, extra_params_names=None, **given, **known)
        # The data keep the formula's design and restore it on loading a copy; this one cannot be.
        self.__dict__.pop("model_spec", None)
        gone = list(getattr(self.data, "missing_row_idx", []))
        self._rows = Rows(rows.total, rows.index, np.delete(rows.positions, gone))
        self.censored = as_flags(self.censored, self._rows, "censored")
        self.df_model = float(self.exog.shape[1] - self.k_constant)
        self.df_resid = float(self.exog.shape[0] - self.exog.shape[1])
        self.k_extra = 0
        if self.extra_names:
            self._set_extra_params_names(list(self.extra_names))
        self.nparams = self.exog.shape[1] + len(self.extra_names)
        self._refuse("exposure", self._share < 0, "must be >= 0, but {} are negative")
        self._check_data()

    def _read(self, name: str, values: Any, rows: Rows) -> Any:
        """Return an argument as numbers, one per row, or a scalar as it is."""
        if values is None:
            return None
        if isinstance(values, pd.Series):
            values = rows.match(values, name)
        values = as_numbers(values, name)
        if name in self.bound_arrays:
            values = np.asarray(values, dtype=float)
            if values.ndim == 0 and np.isnan(values):
                raise CivstatsError(f"{name} is nan: leave it out where there is no limit")
            values = np.where(np.isnan(values), self.bound_arrays[name], values)
        return values if values.ndim else values.item()

    def _refuse(self, name: str, bad: np.ndarray, what: str) -> None:
        """Raise if any row is bad, saying how many and where the caller finds the first."""
        bad = np.broadcast_to(bad, self._rows.positions.shape)
        if bad.any():
            raise CivstatsError(f"{name} {what.format(self._rows.say(bad))}")

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
            Of the model. ``censored``, ``exposure``, ``offset`` (and ``left_censored``, ``upper``,
            ``left``, ``right`` of the continuous models) name a column of `data` or are arrays
            with one entry per row of `data` or of its subset; a Series is matched by index. Rows
            with a missing value in the formula or in one of these are dropped together with
            their flags (``missing="raise"`` refuses them).

        Returns
        -------
        CensoredModel

        Raises
        ------
        CivstatsError
            If a named column does not exist, the formula cannot be read on these data, or no
            complete row is left.
        """
        framed, rows = take_subset(as_frame(data), subset)
        if not len(framed):
            raise CivstatsError("data hold no row: nothing to fit, check the filter or the subset")
        rows.missing = missing_in(formula, framed)
        for name in (*cls.row_arrays, *cls.bound_arrays):
            if kwargs.get(name) is not None:
                kwargs[name] = column(kwargs[name], name, framed, rows)
        # statsmodels counts the frames between the formula and its caller: this is one more.
        depth = kwargs.pop("eval_env", 1)
        kwargs["eval_env"] = depth if depth == -1 or not isinstance(depth, int) else depth + 1
        if kwargs.get("missing", "drop") not in ("none", "drop", "raise"):
            raise CivstatsError(
                f"missing must be none, drop or raise, but got {kwargs['missing']!r}"
            )
        try:
            model = super().from_formula(
                formula, framed, None, drop_cols, *args, _rows=rows, **kwargs
            )
        except CivstatsError:
            raise
        except Exception as error:
            if is_formula_error(error) or "endog has evaluated" in str(error):
                raise refuse_formula(error, formula, framed, rows) from error
            raise
        refuse_numbers_as_text(getattr(model.data, "model_spec", None), model.endog.size)
        return model

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
            ``cov_kwds``; the ``groups`` of a clustered covariance name a column of the
            formula's data, or are a Series (matched by index) or an array with one entry per
            row given, per row of the subset, or per row in the model.

        Returns
        -------
        CensoredResults
            With pandas labels where the data had them.

        Raises
        ------
        CivstatsError
            For collinear regressors, all rows censored on one side, coefficients of which no
            row says anything, a normal model without residual, or groups that fit no rows.

        Warns
        -----
        statsmodels.tools.sm_exceptions.ConvergenceWarning
            If some coefficients have no finite maximum, as when every row of a group is
            censored, or if none was found.
        """
        groups = (kwargs.get("cov_kwds") or {}).get("groups")
        if groups is not None:
            framed = self.kept_rows
            frame = None if framed is None else self.data.frame
            codes = cluster_groups(groups, self._rows, frame, framed)
            kwargs["cov_kwds"] = {**kwargs["cov_kwds"], "groups": codes}
        elif str(kwargs.get("cov_type")).lower() == "cluster":
            raise CivstatsError("cov_type='cluster' needs cov_kwds={'groups': ...}")
        check_maximum(self, kwargs.get("warn_convergence", True))
        start = np.asarray(self.start_params if start_params is None else start_params, float)
        given = start_params is not None
        if given and (start.shape != (self.nparams,) or not np.isfinite(self.loglike(start))):
            raise CivstatsError(
                f"start_params must be {self.nparams} numbers with a finite likelihood, for "
                f"{some(self.exog_names)}, but has shape {start.shape}"
            )
        try:
            if method == "newton":
                start = maximise(self.loglike, self.score, self.hessian, start, maxiter)
            fitted = super().fit(
                start, method, maxiter, full_output, disp, callback, retall, **kwargs
            )
        except np.linalg.LinAlgError as error:
            raise CivstatsError(
                f"the hessian is singular after the search ({error}), over {self.endog.size} rows: "
                "some parameter is not identified; simplify the model or rescale its columns"
            ) from error
        return CensoredResultsWrapper(fitted)

    @property
    def kept_rows(self) -> np.ndarray | None:
        """Return which rows of the formula's data the model uses; None without a formula."""
        frame = getattr(self.data, "frame", None)
        if frame is None:
            return None
        kept = np.ones(len(frame), dtype=bool)
        kept[list(getattr(self.data, "missing_row_idx", []))] = False
        return kept
