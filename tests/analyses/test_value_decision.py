"""The main job's decision: loss beside gain, gross and net, levers, chances, and harmless names."""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

FOLDER = Path(__file__).resolve().parents[2] / "analyses"
EVIL = ("=1+1", "<script>alert(1)</script>", '"a,b"')


@pytest.fixture(scope="module")
def jobs():
    """The main job's modules, imported as its script imports them."""
    sys.path.insert(0, str(FOLDER))
    spec = importlib.util.spec_from_file_location(
        "value_of_instock", FOLDER / "value_of_instock.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["value_of_instock"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))


def run(jobs, *options):
    done = CliRunner().invoke(jobs.app, [str(x) for x in options])
    assert done.exit_code == 0, done.output
    return done


SMALL = (
    "--data", "synthetic", "--series", 16, "--days", 220, "--h", 14, "--windows", 1, "--models",
    "SeasonalWindowAverage", "--treatment", "censor", "--paths", 200, "--jobs", 1, "--one-step", 0,
    "--boot", 100, "--top", 4,
)  # fmt: skip


@pytest.fixture(scope="module")
def out(jobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decision") / "out"
    run(jobs, *SMALL, "--cost", 0.5, "--margin-sd", 0.05, "--past", 60, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def tables(out):
    return {
        name: pd.read_csv(out / f"{name}.csv")
        for name in ("ranking", "planner", "totals", "levers")
    }


def test_loss_and_gain_are_totalled_apart_with_bands_of_sums(tables):
    totals = tables["totals"]
    assert set(totals["estimand"]) == {"lost", "gain"}
    for _, part in totals.groupby("estimand"):
        by = {name: rows for name, rows in part.groupby("by")}
        assert set(by) == {"all", "dept_id", "store_id", "unique_id"}
        whole, each = by["all"].iloc[0], by["unique_id"]
        for column in ("units_mean", "gross_mean", "value_mean"):
            for kind in ("unique_id", "dept_id", "store_id"):
                assert by[kind][column].sum() == pytest.approx(whole[column], rel=1e-6)
        # A band of a sum is narrower than the sum of bands.
        width = each["units_p90"].sum() - each["units_p10"].sum()
        assert whole["units_p90"] - whole["units_p10"] < 0.9 * width
        assert (part["gross_p10"] <= part["gross_p50"]).all()
        assert (part["gross_p50"] <= part["gross_p90"]).all()
    lost = totals[(totals["estimand"] == "lost") & (totals["by"] == "all")].iloc[0]
    # Half of it, give or take the prior, is bought after all; a past loss has no cost.
    assert 0.3 < lost["value_mean"] / lost["gross_mean"] < 0.7


def test_levers_are_ordered_by_strength_and_the_first_is_the_one_ranked(tables):
    levers = tables["levers"].set_index("name")
    averted, gone = "20 % of stockout days averted", "no stockouts at all"
    assert levers.index[0] == averted
    assert levers.at[averted, "units_mean"] < levers.at[gone, "units_mean"]
    best = "no stockouts among the 4 best sellers"
    both = "20 % averted, then none among the 4 best sellers"
    assert (
        levers.at[best, "units_mean"]
        < levers.at[both, "units_mean"]
        < levers.at[gone, "units_mean"]
    )
    assert levers.at[averted, "cost"] == pytest.approx(0.5 * 16, abs=8)
    assert levers["cost"].isna().sum() == len(levers) - 1
    assert (levers["description"].str.len() > 20).all()
    assert any("orders arrive" in name for name in levers.index)


def test_the_ranking_adds_up_and_says_why(tables):
    ranking = tables["ranking"]
    spent = ranking["cost"] > 0
    assert (ranking.loc[spent, "cost"] == 0.5).all()
    np.testing.assert_allclose(
        ranking.loc[spent, "return_mean"], ranking.loc[spent, "value_mean"] / 0.5, rtol=1e-6
    )
    assert ranking["value_mean"].is_monotonic_decreasing
    assert ranking["prob_top_k"].sum() == pytest.approx(4)
    assert set(ranking["driver"]) <= {"demand", "stockouts", "price", "uncertainty", "none"}
    assert ranking["out_tomorrow_mean"].between(0, 1).all()
    assert (ranking["out_tomorrow_p10"] <= ranking["out_tomorrow_p90"]).all()
    assert (ranking["units_p10"] <= ranking["units_p50"]).all()
    assert (ranking["lost_units_mean"] >= 0).all()


def test_the_planner_reads_the_same_rows_in_the_same_order(tables):
    planner, ranking = tables["planner"], tables["ranking"]
    assert planner["series"].tolist() == ranking["unique_id"].tolist()
    np.testing.assert_allclose(planner["net value expected"], ranking["value_mean"], atol=0.006)
    assert not any("_" in c for c in planner.columns)


def test_the_decision_section_keeps_the_two_questions_apart(out):
    text = (out / "report.md").read_text()
    decision = text.split("## Decision")[1].split("## Limits")[0]
    places = [
        decision.index(x)
        for x in (
            "never added", "In short", "### What was lost", "### What a lever would gain",
            "### Where to begin", "### All series", "### How likely stockouts are", "### Held against",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    for name in ("levers", "ranking", "cumulative", "reliability", "ranking-truth"):
        assert f"(figures/{name}.png)" in decision
    assert "return on cost" in decision
    html = (out / "report.html").read_text()
    assert 'id="all-series"' in html


def test_recapture_of_nothing_leaves_gross_and_of_all_leaves_nothing(jobs, tmp_path, tables):
    sure = ("--recapture-sd", 0, "--availability", "chain")
    for share, net in ((0, 1.0), (1, 0.0)):
        folder = tmp_path / str(share)
        run(jobs, *SMALL, *sure, "--recapture", share, "--out", folder)
        totals = pd.read_csv(folder / "totals.csv")
        np.testing.assert_allclose(totals["value_mean"], net * totals["gross_mean"], atol=1e-9)
        np.testing.assert_allclose(totals["value_p90"], net * totals["gross_p90"], atol=1e-9)
    # Without shelves goods cannot be hurried.
    names = pd.read_csv(folder / "levers.csv")["name"]
    assert not names.str.contains("orders").any()
    text = (folder / "report.md").read_text()
    assert "Faster replenishment is not priced" in text
    assert "two-state chain" in text


def test_faster_replenishment_can_be_the_lever(jobs, tmp_path):
    options = ("--lever", "replenishment", "--lead-time", 1, "--recapture", "estimate")
    run(jobs, *SMALL, *options, "--out", tmp_path / "out")
    levers = pd.read_csv(tmp_path / "out" / "levers.csv")
    assert levers["name"].iloc[0] == "orders arrive the next day"
    text = (tmp_path / "out" / "report.md").read_text()
    assert "so a series may lose" in text
    assert "The share is the panel's own estimate, weighed with a prior" in text
    assert "Held against what came" not in text


def test_replenishment_without_stock_on_record_is_refused_in_one_line(jobs, tmp_path):
    options = (
        *SMALL,
        "--mechanism",
        "random",
        "--lever",
        "replenishment",
        "--out",
        tmp_path / "out",
    )
    done = CliRunner().invoke(jobs.app, [str(x) for x in options])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "needs shelves" in done.stderr
    assert not (tmp_path / "out").exists()


def own_panel() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    days = pd.date_range("2024-01-01", periods=120)
    frames = []
    for k, name in enumerate(EVIL):
        out = rng.random(120) < 0.2
        y = np.where(out, 0, rng.poisson(4, 120)).astype(float)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": name,
                    "item_id": name,
                    "ds": days,
                    "y": y,
                    "is_censored": out,
                    "price": 2.0,
                    "store_id": EVIL[0] if k else EVIL[1],
                    "dept_id": EVIL[2 - k],
                    "gain": 0.1 * (k + 1),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


class Marks(HTMLParser):
    """Every element and attribute of a page, and the text outside of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)


def test_names_come_out_harmless_everywhere(jobs, tmp_path):
    """Item, store and department named like formulas, scripts and lists of cells."""
    path, folder = tmp_path / "own.csv", tmp_path / "out"
    own_panel().to_csv(path, index=False)
    run(
        jobs, "--data", "file", "--path", path, "--h", 7, "--windows", 1, "--models",
        "SeasonalWindowAverage", "--paths", 50, "--jobs", 1, "--one-step", 0, "--boot", 100,
        "--margin", "gain", "--out", folder,
    )  # fmt: skip
    seen = set()
    for file in sorted(folder.glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.reader(lines))
        assert len({len(row) for row in rows}) == 1, file.name
        cells = [cell for row in rows for cell in row]
        for cell in cells:
            number = re.fullmatch(r"-?[0-9.]+(e[-+]?\d+)?", cell)
            assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r")), (
                file.name,
                cell,
            )
        seen |= {(file.name, x) for x in ("'=1+1", *EVIL[1:]) if x in cells}
    named = ("ranking.csv", "planner.csv", "totals.csv")
    assert {(f, x) for f in named for x in ("'=1+1", *EVIL[1:])} <= seen
    page = Marks((folder / "report.html").read_text(encoding="utf-8"))
    scripts = [a for tag, a in page.tags if tag == "script"]
    assert scripts == [{"type": "application/json"}, {}]
    assert not any(k.startswith("on") for _, attributes in page.tags for k in attributes)
    for name in EVIL:
        assert any(name == words.strip() for words in page.words), name
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in text
    margins = pd.read_csv(folder / "ranking.csv").set_index("unique_id")["margin"]
    assert margins["'=1+1"] == pytest.approx(0.1)
    assert margins[EVIL[2]] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--margin", "profit"), "neither a number nor a column"),
        (("--margin", "price"), "one margin per series"),
        (("--recapture", "some"), "recapture must be a number"),
        (("--recapture", "0.5", "--recapture-sd", "0.9"), "make sd smaller"),
        (("--cost", "-1"), "cost"),
        (("--availability", "magic"), "magic"),
        (("--past", "0"), "--past"),
        (("--lead-time", "0"), "--lead-time"),
    ],
)
def test_wrong_worth_is_refused_in_one_line(jobs, tmp_path, change, message):
    options = (*SMALL, *change, "--out", tmp_path / "out")
    done = CliRunner().invoke(jobs.app, [str(x) for x in options])
    assert done.exit_code == 2, done.output
    assert done.stderr.strip().count("\n") == 0
    assert message in done.stderr
    assert not (tmp_path / "out").exists()
