"""Where a panel is cut: what a model may see at a cutoff, and what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from civstats.schema import CUTOFF, DS, ID, CivstatsError, known_covariates

AFTER = "launched after the cutoff"
ENDED = "no rows on every day of the window"


@dataclass(frozen=True)
class Fold:
    """What a model may see at one cutoff."""

    number: int
    cutoff: pd.Timestamp
    history: pd.DataFrame
    future: pd.DataFrame
    left_out: pd.DataFrame


def windows(
    panel: pd.DataFrame, h: int, n_windows: int, step: int, freq: str
) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """Cutoff and last day of each window, earliest first; the last ends with the panel."""
    calendar = pd.date_range(panel[DS].min(), panel[DS].max(), freq=freq)
    # A model needs some history before the first cutoff: as much as it is asked to forecast.
    fit = max(0, (len(calendar) - 2 * h) // step + 1)
    if n_windows > fit:
        raise CivstatsError(
            f"{n_windows} window(s) of h={h} every {step} need {2 * h + (n_windows - 1) * step} "
            f"periods, the first h={h} of them history, but the panel spans {len(calendar)}; "
            f"{fit} would fit"
        )
    first = len(calendar) - 1 - h - (n_windows - 1) * step
    return [(calendar[i], calendar[i + h]) for i in range(first, len(calendar) - h, step)]


def cut(panel: pd.DataFrame, number: int, cutoff: pd.Timestamp, end: pd.Timestamp) -> Fold:
    """Cut the panel in what a model may see at `cutoff` and the keys it is asked for."""
    ds = panel[DS]
    history = _trim(panel[ds <= cutoff])
    window = panel[(ds > cutoff) & (ds <= end)]
    known = history[ID].cat.categories
    days = window[ID].value_counts()
    complete = days.index[days == days.max()]
    new = days.index[days > 0].difference(known)
    asked = known.intersection(complete)
    if not len(asked):
        raise CivstatsError(
            f"no series has both history at the cutoff {cutoff.date()} and every day up to "
            f"{end.date()}; ask for fewer windows"
        )
    out = [*new, *known.difference(asked)]
    left_out = pd.DataFrame(
        {
            CUTOFF: pd.Series([cutoff] * len(out), dtype="datetime64[ns]"),
            ID: pd.Series(out, dtype=object),
            "reason": pd.Series([AFTER] * len(new) + [ENDED] * (len(out) - len(new)), dtype=object),
        }
    )
    future = window.loc[window[ID].isin(asked), [ID, DS, *known_covariates(panel.columns)]]
    return Fold(number, cutoff, history, _trim(future), left_out)


def _trim(frame: pd.DataFrame) -> pd.DataFrame:
    """Forget categories that the rows do not hold: a code must not tell of later launches."""
    frame = frame.reset_index(drop=True)
    for column in frame.columns[[isinstance(t, pd.CategoricalDtype) for t in frame.dtypes]]:
        frame[column] = frame[column].cat.remove_unused_categories()
    return frame
