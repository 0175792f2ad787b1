"""Days after the cutoff: levels that drift on, joint paths of demand, mixtures for each day."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from civstats.models.bayes._layout import WEEK, Layout, descent_of
from civstats.models.bayes._posterior import Draws, expected_demand
from civstats.schema import (
    CUTOFF,
    DS,
    ID,
    Forecast,
    alias,
    quantile_column,
    quantiles_of_levels,
)

_LEAST_DRAWS = 1_000
"""Worlds behind means and quantiles, whatever number of paths is asked for."""
_COMPONENTS = 24
_BLOCK = 2_000_000


def forecast(
    draws: Draws,
    layout: Layout,
    family: str,
    future: pd.DataFrame,
    matrix: np.ndarray,
    cutoff: pd.Timestamp,
    *,
    name: str,
    treatment: str,
    level: list[float],
    n_paths: int,
    seed: int,
) -> Forecast:
    """Forecast a rectangular `future`, its regressors in `matrix`."""
    rng = np.random.default_rng(seed)
    n = max(n_paths, min(_LEAST_DRAWS, 4 * draws.n))
    # Every posterior draw equally often: less Monte Carlo error than drawing with replacement.
    which = rng.permuted(np.arange(n) * draws.n // n if n <= draws.n else np.arange(n) % draws.n)
    h = future[DS].nunique()
    ids = future[ID].iloc[::h].astype(str).to_numpy()
    dates = future[DS].to_numpy().astype("datetime64[ns]")[:h]
    series = pd.Index(layout.names["series"]).get_indexer(pd.Index(ids))
    probabilities = quantiles_of_levels(level)
    mean, components = np.empty((len(ids), h)), []
    quantiles = np.empty((len(ids), h, len(probabilities)))
    paths = np.empty((len(ids), n_paths, h), dtype=np.float32)
    size = max(1, _BLOCK // (n * h))
    for start in range(0, len(ids), size):
        part = slice(start, start + size)
        eta = _levels_ahead(draws, layout, which, series[part], dates, descent_of(family), rng)
        group = np.repeat(layout.department[series[part]], h)
        rows = matrix.reshape(len(ids), h, -1)[part].reshape(len(group), -1)
        eta = eta.reshape(n, -1) + draws.offsets(which, rows, group)
        every = np.repeat(series[part], h)
        eta = draws.in_units(eta, every)
        said = draws.family(which, group, every)
        shape = (n, -1, h)
        expected = expected_demand(said, eta)
        mean[part] = expected.mean(axis=0).reshape(-1, h)
        demand = np.maximum(said.sample(eta, rng), 0.0).reshape(shape)
        found = np.quantile(demand, probabilities, axis=0, method="inverted_cdf")
        quantiles[part] = np.moveaxis(found, 0, -1)
        paths[part] = demand[:n_paths].transpose(1, 0, 2)
        if family != "normal":
            components.append(_components(eta, draws, which, group, family))
    column = alias(name, treatment)
    frame = pd.DataFrame({ID: future[ID].array, DS: future[DS].array, CUTOFF: cutoff})
    frame[column] = mean.ravel()
    for j, p in enumerate(probabilities):
        frame[quantile_column(column, p)] = quantiles[..., j].ravel()
    array = None
    if n_paths:
        import xarray as xr

        array = xr.DataArray(
            paths,
            dims=(ID, "sample", DS),
            coords={ID: ids.astype(object), "sample": np.arange(n_paths), DS: dates},
        )
    marginal = _marginal(future, components) if components else None
    return Forecast(frame, name, treatment, tuple(level), array, marginal)


def _levels_ahead(
    draws: Draws,
    layout: Layout,
    which: np.ndarray,
    series: np.ndarray,
    dates: np.ndarray,
    descent: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw levels of days ahead, shape (n, n_series, h): a step at the start of every week."""
    last = layout.starts[series + 1] - 1
    level = draws["level"][which][:, last]
    if not layout.drifts:
        return np.repeat(level[..., None], len(dates), axis=2)
    ahead = ((dates - layout.origin) // WEEK)[None, :] - layout.week[last][:, None]
    reach = int(ahead.max(initial=0))
    sd = draws.drift(which)[:, series, None]
    steps = sd * (rng.normal(size=(len(which), len(series), reach)) - descent * sd)
    walked = np.concatenate([np.zeros((*level.shape, 1)), np.cumsum(steps, axis=2)], axis=2)
    at = np.broadcast_to(ahead[None], (len(which), *ahead.shape))
    out: np.ndarray = level[..., None] + np.take_along_axis(walked, at, axis=2)
    return out


def _components(
    eta: np.ndarray, draws: Draws, which: np.ndarray, group: np.ndarray, family: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, dispersion and zero probability of components, by row, and their weights.

    Draws sorted by their mean are averaged in bins: the mixture keeps the mean, and nearly all of
    the spread of means.
    """
    k = min(_COMPONENTS, len(eta))
    binned = np.array_split(np.sort(np.exp(eta), axis=0), k, axis=0)
    mean = np.array([b.mean(axis=0) for b in binned]).T
    weight = np.array([len(b) for b in binned]) / len(eta)
    if family == "poisson":
        spread, zero = np.full(len(group), np.inf), np.zeros(len(group))
    else:
        # The mean of 1 / a is what the variance averages.
        spread = 1 / (1 / draws["dispersion"][which]).mean(axis=0)[group]
        zero = np.zeros(len(group))
        if family == "zero_inflated_negbin":
            zero = draws["zero_prob"][which].mean(axis=0)[group]
    return mean, spread, zero[:, None] + 0 * weight, weight


def _marginal(future: pd.DataFrame, blocks: Sequence[tuple[np.ndarray, ...]]) -> pd.DataFrame:
    mean, spread, zero = (np.concatenate([b[j] for b in blocks]) for j in range(3))
    weight = np.broadcast_to(blocks[0][3], mean.shape) * (1 - zero)
    size = np.broadcast_to(spread[:, None], mean.shape)
    if zero.any():
        mean = np.column_stack([mean, np.zeros(len(mean))])
        weight = np.column_stack([weight, zero[:, 0]])
        size = np.column_stack([size, spread])
    rows = np.repeat(np.arange(len(mean)), mean.shape[1])
    keys = future[[ID, DS]].iloc[rows].reset_index(drop=True)
    return keys.assign(
        family=pd.Categorical(["negbin"]).repeat(len(rows)),
        mean=mean.ravel(),
        dispersion=size.ravel(),
        weight=weight.ravel(),
    )
