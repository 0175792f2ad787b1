"""DeepAR's ablation: the true law, gaps to it, words that claim no more, and the folder it leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.schema import CivstatsError, Forecast, validate_panel

ANALYSES = Path(__file__).parents[2] / "analyses"
sys.path.insert(0, str(ANALYSES))

H, DAYS, SERIES = 3, 10, 2


@pytest.fixture(scope="module")
def world():
    """A world small enough to be drawn again by hand; its level moves fast."""
    from deepar_worlds import World
    from score_worlds import Draw

    rng = np.random.default_rng(3)
    known = np.log(rng.uniform(2, 6, (SERIES, DAYS)))
    level = np.cumsum(0.3 * rng.standard_normal((SERIES, DAYS)), axis=1)
    mean = np.exp(known + level)
    demand = rng.poisson(mean).astype("float32")
    days = pd.date_range("2024-01-01", periods=DAYS)
    panel = validate_panel(
        pd.DataFrame(
            {
                "unique_id": np.repeat(["a", "b"], DAYS),
                "ds": np.tile(days, SERIES),
                "y": np.minimum(demand, 4).ravel(),
                "is_censored": (demand >= 4).ravel(),
                "stock": np.where(demand >= 4, 4.0, np.nan).ravel(),
                "demand": demand.ravel(),
                "demand_mean": mean.ravel(),
            }
        )
    )
    drawn = Draw(known, level, np.array([2.0, 5.0]), 0.3, 0.6, panel, DAYS - 2 * H)
    return World("inventory", "inventory", 0, panel, drawn)


def test_the_true_law_is_what_comes_after_the_cutoff(world):
    """Against level paths, shocks and counts drawn by hand from the day of the cutoff on."""
    from deepar_worlds import truth

    made = truth(world, H, 2)
    assert [f.frame["cutoff"].iloc[0].day for f in made] == [4, 7]
    drawn, rng, n = world.drawn, np.random.default_rng(0), 400_000
    for forecast, cutoff in zip(made, (3, 6), strict=True):
        weight = forecast.marginal.groupby(["unique_id", "ds"], observed=True)["weight"].sum()
        np.testing.assert_allclose(weight, 1.0)
        frame = forecast.frame.reset_index(drop=True)
        for i in range(SERIES):
            steps = np.cumsum(drawn.step_sd * rng.standard_normal((n, H)), axis=1)
            shock = drawn.shock_sd * rng.standard_normal((n, H))
            ahead = drawn.known[i, cutoff + 1 : cutoff + 1 + H] + drawn.level[i, cutoff]
            mean = np.exp(ahead + steps + shock)
            size = drawn.dispersion[i]
            counts = rng.poisson(mean * rng.standard_gamma(size, mean.shape) / size)
            mine = frame[frame["unique_id"] == ("a", "b")[i]]
            name = forecast.name
            np.testing.assert_allclose(mine[name], counts.mean(axis=0), rtol=0.02)
            for column, p in (("-lo-80", 0.1), ("-median", 0.5), ("-hi-80", 0.9)):
                value = mine[name + column].to_numpy()
                # The smallest count that reaches the probability, but for Monte Carlo error.
                assert ((counts <= value).mean(axis=0) >= p - 0.004).all()
                assert ((counts <= value - 1).mean(axis=0) < p + 0.004).all()


def test_who_knows_demand_sees_no_stockout(world):
    from deepar_worlds import on_demand

    before = world.panel.copy()
    shown = on_demand(world.panel)
    assert not {"is_censored", "stock"} & set(shown.columns)
    np.testing.assert_array_equal(shown["y"], world.panel["demand"])
    pd.testing.assert_frame_equal(world.panel, before)


@pytest.fixture(scope="module")
def judged(world):
    from deepar_fits import Forecasts, Row, _frame
    from deepar_scores import gaps_of
    from deepar_worlds import TRUTH, truth

    made = truth(world, H, 2)
    rival = []
    for f in made:
        marginal = f.marginal.assign(mean=0.5 * f.marginal["mean"])
        columns = {c: c.replace(f"{TRUTH}_ignore", "DeepAR_censor") for c in f.frame.columns}
        frame = f.frame.rename(columns=columns)
        frame[["DeepAR_censor", "DeepAR_censor-hi-80"]] *= 0.5
        frame["DeepAR_censor-median"] = frame["DeepAR_censor-lo-80"] = 0.0
        rival.append(Forecast(frame, "DeepAR", "censor", (80.0,), None, marginal))
    rows = [
        Row("censored", "DeepAR_censor", "DeepAR", None, {}),
        Row("true distribution", f"{TRUTH}_ignore", "oracle", None, {}),
    ]
    both = [*rival, *made]
    forecasts = Forecasts(_frame(both, world.panel), both, {})
    gaps = gaps_of(world, forecasts, rows, {"predictive": both, "n_boot": 200, "seed": 0})
    return forecasts, gaps.set_index("column")


def test_gaps_are_those_of_plain_sums(world, judged):
    from scipy import stats

    forecasts, gaps = judged
    frame = forecasts.frame.merge(world.panel, on=["unique_id", "ds"])
    demand = frame["demand"].to_numpy()
    marginal = pd.concat([f.marginal for f in forecasts.predictive if f.model != "DeepAR"])
    lo, hi = (frame[f"True distribution_ignore-{e}-80"].to_numpy() for e in ("lo", "hi"))
    expected = []
    for k, (name, day) in enumerate(zip(frame["unique_id"], frame["ds"], strict=True)):
        m = marginal[(marginal["unique_id"] == name) & (marginal["ds"] == day)]
        law = stats.nbinom(m["dispersion"], m["dispersion"] / (m["dispersion"] + m["mean"]))
        expected.append((m["weight"] * (law.cdf(hi[k]) - law.cdf(lo[k] - 1))).sum())
    row = gaps.loc["DeepAR_censor"]
    held = (demand >= 0) & (demand <= frame["DeepAR_censor-hi-80"].to_numpy())
    mine = frame["DeepAR_censor"].to_numpy()
    assert row["bias"] == pytest.approx(mine.sum() / demand.sum() - 1)
    assert row["coverage"] == pytest.approx(held.mean())
    assert row["expected"] == pytest.approx(np.mean(expected))
    assert row["gap"] == pytest.approx(held.mean() - np.mean(expected))
    assert row["excess"] == pytest.approx(held.mean() - ((demand >= lo) & (demand <= hi)).mean())
    assert row["gap_lo"] <= row["gap"] <= row["gap_hi"]
    best = gaps.loc["True distribution_ignore"]
    assert best[["excess", "excess_lo", "excess_hi"]].tolist() == [0, 0, 0]
    assert best["own"] == best["expected"]


def test_words_claim_no_more_than_the_intervals():
    from deepar_tables import verdict

    row = {"column": "DeepAR_censor", "coverage": 0.85, "expected": 0.84}
    row |= {"bias": -0.02, "bias_lo": -0.04, "bias_hi": 0.01}
    row |= {"gap": 0.01, "gap_lo": -0.01, "gap_hi": 0.04}
    text = verdict("inventory", pd.DataFrame([row]))
    assert "within 5 %, as is its whole interval" in text
    assert "within 3 points, though its interval reaches beyond" in text
    text = verdict("inventory", pd.DataFrame([row | {"bias": -0.06, "gap": -0.031}]))
    assert "misses the target of 5 %" in text
    assert "misses the target of 3 points" in text


def test_only_decided_pairs_are_named():
    from deepar_fits import rows
    from deepar_tables import decided

    pair = {"metric": "crps", "regime": "demand", "a": "DeepAR_mask", "b": "DeepAR_censor"}
    config = {"data": "synthetic"}
    none = decided(pd.DataFrame([pair | {"better": ""}]), rows(config))
    assert "decide none" in none
    text = decided(pd.DataFrame([pair | {"better": "DeepAR_censor"}]), rows(config))
    assert "- censored is lower than mask, history filled." in text
    # Another score's winner is not one by CRPS of demand.
    other = pair | {"better": "DeepAR_censor", "regime": "in_stock"}
    assert "of 0 pairs" in decided(pd.DataFrame([other]), rows(config)).lower()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rate", "1.2"], "--rate must be between 0 and 1"),
        (["--series", "1"], "--series must be 2 or more"),
        (["--days", "100"], "--days must be more than"),
        (["--mechanisms", "theft"], "--mechanisms must be some of"),
        (["--data", "m5"], "--data m5 needs --path"),
        (["--boot", "5"], "--boot must be 100 or more"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(options, said, tmp_path):
    from deepar_ablation import app

    result = CliRunner().invoke(app, [*options, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "out").exists()


def test_the_table_is_that_of_the_deepar_it_names():
    from deepar_fits import build, rows

    config = {
        "data": "synthetic", "seed": 0, "h": 7, "threads": 1, "trees": 3, "hidden_size": 4,
        "input_size": 14, "batch_size": 8, "steps": 5,
    }  # fmt: skip
    made = {r.label: build(r, config) for r in rows(config) if r.make is not None}
    settings = {k: m.settings for k, m in made.items() if hasattr(m, "settings")}
    assert settings["windows dropped"].drop_windows
    assert not settings["raw sales"].drop_windows
    assert settings["loss mask only"].history == "raw"
    assert settings["mask, history filled"].history == "filled"
    assert {settings[k].treatment for k in ("loss mask only", "mask, history filled")} == {"mask"}
    assert settings["censored"].treatment == "censor"
    # Nobody but the treatment differs.
    same = {(s.max_steps, s.hidden_size, s.batch_size, s.seed, s.lags) for s in settings.values()}
    assert same == {(5, 4, 8, 0, (7, 14))}
    for row in rows(config):
        if row.make is not None:
            model = made[row.label]
            assert row.column == f"{model.name}_{model.treatment}"


@pytest.mark.slow
def test_it_leaves_the_study_folder(tmp_path):
    from deepar_ablation import app

    out = tmp_path / "out"
    arguments = (
        "--mechanisms", "inventory,random", "--series", 12, "--days", 110, "--h", 14, "--windows", 1,
        "--steps", 5, "--hidden-size", 4, "--input-size", 14, "--batch-size", 8, "--trees", 5,
        "--threads", 1, "--boot", 100, "--out", out,
    )  # fmt: skip
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} == {
        "report.html", "report.md", "figures", "scores.csv", "gaps.csv", "pairs.csv", "seconds.csv",
        "forecasts_0.parquet", "forecasts_1.parquet", "manifest.json",
    }  # fmt: skip
    gaps = pd.read_csv(out / "gaps.csv")
    counts = gaps.groupby("world").size()
    assert counts["inventory"] == 11
    # Of short histories with outages on every third day no window is left over.
    assert counts["random"] in (10, 11)
    assert gaps[["bias", "coverage", "gap", "gap_lo", "gap_hi"]].notna().all(axis=None)
    bias = gaps.set_index(["world", "column"])["bias"]
    for _, row in gaps[gaps["kind"] == "LightGBM"].iterrows():
        twin = bias[row["world"], "LightGBM on demand_ignore"]
        assert row["beyond"] == pytest.approx(row["bias"] - twin)
    assert gaps.loc[gaps["kind"] == "oracle", "beyond"].isna().all()
    # Worlds of a seed share their demand: who knows it forecasts the same in both.
    oracle = gaps[gaps["column"] == "DeepAR on demand_ignore"]
    assert oracle["bias"].iloc[0] == oracle["bias"].iloc[1]
    assert {p.name for p in (out / "figures").iterdir()} == {"ablation.png", "examples.png"}
    text = (out / "report.md").read_text()
    assert "misses the target" in text or "within" in text
    if counts["random"] != 11:
        assert "could not be trained" in text


def test_refusals_are_of_the_family():
    from deepar_ablation import check

    with pytest.raises(CivstatsError, match="--seeds must be 1 or more"):
        check(
            {"h": 7, "seeds": 0, "series": 5}
            | dict.fromkeys(("days", "windows", "steps", "threads", "trees", "hidden_size"), 90)
            | {"input_size": 14, "batch_size": 8, "boot": 100}
        )
