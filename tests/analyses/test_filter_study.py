"""The filter study: what its command leaves, its sums and claims by hand, its planted error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.schema import SCORES

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"
TINY = (
    "--series", 8, "--days", 70, "--worlds", "model", "--rates", "30", "--seeds", 1, "--rows", 300,
    "--draws", 19, "--ranked", 60, "--boot", 20, "--jobs", 1,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ANALYSES))
    yield
    sys.path.remove(str(ANALYSES))


def command(out: Path) -> Path:
    from filter_study import app

    result = CliRunner().invoke(app, [str(a) for a in (*TINY, "--out", out)])
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return command(tmp_path_factory.mktemp("study") / "out")


def test_it_leaves_the_study_folder(study):
    assert {p.name for p in study.iterdir()} == {
        "report.html", "report.md", "figures", "scores.csv", "estimates.csv", "calibration.csv",
        "manifest.json",
    }  # fmt: skip
    assert {p.name for p in (study / "figures").iterdir()} == {
        "recovered_mean.png", "band_coverage_model.png", "lost_ranks.png", "calibration.png",
    }  # fmt: skip
    scores = pd.read_csv(study / "scores.csv")
    assert list(scores.columns) == ["world", "rate", *SCORES]
    assert set(scores["treatment"]) == {"sales", "ignore", "mask", "censor", "oracle"}
    assert np.isfinite(scores[["value", "lo", "hi", "n"]]).all(axis=None)
    assert (scores["lo"] <= scores["hi"]).all()
    coverage = scores[scores["metric"].isin(["coverage", "recovered_coverage", "share"])]
    assert coverage["value"].between(0, 1).all()
    share = scores[(scores["metric"] == "share") & (scores["regime"] == "censored")]
    assert share["value"].item() == pytest.approx(0.3, abs=0.06)
    estimates = pd.read_csv(study / "estimates.csv")
    assert len(estimates) == 4
    assert np.isfinite(estimates.select_dtypes("number")).all(axis=None)
    manifest = json.loads((study / "manifest.json").read_text())
    assert manifest["config"]["ranked"] == 60


def test_the_counts_of_the_calibration_are_those_of_its_ranks(study):
    table = pd.read_csv(study / "calibration.csv")
    assert table["family"].nunique() == 5
    bins = table.filter(like="bin_")
    assert bins.shape[1] == 16
    assert (bins.sum(axis=1) == table["n"]).all()
    assert table["n"].max() == 60
    assert table["p_value"].between(0, 1).all()
    planted = table["family"].str.startswith("planted")
    # Sixty series are enough for the planted error.
    assert table.loc[planted, "p_value"].min() < 1e-4 < table.loc[~planted, "p_value"].min()


def test_the_report_is_whole_and_offline(study):
    html = (study / "report.html").read_text()
    assert "https://" not in html
    headings = ("Question", "What is claimed", "Mean demand", "Bands of the level",
                "Recovered demand and its draws", "Simulation-based calibration", "Limits")  # fmt: skip
    places = [html.index(f">{x}<") for x in headings]
    assert places == sorted(places)
    assert "nan" not in (study / "report.md").read_text().lower().replace("finance", "")


def test_the_same_seed_gives_the_same_files(study, tmp_path):
    again = command(tmp_path / "again")
    for name in ("scores.csv", "estimates.csv", "calibration.csv"):
        assert (again / name).read_bytes() == (study / name).read_bytes(), name


def sums(**values: float) -> dict[str, np.ndarray]:
    """Sums of one world that do not vary."""
    names = {
        "n": 100, "n_short": 40, "n_out": 20, "level": 300, "mean": 300, "demand": 310, "sales": 200,
        "recovered": 310, "demand_short": 150, "recovered_short": 150, "lost": 110,
        "truly_lost": 110, "recovered_80": 36, "recovered_95": 39, "expected_80": 36,
        "expected_95": 39,
    }  # fmt: skip
    for k, share in ((80, 0.8), (95, 0.95)):
        names |= {f"level_{k}_{d}": share * names[d] for d in ("n", "n_short", "n_out")}
    return {k: np.full(11, float(v)) for k, v in (names | values).items()}


def test_scores_and_claims_by_hand():
    from filter_tables import claims, score_frame

    found = score_frame(
        {
            ("model", 0.4, "ignore"): [sums(level=210), sums(level=190)],
            ("model", 0.4, "mask"): [sums(level=150)] * 2,
            ("model", 0.4, "censor"): [
                sums(level=297, recovered_80=34, level_80_n_out=15), sums(level=306, lost=121)
            ],
            ("model", 0.4, "oracle"): [sums(level=303), sums(level=297)],
        }
    )  # fmt: skip
    value = found.set_index(["treatment", "metric", "regime"])["value"].sort_index()
    assert value["ignore", "mean_ratio", "all_days"].item() == pytest.approx(400 / 600)
    assert value["sales", "mean_ratio", "all_days"].item() == pytest.approx(400 / 620)
    assert value["censor", "mean_over_oracle", "all_days"].item() == pytest.approx(603 / 600)
    assert value["censor", "lost_ratio", "censored"].item() == pytest.approx(231 / 220)
    assert value["sales", "share", "out"].item() == pytest.approx(0.2)
    excess = found[(found["metric"] == "recovered_excess") & (found["level"] == 80)]
    assert excess["value"].item() == pytest.approx(-2 / 80)
    assert excess["lo"].item() == pytest.approx(-2 / 80)
    table = claims(found).set_index("claim")
    assert table.loc["mean demand, over that with demand known", "within"] == 1
    assert table.loc["mean demand, over that with demand known", "worst"] == pytest.approx(0.005)
    out = table.loc["level's bands, days wholly out"]
    assert (out["cells"], out["within"], out["sure"]) == (2, 1, 1)
    assert out["worst"] == pytest.approx(31 / 40 - 0.8)
    assert out["where"] == "40 % of days, 80 % bands"
    assert table.loc["recovered demand's bands, over expected", "within"] == 1


def test_the_oracle_is_one_and_the_same_at_every_rate():
    from filter_worlds import Task, _known, demand_of

    from civstats.stockouts.simulate import simulate_stockouts

    demand = demand_of(Task(3, "retail"), {"series": 6, "days": 80})
    known = [
        _known(simulate_stockouts(demand, mechanism="inventory", rate=r, seed=3))
        for r in (0.1, 0.4)
    ]
    pd.testing.assert_frame_equal(*known)
    np.testing.assert_array_equal(known[0]["y"], demand["demand"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rates", "0"), "--rates must be percentages above 0"),
        (("--rates", "many"), "--rates must be numbers"),
        (("--worlds", "moon"), "--worlds must be some of"),
        (("--ranked", "0"), "--ranked must be 1 or more"),
        (("--draws", "50"), "one less than a multiple of 10"),
        (("--days", "20"), "--days must be 60 or more"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, message, tmp_path):
    from filter_study import app

    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
