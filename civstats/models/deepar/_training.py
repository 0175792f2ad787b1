"""The training loop: random windows, a time-based validation cut, early stopping, checkpoints."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from civstats._io import atomic
from civstats.models.deepar._windows import Windows
from civstats.schema import ForecastError

_WARM_UP = 0.05
_LAST_RATE = 0.02
"""Share of the learning rate that is left at the last step."""


@dataclass(frozen=True)
class Schedule:
    """How a network is trained.

    Attributes
    ----------
    max_steps, batch_size : int
    learning_rate : float
        After the warm-up; it falls along a cosine until the last step.
    h_train : int
        Last days of each window that the loss covers.
    val_every, patience : int
        Steps between validations, and validations without a better one before training stops.
    grad_clip : float
        Largest norm of a gradient.
    seed : int
    """

    max_steps: int
    batch_size: int
    learning_rate: float
    h_train: int
    val_every: int
    patience: int
    grad_clip: float
    seed: int

    def rate(self, step: int) -> float:
        """Return the factor of the learning rate at a step."""
        warm = min(1.0, (step + 1) / max(1.0, _WARM_UP * self.max_steps))
        wave = 0.5 * (1.0 + math.cos(math.pi * min(step / self.max_steps, 1.0)))
        return warm * max(wave, _LAST_RATE)


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
        last = np.full(len(data.ids), n - val_size)
        counted = data.weight[:, n - val_size :].sum(1) > 0
        val = np.flatnonzero(counted & (data.start < last))
        if len(series) and len(val):
            return Cut(series, origin, n - val_size, val, last[val])
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
    optimiser = torch.optim.Adam(network.parameters(), lr=schedule.learning_rate)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.rate)
    picks = torch.Generator().manual_seed(schedule.seed)
    with torch.random.fork_rng():
        torch.manual_seed(schedule.seed)
        run = _Run(network, optimiser, rates, picks)
        if checkpoint is not None and checkpoint.exists():
            run.restore(checkpoint, device)
        losses: list[float] = []
        with _bar(progress, schedule.max_steps) as advance:
            while run.step < schedule.max_steps and not run.stopped:
                losses.append(_step(network, windows, cut, schedule, run))
                advance(run.step, losses[-1])
                if run.step % schedule.val_every == 0 or run.step == schedule.max_steps:
                    run.note(float(np.mean(losses)), validate(network, windows, cut), schedule)
                    losses = []
                    if checkpoint is not None:
                        run.store(checkpoint)
        if run.best is not None:
            network.load_state_dict(run.best)
    network.eval()
    return run.log


def _step(network: Any, windows: Windows, cut: Cut, schedule: Schedule, run: _Run) -> float:
    at = torch.randint(len(cut.series), (schedule.batch_size,), generator=run.picks).numpy()
    loss = window_loss(
        network, windows, cut.series[at], cut.origin[at], schedule.h_train, cut.until
    )[0]
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), schedule.grad_clip)
    run.optimiser.step()
    run.rates.step()
    run.step += 1
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ForecastError(
            f"the training loss is {value} at step {run.step}: lower learning_rate, or check the "
            "panel for extreme sales"
        )
    return value


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
    return total / max(days, 1.0)


class _Run:
    """Where training stands; stored and restored to the last bit."""

    def __init__(self, network: Any, optimiser: Any, rates: Any, picks: torch.Generator) -> None:
        self.network, self.optimiser, self.rates, self.picks = network, optimiser, rates, picks
        self.step, self.stopped, self.waited = 0, False, 0
        self.lowest = math.inf
        self.best: dict[str, torch.Tensor] | None = None
        self.log: list[tuple[int, float, float]] = []

    def note(self, training: float, validation: float, schedule: Schedule) -> None:
        """Keep the best weights; stop when they have not got better for long."""
        self.log.append((self.step, training, validation))
        if math.isnan(validation):
            return
        if validation < self.lowest:
            self.lowest, self.waited = validation, 0
            self.best = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        else:
            self.waited += 1
            self.stopped = self.waited >= schedule.patience

    def store(self, path: Path) -> None:
        """Write everything needed to go on, whole or not at all."""
        held = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rates": {k: v for k, v in self.rates.state_dict().items() if k != "lr_lambdas"},
            "picks": self.picks.get_state(),
            "torch": torch.get_rng_state(),
            "step": self.step,
            "stopped": self.stopped,
            "waited": self.waited,
            "lowest": self.lowest,
            "best": self.best,
            "log": self.log,
        }
        if torch.cuda.is_available():
            held["cuda"] = torch.cuda.get_rng_state()
        with atomic(path) as temporary:
            torch.save(held, temporary)

    def restore(self, path: Path, device: torch.device) -> None:
        """Go on from what :meth:`store` wrote."""
        held = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(held["network"])
        self.optimiser.load_state_dict(held["optimiser"])
        self.rates.load_state_dict(held["rates"] | {"lr_lambdas": [None]})
        self.picks.set_state(held["picks"])
        torch.set_rng_state(held["torch"])
        if device.type == "cuda" and "cuda" in held:
            torch.cuda.set_rng_state(held["cuda"])
        self.step, self.stopped, self.waited = held["step"], held["stopped"], held["waited"]
        self.lowest, self.best, self.log = held["lowest"], held["best"], held["log"]


def checkpoint_file(folder: str | Path, *says: Any) -> Path:
    """Return the file of a training run: another panel or other settings have another."""
    text = json.dumps([asdict(s) if isinstance(s, Schedule) else s for s in says], default=str)
    name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return Path(folder) / f"training-{name}.pt"


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
