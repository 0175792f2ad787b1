"""Joint draws of demand on the days that sales may fall short of, along sampled level paths."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.censoring import LogNormal, NegBin, Normal, Poisson, ZeroInflatedNegBin, sample_unseen
from civstats.censoring.counts import CountFamily
from civstats.demand_filter._hyper_draws import draw_moves
from civstats.demand_filter.empirical_bayes import Estimate
from civstats.demand_filter.layout import BOUND, EXACT, Observations
from civstats.demand_filter.model import Groups, with_values
from civstats.demand_filter.parameters import COUNTS, FilterParameters
from civstats.demand_filter.sampling import _keys, sample_levels


def entropy_of(*parts: int) -> int:
    """Return one seed out of several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def draw_parameters(
    params: FilterParameters,
    ids: pd.Index,
    groups: Groups,
    member: np.ndarray,
    estimates: dict[str, Estimate],
    n: int,
    seed: int,
) -> list[FilterParameters]:
    """Draw the hyperparameters n times, each draw shared by the series of a group.

    From the groups' hierarchical posterior; see :mod:`civstats.demand_filter._hyper_draws`. Where
    the likelihood rises to the end of the range, by the profile likelihood.

    Parameters
    ----------
    params : FilterParameters
        Of the series `ids`.
    member : numpy.ndarray, shape (n_series,)
        Group of each series.
    """
    rng = np.random.default_rng(entropy_of(seed, 3))
    # All groups of the fit are drawn, so that a part of the series has the draws it has in all.
    moves = draw_moves(estimates, groups.names, n, rng)
    whole, found = estimates["all"], []
    for move in moves:
        values = {
            name: whole.moved(name, np.broadcast_to(getattr(params, name), (len(ids),)), by)
            for name, by in zip(whole.names, move[member].T, strict=True)
        }
        found.append(with_values(params, values))
    return found


def draw_demand(
    obs: Observations,
    day: Observations,
    params: list[FilterParameters],
    moves: list[np.ndarray],
    keep: np.ndarray,
    n: int,
    seed: int,
    n_jobs: int | None,
) -> np.ndarray:
    """Draw demand on the days kept, shape (n_kept, n), float32.

    Parameters
    ----------
    obs : Observations
        What the level is learned from.
    day : Observations
        What each day says of its own demand; the same rows.
    params : list of FilterParameters
        Parameter draws, which share the samples evenly: the first sample is of the first.
    moves : list of numpy.ndarray
        What goes with each parameter draw on top of the offsets.
    keep : numpy.ndarray of bool, shape (n_rows,)
    seed : int
        A series' draws depend on it and on the series' name.
    """
    out = np.empty((int(keep.sum()), n), dtype=np.float32)
    slots = np.r_[0, np.cumsum(keep)]
    for k, (drawn, move) in enumerate(zip(params, moves, strict=True)):
        columns = np.arange(k, n, len(params))
        if not len(columns):
            break
        offset = obs.offset + move
        paths = sample_levels(
            obs.with_offset(offset),
            drawn,
            len(columns),
            entropy_of(seed, k, 0),
            keep=keep,
            n_jobs=n_jobs,
        )
        keys = _keys(entropy_of(seed, k, 1), obs.ids)
        for i in range(obs.n_series):
            at = slice(int(slots[obs.starts[i]]), int(slots[obs.ends[i]]))
            if at.start == at.stop:
                continue
            rng = np.random.default_rng(keys[i])
            gone = None if paths.out is None else paths.out[at]
            out[at, columns] = _one(
                day,
                offset,
                paths.rows[at],
                paths.levels[at].astype(float),
                gone,
                drawn.take([i]),
                rng,
            )
    return out


def family_of(params: FilterParameters) -> CountFamily | Normal:
    """Return the family of the demand of one series."""
    spread = float(np.ravel(params.dispersion)[0])
    if params.family == "poisson":
        return Poisson()
    if params.family == "negbin":
        return NegBin(spread)
    if params.family == "zero_inflated_negbin":
        return ZeroInflatedNegBin(spread, float(np.ravel(params.zero_inflation)[0]))
    return Normal(spread) if params.family == "normal" else LogNormal(spread)


def _one(
    day: Observations,
    offset: np.ndarray,
    rows: np.ndarray,
    levels: np.ndarray,
    gone: np.ndarray | None,
    params: FilterParameters,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw the days of one series, shape (n_rows, n)."""
    y, kind = day.y[rows][:, None], day.kind[rows][:, None]
    eta = levels + offset[rows][:, None]
    family = family_of(params)
    count = params.family in COUNTS
    bound = (kind == BOUND) & ((y > 0) | (params.family == "normal"))
    nothing = 0.0 if count or params.family == "lognormal" else -np.inf
    demand = family.sample_above(np.where(bound, y, nothing), eta, rng)
    exact = (kind == EXACT)[:, 0]
    if exact.any():
        share = np.ones(len(rows)) if day.exposure is None else day.exposure[rows]
        seen = _part(family, y[exact], eta[exact], share[exact][:, None], rng)
        still = np.zeros(seen.shape, dtype=bool) if gone is None else gone[exact]
        demand[exact] = np.where(still, demand[exact], seen)
    return np.where(bound | exact[:, None], np.maximum(demand, y), demand)


def _part(
    family: CountFamily | Normal,
    y: np.ndarray,
    eta: np.ndarray,
    share: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw the demand of days that sold y in a share of their hours; y itself on whole days."""
    left, _ = sample_unseen(family, y, eta, share, rng)
    return np.where(share < 1, y + left, y)
