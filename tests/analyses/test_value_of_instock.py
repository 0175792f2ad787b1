"""The main job from its command line: what it leaves, and how it refuses."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.schema import RANKING, SCORES

SCRIPT = Path(__file__).resolve().parents[2] / "analyses" / "value_of_instock.py"
FILES = {
    "report.html",
    "report.md",
    "figures",
    "scores.csv",
    "scores_one_step.csv",
    "forecasts.parquet",
    "ranking.csv",
    "planner.csv",
    "totals.csv",
    "levers.csv",
    "manifest.json",
}


@pytest.fixture(scope="module")
def app():
    sys.path.insert(0, str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("value_of_instock", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["value_of_instock"] = module
    spec.loader.exec_module(module)
    yield module.app
    sys.path.remove(str(SCRIPT.parent))


def call(app, *arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


SMALL = (
    "--data", "synthetic", "--series", 12, "--days", 200, "--h", 14, "--windows", 2,
    "--models", "SeasonalNaive,SeasonalWindowAverage", "--paths", 100, "--jobs", 1,
    "--one-step", 5,
)  # fmt: skip


@pytest.fixture(scope="module")
def study(app, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    result = call(app, *SMALL, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def test_it_leaves_the_study_folder(study):
    assert {p.name for p in study.iterdir()} == FILES
    scores = pd.read_csv(study / "scores.csv")
    assert list(scores.columns) == list(SCORES)
    assert set(scores["regime"]) == {"all_days", "in_stock", "demand", "censored"}
    ranking = pd.read_csv(study / "ranking.csv")
    assert list(ranking.columns[: len(RANKING)]) == list(RANKING)
    assert len(ranking) == 12
    assert (ranking["units_p10"] <= ranking["units_p90"]).all()
    forecasts = pd.read_parquet(study / "forecasts.parquet")
    assert len(forecasts) == 12 * 14 * 2
    manifest = json.loads((study / "manifest.json").read_text())
    assert manifest["config"]["seed"] == 0
    assert len(manifest["data_fingerprint"]) == 64
    assert {"load", "backtest", "evaluate", "one step ahead", "value"} <= set(manifest["stages"])


def test_scores_with_bounds_are_printed_one_day_ahead_and_refused_further(study):
    far, near = (pd.read_csv(study / f) for f in ("scores.csv", "scores_one_step.csv"))
    assert list(near.columns) == list(SCORES)
    bounds = far[far["regime"] == "censored"]
    assert bounds["value"].isna().all()
    assert bounds["note"].str.startswith("not proper here").all()
    bounds = near[near["regime"] == "censored"]
    assert near["cutoff"].nunique() == 5
    pooled = bounds[bounds["cutoff"].isna() & (bounds["metric"] == "localised_crps")]
    assert len(pooled) == 6
    assert pooled["value"].between(0, 10).all()
    assert pooled["n"].eq(12 * 5).all()
    text = (study / "report.md").read_text()
    assert "For forecasts of 14 days that need not be so" in text
    assert "Each of the last 5 days is forecast from the day before" in text
    for value in pooled["value"]:
        assert f"| {value:.3f} (" in text or f"| {value:.2f} (" in text
    for name in ("pit", "calibration", "score-heatmap"):
        assert (study / "figures" / f"{name}.png").stat().st_size > 10_000
        assert f"(figures/{name}.png)" in text


def test_the_report_opens_offline_and_reads_as_a_document(study):
    html = (study / "report.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "https://" not in html
    places = [html.index(f">{x}<") for x in ("Problem", "Data", "Method", "Results", "Decision")]
    assert places == sorted(places)
    assert "alt=" in html
    assert not re.search(r"\bnan\b", visible(html), re.IGNORECASE)
    assert json.loads((study / "manifest.json").read_text())["config"]["mechanism"] == "inventory"
    assert len(set(re.findall(r"time series \(([^)]*)\)", html)[0].split(", "))) == 4


def visible(html: str) -> str:
    """The words of a page, without style, pictures and marks."""
    html = re.sub(r"<(style|script).*?</\1>|<svg.*?</svg>", " ", html, flags=re.DOTALL)
    return re.sub(r"<[^>]*>", " ", html)


def test_same_seed_same_bytes(app, study, tmp_path):
    again = tmp_path / "again"
    assert call(app, *SMALL, "--out", again).exit_code == 0
    for name in ("scores.csv", "ranking.csv"):
        assert (again / name).read_bytes() == (study / name).read_bytes()
    other = tmp_path / "other"
    assert call(app, *SMALL, "--seed", 1, "--out", other).exit_code == 0
    assert (other / "scores.csv").read_bytes() != (study / "scores.csv").read_bytes()


def own_panel() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    days = pd.date_range("2024-01-01", periods=90)
    frames = []
    for name in ("=1+1", "<script>alert(1)</script>", "a,b"):
        out = rng.random(90) < 0.2
        y = np.where(out, 0, rng.poisson(3, 90)).astype(float)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": name,
                    "ds": days,
                    "y": y,
                    "is_censored": out,
                    "price": 2.0,
                    "store_id": "S",
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_own_flags_go_through_untouched_and_names_are_harmless(app, tmp_path):
    path, out = tmp_path / "own.csv", tmp_path / "out"
    panel = own_panel()
    panel.to_csv(path, index=False)
    result = call(
        app, "--data", "file", "--path", path, "--h", 7, "--windows", 2,
        "--models", "SeasonalNaive", "--paths", 50, "--jobs", 1, "--one-step", 5, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores["regime"]) == {"all_days", "in_stock", "censored"}
    assert_bias_is_set_against_selection(scores, out)
    html = (out / "report.html").read_text()
    assert "<script>alert" not in html
    assert "\n'=1+1" in (out / "ranking.csv").read_text().replace("\n1,", "\n").replace(
        "\n2,", "\n"
    ).replace("\n3,", "\n")


def assert_bias_is_set_against_selection(scores, out):
    """Without truth each model's own draws say what selection alone would show."""
    bias = scores[(scores["metric"] == "bias") & scores["cutoff"].isna()].set_index(
        ["treatment", "regime"]
    )
    text = (out / "report.md").read_text()
    for treatment in ("ignore", "mask"):
        # Sales of all days fall short of the demand that is forecast, as stockouts cut them.
        assert bias.at[(treatment, "all_days"), "expected"] > 0.02
        shown = f"{100 * bias.at[(treatment, 'all_days'), 'expected']:+.1f} %"
        assert f"| {shown} |" in text
    assert "| all days | expected | in stock | expected |" in text
    assert "a perfect forecast |" not in text
    # The file has no stock on in-stock days: those scores are not to be had, and say so.
    near = pd.read_csv(out / "scores_one_step.csv")
    near = near[near["cutoff"].isna()].groupby("metric")["value"].count()
    assert near["localised_crps"] == 0
    assert near["censored_log_score"] > 0
    assert "row(s) without stock" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--one-step", 0), "switched off"),
        (("--models", "CES"), "take in new days with its parameters frozen"),
        (("--mechanism", "random"), None),
    ],
)
def test_one_day_ahead_is_left_out_with_a_reason_or_goes_on(app, tmp_path, change, words):
    out = tmp_path / "out"
    small = ("--series", 6, "--days", 150, "--h", 7, "--windows", 1, "--paths", 50, "--jobs", 1)
    base = ("--models", "SeasonalNaive", "--one-step", 4, "--boot", 100)
    result = call(app, *small, *base, *change, "--out", out)
    assert result.exit_code == 0, result.output
    text = (out / "report.md").read_text()
    assert (out / "scores_one_step.csv").exists() == (words is None)
    assert (out / "figures" / "pit.png").exists() == (words is None)
    if words is not None:
        assert words in text
        return
    # Outages at random: stock is independent of demand, so the scores are proper further ahead.
    far = pd.read_csv(out / "scores.csv")
    logs = far[far["cutoff"].isna() & (far["metric"] == "censored_log_score")]
    assert logs["value"].notna().all()
    assert "that need not be so" not in text
    assert "Here stockouts come at random" in text


def test_other_horizons_reach_every_model(app, tmp_path):
    out = tmp_path / "out"
    result = call(
        app, "--series", 8, "--days", 200, "--h", 35, "--windows", 1, "--models", "LightGBM",
        "--treatment", "censor", "--paths", 50, "--jobs", 1, "--one-step", 0, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert len(pd.read_parquet(out / "forecasts.parquet")) == 8 * 35


def run_own(app, panel, tmp_path, *more):
    tmp_path.mkdir(exist_ok=True)
    path, out = tmp_path / "own.parquet", tmp_path / "out"
    panel.to_parquet(path, index=False)
    result = call(
        app, "--data", "file", "--path", path, "--h", 7, "--windows", 1, "--paths", 50,
        "--jobs", 1, "--one-step", 2, "--out", out, *more,
    )  # fmt: skip
    return result, out


def test_fractional_sales_run_without_the_count_likelihood(app, tmp_path):
    panel = own_panel().assign(y=lambda d: d["y"] / 10)
    result, out = run_own(app, panel, tmp_path, "--models", "LightGBM")
    assert result.exit_code == 0, result.output
    assert set(pd.read_csv(out / "scores.csv")["treatment"]) == {"ignore", "mask"}
    text = (out / "report.md").read_text()
    assert "LightGBM_censor" in text
    assert "Sales are no whole numbers, and these scores are of counts" in text
    asked = ("--models", "LightGBM", "--treatment", "censor")
    refused(run_own(app, panel, tmp_path / "b", *asked)[0], "whole units", tmp_path / "b" / "out")


def test_identifiers_may_be_numbers(app, tmp_path):
    panel = own_panel()
    panel["unique_id"] = pd.factorize(panel["unique_id"])[0]
    panel["store_id"] = 7
    chosen = ("--models", "SeasonalNaive", "--store", "7")
    result, out = run_own(app, panel, tmp_path, *chosen)
    assert result.exit_code == 0, result.output
    assert set(pd.read_csv(out / "ranking.csv")["unique_id"]) == {0, 1, 2}


@pytest.mark.parametrize("kind", ["nothing sold", "never out"])
def test_a_lever_that_is_worth_nothing_is_said_to_be(app, tmp_path, kind):
    panel = own_panel()
    if kind == "nothing sold":
        panel["y"] = 0.0
    else:
        panel["is_censored"] = False
    result, out = run_own(app, panel, tmp_path, "--models", "SeasonalNaive")
    assert result.exit_code == 0, result.output
    text = (out / "report.md").read_text()
    assert "Nothing to gain" in text
    assert "Start with" not in text
    assert not re.search(r"\bnan\b", visible((out / "report.html").read_text()), re.IGNORECASE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop(columns="price"), "no price"),
        (lambda d: d.assign(price=d["price"].where(d["ds"] < "2024-03-25")), "have no price"),
        (lambda d: d.assign(store_id=d["store_id"].where(d["unique_id"] != "a,b")), "no store_id"),
    ],
)
def test_what_cannot_be_priced_is_refused_before_fitting(app, tmp_path, change, message):
    result, out = run_own(app, change(own_panel()), tmp_path)
    refused(result, message, out)


def test_a_column_named_twice_is_refused(app, tmp_path):
    path, out = tmp_path / "own.csv", tmp_path / "out"
    lines = own_panel().to_csv(index=False).splitlines()
    path.write_text("\n".join(f"{x},{x.split(',')[-1]}" for x in lines))
    refused(call(app, "--data", "file", "--path", path, "--out", out), "twice", out)


def test_a_place_that_cannot_be_written_is_refused_at_once(app, tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    refused(call(app, *SMALL, "--out", out), "cannot be made", out)


def broken(kind: str) -> pd.DataFrame:
    panel = own_panel()
    if kind == "missing column":
        return panel.drop(columns="y")
    if kind == "duplicate":
        return pd.concat([panel, panel.iloc[[5]]])
    if kind == "gap":
        return panel.drop(index=5)
    if kind == "negative":
        return panel.assign(y=panel["y"].where(panel.index != 5, -1))
    if kind == "missing sales":
        return panel.assign(y=panel["y"].where(panel.index != 5))
    if kind == "time zone":
        return panel.assign(ds=panel["ds"].dt.tz_localize("UTC"))
    raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing column", "lacks column(s) y"),
        ("duplicate", "repeat a series and date"),
        ("gap", "gap"),
        ("negative", "negative sales"),
        ("missing sales", "missing sales"),
        ("time zone", "time zone"),
    ],
)
def test_broken_panels_end_in_one_line(app, tmp_path, kind, message):
    path, out = tmp_path / "own.parquet", tmp_path / "out"
    broken(kind).to_parquet(path, index=False)
    refused(call(app, "--data", "file", "--path", path, "--out", out), message, out)


def refused(result, message, out):
    assert result.exit_code == 2, result.output
    lines = [x for x in result.stderr.splitlines() if x.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not out.exists()


def write_zip(path: Path, kind: str) -> None:
    if kind == "absent":
        return
    if kind == "not a zip":
        path.write_text("hello")
        return
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("calendar.csv", "date,wm_yr_wk\n" * 4000)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize(
    ("kind", "message"),
    [("absent", "m5.zip"), ("not a zip", "zip"), ("truncated", "zip"), ("no sales", "sales_train")],
)
def test_broken_m5_files_end_in_one_line(app, tmp_path, kind, message):
    path, out = tmp_path / "m5.zip", tmp_path / "out"
    write_zip(path, kind)
    refused(call(app, "--data", "m5", "--path", path, "--out", out), message, out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--h", 0), "h must be"),
        (("--level", 0.8), "did you mean 80"),
        (("--windows", 0), "n_windows"),
        (("--windows", 40), "3 would fit"),
        (("--store", "NOWHERE"), "NOWHERE"),
        (("--department", "NOTHING"), "NOTHING"),
        (("--models", "Oracle"), "unknown model"),
        (("--treatment", "drop"), "treatment must be"),
        (("--mechanism", "magic"), "magic"),
        (("--rate", 1.5), "rate"),
        (("--margin", 20), "margin"),
        (("--share", -0.1), "share"),
        (("--lever", "wish"), "wish"),
        (("--series", 0), "series"),
        (("--data", "m5"), "--path"),
        (("--data", "oracle"), "oracle"),
        (("--seed", -1), "--seed must be 0 or more"),
        (("--models", ","), "names nothing"),
        (("--treatment", ","), "names nothing"),
        (("--paths", 1), "--paths must be 50"),
        (("--one-step", -1), "--one-step must be 0"),
        (("--rank-with", "LightGBM_mask"), "--rank-with"),
    ],
)
def test_wrong_arguments_end_in_one_line(app, tmp_path, arguments, message):
    out = tmp_path / "out"
    base = ("--data", "synthetic", "--series", 6, "--days", 120, "--models", "SeasonalNaive")
    refused(call(app, *base, *arguments, "--out", out), message, out)


def test_unknown_store_of_m5_is_named(app, shared_data, tmp_path):
    out = tmp_path / "out"
    path = shared_data / "m5" / "m5-forecasting-accuracy.zip"
    refused(call(app, "--data", "m5", "--path", path, "--store", "CA_9", "--out", out), "CA_9", out)
