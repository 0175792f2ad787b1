"""TFT behind the interface of DeepAR: all days ahead at once, exact marginals, no joint paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from civstats.models.base import register
from civstats.models.deepar._neural import NeuralForecaster, with_p90
from civstats.models.deepar._settings import Settings
from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    Forecast,
    alias,
    quantile_column,
    quantiles_of_levels,
)


@register
class TFT(NeuralForecaster):
    """Temporal fusion transformer (Lim et al. 2021) of neuralforecast under a treatment.

    Treatments, history, features and losses are those of :class:`~.DeepAR`. The network gives the
    distributions of all `h` days at once, each by itself: mean, quantiles and marginals are exact,
    and there are no joint paths.

    Parameters
    ----------
    treatment : {"ignore", "mask", "censor"}
    h : int
        Days ahead that it learns; `predict` refuses later ones.
    input_size : int
        Days of history it sees.
    hidden_size, n_layers, dropout
        Of the network; `hidden_size` is a multiple of 4.
    distribution, history, drop_windows, embedding_size, series_id, learning_rate, batch_size, \
max_steps, val_size, val_every, patience, grad_clip, checkpoint, device, num_threads, progress, seed
        As for :class:`~.DeepAR`.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=80)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [0, 2, 1, 3] * 20}))
    >>> model = TFT(h=7, input_size=14, hidden_size=8, max_steps=2, batch_size=8).fit(panel)
    >>> future = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-21", periods=7)})
    >>> model.predict(future, level=[80]).frame.shape
    (7, 7)
    """

    name: ClassVar[str] = "TFT"
    has_paths: ClassVar[bool] = False
    kind: ClassVar[str] = "tft"

    def __init__(
        self,
        *,
        treatment: str = "ignore",
        h: int = 28,
        input_size: int = 56,
        distribution: str = "negbin",
        history: str = "filled",
        drop_windows: bool = False,
        hidden_size: int = 32,
        n_layers: int = 1,
        dropout: float = 0.1,
        embedding_size: int = 4,
        series_id: bool = False,
        learning_rate: float = 2e-3,
        batch_size: int = 128,
        max_steps: int = 1_500,
        val_size: int | None = None,
        val_every: int = 100,
        patience: int = 5,
        grad_clip: float = 1.0,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        num_threads: int = 0,
        progress: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(treatment=treatment)
        settings = Settings(
            treatment, h, input_size, None, (), distribution, history, drop_windows, hidden_size,
            n_layers, dropout, embedding_size, series_id, learning_rate, batch_size, max_steps,
            val_size, val_every, patience, grad_clip, 1, num_threads, seed,
        )  # fmt: skip
        self._set(settings, checkpoint, device, progress)

    @classmethod
    def test_params(cls) -> dict[str, Any]:
        """Return a small network for contract tests."""
        return {
            "h": 14, "input_size": 14, "hidden_size": 4, "batch_size": 24, "max_steps": 80,
            "val_every": 20, "learning_rate": 1e-2, "num_threads": 1,
        }  # fmt: skip

    def _predict(
        self, future: pd.DataFrame, *, level: list[float], n_paths: int, seed: int
    ) -> Forecast:
        ahead, n_days = self._ahead(future, most=self.settings.h)
        ids = pd.Index(future[ID].iloc[::n_days].astype(object))
        arguments = self._marginals(self._data.ids.get_indexer(ids), ahead, n_days)
        mean, family = _mean_and_family(self.settings.distribution, arguments)
        column = alias(self.name, self.treatment)
        frame = pd.DataFrame({ID: future[ID].array, DS: future[DS].array, CUTOFF: self.cutoff_})
        frame[column] = mean
        level = with_p90(level)
        for p in quantiles_of_levels(level):
            frame[quantile_column(column, p)] = np.maximum(family.ppf(p), 0.0)
        marginal = None
        if self.settings.distribution != "student_t":
            size = np.inf if len(arguments) == 1 else 1.0 / arguments[1]
            named = "poisson" if len(arguments) == 1 else "negbin"
            marginal = frame[[ID, DS]].assign(family=named, mean=mean, dispersion=size)
        return Forecast(frame, self.name, self.treatment, tuple(level), None, marginal)

    def _marginals(
        self, series: np.ndarray, ahead: np.ndarray, n_days: int
    ) -> tuple[np.ndarray, ...]:
        """Return the parameters of each row's distribution, float64, shape (n_rows,) each."""
        import torch

        with self._computing(), torch.no_grad():
            # The network takes h days, however few are asked for.
            late = self.settings.h - n_days
            windows = self._windows(np.pad(ahead, ((0, 0), (0, late), (0, 0)), mode="edge"))
            network = self.network_.to(windows.device).eval()
            parts = []
            n = self._data.target.shape[1]
            for first in range(0, len(series), 512):
                part = series[first : first + 512]
                batch, scale = windows.batch(part, np.full(len(part), n))
                found = network.loss.scale_decouple(
                    network.parameters_of(batch, self.settings.h),
                    loc=torch.zeros_like(scale),
                    scale=scale,
                )
                parts.append([x[:, :n_days, 0].double().cpu().numpy().ravel() for x in found])
            self.network_ = network.cpu()
        return tuple(np.concatenate(x) for x in zip(*parts, strict=True))


def _mean_and_family(
    distribution: str, arguments: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, Any]:
    from scipy import stats

    from civstats.models.deepar._losses import mean_cut_at_zero

    if distribution == "student_t":
        df, loc, scale = arguments
        return mean_cut_at_zero(df, loc, scale), stats.t(df, loc, scale)
    if distribution == "poisson":
        return arguments[0], stats.poisson(arguments[0])
    mean, alpha = arguments
    return mean, stats.nbinom(1.0 / alpha, 1.0 / (1.0 + mean * alpha))
