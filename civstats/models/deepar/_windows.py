"""Windows of a panel as batches of tensors, gathered by index: no frame is touched per window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from civstats.models.deepar._networks import Batch
from civstats.models.deepar._series import SeriesData

FLAGS = ["stockout", "absent"]
"""Inputs that say of the day before: its sales are filled in; it has no row."""


@dataclass(frozen=True)
class Targets:
    """What a batch is scored on, each of shape (n, steps, 1).

    Attributes
    ----------
    y, weight, exposure : torch.Tensor
    bound : torch.Tensor of bool
    scale : torch.Tensor, shape (n, 1, 1)
    """

    y: torch.Tensor
    weight: torch.Tensor
    exposure: torch.Tensor
    bound: torch.Tensor
    scale: torch.Tensor


class Windows:
    """Cuts windows out of a panel; an origin is the number of known periods.

    Parameters
    ----------
    data : SeriesData
    input_size : int
        Days of history in a window.
    h : int
        Days ahead.
    lags : sequence of int
        Days back, besides the last, that a step of the recurrent network sees.
    recurrent : bool
        Whether steps predict the day after theirs (DeepAR), or days ahead in one go (TFT).
    device : torch.device
    ahead : numpy.ndarray, shape (n_series, n_days, n_features), optional
        Features of days after the panel.
    """

    def __init__(
        self,
        data: SeriesData,
        *,
        input_size: int,
        h: int,
        lags: tuple[int, ...],
        recurrent: bool,
        device: torch.device,
        ahead: np.ndarray | None = None,
    ) -> None:
        self.data, self.device = data, device
        self.input_size, self.h, self.recurrent = input_size, h, recurrent
        self.lags = tuple(lags) if recurrent else ()
        self.pad = input_size + max(self.lags, default=1) + 1
        late = h if ahead is None else ahead.shape[1]
        shape = data.target.shape
        present = (np.arange(shape[1]) >= data.start[:, None]) & (
            np.arange(shape[1]) < data.end[:, None]
        )
        self.history = self._padded(data.history, late)
        self.filled = self._padded(data.filled, late)
        # Before the panel nothing is known; days ahead are in stock as far as anybody knows.
        absent = np.pad(~present, ((0, 0), (self.pad, 0)), constant_values=True)
        self.absent = self._tensor(np.pad(absent, ((0, 0), (0, late))))
        self.target = self._padded(data.target, late)
        self.weight = self._padded(data.weight, late)
        self.bound = self._padded(data.bound, late)
        self.exposure = self._padded(data.exposure, late)
        self.shared = self._tensor(np.pad(data.shared, ((self.pad, late), (0, 0))))
        self.own = self._tensor(np.pad(data.own, ((0, 0), (self.pad, late), (0, 0))))
        self.static = self._tensor(data.static)
        # Where each feature stands once those of the calendar and of the series are side by side.
        place = np.argsort(np.r_[data.shared_at, data.own_at], kind="stable")
        self._place = torch.as_tensor(place, device=device)
        # Days ahead have features of their own: what is common in the past may not be there.
        self.ahead = None if ahead is None else self._tensor(ahead)
        self.first_ahead = self.pad + shape[1]

    @property
    def past_names(self) -> list[str]:
        """Inputs of the past besides sales."""
        return [*FLAGS, *(f"lag_{k}" for k in self.lags)]

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(x), device=self.device)

    def _padded(self, x: np.ndarray, late: int) -> torch.Tensor:
        return self._tensor(np.pad(x, ((0, 0), (self.pad, late))))

    def scale(self, series: np.ndarray, origin: np.ndarray) -> torch.Tensor:
        """Return scales, shape (n, 1, 1)."""
        scale = self.data.scale(series, origin, self.input_size)
        return torch.as_tensor(scale, device=self.device)[:, None, None]

    def batch(
        self, series: np.ndarray, origin: np.ndarray, *, ahead: int | None = None
    ) -> tuple[Batch, torch.Tensor]:
        """Return the network's inputs and the scales.

        Parameters
        ----------
        series, origin : numpy.ndarray of int, shape (n,)
        ahead : int, optional
            Days after the origin whose distribution the recurrent network gives; `h` by default.
        """
        scale = self.scale(series, origin)
        row = torch.as_tensor(series, device=self.device)[:, None]
        at = torch.as_tensor(origin, device=self.device)[:, None] + self.pad
        steps = self.input_size + (self.h if ahead is None else ahead) - int(self.recurrent)
        # The day that each step knows of as the one before it (DeepAR) or as its own (TFT).
        offset = torch.arange(steps, device=self.device) - self.input_size
        day = at + offset
        past = day if self.recurrent else day[:, : self.input_size]
        flags = torch.stack([self.filled[row, past], self.absent[row, past]], -1).float()
        lagged = [self.history[row, past + 1 - k] for k in self.lags]
        columns = [(x[..., None] / scale).log1p() for x in lagged]
        static = self.static[row[:, 0]]
        return {
            "insample_y": (self.history[row, past][..., None] / scale).log1p(),
            "hist_exog": torch.cat([flags, *columns], -1),
            "futr_exog": self.known(row, day + 1 if self.recurrent else day),
            "stat_exog": torch.cat([scale[:, 0].log(), static], -1),
        }, scale

    def known(self, row: torch.Tensor, day: torch.Tensor) -> torch.Tensor:
        """Return the features of days, shape (n, n_days, n_features)."""
        out = torch.cat([self.shared[day], self.own[row, day]], -1)[..., self._place]
        if self.ahead is not None:
            later = day >= self.first_ahead
            if bool(later.any()):
                which = row.expand_as(day)[later]
                out[later] = self.ahead[which, day[later] - self.first_ahead]
        return out

    def targets(
        self,
        series: np.ndarray,
        origin: np.ndarray,
        scale: torch.Tensor,
        steps: int,
        until: int,
    ) -> Targets:
        """Return the last `steps` days of windows; those from period `until` on weigh nothing."""
        row = torch.as_tensor(series, device=self.device)[:, None]
        at = torch.as_tensor(origin, device=self.device)[:, None] + self.pad
        day = at + torch.arange(self.h - steps, self.h, device=self.device)
        weight = self.weight[row, day] * (day < until + self.pad)
        return Targets(
            self.target[row, day][..., None],
            weight[..., None],
            self.exposure[row, day][..., None],
            self.bound[row, day][..., None],
            scale,
        )
