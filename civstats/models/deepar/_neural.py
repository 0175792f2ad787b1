"""What DeepAR and TFT share: a panel in, a trained network, histories that move on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from civstats.models._boosting_checks import check_censorable
from civstats.models.base import Forecaster
from civstats.models.deepar._known import KnownCoding
from civstats.models.deepar._series import SeriesData, covariates_of, fed_history, series_data
from civstats.models.deepar._settings import Settings
from civstats.schema import (
    DS,
    ID,
    TREATMENTS,
    CivstatsError,
    ForecastError,
    PanelError,
    Y,
    stockout_days,
    treated_sales,
)

if TYPE_CHECKING:
    from civstats.demand_filter import DemandFilter
    from civstats.models.deepar._windows import Windows


_DAY = np.timedelta64(1, "D")


class NeuralForecaster(Forecaster):
    """A network of neuralforecast's, trained and fed under a treatment; see its subclasses."""

    treatments: ClassVar[tuple[str, ...]] = TREATMENTS
    cost: ClassVar[Any] = "slow"
    can_update: ClassVar[bool] = True
    own_threads: ClassVar[bool] = True
    kind: ClassVar[str]

    network_: Any
    losses_: pd.DataFrame
    _filter: DemandFilter | None

    def _set(
        self, settings: Settings, checkpoint: str | Path | None, device: str | None, progress: bool
    ) -> None:
        self.settings = settings
        self.checkpoint, self.device, self.progress = checkpoint, device, progress

    @property
    def num_threads(self) -> int:
        """Return the threads it may use; 0 is one per processor."""
        return self.settings.num_threads

    @property
    def _recurrent(self) -> bool:
        return self.kind == "deepar"

    def _fit(self, panel: pd.DataFrame) -> None:
        _need_torch(self.name)
        from civstats.models.deepar import _networks, _run, _training

        s = self.settings
        _check_counts(panel, self.name, s)
        if s.treatment == "censor":
            check_censorable(panel, self.name)
        if not np.isfinite(treated_sales(panel, s.treatment)[0]).any():
            raise ForecastError(
                f"{self.name}: every day is a stockout day, which leaves nothing to learn demand "
                f"from under treatment {s.treatment!r}; check the flags, or give a history with "
                "days in stock"
            )
        self._filter = None
        self._coding = KnownCoding.learn(covariates_of(panel), series_id=s.series_id)
        self._lay_out(panel)
        with self._computing():
            windows = self._windows()
            val_size = s.h if s.val_size is None else s.val_size
            cut = _training.training_cut(
                windows, val_size, drop_windows=s.drop_windows, name=self.name
            )
            network = _networks.build(self.kind, self._shape(windows), s.seed)
            schedule = _run.Schedule(
                s.max_steps, s.batch_size, s.learning_rate, self._h_train, s.val_every,
                s.patience, s.grad_clip, s.seed,
            )  # fmt: skip
            file = None
            if self.checkpoint is not None:
                file = _run.checkpoint_file(
                    self.checkpoint, self.kind, asdict(s), self._data.digest()
                )
            log = _training.train(
                network, windows, cut, schedule, checkpoint=file, progress=self.progress
            )
        self.network_ = network.cpu()
        self.losses_ = pd.DataFrame(log, columns=["step", "training", "validation"])

    def _update(self, panel: pd.DataFrame) -> None:
        self._lay_out(panel)

    def _lay_out(self, panel: pd.DataFrame) -> None:
        """Keep what training and forecasts need of a panel, stockout days as the treatment says."""
        s = self.settings
        if s.history == "raw":
            demand = panel[Y].to_numpy(dtype=np.float32)
        else:
            demand, self._filter = fed_history(
                panel, s.treatment, self._filter, s.num_threads or None
            )
        self._history = covariates_of(panel)
        self._data: SeriesData = series_data(
            panel, s.treatment, demand, self._coding, raw=s.history == "raw"
        )

    @property
    def _h_train(self) -> int:
        s = self.settings
        if not self._recurrent:
            return s.h
        return min(2 * s.h, s.input_size + s.h - 1) if s.h_train is None else s.h_train

    @contextmanager
    def _computing(self) -> Iterator[None]:
        from civstats.models.deepar import _networks

        with _networks.threads(self.settings.num_threads):
            yield

    def _windows(self, ahead: np.ndarray | None = None) -> Windows:
        from civstats.models.deepar import _networks
        from civstats.models.deepar._windows import Windows

        return Windows(
            self._data,
            input_size=self.settings.input_size,
            h=self.settings.h,
            lags=self.settings.lags,
            recurrent=self._recurrent,
            device=_networks.choose_device(self.device),
            ahead=ahead,
        )

    def _shape(self, windows: Windows) -> Any:
        from civstats.models.deepar._networks import Shape

        s, coding = self.settings, self._coding
        labels = coding.categories | coding.static
        taken = sorted({"log_scale", *windows.past_names} & {*coding.names, *coding.static})
        if taken:
            raise PanelError(
                f"{self.name} has inputs of its own named {', '.join(taken)}: rename the panel's "
                f"column{'s' if len(taken) > 1 else ''}"
            )
        return Shape(
            h=s.h,
            input_size=s.input_size,
            past=windows.past_names,
            known=coding.names,
            static=["log_scale", *coding.static],
            cardinalities={c: len(v) for c, v in labels.items()},
            hidden_size=s.hidden_size,
            n_layers=s.n_layers,
            embedding_size=s.embedding_size,
            dropout=s.dropout,
            distribution=s.distribution,
        )

    def _ahead(self, future: pd.DataFrame, *, most: int | None) -> tuple[np.ndarray, int]:
        """Return the features of days ahead, (n_series, n_days, n_features), and their number.

        Series that `future` does not hold have zeros.
        """
        dates = pd.DatetimeIndex(np.sort(future[DS].unique()))
        gaps = np.diff(self._data.dates) if len(self._data.dates) > 1 else np.array([_DAY])
        # Months and quarters differ in length: their mean counts them right, the least does not.
        step = pd.Timedelta(gaps.min() if gaps.min() < 28 * _DAY else gaps.mean())
        position = np.rint((dates - self.cutoff_) / step).astype(int)
        if (position != np.arange(1, len(dates) + 1)).any():
            raise ForecastError(
                f"{self.name} goes on day by day: future must hold every day after the cutoff "
                f"{self.cutoff_.date()} up to its last, but its {len(dates)} day(s) begin on "
                f"{dates[0].date()} and end on {dates[-1].date()}"
            )
        if most is not None and len(dates) > most:
            raise ForecastError(
                f"{self.name} has learnt {most} period(s) ahead, but future reaches {len(dates)}; "
                f"fit it with h={len(dates)}"
            )
        rows = self._coding.of(self._history, future)
        ids = pd.Index(future[ID].iloc[:: len(dates)].astype(object))
        out = np.zeros((len(self._data.ids), len(dates), rows.shape[1]), dtype=np.float32)
        out[self._data.ids.get_indexer(ids)] = rows.reshape(len(ids), len(dates), -1)
        return out, len(dates)

    @classmethod
    def arguments_of(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments among settings."""
        names = inspect.signature(cls).parameters
        return {k: v for k, v in settings.items() if k in names}

    def save(self, folder: str | Path) -> None:
        """Write the network and what its forecasts need, without pickle.

        Of past sales that is the last `input_size` days and lags, as the network reads them.

        Parameters
        ----------
        folder : str or pathlib.Path
            Made if missing. Files appear whole or not at all.
        """
        from civstats.models.deepar import _store

        _store.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None) -> NeuralForecaster:
        """Read what :meth:`save` wrote; it forecasts, and takes updates, without the training panel.

        Raises
        ------
        DataError
            If the folder holds no such model, or another kind or format.
        """
        _need_torch(cls.name)
        from civstats.models.deepar import _store

        return _store.load(cls, Path(folder), device)


def with_p90(level: list[float]) -> list[float]:
    """Return levels with 80 among them: p50 and p90 are always among the outputs."""
    return sorted({*level, 80.0})


def _need_torch(name: str) -> None:
    """Say how to get what is missing before an import says that it is."""
    missing = [m for m in ("torch", "neuralforecast") if find_spec(m) is None]
    if missing:
        raise CivstatsError(
            f"{name} needs {' and '.join(missing)}: install the extra with pip install "
            "'civstats[deep]'"
        )


def _check_counts(panel: pd.DataFrame, name: str, s: Settings) -> None:
    filtered = s.treatment != "ignore" and s.history == "filled" and stockout_days(panel).any()
    if s.distribution == "student_t" and not filtered:
        return
    y = panel[Y].to_numpy()
    odd = int((y != np.rint(y)).sum())
    if odd:
        why = "a distribution of counts"
        if s.distribution == "student_t":
            why = "stockout days filled in, by a filter of counts,"
        raise PanelError(
            f"{name} with {why} needs whole units: {odd} row(s) with fractional sales; rescale {Y} to "
            "units (packs, hundreds of grams), or use distribution='student_t' under treatment "
            "'ignore'"
        )
