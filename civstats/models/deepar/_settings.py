"""Arguments of the networks, checked once; what does not go together is refused by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from civstats.schema import CivstatsError, check_h

HISTORIES = ("filled", "raw")
DISTRIBUTIONS = ("negbin", "poisson", "student_t")


_WHOLE = {
    "input_size": 1, "hidden_size": 1, "n_layers": 1, "embedding_size": 1, "batch_size": 1,
    "max_steps": 1, "val_every": 1, "patience": 1, "trajectories": 1, "num_threads": 0, "seed": 0,
}  # fmt: skip
_LARGEST = 2**32 - 1


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise CivstatsError(f"{name} must be a whole number, but got {value!r}")
    if value < least:
        raise CivstatsError(f"{name} must be {least} or more, but got {value!r}")
    if value > _LARGEST:
        raise CivstatsError(f"{name} must be at most 2^32 - 1, but got {value!r}")
    return int(value)


@dataclass(frozen=True)
class Settings:
    """Arguments of :class:`~.forecaster.DeepAR` and :class:`~.forecaster.TFT`, as given there."""

    treatment: str
    h: int
    input_size: int
    h_train: int | None
    lags: tuple[int, ...]
    distribution: str
    history: str
    drop_windows: bool
    hidden_size: int
    n_layers: int
    dropout: float
    embedding_size: int
    series_id: bool
    learning_rate: float
    batch_size: int
    max_steps: int
    val_size: int | None
    val_every: int
    patience: int
    grad_clip: float
    trajectories: int
    num_threads: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in _WHOLE.items():
            object.__setattr__(self, name, _whole(name, getattr(self, name), least))
        check_h(self.h)
        if self.distribution not in DISTRIBUTIONS:
            raise CivstatsError(
                f"distribution must be one of {', '.join(DISTRIBUTIONS)}, but got "
                f"{self.distribution!r}"
            )
        if self.distribution == "student_t" and self.treatment == "censor":
            raise CivstatsError(
                "treatment 'censor' needs a distribution of counts (negbin, poisson): the survival "
                "of Student's t has no gradient in torch"
            )
        if self.history not in HISTORIES:
            raise CivstatsError(
                f"history must be one of {', '.join(HISTORIES)}, but got {self.history!r}"
            )
        if not self.learning_rate > 0 or not self.grad_clip > 0 or not 0 <= self.dropout < 1:
            raise CivstatsError(
                "learning_rate and grad_clip must be positive and dropout in [0, 1), but got "
                f"{self.learning_rate!r}, {self.grad_clip!r} and {self.dropout!r}"
            )
        if any(k < 2 for k in self.lags):
            raise CivstatsError(
                f"lags must be 2 or more (yesterday is always an input), but got {self.lags}"
            )
        most = self.input_size + self.h - 1
        if self.h_train is not None and not 1 <= self.h_train <= most:
            raise CivstatsError(
                f"h_train must be between 1 and input_size + h - 1 = {most}, but got {self.h_train}"
            )
        if self.val_size is not None and self.val_size != 0 and self.val_size < self.h:
            raise CivstatsError(
                f"val_size must be 0 or at least h = {self.h}, but got {self.val_size}"
            )
