"""The same forecasts judged on sales and on demand: the figure, and a caption true to its numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.plots._rows import RowPanel, pooled, row_chart
from civstats.plots._style import Plot, in_house_style, number, spread
from civstats.schema import CUTOFF, REGIMES, TREATMENTS

_ERRORS = {
    "rmse": ("RMSE", "units per day", False),
    "mae": ("MAE", "units per day", False),
    "wape": ("WAPE", "% of outcome", True),
    "wape_total": ("WAPE of window totals", "% of outcome", True),
}
_SMALL = 0.05
"""A bias up to 5 % counts as looking fine; stated in the caption where it is used."""


@dataclass(frozen=True)
class Finding:
    """What the pooled bias says about forecasts that take sales for demand.

    Attributes
    ----------
    treatment : str
        The treatment judged, ``ignore`` where there is one.
    verdict : {"flatters", "agrees", "mixed", "unknown"}
        Whether scoring on sales (all days) makes the bias look smaller than it is on demand:
        for a clear majority of models with intervals beyond zero, for hardly any, in between,
        or no demand to compare with.
    sales, in_stock, demand : numpy.ndarray, shape (n_models,)
        Bias as a share, NaN where undefined.
    n_flattered, n_low, n_high, n : int
        Models whose bias is nearer zero on sales than on demand; whose interval against demand
        lies below, above zero; models judged both ways.
    """

    treatment: str
    verdict: str
    sales: np.ndarray
    in_stock: np.ndarray
    demand: np.ndarray
    n_flattered: int
    n_low: int
    n_high: int
    n: int


def naive_finding(scores: pd.DataFrame) -> Finding:
    """Judge whether bias on sales misleads about bias on demand, from the pooled score frame."""
    bias = pooled(scores, "bias")
    treatment = next((t for t in TREATMENTS if (bias["treatment"] == t).any()), "")
    mine = bias[bias["treatment"] == treatment]
    wide = {c: mine.pivot(index="model", columns="regime", values=c) for c in ("value", "lo", "hi")}
    value = wide["value"].reindex(columns=list(REGIMES))
    both = value["all_days"].notna() & value["demand"].notna()
    n = int(both.sum())
    sales, demand = value.loc[both, "all_days"], value.loc[both, "demand"]
    lo = wide["lo"].reindex(columns=list(REGIMES)).loc[both, "demand"]
    hi = wide["hi"].reindex(columns=list(REGIMES)).loc[both, "demand"]
    low, high = hi < 0, lo > 0
    flattered = sales.abs() < demand.abs()
    if n == 0:
        verdict = "unknown"
    elif 3 * int((flattered & (low | high)).sum()) >= 2 * n:
        verdict = "flatters"
    elif 3 * int(flattered.sum()) <= n:
        verdict = "agrees"
    else:
        verdict = "mixed"
    return Finding(
        treatment,
        verdict,
        value.loc[both, "all_days"].to_numpy() if n else value["all_days"].to_numpy(),
        value.loc[both, "in_stock"].to_numpy() if n else value["in_stock"].to_numpy(),
        demand.to_numpy(),
        int(flattered.sum()),
        int(low.sum()),
        int(high.sum()),
        n,
    )


def _median(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def _does(treatment: str) -> str:
    return {
        "ignore": "ignoring stockouts",
        "mask": "leaving stockout days out",
        "censor": "the censored likelihood",
    }.get(treatment, treatment)


def _title(found: Finding) -> str:
    does = _does(found.treatment)
    demand = _median(found.demand)
    if found.verdict == "flatters":
        looks = (
            "looks fine" if _median(np.abs(found.sales)) <= _SMALL else "looks better than it is"
        )
        size = number(abs(demand), percent=True)
        if 3 * max(found.n_low, found.n_high) >= 2 * found.n:
            miss = f"it is {size} too {'low' if found.n_low > found.n_high else 'high'}"
        else:
            miss = "it misses either way"
        return f"Judged on sales, {does} {looks}; judged on demand, {miss}"
    if found.verdict == "agrees":
        return f"Here the naive evaluation does not flatter {does}: demand shows no larger bias"
    if found.verdict == "mixed":
        return f"Judged on sales or on demand, {does} gives a mixed picture"
    return "The same forecasts score differently on all days and on in-stock days"


def _subtitle(found: Finding) -> str:
    def show(x: np.ndarray) -> str:
        return number(_median(x), percent=True, signed=True)

    counted = found.n or len(found.sales)
    models = "1 model" if counted == 1 else f"median of {counted} models"
    parts = [f"{show(found.sales)} on sales, all days"]
    if np.isfinite(found.in_stock).any():
        parts.append(f"{show(found.in_stock)} on in-stock days")
    if found.n:
        parts.append(f"{show(found.demand)} on demand")
    return f"Bias of the same {found.treatment} forecasts, {models}: {', '.join(parts)}."


@in_house_style
def naive_evaluation(scores: pd.DataFrame, metric: str = "rmse") -> Plot:
    """Draw the same forecasts scored on sales (all days, in-stock days) and on demand.

    Parameters
    ----------
    scores : pandas.DataFrame
        The score frame (`civstats.schema.SCORES`). Only pooled rows (no cutoff) of ``bias``, a
        share, and of `metric` are read. NaN scores are left out and printed "n/a".
    metric : str
        The error of the right panel, such as ``"rmse"`` or ``"wape"``; ``"bias"`` for none.

    Returns
    -------
    Plot
        A row per model and treatment. Its title states what the bias shows, which may be that
        the naive evaluation does no harm here.

    Raises
    ------
    CivstatsError
        If a metric has no pooled score.
    """
    found = naive_finding(scores)
    shown = tuple(r for r in ("all_days", "demand") if (scores["regime"] == r).any())
    panels = [
        RowPanel(
            pooled(scores, "bias"),
            "Bias",
            "(mean forecast − outcome) / outcome",
            percent=True,
            signed=True,
            reference=0.0,
            columns=shown,
            share=1.25,
        )
    ]
    if metric != "bias":
        name, unit, percent = _ERRORS.get(metric, (metric, "", False))
        panels.append(
            RowPanel(
                pooled(scores, metric),
                "Error: " + name,
                f"{name}, {unit}" if unit else name,
                percent=percent,
                ring=True,
                columns=shown,
            )
        )
    title, subtitle = _title(found), _subtitle(found)
    rows = panels[0].scores.groupby(["model", "treatment"]).ngroups
    alt = f"Dot plot of {rows} model and treatment rows. {title}. {subtitle}"
    return Plot(row_chart(panels, title, subtitle), alt)


def naive_evaluation_caption(
    scores: pd.DataFrame,
    metric: str = "rmse",
    *,
    interval: str = "95 % bootstrap intervals over series and days",
) -> str:
    """Write the caption of `naive_evaluation` from the numbers, whatever they turn out to be.

    Parameters
    ----------
    scores : pandas.DataFrame
        The score frame (`civstats.schema.SCORES`).
    metric : str
        The error of the right panel.
    interval : str
        What ``lo`` and ``hi`` are; the frame does not say.

    Returns
    -------
    str
        Plain text, a few sentences: what is drawn, what the bias shows, what a perfect forecast
        would show, which forecasts each yardstick would choose.
    """
    found = naive_finding(scores)
    folds = int(scores[CUTOFF].dropna().nunique())
    over = f" over {folds} forecast origins" if folds > 1 else ""
    has_demand = bool((scores["regime"] == "demand").any())
    truth = ", and against true demand, which only a simulation knows" if has_demand else ""
    parts = [
        f"The same forecasts, pooled{over}, scored against recorded sales on all days and on days "
        f"that stayed in stock{truth}; dots are scores, bars {interval}.",
        _bias_sentences(found, scores),
        _expected_sentence(scores),
    ]
    if metric != "bias":
        parts.append(_choice_sentences(scores, metric))
    return " ".join(p for p in parts if p)


def _bias_sentences(found: Finding, scores: pd.DataFrame) -> str:
    def bias(x: np.ndarray) -> str:
        return spread(x, percent=True, signed=True)

    if found.verdict == "unknown":
        return (
            f"Bias under {found.treatment} is {bias(found.sales)} on all days and "
            f"{bias(found.in_stock)} on in-stock days; without known demand none of these says "
            "how far demand is missed."
        )
    models = "the model" if found.n == 1 else f"the {found.n} models"
    text = (
        f"Under {found.treatment} ({_does(found.treatment)}) the bias of {models} is "
        f"{bias(found.sales)} judged on sales and {bias(found.demand)} judged on demand; "
        f"the interval against demand lies below zero for {found.n_low} of {found.n}"
    )
    text += f", above it for {found.n_high}." if found.n_high else "."
    if found.verdict == "flatters":
        text += (
            f" So the naive evaluation misleads: for {found.n_flattered} of {found.n} the bias looks "
            "smaller on sales than it is on demand."
        )
    elif found.verdict == "agrees":
        text += (
            f" So the naive evaluation does not flatter here: the bias looks smaller on sales than "
            f"on demand for {found.n_flattered} of {found.n} only."
        )
    else:
        text += (
            f" The picture is mixed: the bias looks smaller on sales than on demand for "
            f"{found.n_flattered} of {found.n}."
        )
    others = _other_treatments(found, scores)
    return f"{text} {others}" if others else text


def _other_treatments(found: Finding, scores: pd.DataFrame) -> str:
    bias = pooled(scores, "bias")
    truth = bias[bias["regime"].eq("demand") & bias["value"].notna()]
    parts = [
        f"{number(float(truth.loc[truth['treatment'] == t, 'value'].median()), percent=True, signed=True)}"
        f" under {t}"
        for t in TREATMENTS
        if (truth["treatment"] == t).any()
    ]
    return f"Median bias against demand: {', '.join(parts)}." if len(parts) > 1 else ""


def _expected_sentence(scores: pd.DataFrame) -> str:
    bias = pooled(scores, "bias")
    ticks = bias[bias["expected"].notna() & bias["regime"].isin(["all_days", "in_stock"])]
    if ticks.empty:
        return ""
    typical = ticks.groupby("regime")["expected"].median()
    names = {"all_days": "all days' sales", "in_stock": "in-stock days"}
    shown = " and ".join(
        f"{number(x, percent=True, signed=True)} on {names[str(r)]}" for r, x in typical.items()
    )
    text = f"A perfect forecast of demand would show a bias of about {shown} (ticks)"
    if typical.get("in_stock", 0.0) >= 0.01:
        return (
            f"{text}: days that stay in stock are days of low demand, so a bias near zero there is a "
            "sign of forecasting too little."
        )
    if typical.max() >= 0.01:
        return f"{text}: sales fall short of demand, so a bias near zero on sales means too little."
    return f"{text}, so scoring on sales costs little here."


def _choice_sentences(scores: pd.DataFrame, metric: str) -> str:
    """Say which forecasts each yardstick would choose, and what that costs against demand."""
    frame = pooled(scores, metric)
    name, _, percent = _ERRORS.get(metric, (metric, "", False))
    table = (
        frame.set_index(["model", "treatment", "regime"])["value"]
        .unstack("regime")
        .dropna(how="all")
    )
    if "demand" not in table or table["demand"].isna().all() or len(table) < 2:
        return f"{name} values compare within a yardstick, not across: the outcomes differ."
    best = table["demand"].idxmin()
    least = float(table.loc[best, "demand"])
    parts = []
    for regime, words in (("all_days", "all days' sales"), ("in_stock", "in-stock days")):
        if regime not in table or table[regime].isna().all():
            continue
        pick = table[regime].idxmin()
        if pick == best:
            parts.append(f"{words} would choose the same")
            continue
        cost = float(table.loc[pick, "demand"])
        if not np.isfinite(cost) or least <= 0:
            parts.append(f"{words} would choose {pick[0]} {pick[1]}, not scored against demand")
            continue
        parts.append(
            f"{words} would choose {pick[0]} {pick[1]}, whose {name} against demand is "
            f"{number(cost / least - 1, percent=True)} higher"
        )
    lead = (
        f"By {name} against demand {best[0]} {best[1]} is best ({number(least, percent=percent)})"
    )
    chosen = f"; {', '.join(parts)}" if parts else ""
    return f"{lead}{chosen}. {name} values compare within a yardstick, not across: the outcomes differ."
