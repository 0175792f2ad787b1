"""The forecaster protocol and the registry that finds every model."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from civstats.schema import (
    DS,
    ID,
    TRUTH,
    CivstatsError,
    Forecast,
    ForecastError,
    PanelError,
    check_future,
    check_level,
    check_treatment,
    known_covariates,
)

Cost = Literal["fast", "slow"]


class Forecaster(ABC):
    """A demand forecaster: ``fit(panel) -> self``, then ``predict(future) -> Forecast``.

    A subclass sets the class attributes and writes ``_fit`` and ``_predict``; the checks that
    keep the contract (treatment honoured or refused, truth never seen, nothing from after the
    cutoff) are here, once.

    Parameters
    ----------
    treatment : {"ignore", "mask", "censor"}
        What to do with a stockout day: take its sales for demand, drop it, or use it as a bound.

    Attributes
    ----------
    name : str
        Stem of the forecast columns.
    treatments : tuple of str
        The treatments the model honours.
    cost : {"fast", "slow"}
        Whether a big study runs it by default.
    can_update : bool
        Whether :meth:`update` is offered.
    own_threads : bool
        Whether the model runs threads or processes of its own, unless told to use one; see
        :attr:`fills_cores`.
    cutoff_ : pandas.Timestamp
        Last day of the panel it was fitted on.
    series_ : pandas.Index
        Series it can forecast.
    covariates_ : tuple of str
        Known covariates and attributes of the panel it was fitted on.
    """

    name: ClassVar[str]
    treatments: ClassVar[tuple[str, ...]] = ("ignore", "mask")
    cost: ClassVar[Cost] = "fast"
    has_paths: ClassVar[bool] = True
    can_update: ClassVar[bool] = False
    own_threads: ClassVar[bool] = False

    cutoff_: pd.Timestamp
    series_: pd.Index
    covariates_: tuple[str, ...] = ()

    @property
    def fills_cores(self) -> bool:
        """Whether it keeps several cores busy by itself; a backtest then runs it alone."""
        given = (getattr(self, "n_jobs", None), getattr(self, "num_threads", None))
        return self.own_threads and 1 not in given

    def __init__(self, *, treatment: str = "ignore") -> None:
        self.treatment = check_treatment(treatment, self.treatments, type(self).__name__)

    @classmethod
    def test_params(cls) -> dict[str, Any]:
        """Return constructor arguments small enough for a contract test in CI."""
        return {}

    def fit(self, panel: pd.DataFrame) -> Forecaster:
        """Fit on a validated panel that ends at the cutoff.

        Parameters
        ----------
        panel : pandas.DataFrame
            As returned by :func:`civstats.schema.validate_panel`. Left unchanged. The truth of a
            simulation (``demand``, ``demand_mean``) is removed before any model sees it.

        Returns
        -------
        Forecaster
            Itself, fitted.
        """
        seen = self._admit(panel)
        self.covariates_ = tuple(known_covariates(seen.columns))
        self._fit(seen)
        return self

    def update(self, panel: pd.DataFrame) -> Forecaster:
        """Take a history that ends later, with the parameters of :meth:`fit` frozen.

        Parameters
        ----------
        panel : pandas.DataFrame
            As for :meth:`fit`; the whole history, not only what is new.

        Returns
        -------
        Forecaster
            Itself, forecasting from the panel's last day on.

        Raises
        ------
        CivstatsError
            If the model offers no update.
        ForecastError
            If it was never fitted.
        PanelError
            If the panel lacks a covariate or an attribute that the fit had.
        """
        if not self.can_update:
            raise CivstatsError(
                f"{self.name} offers no update with its parameters frozen; call fit(panel)"
            )
        if not hasattr(self, "cutoff_"):
            raise ForecastError(f"{self.name} is not fitted: call fit(panel) first")
        lacking = [c for c in self.covariates_ if c not in panel.columns]
        if lacking:
            raise PanelError(
                f"the panel lacks {', '.join(lacking)}, which {self.name} was fitted with: add what "
                "is missing, or fit again without it"
            )
        self._update(self._admit(panel))
        return self

    def _admit(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Check a panel, note its cutoff and series, and return it without the truth."""
        if not isinstance(panel[ID].dtype, pd.CategoricalDtype):
            raise PanelError(f"{ID} is not a category: pass the panel through validate_panel first")
        code = panel[ID].cat.codes.to_numpy()
        days = panel[DS].to_numpy()
        later = code[1:] > code[:-1]
        if not (later | ((code[1:] == code[:-1]) & (days[1:] > days[:-1]))).all():
            raise PanelError(
                f"rows are not sorted by {ID} and {DS}: pass the panel through validate_panel first"
            )
        seen = panel.drop(columns=[c for c in TRUTH if c in panel.columns])
        self.cutoff_ = pd.Timestamp(seen[DS].max())
        self.series_ = pd.Index(seen[ID].cat.remove_unused_categories().cat.categories)
        return seen

    def predict(
        self,
        future: pd.DataFrame,
        *,
        level: Sequence[float] = (80, 95),
        n_paths: int = 500,
        seed: int = 0,
    ) -> Forecast:
        """Forecast demand for the rows of `future`.

        Parameters
        ----------
        future : pandas.DataFrame
            ``unique_id, ds`` and the known covariates of the days after the cutoff, the same
            days for every series.
        level : sequence of float
            Levels of the central intervals, percent.
        n_paths : int
            Number of joint sample paths; 0 leaves them out.
        seed : int
            Same seed, same paths.

        Returns
        -------
        Forecast
            Units of demand per day.

        Raises
        ------
        ForecastError
            Not fitted; `future` carries outcomes, days not after the cutoff, or unknown series;
            `n_paths` or `seed` is no whole number from 0 on.
        """
        if not hasattr(self, "cutoff_"):
            raise ForecastError(f"{self.name} is not fitted: call fit(panel) first")
        check_future(future)
        levels = check_level(level)
        for word, value in (("n_paths", n_paths), ("seed", seed)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise ForecastError(f"{word} must be a whole number from 0 on, but got {value!r}")
        early = future[DS] <= self.cutoff_
        if early.any():
            raise ForecastError(
                f"future has {int(early.sum())} row(s) on or before the cutoff "
                f"{self.cutoff_.date()}; forecasts are for later days"
            )
        unknown = pd.Index(future[ID].unique()).difference(self.series_)
        if len(unknown):
            raise ForecastError(
                f"future asks for {len(unknown)} series without history at the cutoff, first "
                f"{unknown[0]}; drop them or fit on a panel that holds them"
            )
        frame = future.copy(deep=False)
        # One category order everywhere, whatever the caller's was: it decides the order of rows.
        frame[ID] = pd.Categorical(frame[ID], categories=self.series_)
        frame = frame.sort_values([ID, DS], ignore_index=True)
        days = frame[DS].nunique()
        if len(frame) != days * frame[ID].nunique():
            raise ForecastError(
                f"future must hold the same days for every series: {len(frame)} row(s) for "
                f"{frame[ID].nunique()} series x {days} days"
            )
        return self._predict(frame, level=levels, n_paths=int(n_paths), seed=int(seed))

    @abstractmethod
    def _fit(self, panel: pd.DataFrame) -> None:
        """Fit on a panel without truth columns."""

    def _update(self, panel: pd.DataFrame) -> None:
        """Replace the history, parameters frozen; for models with ``can_update``."""
        raise NotImplementedError

    @abstractmethod
    def _predict(
        self, future: pd.DataFrame, *, level: list[float], n_paths: int, seed: int
    ) -> Forecast:
        """Forecast a checked `future`, sorted by series and time, rectangular."""


_REGISTRY: dict[str, type[Forecaster]] = {}


def register(cls: type[Forecaster]) -> type[Forecaster]:
    """Class decorator that enters a forecaster in the registry under its ``name``."""
    if _REGISTRY.get(cls.name, cls).__qualname__ != cls.__qualname__:
        raise CivstatsError(f"two models are named {cls.name!r}")
    _REGISTRY[cls.name] = cls
    return cls


def registry(cost: Cost | None = None) -> dict[str, type[Forecaster]]:
    """Return the registered forecasters by name, importing every module of ``civstats.models``.

    Parameters
    ----------
    cost : {"fast", "slow"}, optional
        Keep only those of this cost.
    """
    package = importlib.import_module("civstats.models")
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"civstats.models.{module.name}")
    return {k: v for k, v in sorted(_REGISTRY.items()) if cost in (None, v.cost)}


def make_forecaster(name: str, **params: Any) -> Forecaster:
    """Build a registered forecaster.

    Raises
    ------
    CivstatsError
        If no model has that name.
    """
    known = registry()
    if name not in known:
        raise CivstatsError(f"unknown model {name!r}; the registry holds {', '.join(known)}")
    build: Callable[..., Forecaster] = known[name]
    return build(**params)
