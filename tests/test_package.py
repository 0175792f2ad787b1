"""The package as a whole: light import, pins that agree, files that stay small."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Names that differ between PyPI and conda-forge.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "torch": "pytorch-cpu"}
# A second sampler is brought by whoever wants one.
NOT_IN_CONDA = {"jax", "numpyro"}


def _requirements() -> dict[str, str]:
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(x for group in extras.values() for x in group)]
    return {re.split(r"[<>=]", x)[0]: re.sub(r"^[A-Za-z0-9_.-]+", "", x) for x in lines}


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [x.split("==") for x in lines if x and not x.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def test_import_is_light():
    code = (
        "import sys, civstats; heavy = {'torch', 'pymc', 'arviz', 'lightgbm', 'statsforecast', "
        "'neuralforecast', 'statsmodels', 'numba', 'matplotlib'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_requirement_is_pinned_inside_its_range():
    from packaging.specifiers import SpecifierSet

    pins = _pins()
    for name, specifier in _requirements().items():
        assert pins[name] in SpecifierSet(specifier), f"{name} {pins[name]} is not in {specifier}"
    assert all("+" not in version for version in pins.values()), "a local version cannot be served"


def test_conda_environment_parses_strictly_and_agrees_with_pyproject():
    rattler = pytest.importorskip("rattler")
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = {}
    pip = {}
    for entry in environment["dependencies"]:
        if isinstance(entry, dict):
            pip = {re.split(r"[<>=]", x)[0]: re.sub(r"^[\w.-]+", "", x) for x in entry["pip"]}
            continue
        spec = rattler.MatchSpec(entry, strict=True)
        conda[str(getattr(spec.name, "normalized", spec.name))] = str(spec.version or "")
    assert conda["python"] == PROJECT["requires-python"]
    for name, specifier in _requirements().items():
        if name in NOT_IN_CONDA:
            continue
        where = conda if CONDA_NAMES.get(name, name) in conda else pip
        assert where[CONDA_NAMES.get(name, name)] == specifier, name


def test_modules_stay_small():
    long = {
        str(path.relative_to(ROOT)): n
        for path in (ROOT / "civstats").rglob("*.py")
        if (n := len(path.read_text().splitlines())) > 400
    }
    assert not long, f"a module that outgrows its page becomes a package: {long}"


def test_nothing_pickles():
    pattern = re.compile(r"\bimport pickle|\bpickle\.\w|joblib\.dump|allow_pickle=True")
    found = [
        str(path)
        for folder in ("civstats", "analyses")
        for path in (ROOT / folder).rglob("*.py")
        if pattern.search(path.read_text())
    ]
    assert not found
