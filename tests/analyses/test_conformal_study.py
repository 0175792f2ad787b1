"""The conformal study: what it promises and leaves, and how it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.schema import SCORES, level_columns

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ANALYSES))
    yield
    sys.path.remove(str(ANALYSES))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    from conformal_study import app

    out = tmp_path_factory.mktemp("study") / "out"
    arguments = (
        "--series", 6, "--days", 135, "--origins", 14, "--rates", 25, "--mechanisms", "random;inventory",
        "--seeds", 1, "--boot", 20, "--level", 80, "--jobs", 1, "--out", out,
    )  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.slow
def test_it_leaves_the_study_folder(study):
    files = {"report.html", "report.md", "figures", "scores.csv", "bounds.csv", "manifest.json"}
    assert {p.name for p in study.iterdir()} == files
    scores = pd.read_csv(study / "scores.csv")
    assert list(scores.columns) == ["mechanism", "rate", "method", *SCORES]
    assert len(scores) == 2 * 2 * 5 * 5
    assert (scores["n"] == 6 * 14).all()
    shares = scores[scores["metric"].isin(["lower holds", "upper holds", "coverage"])]
    assert shares["value"].between(0, 1).all()
    assert (shares["lo"] <= shares["value"]).all()
    wide = shares.pivot_table(
        index=["mechanism", "model", "method"], columns="metric", values="value"
    )
    np.testing.assert_allclose(wide["coverage"], wide["lower holds"] + wide["upper holds"] - 1)
    # The censored interval's upper end is the model's own, unless its lower end moves it.
    upper = scores[scores["metric"] == "upper end"].set_index(["mechanism", "model", "method"])[
        "value"
    ]
    assert (upper.xs("censored", level=2) - upper.xs("model", level=2)).between(0, 0.3).all()
    assert json.loads((study / "manifest.json").read_text())["config"]["origins"] == 14


@pytest.mark.slow
def test_the_report_is_whole_and_offline(study):
    html = (study / "report.html").read_text()
    assert "https://" not in html
    heads = ("Question", "Both ends", "How the bounds came about", "Limits", "How this was run")
    places = [html.index(f">{x}<") for x in heads]
    assert places == sorted(places)
    assert {p.name for p in (study / "figures").iterdir()} == {"interval_ends.png"}


def test_measures_by_hand():
    from conformal_worlds import measures

    frame = pd.DataFrame(
        dict(zip(level_columns("M_mask", 80), ([1.0, 0.0], [3.0, 4.0]), strict=True))
    )
    found = measures(frame, np.array([4.0, 0.0]), "M_mask", 80)
    assert {k: v.tolist() for k, v in found.items()} == {
        "lower holds": [1, 1], "upper holds": [0, 1], "coverage": [0, 1], "lower end": [1, 0],
        "upper end": [3, 4], "n": [1, 1],
    }  # fmt: skip


def test_nobody_is_held_to_what_was_not_promised():
    from conformal_report import promised, verdicts

    assert promised("inventory", "censored", "lower holds", 80) == 0.9
    assert promised("random", "ordinary", "coverage", 95) == 0.95
    for nothing in (
        ("inventory, far", "censored", "lower holds"),
        ("inventory", "censored", "upper holds"),
        ("inventory", "ordinary", "lower holds"),
        ("random", "sales", "upper holds"),
        ("random", "model", "lower holds"),
        ("random", "oracle", "upper end"),
    ):
        assert np.isnan(promised(*nothing, 80))
    scores = pd.DataFrame({"expected": [0.9, 0.9, np.nan], "hi": [0.89, 0.9, 0.1]})
    made, kept, broken = verdicts(scores)
    assert (made, kept, broken.index.tolist()) == (2, 1, [0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--series", "1"), "--series must be 2 or more"),
        (("--days", "200"), "--days must be 216 or more"),
        (("--rates", "many"), "--rates must be numbers"),
        (("--rates", "120"), "--rates must be percentages"),
        (("--mechanisms", "random;theft"), "but got theft"),
        (("--level", "0.8"), "level is in percent"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, message, tmp_path):
    from conformal_study import app

    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
