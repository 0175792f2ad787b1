"""Proportions of many series, each shrunk to its group's: a hierarchical beta-binomial on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, expit, logit

# Prior of the concentration M = a + b, in pseudo-days: log M ~ N(log 50, 1.5^2). With a daily chance
# of 3 %, M = 50 means that series differ by a factor of about 2; the prior spans 1.1 to 6.
_LOG_M, _SD_LOG_M = np.log(50.0), 1.5
# Groups (departments) scatter about the panel's proportion by a factor of e on the odds.
_SD_LOGIT = 1.0
_SIZE = (25, 17)


@dataclass(frozen=True)
class BetaBinomial:
    """Posterior of one proportion per series, ``p_i ~ Beta(m_g M_g, (1 - m_g) M_g)`` in group g.

    The group's mean ``m_g`` and concentration ``M_g`` have a posterior of their own, kept on a
    grid; a group's mean is itself drawn towards the panel's. Counts may be fractional: weights that
    fade with age give a power-discounted posterior (Smith, 1979).

    Attributes
    ----------
    hits, trials : numpy.ndarray, shape (n_series,)
        Weighted successes and trials.
    group : numpy.ndarray, shape (n_series,)
        Group of each series, 0 .. n_groups - 1.
    mean, concentration : numpy.ndarray, shape (n_groups, n_grid)
        Grid points of ``m`` and ``M``.
    weight : numpy.ndarray, shape (n_groups, n_grid)
        Posterior mass of the grid points.
    """

    hits: np.ndarray
    trials: np.ndarray
    group: np.ndarray
    mean: np.ndarray
    concentration: np.ndarray
    weight: np.ndarray

    @classmethod
    def fit(cls, hits: np.ndarray, trials: np.ndarray, *, group: np.ndarray) -> BetaBinomial:
        """Return the posterior.

        Parameters
        ----------
        hits, trials : numpy.ndarray, shape (n_series,)
            ``0 <= hits <= trials``, fractions allowed.
        group : numpy.ndarray of int, shape (n_series,)

        Examples
        --------
        >>> import numpy as np
        >>> fit = BetaBinomial.fit(np.r_[5.0, 15, 0], np.r_[100.0, 100, 2], group=np.zeros(3, int))
        >>> fit.posterior_mean().round(2)
        array([0.07, 0.13, 0.09])
        """
        hits, trials = np.asarray(hits, float), np.asarray(trials, float)
        hits = np.minimum(hits, trials)
        centre = logit((hits.sum() + 0.5) / (trials.sum() + 1.0))
        grids = [
            _grid(hits[group == g], trials[group == g], centre) for g in range(group.max() + 1)
        ]
        mean, concentration, weight = (np.stack(x) for x in zip(*grids, strict=True))
        return cls(hits, trials, group, mean, concentration, weight)

    def posterior_mean(self) -> np.ndarray:
        """Return the posterior mean of each series' proportion, shape (n_series,)."""
        result = np.empty(len(self.hits))
        for g in range(len(self.mean)):
            i = np.flatnonzero(self.group == g)
            prior = self.mean[g] * self.concentration[g]
            each = (self.hits[i, None] + prior) / (self.trials[i, None] + self.concentration[g])
            result[i] = each @ self.weight[g]
        return result

    def draw_groups(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw ``(a, b)`` of every group, each of shape (n_groups, n): shared by the group's series."""
        rows = np.arange(len(self.mean))[:, None]
        # The grid's mass is strictly increasing up to 1; min() guards the last rounding error.
        mass = np.cumsum(self.weight, axis=1)
        pick = np.stack([np.searchsorted(m, rng.random(n)) for m in mass])
        pick = np.minimum(pick, self.mean.shape[1] - 1)
        m, concentration = self.mean[rows, pick], self.concentration[rows, pick]
        return m * concentration, (1 - m) * concentration

    def draw(
        self, groups: tuple[np.ndarray, np.ndarray], series: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw the proportions of some series given the groups' draws, shape (n_series, n)."""
        a, b = groups
        g, hits = self.group[series], self.hits[series, None]
        return rng.beta(a[g] + hits, b[g] + self.trials[series, None] - hits)


def _grid(hits: np.ndarray, trials: np.ndarray, centre: float) -> tuple[np.ndarray, ...]:
    """Integrate twice: widely, then again on a grid laid about the mass the first one found."""
    used = trials > 0
    hits, trials = hits[used], trials[used]
    box = (centre - 4.5, centre + 4.5, _LOG_M - 4.5 * _SD_LOG_M, _LOG_M + 3 * _SD_LOG_M)
    for _ in range(3):
        x = np.repeat(np.linspace(*box[:2], _SIZE[0]), _SIZE[1])
        z = np.tile(np.linspace(*box[2:], _SIZE[1]), _SIZE[0])
        m, concentration = np.clip(expit(x), 1e-9, 1 - 1e-9), np.exp(z)
        a, b = m * concentration, (1 - m) * concentration
        log = -0.5 * ((x - centre) / _SD_LOGIT) ** 2 - 0.5 * ((z - _LOG_M) / _SD_LOG_M) ** 2
        for k in range(0, len(hits), 1000):
            h, t = hits[k : k + 1000, None], trials[k : k + 1000, None]
            log = log + (betaln(a + h, b + t - h) - betaln(a, b)).sum(axis=0)
        weight = np.exp(log - log.max())
        weight /= weight.sum()
        box = (*_around(x, weight, _SIZE[0]), *_around(z, weight, _SIZE[1]))
    return m, concentration, weight


def _around(x: np.ndarray, weight: np.ndarray, size: int) -> tuple[float, float]:
    centre = float(weight @ x)
    step = (x.max() - x.min()) / (size - 1)
    reach = 4 * max(float(np.sqrt(weight @ (x - centre) ** 2)), 0.3 * step)
    return centre - reach, centre + reach
