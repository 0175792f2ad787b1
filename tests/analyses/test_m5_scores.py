"""The study of M5's scores: what it leaves, and how it refuses."""

from __future__ import annotations

import json
import sys
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.schema import SCORES

ANALYSES = Path(__file__).parents[2] / "analyses"
sys.path.insert(0, str(ANALYSES))

FILES = {"report.html", "report.md", "scores.csv", "forecasts.parquet", "manifest.json"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from m5_scores import app

    out = tmp_path_factory.mktemp("study") / "out"
    arguments = ["--h", "14", "--paths", "20", "--models", "SeasonalNaive,SeasonalWindowAverage"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out


def test_it_leaves_the_study_folder(study):
    assert {p.name for p in study.iterdir() if p.is_file()} == FILES
    scores = pd.read_csv(study / "scores.csv")
    assert list(scores.columns) == [*SCORES, "m5_level"]
    assert len(scores) == 2 * 2 * 13
    by = scores.groupby(["model", "metric"])["value"]
    for _, values in by:
        assert values.iloc[0] == pytest.approx(values.iloc[1:].mean(), rel=1e-9)
    assert scores["note"].str.startswith("not M5's official score").all()
    forecasts = pd.read_parquet(study / "forecasts.parquet")
    assert {"SeasonalNaive_ignore", "SeasonalWindowAverage_ignore"} < set(forecasts.columns)
    assert len(forecasts["cutoff"].unique()) == 1
    assert len(forecasts) == 40 * 14
    manifest = json.loads((study / "manifest.json").read_text())
    assert manifest["config"]["paths"] == 20
    assert "40 of 30,490 series" in manifest["caveat"]


def test_the_report_is_whole_and_offline(study):
    html = (study / "report.html").read_text()
    assert "https://" not in html
    assert "Not M5's official score" in unescape(html)
    assert "published figures" not in html  # they are of M5
    assert (study / "figures" / "scores_by_level.png").exists()
    assert "Dot plot by level." in unescape(html)
    for head in ("Question", "Scores", "Limits", "How this was run"):
        assert f">{head}<" in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--models", "Oracle"), "Oracle unknown; there are"),
        (("--models", ""), "none unknown"),
        (("--paths", "-1"), "--paths must be 0 or more"),
        (("--h", "0"), "h must be"),
        (("--data", "m5"), "needs --path"),
        (("--data", "m5", "--path", "nowhere.zip"), "nowhere.zip"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, message, tmp_path):
    from m5_scores import app

    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
