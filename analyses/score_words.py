"""The words of `score_study.py`'s report: names of scores, and what to believe in short."""

from __future__ import annotations

import pandas as pd
from score_cells import LEVEL
from score_verdicts import MORE, NO, YES

REGIMES = {
    "all_days": "sales, all days",
    "in_stock": "sales, in-stock days",
    "demand": "true demand",
    "censored": "stockouts as bounds",
}


def ahead(h: int) -> str:
    """Write a number of days ahead.

    Examples
    --------
    >>> ahead(1), ahead(28)
    ('1 day ahead', '28 days ahead')
    """
    return f"{h} day{'s' if h > 1 else ''} ahead"


def share_text(share: float) -> str:
    """Write a share in percent; one short of all is not rounded to all.

    Examples
    --------
    >>> share_text(0.995), share_text(1.0), share_text(0.12)
    ('99.5 %', '100 %', '12 %')
    """
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def words(metric: str) -> str:
    """Write a metric's name."""
    special = {
        "crps": "CRPS",
        "localised_crps": "localised CRPS",
        "rmse": "RMSE",
        "wape": "WAPE of the median",
        "wape_total": "WAPE of the mean",
        "bias": "|bias|",
        "winkler": f"Winkler {LEVEL:g} %",
        "censored_pinball": f"censored pinball {LEVEL:g} %",
    }
    return special.get(metric, metric.replace("_", " "))


def _named(part: pd.DataFrame) -> str:
    groups = [
        f"{', '.join(words(m) for m in some['metric'])} ({REGIMES[str(regime)]})"
        for regime, some in part.groupby("regime", sort=False)
    ]
    return "; ".join(groups) or "none"


def summary(cells: pd.DataFrame) -> pd.DataFrame:
    """Say for each setting and horizon which scores may be believed without knowing demand.

    Returns
    -------
    pandas.DataFrame
        ``setting, ahead, believe, mean, more, misled``: names of scores, and how many mislead.
    """
    records = []
    for (setting, h), part in cells[cells["regime"] != "demand"].groupby(
        ["setting", "h"], sort=False
    ):
        good, more = (part[part["verdict"] == v] for v in (YES, MORE))
        records.append(
            {
                "setting": setting,
                "ahead": ahead(h),
                "believe": _named(good[~good["mean_only"]]),
                "mean": _named(good[good["mean_only"]]),
                "more": _named(more),
                "misled": f"{int((part['verdict'] == NO).sum())} of {len(part)}",
            }
        )
    return pd.DataFrame(records)


def headline(cells: pd.DataFrame) -> str:
    """Say in a sentence what the shortest horizon under the inventory policy shows."""
    part = cells[(cells["regime"] != "demand") & (cells["setting"] == "inventory")]
    part = part[part["h"] == part["h"].min()]
    good = part[part["verdict"] == YES]
    if len(good) and set(good["regime"]) == {"censored"}:
        return (
            f"Under an inventory policy, {ahead(int(part['h'].iloc[0]))}, only scores that take "
            "stockouts as bounds put the truth first"
        )
    seen = cells[cells["regime"] != "demand"]
    return (
        f"{int((seen['verdict'] == NO).sum())} of {len(seen)} cells mislead: without knowing demand "
        "the score prefers a distortion to the truth"
    )
