"""What the naive evaluation shows, in words that are true whatever the numbers turn out to be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.plots._scores import by_regime, pooled
from civstats.plots._style import number, spread
from civstats.plots.naive_finding import Finding, headline, known_truth, median, naive_finding
from civstats.schema import CUTOFF, TREATMENTS

ERRORS = {
    "rmse": ("RMSE", "units per day", False),
    "wape": ("WAPE", "% of outcome", True),
    "wape_total": ("WAPE of window totals", "% of outcome", True),
}
"""Name, unit, and whether it is a share, of the errors that are written in words."""
_MEANS = {
    "ignore": "sales taken for demand",
    "mask": "stockout days left out",
    "censor": "demand at least the sales",
}


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
    if not known_truth(bias):
        return (
            f"If the models were right, selection alone would show about {shown}, by their own joint "
            "draws of demand and stock: only what lies beyond that is a sign of error."
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
    # What is not identified chooses nothing.
    frame = frame.assign(value=frame["value"].where(frame["identified"].astype(bool)))
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
    lead = f"By {name} {rows[best]} scores lowest against demand ({number(truth[best], percent=percent)})"
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
    if bias["expected"].notna().any():
        own = "the bias to be expected of a model that is right"
        perfect = "a perfect forecast's bias"
        text += f", ticks {perfect if known_truth(bias) else own}"
    text += "."
    if (~bias["identified"].astype(bool) & bias["value"].notna()).any():
        text += " Hollow markers: too many stockouts for sales to tell the mean."
    if metric != "bias":
        name = ERRORS.get(metric, (metric, "", False))[0]
        text += f" {name} compares rows within a yardstick, not yardsticks: their outcomes differ."
    return text
