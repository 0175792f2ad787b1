"""The unseen rest of a day against worlds in which both parts of it are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from civstats.censoring import LogNormal, NegBin, Normal, Poisson, ZeroInflatedNegBin, sample_unseen

N = 400_000
CASES = {
    "poisson": (Poisson(), np.inf, 0.0),
    "negbin": (NegBin(1.5), 1.5, 0.0),
    "zero-inflated": (ZeroInflatedNegBin(2.0, 0.3), 2.0, 0.3),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("share", [0.25, 0.8])
def test_the_rest_of_a_day_given_its_sales(case, share) -> None:
    family, size, zero = CASES[case]
    rng = np.random.default_rng(5)
    mu = 4.0
    rate = np.full(N, mu) if np.isinf(size) else rng.gamma(size, mu / size, N)
    rate = np.where(rng.random(N) < zero, 0.0, rate)
    seen, unseen = rng.poisson(rate * share), rng.poisson(rate * (1 - share))
    for y in (0, 1, 3):
        world = unseen[seen == y]
        drawn, mean = sample_unseen(
            family, np.full(len(world), float(y)), np.log(mu), np.array(share), rng
        )
        error = 5 * world.std() / np.sqrt(len(world))
        assert mean[0] == pytest.approx(world.mean(), abs=error)
        assert drawn.mean() == pytest.approx(mean[0], abs=error)
        for k in range(4):
            p = (world == k).mean()
            assert (drawn == k).mean() == pytest.approx(p, abs=7 * np.sqrt(p / len(world)))


def test_nothing_is_left_of_a_whole_day() -> None:
    rng = np.random.default_rng(0)
    y = np.array([0.0, 2.0, 9.0])
    for family in (
        Poisson(),
        NegBin(2.0),
        ZeroInflatedNegBin(2.0, 0.3),
        Normal(1.0),
        LogNormal(1.0),
    ):
        drawn, mean = sample_unseen(family, y, np.ones(3), np.ones(3), rng)
        assert (drawn == 0).all()
        assert (mean == 0).all()


def test_continuous_demand_goes_on_as_expected() -> None:
    rng = np.random.default_rng(0)
    y, share = np.array([3.0]), np.array([0.75])
    assert sample_unseen(Normal(1.0), y, np.array([8.0]), share, rng)[0] == 2.0
    assert sample_unseen(LogNormal(1.0), y, np.array([8.0]), share, rng)[0] == 1.0
