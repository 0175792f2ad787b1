"""DeepAR's training loop: what a step leaves in the weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("neuralforecast")

from civstats.data.synthetic import make_panel  # noqa: E402
from civstats.models.deepar import DeepAR, _training  # noqa: E402
from civstats.stockouts.simulate import simulate_stockouts  # noqa: E402


@pytest.mark.parametrize("size", [1, 5, 16])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(size) -> None:
    """Days with no weight differ between parts: a mean of the parts' means is something else."""
    demand = make_panel(n_series=5, n_days=120, seed=2)
    panel = simulate_stockouts(demand, mechanism="inventory", rate=0.3, seed=2)
    model = DeepAR(
        treatment="mask", h=7, input_size=14, lags=(7,), hidden_size=6, n_layers=1, max_steps=1,
        batch_size=8, num_threads=1, device="cpu",
    ).fit(panel)  # fmt: skip
    windows, network = model._windows(), model.network_
    cut = _training.training_cut(windows, 0, drop_windows=False, name="x")
    at = np.random.default_rng(0).choice(len(cut.series), 32)
    network.train().zero_grad()
    whole, days = _training.window_loss(
        network, windows, cut.series[at], cut.origin[at], 7, cut.until
    )
    assert 0 < days < 32 * 7
    whole.backward()
    used = [p for p in network.parameters() if p.grad is not None]
    assert len(used) > 4
    wanted = [p.grad.clone() for p in used]
    network.zero_grad()
    value = _training._backward(network, windows, cut, at, 7, size)
    assert value == pytest.approx(float(whole.detach()), rel=1e-5)
    for parameter, grad in zip(used, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-4, atol=1e-6)
