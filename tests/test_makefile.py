"""The make targets choose the right environment."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def dry(target: str, **environment: str) -> str:
    """What `make` would run, outside any conda environment but the one described."""
    if shutil.which("make") is None:
        pytest.skip("make is not on this machine")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CONDA", "MAKE"))}
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("target", ["report", "test", "lint"])
def test_without_conda_it_makes_its_own_environment(target):
    commands = dry(target)
    assert "-m venv .venv" in commands
    assert "--constraint constraints.txt" in commands
    assert commands.strip().splitlines()[-1].startswith(".venv/bin/")


def test_an_activated_conda_environment_is_used(tmp_path):
    commands = dry("report", CONDA_PREFIX=str(tmp_path), CONDA_DEFAULT_ENV="civstats")
    assert "venv" not in commands
    assert f"{tmp_path}/bin/python analyses/value_of_instock.py" in commands


@pytest.mark.parametrize("by_name", [True, False])
def test_base_is_never_used(tmp_path, by_name):
    if by_name:
        environment = {"CONDA_DEFAULT_ENV": "base"}
    else:
        # An unnamed activation of the root prefix, which alone holds condabin.
        (tmp_path / "condabin").mkdir()
        environment = {"CONDA_DEFAULT_ENV": str(tmp_path)}
    commands = dry("report", CONDA_PREFIX=str(tmp_path), **environment)
    assert str(tmp_path) not in commands
    assert ".venv/bin/python analyses/value_of_instock.py" in commands
