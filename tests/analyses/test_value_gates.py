"""Posteriors of the main job: their gates stay with the forecast, and a failure stamps the report."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from civstats.report import Report
from civstats.schema import Forecast

FOLDER = Path(__file__).resolve().parents[2] / "analyses"
DAYS = pd.date_range("2024-01-01", periods=3)


@pytest.fixture(scope="module", autouse=True)
def _on_path():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


def drawn(shift: float):
    az = pytest.importorskip("arviz")
    rng = np.random.default_rng(0)
    chains = rng.normal(size=(2, 1500)) + np.array([[0.0], [shift]])
    stats = {"diverging": np.zeros((2, 1500), bool), "energy": rng.normal(size=(2, 1500))}
    return az.from_dict({"mu": chains}, sample_stats=stats)


def backtest(*tables: pd.DataFrame | None) -> SimpleNamespace:
    found = {}
    for k, table in enumerate(tables):
        name = f"Model{k}_censor"
        frame = pd.DataFrame({"unique_id": "a", "ds": DAYS, "cutoff": DAYS[0], name: 1.0})
        frame[f"{name}-median"] = 1.0
        if table is not None:
            frame.attrs["gates"] = table.to_dict("records")
        found[name, DAYS[0]] = Forecast(frame, f"Model{k}", "censor")
    return SimpleNamespace(all_forecasts=found)


@pytest.mark.filterwarnings("ignore:.*ArviZ is undergoing.*:FutureWarning")
def test_a_failing_posterior_stamps_the_report_and_a_sound_one_does_not():
    from civstats.diagnostics import gates

    shown = importlib.import_module("value_gates")
    for shift, sound in ((0.0, True), (3.0, False)):
        report = Report("t")
        held = backtest(None, gates(drawn(shift)))
        shown.stamp(report, held)
        shown.gates_section(report, held)
        text = report.to_markdown()
        assert ("Gates not passed" in text) == (not sound)
        assert ("Every gate is passed at every cutoff" in text) == sound
        assert ("| R-hat: mu" in text) == (not sound)
        assert "Model1\\_censor" in text or "Model1_censor" in text


@pytest.mark.parametrize(("more", "code"), [([], 3), (["--allow-failed-gates"], 0)])
def test_a_study_on_a_posterior_that_fails_fails_unless_told_otherwise(monkeypatch, more, code):
    from typer.testing import CliRunner

    study = importlib.import_module("value_of_instock")
    said = ["BayesDemand_censor, fitted up to 03 Dec 2023: R-hat 1.2"]
    monkeypatch.setattr(study, "run", lambda *_: said)
    result = CliRunner().invoke(study.app, more)
    assert result.exit_code == code
    assert ("R-hat 1.2" in result.output) == (code == 3)


def test_without_a_posterior_nothing_is_said():
    shown = importlib.import_module("value_gates")
    report = Report("t")
    shown.stamp(report, backtest(None))
    shown.gates_section(report, backtest(None))
    assert report.items == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*ArviZ is undergoing.*:FutureWarning")
def test_gates_travel_through_a_backtest_that_compiles_once(monkeypatch):
    from civstats.backtest import cross_validation
    from civstats.data.synthetic import make_panel
    from civstats.models.bayes import _samplers
    from civstats.stockouts.simulate import simulate_stockouts

    models, shown = (importlib.import_module(x) for x in ("value_models", "value_gates"))
    panel = simulate_stockouts(
        make_panel(n_series=4, n_days=150, seed=0), mechanism="inventory", rate=0.1, seed=0
    )
    compiled = []
    real = _samplers.compile_nutpie
    monkeypatch.setattr(
        _samplers, "compile_nutpie", lambda model: compiled.append(1) or real(model)
    )
    model = models.ReviewedBayes(
        treatment="censor", draws=60, tune=100, harmonics=0, last_days=63, n_jobs=1
    )
    result = cross_validation(panel, model, h=7, n_windows=2, n_paths=20, keep_paths=True)
    found = shown.posteriors(result)
    assert len(found) == 2
    assert all({"R-hat", "divergences"} <= set(t["gate"]) for t in found.values())
    assert len(compiled) == 1
    # Each window has a posterior of its own, from its own days.
    first, second = (t.set_index("gate")["value"] for t in found.values())
    assert first["bulk ESS"] != second["bulk ESS"]
    assert result.frame["BayesDemand_censor"].between(0, 1e4).all()
