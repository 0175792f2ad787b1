"""Was it out of stock? A probability for every series and day from sales alone, without flags.

The demand filter with hidden availability asks of each day without sales whether the item was in
stock and nobody bought it, or was not there. Only whole days can be seen: an item that sold
something and then ran out looks like a day of low demand. Days on which the item was not for sale
at all (not launched, delisted, store closed) are told apart by rules first, see `DayRules`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter import (
    SILENT,
    UNKNOWN,
    DemandFilter,
    filter_levels,
    smooth_levels,
)
from civstats.schema import (
    CENSORED,
    DS,
    FLAG_KNOWN,
    ID,
    OUTCOMES,
    P_OUT,
    STATUS,
    STATUSES,
    CivstatsError,
    Y,
    check_share,
    series_index,
)
from civstats.stockouts._apart import CLOSED, DELISTED, NOT_LAUNCHED, DayRules, days_apart
from civstats.stockouts._zero_run import zero_run

__all__ = [
    "DayRules",
    "Detection",
    "detect",
    "fit_availability",
    "threshold_for",
    "weights",
    "zero_run",
]

_OUT = STATUSES.index("out")
_CODE = {
    NOT_LAUNCHED: STATUSES.index("not_launched"),
    DELISTED: STATUSES.index("delisted"),
    CLOSED: STATUSES.index("closed"),
}


@dataclass(frozen=True)
class Detection:
    """What sales say of availability.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``unique_id, ds, y, p_out, status``; row r is row r of the panel. ``p_out`` is the
        probability of having been out of stock all day, NaN where the item was not for sale;
        0 where something was sold. ``status`` is a category of `STATUSES`.
    threshold : float
        Days with ``p_out`` at or above it have the status ``out``.
    false_alarms, found, precision : float
        What the probabilities themselves expect of that threshold: the share of in-stock days
        without sales called out, of days out that are found, and of days called out that are.
        As good as the model: see ``analyses/detection_study.py``.
    """

    frame: pd.DataFrame
    threshold: float
    false_alarms: float
    found: float
    precision: float

    @property
    def weights(self) -> np.ndarray:
        """Weight of each day for a model of demand, 1 - p_out, shape (n_rows,); 0 if not for sale."""
        return 1.0 - self.frame[P_OUT].fillna(1.0).to_numpy()


def fit_availability(
    panel: pd.DataFrame, *, rules: DayRules | None = None, **options: Any
) -> DemandFilter:
    """Fit the demand filter with hidden availability to sales alone.

    Days on which an item was not for sale are left out; of all others without sales the status is
    unknown. No flag, stock or true demand is read.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    rules : DayRules, optional
        What tells days apart on which the item was not for sale.
    **options
        Of :class:`civstats.demand_filter.DemandFilter`, but for `treatment` and `hidden`.

    Returns
    -------
    DemandFilter
        For :func:`detect`.

    Notes
    -----
    How often items go out and how long they stay out (``parameters_.out_rate, back_rate``) is
    estimated by group, not by series: a series' own history of zeros says too little of it.
    """
    marked = _bare(panel)
    # Under mask a marked day is silent; with no flag known, every other zero may be either.
    marked[CENSORED] = (
        days_apart(panel, series_index(panel), rules or DayRules(), past_only=False) > 0
    )
    marked[FLAG_KNOWN] = False
    return DemandFilter(treatment="mask", hidden=True, **options).fit(marked)


def detect(
    panel: pd.DataFrame,
    fitted: DemandFilter | None = None,
    *,
    false_alarms: float = 0.05,
    threshold: float | None = None,
    online: bool = False,
    rules: DayRules | None = None,
    n_jobs: int | None = None,
    seed: int = 0,
) -> Detection:
    """Say of every day how probable it is that the item was out of stock, from sales alone.

    No flag, stock or true demand is read, even where the panel has them.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    fitted : DemandFilter, optional
        With hidden availability, fitted on these series; by default :func:`fit_availability`
        fits one.
    false_alarms : float
        Share of in-stock days **without sales** that may be called out, as the probabilities
        themselves expect it. Over all days the same calls would look far rarer.
    threshold : float, optional
        Of ``p_out``, instead of `false_alarms`: one that was settled before, say.
    online : bool
        Each day given the days up to it (filtered) instead of given all days (smoothed).
        Nothing after a day then moves its ``p_out``, given `fitted`; the statuses neither, given
        `threshold` too.
    rules : DayRules, optional
        What tells days apart on which the item was not for sale.
    n_jobs : int, optional
        Threads; None is one per processor.
    seed : int
        Of the sample of series from which a filter is fitted.

    Returns
    -------
    Detection

    Raises
    ------
    CivstatsError
        For a filter without hidden availability or fitted on other series, and shares outside
        their range.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.stockouts.detect import detect
    >>> y = np.random.default_rng(1).poisson(4, 200)
    >>> y[100:105] = 0
    >>> days = pd.date_range("2024-01-01", periods=200)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": y}))
    >>> found = detect(panel, threshold=0.5)
    >>> found.frame["status"][100:105].tolist()
    ['out', 'out', 'out', 'out', 'out']
    """
    check_share("false_alarms", false_alarms)
    if threshold is not None:
        check_share("threshold", threshold)
    if fitted is not None and not fitted.hidden:
        raise CivstatsError(
            "the filter has no hidden availability, so it cannot say what was out of stock: fit "
            "DemandFilter(hidden=True)"
        )
    index = series_index(panel)
    apart = days_apart(panel, index, rules or DayRules(), past_only=online)
    bare = _bare(panel)
    # Online, a delisted item may come back the next day: its zeros go on speaking.
    silent = (apart > 0) & ~(online & (apart == DELISTED))
    if fitted is None:
        fitted = fit_availability(panel, rules=rules, n_jobs=n_jobs, seed=seed)
    obs = fitted.observations(bare)
    obs = replace(
        obs,
        kind=np.where(silent, SILENT, obs.kind).astype(np.uint8),
        status=np.where(silent, UNKNOWN, obs.status).astype(np.uint8),
    )
    params = fitted.parameters_of(obs.ids)
    if online:
        levels = filter_levels(obs, params, n_jobs=n_jobs).filtered
    else:
        levels = smooth_levels(obs, params, summaries=("smoothed",), n_jobs=n_jobs).smoothed
    assert levels is not None
    assert levels.p_out is not None
    p_out = np.where(apart > 0, np.nan, np.clip(levels.p_out, 0.0, 1.0))
    asked = (apart == 0) & (panel[Y].to_numpy() == 0)
    if threshold is None:
        threshold = threshold_for(p_out[asked], false_alarms)
    called = asked & (p_out >= threshold)
    codes = np.where(called, _OUT, 0)
    for kind, code in _CODE.items():
        codes[apart == kind] = code
    frame = panel[[ID, DS, Y]].copy()
    frame[P_OUT] = p_out
    frame[STATUS] = pd.Categorical.from_codes(codes, pd.Index(STATUSES))
    hit, miss = p_out[called].sum(), (1 - p_out[called]).sum()
    return Detection(
        frame,
        float(threshold),
        _ratio(miss, (1 - p_out[asked]).sum()),
        _ratio(hit, p_out[asked].sum()),
        _ratio(hit, hit + miss),
    )


def weights(
    panel: pd.DataFrame, fitted: DemandFilter | None = None, *, online: bool = False, **options: int
) -> np.ndarray:
    """Return soft weights of days for a model of demand: 1 - P(out), shape (n_rows,).

    A day that was surely out of stock says nothing of demand, one that perhaps was says less. Days
    on which the item was not for sale weigh 0. Arguments are those of :func:`detect`; for
    features of a forecast use ``online=True``, since smoothed weights have seen the target.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.stockouts.detect import weights
    >>> days = pd.date_range("2024-01-01", periods=60)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": [5, 4, 6] * 20})
    >>> float(weights(validate_panel(panel)).min())
    1.0
    """
    return detect(panel, fitted, online=online, **options).weights  # type: ignore[arg-type]


def threshold_for(p_out: np.ndarray, false_alarms: float) -> float:
    """Return the lowest threshold whose expected false alarms stay within a rate.

    Parameters
    ----------
    p_out : numpy.ndarray, shape (n,)
        Of days without sales: the only ones on which a false alarm can be raised.
    false_alarms : float
        Expected share of the in-stock ones among them that are called out.

    Returns
    -------
    float
        Above 1 where even the surest day would be too much.

    Examples
    --------
    >>> import numpy as np
    >>> threshold_for(np.array([0.9, 0.5, 0.1, 0.1]), 0.1)
    0.9
    """
    check_share("false_alarms", false_alarms)
    if not len(p_out):
        return 1.0
    falling = np.sort(p_out)[::-1]
    wrong = np.cumsum(1 - falling)
    # Equal probabilities are called together or not at all.
    last = np.flatnonzero(np.r_[falling[1:] < falling[:-1], True])
    allowed = last[wrong[last] <= false_alarms * wrong[-1] * (1 + 1e-12)]
    return float(falling[allowed[-1]]) if len(allowed) else float(np.nextafter(1.0, 2.0))


def _bare(panel: pd.DataFrame) -> pd.DataFrame:
    """Return keys, sales and what is known ahead: nothing that says what was in stock."""
    return panel.drop(columns=[c for c in OUTCOMES if c in panel.columns and c != Y])


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else float("nan")
