"""What the filter's forecaster holds at a cutoff: states that go on, and parameters that may differ."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter import (
    SILENT,
    UNKNOWN,
    DemandFilter,
    FilterParameters,
    Grid,
    Observations,
    State,
    filter_levels,
)
from civstats.demand_filter._hyper_draws import draw_moves
from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.model import Groups, group_series
from civstats.demand_filter.series_means import SeriesMeans
from civstats.schema import series_index

_OTHER = "of no group of the fit"


@dataclass(frozen=True)
class World:
    """One value of the shared parameters and what the filter says under it.

    Attributes
    ----------
    params : FilterParameters
        Of the state's series, in its order.
    state : State
    """

    params: FilterParameters
    state: State


def silent_days(ids: pd.Index, lengths: np.ndarray) -> Observations:
    """Return days on which nothing is seen: time passes, and availability is unknown."""
    ends = np.cumsum(lengths)
    n = int(ends[-1]) if len(ends) else 0
    return Observations(
        ids,
        ends - lengths,
        ends,
        np.zeros(n),
        np.full(n, SILENT),
        np.full(n, UNKNOWN),
        np.zeros(n),
    )


def concatenate(states: list[State]) -> State:
    """Put states of different series one after the other."""
    grids = [s.grid for s in states]
    grid = Grid(*(np.concatenate([getattr(g, f.name) for g in grids]) for f in fields(Grid)))
    return State(
        pd.Index(np.concatenate([np.asarray(s.ids, dtype=object) for s in states])),
        grid,
        states[0].n_states,
        np.concatenate([s.cells for s in states]),
        np.concatenate([s.n_days for s in states]),
    )


def advance(state: State, params: FilterParameters, days: np.ndarray, n_jobs: int | None) -> State:
    """Let time pass unseen: `days` of each series, shape (n_series,), 0 or more."""
    late = np.flatnonzero(days > 0)
    if not len(late):
        return state
    moved = filter_levels(
        silent_days(state.ids[late], days[late]),
        params.take(late),
        summaries=(),
        state=state.take(late),
        n_jobs=n_jobs,
    ).state
    kept = np.flatnonzero(days <= 0)
    return concatenate([state.take(kept), moved]).match(state.ids)


def rested(state: State, params: FilterParameters, unseen: np.ndarray, n_jobs: int | None) -> State:
    """Give series of which no day spoke the prior of a first day; `unseen` has shape (n_series,).

    What the group says of such a series it says today as on its first day: let time pass, and the
    prior would spread over levels that no series has.
    """
    some = np.flatnonzero(unseen)
    if not len(some):
        return state
    first = silent_days(state.ids[some], np.ones(len(some), dtype=int))
    fresh = filter_levels(first, params.take(some), summaries=(), n_jobs=n_jobs).state
    rest = np.flatnonzero(~unseen)
    return concatenate([state.take(rest), fresh]).match(state.ids) if len(rest) else fresh


def spoken(obs: Observations) -> pd.Index:
    """Return the series with a day that says something of their level."""
    said = np.add.reduceat(obs.kind != SILENT, obs.starts) > 0
    return obs.ids[said]


def highest_level(obs: Observations) -> float:
    """Return twice the highest level that any day's sales speak of; log 2 where none speaks."""
    spoken = obs.kind != SILENT
    share = 1.0 if obs.exposure is None else obs.exposure[spoken]
    levels = np.log(np.maximum(obs.y[spoken], 1.0) / share) - obs.offset[spoken]
    return float(np.max(levels, initial=0.0) + np.log(2.0))


def capped(state: State, top: float) -> State:
    """Condition on levels of at most `top`.

    For a series with next to nothing seen: the normal prior of its level is fitted to levels that
    run over several log units, and the mean of its exponential would be that of the far tail.
    """
    at = state.grid.cells(state.n_states)
    cells = state.cells.copy()
    last = state.grid.anchor + state.grid.spacing * (state.grid.first + state.grid.size - 1)
    for i in np.flatnonzero(last > top):
        block = cells[at[i] : at[i + 1]].reshape(state.n_states, -1)
        keep = state.grid.levels(int(i)) <= top
        mass = block[:, keep].sum()
        if mass > 0.0:
            block[:, ~keep] = 0.0
            block /= mass
    return replace(state, cells=cells)


def with_launches(fitted: DemandFilter, panel: pd.DataFrame) -> DemandFilter:
    """Return the fitted filter with the series of `panel` that it has not seen.

    A launch has the parameters and offsets of its group; where the group is new too, the pooled
    offsets and the parameters' medians over series.

    Parameters
    ----------
    fitted : DemandFilter
    panel : pandas.DataFrame
        Rows of new series alone.
    """
    joined = group_series(panel, fitted.group)
    new = series_index(panel).ids
    names = list(fitted.groups_.names)
    coefficients = fitted.coefficients_
    place = []
    for name in (joined.names[k] for k in joined.of_series):
        known = name in names and name != _OTHER
        if not known and _OTHER not in names:
            names.append(_OTHER)
            groups = np.vstack([coefficients.groups, coefficients.pooled])
            coefficients = replace(coefficients, groups=groups)
        place.append(names.index(name if known else _OTHER))
    out = copy.copy(fitted)
    out.groups_ = Groups(names, np.r_[fitted.groups_.of_series, place].astype(int))
    out.coefficients_ = coefficients
    out.ids_ = fitted.ids_.append(new)
    out.parameters_ = _grown(fitted.parameters_, fitted.groups_.of_series, np.array(place))
    out.design_ = _priced(fitted.design_, panel)
    if fitted.means_ is not None:
        out.means_ = _returning(fitted.means_, len(names), np.array(place))
        out.parameters_ = out.means_.plugged(out.parameters_)
    if coefficients.trees and coefficients.centre is not None:
        centre = pd.concat([coefficients.centre, out.tree_centre(panel)])
        out.coefficients_ = replace(coefficients, centre=centre)
    return out


def _returning(means: SeriesMeans, n_groups: int, place: np.ndarray) -> SeriesMeans:
    """Add new series, whose means may be any of their group's; a new group has those of all."""
    centre, sd = means.group_mean, means.between_sd
    more = n_groups - len(centre)
    centre = np.r_[centre, np.full(more, centre.mean())]
    sd = np.r_[sd, np.full(more, np.sqrt(np.square(sd).mean() + np.var(means.group_mean)))]
    return replace(
        means,
        centre=np.r_[means.centre, centre[place]],
        sd=np.r_[means.sd, sd[place]],
        group_mean=centre,
        between_sd=sd,
        member=np.r_[means.member, place],
    )


def _grown(params: FilterParameters, member: np.ndarray, place: np.ndarray) -> FilterParameters:
    """Append values for new series: the median of those of their group, of all if it has none."""
    values: dict[str, Any] = {}
    for f in fields(FilterParameters):
        old = getattr(params, f.name)
        if f.name == "family" or not np.ndim(old):
            values[f.name] = old
            continue
        own = [old[member == g] if (member == g).any() else old for g in place]
        values[f.name] = np.r_[old, [float(np.median(x)) for x in own]]
    return FilterParameters(**values)


def _priced(design: OffsetDesign, panel: pd.DataFrame) -> OffsetDesign:
    """Add the usual prices of new series."""
    if design.reference is None:
        return design
    theirs = OffsetDesign.learn(panel, harmonics=0).reference
    if theirs is None:
        return design
    return replace(design, reference=pd.concat([design.reference, theirs]))


def draw_parameters(fitted: DemandFilter, n: int, seed: int) -> list[FilterParameters]:
    """Draw the shared hyperparameters from their sandwich covariance.

    Drawn from the groups' hierarchical posterior on the unbounded scales, so a draw moves the
    series of a group alike and groups partly together; a parameter at its boundary moves inwards
    as its profile likelihood allows. The means of damped levels are a standard deviation above
    what was estimated in every other draw, and below it in the rest.

    Parameters
    ----------
    fitted : DemandFilter
    n : int
        Draws; 0 gives the estimate itself, twice for the means of damped levels.
    seed : int
    """
    means = fitted.means_
    if n == 0 and means is None:
        return [fitted.parameters_]
    drawn = _moved(fitted, n, seed) if n else [fitted.parameters_] * 2
    if means is None:
        return drawn
    # One draw alone, or the last of an odd number, has the means themselves.
    signs = [(-1.0) ** k for k in range(len(drawn) - len(drawn) % 2)] + [0.0] * (len(drawn) % 2)
    return [
        means.parameters(params, means.centre + sign * means.sd)
        for params, sign in zip(drawn, signs, strict=True)
    ]


def _moved(fitted: DemandFilter, n: int, seed: int) -> list[FilterParameters]:
    """Move the shared hyperparameters n times."""
    whole, member = fitted.estimates_["all"], fitted.groups_.of_series
    moves = draw_moves(fitted.estimates_, fitted.groups_.names, n, np.random.default_rng([seed, 3]))
    out = []
    for move in moves:
        values: dict[str, Any] = {
            name: whole.moved(
                name, np.broadcast_to(getattr(fitted.parameters_, name), (len(member),)), by
            )
            for name, by in zip(whole.names, move[member].T, strict=True)
        }
        out.append(replace(fitted.parameters_, **values))
    return out


def joined(a: World, b: World) -> World:
    """Put new series after those of a world."""
    values = {}
    names = [n for n in vars(a.params) if n != "family"]
    n_a, n_b = len(a.state.ids), len(b.state.ids)
    for name in names:
        x, y = getattr(a.params, name), getattr(b.params, name)
        if x is not None and (np.ndim(x) or np.ndim(y)):
            x = np.r_[np.broadcast_to(x, n_a), np.broadcast_to(y, n_b)]
        values[name] = x
    return World(type(a.params)(a.params.family, **values), concatenate([a.state, b.state]))
