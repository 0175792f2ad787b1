"""Past demand behind sales that stockouts cut short: means, bands, joint draws and lost units."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from civstats.demand_filter._offset_error import offset_departures, offset_variance
from civstats.demand_filter._recovery import Recovered, own_days, recover_rows
from civstats.demand_filter._recovery_draws import draw_demand, draw_parameters
from civstats.demand_filter._recovery_result import Recovery
from civstats.demand_filter.layout import BOUND, SILENT
from civstats.demand_filter.model import DemandFilter
from civstats.schema import (
    DS,
    ID,
    INFORMED,
    LEVEL_FILTERED,
    LEVEL_SMOOTHED,
    LOST,
    P_OUT,
    RECOVERED,
    RECOVERED_FILTERED,
    STATIC,
    STOCKOUT,
    CivstatsError,
    Y,
    check_level,
    level_columns,
    series_index,
)

__all__ = ["Recovery", "recover"]

_CHUNK = 1_000_000
"""Rows recovered at a time: bounds the memory beside the result."""


def recover(
    panel: pd.DataFrame,
    fitted: DemandFilter | None = None,
    *,
    treatment: str | None = None,
    levels: Sequence[float] | float = (80, 95),
    n_draws: int = 0,
    parameter_draws: int = 1,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Recovery:
    """Recover the demand of every past day: expectation, bands and joint draws.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    fitted : DemandFilter, optional
        Fitted on this panel, or on one that holds its series; fitted here if None.
    treatment : {"ignore", "mask", "censor"}, optional
        What the level learns from a stockout day; that of `fitted`, or ``censor``. Under ``mask``
        the level learns nothing from such a day, but given that level the day's own demand is still
        at least what it sold (a cut posterior; Plummer, 2015). Under ``ignore`` nothing is lost.
    levels : sequence of float
        Bands, percent; empty for none.
    n_draws : int
        Joint draws on stockout days; they take 4 bytes a day and draw.
    parameter_draws : int
        Draws of the hyperparameters and of the offsets' coefficients that the samples share; 1
        takes the estimates as given.
    seed : int
        A series' draws depend on it and on the series' name.
    n_jobs : int, optional
        Threads; None is one per processor.

    Returns
    -------
    Recovery

    Raises
    ------
    CivstatsError
        For a treatment that is not the fitted one, or series that were not in the fit.

    Notes
    -----
    The level's bands hold the error of the offsets' coefficients, to first order and as the pooled
    regression sees it (levels known), not that of the hyperparameters, which is small where a group
    has some dozens of series.

    A day in stock for a share s of its hours: the likelihood takes its sales as negative binomial
    with mean mu s and the same dispersion, which is to say that one gamma factor holds for the
    whole day. The rest is then negative binomial with mean mu (1 - s)(a + y) / (a + mu s) and
    dispersion a + y: sales above what the level expects say that the unseen hours were busy, too.
    For a normal demand the day's departure is that of the hours seen, for a log-normal one the
    demand is y / s.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.demand_filter.recovery import recover
    >>> days = pd.date_range("2024-01-01", periods=28)
    >>> y = pd.Series([2, 3, 1, 2] * 7)
    >>> out = y.index % 9 == 8
    >>> panel = pd.DataFrame(
    ...     {"unique_id": "a", "ds": days, "y": y.where(~out, 1), "is_censored": out}
    ... )
    >>> found = recover(validate_panel(panel), levels=[80], n_draws=50)
    >>> bool((found.frame["lost"] >= 0).all()), found.samples.shape
    (True, (3, 50))
    """
    level = tuple(check_level(levels)) if np.size(levels) else ()
    if n_draws < 0 or parameter_draws < 1:
        raise CivstatsError(
            f"n_draws must be 0 or more and parameter_draws 1 or more, but got {n_draws} and "
            f"{parameter_draws}"
        )
    if fitted is None:
        fitted = DemandFilter(treatment=treatment or "censor", n_jobs=n_jobs).fit(panel)
    if treatment not in (None, fitted.treatment):
        raise CivstatsError(
            f"the filter was fitted under treatment {fitted.treatment!r}, not {treatment!r}: fit "
            "one under the treatment wanted"
        )
    index = series_index(panel)
    found = Recovered.empty(len(panel), len(level), hidden=fitted.hidden)
    informed = np.empty(len(index.ids), dtype=bool)
    samples: list[np.ndarray] = []
    for first, last in _chunks(index.lengths):
        start, end = int(index.starts[first]), int(index.ends[last - 1])
        part = panel.iloc[start:end]
        obs = fitted.observations(part)
        day = own_days(fitted, part, obs)
        params = fitted.parameters_of(obs.ids)
        needs = recover_rows(
            obs, day, params, level, found.rows(start, end), n_jobs,
            offset_variance=offset_variance(fitted, part) if level else None,
        )  # fmt: skip
        says = (obs.kind != SILENT) & ~(
            (obs.kind == BOUND) & (obs.y <= 0) & (params.family != "normal")
        )
        informed[first:last] = np.add.reduceat(says, obs.starts) > 0
        if n_draws:
            drawn, moves = [params], [np.zeros(1)]
            if parameter_draws > 1:
                member = fitted.groups_.of_series[fitted.ids_.get_indexer(obs.ids)]
                drawn = draw_parameters(
                    params, obs.ids, fitted.groups_, member, fitted.estimates_,
                    min(parameter_draws, n_draws), seed,
                )  # fmt: skip
                moves = offset_departures(fitted, part, len(drawn), seed)
            samples.append(draw_demand(obs, day, drawn, moves, needs, n_draws, seed, n_jobs))
    statics = panel[[c for c in STATIC if c in panel.columns]].iloc[index.starts]
    return Recovery(
        _frame(panel, found, np.repeat(informed, index.lengths), level),
        fitted,
        level,
        _note(fitted, found, informed),
        np.flatnonzero(found.stockout),
        np.concatenate(samples) if n_draws else None,
        statics.set_axis(index.ids),
    )


def _chunks(lengths: np.ndarray) -> list[tuple[int, int]]:
    """Cut the series into runs of about `_CHUNK` rows."""
    ends = np.cumsum(lengths)
    cuts = [0]
    while cuts[-1] < len(lengths):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        stop = int(np.searchsorted(ends, before + _CHUNK, side="right"))
        cuts.append(max(stop, cuts[-1] + 1))
    return list(pairwise(cuts))


def _frame(
    panel: pd.DataFrame, found: Recovered, informed: np.ndarray, level: tuple[float, ...]
) -> pd.DataFrame:
    columns: dict[str, object] = {ID: panel[ID].array, DS: panel[DS].array, Y: panel[Y].array}
    columns |= {
        STOCKOUT: found.stockout,
        LEVEL_FILTERED: found.level_filtered,
        LEVEL_SMOOTHED: found.level_smoothed,
    }
    for k, value in enumerate(level):
        lo, hi = level_columns(LEVEL_SMOOTHED, value)
        columns |= {lo: found.level_band[2 * k], hi: found.level_band[2 * k + 1]}
    columns |= {RECOVERED_FILTERED: found.demand_filtered, RECOVERED: found.demand}
    for k, value in enumerate(level):
        lo, hi = level_columns(RECOVERED, value)
        columns |= {lo: found.demand_band[2 * k], hi: found.demand_band[2 * k + 1]}
    columns[LOST] = found.demand - panel[Y].to_numpy()
    if found.p_out is not None:
        columns[P_OUT] = found.p_out
    columns[INFORMED] = informed
    return pd.DataFrame(columns, copy=False)


def _note(fitted: DemandFilter, found: Recovered, informed: np.ndarray) -> str:
    days = int(found.stockout.sum())
    parts = [f"treatment {fitted.treatment}: demand recovered on {days} day(s)"]
    if not informed.all():
        parts.append(
            f"{int((~informed).sum())} of {len(informed)} series say nothing of their demand on any "
            "day: their values are the prior of their group"
        )
    if fitted.offsets and fitted.design_.left_out:
        parts.append(f"covariates not among the offsets: {', '.join(fitted.design_.left_out)}")
    return "; ".join(parts)
