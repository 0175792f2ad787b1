"""neuralforecast's DeepAR and TFT as bare networks: built, saved and run without its data path.

Taken from neuralforecast are the networks (encoder, decoder, embeddings), the losses and the
safetensors format. Its windows, scalers, trainer and prediction are not: its scaler and its window
conditions know one mask, its DeepAR feeds the mean back instead of a sample, its loss covers the
horizon alone, its checkpoints are pickles, and every construction seeds all global generators.
"""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from neuralforecast import models

from civstats.models.deepar._losses import LOSSES
from civstats.schema import CivstatsError

Batch = dict[str, torch.Tensor]
_LARGEST_EFFECT = 2.0
"""Bound of what known features do directly, in log units: few windows can leave them wild."""


@dataclass(frozen=True)
class Shape:
    """What a network is built from.

    Attributes
    ----------
    h, input_size : int
        Days ahead, and days of history that a step sees.
    past : list of str
        Inputs of the past besides sales: flags, lags.
    known : list of str
        Features of the day itself.
    static : list of str
    cardinalities : dict
        Number of labels of each category among them.
    hidden_size, n_layers, embedding_size : int
    dropout : float
    distribution : str
    """

    h: int
    input_size: int
    past: list[str]
    known: list[str]
    static: list[str]
    cardinalities: dict[str, int]
    hidden_size: int
    n_layers: int
    embedding_size: int
    dropout: float
    distribution: str


class _Embedding:
    """Turns codes of categories into embeddings, before a network's forward."""

    @torch.no_grad()
    def settle_unknown(self) -> None:
        """Give labels that training never saw (code 0) the mean of those it saw.

        No gradient ever reached their row: it would be whatever the seed drew.
        """
        net: Any = self
        for table in (*net.futr_cat_embeddings, *net.stat_cat_embeddings):
            table.weight[0] = table.weight[1:].mean(dim=0)

    def embedded(self, batch: Batch) -> Batch:
        """Return the batch with numbers only."""
        net: Any = self
        known, static = batch["futr_exog"], batch["stat_exog"]
        return batch | {
            "futr_exog": net._embed_stream(
                known, net.futr_exog_list, net.futr_cat_exog_list, net.futr_cat_embeddings
            ),
            "stat_exog": net._embed_stream(
                static, net.stat_exog_list, net.stat_cat_exog_list, net.stat_cat_embeddings
            ),
        }


class DeepARNetwork(_Embedding, models.DeepAR):
    """Recurrent: a step per day, each the distribution of that day.

    Besides, the day's known features act on it directly, with coefficients that depend on the
    attributes and the scale of the series: a promotion then need not pass through the bounded
    memory cells (the wide part of a wide and deep network, Cheng et al. 2016).
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        n_known = _width(self.futr_exog_list, self.futr_cat_exog_list, self.futr_cat_embeddings)
        n_static = _width(self.stat_exog_list, self.stat_cat_exog_list, self.stat_cat_embeddings)
        self.direct = torch.nn.Linear(n_static, n_known * self.loss.outputsize_multiplier)
        # Nothing at first: what is drawn for the other weights stays what it was.
        torch.nn.init.zeros_(self.direct.weight)
        torch.nn.init.zeros_(self.direct.bias)

    def forward(self, windows_batch: Batch) -> torch.Tensor:
        """Return the raw outputs of the last `h` steps, shape (n, h, n_outputs)."""
        out = super().forward(windows_batch)
        known = windows_batch["futr_exog"][:, -self.h :]
        weights = self.direct(windows_batch["stat_exog"])
        effect = torch.bmm(known, weights.view(len(known), known.shape[-1], -1))
        return out + _LARGEST_EFFECT * torch.tanh(effect / _LARGEST_EFFECT)

    def parameters_of(self, batch: Batch, steps: int) -> tuple[torch.Tensor, ...]:
        """Return the distribution of the last `steps` days, each of shape (n, steps, 1)."""
        self.h = steps
        return self.loss.domain_map(self(self.embedded(batch)))

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Let every forward continue where the last one ended."""
        self.rnn_state, self.maintain_state = None, True
        try:
            yield
        finally:
            self.rnn_state, self.maintain_state = None, False


class TFTNetwork(_Embedding, models.TFT):
    """Direct: all days ahead at once."""

    EXOGENOUS_CAT = True

    def parameters_of(self, batch: Batch, steps: int) -> tuple[torch.Tensor, ...]:
        """Return the distribution of the days ahead, each of shape (n, h, 1)."""
        return self.loss.domain_map(self(self.embedded(batch)))


def _width(names: list[str], categories: list[str], embeddings: Any) -> int:
    """Return how many numbers features are once their categories are embedded."""
    return len([n for n in names if n not in categories]) + sum(
        e.weight.shape[1] for e in embeddings
    )


def build(kind: str, shape: Shape, seed: int) -> Any:
    """Build a network with weights drawn from `seed`, global generators left as they were."""
    categories = [c for c in (*shape.known, *shape.static) if c in shape.cardinalities]
    common = {
        "h": shape.h,
        "input_size": shape.input_size,
        "hist_exog_list": shape.past,
        "futr_exog_list": shape.known,
        "stat_exog_list": shape.static,
        "cat_exog_list": categories,
        "categorical_cardinalities": {c: shape.cardinalities[c] for c in categories},
        "cat_emb_dim": shape.embedding_size,
        "loss": LOSSES[shape.distribution](),
        "valid_loss": None,
        "scaler_type": "identity",
        "random_seed": seed,
        "accelerator": "cpu",
        "devices": 1,
    }
    with undisturbed():
        if kind == "deepar":
            return DeepARNetwork(
                h_train=shape.h,
                lstm_hidden_size=shape.hidden_size,
                lstm_n_layers=shape.n_layers,
                lstm_dropout=shape.dropout if shape.n_layers > 1 else 0.0,
                **common,
            )
        return TFTNetwork(
            hidden_size=shape.hidden_size,
            n_rnn_layers=shape.n_layers,
            dropout=shape.dropout,
            **common,
        )


def load(kind: str, path: str) -> Any:
    """Read a network that its ``save`` wrote: safetensors, nothing that runs."""
    with undisturbed():
        return (DeepARNetwork if kind == "deepar" else TFTNetwork).load(path)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the caller's generators and environment from what neuralforecast seeds."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    seeds = {k: os.environ.get(k) for k in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")}
    log = logging.getLogger("lightning_fabric.utilities.seed")
    loud, log.disabled = log.disabled, True
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec, LeafSpec\\)")
        try:
            yield
        finally:
            log.disabled = loud
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
            for name, value in seeds.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads of torch's, all of them if 0."""
    before = torch.get_num_threads()
    if n:
        torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(wanted: str | None) -> torch.device:
    """Return the device to compute on: the GPU where there is one, unless told otherwise."""
    if wanted is not None:
        try:
            device = torch.device(wanted)
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise CivstatsError(
                f"device {wanted!r} cannot be used here ({str(error).splitlines()[0]}); leave it "
                "out to take the GPU where there is one, or name 'cpu'"
            ) from error
        return device
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
