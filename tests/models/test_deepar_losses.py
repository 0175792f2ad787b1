"""The network's losses against the reference likelihood, scipy, and what a bound must not do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")
pytest.importorskip("neuralforecast")

from civstats.censoring import NegBin, Poisson  # noqa: E402
from civstats.models.deepar._losses import (  # noqa: E402
    LOSSES,
    CensoredNegativeBinomial,
    CensoredPoisson,
    ExactStudentT,
    mean_cut_at_zero,
)
from civstats.models.deepar._survival import count_log_likelihood, log_survival  # noqa: E402


def _batch(seed: int, shape: tuple[int, ...] = (64, 14, 1)):
    """Outputs of a network, scales from 0.05 to 200 units a day, sales, bounds and shares."""
    rng = np.random.default_rng(seed)
    outputs = [torch.tensor(rng.normal(0, 1.5, shape), dtype=torch.float32) for _ in range(2)]
    scale = torch.tensor(np.exp(rng.uniform(-3, 5.3, (shape[0], 1, 1))), dtype=torch.float32)
    y = torch.tensor(
        rng.negative_binomial(2, 2 / (2 + np.exp(rng.normal(0, 1, shape)) * scale.numpy()))
    )
    bound = torch.tensor(rng.random(shape) < 0.3)
    share = torch.tensor(np.where(rng.random(shape) < 0.2, rng.uniform(0.1, 1, shape), 1))
    exposure = torch.where(bound, torch.ones_like(share), share).float()
    mask = torch.tensor(rng.random(shape) < 0.8).float()
    return outputs, scale, y.float(), bound, exposure, mask


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_the_reference_likelihood(seed) -> None:
    outputs, scale, y, bound, exposure, mask = _batch(seed)
    for loss, family in (
        (CensoredNegativeBinomial(), lambda a: NegBin(1 / a[1].double().numpy())),
        (CensoredPoisson(), lambda a: Poisson()),
    ):
        arguments = loss.scale_decouple(
            outputs[: loss.outputsize_multiplier], loc=torch.zeros_like(scale), scale=scale
        )
        found = loss(y=y, distr_args=arguments, mask=mask, bound=bound, exposure=exposure)
        reference = family(arguments).loglik(
            y.numpy(),
            np.log(arguments[0].double().numpy()),
            bound.numpy(),
            exposure.double().numpy(),
        )
        weight = mask.numpy()
        expected = -(reference * weight).sum() / weight.sum()
        assert float(found) == pytest.approx(expected, rel=1e-5)
        days = loss.log_likelihood(y, arguments, bound, exposure).numpy()
        np.testing.assert_allclose(days, reference, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_reference() -> None:
    rng = np.random.default_rng(1)
    n = 3_000
    mu, alpha = np.exp(rng.uniform(-3, 4, n)), np.exp(rng.uniform(-4, 1.5, n))
    y = rng.negative_binomial(1 / alpha, 1 / (1 + mu * alpha)).astype(float)
    y += rng.poisson(mu * rng.random(n))
    bound = rng.random(n) < 0.5
    eta = torch.tensor(np.log(mu), requires_grad=True)
    a = torch.tensor(alpha, requires_grad=True)
    count_log_likelihood(torch.tensor(y), eta.exp(), a, torch.tensor(bound)).sum().backward()
    score = NegBin(1 / alpha).grad_hess(y, np.log(mu), bound)[0]
    np.testing.assert_allclose(eta.grad.numpy(), score, rtol=1e-5, atol=1e-6)
    step = 1e-5
    above, below = (
        NegBin(1 / (alpha * (1 + s))).loglik(y, np.log(mu), bound) for s in (step, -step)
    )
    np.testing.assert_allclose(
        a.grad.numpy() * alpha, (above - below) / (2 * step), rtol=1e-4, atol=1e-5
    )


def test_survival_is_that_of_scipy_ties_included() -> None:
    mu, alpha = torch.tensor([5.0, 5.0, 0.4, 60.0]), torch.tensor([0.5, 0.0, 2.0, 0.1])
    c = torch.tensor([8.0, 8.0, 1.0, 30.0])
    expected = [
        stats.nbinom.logsf(7, 2, 2 / 7),
        stats.poisson.logsf(7, 5),
        stats.nbinom.logsf(0, 0.5, 0.5 / 0.9),
        stats.nbinom.logsf(29, 10, 10 / 70),
    ]
    np.testing.assert_allclose(log_survival(c, mu, alpha).numpy(), expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("c", "mean", "alpha"),
    [(5_000, 2.0, 0.3), (763, 0.01, 1e-6), (40_000, 39_000.0, 0.2), (1, 1e-6, 5.0), (90, 1e4, 3.0)],
)
def test_far_bounds_are_finite_and_pull_the_mean_up(c, mean, alpha) -> None:
    mu = torch.tensor([mean], dtype=torch.float32, requires_grad=True)
    a = torch.tensor([alpha], dtype=torch.float32, requires_grad=True)
    found = count_log_likelihood(torch.tensor([float(c)]), mu, a, torch.tensor([True]))
    found.sum().backward()
    reference = NegBin(1 / np.float64(a.item())).log_survival(c, np.log(np.float64(mu.item())))
    assert found.item() == pytest.approx(float(reference), rel=1e-5, abs=1e-9)
    assert np.isfinite(mu.grad.item())
    assert np.isfinite(a.grad.item())
    assert mu.grad.item() > 0


def test_the_work_is_cut_into_chunks_without_changing_a_number(monkeypatch) -> None:
    from civstats.models.deepar import _survival

    rng = np.random.default_rng(3)
    c = torch.tensor(rng.integers(1, 400, 300).astype(float))
    mu, alpha = torch.full((300,), 20.0), torch.full((300,), 0.7)
    whole = log_survival(c, mu, alpha)
    monkeypatch.setattr(_survival, "_CELLS", 1_000)
    np.testing.assert_allclose(log_survival(c, mu, alpha).numpy(), whole.numpy(), rtol=1e-9)


def test_a_day_wholly_out_says_nothing() -> None:
    mu = torch.tensor([3.0, 3.0], requires_grad=True)
    alpha = torch.tensor([0.5, 0.5], requires_grad=True)
    y, bound = torch.zeros(2), torch.tensor([True, False])
    values = count_log_likelihood(y, mu, alpha, bound)
    values.sum().backward()
    assert values[0].item() == 0
    assert mu.grad[0].item() == 0
    assert alpha.grad[0].item() == 0
    assert mu.grad[1].item() != 0


def test_a_masked_day_is_not_read() -> None:
    outputs, scale, y, bound, _, mask = _batch(7)
    loss = CensoredNegativeBinomial()
    for o in outputs:
        o.requires_grad_()
    gradients = []
    share = torch.ones_like(y)
    for odd_sales, odd_share in ((0.0, 1.0), (12_345.0, 0.0), (float("nan"), float("nan"))):
        sales = torch.where(mask > 0, y, torch.full_like(y, odd_sales))
        exposure = torch.where(mask > 0, share, torch.full_like(y, odd_share))
        arguments = loss.scale_decouple(outputs, scale=scale)
        value = loss(y=sales, distr_args=arguments, mask=mask, bound=bound, exposure=exposure)
        gradients.append((value.item(), *torch.autograd.grad(value, outputs)))
    for other in gradients[1:]:
        assert other[0] == gradients[0][0]
        for a, b in zip(gradients[0][1:], other[1:], strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", LOSSES)
def test_draws_have_the_moments_of_the_distribution(name) -> None:
    loss = LOSSES[name]()
    n = 200_000
    arguments = {
        "negbin": (torch.full((n,), 3.0), torch.full((n,), 0.5)),
        "poisson": (torch.full((n,), 3.0),),
        "student_t": (torch.full((n,), 30.0), torch.full((n,), 20.0), torch.full((n,), 2.0)),
    }[name]
    mean, variance = {"negbin": (3, 7.5), "poisson": (3, 3), "student_t": (20, 4 * 30 / 28)}[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = loss.draw(arguments).numpy()
    assert drawn.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / n))
    assert drawn.var() == pytest.approx(variance, rel=0.03)
    assert float(loss.mean(arguments)[0]) == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize(("df", "loc", "scale"), [(3.5, 0.0, 1.0), (5, -2.0, 1.5), (30, 4, 0.5)])
def test_the_mean_of_student_t_cut_at_zero(df, loc, scale) -> None:
    from scipy import integrate

    law = stats.t(df, loc, scale)
    want, _ = integrate.quad(lambda x: law.sf(x), 0, np.inf, epsabs=1e-12)
    found = mean_cut_at_zero(*(np.array([float(v)]) for v in (df, loc, scale)))
    assert found[0] == pytest.approx(want, rel=1e-7)


def test_student_t_is_that_of_scipy() -> None:
    loss = ExactStudentT()
    arguments = tuple(torch.tensor([v]) for v in (5.0, 2.0, 1.5))
    found = loss.log_likelihood(torch.tensor([4.0]), arguments)
    assert float(found) == pytest.approx(stats.t.logpdf(4, 5, 2, 1.5), rel=1e-6)


def test_losses_are_neuralforecasts_own_where_nothing_is_censored() -> None:
    """Called as neuralforecast calls a loss, it is torch's negative binomial."""
    outputs, scale, y, _, _, mask = _batch(9)
    loss = CensoredNegativeBinomial()
    arguments = loss.scale_decouple(outputs, loc=torch.zeros_like(scale), scale=scale)
    doubled = tuple(a.double() for a in arguments)
    log_prob = loss.get_distribution(doubled).log_prob(y.double())
    expected = -(log_prob * mask).sum() / mask.sum()
    assert float(loss(y=y, distr_args=arguments, mask=mask)) == pytest.approx(
        float(expected), rel=1e-6
    )
