"""What the naive evaluation shows, in words that are true whatever the numbers turn out to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.plots._scores import by_regime, pooled
from civstats.plots._style import number, spread
from civstats.schema import CUTOFF, TREATMENTS

ERRORS = {
    "rmse": ("RMSE", "units per day", False),
    "wape": ("WAPE", "% of outcome", True),
    "wape_total": ("WAPE of window totals", "% of outcome", True),
}
"""Name, unit, and whether it is a share, of the errors that are written in words."""
SMALL = 0.05
"""A median absolute bias up to 5 % is said to look fine."""
_DOES = {
    "ignore": "ignoring stockouts",
    "mask": "leaving stockout days out",
    "censor": "the censored likelihood",
}
_MEANS = {
    "ignore": "sales taken for demand",
    "mask": "stockout days left out",
    "censor": "demand at least the sales",
}


@dataclass(frozen=True)
class Finding:
    """What the pooled bias says about the forecasts of one treatment.

    Attributes
    ----------
    treatment : str
        The treatment judged: ``ignore`` where there is one.
    verdict : {"flatters", "agrees", "mixed", "unknown"}
        Does scoring on sales (all days) make the bias look smaller than it is against demand?
        "flatters": for two thirds of the models it does, and their interval against demand
        excludes zero. "agrees": for a third of them at most. "unknown": no demand to compare with.
    sales, in_stock, demand : numpy.ndarray, shape (n_models,)
        Bias as a share; NaN where undefined. Without demand, of all models.
    n, n_flattered, n_low, n_high : int
        Models scored on sales and on demand; those whose bias is nearer zero on sales; those
        whose interval against demand lies below, and above, zero.
    """

    treatment: str
    verdict: str
    sales: np.ndarray
    in_stock: np.ndarray
    demand: np.ndarray
    n: int
    n_flattered: int
    n_low: int
    n_high: int


def naive_finding(scores: pd.DataFrame) -> Finding:
    """Judge whether bias on sales misleads about bias on demand.

    Parameters
    ----------
    scores : pandas.DataFrame
        The score frame (`civstats.schema.SCORES`); the pooled rows of ``bias`` are read.

    Returns
    -------
    Finding

    Raises
    ------
    CivstatsError
        If there is no pooled bias.
    """
    bias = pooled(scores, "bias")
    treatment = next((t for t in TREATMENTS if (bias["treatment"] == t).any()), "")
    mine = bias[bias["treatment"] == treatment]
    value, lo, hi = (by_regime(mine, "model", c) for c in ("value", "lo", "hi"))
    both = value["all_days"].notna() & value["demand"].notna()
    n = int(both.sum())
    judged = value[both] if n else value
    flattered = both & (value["all_days"].abs() < value["demand"].abs())
    low, high = both & (hi["demand"] < 0), both & (lo["demand"] > 0)
    if n == 0:
        verdict = "unknown"
    elif 3 * int((flattered & (low | high)).sum()) >= 2 * n:
        verdict = "flatters"
    elif 3 * int(flattered.sum()) <= n:
        verdict = "agrees"
    else:
        verdict = "mixed"
    return Finding(
        treatment=treatment,
        verdict=verdict,
        sales=judged["all_days"].to_numpy(),
        in_stock=judged["in_stock"].to_numpy(),
        demand=judged["demand"].to_numpy(),
        n=n,
        n_flattered=int(flattered.sum()),
        n_low=int(low.sum()),
        n_high=int(high.sum()),
    )


def headline(found: Finding) -> str:
    """State what the bias shows in one line."""
    does = _DOES.get(found.treatment, found.treatment)
    if found.verdict == "flatters":
        looks = "looks fine" if median(np.abs(found.sales)) <= SMALL else "looks better than it is"
        if 3 * max(found.n_low, found.n_high) >= 2 * found.n:
            size = number(abs(median(found.demand)), percent=True)
            miss = f"it is {size} too {'low' if found.n_low > found.n_high else 'high'}"
        else:
            miss = "it misses on both sides"
        return f"Judged on sales, {does} {looks}; judged on demand, {miss}"
    if found.verdict == "agrees":
        return f"Judging by sales does not flatter {does} here: demand shows no larger bias"
    if found.verdict == "mixed":
        return f"Judged on sales or on demand, {does} gives a mixed picture"
    return "The same forecasts, scored on all days and on in-stock days"


def medians(found: Finding) -> str:
    """Give the median bias by each yardstick."""
    names = ("on sales, all days", "on in-stock days", "on demand")
    shown = [
        f"{number(median(x), percent=True, signed=True)} {name}"
        for x, name in zip((found.sales, found.in_stock, found.demand), names, strict=True)
        if np.isfinite(x).any()
    ]
    if not shown:
        return "Bias is undefined: nothing was sold."
    n = len(found.sales)
    models = "one model" if n == 1 else f"median of {n} models"
    return f"Bias of the same forecasts under {found.treatment}, {models}: {'; '.join(shown)}."


def median(values: np.ndarray) -> float:
    """Return the median of the finite values, NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def naive_evaluation_caption(
    scores: pd.DataFrame,
    metric: str = "rmse",
    *,
    interval: str = "95 % bootstrap intervals over series and days",
) -> str:
    """Write the caption of `naive_evaluation` from the numbers.

    Parameters
    ----------
    scores : pandas.DataFrame
        The score frame (`civstats.schema.SCORES`).
    metric : str
        The error of the right panel; ``"bias"`` for none.
    interval : str
        What ``lo`` and ``hi`` are; the frame does not say.

    Returns
    -------
    str
        Two paragraphs for `Report.figure`: what the data show, and how to read the figure.

    Raises
    ------
    CivstatsError
        If a metric has no pooled score.
    """
    found = naive_finding(scores)
    bias = pooled(scores, "bias")
    shows = [f"**{headline(found)}.**", _bias(found), _treatments(bias), _perfect(bias)]
    if metric != "bias":
        shows.append(_choice(pooled(scores, metric), metric))
    return f"{' '.join(s for s in shows if s)}\n\n{_reading(scores, bias, metric, interval)}"


def _bias(found: Finding) -> str:
    def share(values: np.ndarray) -> str:
        return spread(values, percent=True, signed=True)

    under = f"Under {found.treatment} ({_MEANS.get(found.treatment, 'see the method')})"
    sales = f"{share(found.sales)} on all days' sales"
    if np.isfinite(found.in_stock).any():
        sales += f", {share(found.in_stock)} on in-stock days"
    if found.verdict == "unknown":
        return (
            f"{under} the bias is {sales}. Bias against demand is not known here, so none of these "
            "figures says by how much demand is missed."
        )
    of = f"of {found.n} model{'s' if found.n > 1 else ''}"
    sides = [f"below zero for {found.n_low}"] + (
        [f"above it for {found.n_high}"] if found.n_high else []
    )
    return (
        f"{under} the bias is {sales}, and {share(found.demand)} against demand, where the interval "
        f"lies {', '.join(sides)} {of}. {found.n_flattered} {of} look{'s' if found.n == 1 else ''} "
        "less biased on sales than against demand."
    )


def _treatments(bias: pd.DataFrame) -> str:
    truth = bias[bias["regime"].eq("demand") & bias["value"].notna()]
    parts = [
        f"{number(float(rows['value'].median()), percent=True, signed=True)} under {treatment}"
        for treatment in TREATMENTS
        if len(rows := truth[truth["treatment"] == treatment])
    ]
    return f"Median bias against demand: {', '.join(parts)}." if len(parts) > 1 else ""


def _perfect(bias: pd.DataFrame) -> str:
    """Say what a perfect forecast would show on sales, where the frame knows it."""
    names = {"all_days": "on all days' sales", "in_stock": "on in-stock days"}
    typical = {r: median(bias.loc[bias["regime"] == r, "expected"].to_numpy()) for r in names}
    typical = {r: x for r, x in typical.items() if np.isfinite(x)}
    if not typical:
        return ""
    shown = " and ".join(
        f"{number(x, percent=True, signed=True)} {names[r]}" for r, x in typical.items()
    )
    text = f"A perfect forecast of demand would show about {shown}"
    if typical.get("in_stock", 0.0) >= 0.01:
        return (
            f"{text}, since days that stay in stock are days of low demand: a bias near zero there is "
            "a sign of forecasting too little."
        )
    if max(typical.values()) >= 0.01:
        return f"{text}, since sales fall short of demand: a bias near zero there means too little."
    return f"{text}."


def _choice(frame: pd.DataFrame, metric: str) -> str:
    """Say which forecasts each yardstick would choose, and what that costs against demand."""
    name, _, percent = ERRORS.get(metric, (metric, "", False))
    value, lo, hi = (by_regime(frame, ["model", "treatment"], c) for c in ("value", "lo", "hi"))
    truth = value["demand"].to_numpy()
    if len(value) < 2 or not np.isfinite(truth).any():
        return ""
    rows = [" ".join(key) for key in value.index]
    best = int(np.nanargmin(truth))
    picks: dict[int, list[str]] = {}
    for regime, words in (("all_days", "all days' sales"), ("in_stock", "in-stock days")):
        scored = value[regime].to_numpy()
        if np.isfinite(scored).any():
            picks.setdefault(int(np.nanargmin(scored)), []).append(words)
    parts = []
    for pick, yardsticks in picks.items():
        who = f"{' and '.join(yardsticks)} would choose"
        if pick == best:
            parts.append(f"{who} the same")
        elif not np.isfinite(truth[pick]) or truth[best] <= 0:
            parts.append(f"{who} {rows[pick]}")
        else:
            apart = lo["demand"].to_numpy()[pick] > hi["demand"].to_numpy()[best]
            cost = number(truth[pick] / truth[best] - 1, percent=True)
            overlap = "" if apart else ", the intervals overlapping"
            parts.append(f"{who} {rows[pick]}, {cost} worse against demand{overlap}")
    lead = f"By {name} {rows[best]} is best against demand ({number(truth[best], percent=percent)})"
    return "; ".join([lead, *parts]) + "."


def _reading(scores: pd.DataFrame, bias: pd.DataFrame, metric: str, interval: str) -> str:
    folds = int(scores[CUTOFF].dropna().nunique())
    over = f", pooled over {folds} forecast origins" if folds > 1 else ""
    truth = ""
    if (bias["regime"] == "demand").any():
        truth = ", and against true demand, which only a simulation knows"
    text = (
        f"Each row holds the same forecasts{over}, scored against recorded sales on all days and on "
        f"in-stock days{truth}. Markers are scores, bars {interval}"
    )
    text += ", ticks a perfect forecast's bias." if bias["expected"].notna().any() else "."
    if metric != "bias":
        name = ERRORS.get(metric, (metric, "", False))[0]
        text += f" {name} compares rows within a yardstick, not yardsticks: their outcomes differ."
    return text
