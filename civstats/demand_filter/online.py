"""A fitted filter and where its series stand: stored, and continued with the new days alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from civstats.demand_filter import _store
from civstats.demand_filter._offset_information import OffsetInformation
from civstats.demand_filter._profile import Profile
from civstats.demand_filter._recovery import Recovered, own_days, recover_rows
from civstats.demand_filter.covariates import OffsetDesign
from civstats.demand_filter.empirical_bayes import Estimate, Heterogeneity
from civstats.demand_filter.grid import Grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.model import DemandFilter, Groups
from civstats.demand_filter.offsets import OffsetCoefficients
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.passes import filter_levels
from civstats.demand_filter.series_means import SeriesMeans
from civstats.demand_filter.state import State
from civstats.schema import (
    DS,
    ID,
    LEVEL_FILTERED,
    P_OUT,
    RECOVERED_FILTERED,
    STOCKOUT,
    CivstatsError,
    DataError,
    Y,
    series_index,
)

_FORMAT = 2
_ARGUMENTS = (
    "treatment", "family", "hidden", "trust_unflagged", "flags_apart", "damped", "group", "offsets",
    "harmonics", "individual", "sample_rows", "rounds", "seed",
)  # fmt: skip
_FITTED = (
    "parameters_", "coefficients_", "design_", "groups_", "estimates_", "heterogeneity_", "ids_",
    "means_",
)  # fmt: skip
_CLASSES = (
    OffsetDesign, OffsetCoefficients, OffsetInformation, Groups, FilterParameters, Estimate, Heterogeneity, Profile, State,
    Grid, SeriesMeans,
)  # fmt: skip


_LEFT_OUT = {"result": None, "scores": np.zeros((0, 0)), "curvatures": np.zeros((0, 0))}


def save_filter(fitted: DemandFilter, path: str | Path) -> None:
    """Write a fitted filter to one npz file, whole or not at all, without pickle.

    What the fit knew of single series' scores, and the summary of its last regression, are left
    out: a loaded filter estimates nothing anew.
    """
    _store.save(path, {"format": _FORMAT, "model": _held(fitted)}, _LEFT_OUT)


def load_filter(path: str | Path) -> DemandFilter:
    """Read what :func:`save_filter` wrote.

    Raises
    ------
    DataError
        If the file is no stored filter, or one of another version.
    """
    return _model(_read(path)["model"])


def _held(fitted: DemandFilter) -> dict[str, Any]:
    return {name: getattr(fitted, name) for name in (*_ARGUMENTS, *_FITTED)}


def _model(held: dict[str, Any]) -> DemandFilter:
    model = DemandFilter(**{k: held[k] for k in _ARGUMENTS})
    for name in _FITTED:
        setattr(model, name, held[name])
    return model


def _read(path: str | Path) -> dict[str, Any]:
    held = _store.load(path, _CLASSES)
    if not isinstance(held, dict) or held.get("format") != _FORMAT:
        raise DataError(f"{path} is no stored posterior of format {_FORMAT}")
    return held


@dataclass(frozen=True)
class Posterior:
    """A fitted filter, and the level of every series on its last day given all days so far.

    Attributes
    ----------
    model : DemandFilter
        Its parameters and offsets stay as they are.
    state : State
    last : numpy.ndarray of datetime64[ns], shape (n_series,)
        Last day seen of each series of the state.
    freq : str
        Pandas alias of the panel's periods.
    """

    model: DemandFilter
    state: State
    last: np.ndarray
    freq: str = "D"

    def save(self, path: str | Path) -> None:
        """Write everything to one npz file, as :func:`save_filter` does."""
        held = {
            "format": _FORMAT,
            "model": _held(self.model),
            "state": self.state,
            "last": self.last.astype("datetime64[ns]").astype(np.int64),
            "freq": self.freq,
        }
        _store.save(path, held, _LEFT_OUT)

    @classmethod
    def load(cls, path: str | Path) -> Posterior:
        """Read what :meth:`save` wrote.

        Raises
        ------
        DataError
            If the file is no stored posterior, or one of another version.
        """
        held = _read(path)
        last = held["last"].view("datetime64[ns]")
        return cls(_model(held["model"]), held["state"], last, held["freq"])


class Update(NamedTuple):
    """What :func:`update` hands back.

    Attributes
    ----------
    posterior : Posterior
        As of the new last days.
    frame : pandas.DataFrame
        The new days: ``unique_id, ds, y, stockout, level_filtered, recovered_filtered`` (and
        ``p_out``), each given the days up to it; columns as in :class:`~.recovery.Recovery`.
    """

    posterior: Posterior
    frame: pd.DataFrame


def posterior(
    fitted: DemandFilter, panel: pd.DataFrame, *, freq: str = "D", n_jobs: int | None = None
) -> Posterior:
    """Return where every series of a panel stands, to go on from.

    Parameters
    ----------
    fitted : DemandFilter
        Fitted on the panel's series.
    panel : pandas.DataFrame
        Validated, with all days from each series' first on.
    freq : str
    n_jobs : int, optional
        Threads; None is one per processor.

    Raises
    ------
    CivstatsError
        For series that were not in the fit.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.demand_filter import DemandFilter
    >>> from civstats.demand_filter.online import posterior, update
    >>> days = pd.date_range("2024-01-01", periods=40)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": [2, 3, 1, 2] * 10}))
    >>> before, new = panel.iloc[:39], panel.iloc[39:]
    >>> stands = posterior(DemandFilter(rounds=1).fit(before), before)
    >>> stands, frame = update(stands, new)
    >>> int(stands.state.n_days[0]), len(frame)
    (40, 1)
    """
    obs = fitted.observations(panel)
    params = fitted.parameters_of(obs.ids)
    state = filter_levels(obs, params, summaries=(), n_jobs=n_jobs).state
    last = panel[DS].to_numpy()[series_index(panel).ends - 1]
    return Posterior(fitted, state, last, freq)


def update(before: Posterior, new_days: pd.DataFrame, *, n_jobs: int | None = None) -> Update:
    """Continue a posterior with the new days alone, parameters and offsets as they are.

    The numbers are those of one pass over all days on the same grid of levels.

    Parameters
    ----------
    before : Posterior
    new_days : pandas.DataFrame
        Validated: the days right after each series' last one, with the covariates of the fit. Of
        some series only, if others have none.
    n_jobs : int, optional
        Threads; None is one per processor.

    Returns
    -------
    Update

    Raises
    ------
    CivstatsError
        For days that leave a gap or were seen already, and series that are not in the posterior.
    """
    index = series_index(new_days)
    at = before.state.ids.get_indexer(index.ids)
    if (at < 0).any():
        raise CivstatsError(
            f"{int((at < 0).sum())} series are not in the posterior, first "
            f"{index.ids[int(np.argmax(at < 0))]}: a new series starts with "
            "civstats.demand_filter.online.posterior on a filter that knows it"
        )
    first = new_days[DS].to_numpy()[index.starts]
    due = _next(before.last[at], before.freq)
    if (first != due).any():
        i = int(np.argmax(first != due))
        raise CivstatsError(
            f"{int((first != due).sum())} series do not go on where they ended, first "
            f"{index.ids[i]}: its next day is {pd.Timestamp(due[i]).date()}, but the new days "
            f"start on {pd.Timestamp(first[i]).date()}"
        )
    _refuse_gaps(new_days, before.freq)
    obs = before.model.observations(new_days)
    params = before.model.parameters_of(obs.ids)
    some = before.state.take(at)
    found = Recovered.empty(len(new_days), 0, hidden=before.model.hidden)
    day = own_days(before.model, new_days, obs)
    state = _filtered(obs, day, params, some, found, n_jobs)
    last = before.last.copy()
    last[at] = new_days[DS].to_numpy()[index.ends - 1]
    columns = {
        ID: new_days[ID].array,
        DS: new_days[DS].array,
        Y: new_days[Y].array,
        STOCKOUT: found.stockout,
        LEVEL_FILTERED: found.level_filtered,
        RECOVERED_FILTERED: found.demand_filtered,
    }
    if found.p_out is not None:
        columns[P_OUT] = found.p_out
    after = Posterior(before.model, _replaced(before.state, at, state), last, before.freq)
    return Update(after, pd.DataFrame(columns))


def _filtered(
    obs: Observations,
    day: Observations,
    params: FilterParameters,
    state: State,
    found: Recovered,
    n_jobs: int | None,
) -> State:
    """Fill the filtered columns of days that follow a state; return the state after them."""
    levels = filter_levels(obs, params, state=state, n_jobs=n_jobs)
    recover_rows(obs, day, params, (), found, n_jobs, state=state, grid=levels.grid)
    if found.p_out is not None and levels.filtered is not None:
        found.p_out[:] = levels.filtered.p_out
    return levels.state


def _next(last: np.ndarray, freq: str) -> np.ndarray:
    """Return the period after each, shape (n,)."""
    codes, unique = pd.factorize(last)
    offset = pd.tseries.frequencies.to_offset(freq)
    later = np.array([(pd.Timestamp(d) + offset).to_datetime64() for d in unique])
    return later.astype("datetime64[ns]")[codes]


def _refuse_gaps(new_days: pd.DataFrame, freq: str) -> None:
    """Raise where a series' new days are not one period apart."""
    days = new_days[DS].to_numpy().astype("datetime64[ns]")
    index = series_index(new_days)
    inner = np.ones(len(days), dtype=bool)
    inner[index.starts] = False
    rows = np.flatnonzero(inner)
    wrong = rows[_next(days[rows - 1], freq) != days[rows]] if len(rows) else rows
    if len(wrong):
        i = int(wrong[0])
        raise CivstatsError(
            f"{len(wrong)} new day(s) do not follow the one before, first {new_days[ID].iloc[i]} on "
            f"{pd.Timestamp(days[i]).date()} after {pd.Timestamp(days[i - 1]).date()}: hand in every "
            "period, in order (validate_panel says what is missing)"
        )


def _replaced(state: State, at: np.ndarray, some: State) -> State:
    """Return the state with some series' replaced."""
    old, new = state.grid.cells(state.n_states), some.grid.cells(state.n_states)
    cells = [state.cells[a:b] for a, b in pairwise(old)]
    anchor, spacing = state.grid.anchor.copy(), state.grid.spacing.copy()
    first, size = state.grid.first.copy(), state.grid.size.copy()
    n_days = state.n_days.copy()
    for k, i in enumerate(at):
        cells[i] = some.cells[new[k] : new[k + 1]]
    anchor[at], spacing[at] = some.grid.anchor, some.grid.spacing
    first[at], size[at] = some.grid.first, some.grid.size
    n_days[at] = some.n_days
    grid = Grid(anchor, spacing, first, size)
    return State(state.ids, grid, state.n_states, np.concatenate(cells), n_days)
