"""Recapture read from a panel: against the simulator that set it."""

from __future__ import annotations

import numpy as np
import pytest

from civstats.schema import CivstatsError, stockout_days
from civstats.stockouts.simulate import Recapture, simulate_stockouts
from civstats.value import RecaptureEstimate, estimate_recapture
from tests.stockouts.simulate.world import negbin_world

WORLD = negbin_world(40, 400, mean=4, spread=0.5)


def world(mechanism, substitute, later):
    rule = Recapture(substitute, later)
    panel = simulate_stockouts(WORLD, mechanism=mechanism, rate=0.15, seed=1, recapture=rule)
    expected = np.maximum(panel["demand_mean"] - panel["y"], 0).to_numpy()
    return panel, np.where(stockout_days(panel), expected, 0.0)


@pytest.mark.parametrize(("substitute", "later"), [(0, 0), (0.3, 0.2), (0.5, 0.1), (0, 0.4)])
def test_shares_that_were_set_are_found_where_outages_come_at_random(substitute, later):
    found = estimate_recapture(*world("random", substitute, later))
    assert found.substitute == pytest.approx(substitute, abs=3 * found.substitute_se)
    assert found.later == pytest.approx(later, abs=3 * found.later_se)
    assert found.substitute_se < 0.06
    assert found.later_se < 0.06
    draws = found.total(4000, seed=1)
    assert ((draws >= 0) & (draws <= 1)).all()
    assert draws.mean() == pytest.approx(substitute + later, abs=0.12)


def test_it_is_a_lower_bound_of_substitution_where_demand_empties_shelves():
    found = estimate_recapture(*world("inventory", 0.5, 0.1))
    assert 0.05 < found.substitute < 0.5
    assert 0.1 < found.later < 0.3
    assert found.substitute + found.later < 0.6


def test_prior_and_estimate_weigh_by_their_precision():
    rng = np.random.default_rng(0)
    draws = rng.normal([0.3, 0.1], 0.1, (20_000, 2))
    estimate = RecaptureEstimate(0.3, 0.1, 0.1, 0.1, draws, 3)
    # Variances 0.02 and 0.04: two thirds of the way from the prior to the estimate.
    got = estimate.total(20_000, prior=(0.7, 0.2))
    assert got.mean() == pytest.approx(0.5, abs=0.01)
    assert got.std() == pytest.approx(np.sqrt(0.04 / 3), abs=0.01)


def test_what_it_needs():
    panel, lost = world("random", 0, 0)
    with pytest.raises(CivstatsError, match="dept_id, which the panel lacks"):
        estimate_recapture(panel.drop(columns="dept_id"), lost)
    for wrong in (lost[:-1], -lost, 0 * lost):
        with pytest.raises(CivstatsError, match="lost must hold"):
            estimate_recapture(panel, wrong)
