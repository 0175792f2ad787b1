"""Which days each regime takes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from civstats.evaluation import evaluate
from civstats.evaluation.regimes import REGIMES, choose_regimes
from civstats.schema import REGIMES as NAMES
from civstats.schema import CivstatsError
from tests.evaluation.world import make_forecasts, make_panel, pooled


@pytest.fixture(scope="module")
def panel():
    return make_panel()


def names(panel, asked=None):
    return [r.name for r in choose_regimes(asked, panel)]


def test_the_table_has_the_contracts_names():
    assert tuple(r.name for r in REGIMES) == NAMES


def test_only_what_the_panel_can_offer_is_scored_by_default(panel):
    assert names(panel) == ["all_days", "in_stock", "demand", "censored"]
    assert names(panel.drop(columns="demand")) == ["all_days", "in_stock", "censored"]
    assert names(panel.drop(columns="is_censored")) == ["all_days", "demand"]
    share = panel.drop(columns="is_censored").assign(in_stock_share=np.float32(0.5))
    assert names(share) == ["all_days", "in_stock", "demand"]
    unknown = panel.assign(flag_known=False)
    assert names(unknown) == ["all_days", "demand"]


def test_asking_for_what_is_not_there_raises(panel):
    with pytest.raises(CivstatsError, match=r"in_stock is not available: .* no is_censored"):
        names(panel.drop(columns="is_censored"), "in_stock")
    with pytest.raises(CivstatsError, match="in_stock is not available: flag_known is False"):
        names(panel.assign(flag_known=False), ["in_stock"])
    with pytest.raises(CivstatsError, match="demand is not available: the panel has no demand"):
        names(panel.drop(columns="demand"), ["demand"])
    with pytest.raises(CivstatsError, match="must be one of"):
        names(panel, "sales")
    with pytest.raises(CivstatsError, match="regimes is empty"):
        names(panel, [])


@pytest.mark.parametrize("name", ["stockout", "stockout_days"])
def test_a_plain_error_on_stockout_days_is_refused(panel, name):
    with pytest.raises(CivstatsError, match="only a lower bound of demand"):
        names(panel, name)


def test_in_stock_takes_days_known_to_be_in_stock_only(panel):
    rng = np.random.default_rng(0)
    known = rng.random(len(panel)) < 0.7
    share = np.where(rng.random(len(panel)) < 0.2, 0.6, 1).astype("float32")
    mixed = panel.assign(flag_known=known, in_stock_share=share)
    forecasts = make_forecasts(mixed, ("A_mask",))
    row = pooled(evaluate(forecasts, mixed, n_boot=0), "bias", "in_stock")
    frame = forecasts.merge(mixed, on=["unique_id", "ds"])
    frame = frame[frame["flag_known"] & ~frame["is_censored"] & (frame["in_stock_share"] == 1)]
    assert 0 < row.n == len(frame) < 0.7 * len(forecasts)
    assert row.value == pytest.approx(frame["A_mask"].sum() / frame["y"].sum() - 1, abs=1e-6)
