"""The filter's benchmark at a tiny size: every part runs through, and memory is really watched."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

BENCHMARKS = Path(__file__).parents[2] / "analyses" / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

CONFIG = {
    "path": None, "series": 12, "days": 150, "rate": 0.15, "threads": 1, "peer_series": 3,
    "nuts_series": 0, "nuts_draws": 50, "seed": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from _filter_stages import layout, prepare

    folder = tmp_path_factory.mktemp("benchmark")
    made = prepare(folder, CONFIG, print)
    assert made["series"] == 12
    assert made["stockout_days"] == pytest.approx(0.15, abs=0.01)
    layout(folder, CONFIG, print)
    return folder


def test_passes(folder):
    from _filter_stages import passes

    found = passes(folder, CONFIG, print)
    for name in ("grid", "log_likelihood", "both_passes"):
        assert found[name]["wall"] >= 0
        assert 0 < found[name]["peak_gb"] <= found["process_gb"] + 0.01


def test_sizes_have_the_same_lengths(folder, monkeypatch):
    import _filter_stages

    monkeypatch.setattr(_filter_stages, "SIZES", {3: 2, 6: 1, 50: 1})
    found = _filter_stages.scale(folder, CONFIG, print)
    assert [row["series"] for row in found["table"]] == [3, 6, 12]
    days = [row["mean_days"] for row in found["table"]]
    assert np.ptp(days) < 0.2 * np.mean(days)
    costs = [row["cpu_ms"] for row in found["table"]]
    assert found["cpu_spread"] == pytest.approx(max(costs) / min(costs), abs=1e-3)


def test_fit(folder):
    from _filter_stages import fit

    found = fit(folder, CONFIG, print)
    assert found["fit"]["wall"] > 0
    assert found["recovered_over_sold"] > 1
    assert set(found["estimates"]) == {"dispersion", "level_sd"}


def test_peers(folder):
    from _filter_peers import peers

    found = peers(folder, CONFIG, print)
    ms, ratios = found["ms_per_series"], found["ratios"]
    assert found["series"] == 3
    want = ms["unobserved_components"]["cpu"] / ms["filter_passes"]["cpu"]
    assert ratios["unobserved_components_to_filter_passes"]["cpu"] == pytest.approx(want, rel=0.05)
    assert len(ratios) == 4


@pytest.mark.slow
def test_nuts(folder):
    pytest.importorskip("nutpie")
    from _filter_peers import peers

    found = peers(folder, CONFIG | {"nuts_series": 1}, print)["nuts"]
    row = found["series"][0]
    assert row["ratio_smallest"] == pytest.approx(
        row["effective_ms_smallest"] / row["draw_ms"], rel=0.05
    )
    assert row["smallest_ess"] <= row["median_ess"]


def test_memory_that_is_given_back_is_seen():
    from _filter_stages import stage

    found: dict = {}
    with stage(found, "nothing"):
        time.sleep(0.1)
    with stage(found, "much"):
        block = np.ones(40_000_000)
        time.sleep(0.2)
        del block
    with stage(found, "after"):
        time.sleep(0.1)
    assert found["much"]["peak_gb"] > found["nothing"]["peak_gb"] + 0.25
    assert found["after"]["peak_gb"] < found["much"]["peak_gb"] - 0.25
    assert found["much"]["wall"] >= 0.2


def test_wrong_arguments_are_refused(tmp_path):
    # Under this name the script is not the package's module.
    from demand_filter import app

    runner = CliRunner()
    refused = runner.invoke(app, ["--parts", "passes,speed"])
    assert refused.exit_code == 2
    missing = runner.invoke(app, ["--path", str(tmp_path / "none.zip")])
    assert missing.exit_code == 2


@pytest.mark.slow
def test_the_command(tmp_path):
    from demand_filter import app

    out = tmp_path / "found.json"
    arguments = ["--series", "6", "--days", "60", "--parts", "scale", "--threads", "1"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0
    found = json.loads(result.stdout.splitlines()[-1])
    assert set(found) == {"prepare", "layout", "scale"}
    assert found == json.loads(out.read_text())
