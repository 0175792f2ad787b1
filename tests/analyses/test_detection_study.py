"""The detection study: its curves and bootstrap by hand, its survey, and what its command leaves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.schema import SCORES, STATUSES, validate_panel

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ANALYSES))
    yield
    sys.path.remove(str(ANALYSES))


def made(score: np.ndarray, out: np.ndarray, seed: int = 0):
    from detection_worlds import DETECTORS, Found

    rng = np.random.default_rng(seed)
    n = len(out)
    scores = {d: rng.random(n) for d in DETECTORS} | {"DemandFilter": score}
    return Found(np.arange(n) % 20, np.arange(n) // 20, out, np.ones(n, dtype=bool), scores, {})


def test_the_curve_is_the_share_found_at_the_share_of_false_alarms():
    from detection_tables import Pool

    score = np.array([0.9, 0.8, 0.8, 0.8, 0.5, 0.1])
    out = np.array([True, True, False, False, True, False])
    pool = Pool([made(score, out)], True, n_boot=3, seed=1)
    at = np.array([0.0, 1 / 3, 2 / 3, 0.9, 1.0])
    # Three days tie at 0.8: one of them out, two in stock, called at random among themselves.
    np.testing.assert_allclose(pool.curve("DemandFilter", at)[0], [1 / 3, 0.5, 1.0, 1.0, 1.0])


def test_worlds_are_pooled_and_a_detector_that_knows_beats_one_that_does_not():
    from detection_tables import frames

    rng = np.random.default_rng(2)
    worlds = []
    for k in range(2):
        out = rng.random(3000) < 0.2
        worlds.append(made(np.where(out, rng.beta(4, 2, 3000), rng.beta(2, 4, 3000)), out, k))
    scores, curves, reliability = frames({("random", 0.15): worlds}, 60)
    assert list(scores.columns) == ["mechanism", "rate", "movers", *SCORES]
    assert set(scores["movers"]) == {"fast"}
    at = scores[(scores["metric"] == "found") & (scores["level"] == 5.0)].set_index("model")
    blind, knowing = at.loc["zero run"], at.loc["DemandFilter"]
    assert blind["lo"] < 0.05 < blind["hi"]
    gain = at.loc["DemandFilter - zero run"]
    assert gain["value"] == pytest.approx(knowing["value"] - blind["value"])
    assert gain["lo"] > 0
    out, score = (
        np.concatenate([w.out if k else w.scores["DemandFilter"] for w in worlds]) for k in (1, 0)
    )
    bar = np.quantile(score[~out], 0.95)
    assert knowing["value"] == pytest.approx((score[out] > bar).mean(), abs=0.01)
    precision = scores[(scores["metric"] == "precision") & (scores["level"] == 5.0)]
    precision = precision.set_index("model").loc["DemandFilter", "value"]
    assert precision == pytest.approx(out[score > bar].mean(), abs=0.02)
    line = curves[(curves["detector"] == "zero run")]
    np.testing.assert_allclose(line["found"], line["false_alarms"], atol=0.08)
    assert (np.diff(reliability["p_out"]) > 0).all()
    assert reliability["n"].sum() <= 6000


def test_the_bootstrap_knows_that_days_of_a_series_hang_together():
    from detection_tables import Pool

    # Whole series are out or in: twenty independent things, however many days.
    out = np.arange(4000) % 20 < 10
    pool = Pool([made(np.zeros(4000), out)], True, n_boot=300, seed=0)
    share = pool.share(out.astype(float), np.ones(4000))
    assert share[0] == 0.5
    assert share[1:].std() == pytest.approx(0.5 / np.sqrt(20), rel=0.2)


def test_the_survey_counts_item_days_on_sale_by_department():
    from detection_excess import by_department, drawn

    from civstats.stockouts.detect import Detection

    days = pd.date_range("2024-01-01", periods=20)
    panel = validate_panel(
        pd.concat(
            pd.DataFrame(
                {"unique_id": k, "ds": days, "y": y, "dept_id": d, "item_id": k, "cat_id": "c",
                 "store_id": "s", "state_id": "t"}
            )
            for k, d, y in (("a", "A", 0), ("b", "B", 1), ("c", "B", 0))
        )
    )  # fmt: skip
    p = np.zeros(60)
    p[:10], p[12] = 1.0, 0.6
    p[40:50] = np.nan
    status = pd.Categorical.from_codes(np.where(np.isnan(p), 3, 0), pd.Index(STATUSES))
    frame = panel[["unique_id", "ds", "y"]].assign(p_out=p, status=status)
    found = Detection(frame, 0.5, 0.05, 0.5, 0.5)
    table = by_department(panel, found, 50, 0).set_index("department")
    assert table.loc["A", "out"] == pytest.approx(10.6 / 20)
    assert table.loc["A", "sure"] == pytest.approx(11 / 20)
    assert table.loc["A", "long"] == pytest.approx(10 / 20)
    assert table.loc["B", "out"] == 0
    assert table.loc["B", "days"] == 30
    assert table.loc["B", "delisted"] == pytest.approx(10 / 40)
    assert table.loc["all", "out"] == pytest.approx(10.6 / 50)
    assert table.loc["all", "lo"] <= table.loc["all", "out"] <= table.loc["all", "hi"]
    assert set(drawn(panel, found, 0)["unique_id"]) == {"a"}


@pytest.mark.slow
def test_the_command_leaves_the_study_folder(tmp_path):
    from detection_study import app

    out = tmp_path / "out"
    arguments = (
        "--series", 12, "--days", 150, "--mechanisms", "random", "--rates", "15", "--seeds", 1,
        "--rounds", 1, "--sample-rows", 600, "--boot", 20, "--out", out,
    )  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} == {
        "report.html", "report.md", "figures", "scores.csv", "curves.csv", "reliability.csv",
        "manifest.json",
    }  # fmt: skip
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores["metric"]) == {
        "found", "precision", "false_alarms", "precision_own_bar", "out_of_zeros",
    }  # fmt: skip
    html = (out / "report.html").read_text()
    assert "https://" not in html
    assert "stays invisible" in html
    assert {p.name for p in (out / "figures").iterdir()} == {"found_15.png", "reliability.png"}
    assert json.loads((out / "manifest.json").read_text())["config"]["sample_rows"] == 600


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rates", "0"), "rate must be a share"),
        (("--rates", "many"), "rates must be numbers"),
        (("--mechanisms", "weather"), "--mechanisms must be some of"),
        (("--sample-rows", "0"), "--sample-rows must be 1 or more"),
        (("--data", "m5"), "needs --path"),
        (("--data", "m5", "--path", "nowhere.zip"), "nowhere.zip"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, message, tmp_path):
    from detection_study import app

    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
