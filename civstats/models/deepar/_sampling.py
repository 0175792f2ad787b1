"""Ancestral sampling: whole worlds drawn day by day, each day fed what the day before drew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from civstats.models.deepar._windows import FLAGS, Windows

BLOCK = 50
"""Samples drawn together. The draws of a block depend on the seed and its number alone, so that
asking for more paths leaves the first ones as they were."""
_ROWS = 12_800
"""Series x samples in one pass through the network."""


@dataclass(frozen=True)
class Sampled:
    """Joint paths.

    Attributes
    ----------
    paths : numpy.ndarray, float32, shape (n_series, n_samples, n_days)
    mean : numpy.ndarray, float64, shape (n_series, n_days)
        Means given the days before, averaged over the first samples: less noisy than the paths'.
    """

    paths: np.ndarray
    mean: np.ndarray


@torch.no_grad()
def sample_paths(
    network: Any,
    windows: Windows,
    series: np.ndarray,
    n_days: int,
    n_samples: int,
    seed: int,
    *,
    n_mean: int | None = None,
) -> Sampled:
    """Draw joint paths of the days after the panel.

    Parameters
    ----------
    network : DeepARNetwork
    windows : Windows
        With the features of the days ahead.
    series : numpy.ndarray of int, shape (n_series,)
    n_days, n_samples, seed : int
    n_mean : int, optional
        Samples that the mean is over; all by default.
    """
    n_mean = n_samples if n_mean is None else n_mean
    out = np.empty((len(series), n_samples, n_days), dtype=np.float32)
    mean = np.zeros((len(series), n_days))
    width = max(1, _ROWS // BLOCK)
    network.eval()
    with torch.random.fork_rng():
        for j, first in enumerate(range(0, len(series), width)):
            part = slice(first, min(first + width, len(series)))
            start = _Start(network, windows, series[part])
            for b, sample in enumerate(range(0, n_samples, BLOCK)):
                torch.manual_seed(int(np.random.SeedSequence([seed, b, j]).generate_state(1)[0]))
                count = min(BLOCK, n_samples - sample)
                paths, means = start.go_on(n_days)
                out[part, sample : sample + count] = paths[:, :count]
                used = max(min(count, n_mean - sample), 0)
                mean[part] += means[:, :used].sum(1, dtype=np.float64)
    return Sampled(out, mean / max(min(n_mean, n_samples), 1))


class _Start:
    """Some series at the origin, their history read once for all samples."""

    def __init__(self, network: Any, windows: Windows, series: np.ndarray) -> None:
        self.network, self.windows, self.series = network, windows, series
        n = windows.data.target.shape[1]
        self.origin = np.full(len(series), n)
        batch, self.scale = windows.batch(series, self.origin, ahead=1)
        with network.remembering():
            self.first = network.parameters_of(batch, 1)
            self.state = network.rnn_state
        self.static = batch["stat_exog"]
        back = max(windows.lags, default=1)
        row = torch.as_tensor(series, device=windows.device)[:, None]
        self.row = row
        day = torch.arange(n - back, n, device=windows.device) + windows.pad
        self.recent = windows.history[row, day]

    def go_on(self, n_days: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw a block of samples, shape (n_series, BLOCK, n_days), and their means."""
        windows, network, loss = self.windows, self.network, self.network.loss
        device, rows = windows.device, len(self.series) * BLOCK
        scale = self.scale.repeat_interleave(BLOCK, 0)
        zero = torch.zeros_like(scale)
        past = torch.empty((rows, self.recent.shape[1] + n_days), device=device)
        back = self.recent.shape[1]
        past[:, :back] = self.recent.repeat_interleave(BLOCK, 0)
        static = self.static.repeat_interleave(BLOCK, 0)
        flags = torch.zeros((rows, 1, len(FLAGS)), device=device)
        means = torch.empty((rows, n_days), device=device)
        output = tuple(x.repeat_interleave(BLOCK, 0) for x in self.first)
        with network.remembering():
            network.rnn_state = tuple(s.repeat_interleave(BLOCK, 1) for s in self.state)
            for d in range(n_days):
                arguments = loss.scale_decouple(output, loc=zero, scale=scale)
                means[:, d] = loss.mean(arguments)[:, 0, 0]
                past[:, back + d] = loss.draw(arguments)[:, 0, 0]
                if d + 1 == n_days:
                    break
                output = network.parameters_of(self._step(past, back + d, flags, static, scale), 1)
        shape = (len(self.series), BLOCK, n_days)
        paths = past[:, back:].reshape(shape).cpu().numpy()
        return paths, means.reshape(shape).cpu().numpy()

    def _step(
        self,
        past: torch.Tensor,
        last: int,
        flags: torch.Tensor,
        static: torch.Tensor,
        scale: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Return the inputs of the step that knows column `last` of `past` as its yesterday."""
        windows = self.windows
        lagged = [past[:, last + 1 - k] for k in windows.lags]
        columns = [(x[:, None, None] / scale).log1p() for x in lagged]
        ahead = last + 1 - self.recent.shape[1]
        day = torch.full_like(self.row, windows.first_ahead + ahead)
        known = windows.known(self.row, day).repeat_interleave(BLOCK, 0)
        return {
            "insample_y": (past[:, last, None, None] / scale).log1p(),
            "hist_exog": torch.cat([flags, *columns], -1),
            "futr_exog": known,
            "stat_exog": static,
        }
