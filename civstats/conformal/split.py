"""Split-conformal intervals for any forecast of a backtest, calibrated on its earlier cutoffs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from civstats.conformal._rows import (
    ConformalForecasts,
    Dates,
    assemble,
    interval_frame,
    model_names,
    outcomes,
    read,
    split_rows,
    spread_of,
    whole_units,
)
from civstats.conformal.groups import group_rows
from civstats.conformal.quantiles import conformal_quantile
from civstats.schema import (
    DEMAND,
    DS,
    FLAG_KNOWN,
    ID,
    CivstatsError,
    ForecastError,
    Y,
    check_level,
    level_columns,
    stockout_days,
)

_NEAR = 1e-6
SCORES = ("auto", "residual", "quantile")


def split_conformal(
    forecasts: pd.DataFrame,
    panel: pd.DataFrame,
    *,
    level: Sequence[float] = (80, 95),
    names: Sequence[str] | None = None,
    score: str = "auto",
    scale: str | None = "sqrt",
    target: str = Y,
    stockouts: str = "drop",
    test: Dates | None = None,
    calibration: Dates | None = None,
    by: str | None = "size",
    integer: bool = True,
    tag: str = "",
) -> ConformalForecasts:
    """Give point forecasts intervals from how far earlier forecasts of the same model were off.

    Each end has a quantile of its own, since demand is skewed: for a central level of 80 % the
    outcome is at or above the lower end with probability 90 %, and at or below the upper end with
    90 %. A score is the distance by which an outcome lies beyond the model's mean, or beyond its
    own quantile where it has one (Romano, Patterson and Candes 2019, "Conformalized quantile
    regression", NeurIPS, theorem 2), divided by a spread; the end is moved by the
    ceil((n + 1) (1 - a/2))-th smallest of n scores, a the level's complement.

    **What is guaranteed, and when.** If the calibration rows in use and a test row are exchangeable,
    the interval holds the test outcome with probability `level` or more, whatever the model: over
    the draw of both, on average over series and days, not for each series or promotion; `by`
    makes it hold within each group. Exchangeable is what time series are not: demand drifts between calibration
    and test, and days share shocks, so that 10,000 rows of 28 days are far fewer than that. Take it
    as approximate, and look at its coverage over several test cutoffs.

    **Under stockouts** the outcome on stockout days is unknown, and they are left out. That is
    harmless only where stockouts are independent of demand given what the score is made of: whole days
    at random. With real inventory the days in stock are the days of low demand; the interval is then
    one for demand on such days, its upper end too low for demand, and **nothing is guaranteed**.
    :func:`civstats.conformal.censored_conformal` is for that case.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        ``unique_id, ds, cutoff`` and the models' columns, as `Backtest.frame`.
    panel : pandas.DataFrame
        Validated; it need not reach beyond the calibration days.
    level : sequence of float
        Percent.
    names : sequence of str, optional
        Columns ``{Model}_{treatment}``; by default all.
    score : {"auto", "residual", "quantile"}
        From the mean, from the model's own ends, or the latter where it has them at the level.
    scale : {"sqrt", "mean"}, optional
        A score is divided by the root of (mean + 1), by (mean + 1), or by nothing.
    target : {"y", "demand"}
        Sales, or true demand where a simulation knows it (then every day counts).
    stockouts : {"drop", "keep"}
        Keeping takes the sales of stockout days for demand: the lower end is then too low but valid
        under any mechanism, since sales never exceed demand; the upper end is not.
    test, calibration : sequence of dates, optional
        Cutoffs; by default the last, and all before the first of the test.
    by : str, optional
        Groups that are calibrated apart: ``"size"``, classes of the forecast mean, each a factor of
        two wide or as wide as it takes to hold five misses at either end; ``"ahead"``, days
        ahead; a column of the panel; or None. An interval of slow movers that begins at 0 never
        misses below: pooled with them, fast movers might miss as often as they like.
    integer : bool
        Ends are whole units: the whole numbers inside the interval, which hold a whole outcome just
        as often. False for sales in fractions.
    tag : str
        Is added to the model's name in the columns: with ``"Conformal"``,
        ``LightGBMConformal_mask-lo-80``.

    Returns
    -------
    ConformalForecasts
        `details`: ``name, level, group, score, n`` (calibration rows), ``left_out`` (stockout days),
        ``late`` (outcomes after the first test cutoff), ``below, above`` (the quantiles).

    Raises
    ------
    ForecastError
        For missing columns or cutoffs, or too few calibration rows: below 2 / a - 1 no finite end
        keeps the promise.
    PanelError
        If the panel lacks a calibration row, or holds fractions with `integer`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.schema import validate_panel
    >>> days = pd.date_range("2024-01-01", periods=60)
    >>> y = np.random.default_rng(0).poisson(3, 60)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": y}))
    >>> rows = panel[["unique_id", "ds"]].assign(Three_ignore=3.0)
    >>> rows["cutoff"] = np.where(days <= "2024-02-19", days[0] - days.freq, days[49])
    >>> split_conformal(rows, panel, level=[80]).frame.iloc[0, 3:].astype(float).tolist()
    [3.0, 1.0, 6.0]
    """
    levels = check_level(level)
    _choice("score", score, SCORES)
    _choice("stockouts", stockouts, ("drop", "keep"))
    _choice("target", target, (Y, DEMAND))
    parts = split_rows(forecasts, test, calibration, None, trained=False)
    old, new = parts.calibration, parts.test
    actual = outcomes(old, panel, [target])[target].to_numpy(dtype=float)
    use = _usable(old, panel) if target == Y and stockouts == "drop" else np.ones(len(old), bool)
    if not use.any():
        raise ForecastError(f"all {len(old)} calibration row(s) are stockout days")
    if integer:
        whole_units(actual[use], target)
    columns, details = [], []
    models = model_names(forecasts, names)
    for name in models:
        ends = {}
        mean, mean1 = read(old, name), read(new, name)
        s, s1 = spread_of(mean, scale), spread_of(mean1, scale)
        old_group, new_group = group_rows((old, new), (mean, mean1), panel, by, use, max(levels))
        for a in levels:
            kind, (lo, hi), (lo1, hi1) = _centres(old, new, name, a, score)
            below, above = np.empty(len(new)), np.empty(len(new))
            for group in pd.unique(new_group):
                mine = use & (old_group == group)
                p = 1 - (1 - a / 100) / 2
                q = [
                    conformal_quantile(x, p)
                    for x in (((lo - actual) / s)[mine], ((actual - hi) / s)[mine])
                ]
                if not np.isfinite(q).all():
                    where = "" if by is None else f" in {by} {group}"
                    raise ForecastError(
                        f"level {a:g} needs {int(np.ceil(1 / (1 - p) - 1 - 1e-9))} or more "
                        f"calibration rows without a stockout{where}, but there are {int(mine.sum())}; "
                        "use more cutoffs, a lower level, or no groups"
                    )
                rows = new_group == group
                below[rows], above[rows] = q
                details.append(
                    {
                        "name": name,
                        "level": a,
                        "group": group,
                        "score": kind,
                        "n": int(mine.sum()),
                        "left_out": int((~use & (old_group == group)).sum()),
                        "late": parts.n_late,
                        "below": q[0],
                        "above": q[1],
                    }
                )
            ends[a] = whole(lo1 - below * s1, hi1 + above * s1, integer)
        columns.append(interval_frame(new, name, tag, ends, integer))
    return assemble(new, columns, details)


def whole(lo: np.ndarray, hi: np.ndarray, integer: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends as whole numbers, not negative, the lower not above the upper.

    The whole numbers of [lo, hi] hold a whole outcome exactly when [lo, hi] does: rounding inwards
    loses nothing. Where no whole number lies inside, the ends go outwards.
    """
    crossed = lo > hi
    lo, hi = np.where(crossed, hi, lo), np.where(crossed, lo, hi)
    if integer:
        low, high = np.ceil(lo - _NEAR), np.floor(hi + _NEAR)
        none = low > high
        lo, hi = np.where(none, np.floor(lo), low), np.where(none, np.ceil(hi), high)
    # Plus zero: a minus zero is written as one.
    return np.maximum(lo, 0) + 0.0, np.maximum(hi, 0) + 0.0


def _usable(rows: pd.DataFrame, panel: pd.DataFrame) -> np.ndarray:
    """Rows whose sales are known to be demand."""
    known = ~stockout_days(panel)
    if FLAG_KNOWN in panel.columns:
        known &= panel[FLAG_KNOWN].to_numpy()
    marked = panel[[ID, DS]].assign(known=known)
    return outcomes(rows, marked, ["known"])["known"].to_numpy(dtype=bool)


def _centres(
    old: pd.DataFrame, new: pd.DataFrame, name: str, level: float, score: str
) -> tuple[str, list[np.ndarray], list[np.ndarray]]:
    """What residuals are measured from: the mean twice, or the model's own two ends."""
    ends = level_columns(name, level)
    own = score == "quantile" or (score == "auto" and set(ends) <= set(old.columns))
    used = ends if own else (name, name)
    a, b = ([read(rows, c) for c in used] for rows in (old, new))
    return "quantile" if own else "residual", a, b


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise CivstatsError(f"{name} must be one of {', '.join(choices)}, but got {value!r}")
