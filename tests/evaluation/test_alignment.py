"""What the join of forecasts and actuals refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.evaluation import evaluate
from civstats.schema import CivstatsError, ForecastError, PanelError
from tests.evaluation.world import make_forecasts, make_panel


@pytest.fixture(scope="module")
def panel():
    return make_panel()


@pytest.fixture(scope="module")
def forecasts(panel):
    return make_forecasts(panel)


@pytest.mark.parametrize("column", ["A_mask", "A_mask-median", "A_ignore-lo-80", "A_mask-hi-95"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_missing_or_infinite_forecast_raises(panel, forecasts, column, value):
    broken = forecasts.copy()
    broken.loc[17, column] = value
    with pytest.raises(ForecastError, match=rf"1 row\(s\) of {column} missing or infinite"):
        evaluate(broken, panel, n_boot=0)


def test_what_does_not_match_raises(panel, forecasts):
    def refused(match, forecasts=forecasts, panel=panel, error=ForecastError, **options):
        with pytest.raises(error, match=match) as caught:
            evaluate(forecasts, panel, n_boot=0, **options)
        assert "\n" not in str(caught.value)

    refused("1 day.* without a forecast", forecasts.drop(index=5))
    last = panel["ds"] == panel["ds"].max()
    refused(r"6 forecast row\(s\) without an actual", panel=panel[~last])
    without = panel[panel["unique_id"] != "s003"]
    refused(r"21 forecast row\(s\) without an actual", panel=without)
    refused("not in the panel, first s003", panel=without.astype({"unique_id": str}))
    refused("repeat a series", pd.concat([forecasts, forecasts.iloc[[3]]]))
    refused("not after its cutoff", forecasts.assign(cutoff=forecasts["ds"]))
    refused("lack column.*A_mask-hi-95", forecasts.drop(columns="A_mask-hi-95"))
    refused("lack column.*A_mask-median", forecasts.drop(columns="A_mask-median"))
    refused("lack column.*cutoff", forecasts.drop(columns="cutoff"))
    refused("no forecasts of the form", forecasts.assign(y=1.0))
    refused("no column of the form", forecasts[["unique_id", "ds", "cutoff"]])
    refused("no rows", forecasts.iloc[:0])
    refused("must be numeric", forecasts.assign(A_mask="1"))
    swapped = forecasts.rename(
        columns={"A_mask-lo-80": "A_mask-hi-80", "A_mask-hi-80": "A_mask-lo-80"}
    )
    refused("end before they begin", swapped)
    refused("panel repeats", panel=pd.concat([panel, panel.tail(1)]), error=PanelError)
    demand = panel.assign(demand=panel["demand"].where(~last))
    refused(r"6 actual\(s\) \(demand\) missing", panel=demand)
    refused("did you mean 80", level=[0.8], error=CivstatsError)
    refused("metrics must be", metrics=["mape"], error=CivstatsError)
    refused("need a level", metrics=["coverage"], level=None, error=CivstatsError)
    with pytest.raises(CivstatsError, match="n_boot"):
        evaluate(forecasts, panel, n_boot=-1)
    with pytest.raises(CivstatsError, match="block"):
        evaluate(forecasts, panel, block=0)


def test_a_day_that_no_series_has_inside_a_window_raises(panel, forecasts):
    first, *_, last = sorted(forecasts["cutoff"].unique())
    day = last + pd.Timedelta(days=3)
    with pytest.raises(
        ForecastError, match=r"1 day\(s\) inside a window without a forecast of any"
    ):
        evaluate(forecasts[forecasts["ds"] != day], panel, n_boot=0)
    # In overlapping windows the day has its forecast of another cutoff.
    twice = make_forecasts(panel, h=10, step=3, n_windows=3)
    hole = (twice["cutoff"] == twice["cutoff"].max()) & (
        twice["ds"] == twice["cutoff"].max() + pd.Timedelta(days=2)
    )
    assert hole.sum() == 6
    with pytest.raises(ForecastError, match=rf"cutoff {twice['cutoff'].max().date()}"):
        evaluate(twice[~hole], panel, n_boot=0)
    # A panel without that day, such as a week's end, has nothing to forecast there.
    closed = panel[panel["ds"] != first + pd.Timedelta(days=3)]
    kept = forecasts[forecasts["ds"] != first + pd.Timedelta(days=3)]
    assert len(evaluate(kept, closed, n_boot=0, metrics="bias"))
