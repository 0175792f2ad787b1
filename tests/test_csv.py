"""CSV files: no formulas, numbers untouched, same bytes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from civstats._csv import write_csv

RISKY = ("=", "+", "-", "@", "\t", "\r")


def _read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("csv")


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
        | st.sampled_from(["=1+1", "+1", "-5", "@x", "\ta", "\r=1", '"a,b"', "a\nb", "$x_1$"]),
        min_size=1,
        max_size=6,
    )
)
def test_text_cells_never_begin_like_a_formula_and_lose_nothing(folder, texts):
    write_csv(pd.DataFrame({"unique_id": texts, "cat": pd.Categorical(texts)}), folder / "t.csv")
    rows = _read(folder / "t.csv")[1:]
    assert len(rows) == len(texts)
    for row, text in zip(rows, texts, strict=True):
        for cell in row:
            assert not cell.startswith(RISKY)
            assert cell == (f"'{text}" if text.startswith(RISKY) else text)


def test_numbers_stay_numbers(folder):
    frame = pd.DataFrame(
        {
            "double": [-1.5, -0.0, np.nan, np.inf, 1 / 3],
            "single": np.array([-0.1, 1e-8, np.nan, 16777216, 0.3], dtype="float32"),
            "int": [-3, 0, 1, 2, 3],
            "nullable": pd.array([-3, None, 1, 2, 3], dtype="Int64"),
            "mixed": [-3, "-3", -0.25, None, np.float32(0.1)],
            "flag": [True, False, True, False, True],
            "ds": pd.to_datetime(
                ["2024-01-02", None, "2024-01-02T03:00", "2024-01-05", "2024-01-06"],
                format="ISO8601",
            ),
        }
    )
    write_csv(frame, folder / "n.csv")
    assert _read(folder / "n.csv") == [
        ["double", "single", "int", "nullable", "mixed", "flag", "ds"],
        ["-1.5", "-0.1", "-3", "-3", "-3", "True", "2024-01-02"],
        ["0", "1e-08", "0", "", "'-3", "False", ""],
        ["", "", "1", "1", "-0.25", "True", "2024-01-02T03:00:00"],
        ["inf", "16777216", "2", "2", "", "False", "2024-01-05"],
        ["0.3333333333", "0.3", "3", "3", "0.1", "True", "2024-01-06"],
    ]


def test_column_names_are_text_too(folder):
    write_csv(pd.DataFrame({"=cmd()": [1]}), folder / "h.csv")
    assert (folder / "h.csv").read_bytes() == b"'=cmd()\n1\n"


def test_categories_unused_and_missing(folder):
    column = pd.Categorical(["b", None, "=a"], categories=["=a", "b", "never"])
    write_csv(pd.DataFrame({"c": column, "x": [1, 2, 3]}), folder / "c.csv")
    assert _read(folder / "c.csv") == [["c", "x"], ["b", "1"], ["", "2"], ["'=a", "3"]]


def test_noise_below_the_tenth_digit_gives_the_same_bytes(folder):
    x = np.random.default_rng(1).normal(size=200)
    write_csv(pd.DataFrame({"x": x}), folder / "a.csv")
    write_csv(pd.DataFrame({"x": np.nextafter(x, 9)}), folder / "b.csv")
    assert (folder / "a.csv").read_bytes() == (folder / "b.csv").read_bytes()


def test_a_failure_leaves_the_old_file(tmp_path):
    class Bad:
        def __str__(self):
            raise RuntimeError("no text")

    path = tmp_path / "scores.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_csv(pd.DataFrame({"x": ["a", Bad()]}), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_single_empty_cell_is_a_row(folder):
    write_csv(pd.DataFrame({"x": [np.nan, 1.0, np.nan]}), folder / "e.csv")
    assert _read(folder / "e.csv") == [["x"], [""], ["1"], [""]]
    assert len(pd.read_csv(folder / "e.csv")) == 3
