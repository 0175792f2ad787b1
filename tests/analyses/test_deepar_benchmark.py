"""DeepAR's benchmark: what the peer is handed, what is made of its samples, how its absence is said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civstats.schema import CivstatsError

BENCHMARKS = Path(__file__).parents[2] / "analyses" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

H = 7
CONFIG = {
    "path": None, "series": 6, "days": 90, "rate": 0.2, "seed": 1, "h": H, "input_size": 14,
    "hidden_size": 4, "batch_size": 8, "steps": 5, "threads": 1, "warm_up": 1,
    "peer_python": sys.executable,
}  # fmt: skip


@pytest.fixture(scope="module")
def panel():
    from _deepar_panel import load

    return load(CONFIG)


def test_the_peer_sees_no_stockout_day_and_nothing_of_the_future(panel):
    from _deepar_panel import as_arrays, parted

    history, future = parted(panel, H)
    assert not {"y", "demand", "demand_mean", "stock", "is_censored"} & set(future.columns)
    arrays, first_day = as_arrays(history, future)
    assert first_day == str(panel["ds"].min().date())
    n_days = (panel["ds"].max() - panel["ds"].min()).days + 1
    assert arrays["target"].shape == (6, n_days - H)
    assert arrays["known"].shape[::2] == (6, n_days)
    ids = list(panel["unique_id"].cat.categories)
    for _, row in history.iterrows():
        i, t = ids.index(row["unique_id"]), (row["ds"] - panel["ds"].min()).days
        if row["is_censored"]:
            assert np.isnan(arrays["target"][i, t])
        else:
            assert arrays["target"][i, t] == row["y"]
        assert arrays["start"][i] <= t
    # The first known feature is the log price less the series' mean.
    one = panel[panel["unique_id"] == ids[2]].sort_values("ds")
    log = np.log(one["price"].astype(float))
    at = (one["ds"] - panel["ds"].min()).dt.days
    np.testing.assert_allclose(arrays["known"][2, 0, at], log - log.mean(), atol=1e-5)
    # Sales of stockout days do not reach it.
    other = history.assign(y=history["y"].where(~history["is_censored"], 99.0))
    np.testing.assert_array_equal(as_arrays(other, future)[0]["target"], arrays["target"])


def test_samples_become_a_forecast_of_the_right_days(panel):
    from _deepar_panel import as_forecast, parted

    history, future = parted(panel, H)
    rng = np.random.default_rng(0)
    samples = rng.poisson(np.arange(1, 7)[:, None, None] * np.ones((1, 101, H))).astype(float)
    made = as_forecast(samples + 1e-4, history, future, 80.0)
    assert made.name == "GluonTS_mask"
    ids = panel["unique_id"].cat.categories
    for i, name in enumerate(ids):
        mine = made.frame[made.frame["unique_id"] == name]
        assert (np.diff(mine["ds"]) == np.timedelta64(1, "D")).all()
        np.testing.assert_allclose(mine[made.name], samples[i].mean(axis=0))
        ordered = np.sort(samples[i], axis=0)
        np.testing.assert_array_equal(mine[f"{made.name}-median"], ordered[50])
        np.testing.assert_array_equal(mine[f"{made.name}-lo-80"], ordered[10])
    assert made.paths.sel(unique_id=ids[3]).shape == (101, H)


def test_a_python_without_the_peer_is_explained(panel):
    from _deepar_panel import parted
    from deepar import peer

    history, future = parted(panel, H)
    with pytest.raises(CivstatsError, match=r"the peer failed under .*gluonts"):
        peer(history, future, CONFIG)


def test_steps_are_told_after_the_warm_up():
    from deepar import _steps, summed_up

    at = [(float(t), t / 2) for t in (0, 100, 101, 103, 106, 110)]
    found = summed_up(_steps(at, 1), "step")
    assert found["step_wall_s"] == 2.5
    assert found["step_cpu_s"] == 1.25
    assert found["fast_step_wall_s"] == pytest.approx(np.quantile([1, 2, 3, 4], 0.1))


def test_own_steps_are_clocked(panel):
    from _deepar_panel import parted
    from deepar import own, steps_of

    config = CONFIG | {"timed_steps": 3}
    history, future = parted(panel, H)
    config |= {"input_size": 28}
    model, made, run = own(history, future, "mask", config)
    assert made.name == "DeepAR_mask"
    assert made.paths.sizes["sample"] == 1_000
    assert run["fit_cpu_s"] > 0
    parameters, steps = steps_of(model, config)
    assert parameters == sum(p.numel() for p in model.network_.parameters())
    assert {k: v.shape for k, v in steps.items()} == {"step": (3, 2), "whole_loss_step": (3, 2)}
    assert (steps["step"][:, 0] > 0).all()
    assert isinstance(pd.Timestamp(made.frame["cutoff"].iloc[0]), pd.Timestamp)
