"""GluonTS' DeepAR, trained and sampled from arrays; runs in an environment of its own.

``python _deepar_peer.py FOLDER`` reads ``settings.json`` and ``panel.npz`` there and writes
``samples.npy`` (n_series, n_samples, h) and ``peer.json``. It imports nothing of civstats.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    """Train, sample, write."""
    warnings.simplefilter("ignore")
    import gluonts
    import lightning.pytorch as pl
    import torch
    from gluonts.dataset.common import ListDataset
    from gluonts.torch.distributions import NegativeBinomialOutput
    from gluonts.torch.model.deepar import DeepAREstimator

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    settings = json.loads((folder / "settings.json").read_text())
    held = np.load(folder / "panel.npz")
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    np.random.seed(settings["seed"])  # noqa: NPY002 (GluonTS draws its windows from it)
    h, known = settings["h"], held["known"]

    def entries(ahead: int) -> ListDataset:
        """Cut each series at its first day; features reach `ahead` days further than sales."""
        end = held["target"].shape[1]
        return ListDataset(
            [
                {
                    "start": str(np.datetime64(settings["first_day"]) + int(first)),
                    "target": held["target"][i, first:],
                    "feat_static_cat": held["static"][i],
                    "feat_dynamic_real": known[i, :, first : end + ahead],
                }
                for i, first in enumerate(held["start"])
            ],
            freq="D",
        )

    class Clock(pl.Callback):
        """Wall and CPU seconds after each batch."""

        def __init__(self) -> None:
            self.at: list[tuple[float, float]] = []

        def on_train_batch_end(self, *_: object) -> None:
            self.at.append((time.perf_counter(), time.process_time()))

    clock = Clock()
    per_epoch = min(settings["per_epoch"], settings["steps"])
    estimator = DeepAREstimator(
        freq="D",
        prediction_length=h,
        context_length=settings["input_size"],
        num_layers=settings["n_layers"],
        hidden_size=settings["hidden_size"],
        lr=settings["learning_rate"],
        dropout_rate=settings["dropout"],
        num_feat_dynamic_real=known.shape[1],
        num_feat_static_cat=held["static"].shape[1],
        cardinality=[int(c) for c in held["static"].max(axis=0) + 1],
        embedding_dimension=[settings["embedding_size"]] * held["static"].shape[1],
        distr_output=NegativeBinomialOutput(),
        # Yesterday besides the lags that the other network reads.
        lags_seq=[1, *settings["lags"]],
        num_parallel_samples=settings["samples"],
        batch_size=settings["batch_size"],
        num_batches_per_epoch=per_epoch,
        trainer_kwargs={
            "max_epochs": max(1, settings["steps"] // per_epoch),
            "gradient_clip_val": settings["grad_clip"],
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "logger": False,
            "callbacks": [clock],
            "default_root_dir": str(folder),
        },
    )
    wall, cpu = time.perf_counter(), time.process_time()
    predictor = estimator.train(entries(0), cache_data=True)
    found = {"fit_wall_s": time.perf_counter() - wall, "fit_cpu_s": time.process_time() - cpu}
    found |= {"steps": len(clock.at), "at": clock.at}
    # A thousand samples of a few series at a time.
    predictor.batch_size = 16
    wall, cpu = time.perf_counter(), time.process_time()
    samples = np.stack([f.samples for f in predictor.predict(entries(h))])
    found |= {
        "predict_wall_s": time.perf_counter() - wall,
        "predict_cpu_s": time.process_time() - cpu,
        "parameters": sum(p.numel() for p in predictor.prediction_net.parameters()),
        "gluonts": gluonts.__version__,
        "torch": torch.__version__,
    }
    np.save(folder / "samples.npy", samples.astype(np.float32))
    (folder / "peer.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
