"""The training loop: random windows, a time-based validation cut, early stopping, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from civstats.models.deepar._memory import kept_memory
from civstats.models.deepar._run import Run, Schedule
from civstats.models.deepar._windows import Windows
from civstats.schema import ForecastError

_PART = 64
"""Windows that go through the network at once on a CPU whose freed memory cannot be kept: the tensors
of more are so large that the C library hands their memory back after each use."""


@dataclass(frozen=True)
class Cut:
    """Windows to learn from and windows to stop by.

    Attributes
    ----------
    series, origin : numpy.ndarray of int
        Every training window.
    until : int
        First period that no training target may reach.
    val_series, val_origin : numpy.ndarray of int
        Empty where the panel is too short for a validation.
    """

    series: np.ndarray
    origin: np.ndarray
    until: int
    val_series: np.ndarray
    val_origin: np.ndarray


def training_cut(windows: Windows, val_size: int, *, drop_windows: bool, name: str) -> Cut:
    """Part a panel in time: the last `val_size` periods say when to stop.

    Raises
    ------
    ForecastError
        If nothing is left to learn from.
    """
    data = windows.data
    n = data.target.shape[1]
    nothing = np.empty(0, dtype=int)
    if val_size:
        series, origin = _windows_until(windows, n - val_size, drop_windows)
        # One window after the other over all days held back, the last ones to the end.
        late = n - windows.h
        origins = np.unique(np.r_[np.arange(n - val_size, late + 1, windows.h), late])
        origins = origins[origins > 0]
        seen = np.zeros((len(data.ids), n + 1))
        np.cumsum(data.weight, axis=1, out=seen[:, 1:])
        counted = seen[:, origins + windows.h] > seen[:, origins]
        val, at = np.nonzero(counted & (data.start[:, None] < origins))
        if len(series) and len(val):
            return Cut(series, origin, n - val_size, val, origins[at])
    series, origin = _windows_until(windows, n, drop_windows)
    if not len(series):
        why = "give a longer history"
        if drop_windows:
            why = "every window touches a stockout; shorten input_size, or drop no windows"
        raise ForecastError(f"{name}: no window to train on; {why}")
    return Cut(series, origin, n, nothing, nothing)


def _windows_until(
    windows: Windows, until: int, drop_windows: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return series and origins of windows whose targets lie before `until`."""
    data, h = windows.data, windows.h
    n = data.target.shape[1]
    origin = np.arange(n + 1)
    usable = (origin > data.start[:, None]) & (origin < np.minimum(data.end, until)[:, None])
    seen = np.zeros((len(data.ids), n + 1))
    np.cumsum(data.weight, axis=1, out=seen[:, 1:])
    stop = np.minimum(origin + h, until)
    usable &= seen[:, np.maximum(stop, 0)] > seen[:, origin]
    whole = usable & (origin + h <= until)
    # Targets cut off at the end are for series that have no others.
    usable = np.where(whole.any(1, keepdims=True), whole, usable)
    if drop_windows:
        out = np.zeros((len(data.ids), n + 1))
        np.cumsum(data.touched, axis=1, out=out[:, 1:])
        first = np.maximum(origin - windows.input_size, 0)
        usable &= out[:, np.maximum(stop, 0)] == out[:, first]
    series, at = np.nonzero(usable)
    return series, at


def train(
    network: Any,
    windows: Windows,
    cut: Cut,
    schedule: Schedule,
    *,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> list[tuple[int, float, float]]:
    """Train in place; the best weights by the validation are kept.

    Parameters
    ----------
    network : DeepARNetwork or TFTNetwork
    windows : Windows
    cut : Cut
    schedule : Schedule
    checkpoint : pathlib.Path, optional
        File to go on from, and to write at every validation.
    progress : bool

    Returns
    -------
    list of (step, training loss, validation loss)
        Losses per day; the validation's is NaN without one.
    """
    device = windows.device
    network.to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=schedule.learning_rate, fused=True)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.rate)
    picks = torch.Generator().manual_seed(schedule.seed)
    with torch.random.fork_rng(), kept_memory() as kept:
        whole = kept or device.type != "cpu"
        torch.manual_seed(schedule.seed)
        run = Run(network, optimiser, rates, picks)
        if checkpoint is not None and checkpoint.exists():
            run.restore(checkpoint, device)
        losses: list[float] = []
        with _bar(progress, schedule.max_steps) as advance:
            while run.step < schedule.max_steps and not run.stopped:
                losses.append(_step(network, windows, cut, schedule, run, whole=whole))
                advance(run.step, losses[-1])
                if run.step % schedule.val_every == 0 or run.step == schedule.max_steps:
                    run.note(float(np.mean(losses)), validate(network, windows, cut), schedule)
                    losses = []
                    if checkpoint is not None:
                        run.store(checkpoint)
        if run.best is not None:
            network.load_state_dict(run.best)
    network.settle_unknown()
    network.eval()
    return run.log


def _step(
    network: Any, windows: Windows, cut: Cut, schedule: Schedule, run: Run, *, whole: bool
) -> float:
    at = torch.randint(len(cut.series), (schedule.batch_size,), generator=run.picks).numpy()
    run.optimiser.zero_grad(set_to_none=True)
    size = len(at) if whole else _PART
    value = _backward(network, windows, cut, at, schedule.h_train, size)
    torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.grad_clip)
    run.optimiser.step()
    run.rates.step()
    run.step += 1
    if not math.isfinite(value):
        raise ForecastError(
            f"the training loss is {value} at step {run.step}: lower learning_rate, or check the "
            "panel for extreme sales"
        )
    return value


def _backward(
    network: Any, windows: Windows, cut: Cut, at: np.ndarray, steps: int, size: int
) -> float:
    """Leave the gradient of the batch's mean loss per day in the network; return that mean.

    `size` windows go through the network at a time.
    """
    total = days = 0.0
    for first in range(0, len(at), size):
        part = at[first : first + size]
        value, weight = window_loss(
            network, windows, cut.series[part], cut.origin[part], steps, cut.until
        )
        (value * weight).backward()
        total, days = total + float(value.detach()) * weight, days + weight
    for parameter in network.parameters():
        if parameter.grad is not None:
            parameter.grad.div_(max(days, 1e-12))
    return total / max(days, 1e-12)


def window_loss(
    network: Any,
    windows: Windows,
    series: np.ndarray,
    origin: np.ndarray,
    steps: int,
    until: int,
) -> tuple[torch.Tensor, float]:
    """Return the mean loss per day of some windows, and the days it is the mean of."""
    batch, scale = windows.batch(series, origin)
    targets = windows.targets(series, origin, scale, steps, until)
    loss = network.loss
    zero = torch.zeros_like(scale)
    arguments = loss.scale_decouple(network.parameters_of(batch, steps), loc=zero, scale=scale)
    value = loss(
        y=targets.y,
        distr_args=arguments,
        mask=targets.weight,
        bound=targets.bound,
        exposure=targets.exposure,
    )
    return value, float(targets.weight.sum())


@torch.no_grad()
def validate(network: Any, windows: Windows, cut: Cut, size: int = 512) -> float:
    """Return the loss per day of the validation's windows; NaN if there are none."""
    if not len(cut.val_series):
        return math.nan
    network.eval()
    total = days = 0.0
    n = windows.data.target.shape[1]
    for first in range(0, len(cut.val_series), size):
        at = slice(first, first + size)
        value, weight = window_loss(
            network, windows, cut.val_series[at], cut.val_origin[at], windows.h, n
        )
        total, days = total + float(value) * weight, days + weight
    network.train()
    return total / days if days else math.nan


@contextmanager
def _bar(show: bool, total: int) -> Iterator[Callable[[int, float], None]]:
    if not show:
        yield lambda step, loss: None
        return
    from rich.progress import Progress

    with Progress() as bar:
        task = bar.add_task("training", total=total)

        def advance(step: int, loss: float) -> None:
            bar.update(task, completed=step, description=f"training, loss {loss:.4f}")

        yield advance
