"""The rule that the demand filter has to beat: an item is out when it has not sold for too long."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import ALARM, CHANCE, DS, ID, RUN, CivstatsError, Y, check_share, series_index
from civstats.stockouts._apart import DayRules, days_apart, run_lengths


def zero_run(
    panel: pd.DataFrame,
    *,
    false_alarms: float = 0.05,
    longest: int | None = None,
    window: int | None = None,
    online: bool = False,
    rules: DayRules | None = None,
) -> pd.DataFrame:
    """Call days out of stock that lie in a run of zeros too long for the series.

    Days without sales are taken to be independent with the series' own probability p. A day
    without sales then lies in a run of k or more with probability
    ``p ** (k - 1) * (1 + (k - 1) * (1 - p))`` (of k or more so far: ``p ** (k - 1)``); a run is
    called out where that is at most `false_alarms`.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated; keys, sales and what `rules` read.
    false_alarms : float
        Share of in-stock days without sales that may be called out, if the rule's independence
        held.
    longest : int, optional
        One length for all series instead: longer runs are called out.
    window : int, optional
        Days before and after the run from which p is taken; by default all the series' days.
    online : bool
        Count the run up to the day alone, p from the days before the run (`window` of them).
    rules : DayRules, optional
        What tells days apart on which the item was not for sale; they are never called out.

    Returns
    -------
    pandas.DataFrame
        ``unique_id, ds, y``; ``run``, the length of the day's run of zeros (0 with sales);
        ``chance``, the probability above (1 with sales; the smaller, the more suspect); ``alarm``.

    Raises
    ------
    CivstatsError
        For a share outside [0, 1], a window or length below 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from civstats.schema import validate_panel
    >>> from civstats.stockouts.detect import zero_run
    >>> days = pd.date_range("2024-01-01", periods=20)
    >>> panel = pd.DataFrame({"unique_id": "a", "ds": days, "y": [2] * 10 + [0] * 4 + [1] * 6})
    >>> int(zero_run(validate_panel(panel))["alarm"].sum())
    4
    """
    check_share("false_alarms", false_alarms)
    for name, value in (("longest", longest), ("window", window)):
        if value is not None and value < 1:
            raise CivstatsError(f"{name} must be 1 or more, but got {value!r}")
    index = series_index(panel)
    sold = panel[Y].to_numpy() > 0
    counted = days_apart(panel, index, rules or DayRules(), past_only=online) == 0
    run = run_lengths(sold, index, so_far=online)
    # Days and days without sales among those that count, before each row of the flat panel.
    days = np.r_[0, np.cumsum(counted)]
    zeros = np.r_[0, np.cumsum(counted & ~sold)]
    row = np.arange(len(sold))
    first = np.repeat(index.starts, index.lengths)
    stop = np.repeat(index.ends, index.lengths)
    start_run = row + 1 - run_lengths(sold, index, so_far=True)
    end_run = row + 1 if online else start_run + run
    low = first if window is None else np.maximum(start_run - window, first)
    high = stop if window is None else np.minimum(end_run + window, stop)
    high = start_run if online else high
    n, n_zero = days[high] - days[low], zeros[high] - zeros[low]
    if window is not None and not online:
        n -= days[end_run] - days[start_run]
        n_zero -= zeros[end_run] - zeros[start_run]
    p = (n_zero + 1.0) / (n + 2.0)
    k = np.maximum(run - 1, 0)
    chance = np.power(p, k) * (1.0 if online else 1.0 + k * (1.0 - p))
    chance = np.where(run > 0, chance, 1.0)
    called = (chance <= false_alarms) if longest is None else (run > longest)
    frame = panel[[ID, DS, Y]].copy()
    frame[RUN] = run
    frame[CHANCE] = chance
    frame[ALARM] = called & counted & ~sold
    return frame
