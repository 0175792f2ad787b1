"""RMSSE and scaled pinball against loops written from their definitions, and utilsforecast."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from civstats import CivstatsError, ForecastError, validate_panel
from civstats.evaluation import evaluate
from civstats.evaluation.scaled import M5_LEVELS, ScaledScorer, one_step_changes, pinball
from civstats.schema import SCORES, quantile_column, quantiles_of_levels

PROBS = (0.005, 0.025, 0.165, 0.25, 0.5, 0.75, 0.835, 0.975, 0.995)


def world(n: int = 9, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Series with leading zeros and launches, and forecasts of two windows by two models."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=80)
    frames = []
    for k in range(n):
        y = rng.poisson(0.3 + k % 9, 80)
        y[: 3 * (k % 9)] = 0
        frames.append(pd.DataFrame({"unique_id": f"s{k}", "ds": days, "y": y})[k % 9 :])
    panel = validate_panel(pd.concat(frames))
    made = []
    for cutoff in (days[65], days[72]):
        keys = panel[(panel["ds"] > cutoff) & (panel["ds"] <= cutoff + pd.Timedelta(days=7))]
        frame = keys[["unique_id", "ds"]].assign(cutoff=cutoff)
        for name in ("A_ignore", "B_mask"):
            frame[name] = rng.gamma(2.0, 2.0, len(frame))
            draws = np.sort(rng.poisson(frame[name].to_numpy()[:, None], (len(frame), 9)), axis=1)
            for j, p in enumerate(PROBS):
                frame[quantile_column(name, p)] = draws[:, j].astype(float)
        made.append(frame)
    return pd.concat(made, ignore_index=True), panel


def slow(forecasts: pd.DataFrame, panel: pd.DataFrame, name: str) -> tuple[float, float]:
    """Both scores, a series and window at a time."""
    roots, losses = [], []
    for (series, cutoff), part in forecasts.groupby(["unique_id", "cutoff"], observed=True):
        history = panel[(panel["unique_id"] == series) & (panel["ds"] <= cutoff)]["y"].tolist()
        while history and history[0] == 0:
            history.pop(0)
        change = [b - a for a, b in itertools.pairwise(history)]
        merged = part.merge(panel, on=["unique_id", "ds"])
        error = sum((merged["y"] - merged[name]) ** 2) / len(merged)
        roots.append((error / (sum(c * c for c in change) / len(change))) ** 0.5)
        total = 0.0
        for p in PROBS:
            for y, q in zip(merged["y"], merged[quantile_column(name, p)], strict=True):
                total += p * (y - q) if y >= q else (1 - p) * (q - y)
        losses.append(total / 9 / len(merged) / (sum(abs(c) for c in change) / len(change)))
    return float(np.mean(roots)), float(np.mean(losses))


def test_the_levels_are_the_nine_quantiles_of_the_competition():
    assert tuple(quantiles_of_levels(M5_LEVELS)) == PROBS


def test_scores_are_those_of_the_definition():
    forecasts, panel = world()
    scores = ScaledScorer(forecasts, panel, n_boot=0).scores()
    assert list(scores.columns) == list(SCORES)
    pooled = scores[scores["cutoff"].isna()].set_index(["model", "metric"])["value"]
    for name in ("A_ignore", "B_mask"):
        rmsse, loss = slow(forecasts, panel, name)
        assert pooled[name[0], "rmsse"] == pytest.approx(rmsse, rel=1e-12)
        assert pooled[name[0], "scaled_pinball"] == pytest.approx(loss, rel=1e-12)
    one = forecasts[forecasts["cutoff"] == forecasts["cutoff"].max()]
    at = scores[(scores["cutoff"] == one["cutoff"].iloc[0]) & (scores["model"] == "A")]
    assert at.set_index("metric")["value"]["rmsse"] == pytest.approx(
        slow(one, panel, "A_ignore")[0]
    )


def test_windows_of_unequal_length_weigh_alike():
    forecasts, panel = world()
    short = forecasts[forecasts["ds"] <= forecasts["cutoff"].max() + pd.Timedelta(days=3)]
    scores = ScaledScorer(short, panel, n_boot=0).scores()
    pooled = scores[scores["cutoff"].isna()].set_index(["model", "metric"])
    for name in ("A_ignore", "B_mask"):
        rmsse, loss = slow(short, panel, name)
        assert pooled["value"][name[0], "rmsse"] == pytest.approx(rmsse, rel=1e-12)
        assert pooled["value"][name[0], "scaled_pinball"] == pytest.approx(loss, rel=1e-12)
    # The same figure as evaluate's.
    theirs = evaluate(short, panel, metrics="rmsse", level=None, n_boot=0)
    theirs = theirs[theirs["cutoff"].isna() & (theirs["model"] == "A")]["value"].item()
    assert pooled["value"]["A", "rmsse"] == pytest.approx(theirs, rel=1e-9)
    assert set(pooled["note"]) == {"windows are unequal: 3 to 7 days"}


def test_rmsse_and_pinball_are_those_of_utilsforecast():
    losses = pytest.importorskip("utilsforecast.losses")
    forecasts, panel = world()
    one = forecasts[forecasts["cutoff"] == forecasts["cutoff"].min()]
    merged = one.merge(panel, on=["unique_id", "ds"])
    train = panel[panel["ds"] <= one["cutoff"].iloc[0]]
    # The library keeps the zeros before the first sale.
    first = train[train["y"] > 0].groupby("unique_id", observed=True)["ds"].min()
    train = train[train["ds"] >= train["unique_id"].map(first).astype("datetime64[ns]")]
    merged, train = (x.astype({"unique_id": str}) for x in (merged, train))
    expected = losses.rmsse(merged, ["A_ignore"], seasonality=1, train_df=train)["A_ignore"].mean()
    scorer = ScaledScorer(one, panel, n_boot=0)
    assert scorer.replicates("A_ignore", "rmsse")[0, 0] == pytest.approx(expected, rel=1e-6)
    column = quantile_column("A_ignore", 0.835)
    theirs = losses.quantile_loss(merged, {"A_ignore": column}, q=0.835)["A_ignore"].mean()
    ours = pinball(merged["y"].to_numpy(), merged[column].to_numpy(), 0.835).mean()
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_a_series_that_never_changes_has_no_scale_and_is_counted():
    forecasts, panel = world()
    flat = panel.assign(y=panel["y"].where(panel["unique_id"] != "s3", 0.0).astype("float32"))
    scorer = ScaledScorer(forecasts, flat, n_boot=0)
    assert scorer.n_unscaled == 2
    rest = forecasts[forecasts["unique_id"] != "s3"]
    assert scorer.replicates("A_ignore", "rmsse")[0, 0] == pytest.approx(
        slow(rest, panel, "A_ignore")[0]
    )
    notes = scorer.scores().set_index("cutoff")["note"]
    assert set(notes[notes.index.isna()]) == {
        "2 window(s) left out: no change before the cutoff to scale by"
    }
    assert set(notes[notes.index.notna()]) == {
        "1 window(s) left out: no change before the cutoff to scale by"
    }
    assert np.isnan(one_step_changes(np.array([0.0, 0, 3]))).all()
    with pytest.raises(ForecastError, match="nothing to scale by"):
        ScaledScorer(forecasts, panel.assign(y=np.float32(1)), n_boot=0)


def test_the_bootstrap_resamples_series_and_days():
    """Resampled roots, computed anew for drawn days, spread as the linear parts say."""
    forecasts, panel = world(40, seed=3)
    scorer = ScaledScorer(forecasts, panel, n_boot=800, seed=2)
    got = scorer.replicates("A_ignore", "rmsse")[1:, 0].std()
    errors = forecasts.merge(panel, on=["unique_id", "ds"])
    table = np.zeros((40, 14))
    scale = {}
    for (series, cutoff), _ in forecasts.groupby(["unique_id", "cutoff"], observed=True):
        y = panel[(panel["unique_id"] == series) & (panel["ds"] <= cutoff)]["y"].to_numpy()
        scale[series, cutoff] = one_step_changes(y)[1]
    ids, days = sorted(errors["unique_id"].unique()), sorted(errors["ds"].unique())
    for row in errors.itertuples():
        value = (row.y - row.A_ignore) ** 2 / scale[row.unique_id, row.cutoff]
        table[ids.index(row.unique_id), days.index(row.ds)] = value
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(800):
        s, d = (
            np.bincount(rng.integers(0, 40, 40), minlength=40),
            np.bincount(rng.integers(0, 14, 14), minlength=14),
        )
        with np.errstate(invalid="ignore"):
            roots = [
                np.sqrt(table[:, w] @ d[w] / max(d[w].sum(), 1)) * d[w].sum()
                for w in (slice(0, 7), slice(7, 14))
            ]
        draws.append((s @ (roots[0] + roots[1])) / (s.sum() * d.sum()))
    assert got == pytest.approx(np.std(draws), rel=0.15)


def test_differences_are_paired_and_of_the_right_sign():
    forecasts, panel = world(30)
    merged = forecasts.merge(panel, on=["unique_id", "ds"])
    forecasts["B_mask"] = (0.7 * forecasts["A_ignore"] + 0.3 * merged["y"]).to_numpy()
    table = ScaledScorer(forecasts, panel, n_boot=200).differences("B_mask")
    row = table.set_index("metric").loc["rmsse"]
    assert row["ratio"] == pytest.approx(-0.3, abs=1e-6)
    assert row["ratio_lo"] == pytest.approx(-0.3, abs=0.01)
    assert row["lo"] < row["hi"] < 0
    assert row["difference"] == pytest.approx(row["value_a"] - row["value_b"])


def test_what_cannot_be_scored_is_refused():
    forecasts, panel = world()
    scorer = ScaledScorer(forecasts, panel, n_boot=0)
    with pytest.raises(CivstatsError, match="metric must be one of"):
        scorer.errors("A_ignore", "mase")
    with pytest.raises(ForecastError, match="no forecast column C_mask"):
        scorer.differences("C_mask")
    with pytest.raises(ForecastError, match="missing or infinite"):
        ScaledScorer(forecasts.assign(A_ignore=np.nan), panel, n_boot=0).scores()
