"""Counts read as float32 are the same count in every method; days without exposure have a limit."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest

from civstats.censoring import NegBin, Poisson, ZeroInflatedNegBin
from civstats.models.regression import CensoredNegBin
from civstats.schema import CivstatsError

FAMILIES = [Poisson(), NegBin(2.0), ZeroInflatedNegBin(2.0, 0.3)]
each = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)
ABOVE = float(np.float32(0.3)) * 10  # 3.00000012
BELOW = float(np.float32(0.7)) * 10  # 6.9999998
NAMES = ("y", "c", "x")


@each
@pytest.mark.parametrize("is_censored", [False, True])
@pytest.mark.parametrize(
    ("value", "whole"),
    [(ABOVE, 3.0), (BELOW, 7.0), (5e-7, 0.0), (-5e-7, 0.0), (2e6 + 0.4, 2e6)],
)
def test_nearly_whole_is_whole_in_every_method(family, is_censored, value, whole):
    met = set()
    for name, method in inspect.getmembers(family, inspect.ismethod):
        wanted = inspect.signature(method).parameters
        if name.startswith("_") or not set(NAMES) & set(wanted):
            continue
        met.add(name)

        def call(y, method=method, wanted=wanted):
            given = {**dict.fromkeys(NAMES, y), "eta": 1.0, "is_censored": is_censored, "seed": 3}
            return method(**{k: v for k, v in given.items() if k in wanted})

        np.testing.assert_array_equal(call(value), call(whole), err_msg=name)
    assert met >= {"logpmf", "log_survival", "cdf", "loglik", "grad_hess", "conditional_mean",
                   "sample_above", "pit"}  # fmt: skip


@each
def test_fractions_keep_their_side(family):
    assert family.log_survival(3.01, 1.0) == family.log_survival(4.0, 1.0)
    assert family.conditional_mean(3.00001, 1.0) == family.conditional_mean(4.0, 1.0)
    assert family.cdf(3.99, 1.0) == family.cdf(3.0, 1.0)
    assert family.cdf(np.inf, 1.0) == 1.0
    assert family.cdf(-np.inf, 1.0) == 0.0
    with pytest.raises(CivstatsError, match="whole numbers"):
        family.logpmf([3.0, 3.00001], 1.0)
    with pytest.raises(CivstatsError, match="whole numbers"):
        family.logpmf(-1.0, 1.0)


def test_a_regression_on_float32_recovers_as_on_whole_numbers():
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=400)})
    demand = NegBin(2.0).sample(1.0 + 0.3 * data["x"].to_numpy(), rng)
    data["y"], data["cens"] = np.minimum(demand, 3.0), demand >= 3
    noisy = data.assign(y=(data["y"].to_numpy() / 10).astype(np.float32).astype(float) * 10)
    assert (noisy["y"] != data["y"]).any()
    fits = [CensoredNegBin.from_formula("y ~ x", d, censored="cens").fit() for d in (data, noisy)]
    np.testing.assert_array_equal(fits[0].params, fits[1].params)
    np.testing.assert_array_equal(fits[0].recovered(), fits[1].recovered())
    # By brute force: the sum of P(D >= j), j > c, over P(D >= c).
    first = int(np.flatnonzero(data["cens"])[0])
    eta = float(fits[1].predict(which="linear")[first])
    far = np.exp(fits[1].family.log_survival(np.arange(3, 2000), eta))
    assert np.asarray(fits[1].recovered())[first] == pytest.approx(2 + far.sum() / far[0])
    assert noisy["y"].max() > 3  # left as it was


@each
def test_without_exposure_draws_and_mean_are_the_bound(family):
    c = np.array([0.0, 2.0, 2.3, np.nan])
    drawn = family.sample_above(c, 1.0, 0, size=5, exposure=0.0)
    np.testing.assert_array_equal(drawn, np.tile([0.0, 2.0, 3.0, np.nan], (5, 1)))
    np.testing.assert_array_equal(drawn[0], family.conditional_mean(c, 1.0, exposure=0.0))
    assert np.isnan(family.sample_above(2.0, np.nan, 0, exposure=0.0))
    # It is the limit as the exposure vanishes.
    assert family.conditional_mean(2.0, 1.0, exposure=1e-9) == pytest.approx(2.0)
