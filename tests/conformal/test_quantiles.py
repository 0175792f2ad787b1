"""The quantiles by their definition and by numpy's; the promise of the bounds on known truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from civstats.conformal import (
    censored_lower_bound,
    conformal_quantile,
    weighted_conformal_quantile,
)
from civstats.schema import CivstatsError

FAR = 1e300
numbers = st.lists(st.integers(-20, 20), min_size=1, max_size=30)


@given(numbers, st.sampled_from([0.05, 0.5, 0.6, 0.9, 0.95, 0.975]))
def test_it_is_numpys_quantile_of_the_scores_and_infinity(scores, p):
    with_new = np.append(np.asarray(scores, float), FAR)
    expected = np.quantile(with_new, p, method="inverted_cdf")
    found = conformal_quantile(scores, p)
    assert (found if np.isfinite(found) else FAR) == expected
    # The definition, with no arithmetic: enough scores are at or below, and one less is too few.
    n = len(scores)
    enough = [v for v in sorted(scores) if sum(x <= v for x in scores) >= p * (n + 1) - 1e-9]
    assert found == (enough[0] if enough else np.inf)


@settings(max_examples=60)
@given(st.integers(1, 25), st.integers(0, 1000), st.sampled_from([0.3, 0.8, 0.95]))
def test_weighted_is_numpys_weighted_quantile(n, seed, p):
    rng = np.random.default_rng(seed)
    scores, w, own = rng.integers(-5, 5, n), rng.uniform(0.1, 4, n), rng.uniform(0.1, 9, 3)
    found = weighted_conformal_quantile(scores, w, own, p)
    for x, mine in zip(own, found, strict=True):
        expected = np.quantile(
            np.append(scores, FAR), p, weights=np.append(w, x), method="inverted_cdf"
        )
        assert (mine if np.isfinite(mine) else FAR) == expected
    np.testing.assert_array_equal(found, weighted_conformal_quantile(scores, 7 * w, 7 * own, p))
    same = weighted_conformal_quantile(scores, np.full(n, 3.0), [3.0], p)
    assert same[0] == conformal_quantile(scores, p)


def test_a_row_too_many_is_not_asked_for():
    # (9 + 1) 0.9 is 9 in numbers and a hair more in floating point if 0.9 is 1 - 0.1.
    assert conformal_quantile(np.arange(1.0, 10), 1 - (1 - 80 / 100) / 2) == 9


def test_the_rank_promise_is_exact_without_ties():
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((20_000, 20))
    hit = [row[0] <= conformal_quantile(row[1:], 0.9) for row in scores]
    # ceil(20 * 0.9) / 20 = 0.9; the error is 0.002.
    assert np.mean(hit) == pytest.approx(0.9, abs=0.007)


def shop(rng, n):
    """Demand and stock both follow x; the forecast knows nothing of x."""
    x = rng.integers(0, 2, n)
    mean = np.where(x == 1, 24.0, 6.0)
    demand = rng.negative_binomial(4, 4 / (4 + mean))
    stock = np.where(
        rng.random(n) < np.where(x == 1, 0.8, 0.25), rng.integers(12, 60, n), rng.integers(0, 9, n)
    )
    return x, demand, stock


def reach(x, threshold):
    """P(stock >= threshold | x), in closed form."""
    full = np.clip((60 - threshold) / 48, 0, 1)
    short = np.clip((9 - threshold) / 9, 0, 1)
    p = np.where(x == 1, 0.8, 0.25)
    return p * full + (1 - p) * short


def covers(threshold_of, weigh, centre_of, *, n=250, m=50, runs=300, probability=0.9):
    """Share of new demand at or above the bound, its mean height, and the share's standard error."""
    rng = np.random.default_rng(7)
    shares, heights = [], []
    for _ in range(runs):
        x, demand, stock = shop(rng, n + m)
        threshold, chance = threshold_of(x), weigh(x, threshold_of(x))
        centre = centre_of(x)
        old, new = slice(0, n), slice(n, None)
        bound = censored_lower_bound(
            sales=np.minimum(demand, stock)[old], stock=stock[old], centre=centre[old],
            threshold=threshold[old], chance=chance[old], new_centre=centre[new],
            new_threshold=threshold[new], new_chance=chance[new], probability=probability,
        )  # fmt: skip
        shares.append((demand[new] >= bound).mean())
        heights.append(np.maximum(bound, 0).mean())
    return np.mean(shares), np.mean(heights), np.std(shares) / np.sqrt(runs)


def flat(x):
    return np.full(len(x), 20.0)


def ten(x):
    return np.full(len(x), 10.0)


def by_x(x):
    return np.where(x == 1, 14.0, 8.0)


def one(x, threshold):
    return np.ones(len(x))


@pytest.mark.parametrize("threshold", [ten, by_x], ids=["constant", "of x"])
def test_the_bound_keeps_its_promise_under_stock_that_follows_x(threshold):
    share, _, error = covers(threshold, reach, flat)
    assert share >= 0.9 - 3 * error
    # Demand is discrete: more than 90 % hold, but the bound is no mere zero.
    assert share < 0.97
    # Without weights the days with stock speak for all, and they are the busy ones.
    bare, _, bare_error = covers(threshold, one, flat)
    assert bare < 0.9 - 5 * bare_error


def test_sales_for_demand_are_valid_and_worth_nothing_here():
    # A threshold that stock always reaches is that of the naive method in all but name.
    def naive(x):
        return np.zeros(len(x))

    assert covers(naive, one, flat)[1] == 0
    assert covers(by_x, reach, flat)[1] > 1


def test_a_right_quantile_makes_up_for_wrong_chances():
    """The second half of double robustness."""
    from scipy import stats

    mean = np.array([6.0, 24.0])
    lower = stats.nbinom(4, 4 / (4 + mean)).ppf(0.1)

    def quantile(x):
        return lower[x]

    share, _, error = covers(by_x, one, quantile)
    assert share >= 0.9 - 3 * error


def test_what_demand_did_above_the_threshold_is_not_read():
    rng = np.random.default_rng(3)
    x, demand, stock = shop(rng, 400)
    given_ = dict(
        # Forecasts all over the place: then scores cut off at the threshold reach the quantile.
        centre=rng.normal(20, 10, 400), threshold=by_x(x), chance=reach(x, by_x(x)),
        new_centre=[16.0], new_threshold=[14.0], new_chance=[0.7], probability=0.6,
    )  # fmt: skip
    a = censored_lower_bound(sales=np.minimum(demand, stock), stock=stock, **given_)
    high = np.where(stock >= by_x(x), stock + 100, stock)
    b = censored_lower_bound(sales=np.minimum(demand, high), stock=high, **given_)
    np.testing.assert_array_equal(a, b)
    # Nor is anything known above it: a bound ends there, however high the forecast.
    high_centre = given_ | {"new_centre": [500.0]}
    assert censored_lower_bound(sales=np.minimum(demand, stock), stock=stock, **high_centre) == 14
    # Rows whose stock was short are not read at all.
    short = stock < by_x(x)
    c = censored_lower_bound(
        sales=np.where(short, 0, np.minimum(demand, stock)), stock=stock, **given_
    )
    np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stock": [5.0, np.nan]}, "1 value.s. missing"),
        ({"stock": [5.0, 1.0]}, "1 row.s. sell more than their stock"),
        ({"chance": [0.5, 0.0]}, "chance must lie"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"centre": [1.0, 2.0, 3.0]}, "one length"),
        ({"probability": 90}, "probability"),
    ],
)
def test_what_has_no_bound_is_refused(changed, message):
    fine = dict(
        sales=[1.0, 2.0], stock=[5.0, 5.0], centre=1.0, threshold=1.0, chance=1.0, new_centre=[1.0],
        new_threshold=[1.0], new_chance=[1.0], probability=0.5,
    )  # fmt: skip
    censored_lower_bound(**fine)
    with pytest.raises(CivstatsError, match=message):
        censored_lower_bound(**(fine | changed))


def test_bad_weights_and_scores_are_refused():
    with pytest.raises(CivstatsError, match="1 weight"):
        weighted_conformal_quantile([1.0, 2.0], [1.0, 0.0], [1.0], 0.5)
    with pytest.raises(CivstatsError, match="1 missing"):
        conformal_quantile([1.0, np.nan], 0.5)
