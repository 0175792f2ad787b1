"""Days ahead of the filter's states: predictive mixtures of counts, and joint paths of counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.demand_filter import (
    FilterParameters,
    SeriesPosterior,
    State,
    sample_forward,
    visit_posteriors,
)
from civstats.models._level_state import World, silent_days

_NODES = 12
"""Of the level's distribution on a day ahead: with 12 the cumulative probabilities of counts are
within 1e-6 of those summed over the whole grid."""
_CHUNK = 256
"""Series whose paths are drawn at a time."""


@dataclass(frozen=True)
class Mixture:
    """Predictive distributions of the days ahead: mixtures of counts.

    Attributes
    ----------
    eta, weights, alpha : numpy.ndarray, shape (n_rows, n_components)
        Log means, weights, inverse dispersions.
    zero : numpy.ndarray, shape (n_rows,)
        Weight of a zero for sure: out of stock, or zero inflation.
    """

    eta: np.ndarray
    weights: np.ndarray
    alpha: np.ndarray
    zero: np.ndarray

    def mean(self) -> np.ndarray:
        """Return the means, shape (n_rows,)."""
        out: np.ndarray = (self.weights * np.exp(self.eta)).sum(axis=1)
        return out

    def quantiles(self, probabilities: Sequence[float]) -> np.ndarray:
        """Return the smallest counts that reach the probabilities, shape (n_rows, n_probs)."""
        from civstats.models._level_mixture import quantiles

        out = np.empty((len(self.eta), len(probabilities)))
        probs = np.asarray(probabilities, dtype=float)
        quantiles(out, probs, self.eta, self.weights, self.zero, self.alpha)
        return out

    def marginal(self, keys: pd.DataFrame) -> pd.DataFrame:
        """Return the components as rows, those of a day together."""
        mean, weight = np.exp(self.eta), self.weights
        with np.errstate(divide="ignore"):
            size = 1.0 / self.alpha
        if self.zero.any():
            mean = np.column_stack([mean, np.zeros(len(mean))])
            weight = np.column_stack([weight, self.zero])
            size = np.column_stack([size, size[:, :1]])
        rows = np.repeat(np.arange(len(mean)), mean.shape[1])
        return (
            keys.iloc[rows]
            .reset_index(drop=True)
            .assign(
                family=pd.Categorical(["negbin"]).repeat(len(rows)),
                mean=mean.ravel(),
                dispersion=size.ravel(),
                weight=weight.ravel(),
            )
        )


def mixture_ahead(
    worlds: list[World], steps: np.ndarray, offset: np.ndarray, *, sales: bool, n_jobs: int | None
) -> Mixture:
    """Return the predictive distribution of every series and day, worlds weighing alike.

    `offset` is of shape (n_series, h), or has one for each world in front.
    """
    from civstats.models._level_mixture import gauss_days

    n, h = offset.shape[-2:]
    offsets = np.broadcast_to(offset, (len(worlds), n, h))
    reach, parts = int(steps.max()), []
    for world, offset in zip(worlds, offsets, strict=True):
        shape = (n * reach, _NODES)
        nodes, weights, mass = np.zeros(shape), np.zeros(shape), np.zeros(n * reach)

        def one(
            day: SeriesPosterior,
            nodes: np.ndarray = nodes,
            weights: np.ndarray = weights,
            mass: np.ndarray = mass,
        ) -> None:
            # Out of stock the level lives on: demand is of either state, sales of the first.
            cells = day.filtered[:, 0] if sales else day.filtered.sum(axis=1)
            found = np.empty((len(day.rows), _NODES)), np.empty((len(day.rows), _NODES))
            total = np.empty(len(day.rows))
            gauss_days(*found, total, day.levels, np.ascontiguousarray(cells))
            nodes[day.rows], weights[day.rows], mass[day.rows] = *found, total

        obs = silent_days(world.state.ids, np.full(n, reach))
        keep = np.tile(np.isin(np.arange(1, reach + 1), steps), n)
        visit_posteriors(obs, world.params, one, keep=keep, state=world.state, n_jobs=n_jobs)
        p = world.params
        sure = np.broadcast_to(p.zero_inflation, n).repeat(h)
        weights = weights[keep] * (1 - sure)[:, None]
        alpha = np.zeros(n) if p.family == "poisson" else 1 / np.broadcast_to(p.dispersion, n)
        parts.append(
            (
                nodes[keep] + offset.reshape(-1, 1),
                weights / len(worlds),
                np.broadcast_to(alpha.repeat(h)[:, None], weights.shape),
                (1 - mass[keep] * (1 - sure)) / len(worlds),
            )
        )
    eta, weights, alpha = (
        np.ascontiguousarray(np.concatenate([p[k] for p in parts], axis=1)) for k in range(3)
    )
    zero = np.maximum(sum(p[3] for p in parts), 0.0)
    return Mixture(eta, weights, alpha, np.where(zero < 1e-12, 0.0, zero))


def paths_ahead(
    worlds: list[World],
    steps: np.ndarray,
    offset: np.ndarray,
    n_paths: int,
    seed: int,
    *,
    sales: bool,
) -> np.ndarray:
    """Draw joint paths, shape (n_series, n_paths, h): world k has every K-th of them."""
    n_series, h = offset.shape[-2:]
    offsets = np.broadcast_to(offset, (len(worlds), n_series, h))
    out = np.empty((n_series, n_paths, h), dtype=np.float32)
    for k, (world, offset) in enumerate(zip(worlds, offsets, strict=True)):
        share = slice(k, n_paths, len(worlds))
        n = len(range(n_paths)[share])
        for start in range(0, len(out) if n else 0, _CHUNK):
            at = np.arange(start, min(start + _CHUNK, len(out)))
            state, params = world.state.take(at), world.params.take(at)
            # Draws depend on the seed, the world and the series' name alone.
            drawn = sample_forward(state, params, int(steps.max()), n, seed + 7_919 * k)
            sold = None if drawn.out is None else ~drawn.out[..., steps - 1]
            eta = drawn.levels[..., steps - 1] + offset[at, None]
            units = _counts(state, params, eta, seed + 7_919 * k)
            out[at, share] = units * sold if sales and sold is not None else units
    return out


def _counts(state: State, params: FilterParameters, eta: np.ndarray, seed: int) -> np.ndarray:
    """Draw counts about log means, shape (n_series, n, h)."""
    from civstats.censoring import NegBin, Poisson

    out = np.empty(eta.shape, dtype=np.float32)
    sure = np.broadcast_to(params.zero_inflation, len(eta))
    sizes = np.broadcast_to(params.dispersion, len(eta))
    for i, name in enumerate(state.ids):
        word = int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8).digest(), "little")
        rng = np.random.default_rng([seed, 1, word])
        family = Poisson() if params.family == "poisson" else NegBin(float(sizes[i]))
        out[i] = family.sample(eta[i].astype(float), rng)
        if sure[i] > 0:
            out[i] *= rng.random(eta[i].shape) >= sure[i]
    return out
