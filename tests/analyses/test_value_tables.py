"""Tables of the main job: nothing that is not identified or not proper is printed as a plain score."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from civstats.schema import SCORES

FOLDER = Path(__file__).resolve().parents[2] / "analyses"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("value_tables", FOLDER / "value_tables.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["value_tables"] = module
    spec.loader.exec_module(module)
    return module


def row(regime, metric, value, expected=np.nan, *, level=np.nan, note="", treatment="mask"):
    ends = (value - 0.01, value + 0.01)
    keys = ("LightGBM", treatment, regime, metric, level, pd.NaT)
    return (*keys, value, *ends, 90, expected, note == "", note)


def frame(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(SCORES))


HALF = "not identified: 62% of the days are stockouts, sales do not tell the mean"
NOT_PROPER = "not proper here: beyond one step ahead stock may follow demand; score one step ahead"


def test_a_cell_says_why_there_is_no_score(tables):
    records = frame(
        row("demand", "rmse", 1.5),
        row("in_stock", "rmse", 1.5, note=HALF),
        row("censored", "localised_crps", np.nan, note=NOT_PROPER),
        row("in_stock", "wape", np.nan, note="undefined: nothing to score, or to divide by"),
        row("censored", "censored_log_score", np.inf, note="an outcome had probability 0"),
    )
    write = "{:.2f}".format
    shown = [tables.cell(r, write, ends=write) for _, r in records.iterrows()]
    assert shown == [
        "1.50 (1.49\u00a0to\u00a01.51)",
        "(1.50)\u00a0†",
        "not proper here",
        "undefined",
        "∞",
    ]
    assert tables.cell(None, write) == "–"
    told = " ".join(tables.doubts(records))
    assert "†: not identified: 62% of the days" in told
    assert "∞: an outcome had probability 0" in told
    assert "not proper here: beyond one step ahead stock may follow demand." in told
    assert tables.doubts(records.iloc[:1]) == []


def test_small_print_says_one_kind_of_doubt_once(tables):
    notes = [HALF, HALF.replace("62", "55"), HALF]
    records = frame(
        *(
            row("in_stock", "bias", 0.1, note=n, treatment=t)
            for t, n in zip("abc", notes, strict=True)
        )
    )
    assert len(tables.doubts(records)) == 1


def test_bias_stands_beside_what_selection_makes(tables):
    of_model = frame(
        row("all_days", "bias", 0.02, 0.04), row("in_stock", "bias", 0.11, 0.10),
        row("demand", "bias", -0.03),
    )  # fmt: skip
    assert tables.expected_by(of_model) == "model"
    (line,) = tables.bias_table(of_model).to_dict("records")
    assert line["in stock"].startswith("+11.0\u00a0% (")
    assert line["expected in stock"] == "+10.0\u00a0%"
    assert line["expected all days"] == "+4.0\u00a0%"
    of_truth = of_model.assign(expected=[0.04, 0.10, 0.0])
    assert tables.expected_by(of_truth) == "truth"
    perfect, line = tables.bias_table(of_truth).to_dict("records")
    assert perfect["model"] == "a perfect forecast"
    assert perfect["in stock"] == "+10.0\u00a0%"
    assert not any("expected" in c for c in line)
    assert tables.expected_by(of_model.assign(expected=np.nan)) == ""


def test_coverage_is_nominal_expected_and_observed(tables):
    scores = frame(
        row("demand", "coverage", 0.91, 0.88, level=80.0),
        row("all_days", "coverage", 0.93, level=80.0),
    )
    (line,) = tables.coverage_table(scores).to_dict("records")
    assert line["nominal"] == "80\u00a0%"
    assert line["expected"] == "88.0\u00a0%"
    assert line["of demand"].startswith("91.0\u00a0% (")
    assert line["of sales all days"] == "93.0\u00a0%"


def test_bound_scores_stand_beside_the_truth_where_it_is_known(tables):
    scores = frame(
        row("censored", "localised_crps", np.nan, note="90 row(s) without stock: needs it"),
        row("censored", "censored_log_score", 1.25),
        row("censored", "censored_pinball", 0.2, level=80.0),
    )
    (line,) = tables.bound_table(scores).to_dict("records")
    assert line["localised CRPS"] == "90 row(s) without stock"
    assert line["log score"].startswith("1.25 (")
    assert not any("of demand" in c for c in line)
    more = pd.concat([scores, frame(row("demand", "crps", 0.5), row("demand", "bias", -0.1))])
    (line,) = tables.bound_table(more).to_dict("records")
    assert line["bias"] == "−10.0\u00a0%"
