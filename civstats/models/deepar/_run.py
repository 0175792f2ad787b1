"""Where a training stands: its schedule, its best weights, and a file to go on from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from civstats._io import atomic
from civstats.schema import DataError

_FORMAT = 4
"""Raised whenever networks change: states of other networks are not gone on from."""
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


class Run:
    """Where training stands; stored and restored to the last bit."""

    _HELD = frozenset(
        ("network", "optimiser", "rates", "picks", "torch", "step", "stopped", "waited", "lowest",
         "best", "log")
    )  # fmt: skip

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
        """Go on from what :meth:`store` wrote.

        Raises
        ------
        DataError
            If the file is torn or none of ours.
        """
        try:
            held = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise DataError(
                f"the checkpoint {path} cannot be read ({type(error).__name__}): delete it to start "
                "afresh"
            ) from error
        if not isinstance(held, dict) or not set(held) >= self._HELD:
            raise DataError(
                f"the checkpoint {path} is of something else: delete it to start afresh"
            )
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
    told = [asdict(s) if isinstance(s, Schedule) else s for s in says]
    text = json.dumps([_FORMAT, *told], default=str)
    name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return Path(folder) / f"training-{name}.pt"
