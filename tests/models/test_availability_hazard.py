"""One-day-ahead chance of a stockout: against statsmodels, and calibrated on days held out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.models.availability import StockoutLogit
from civstats.models.availability.hazard import _design
from civstats.schema import CivstatsError, ForecastError
from civstats.stockouts.simulate import simulate_stockouts
from civstats.value import reliability
from tests.stockouts.simulate.world import negbin_world

PANEL = simulate_stockouts(
    negbin_world(40, 300, mean=3, spread=0.6, plain=False), mechanism="inventory", rate=0.2, seed=1
)
CUTOFF = PANEL["ds"].max() - pd.Timedelta(days=84)


def test_without_shrinkage_to_speak_of_it_is_statsmodels_logit():
    import statsmodels.api as sm

    found = StockoutLogit(series_sd=1e-4).fit(PANEL).coefficients_
    x, y, usable, names = _design(PANEL, None)
    theirs = sm.Logit(y[usable].astype(float), x[usable]).fit(disp=0).params
    np.testing.assert_allclose(found[names], theirs, atol=0.02)


def test_chances_are_calibrated_on_days_held_out():
    model = StockoutLogit().fit(PANEL[PANEL["ds"] <= CUTOFF])
    table = model.predict(PANEL)
    late = (PANEL["ds"] > CUTOFF).to_numpy()
    p, out = table["probability"].to_numpy()[late], PANEL["is_censored"].to_numpy()[late]
    curve = reliability(p, out, cluster=PANEL["unique_id"].cat.codes.to_numpy()[late])
    curve = curve[curve["n"] >= 100]
    assert (abs(curve["observed"] - curve["expected"]) < np.maximum(0.06, curve["half"])).all()
    assert p.mean() == pytest.approx(out.mean(), abs=0.02)
    # Better than each series' own past share.
    own = PANEL[~late].groupby("unique_id", observed=True)["is_censored"].mean()
    flat = PANEL["unique_id"].astype(object).map(own).to_numpy(float)[late]
    assert ((p - out) ** 2).mean() < 0.93 * ((flat - out) ** 2).mean()
    assert (table["lo"] <= table["probability"] + 0.05).all()
    assert (table["lo"] < table["hi"]).all()


def test_a_day_never_reads_its_own_outcome_or_what_follows():
    model = StockoutLogit().fit(PANEL[PANEL["ds"] <= CUTOFF])
    blind = PANEL.copy()
    after = (blind["ds"] > CUTOFF).to_numpy()
    blind.loc[after, ["y", "demand", "demand_mean"]] = 7
    blind.loc[after, "is_censored"] = True
    upto = (PANEL["ds"] <= CUTOFF + pd.Timedelta(days=1)).to_numpy()
    pd.testing.assert_frame_equal(model.predict(PANEL)[upto], model.predict(blind)[upto])
    assert not model.predict(PANEL).equals(model.predict(blind))


def test_what_it_needs():
    with pytest.raises(CivstatsError, match="no stockout flags"):
        StockoutLogit().fit(PANEL.drop(columns=["is_censored", "stock"]))
    with pytest.raises(ForecastError, match="not fitted"):
        StockoutLogit().predict(PANEL)
    with pytest.raises(CivstatsError, match="series_sd"):
        StockoutLogit(series_sd=0)
    with pytest.raises(ForecastError, match="expected demand"):
        StockoutLogit().fit(PANEL).predict(PANEL, np.ones(len(PANEL)))
