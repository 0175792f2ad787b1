"""DeepAR under stockouts: a recurrent network that learns demand, with joint ancestral paths."""

from __future__ import annotations

from collections.abc import Sequence
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
class DeepAR(NeuralForecaster):
    """Autoregressive recurrent network (Salinas et al. 2020) of neuralforecast under a treatment.

    One LSTM serves all series. Each step reads yesterday's demand and lags of it, relative to the
    series' recent in-stock mean, whether yesterday was filled in, the day's known features and the
    series' attributes, and gives the distribution of the day. The mean is an exponential, so that
    effects multiply, and known features also act on it directly, with coefficients that depend on
    the attributes (the wide part of Cheng et al. 2016).

    - ``ignore`` takes sales for demand, in the loss and in what the network is fed.
    - ``mask``: a stockout day (out for a part of it, too) enters no loss and no scale; where the
      network is fed that day, it reads what the demand filter, under the same treatment and up to
      that day only, expects, and a flag that says so.
    - ``censor``: a day whose shelf ended empty enters the loss as P(demand >= sales); a day in
      stock for a share s of its hours as sales of a mean s times the day's; a day out from the
      first hour not at all. The network is fed the filter's expectation given the day's sales.

    Forecasts are joint paths, drawn day by day, each fed what was drawn the day before; mean and
    quantiles are those of the paths.

    Parameters
    ----------
    treatment : {"ignore", "mask", "censor"}
    h : int
        Days ahead in training and validation. `predict` goes as far as it is asked.
    input_size : int
        Days of history the network reads before it forecasts, and days of the scale's mean.
        Series may be shorter.
    h_train : int, optional
        Last days of each window that the loss covers, from 1 to ``input_size + h - 1``; twice `h`
        by default. More of them use a pass better, but the scale of a window has seen the days
        before its origin.
    lags : sequence of int
        Days back that a step reads besides yesterday.
    distribution : {"negbin", "poisson", "student_t"}
        Of a day. ``student_t`` is for sales that are no counts: not under ``censor``, draws cut at
        0.
    history : {"filled", "raw"}
        ``raw`` feeds sales as they are on stockout days, without a flag: a loss mask alone, as
        with neuralforecast's ``available_mask``. For studies; the promise of ``mask`` is off.
    drop_windows : bool
        Train on windows without a stockout day only, the simple workaround.
    hidden_size, n_layers : int
        Of the LSTM.
    dropout : float
        Between its layers.
    embedding_size : int
        Numbers per category.
    series_id : bool
        Whether the series itself is a category.
    learning_rate : float
        After a warm-up; it falls along a cosine to `max_steps`.
    batch_size : int
        Windows per step.
    max_steps : int
        Most steps.
    val_size : int, optional
        Last days that are not trained on but decide when to stop: `h` by default, 0 for none. A
        panel too short for it is trained on whole.
    val_every, patience : int
        Steps between validations, and validations without progress before training stops. The
        best weights are kept.
    grad_clip : float
        Largest norm of a gradient.
    trajectories : int
        Paths behind mean and quantiles, whatever number of paths is asked for.
    checkpoint : str or pathlib.Path, optional
        Folder for the state of training, written at each validation: training killed at any moment
        goes on from there, to the same weights. Other data or settings have files of their own.
    device : str, optional
        torch's name of it; the GPU where there is one, otherwise the CPU.
    num_threads : int
        Of torch; 0 leaves them as they are. The last bits may depend on it.
    progress : bool
        Show a bar while training.
    seed : int
        Of the weights, the windows drawn and the dropout. Global generators stay untouched.

    Attributes
    ----------
    network_ : DeepARNetwork
        neuralforecast's network, on the CPU.
    losses_ : pandas.DataFrame
        ``step, training, validation``: mean losses per day.

    Raises
    ------
    CivstatsError
        For arguments that are unknown or do not go together.
    PanelError
        From `fit`, for fractional sales under a distribution of counts.
    ForecastError
        From `fit`, if no window is left to learn from.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=80)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [0, 2, 1, 3] * 20}))
    >>> model = DeepAR(h=7, input_size=14, hidden_size=4, max_steps=2, batch_size=8).fit(panel)
    >>> future = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-03-21", periods=7)})
    >>> model.predict(future, level=[80], n_paths=20).paths.sizes["sample"]
    20
    """

    name: ClassVar[str] = "DeepAR"
    kind: ClassVar[str] = "deepar"

    def __init__(
        self,
        *,
        treatment: str = "ignore",
        h: int = 28,
        input_size: int = 56,
        h_train: int | None = None,
        lags: Sequence[int] = (7, 14, 28),
        distribution: str = "negbin",
        history: str = "filled",
        drop_windows: bool = False,
        hidden_size: int = 40,
        n_layers: int = 2,
        dropout: float = 0.1,
        embedding_size: int = 4,
        series_id: bool = False,
        learning_rate: float = 1e-2,
        batch_size: int = 256,
        max_steps: int = 1_200,
        val_size: int | None = None,
        val_every: int = 100,
        patience: int = 5,
        grad_clip: float = 1.0,
        trajectories: int = 500,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        num_threads: int = 0,
        progress: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(treatment=treatment)
        settings = Settings(
            treatment, h, input_size, h_train, tuple(lags), distribution, history, drop_windows,
            hidden_size, n_layers, dropout, embedding_size, series_id, learning_rate, batch_size,
            max_steps, val_size, val_every, patience, grad_clip, trajectories, num_threads, seed,
        )  # fmt: skip
        self._set(settings, checkpoint, device, progress)

    @classmethod
    def test_params(cls) -> dict[str, Any]:
        """Return a small network for contract tests."""
        return {
            "h": 14, "input_size": 14, "lags": (7,), "hidden_size": 8, "n_layers": 1,
            "batch_size": 32, "max_steps": 120, "val_every": 40, "learning_rate": 1e-2,
            "trajectories": 400, "num_threads": 1,
        }  # fmt: skip

    def _predict(
        self, future: pd.DataFrame, *, level: list[float], n_paths: int, seed: int
    ) -> Forecast:
        from civstats.models.deepar._sampling import sample_paths

        ahead, n_days = self._ahead(future, most=None)
        ids = pd.Index(future[ID].iloc[::n_days].astype(object))
        n_used = self.settings.trajectories
        with self._computing():
            windows = self._windows(ahead)
            network = self.network_.to(windows.device)
            drawn = sample_paths(
                network,
                windows,
                self._data.ids.get_indexer(ids),
                n_days,
                max(n_used, n_paths),
                seed,
                n_mean=n_used,
            )
            self.network_ = network.cpu()
        column = alias(self.name, self.treatment)
        frame = pd.DataFrame({ID: future[ID].array, DS: future[DS].array, CUTOFF: self.cutoff_})
        frame[column] = drawn.mean.ravel()
        level = with_p90(level)
        probabilities = quantiles_of_levels(level)
        found = _quantiles(drawn.paths[:, :n_used], probabilities)
        for p, values in zip(probabilities, found, strict=True):
            frame[quantile_column(column, p)] = values.ravel()
        paths = None
        if n_paths:
            import xarray as xr

            paths = xr.DataArray(
                drawn.paths[:, :n_paths],
                dims=(ID, "sample", DS),
                coords={
                    ID: ids.to_numpy(),
                    "sample": np.arange(n_paths),
                    DS: future[DS].iloc[:n_days].to_numpy(),
                },
            )
        return Forecast(frame, self.name, self.treatment, tuple(level), paths, None)


def _quantiles(paths: np.ndarray, probabilities: list[float]) -> np.ndarray:
    """Return quantiles over samples, shape (n_probabilities, n_series, n_days): values drawn."""
    ordered = np.sort(paths, axis=1)
    n = paths.shape[1]
    at = [min(max(int(np.ceil(p * n - 1e-9)) - 1, 0), n - 1) for p in probabilities]
    return np.stack([ordered[:, k] for k in at])
