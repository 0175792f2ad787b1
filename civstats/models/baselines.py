"""Quick per-series baselines from statsforecast, for seasonal and for intermittent demand."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from civstats.models._local import LocalForecaster
from civstats.models.base import Cost, register
from civstats.schema import CivstatsError, check_h, check_share


@register
class SeasonalNaive(LocalForecaster):
    """Repeat the last season; a history shorter than a season falls to its mean.

    Source: Hyndman and Athanasopoulos (2021), Forecasting: Principles and Practice, 5.2.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=28)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [0, 1, 2, 3] * 7}))
    >>> future = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-29", periods=3)})
    >>> SeasonalNaive(season_length=4).fit(panel).predict(future).frame["SeasonalNaive_ignore"]
    0    0.0
    1    1.0
    2    2.0
    Name: SeasonalNaive_ignore, dtype: float64
    """

    name = "SeasonalNaive"
    can_update = True
    min_seasons = 1

    def _model(self) -> Any:
        from statsforecast.models import SeasonalNaive as Model

        return Model(season_length=self.season_length)


@register
class SeasonalWindowAverage(LocalForecaster):
    """Mean of the last seasons' values of the same day of the season.

    A younger series averages as many whole seasons as it has.

    Parameters
    ----------
    treatment, season_length, freq, n_origins
        As for :class:`SeasonalNaive`.
    window : int
        Seasons averaged.
    """

    name = "SeasonalWindowAverage"
    can_update = True
    min_seasons = 1

    def __init__(self, *, window: int = 8, **common: Any) -> None:
        super().__init__(**common)
        self.window = check_h(window)

    def _model(self, seasons: int | None = None) -> Any:
        from statsforecast.models import SeasonalWindowAverage as Model

        return Model(season_length=self.season_length, window_size=seasons or self.window)

    def _forecasts(self, y: np.ndarray, ends: list[int], reach: int) -> list[np.ndarray]:
        seasons = [min(self.window, end // self.season_length) for end in ends]
        models = {k: self._model(k) for k in set(seasons)}
        return [
            models[k].forecast(y=y[:end], h=reach)["mean"]
            for k, end in zip(seasons, ends, strict=True)
        ]


@register
class CrostonSBA(LocalForecaster):
    """Croston's method with the correction for its bias: sizes and gaps of sales smoothed apart.

    Source: Croston (1972), Operational Research Quarterly 23; Syntetos and Boylan (2005),
    International Journal of Forecasting 21.
    """

    name = "CrostonSBA"
    can_update = True

    def _model(self) -> Any:
        from statsforecast.models import CrostonSBA as Model

        return Model()


@register
class IMAPA(LocalForecaster):
    """Mean of smoothed forecasts at several temporal aggregations, for intermittent demand.

    Source: Petropoulos and Kourentzes (2015), Journal of the Operational Research Society 66.
    """

    name = "IMAPA"

    def _model(self) -> Any:
        from statsforecast.models import IMAPA as Model

        return Model()


@register
class TSB(LocalForecaster):
    """Smooth the probability of a sale and its size; forecasts fade when sales stop.

    Source: Teunter, Syntetos and Babai (2011), European Journal of Operational Research 214.

    Parameters
    ----------
    treatment, season_length, freq, n_origins
        As for :class:`SeasonalNaive`.
    alpha_size, alpha_probability : float
        Weights of the newest sale's size and of the newest day.
    """

    name = "TSB"
    can_update = True

    def __init__(
        self, *, alpha_size: float = 0.1, alpha_probability: float = 0.05, **common: Any
    ) -> None:
        super().__init__(**common)
        self.alpha_size = check_share("alpha_size", alpha_size)
        self.alpha_probability = check_share("alpha_probability", alpha_probability)

    def _model(self) -> Any:
        from statsforecast.models import TSB as Model

        return Model(alpha_d=self.alpha_size, alpha_p=self.alpha_probability)


class _Frozen(LocalForecaster):
    """Models whose parameters are estimated once, on the last two years of a history in days.

    At a past origin they keep those parameters, and the states they had on that day.
    """

    min_seasons = 3
    max_seasons = 104

    def _forecasts(self, y: np.ndarray, ends: list[int], reach: int) -> list[np.ndarray]:
        fitted = self._model().fit(self._recent(y))
        past = [fitted.forward(y=self._recent(y[:end]), h=reach)["mean"] for end in ends[1:]]
        return [fitted.predict(h=reach)["mean"], *past]


@register
class CES(_Frozen):
    """Complex exponential smoothing.

    Source: Svetunkov, Kourentzes and Ord (2022), Naval Research Logistics 69.

    Parameters
    ----------
    treatment, season_length, freq, n_origins
        As for :class:`SeasonalNaive`.
    form : {"P", "S", "N", "Z"}
        Partial, simple or no seasonality, or the choice of them by AICc. Partial, the default,
        takes a third of the time of the choice.
    """

    name = "CES"

    def __init__(self, *, form: str = "P", **common: Any) -> None:
        super().__init__(**common)
        if form not in ("P", "S", "N", "Z"):
            raise CivstatsError(f"form must be one of P, S, N, Z, but got {form!r}")
        self.form = form

    def _model(self) -> Any:
        from statsforecast.models import AutoCES as Model

        return Model(season_length=self.season_length, model=self.form)


@register
class AutoETS(_Frozen):
    """Exponential smoothing, its form chosen by AICc.

    Source: Hyndman, Koehler, Snyder and Grose (2002), International Journal of Forecasting 18.
    """

    name = "AutoETS"
    cost: ClassVar[Cost] = "slow"

    def _model(self) -> Any:
        from statsforecast.models import AutoETS as Model

        return Model(season_length=self.season_length)
