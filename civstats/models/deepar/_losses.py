"""Losses of neuralforecast that know a bound when they see one, and can be saved with a network."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from neuralforecast import register_loss
from neuralforecast.losses.pytorch import DistributionLoss, weighted_average

from civstats.models.deepar._survival import count_log_likelihood

Parameters = tuple[torch.Tensor, ...]
_LEAST_MEAN = 1e-6
_LEAST_ALPHA = 1e-6
"""Dispersion below which a negative binomial is a Poisson for any sales seen."""
_LARGEST_LOG = 4.0
"""Logarithm of the largest mean, in scales of the window: sampled days feed the days after them."""


def _log_link(output: torch.Tensor) -> torch.Tensor:
    """Return exp of the output, saturating smoothly; effects on demand multiply.

    On synthetic worlds a validation loss that softplus reached after 1,200 steps took 400.
    """
    return torch.exp(output - F.softplus(output - _LARGEST_LOG))


class CensoredLoss(DistributionLoss):
    """A distribution whose negative log-likelihood takes bounds and shares of a day.

    Called as neuralforecast calls its losses it is theirs; `bound` and `exposure` come on top.
    """

    counts: ClassVar[bool] = True

    def __call__(
        self,
        y: torch.Tensor,
        distr_args: Parameters,
        mask: torch.Tensor | None = None,
        bound: torch.Tensor | None = None,
        exposure: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the weighted mean of the negative log-likelihood, all of one shape.

        Parameters
        ----------
        y : torch.Tensor
        distr_args : tuple of torch.Tensor
            From ``scale_decouple``.
        mask : torch.Tensor, optional
            Weight of each day; nothing of `y` is read where it is 0.
        bound : torch.Tensor of bool, optional
            Where demand is at least `y`.
        exposure : torch.Tensor, optional
            Share of the day's demand that falls in the hours in stock.
        """
        if mask is not None:
            # Weight 0 is not enough: 0 times an infinite derivative is no number.
            read = mask > 0
            y = torch.where(read, y, torch.zeros_like(y))
            if exposure is not None:
                exposure = torch.where(read, exposure, torch.ones_like(exposure))
        values = -self.log_likelihood(y, distr_args, bound, exposure)
        weights = self._compute_weights(y=y, mask=mask).to(values.dtype)
        return weighted_average(values, weights=weights)

    def log_likelihood(
        self,
        y: torch.Tensor,
        distr_args: Parameters,
        bound: torch.Tensor | None = None,
        exposure: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the log-likelihood of each day, of the shape of `y`."""
        raise NotImplementedError

    def mean(self, distr_args: Parameters) -> torch.Tensor:
        """Return the mean of whole days."""
        return distr_args[0]

    def draw(self, distr_args: Parameters) -> torch.Tensor:
        """Draw one day from each distribution, never negative, from torch's generator."""
        raise NotImplementedError


@register_loss
class CensoredNegativeBinomial(CensoredLoss):
    """Negative binomial with mean mu and var = mu + alpha mu^2.

    The network's outputs are on the scale of the window; a share s of a day has mean mu s and the
    same dispersion.
    """

    def __init__(self, level: tuple[int, ...] = (80,), return_params: bool = False) -> None:
        super().__init__("NegativeBinomial", level=list(level), return_params=return_params)
        self.scale_decouple = self._decouple

    @staticmethod
    def _decouple(
        output: Parameters, loc: torch.Tensor | None = None, scale: torch.Tensor | None = None
    ) -> Parameters:
        mu, alpha = _log_link(output[0]), F.softplus(output[1])
        if scale is not None:
            # The relative spread of counts falls with their size: 1 is then of the right order.
            mu, alpha = mu * scale, alpha / (scale + 1.0)
        return mu + _LEAST_MEAN, alpha + _LEAST_ALPHA

    def get_distribution(
        self, distr_args: Parameters, **_: Any
    ) -> torch.distributions.Distribution:
        """Return torch's distribution of a whole day."""
        mu, alpha = distr_args
        self.distr_mean = mu
        return torch.distributions.NegativeBinomial(
            1.0 / alpha, logits=torch.log(mu * alpha), validate_args=False
        )

    def log_likelihood(
        self,
        y: torch.Tensor,
        distr_args: Parameters,
        bound: torch.Tensor | None = None,
        exposure: torch.Tensor | None = None,
    ) -> torch.Tensor:
        mu, alpha = distr_args
        mean = mu if exposure is None else mu * exposure
        return count_log_likelihood(y, mean, alpha, bound)

    def draw(self, distr_args: Parameters) -> torch.Tensor:
        mu, alpha = distr_args
        size = 1.0 / alpha
        rate = torch.distributions.Gamma(size, size / mu, validate_args=False).sample()
        return torch.poisson(rate)


@register_loss
class CensoredPoisson(CensoredLoss):
    """Poisson: the negative binomial without dispersion."""

    def __init__(self, level: tuple[int, ...] = (80,), return_params: bool = False) -> None:
        super().__init__("Poisson", level=list(level), return_params=return_params)
        self.scale_decouple = self._decouple

    @staticmethod
    def _decouple(
        output: Parameters, loc: torch.Tensor | None = None, scale: torch.Tensor | None = None
    ) -> Parameters:
        mu = _log_link(output[0])
        return ((mu if scale is None else mu * scale) + _LEAST_MEAN,)

    def log_likelihood(
        self,
        y: torch.Tensor,
        distr_args: Parameters,
        bound: torch.Tensor | None = None,
        exposure: torch.Tensor | None = None,
    ) -> torch.Tensor:
        (mu,) = distr_args
        mean = mu if exposure is None else mu * exposure
        return count_log_likelihood(y, mean, torch.zeros_like(mean), bound)

    def draw(self, distr_args: Parameters) -> torch.Tensor:
        return torch.poisson(distr_args[0])


@register_loss
class ExactStudentT(CensoredLoss):
    """Student's t of neuralforecast, for sales that are no counts; draws are cut at 0.

    torch has no cumulative distribution of it, so it takes no bounds.
    """

    counts = False

    def __init__(self, level: tuple[int, ...] = (80,), return_params: bool = False) -> None:
        super().__init__("StudentT", level=list(level), return_params=return_params)

    def log_likelihood(
        self,
        y: torch.Tensor,
        distr_args: Parameters,
        bound: torch.Tensor | None = None,
        exposure: torch.Tensor | None = None,
    ) -> torch.Tensor:
        df, loc, scale = (x.double() for x in distr_args)
        t = torch.distributions.StudentT(df, loc, scale, validate_args=False)
        return t.log_prob(y.double())

    def mean(self, distr_args: Parameters) -> torch.Tensor:
        """Return the mean of draws cut at 0: E[max(X, 0)], which exceeds the location."""
        loc = distr_args[1]
        mean = mean_cut_at_zero(*(x.double().cpu().numpy() for x in distr_args))
        return torch.as_tensor(mean, dtype=loc.dtype, device=loc.device)

    def draw(self, distr_args: Parameters) -> torch.Tensor:
        df, loc, scale = distr_args
        t = torch.distributions.StudentT(df, loc, scale, validate_args=False)
        return t.sample().clamp(min=0.0)


def mean_cut_at_zero(df: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return E[max(X, 0)] of Student's t with more than one degree of freedom, by element."""
    from scipy import stats

    z = loc / scale
    # The first moment of the tail beyond -z is (df + z^2) / (df - 1) times the density there.
    tail = scale * (df + z**2) / (df - 1.0) * stats.t.pdf(z, df)
    out: np.ndarray = loc * stats.t.cdf(z, df) + tail
    return out


LOSSES: dict[str, type[CensoredLoss]] = {
    "negbin": CensoredNegativeBinomial,
    "poisson": CensoredPoisson,
    "student_t": ExactStudentT,
}
