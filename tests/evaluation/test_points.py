"""The plain functions of point scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import root_mean_squared_error

from civstats.evaluation.points import bias, rmse, wape
from civstats.schema import ForecastError

values = st.lists(st.tuples(st.integers(0, 50), st.floats(0, 50)), min_size=1, max_size=30)


@given(values)
def test_against_definitions(pairs):
    a, f = np.array(pairs, dtype=float).T
    assert rmse(a, f) == pytest.approx(root_mean_squared_error(a, f), abs=1e-10)
    if a.sum() > 0:
        assert wape(a, f) >= abs(bias(a, f)) - 1e-12
        assert bias(a, f) == pytest.approx(f.sum() / a.sum() - 1, abs=1e-10)
    else:
        assert math.isnan(wape(a, f))
        assert math.isnan(bias(a, f))


def test_wape_rewards_the_median_and_rmse_the_mean():
    demand = stats.nbinom(2, 2 / 7).rvs(20_000, random_state=np.random.default_rng(1))
    mean, median = 5.0, stats.nbinom(2, 2 / 7).median()
    at = lambda x: np.full(len(demand), x)  # noqa: E731
    assert wape(demand, at(median)) < wape(demand, at(mean))
    assert rmse(demand, at(mean)) < rmse(demand, at(median))


@pytest.mark.parametrize("score", [wape, rmse, bias])
def test_refuses_what_is_missing(score):
    with pytest.raises(ForecastError, match=r"1 value\(s\) missing or infinite, first at 1"):
        score([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(ForecastError, match="shape"):
        score([1.0, 2.0], [1.0])
    assert math.isnan(score([], []))
