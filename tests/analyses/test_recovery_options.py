"""Wrong options of the recovery study end in one line, exit code 2, and no file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from civstats.schema import CivstatsError

ANALYSES = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ANALYSES))
    yield
    sys.path.remove(str(ANALYSES))


CASES = [
    ("--data mars", "--data must be one of synthetic, m5, but got mars"),
    ("--data m5", "needs --path"),
    ("--data m5 --path nowhere.zip", "nowhere.zip does not exist"),
    ("--data m5 --path x --store ,", "--store names nothing"),
    ("--path nowhere.zip", "--path is for --data m5"),
    ("--store CA_1", "--store is for --data m5"),
    ("--department FOODS_3", "--department is for --data m5"),
    ("--days 10", "287 in all"),
    ("--days 286", "6 window(s) of 28 days are scored and 119 days must come before"),
    ("--days 400 --windows 11", "427 in all"),
    ("--days 900 --h 200", "too few"),
    ("--days 1e9", "Invalid value for '--days'"),
    ("--days 36500 --series 5000", "more than 100,000,000 rows"),
    ("--learning-rate nan", "--learning-rate must be above 0"),
    ("--learning-rate inf", "--learning-rate must be above 0"),
    ("--learning-rate 0", "--learning-rate must be above 0"),
    ("--learning-rate -0.1", "--learning-rate must be above 0"),
    ("--learning-rate high", "Invalid value for '--learning-rate'"),
    ("--rates 0", "--rates must be above 0 and below 100 percent, but got 0"),
    ("--rates 5,100", "but got 100"),
    ("--rates nan", "but got nan"),
    ("--rates many", "--rates must hold numbers in percent"),
    ("--rates ,", "at least one rate"),
    ("--rates 30,30.0", "--rates names 30 more than once"),
    ("--break-rate 0", "--break-rate must be above 0"),
    ("--break-rate nan", "--break-rate must be above 0"),
    ("--mechanisms weather", "--mechanisms must be some of"),
    ("--mechanisms ,", "--mechanisms must be some of"),
    ("--mechanisms random,random", "names random more than once"),
    ("--models ,", "--models must be some of"),
    ("--models Oracle", "--models must be some of"),
    ("--models SeasonalWindowAverage", "--break needs LightGBM"),
    ("--boot 39", "--boot must be a whole number from 40"),
    ("--weather sunny", "No such option"),
    ("--store", "--store"),
]
SMALL = "--series 4 --days 150 --h 14 --windows 1 --seeds 1"
WHOLE = ("seeds", "series", "days", "h", "windows", "rounds", "rows", "origins", "boot", "jobs")
CASES += [(f"--{name} {x}", f"--{name} must be") for name in WHOLE for x in (0, -1, 10**12)]
CASES += [(f"--{name} nan", f"Invalid value for '--{name}'") for name in (*WHOLE, "seed")]
CASES += [("--seed -1", "--seed must be"), ("--seed 5000000000", "--seed must be")]


@pytest.mark.parametrize(("arguments", "message"), CASES)
def test_wrong_options_end_in_one_line(arguments, message, tmp_path):
    from recovery_study import app

    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["--out", str(out), *arguments.split()])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert result.stdout == ""
    assert not out.exists()


def test_rates_out_of_reach_are_refused_before_any_fit(tmp_path, monkeypatch):
    import recovery_study

    def never(*_):
        raise AssertionError("it has begun to fit")

    monkeypatch.setattr(recovery_study, "work", never)
    small = f"{SMALL} --mechanisms inventory".split()
    for more in ("--rates 99 --no-break", "--rates 30 --break-rate 99"):
        arguments = [*small, *more.split(), "--out", str(tmp_path / "out")]
        result = CliRunner().invoke(recovery_study.app, arguments)
        assert result.exit_code == 2
        assert "inventory cannot bring 99.0 %" in result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_study_that_fails_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    import recovery_study

    def broken(*_):
        raise CivstatsError("a fit failed")

    monkeypatch.setattr(recovery_study, "work", broken)
    arguments = f"{SMALL} --mechanisms random --no-break".split()
    result = CliRunner().invoke(recovery_study.app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr == "error: a fit failed\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--store XX", "unknown store_id 'XX'"),
        ("--department XX", "unknown dept_id 'XX'"),
        ("--series 900", "823 series"),
        ("--days 1942", "1941 days"),
    ],
)
@pytest.mark.slow
def test_m5_is_asked_for_what_it_holds(arguments, message, tmp_path, shared_data):
    from recovery_study import app

    zipped = shared_data / "m5" / "m5-forecasting-accuracy.zip"
    out = tmp_path / "out"
    source = ["--data", "m5", "--path", str(zipped), "--out", str(out)]
    result = CliRunner().invoke(app, [*source, *arguments.split()])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not out.exists()


def test_defaults_of_m5_are_filled_in():
    from recovery_options import check

    config = {
        "data": "m5", "path": "x.zip", "store": None, "department": ["FOODS_1"], "series": 10,
        "days": 600, "h": 28, "windows": 2, "mechanisms": ["random"], "rates": [0.3],
        "models": ["LightGBM"], "breaks": True, "break_rate": 0.3, "seeds": 1, "seed": 0,
        "rounds": 10, "learning_rate": 0.1, "rows": 1000, "origins": 4, "boot": 40, "jobs": 1,
    }  # fmt: skip
    checked = check(config)
    assert checked["store"] == ["CA_1"]
    assert checked["department"] == ["FOODS_1"]
    assert config["store"] is None
