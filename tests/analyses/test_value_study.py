"""The value study: what its command leaves, how it goes on, its tables by hand, the truth it holds to."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"
TINY = (
    "--replications", 2, "--treated", 1, "--rates", "25", "--models", "LightGBM", "--series", 8,
    "--days", 220, "--paths", 60, "--top", 2, "--rounds", 20, "--rows", 3000, "--jobs", 1,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ANALYSES))
    yield
    sys.path.remove(str(ANALYSES))


def invoke(*args):
    from value_study import app

    return CliRunner().invoke(app, [str(a) for a in args])


def test_it_leaves_its_folder_and_goes_on_where_it_stopped(tmp_path):
    out = tmp_path / "out"
    result = invoke(*TINY, "--out", out)
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} >= {
        "report.html", "report.md", "coverage.csv", "totals.csv", "top_k.csv", "top_k_paired.csv",
        "chances.csv", "worlds.csv", "replications.parquet", "manifest.json", "parts",
    }  # fmt: skip
    totals = pd.read_csv(out / "totals.csv")
    # Two worlds under censor, the first of them under the other treatments as well.
    assert set(totals.loc[totals["treatment"] == "censor", "replications"]) == {2}
    assert set(totals.loc[totals["treatment"] != "censor", "replications"]) == {1}
    held = pd.read_parquet(out / "replications.parquet")
    units = held[(held["measure"] == "units") & (held["treatment"] == "censor")]
    keys = ["seed", "availability", "estimand"]
    by = units.pivot_table(index=keys, columns="level", values="truth", aggfunc="sum")
    np.testing.assert_allclose(by["series"], by["portfolio"])
    np.testing.assert_allclose(by["department"], by["portfolio"])
    shelf = units[(units["availability"] == "shelf") & (units["level"] == "portfolio")]
    truth = shelf.pivot_table(index="seed", columns="estimand", values="truth")
    assert (truth["averted"] <= truth["gone"]).all()
    assert (truth["gone"] < truth["wanted"]).all()
    assert (truth["gone"] > 0).all()
    # What is kept is not done again; what other settings made is refused.
    first = {p: p.stat().st_mtime_ns for p in (out / "parts").glob("*.parquet")}
    gone = sorted(first)[0].name.rsplit("-", 1)[0]
    for path in (out / "parts").glob(f"{gone}-*"):
        path.unlink()
    assert invoke(*TINY, "--out", out).exit_code == 0
    again = {p: p.stat().st_mtime_ns for p in (out / "parts").glob("*.parquet")}
    assert set(again) == set(first)
    assert {p.name.rsplit("-", 1)[0] for p in first if again[p] != first[p]} == {gone}
    pd.testing.assert_frame_equal(pd.read_parquet(out / "replications.parquet"), held)
    other = invoke(*TINY, "--learning-rate", 0.2, "--out", out)
    assert other.exit_code == 2
    assert "other settings" in other.output


def test_what_is_wrong_is_said_in_one_line(tmp_path):
    for args, text in (
        (("--rates", "0"), "above 0 and below 100"),
        (("--models", "Oracle"), "some of LocalLevel"),
        (("--series", 2), "--series must be 6 or more"),
    ):
        result = invoke(*args, "--out", tmp_path / "no")
        assert result.exit_code == 2
        assert text in result.output


def _held(inside, expected, seeds, level="series"):
    n = len(inside)
    cell = {"rate": 0.15, "model": "m", "treatment": "censor", "availability": "shelf"}
    return pd.DataFrame(
        {
            "inside": inside, "expected": expected, "seed": seeds, "level": level,
            "measure": "units", "estimand": "gone", "truth": 10.0, "mean": 11.0, "sd": 2.0,
            "lo": 8.0, "hi": 13.0, "group": [str(k) for k in range(n)],
        }
    ).assign(**cell)  # fmt: skip


def test_coverage_is_held_to_what_the_model_expects_and_a_replication_is_a_cluster():
    from value_study_tables import coverage_frame, surprise_band, total_frame

    rng = np.random.default_rng(0)
    seeds = np.repeat(np.arange(200), 20)
    alone = coverage_frame(_held(rng.random(4000) < 0.9, 0.9, seeds)).iloc[0]
    assert alone["holds"]
    assert alone["bias"] == pytest.approx(0.1)
    half = (alone["gap_hi"] - alone["gap_lo"]) / 2
    assert half == pytest.approx(1.96 * np.sqrt(0.9 * 0.1 / 4000), rel=0.15)
    # Series that fail together are one piece of evidence.
    together = coverage_frame(_held(np.repeat(rng.random(200) < 0.9, 20), 0.9, seeds)).iloc[0]
    wide = (together["gap_hi"] - together["gap_lo"]) / 2
    assert wide == pytest.approx(np.sqrt(20) * half, rel=0.25)
    short = coverage_frame(_held(rng.random(4000) < 0.8, 0.9, seeds)).iloc[0]
    assert not short["holds"]
    assert short["gap"] == pytest.approx(-0.1, abs=0.03)
    assert surprise_band(200) == (149, 171)
    assert surprise_band(20) == (12, 19)
    for n_inside, holds in ((148, False), (149, True), (171, True), (172, False)):
        held = _held(np.arange(200) < n_inside, 0.8, np.arange(200), "portfolio")
        row = total_frame(held).iloc[0]
        assert (row["inside"], row["holds"]) == (n_inside, holds)


def test_treatments_are_compared_on_the_same_replications():
    from value_study_tables import paired_frame

    rng = np.random.default_rng(1)
    hard = rng.random(50)
    cell = {"rate": 0.15, "model": "m", "availability": "shelf", "estimand": "gone", "k": 5}
    top = pd.concat(
        [
            pd.DataFrame(
                {"seed": seeds, "precision": hard[seeds] - loss, "regret": 10 * loss, "best": 50.0}
            ).assign(treatment=treatment, **cell)
            for treatment, loss, seeds in (
                ("censor", 0.0, np.arange(50)),
                ("mask", 0.2, np.arange(20)),
            )
        ]
    )
    row = paired_frame(top).iloc[0]
    assert (row["against"], row["replications"]) == ("mask", 20)
    # What makes a world hard is hard for both: the difference is known exactly.
    assert row["precision"] == pytest.approx(0.2)
    assert row["precision_hi"] - row["precision_lo"] == pytest.approx(0, abs=1e-9)
    assert row["regret"] == pytest.approx(-0.04)


def test_the_truth_is_the_simulators():
    from value_study_worlds import FASTER, H, draw_case

    case = draw_case(3, 0.25, 12, 200)
    window = case.window
    short = (window["demand"] - window["y"]).groupby(window["unique_id"], observed=True).sum()
    gone = case.truth["gone"].set_index("unique_id")["units"]
    np.testing.assert_allclose(gone.reindex(short.index), short)
    assert window["ds"].nunique() == H
    assert not {"y", "demand", "demand_mean", "stock", "is_censored"} & set(case.known.columns)
    assert case.past["is_censored"].mean() == pytest.approx(0.25, abs=0.01)
    # With the level kept no less can be on the shelf in all, and no more is sold than is wanted.
    kept, cut = (case.truth[name]["units"].sum() for name in reversed(FASTER))
    assert cut < kept < gone.sum()
