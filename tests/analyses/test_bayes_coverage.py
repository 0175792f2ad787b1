"""The Bayesian coverage study: its scores against brute force, its answers, its folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"
CONFIG = {
    "replicates": 2, "series": 12, "days": 70, "rate": 0.3, "draws": 50, "tune": 50, "chains": 2,
    "recovered": 100, "jobs": 1, "seed": 0,
}  # fmt: skip
SCORES = {
    "cpu_s": 1.0, "stockout_days": 0.3, "bias": 0.01, "series_months": 40.0, "lost": 50.0,
    "lost_mean": 52.0, "lost_low": 40.0, "lost_high": 60.0, "lost_inside": 1.0, "covered": 0.84,
    "expected": 0.85, "randomised": 0.79, "rhat": 1.02, "ess": 90.0, "divergences": 0.0,
}  # fmt: skip


@pytest.fixture
def work(monkeypatch):
    monkeypatch.syspath_prepend(str(ANALYSES))
    import bayes_coverage_work

    yield bayes_coverage_work
    for name in [n for n in sys.modules if n.startswith("bayes_coverage")]:
        del sys.modules[name]


@pytest.fixture
def study(work):
    import bayes_coverage

    return bayes_coverage


@pytest.mark.parametrize("mean", [0.3, 2.0, 40.0])
def test_a_right_model_is_covered_as_it_expects(work, mean):
    rng = np.random.default_rng(1)
    rate = rng.gamma(2, mean / 2, 6000)
    found = work.interval_scores(rng.poisson(rate[:, None], (6000, 200)), rng.poisson(rate), rng)
    assert found["covered"] == pytest.approx(found["expected"], abs=0.015)
    assert found["randomised"] == pytest.approx(0.8, abs=0.018)
    assert found["covered"] > 0.79


def test_a_wrong_model_is_seen(work):
    rng = np.random.default_rng(2)
    rate = rng.gamma(2, 10, 3000)
    low = work.interval_scores(
        rng.poisson(0.7 * rate[:, None], (3000, 200)), rng.poisson(rate), rng
    )
    narrow = np.rint(rate[:, None] + 0.3 * rng.normal(size=(3000, 200)) * np.sqrt(rate[:, None]))
    sure = work.interval_scores(narrow, rng.poisson(rate), rng)
    for found in (low, sure):
        assert found["covered"] < found["expected"] - 0.05
        assert found["randomised"] < 0.75


def test_scores_are_those_of_a_loop(work):
    panel = work.make_world(CONFIG, 3)
    out = np.flatnonzero(panel["is_censored"].to_numpy())
    rng = np.random.default_rng(0)
    y, demand = panel["y"].to_numpy(float), panel["demand"].to_numpy(float)
    samples = y[out, None] + rng.poisson(2.0, (len(out), 80))
    found = work.score(panel, SimpleNamespace(rows=out, samples=samples), demand * 1.5, seed=0)
    truth, drawn = {}, {}
    for i, row in enumerate(out):
        key = (panel["unique_id"].iloc[row], panel["ds"].iloc[row].strftime("%Y-%m"))
        truth[key] = truth.get(key, 0.0) + demand[row] - y[row]
        drawn[key] = drawn.get(key, 0.0) + samples[i] - y[row]
    low, high = (
        {k: np.quantile(d[::2], q, method="inverted_cdf") for k, d in drawn.items()}
        for q in (0.1, 0.9)
    )
    assert found["series_months"] == len(truth)
    assert found["covered"] == pytest.approx(
        np.mean([low[k] <= truth[k] <= high[k] for k in truth])
    )
    assert found["bias"] == pytest.approx(0.5)
    assert found["lost"] == (panel["demand"] - panel["y"]).sum()
    assert found["lost_mean"] == pytest.approx((samples - y[out, None]).sum(axis=0).mean())


def test_worlds_have_one_layout(work):
    one, two = (work.make_world(CONFIG, seed) for seed in (0, 1))
    for column in ("unique_id", "ds", "dept_id", "store_id"):
        assert one[column].astype(str).tolist() == two[column].astype(str).tolist()
    assert (one["y"] != two["y"]).any()
    assert one["is_censored"].mean() == pytest.approx(0.3, abs=0.02)


def test_answers(study):
    table = pd.DataFrame([SCORES] * 20)
    # Every interval too wide is a failure too.
    assert not study.verdicts(table)["holds"].iloc[3]
    table["lost_inside"] = np.r_[np.ones(16), np.zeros(4)]
    assert study.verdicts(table)["holds"].all()
    assert study.verdicts(table)["asked"].iloc[3] == "12 to 19 of 20"
    for change in (
        {"bias": -0.03},
        {"covered": 0.80},
        {"randomised": 0.75},
        {"lost_inside": np.r_[np.ones(11), np.zeros(9)]},
    ):
        assert not study.verdicts(table.assign(**change))["holds"].all(), change


def test_the_folder_and_what_is_not_run_twice(study, work, monkeypatch, tmp_path):
    run = []

    def fitted(model, config, seed):
        run.append((model.draws, model.treatment, seed))
        return {"seed": seed} | SCORES

    monkeypatch.setattr(work, "replicate", fitted)
    arguments = ["--replicates", "2", "--series", "12", "--out", str(tmp_path / "study")]
    for _ in range(2):
        done = CliRunner().invoke(study.app, arguments)
        assert done.exit_code == 0, done.output
    assert run == [(150, "censor", 0), (150, "censor", 1)]
    names = {p.name for p in (tmp_path / "study").iterdir()}
    assert {"report.html", "replications.csv", "answers.csv", "manifest.json"} <= names
    stored = json.loads((tmp_path / "study/parts/replicate_1.json").read_text())
    assert stored["scores"]["bias"] == 0.01
    # Other settings are another study.
    assert CliRunner().invoke(study.app, [*arguments, "--draws", "200"]).exit_code == 0
    assert run[2:] == [(200, "censor", 0), (200, "censor", 1)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--rate", "1.5"], "--rate"), (["--recovered", "900"], "--recovered"), (["--days", "9"], "--days")],
)  # fmt: skip
def test_wrong_arguments_are_named(study, tmp_path, arguments, said):
    done = CliRunner().invoke(study.app, [*arguments, "--out", str(tmp_path / "x")])
    assert done.exit_code == 2
    assert said in done.stderr
    assert not (tmp_path / "x").exists()
