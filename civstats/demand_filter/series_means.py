"""Where a damped level returns to: a mean of each series' own, shrunk towards its group's.

The mean m_i of series i is normal around its group's mean. Hyperparameters are estimated with the
m_i integrated out: a damping fitted to plugged-in means would come out too strong in short series
(Neyman and Scott 1948), one fitted to a common mean far too weak in all. The integral is adaptive
Gauss-Hermite quadrature (Liu and Pierce 1994), a pass of the filter at each node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from civstats.demand_filter._estimation import LEAST_SD
from civstats.demand_filter.layout import SILENT, Observations
from civstats.demand_filter.parameters import COUNTS, FilterParameters

LogLikelihood = Callable[[np.ndarray], np.ndarray]
"""From one mean per series to the log-likelihood of each."""

_WORTH = 5.0
"""Series that the whole counts for in a group's mean."""
_NODES = {k: np.polynomial.hermite.hermgauss(k) for k in (3, 5)}


@dataclass(frozen=True)
class Crude:
    """What sums of sales say of each series' mean; a series without a sale has half a one.

    Attributes
    ----------
    mean : numpy.ndarray, shape (n_series,)
    counted, without_sale : numpy.ndarray of bool, shape (n_series,)
        Series of which some day speaks, and those of them without a sale.
    """

    mean: np.ndarray
    counted: np.ndarray
    without_sale: np.ndarray


@dataclass(frozen=True)
class SeriesMeans:
    """Means of damped levels: what is known of each series', and their spread over series.

    Attributes
    ----------
    centre, sd : numpy.ndarray, shape (n_series,)
        Posterior mean and standard deviation of each series' mean.
    group_mean, between_sd : numpy.ndarray, shape (n_groups,)
    member : numpy.ndarray of int, shape (n_series,)
    first_sd : float
        Of the first day's level around the series' mean.
    """

    centre: np.ndarray
    sd: np.ndarray
    group_mean: np.ndarray
    between_sd: np.ndarray
    member: np.ndarray
    first_sd: float

    def take(self, series: np.ndarray) -> SeriesMeans:
        """Return those of some series, by position."""
        return replace(
            self, centre=self.centre[series], sd=self.sd[series], member=self.member[series]
        )

    def parameters(self, params: FilterParameters, mean: np.ndarray) -> FilterParameters:
        """Return parameters of series whose means are known."""
        return replace(params, prior_mean=mean, prior_sd=self.first_sd, level_mean=mean)

    def plugged(self, params: FilterParameters) -> FilterParameters:
        """Return parameters with the posterior means; their error widens the first level alone."""
        spread = np.hypot(self.first_sd, self.sd)
        return replace(params, prior_mean=self.centre, prior_sd=spread, level_mean=self.centre)

    def integrated(self, loglik: LogLikelihood) -> np.ndarray:
        """Return the log-likelihood of each series with its mean integrated out."""
        joint, _ = self._at_nodes(loglik, 3)
        top = joint.max(axis=0)
        out: np.ndarray = top + np.log(np.exp(joint - top).sum(axis=0))
        return out

    def updated(self, loglik: LogLikelihood, times: int = 1) -> SeriesMeans:
        """Return what is known of each series' mean, group means and spreads as they are."""
        now = self
        for _ in range(times):
            joint, points = now._at_nodes(loglik, 5)
            weight = np.exp(joint - joint.max(axis=0))
            weight /= weight.sum(axis=0)
            mean = (weight * points).sum(axis=0)
            sd = np.sqrt((weight * np.square(points - mean)).sum(axis=0))
            # Where the nodes missed the mass they move towards it, no faster than they see.
            sd = np.clip(sd, now.sd / 3, 3 * now.sd)
            now = replace(now, centre=mean, sd=np.minimum(sd, now.between_sd[now.member]))
        return now

    def regrouped(self, crude: Crude, first: np.ndarray, first_var: np.ndarray) -> SeriesMeans:
        """Return the same with group means and spreads of an EM step, the whole worth some series.

        A series without a sale says only that its mean is low, and would draw its group's down
        without end: it counts as half a sale. One that no day speaks of does not count.

        Parameters
        ----------
        crude : Crude
        first, first_var : numpy.ndarray, shape (n_series,)
            Mean and variance of the first day's level.
        """
        counted = crude.counted
        if not counted.any():
            return self
        mean = np.where(crude.without_sale, crude.mean, self.centre)[counted]
        variance = np.where(crude.without_sale, 0.0, np.square(self.sd))[counted]
        member, n_groups = self.member[counted], len(self.group_mean)
        count = np.bincount(member, minlength=n_groups) + _WORTH
        whole, spread = mean.mean(), np.var(mean) + variance.mean()
        centre = (np.bincount(member, weights=mean, minlength=n_groups) + _WORTH * whole) / count
        square = np.square(mean - centre[member]) + variance
        total = np.bincount(member, weights=square, minlength=n_groups) + _WORTH * spread
        start = np.square(first - self.centre) + first_var + np.square(self.sd)
        start = start[counted & ~crude.without_sale]
        return replace(
            self,
            group_mean=centre,
            between_sd=np.maximum(np.sqrt(total / count), LEAST_SD),
            first_sd=float(max(np.sqrt(start.mean()), LEAST_SD)) if len(start) else self.first_sd,
        )

    def spread_to(
        self, obs: Observations, params: FilterParameters, member: np.ndarray
    ) -> SeriesMeans:
        """Return where the search starts for other series, of groups `member`."""
        other = first_means(obs, params, member, len(self.group_mean))
        between, centre = self.between_sd[member], self.group_mean[member]
        counted = crude_means(obs, params).counted
        return replace(
            self,
            centre=np.where(counted, other.centre, centre),
            sd=np.where(counted, 0.3, 1.0) * between,
            member=member,
        )

    def _at_nodes(self, loglik: LogLikelihood, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return log weights of the integral and its nodes, each of shape (k, n_series)."""
        x, weight = _NODES[k]
        points = self.centre + np.sqrt(2) * self.sd * x[:, None]
        mean, sd = self.group_mean[self.member], self.between_sd[self.member]
        prior = -0.5 * np.square((points - mean) / sd) - np.log(sd * np.sqrt(2 * np.pi))
        scale = np.log(weight * np.sqrt(2))[:, None] + np.square(x)[:, None] + np.log(self.sd)
        said = np.stack([loglik(p) for p in points])
        return said + prior + scale, points


def first_means(
    obs: Observations, params: FilterParameters, member: np.ndarray, n_groups: int
) -> SeriesMeans:
    """Return where the search of the means starts: crude means of sales.

    Parameters
    ----------
    obs : Observations
    params : FilterParameters
    member : numpy.ndarray of int, shape (n_series,)
        Group of each series.
    n_groups : int
    """
    crude = crude_means(obs, params)
    counted, spread, centre = crude.counted, 1.0, float(np.mean(params.prior_mean))
    if counted.any():
        centre = float(crude.mean[counted].mean())
        spread = float(max(np.std(crude.mean[counted]), 4 * LEAST_SD))
    return SeriesMeans(
        np.where(counted, crude.mean, centre),
        np.where(counted, 0.3 * spread, spread),
        np.full(n_groups, centre),
        np.full(n_groups, spread),
        member,
        spread,
    )


def crude_means(obs: Observations, params: FilterParameters) -> Crude:
    """Return crude means of the level from sales over what is expected at level 0."""
    said = obs.kind != SILENT
    if params.family == "lognormal":
        said &= obs.y > 0
    days = np.add.reduceat(said.astype(float), obs.starts)
    share = np.ones(obs.n_rows) if obs.exposure is None else obs.exposure.astype(float)
    if params.family in COUNTS:
        sold = np.add.reduceat(np.where(said, obs.y, 0.0), obs.starts)
        usual = np.add.reduceat(np.where(said, share * np.exp(obs.offset), 0.0), obs.starts)
        mean = np.log(np.maximum(sold, 0.5) / np.where(days > 0, usual, 1.0))
        return Crude(mean, days > 0, (days > 0) & (sold == 0))
    if params.family == "lognormal":
        value = np.log(np.where(said, obs.y, 1.0)) - np.log(share)
    else:
        value = obs.y / share
    total = np.add.reduceat(np.where(said, value - obs.offset, 0.0), obs.starts)
    return Crude(total / np.maximum(days, 1.0), days > 0, np.zeros(obs.n_series, dtype=bool))
