"""Row kernels against scipy, mpmath-checked scalar kernels and brute sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from civstats.censoring import NegBin
from civstats.censoring import _row_kernels as rows
from civstats.censoring import _vector_math as vector

LEVELS = np.linspace(-6.0, 6.0, 41)
RATES = np.exp(LEVELS)
COUNTS = (0, 1, 2, 7, 31, 32, 100, 763)


def exact(y, shift, size, levels=LEVELS):
    out, table = np.empty(len(levels)), np.empty(rows.TABLE)
    rows.fill_constants(table, 1 / size)
    rows.exact_count(out, float(y), levels, np.exp(levels), shift, 1 / size, table)
    return out


def bound(c, shift, size, levels=LEVELS):
    out, table = np.empty(len(levels)), np.empty(rows.TABLE)
    rows.fill_constants(table, 1 / size)
    work = np.empty((3, len(levels)))
    rows.bound_count(out, float(c), levels, np.exp(levels), shift, 1 / size, table, work)
    return out


def law(shift, size):
    mu = np.exp(LEVELS + shift)
    return stats.poisson(mu) if np.isinf(size) else stats.nbinom(size, size / (size + mu))


def test_vector_math_against_numpy():
    x = -np.r_[np.linspace(0.0, 708.0, 2001), np.logspace(-300, 0, 301)]
    got = np.array([vector.exp(v) for v in x])
    np.testing.assert_allclose(got, np.exp(x), rtol=5e-16)
    assert vector.exp(-800.0) == 0.0
    assert vector.exp(-math.inf) == 0.0
    z = np.r_[0.0, np.logspace(-320, 299, 1241)]
    np.testing.assert_allclose([vector.log1p(v) for v in z], np.log1p(z), rtol=5e-16)
    u = np.r_[1.0, np.logspace(-300, 300, 1201), 1 + np.logspace(-15, 0, 61)]
    np.testing.assert_allclose([vector.log(v) for v in u], np.log(u), rtol=5e-16, atol=1e-17)


@pytest.mark.parametrize("size", [0.3, 2.0, 40.0, np.inf])
@pytest.mark.parametrize("shift", [-1.0, 0.0, 2.0])
@pytest.mark.parametrize("y", COUNTS)
def test_counts_against_scipy(y, shift, size):
    want = law(shift, size).logpmf(y)
    np.testing.assert_allclose(exact(y, shift, size), want, rtol=1e-11, atol=1e-11)
    want = law(shift, size).logsf(y - 1)
    good = want > -600  # scipy underflows beyond
    np.testing.assert_allclose(bound(y, shift, size)[good], want[good], rtol=1e-9, atol=1e-12)


@settings(max_examples=150, deadline=None)
@given(
    c=st.integers(0, 400),
    shift=st.floats(-6, 6),
    log_size=st.floats(-3, 30),
)
def test_rows_agree_with_the_scalar_kernels(c, shift, log_size):
    size = math.exp(log_size)
    family = NegBin(size)
    want = family.logpmf(c, LEVELS + shift)
    np.testing.assert_allclose(exact(c, shift, size), want, rtol=1e-11, atol=1e-10)
    want = family.log_survival(c, LEVELS + shift)
    got = bound(c, shift, size)
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)
    assert (np.diff(got) >= -1e-12).all()


def test_a_bound_of_nothing_says_nothing():
    assert (bound(0, 0.0, 2.0) == 0.0).all()


def test_ties_are_included():
    # P(D >= 1) = 1 - P(D = 0), not 1 - P(D <= 1).
    np.testing.assert_allclose(
        np.exp(bound(1, 0.0, 2.0)), -np.expm1(exact(0, 0.0, 2.0)), rtol=1e-13
    )


@pytest.mark.parametrize(("y", "is_bound"), [(0, False), (3, False), (4, True), (0, True)])
def test_zero_inflation(y, is_bound):
    out = bound(y, 0.0, 2.0) if is_bound else exact(y, 0.0, 2.0)
    rows.inflate(out, float(y), is_bound, 0.3)
    base = law(0.0, 2.0)
    if is_bound:
        want = 0.7 * base.sf(y - 1) if y > 0 else np.ones(len(LEVELS))
    else:
        want = 0.7 * base.pmf(y) + 0.3 * (y == 0)
    np.testing.assert_allclose(out, np.log(want), rtol=1e-10, atol=1e-12)


def test_normal_tail_against_scipy():
    z = np.r_[np.linspace(-38, 200, 2001), 29.999, 30.0, 30.001]
    got = np.array([rows.log_normal_sf(v) for v in z])
    np.testing.assert_allclose(got, special.log_ndtr(-z), rtol=2e-13, atol=1e-300)


@pytest.mark.parametrize("is_bound", [False, True])
def test_normal_rows(is_bound):
    out = np.empty(len(LEVELS))
    rows.normal(out, 2.5, is_bound, LEVELS, 0.4, 0.7, 1.3)
    dist = stats.norm(0.4 * LEVELS + 0.7, 1.3)
    want = dist.logsf(2.5) if is_bound else dist.logpdf(2.5)
    np.testing.assert_allclose(out, want, rtol=1e-12)
