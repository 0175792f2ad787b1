"""The level study: what it leaves, what its pieces do, and how it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.schema import SCORES, CivstatsError

ANALYSES = Path(__file__).parents[2] / "analyses"
sys.path.insert(0, str(ANALYSES))

FILES = {
    "report.html", "report.md", "figures", "scores.csv", "differences.csv", "forecasts.parquet",
    "forecasts_sample.parquet", "forecasts_stockouts.parquet", "manifest.json",
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from level_study import app

    out = tmp_path_factory.mktemp("study") / "out"
    arguments = (
        "--series", 6, "--days", 200, "--h", 14, "--windows", 2, "--etsseries", 2, "--trees", 5,
        "--sample-rows", 400, "--boot", 30, "--threads", 1, "--out", out,
    )  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.slow
def test_it_leaves_the_study_folder(study):
    assert {p.name for p in study.iterdir()} == FILES
    scores = pd.read_csv(study / "scores.csv")
    assert list(scores.columns) == ["part", *SCORES]
    assert set(scores["part"]) == {"all", "sample", "stockouts"}
    assert scores["value"].notna().all()
    keys = ["part", "model", "treatment", "metric"]
    pooled = scores[scores["cutoff"].isna()].set_index(keys).sort_index()
    assert (pooled["lo"] <= pooled["hi"]).all()
    assert (pooled.loc["stockouts", "n"] == 12).all()
    assert ("sample", "AutoETS", "ignore", "rmsse") in pooled.index
    # Without stockouts, demand and sales are one.
    for metric in ("rmsse", "scaled_pinball"):
        whole, again = (
            pooled.loc[(part, "LocalLevel", "ignore", metric), "value"]
            for part in ("all", "stockouts")
        )
        assert whole == pytest.approx(again, rel=1e-9)
    differences = pd.read_csv(study / "differences.csv")
    assert set(differences.loc[differences["part"] == "stockouts", "a"]) == {"LocalLevel_censor"}
    manifest = json.loads((study / "manifest.json").read_text())
    assert manifest["config"]["etsseries"] == 2
    assert 0.1 < manifest["days"] < 0.2
    forecasts = pd.read_parquet(study / "forecasts.parquet")
    assert len(forecasts) == 6 * 2 * 14


@pytest.mark.slow
def test_the_report_is_whole_and_offline(study):
    html = (study / "report.html").read_text()
    assert "https://" not in html
    heads = ("Question", "Scores", "Stockouts on top", "Limits")
    places = [html.index(f">{x}<") for x in heads]
    assert places == sorted(places)
    assert {p.name for p in (study / "figures").iterdir()} == {"scaled_ratios.png"}


def test_models_side_by_side_must_be_of_the_same_rows():
    from level_runs import joined

    days = pd.date_range("2024-01-02", periods=2)
    keys = pd.DataFrame({"unique_id": "a", "ds": days, "cutoff": pd.Timestamp("2024-01-01")})
    both = joined([keys.assign(A_ignore=1.0), keys.assign(B_ignore=2.0)])
    assert list(both.columns) == ["unique_id", "ds", "cutoff", "A_ignore", "B_ignore"]
    with pytest.raises(CivstatsError, match="different series or days"):
        joined([keys.assign(A_ignore=1.0), keys.assign(B_ignore=2.0, unique_id="b")])


def test_the_sample_of_series_is_drawn_whole():
    from level_runs import _random_series

    from civstats.data.synthetic import make_panel

    panel = make_panel(n_series=9, n_days=60, seed=1)
    part = _random_series(panel, 4, 3)
    assert part["unique_id"].cat.categories.size == 4
    lengths = panel.groupby("unique_id", observed=True).size()
    held = part.groupby("unique_id", observed=True).size()
    np.testing.assert_array_equal(held, lengths[held.index])
    assert _random_series(panel, None, 3) is panel


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--models", "LocalLevel"), "--models must be"),
        (("--models", "IMAPA,LightGBM"), "--models must be"),
        (("--models", "LocalLevel,Oracle"), "--models must be"),
        (("--windows", "0"), "--windows must be 1 or more"),
        (("--sample-rows", "0"), "--sample-rows must be 1 or more"),
        (("--etsseries", "-1"), "--etsseries must be 0 or more"),
        (("--rate", "120"), "rate"),
        (("--data", "m5"), "needs --path"),
        (("--data", "m5", "--path", "nowhere.zip"), "nowhere.zip"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, message, tmp_path):
    from level_study import app

    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
