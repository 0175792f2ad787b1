"""Power-scaling against a conjugate model, whose scaled posteriors are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from civstats.diagnostics.sensitivity import power_scale_weights, prior_sensitivity
from civstats.schema import CivstatsError

CHAINS, DRAWS = 4, 5000


class Conjugate:
    """y_i ~ N(mu, 1), mu ~ N(m0, s0^2): the posterior with either part raised to a power."""

    def __init__(self, m0: float, s0: float, y: np.ndarray) -> None:
        self.m0, self.s0, self.y = m0, s0, y

    def posterior(self, prior: float = 1.0, likelihood: float = 1.0) -> tuple[float, float]:
        a, b = prior / self.s0**2, likelihood * len(self.y)
        return (a * self.m0 + b * self.y.mean()) / (a + b), (a + b) ** -0.5

    def drawn(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mu = np.random.default_rng(seed).normal(*self.posterior(), size=(CHAINS, DRAWS))
        ll = -0.5 * ((self.y[:, None, None] - mu) ** 2).sum(axis=0)
        return mu, stats.norm.logpdf(mu, self.m0, self.s0), ll

    def sensitivity(self, part: str, delta: float = 0.01) -> float:
        """The measure from the two normals themselves, by quadrature."""
        m, s = self.posterior()
        # arviz integrates between the smallest and the largest draw.
        x = np.linspace(m - 4.1 * s, m + 4.1 * s, 400_001)
        found = 0.0
        for alpha in (1 / (1 + delta), 1 + delta):
            other = self.posterior(**{part: alpha})
            found += max(
                cjs(stats.norm.cdf(x, m, s), stats.norm.cdf(x, *other), x),
                cjs(stats.norm.sf(x, m, s), stats.norm.sf(x, *other), x),
            )
        return found / (2 * np.log2(1 + delta))


def cjs(p: np.ndarray, q: np.ndarray, x: np.ndarray) -> float:
    """Cumulative Jensen-Shannon distance of Kallioinen et al. (2024), normalised."""
    ip, iq = np.trapezoid(p, x), np.trapezoid(q, x)
    half = 0.5 * (p + q)

    def one(a: np.ndarray, ia: float, ib: float) -> float:
        terms = np.where(a > 0, a * np.log2(np.where(a > 0, a, 1) / half), 0)
        return np.trapezoid(terms, x) + 0.5 / np.log(2) * (ib - ia)

    return np.sqrt(max(one(p, ip, iq) + one(q, iq, ip), 0) / (ip + iq))


CASES = {
    "weak": Conjugate(0.0, 10.0, np.full(20, 1.0)),
    "conflict": Conjugate(0.0, 0.3, np.full(8, 1.5)),
    "strong": Conjugate(1.0, 0.2, np.array([0.8, 1.1])),
}


@pytest.mark.parametrize("case", CASES)
def test_the_measure_is_that_of_the_two_normals(case):
    world = CASES[case]
    mu, prior, ll = world.drawn()
    row = prior_sensitivity({"mu": mu}, prior, ll).iloc[0]
    for part in ("prior", "likelihood"):
        assert row[part] == pytest.approx(world.sensitivity(part), rel=0.1, abs=0.003), part


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        ("weak", "-"),
        ("conflict", "prior-data conflict"),
        ("strong", "strong prior or weak likelihood"),
    ],
)
def test_the_verdict_names_what_was_built_in(case, verdict):
    mu, prior, ll = CASES[case].drawn()
    if case == "strong":
        # A parameter of which the data say nothing.
        mu = np.random.default_rng(1).normal(1, 0.2, size=mu.shape)
        prior, ll = stats.norm.logpdf(mu, 1, 0.2), np.zeros_like(mu)
    table = prior_sensitivity({"mu": mu}, {"mu": prior}, ll)
    assert table["verdict"].tolist() == [verdict]


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_weights_turn_the_posterior_into_the_scaled_one(alpha):
    world = CASES["conflict"]
    mu, prior, ll = world.drawn()
    weights, k = power_scale_weights(prior.ravel(), alpha)
    m, s = world.posterior(prior=alpha)
    assert weights.sum() == pytest.approx(1)
    assert weights @ mu.ravel() == pytest.approx(m, abs=0.1 * s)
    assert np.sqrt(weights @ (mu.ravel() - m) ** 2) == pytest.approx(s, rel=0.1)
    assert k < 0.7
    row = prior_sensitivity({"mu": mu}, prior, ll).iloc[0]
    assert row[f"mean_x{alpha:g}"] == pytest.approx(m, abs=0.1 * s)
    away = max(abs(world.posterior(prior=a)[0] - world.posterior()[0]) for a in (0.5, 2.0))
    assert row["shift"] == pytest.approx(away / world.posterior()[1], rel=0.1)


def test_priors_of_a_mapping_are_scaled_together_and_scalars_are_named():
    mu, prior, ll = CASES["conflict"].drawn()
    both = np.stack([mu, np.random.default_rng(1).normal(size=mu.shape)], axis=-1)
    halves = {"a": 0.5 * prior, "b": np.stack([0.25 * prior, 0.25 * prior], axis=-1)}
    table = prior_sensitivity({"mu": both}, halves, ll)
    one = prior_sensitivity({"mu": mu}, prior, ll)
    assert table["parameter"].tolist() == ["mu[0]", "mu[1]"]
    assert table["prior"].iloc[0] == pytest.approx(one["prior"].iloc[0])
    assert table["verdict"].tolist() == ["prior-data conflict", "-"]


def test_bad_densities_are_refused():
    mu, prior, ll = CASES["weak"].drawn()
    with pytest.raises(CivstatsError, match="log_prior has shape"):
        prior_sensitivity({"mu": mu}, prior[:1], ll)
    with pytest.raises(CivstatsError, match="names no prior"):
        prior_sensitivity({"mu": mu}, {}, ll)
    with pytest.raises(CivstatsError, match="power above 0"):
        power_scale_weights(prior.ravel(), 0.0)
    with pytest.raises(CivstatsError, match="1 that are not finite"):
        power_scale_weights(np.append(prior.ravel(), -np.inf), 2.0)
