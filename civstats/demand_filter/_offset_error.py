"""How far the offsets may be off: the covariance of their coefficients, by group."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from civstats.demand_filter.model import DemandFilter
from civstats.schema import ID

_CHUNK = 200_000


def offset_covariance(fitted: DemandFilter) -> np.ndarray | None:
    """Return the covariance of every group's coefficients, shape (n_groups, k, k).

    From the observed information of the pool, levels unknown. A group's own data count by its share
    of the series, and its departure from the pool has the estimated spread. None where there is no
    regression.
    """
    measured = fitted.coefficients_.information if fitted.offsets else None
    if measured is None:
        return None
    data = _at_least_nothing(measured.observed)
    pool = np.linalg.inv(data + np.diag(1 / np.square(fitted.design_.prior_sd)))
    n_groups = len(fitted.groups_.names)
    if n_groups == 1:
        return pool[None]
    spread = np.diag(np.square(np.maximum(fitted.coefficients_.between_sd, 1e-3)))
    before = np.linalg.inv(pool + spread)
    share = np.bincount(fitted.groups_.of_series, minlength=n_groups) / len(
        fitted.groups_.of_series
    )
    return np.stack([np.linalg.inv(s * data + before) for s in share])


def _at_least_nothing(information: np.ndarray) -> np.ndarray:
    """Return the nearest information that is nowhere negative."""
    values, vectors = np.linalg.eigh(information)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def offset_variance(fitted: DemandFilter, rows: pd.DataFrame) -> np.ndarray | None:
    """Return what the coefficients' error adds to the variance of each row's log mean, (n_rows,).

    To first order, less what the level makes up for.
    """
    covariance = offset_covariance(fitted)
    if covariance is None:
        return None
    out = np.empty(len(rows))
    kept = fitted.coefficients_.information.kept  # type: ignore[union-attr]
    for part, z, group in _pieces(fitted, rows):
        z = z * kept
        for g in np.unique(group):
            mine = group == g
            out[part][mine] = np.einsum("ij,jk,ik->i", z[mine], covariance[g], z[mine])
    return out


def offset_departures(
    fitted: DemandFilter, rows: pd.DataFrame, n: int, seed: int
) -> list[np.ndarray]:
    """Draw n departures of all offsets, each of shape (n_rows,); shared by all rows of a group.

    The same departure for a group whatever rows are asked for.
    """
    errors = coefficient_errors(fitted, n, seed)
    if errors is None:
        return [np.zeros(len(rows))] * n
    return list(departures_of(fitted, rows, errors))


def coefficient_errors(fitted: DemandFilter, n: int, seed: int) -> np.ndarray | None:
    """Draw n errors of all coefficients, shape (n, n_groups, k); None where there is no regression."""
    covariance = offset_covariance(fitted)
    if covariance is None:
        return None
    draws = []
    for g in range(len(covariance)):
        rng = np.random.default_rng([seed, g])
        zero = np.zeros(len(covariance[g]))
        draws.append(rng.multivariate_normal(zero, covariance[g], size=n, method="eigh"))
    return np.stack(draws, axis=1)


def departures_of(fitted: DemandFilter, rows: pd.DataFrame, errors: np.ndarray) -> np.ndarray:
    """Return what errors of the coefficients do to the offsets of rows, shape (n, n_rows)."""
    out = np.zeros((len(errors), len(rows)), dtype=np.float32)
    for part, z, group in _pieces(fitted, rows):
        for g in np.unique(group[group >= 0]):
            mine = group == g
            out[:, part.start + np.flatnonzero(mine)] = errors[:, g] @ z[mine].T
    return out


def _pieces(
    fitted: DemandFilter, rows: pd.DataFrame
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield slices of the rows, their regressors and groups."""
    ids = rows[ID]
    at = fitted.ids_.get_indexer(pd.Index(ids.cat.categories.astype(object)))
    group = np.where(at >= 0, fitted.groups_.of_series[at], -1)[ids.cat.codes.to_numpy()]
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        z = fitted.design_.matrix(rows.iloc[part]).astype(np.float64)
        yield part, z, group[part]
