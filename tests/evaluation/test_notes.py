"""What the score frame's note says of scores that keep their value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.evaluation import evaluate
from tests.evaluation.world import make_forecasts, make_panel, pooled


@pytest.fixture(scope="module")
def panel():
    return make_panel(out_rate=0.0)


def plain(forecasts, panel, metrics=("wape", "bias"), **options):
    return evaluate(forecasts, panel, metrics=list(metrics), n_boot=0, **options)


def test_whole_windows_without_stockouts_have_no_note(panel):
    scores = evaluate(make_forecasts(panel), panel, n_boot=0)
    some = scores[scores["regime"] != "censored"]
    assert (some["note"] == "").all()
    assert some["identified"].all()


def test_scores_of_sales_say_so_once_days_are_out():
    panel = make_panel(out_rate=0.3)
    forecasts = make_forecasts(panel)
    held = forecasts.merge(panel, on=["unique_id", "ds"])
    out = held["is_censored"].mean()
    metrics = ["wape", "mase", "bias", "coverage", "winkler", "pinball", "width"]
    scores = plain(forecasts, panel, metrics)
    for metric in metrics:
        level = 80 if metric in ("coverage", "winkler", "pinball", "width") else None
        notes = {
            r: pooled(scores, metric, r, level=level) for r in ("all_days", "in_stock", "demand")
        }
        assert all(row.identified for row in notes.values())
        assert notes["demand"].note == ""
        if metric == "width":
            assert {row.note for row in notes.values()} == {""}
            continue
        assert notes["all_days"].note == f"scores sales, not demand: {out:.0%} of days out"
        assert notes["in_stock"].note.startswith(f"scores in-stock days alone, {out:.0%} of days")
    last = held["cutoff"].max()
    row = scores[(scores["cutoff"] == last) & (scores["metric"] == "wape")].iloc[0]
    assert f"{held.loc[held['cutoff'] == last, 'is_censored'].mean():.0%} of days" in row["note"]


def test_under_heavy_stockouts_the_mean_is_not_identified_and_the_median_is_of_sales():
    panel = make_panel(out_rate=0.7)
    scores = plain(make_forecasts(panel), panel, ["rmse", "wape"])
    mean, median = (pooled(scores, m, "all_days") for m in ("rmse", "wape"))
    assert not mean.identified
    assert mean.note.startswith("not identified")
    assert "scores sales" not in mean.note
    assert median.identified
    assert median.note.startswith("scores sales, not demand")


def test_series_absent_at_a_cutoff_are_counted(panel):
    forecasts = make_forecasts(panel)
    first, middle, last = sorted(forecasts["cutoff"].unique())
    # s001 is launched after the first cutoff; s004 is left out of the last for no reason.
    launched = panel[(panel["unique_id"] != "s001") | (panel["ds"] > first + pd.Timedelta(days=2))]
    gone = (forecasts["unique_id"] == "s001") & (forecasts["cutoff"] == first)
    gone |= (forecasts["unique_id"] == "s004") & (forecasts["cutoff"] == last)
    scores = plain(forecasts[~gone], launched, ["bias"], regimes="demand")
    notes = scores[scores["treatment"] == "mask"].set_index("cutoff")["note"]
    assert notes[pd.NaT] == (
        "2 of 6 series without a forecast at some cutoff, 1 of them though the panel has its "
        "history and window"
    )
    assert notes[first] == "1 of 6 series without a forecast here"
    assert notes[middle] == ""
    assert notes[last].endswith("1 of them though the panel has its history and window")
    assert scores["identified"].all()


def test_unequal_windows_are_said(panel):
    forecasts = make_forecasts(panel)
    last = forecasts["cutoff"].max()
    late = forecasts["ds"] > last + pd.Timedelta(days=4)
    scores = plain(forecasts[~late], panel, ["bias"], regimes="demand")
    assert pooled(scores, "bias", "demand").note == "windows are unequal: 4 to 7 days"
    assert (scores.loc[scores["cutoff"].notna(), "note"] == "").all()
    early = forecasts["ds"] == last + pd.Timedelta(days=1)
    scores = plain(forecasts[~early], panel, ["bias"], regimes="demand")
    assert pooled(scores, "bias", "demand").note == (
        "windows are unequal: 6 to 7 days; windows begin 1 to 2 periods after their cutoff"
    )


def test_a_series_that_ends_inside_a_window_is_counted(panel):
    forecasts = make_forecasts(panel)
    last = forecasts["cutoff"].max()
    ended = panel[(panel["unique_id"] != "s002") | (panel["ds"] <= last + pd.Timedelta(days=3))]
    beyond = (forecasts["unique_id"] == "s002") & (forecasts["ds"] > last + pd.Timedelta(days=3))
    scores = plain(forecasts[~beyond], ended, ["bias"], regimes="demand")
    for cutoff in (pd.NaT, last):
        at = scores["cutoff"].isna() if cutoff is pd.NaT else scores["cutoff"] == cutoff
        assert set(scores.loc[at, "note"]) == {
            "1 of 6 series without sales on some days of a window"
        }


def test_windows_without_a_scale_are_counted(panel):
    flat = panel.assign(y=panel["y"].where(panel["unique_id"] != "s003", 2.0).astype("float32"))
    forecasts = make_forecasts(flat)
    scores = plain(forecasts, flat, ["mase", "rmsse", "bias"], regimes="all_days")
    for metric in ("mase", "rmsse"):
        row = pooled(scores, metric, "all_days")
        assert row.note == "3 window(s) left out: no change before the cutoff to scale by"
        assert np.isfinite(row.value)
        assert row.identified
    assert pooled(scores, "bias", "all_days").note == ""
