"""The recovery report says no more than was found: outcomes in words, one world, its limits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ANALYSES))
    yield
    sys.path.remove(str(ANALYSES))


CONFIG = {
    "data": "synthetic", "series": 10, "days": 300, "h": 28, "windows": 2,
    "mechanisms": ["inventory", "random"], "rounds": 10, "learning_rate": 0.1, "rows": 1000,
}  # fmt: skip
STAGES = {"fits": {"seconds": 1.0, "peak_memory_mb": 2.0}}


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ((-0.010, -0.019, 0.002), "holds, interval too"),
        ((0.020, 0.020, 0.020), "holds, interval too"),
        ((-0.011, -0.031, 0.009), "its interval reaches −3.10 points"),
        ((0.001, -0.021, 0.0304), "its interval reaches −2.10 and +3.04 points"),
        ((-0.015, -0.0204, -0.01), "holds at the point estimate, its interval reaches −2.04"),
        ((-0.015, np.nan, np.nan), "holds at the point estimate, without an interval"),
        ((-0.021, -0.03, -0.01), "does not hold"),
        ((np.nan, np.nan, np.nan), "does not hold"),
    ],
)
def test_the_bias_check_has_three_outcomes(found, outcome):
    from recovery_checks import within

    assert outcome in within(*found)


def sums(loss: float, error: float, spread: float) -> dict[str, np.ndarray]:
    one = np.ones(41)
    noise = np.r_[0.0, np.linspace(-1, 1, 40)]
    known = {"error_mean": error * one, "demand_mean": 100 * one}
    inside = {f"inside_{level}": 9 * one for level in (80, 95)}
    error = error + spread * noise
    return {
        "loss": loss * one,
        "n": 10 * one,
        "error": error,
        "demand": 100 * one,
        **known,
        **inside,
    }


def document(
    folder: Path,
    seeds: int,
    error: float = -1.5,
    spread: float = 1.0,
    apart: float = 0.0,
    **changed: object,
) -> str:
    from recovery_checks import Found
    from recovery_report import build
    from recovery_tables import (
        agreement_frame,
        bias_frame,
        break_frame,
        recovery_frame,
        score_frame,
    )

    losses = {"ignore": (9, -30, 0.0), "mask": (8, -40, 0.0), "censor": (2, error, spread)}
    results = {}
    for treatment, found in losses.items():
        results["none", 0.0, "LightGBM", treatment, "sales"] = [sums(1, 0, 0)] * seeds
        for cell in (("inventory", 0.3), ("random", 0.15)):
            worlds = [sums(*found)] * seeds
            if apart and treatment == "censor":
                worlds = [sums(2, error + s * apart, spread) for s in (-1, 1)]
            results[*cell, "LightGBM", treatment, "sales"] = worlds
            if treatment != "ignore":
                results[*cell, "LightGBM", treatment, "oracle_lags"] = [sums(1, 0, 0)] * seeds
    found = Found(
        scores=score_frame(results),
        recovery=recovery_frame(results),
        agreement=agreement_frame(results),
        bias=bias_frame(results),
        breaks=break_frame(results),
    )
    build(found, CONFIG | {"seeds": seeds} | changed, STAGES).write(folder)
    return (folder / "report.md").read_text()


def test_a_point_inside_and_an_interval_outside_are_told_apart(tmp_path):
    text = document(tmp_path, 2)
    line = next(x for x in text.splitlines() if "within 2 points" in x and "same lags" in x)
    assert (
        "−1.5 (−2.5 to −0.5) points; over worlds −1.5 to −1.5, single worlds −1.5 to −1.5" in line
    )
    assert line.endswith("| holds at the point estimate, its interval reaches −2.50 points |")
    assert "holds, interval too" in document(tmp_path, 2, spread=0.1)
    # Worlds that differ widen it, however narrow the interval within them is.
    far = document(tmp_path, 2, spread=0.1, apart=1.0)
    line = next(x for x in far.splitlines() if "within 2 points" in x and "same lags" in x)
    assert "over worlds −14.2 to +11.2, single worlds −2.5 to −0.5" in line
    assert "holds at the point estimate" in line
    line = next(x for x in document(tmp_path, 2, error=-3).splitlines() if "within 2 points" in x)
    assert "does not hold" in line


def test_one_world_says_that_its_intervals_are_over_series_and_days_only(tmp_path):
    text = document(tmp_path, 1)
    assert "1 synthetic world, 10 series" in text
    assert "worlds, 10 series" not in text
    assert "1 worlds" not in text
    assert "by world" not in text
    assert "undefined to undefined" not in text
    # Key figures, methods, both gap tables, coverage, the checks.
    assert text.count("over series and days only") == 4
    assert text.count("over its series and days only") == 7
    assert "one world" not in document(tmp_path, 2)
    assert "series and days only" not in document(tmp_path, 2)
    assert "2 synthetic worlds" in document(tmp_path, 2)


def test_one_draw_on_m5_is_one_draw(tmp_path):
    text = document(tmp_path, 1, data="m5")
    assert "1 draw of stockouts on M5" in text
    assert "cut by one draw of stockouts" in text
    assert "third" not in text
    assert "2 draws of stockouts on M5" in document(tmp_path, 2, data="m5")


def test_the_limits_tell_of_the_designs_that_were_dropped(tmp_path):
    text = document(tmp_path, 2)
    limits = text[text.index("## Limits") :]
    for words in ("third", "120 series of 600 days", "240 series of 730 days", "56 %", "5 to 9"):
        assert words in limits
    assert "forecasts.parquet" in text


def test_every_file_of_the_study_is_short():
    for path in ANALYSES.glob("recovery_*.py"):
        assert len(path.read_text().splitlines()) <= 300, path.name
