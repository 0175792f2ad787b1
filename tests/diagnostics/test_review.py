"""The review command end to end: what it writes, when it refuses, and that its numbers are right."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.censoring import NegBin
from civstats.demand_filter import BOUND
from tests.diagnostics.stand_in import A, StandIn
from tests.diagnostics.worlds import panel_of

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture
def command(monkeypatch):
    """The command, with a model whose posterior is exact in the place of the sampled one."""
    monkeypatch.syspath_prepend(str(ANALYSES))
    import posterior_review

    made: dict = {"spoil": ""}
    panel = panel_of(n_series=4, n_days=84, mean=3.0)
    monkeypatch.setattr(posterior_review, "load", lambda config: panel)
    monkeypatch.setattr(
        posterior_review,
        "build_model",
        lambda config: StandIn(config["treatment"], made["spoil"]),
    )
    made["app"], made["panel"] = posterior_review.app, panel
    yield made
    for name in [n for n in sys.modules if n.startswith("posterior_")]:
        del sys.modules[name]


def invoke(command: dict, out: Path, *more: str):
    args = ["--out", str(out), "--checked", "60", "--boot", "50", "--rows", "150", *more]
    return CliRunner().invoke(command["app"], args)


def test_a_good_posterior_is_reviewed(command, tmp_path):
    result = invoke(command, tmp_path)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "diagnostics.json").read_text())
    assert found["passed"]
    assert found["stamp"] == ""
    page = (tmp_path / "report.html").read_text()
    for heading in (
        "Gates", "Chains", "Prior predictive check", "Departments", "Pooling",
        "Does the model reproduce the sales?", "Calibration", "Leaving out", "Prior sensitivity",
        "Beside the demand filter", "When a gate fails",
    ):  # fmt: skip
        assert f">{heading}</h2>" in page, heading
    assert "Gates not passed" not in page
    assert (tmp_path / "posterior.nc").stat().st_size > 1000
    # Lost units of the posterior against the truth of this world.
    lost = pd.read_csv(tmp_path / "parameters.csv").set_index("parameter").loc["lost units"]
    panel = command["panel"]
    short = panel["is_censored"].to_numpy()
    truth = float((panel["demand"] - panel["y"])[short].sum())
    assert abs(lost["mean"] - truth) < 0.35 * truth
    assert 0 < lost["mcse_mean"] < 0.1 * lost["sd"]


def test_a_posterior_that_fails_stops_the_study_and_says_why(command, tmp_path):
    command["spoil"] = "apart"
    result = invoke(command, tmp_path)
    assert result.exit_code == 3
    assert "R-hat" in result.output
    assert not json.loads((tmp_path / "diagnostics.json").read_text())["passed"]
    page = (tmp_path / "report.html").read_text()
    assert "Gates not passed" in page
    assert "What was not done" in page
    assert "Prior sensitivity" not in page
    assert (tmp_path / "posterior.nc").exists()


def test_told_otherwise_the_study_goes_on_under_a_stamp(command, tmp_path):
    command["spoil"] = "apart"
    result = invoke(command, tmp_path, "--allow-failed-gates")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report.html").read_text()
    assert "Gates not passed" in page
    assert ">Prior sensitivity</h2>" in page


@pytest.mark.parametrize("treatment", ["ignore", "mask"])
def test_where_nothing_is_told_as_lost_the_rest_is_reviewed(command, tmp_path, treatment):
    result = invoke(command, tmp_path, "--treatment", treatment)
    assert result.exit_code == 0, result.output
    names = pd.read_csv(tmp_path / "parameters.csv")["parameter"]
    assert not names.str.contains("lost").any()
    assert ">Pooling</h2>" in (tmp_path / "report.html").read_text()


def test_a_panel_without_stockouts_is_reviewed(command, tmp_path, monkeypatch):
    import posterior_review

    panel = command["panel"].assign(y=command["panel"]["demand"], is_censored=False)
    monkeypatch.setattr(posterior_review, "load", lambda config: panel)
    result = invoke(command, tmp_path, "--rate", "0")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "diagnostics.json").read_text())["passed"]


def test_draws_are_kept_when_a_check_fails(command, tmp_path, monkeypatch):
    import posterior_work

    def broken(*_):
        raise ValueError("broken")

    monkeypatch.setattr(posterior_work, "leave_out", broken)
    assert invoke(command, tmp_path).exit_code == 1
    assert (tmp_path / "posterior.nc").exists()
    assert not (tmp_path / "report.html").exists()


def test_part_days_lose_what_their_hours_out_would_have_sold(command):
    """Half a day in stock, by the slow sum: E[rest | sales] of a gamma known from half a day."""
    import posterior_work

    panel = command["panel"].copy()
    part = ~panel["is_censored"].to_numpy() & (np.arange(len(panel)) % 5 == 0)
    panel["in_stock_share"] = np.where(part, 0.5, np.where(panel["is_censored"], 0.0, 1.0))
    model = StandIn().fit(panel)
    found = posterior_work.lost_units(model, panel)["lost units"].ravel()
    y, kind = model.obs.y, model.obs.kind
    assert part.sum() > 20
    for at in (0, 777):
        level = model._levels(np.array([at]))[0][model.series]
        total = 0.0
        for i in range(len(y)):
            mu = np.exp(level[i])
            if part[i]:
                total += 0.5 * mu * (A + y[i]) / (A + 0.5 * mu)
            elif kind[i] == BOUND:
                total += float(NegBin(A).conditional_mean(y[i], level[i])) - y[i]
            elif kind[i] == 2:
                total += mu
        assert found[at] == pytest.approx(total, rel=1e-9)


def test_lost_units_are_those_of_every_draw(command):
    import posterior_work

    panel = command["panel"]
    model = StandIn().fit(panel)
    lost = posterior_work.lost_units(model, panel)
    assert set(lost) == {"lost units", "lost units, D0", "lost units, D1"}
    np.testing.assert_allclose(lost["lost units"], lost["lost units, D0"] + lost["lost units, D1"])
    eta, _ = model.predictor(np.array([7]))
    bound, silent = model.obs.kind == BOUND, model.obs.kind == 2
    y = panel["y"].to_numpy(dtype=float)
    expected = (NegBin(A).conditional_mean(y[bound], eta[0, bound]) - y[bound]).sum()
    expected += np.exp(eta[0, silent]).sum()
    assert lost["lost units"].ravel()[7] == pytest.approx(expected, rel=1e-6)
    assert posterior_work.lost_units(StandIn("mask").fit(panel), panel) == {}


def test_a_completed_pair_agrees_with_what_was_seen(command):
    import posterior_work

    panel = command["panel"]
    model = StandIn().fit(panel)
    demand, completed = posterior_work.completed_pair(model, 80, 3)
    y, kind = panel["y"].to_numpy(dtype=float), model.obs.kind
    assert demand.shape == completed.shape == (80, len(panel))
    np.testing.assert_array_equal(
        completed[:, kind == 0], np.repeat(y[None, kind == 0], 80, axis=0)
    )
    assert (completed[:, kind == BOUND] >= y[kind == BOUND]).all()
    assert (completed[:, kind == BOUND] > y[kind == BOUND]).mean() > 0.3


def test_no_pooling_is_the_maximum_of_the_series_alone(command):
    import posterior_pooling

    panel = command["panel"]
    model = StandIn().fit(panel)
    table = posterior_pooling.pooling_table(model, panel)
    s = 2
    mine = (model.series == s) & (model.obs.kind != 2)
    grid = np.linspace(-2, 4, 60001)
    y, bound = model.obs.y[mine], model.obs.kind[mine] == BOUND
    terms = np.zeros_like(grid)
    for value, flag in zip(y, bound, strict=True):
        terms += NegBin(A).loglik(value, grid, flag)
    row = table[table["row"].str.startswith("s2") & (table["way"] == "no pooling")].iloc[0]
    assert row["value"] == pytest.approx(grid[terms.argmax()], abs=2e-4)
    k = terms.argmax()
    sd = (-(terms[k + 100] - 2 * terms[k] + terms[k - 100]) / (grid[100] - grid[0]) ** 2) ** -0.5
    assert row["hi"] - row["value"] == pytest.approx(1.2815516 * sd, rel=0.01)
    nothing = posterior_pooling.best(
        NegBin(A), np.array([3.0, 2]), np.zeros(2), np.ones(2, bool), np.ones(2)
    )
    assert np.isnan(nothing).all()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--treatment", "guess"], "treatment"),
        (["--family", "gamma"], "--family must be one of"),
        (["--draws", "1"], "--draws must be 50"),
        (["--data", "m5"], "--path"),
        (["--rate", "140"], "rate"),
    ],
)
def test_wrong_options_are_refused_before_any_work(command, tmp_path, args, message):
    result = invoke(command, tmp_path, *args)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_fractional_sales_under_counts_are_refused(command, tmp_path):
    command["panel"].loc[3, "y"] = np.float32(1.5)
    result = invoke(command, tmp_path)
    assert result.exit_code == 2
    assert "1 row(s) have fractional sales" in result.output
