"""The calibration study: its worlds, its planted error, and the sampled model itself (slow)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.diagnostics.stand_in import StandIn

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(ANALYSES))
    import sbc_study

    yield sbc_study
    for name in [n for n in sys.modules if n.startswith("sbc_")]:
        del sys.modules[name]


@pytest.fixture
def exact(study, monkeypatch):
    """The study with a model whose posterior is exact and whose prior is known."""
    monkeypatch.setattr(study, "build_model", lambda case, sampling: StandIn(chains=1))
    return study


def invoke(study, out: Path, *more: str):
    return CliRunner().invoke(study.app, ["--out", str(out), *more])


def test_worlds_hold_what_the_prior_drew_and_the_shelf_left(study):
    import sbc_worlds

    model = StandIn()
    whole = sbc_worlds.template("negbin", 3)
    prior = model.prior_draws(whole, 4, 3)
    worlds = list(sbc_worlds.replicates("negbin", 4, 3, model))
    past = (whole["ds"] < whole["ds"].min() + pd.Timedelta(days=sbc_worlds.DAYS)).to_numpy()
    for k, one in enumerate(worlds):
        demand = prior["demand"].to_numpy()[k]
        stock = whole["stock"].to_numpy()
        np.testing.assert_array_equal(one.panel["y"], np.minimum(demand, stock)[past])
        np.testing.assert_array_equal(one.panel["is_censored"], (demand >= stock)[past])
        assert one.truth[sbc_worlds.TOTAL] == demand[~past].sum()
        lost = (demand - np.minimum(demand, stock))[past]
        assert one.truth[sbc_worlds.LOST] == lost.sum()
        money = np.repeat(np.linspace(0.5, 3, 4), sbc_worlds.DAYS)
        assert one.truth[sbc_worlds.VALUE] == pytest.approx(lost @ money)
        assert len(one.truth["level"]) == 4
    share = np.mean([one.panel["is_censored"].mean() for one in worlds])
    assert 0.15 < share < 0.75


def test_levels_of_weeks_to_come_are_not_ranked(study):
    import sbc_worlds

    weeks = (sbc_worlds.DAYS + sbc_worlds.AHEAD) // 7
    value = np.arange(3 * weeks)
    kept = sbc_worlds._in_history(value, "level", 3)
    assert kept.reshape(3, -1).tolist() == [list(range(s * weeks, s * weeks + 6)) for s in range(3)]
    assert sbc_worlds._in_history(value, "item_effect", 3) is value


def test_an_exact_posterior_passes_and_the_planted_error_does_not(exact, tmp_path):
    result = invoke(
        exact, tmp_path, "--replicates", "60", "--cases", "negbin,planted: D > y", "--draws", "300",
        "--chains", "1",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "calibration.csv").set_index(["model", "quantity"])
    good = table.loc["negbin"]
    assert set(good.index) == {"level", "forecast total", "lost units", "value of lost units"}
    assert good["inside_all"].all()
    planted = table.loc["planted: D > y"]
    assert set(planted.index) == {"level", "forecast total"}
    assert not planted["inside"].any()
    assert (planted["mean"] < 0.45).all()
    page = (tmp_path / "report.html").read_text()
    assert "leaves the band for 2 of 2" in page
    assert (tmp_path / "ranks.csv").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--cases", "binomial"], "--cases must be some of"),
        (["--replicates", "1"], "--replicates must be 2"),
        (["--draws", "10", "--chains", "1"], "--draws x --chains"),
    ],
)
def test_wrong_options_are_refused(study, tmp_path, args, message):
    result = invoke(study, tmp_path, *args)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.slow
def test_the_sampled_model_is_calibrated_and_the_planted_error_shows(study, tmp_path):
    pytest.importorskip("nutpie")
    result = invoke(
        study, tmp_path, "--replicates", "40", "--cases", "poisson,negbin,planted: D > y",
        "--draws", "300", "--tune", "300",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = pd.read_csv(tmp_path / "calibration.csv")
    real = table[~table["model"].str.startswith("planted")]
    assert real["inside_all"].all(), real
    planted = table[table["model"].str.startswith("planted")]
    assert planted["p_value"].min() < 0.01, planted
