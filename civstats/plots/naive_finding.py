"""Whether scoring on sales misleads about demand, judged from the pooled bias, and its headline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.plots._scores import by_regime, pooled
from civstats.plots._style import number
from civstats.schema import TREATMENTS

SMALL = 0.05
"""A median absolute bias up to 5 % is said to look fine."""
_DOES = {
    "ignore": "ignoring stockouts",
    "mask": "leaving stockout days out",
    "censor": "the censored likelihood",
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
    selection : numpy.ndarray, shape (n_models,)
        The bias that a perfect forecast shows on in-stock days, NaN where nobody knows.
    n, n_flattered, n_low, n_high : int
        Models scored on sales and on demand; those whose bias is nearer zero on sales; those
        whose interval against demand lies below, and above, zero.
    """

    treatment: str
    verdict: str
    sales: np.ndarray
    in_stock: np.ndarray
    demand: np.ndarray
    selection: np.ndarray
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
    expected = by_regime(mine, "model", "expected")
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
        selection=expected.loc[judged.index, "in_stock"].to_numpy(),
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
    selection = median(found.selection)
    if np.isfinite(selection) and np.isfinite(found.in_stock).any():
        shown, due = (
            number(x, percent=True, signed=True) for x in (median(found.in_stock), selection)
        )
        return f"In-stock days show {does} at a bias of {shown}, where selection alone makes {due}"
    return "The same forecasts, scored on all days and on in-stock days"


def known_truth(bias: pd.DataFrame) -> bool:
    """Whether the bias to be expected is that of the true mean, not of the models' own draws."""
    return bool(bias.loc[bias["regime"].eq("demand"), "expected"].notna().any())


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
