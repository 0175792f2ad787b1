"""One-day-ahead chance of a stockout: against statsmodels, and calibrated on days held out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.models.availability import StockoutLogit
from civstats.models.availability.hazard import _design
from civstats.schema import CivstatsError, ForecastError, validate_panel
from civstats.stockouts.simulate import simulate_stockouts
from civstats.value import reliability
from tests.stockouts.simulate.world import negbin_world

PANEL = simulate_stockouts(
    negbin_world(40, 300, mean=3, spread=0.6, plain=False), mechanism="inventory", rate=0.2, seed=1
)
CUTOFF = PANEL["ds"].max() - pd.Timedelta(days=84)


def test_without_shrinkage_to_speak_of_it_is_statsmodels_logit():
    import statsmodels.api as sm

    found = StockoutLogit(series_sd=1e-4, group=None).fit(PANEL).coefficients_
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


def _by_department(n=24, days=250, sd=0.3):
    """Flags that know nothing but their department and series: log odds -2.5, -1.5, -0.5."""
    rng = np.random.default_rng(4)
    dept = np.arange(n) % 3
    odds = -2.5 + dept + sd * rng.standard_normal(n)
    out = rng.random((n, days)) < (1 / (1 + np.exp(-odds)))[:, None]
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat([f"i{k:02d}" for k in range(n)], days),
            "ds": np.tile(pd.date_range("2024-01-01", periods=days), n),
            "y": np.where(out, 0.0, rng.poisson(3, out.shape) + 1.0).ravel(),
            "is_censored": out.ravel(),
            "dept_id": np.repeat([f"D{k}" for k in dept], days),
        }
    )
    return validate_panel(frame)


def test_departments_have_effects_and_a_series_is_shrunk_to_its_own():
    panel = _by_department()
    model = StockoutLogit().fit(panel)
    effects = model.coefficients_.filter(like="dept_id=")
    gaps = effects.to_numpy() - effects.mean()
    # "share of 28 days out" carries a part of every series' own propensity.
    assert 0.4 < np.polyfit([-1, 0, 1], gaps, 1)[0] < 1.05
    assert 0.05 < model.series_sd_ < 0.45
    assert model.group_sd_ > model.series_sd_
    # A new item has its department's chance, and is less sure of it than an old one.
    new = panel[panel["unique_id"].isin(["i00", "i01", "i02"])].copy()
    new["unique_id"] = pd.Categorical("n" + new["unique_id"].astype(str))
    both = validate_panel(pd.concat([panel.astype({"unique_id": str}), new], ignore_index=True))
    table = model.predict(both)
    is_new = table["unique_id"].astype(str).str.startswith("n").to_numpy()
    by = table[is_new].groupby(table["unique_id"].astype(str))["probability"].mean().to_numpy()
    assert by[0] < by[1] < by[2]
    np.testing.assert_allclose(by, 1 / (1 + np.exp([2.5, 1.5, 0.5])), atol=0.06)
    width = np.log(table["hi"] / (1 - table["hi"])) - np.log(table["lo"] / (1 - table["lo"]))
    assert width[is_new].mean() > width[~is_new].mean()
    # Without departments the new items are all alike but for their own last days.
    blind = StockoutLogit(group=None).fit(panel).predict(both)["probability"][is_new]
    blind = blind.groupby(table["unique_id"].astype(str)[is_new]).mean().to_numpy()
    assert np.ptp(by) > 1.15 * np.ptp(blind)


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
