"""The study's folder: whole files, honest manifest."""

import json

import pandas as pd
import pytest

from civstats._io import atomic
from civstats.schema import DataError
from civstats.study import Study, fingerprint


def test_atomic_leaves_nothing_behind_on_error(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_atomic_publishes_with_the_users_permissions(tmp_path):
    plain, published = tmp_path / "plain", tmp_path / "published"
    plain.write_text("x")
    with atomic(published) as temporary:
        temporary.write_text("x")
    assert published.stat().st_mode == plain.stat().st_mode


def test_fingerprint_sees_values_names_and_order():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": pd.Categorical(["x", "y"])})
    same = fingerprint(frame.copy())
    assert fingerprint(frame) == same
    assert fingerprint(frame.assign(a=[1.0, 2.5])) != same
    assert fingerprint(frame.rename(columns={"a": "c"})) != same
    assert fingerprint(frame.iloc[::-1]) != same
    assert fingerprint(frame.assign(b=pd.Categorical(["x", "z"]))) != same


def test_manifest_lists_stages_with_memory_of_the_process_tree(tmp_path):
    study = Study(tmp_path / "s", {"seed": 3})
    with study.stage("work"):
        block = bytearray(80_000_000)
        del block
    study.save_manifest()
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert manifest["config"] == {"seed": 3}
    assert manifest["versions"]["pandas"] == pd.__version__
    assert manifest["stages"]["work"]["seconds"] >= 0
    assert manifest["peak_memory_mb"] > 20


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(DataError, match="name a folder"):
        Study(tmp_path / "f", {})
