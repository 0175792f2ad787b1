from __future__ import annotations

import numpy as np
import pytest

from civstats.demand_filter import FilterParameters
from civstats.schema import CivstatsError


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"family": "gamma"}, "family must be one of poisson"),
        ({"dispersion": 0.0}, "dispersion must be above 0"),
        ({"dispersion": [1.0, np.nan]}, "dispersion must be above 0, but 1 value"),
        ({"family": "normal", "dispersion": np.inf}, "above 0 and finite"),
        ({"level_sd": -0.1}, "level_sd must be finite and >= 0"),
        ({"level_sd": [0.1, np.inf]}, "first inf at series 1"),
        ({"damping": 0.0}, r"damping must be in \(0, 1\]"),
        ({"damping": 1.01}, r"damping must be in \(0, 1\]"),
        ({"zero_inflation": 0.1}, "belongs to zero_inflated_negbin"),
        ({"family": "zero_inflated_negbin", "zero_inflation": 1.0}, r"in \[0, 1\)"),
        ({"level_drift": np.nan}, "level_drift must be finite"),
        ({"level_drift": 0.1, "damping": 0.9}, "belongs to a random walk"),
        ({"level_drift": [0.0, 0.1], "level_sd": [0.1, 0.0]}, "belongs to a random walk"),
        ({"out_rate": 0.1}, "both out_rate and back_rate"),
        ({"out_rate": 0.1, "back_rate": 1.1}, r"back_rate must be in \[0, 1\]"),
        (
            {"family": "normal", "dispersion": 1.0, "out_rate": 0.1, "back_rate": 0.1},
            "zeros have a probability",
        ),
        ({"prior_mean": [0.0, 1.0], "prior_sd": [1.0, 1.0, 1.0]}, "number of series"),
        ({"prior_mean": np.zeros((2, 2))}, "has shape"),
    ],
)
def test_refusals(given, text):
    with pytest.raises(CivstatsError, match=text):
        FilterParameters(**given)


def test_numbers_hold_for_all_and_arrays_are_taken():
    params = FilterParameters("negbin", dispersion=2.0, prior_mean=[0.0, 1.0, 2.0])
    assert params.n_series == 3
    assert FilterParameters().n_series is None
    part = params.take([2, 0])
    assert part.prior_mean.tolist() == [2.0, 0.0]
    assert part.dispersion == 2.0
    matrix = params.matrix(3)
    assert matrix[:, 0].tolist() == [0.5, 0.5, 0.5]
    assert matrix[:, 3].tolist() == [0.0, 1.0, 2.0]  # a damped level returns to the prior mean
    with pytest.raises(CivstatsError, match="made for 3 series, but there are 4"):
        params.matrix(4)


def test_expected_demand_of_a_random_walk_is_a_martingale_unless_told_otherwise():
    sd = np.array([0.0, 0.1, 0.4])
    assert FilterParameters(level_sd=sd).drift.tolist() == (-(sd**2) / 2).tolist()
    assert FilterParameters("normal", dispersion=1.0, level_sd=sd).drift.tolist() == [0.0] * 3
    damped = FilterParameters(level_sd=sd, damping=[1.0, 1.0, 0.9])
    assert damped.drift.tolist() == [0.0, -(0.1**2) / 2, 0.0]
    given = FilterParameters(level_sd=0.1, level_drift=[0.02, 0.0])
    assert given.matrix(2)[:, -1].tolist() == [0.02, 0.0]


def test_arrays_are_copies():
    mean = np.zeros(2)
    params = FilterParameters(prior_mean=mean)
    mean[0] = 9.0
    assert params.prior_mean[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        params.prior_mean[0] = 1.0
