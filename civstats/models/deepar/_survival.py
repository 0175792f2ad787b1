"""Count likelihoods in torch with right censoring: the same numbers as `civstats.censoring`.

Everything is computed in double precision whatever the network's: log S = log(1 - F(c - 1)) is a
difference of nearly equal numbers where a bound says little, and lgamma(y + 1 / alpha) -
lgamma(1 / alpha) is one where counts are hardly dispersed. On a batch it costs next to nothing
beside the network.
"""

from __future__ import annotations

import math

import numpy as np
import torch

_CELLS = 2_000_000
"""Probabilities summed at a time: bounds the memory where no gradient is asked for. In training the
graph keeps all of them: about 60 bytes times the sum of a batch part's bounds."""
_REMOTE = math.log(1e-7)
"""Log survival below which the complement has lost its digits and the upper tail is summed."""
_TAIL_TERMS = 1024


def count_log_likelihood(
    y: torch.Tensor,
    mu: torch.Tensor,
    alpha: torch.Tensor,
    bound: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the log-likelihood of counts, of bounds where `bound` is set.

    Parameters
    ----------
    y : torch.Tensor
        Whole units; on a bound the exhausted stock c.
    mu : torch.Tensor
        Mean, positive, of the shape of `y`.
    alpha : torch.Tensor
        In var = mu + alpha mu^2; 0 is the Poisson.
    bound : torch.Tensor of bool, optional
        Where all that is known is that demand is at least `y`.

    Returns
    -------
    torch.Tensor of float64
        log P(D = y), log P(D >= y) on bounds: exactly 0, gradient too, where y is 0.
    """
    y, mu, alpha = y.double(), mu.double(), alpha.double()
    exact = log_pmf(y, mu, alpha)
    if bound is None or not bool(bound.any()):
        return exact
    out = torch.where(bound, torch.zeros_like(exact), exact)
    rows = bound & (y > 0)
    if not bool(rows.any()):
        return out
    tail = log_survival(y[rows], mu[rows], alpha[rows])
    return out.masked_scatter(rows, tail)


def log_pmf(y: torch.Tensor, mu: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return log P(D = y) in double precision, smooth in `alpha` down to 0."""
    none = alpha <= 1e-9
    size = 1.0 / torch.where(none, torch.ones_like(alpha), alpha)
    ratio = mu / size
    spread = (
        torch.lgamma(y + size)
        - torch.lgamma(size)
        - torch.lgamma(y + 1.0)
        + y * (torch.log(ratio) - torch.log1p(ratio))
        - size * torch.log1p(ratio)
    )
    poisson = y * torch.log(mu) - mu - torch.lgamma(y + 1.0)
    return torch.where(none, poisson, spread)


def log_survival(c: torch.Tensor, mu: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return log P(D >= c) for bounds c >= 1, one-dimensional, finite in any tail.

    The probabilities below c are summed by their recurrence,
    f(k + 1) / f(k) = mu (1 + alpha k) / ((k + 1) (1 + alpha mu)), and taken from 1; where almost
    nothing is left, those from c on are summed instead.
    """
    c, mu, alpha = c.double(), mu.double(), alpha.double()
    order = torch.argsort(c)
    sizes = c[order].cpu().numpy()
    parts, start = [], 0
    while start < len(sizes):
        # Bounds of about one size share a chunk: its width is that of its largest.
        stop = int(np.searchsorted(sizes, max(2.0 * sizes[start], 16.0), side="right"))
        stop = min(stop, start + max(1, _CELLS // int(sizes[stop - 1])))
        at = order[start:stop]
        parts.append(_chunk(c[at], mu[at], alpha[at], int(sizes[stop - 1])))
        start = stop
    return torch.cat(parts)[torch.argsort(order)]


def _log_ratio(k: torch.Tensor, mu: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Return log f(k + 1) / f(k)."""
    return torch.log(mu) + torch.log1p(alpha * k) - torch.log1p(alpha * mu) - torch.log1p(k)


def _chunk(c: torch.Tensor, mu: torch.Tensor, alpha: torch.Tensor, most: int) -> torch.Tensor:
    k = torch.arange(most - 1, dtype=c.dtype, device=c.device)
    steps = _log_ratio(k, mu[:, None], alpha[:, None])
    first = log_pmf(torch.zeros_like(mu), mu, alpha)[:, None]
    terms = torch.cat([first, first + torch.cumsum(steps, 1)], 1)
    below = torch.arange(most, dtype=c.dtype, device=c.device) < c[:, None]
    lower = torch.logsumexp(terms.masked_fill(~below, -math.inf), 1)
    remote = lower > math.log1p(-math.exp(_REMOTE))
    # Both branches of a `where` are differentiated: the one not taken must be finite as well.
    near = _log1mexp(torch.where(remote, torch.full_like(lower, -1.0), lower))
    if not bool(remote.any()):
        return near
    far = _upper_tail(c[remote], mu[remote], alpha[remote])
    return near.masked_scatter(remote, far)


def _upper_tail(c: torch.Tensor, mu: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Sum the probabilities from c on, far above the mean, the rest as a geometric series."""
    j = torch.arange(_TAIL_TERMS + 1, dtype=c.dtype, device=c.device)
    steps = _log_ratio(c[:, None] + j, mu[:, None], alpha[:, None])
    climbed = torch.cumsum(steps[:, :-1], 1)
    # 1 + r0 + r0 r1 + ...; beyond the last term to first order in the ratio's slope.
    ratio, slope = torch.exp(steps[:, -2]), torch.exp(steps[:, -1]) - torch.exp(steps[:, -2])
    left = (1.0 - ratio).clamp(min=1e-6)
    bend = (slope * ratio / left**2).clamp(-0.5, 0.5)
    rest = climbed[:, -1] - torch.log(left) + torch.log1p(bend)
    terms = torch.cat([torch.zeros_like(rest)[:, None], climbed[:, :-1], rest[:, None]], 1)
    return log_pmf(c, mu, alpha) + torch.logsumexp(terms, 1)


def _log1mexp(x: torch.Tensor) -> torch.Tensor:
    """Return log(1 - exp(x)) for x < 0 (Maechler, 2012)."""
    close = x > -math.log(2.0)
    a = torch.where(close, x, torch.full_like(x, -0.5))
    b = torch.where(close, torch.full_like(x, -1.0), x)
    return torch.where(close, torch.log(-torch.expm1(a)), torch.log1p(-torch.exp(b)))
