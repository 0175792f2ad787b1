"""A nan never becomes a number: every method of every family gives nan or refuses."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from civstats.censoring import LogNormal, NegBin, Normal, Poisson, ZeroInflatedNegBin
from civstats.schema import CivstatsError

FAMILIES = [Poisson(), NegBin(2.0), ZeroInflatedNegBin(2.0, 0.3), Normal(2.0), LogNormal(0.7)]
each = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)
DATA = ("y", "c", "x", "prob", "eta", "exposure", "lower", "upper")
SAFE = {"y": 3.0, "c": 3.0, "x": 3.0, "prob": 0.5, "eta": 0.5, "exposure": 1.0, "lower": 2.0,
        "upper": 3.0, "seed": 0}  # fmt: skip


def methods(family):
    return [
        (name, [p for p in inspect.signature(m).parameters if p in DATA])
        for name, m in inspect.getmembers(family, inspect.ismethod)
        if not name.startswith("_")
    ]


def call(family, name, **given):
    m = getattr(family, name)
    wanted = inspect.signature(m).parameters
    args = {k: v for k, v in {**SAFE, **given}.items() if k in wanted}
    out = m(**args)
    return [np.asarray(v) for v in (out if isinstance(out, tuple) else (out,))]


def test_the_sweep_sees_the_methods():
    seen = {name for family in FAMILIES for name, _ in methods(family)}
    assert seen >= {
        "logpmf", "logpdf", "log_survival", "cdf", "conditional_mean", "quantile", "pit", "loglik",
        "grad_hess", "dispersion_derivatives", "interval_loglik", "mean", "variance", "sample",
        "sample_above",
    }  # fmt: skip


@each
@pytest.mark.parametrize("is_censored", [False, True])
@pytest.mark.parametrize("bound", [0.0, 1.0, 3.0])
def test_nan_in_is_nan_out_or_an_error(family, is_censored, bound):
    if isinstance(family, LogNormal) and bound == 0.0 and not is_censored:
        bound = 0.5  # an exact zero is refused whatever eta
    base = {"y": bound, "c": bound, "x": bound, "is_censored": is_censored}
    for name, data in methods(family):
        for bad in data:
            try:
                out = call(family, name, **{**base, bad: np.nan})
            except CivstatsError:
                continue
            for values in out:
                assert np.isnan(values).all(), (name, bad, out)


@each
def test_a_nan_does_not_touch_its_neighbours(family):
    for name, data in methods(family):
        if "eta" not in data or name in ("sample", "sample_above", "pit"):
            continue
        whole = call(family, name, eta=np.array([0.5, 0.5, 0.9]))
        holed = call(family, name, eta=np.array([0.5, np.nan, 0.9]))
        for a, b in zip(whole, holed, strict=True):
            np.testing.assert_array_equal(a[[0, 2]], b[[0, 2]], err_msg=name)
            assert np.isnan(b[1]), name


@each
def test_no_draw_comes_from_a_nan(family):
    assert np.isnan(family.sample(np.nan, 0, size=50)).all()
    assert np.isnan(family.sample_above([0.0, 2.0], np.nan, 0, size=50)).all()
    drawn = family.sample([0.5, np.nan], 0, size=50)
    assert np.isfinite(drawn[:, 0]).all()


def test_nan_parameters_are_refused():
    for make in (NegBin, Normal, LogNormal, lambda v: ZeroInflatedNegBin(v, 0.3)):
        with pytest.raises(CivstatsError, match="1 value"):
            make(np.nan)
    with pytest.raises(CivstatsError, match="zero_prob"):
        ZeroInflatedNegBin(2.0, np.nan)


def test_bounds_beyond_the_support():
    family = ZeroInflatedNegBin(2.0, 0.3)
    assert family.log_survival([0.0, -3.0], 0.5).tolist() == [0.0, 0.0]
    np.testing.assert_allclose(family.conditional_mean([0.0, -3.0], 0.5), family.mean(0.5))
    assert family.cdf(-1.0, 0.5) == 0.0
    # Nothing lies above an infinite bound, and a mean of 0 leaves the bound itself.
    assert Normal(1.0).conditional_mean(np.inf, 0.0) == np.inf
    assert LogNormal(1.0).conditional_mean(np.inf, 0.0) == np.inf
    assert LogNormal(1.0).conditional_mean(2.0, 0.0, exposure=0.0) == 2.0
    # A bound at minus infinity says nothing.
    assert Normal(1.0).conditional_mean(-np.inf, 0.3) == 0.3
