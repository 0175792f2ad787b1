"""Why a row is where it is: demand, stockouts, price or uncertainty, in parts that add up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import CivstatsError

PARTS = ("demand", "stockouts", "price", "uncertainty")


def explain(ranking: pd.DataFrame) -> pd.DataFrame:
    """Say how far each row's value stands above a typical one, and through what.

    A row's gross value is a product: expected demand, share of days out, margin per unit, and what
    is left: the mean over joint draws against the product of the means. That last part is
    "uncertainty": demand on a day that ran out is higher than on others, caps leave a part, strengths
    differ, bad months come together. The logarithm of each factor against its median over rows
    that gain something is the factor's contribution; the four add up to the log of the row's
    value over the typical row's, the product of those medians.

    Parameters
    ----------
    ranking : pandas.DataFrame
        Of :func:`rank_gains`.

    Returns
    -------
    pandas.DataFrame
        A copy with ``effect_demand, effect_stockouts, effect_price, effect_uncertainty`` (log
        ratios), ``effect_total`` (their sum) and ``driver``, the part that lifts the row most
        (``"none"`` where it gains nothing or no part lifts it).

    Examples
    --------
    >>> table = pd.DataFrame({"value_mean": [8.0, 2.0, 2.0], "demand_mean": [40.0, 10.0, 10.0],
    ...     "stockout_probability": 0.1, "price": 2.0, "margin": 0.5})
    >>> explain(table)[["effect_demand", "effect_total", "driver"]].round(2)
       effect_demand  effect_total  driver
    0           1.39          1.39  demand
    1           0.00          0.00    none
    2           0.00          0.00    none
    """
    needed = ("value_mean", "demand_mean", "stockout_probability", "price", "margin")
    missing = [c for c in needed if c not in ranking.columns]
    if missing:
        raise CivstatsError(f"the ranking lacks {', '.join(missing)}: use rank_gains")
    value = ranking["gross_mean" if "gross_mean" in ranking else "value_mean"].to_numpy(float)
    factors = np.stack(
        [
            ranking["demand_mean"].to_numpy(float),
            ranking["stockout_probability"].to_numpy(float),
            ranking["price"].to_numpy(float) * ranking["margin"].to_numpy(float),
        ]
    )
    use = (value > 0) & (factors > 0).all(axis=0)
    log = np.full((4, len(ranking)), np.nan)
    log[:3, use] = np.log(factors[:, use])
    log[3, use] = np.log(value[use]) - log[:3, use].sum(axis=0)
    if use.any():
        log[:, use] -= np.median(log[:, use], axis=1, keepdims=True)
    result = ranking.copy()
    for name, effect in zip(PARTS, log, strict=True):
        result[f"effect_{name}"] = effect
    result["effect_total"] = log.sum(axis=0)
    driver = np.full(len(ranking), "none", dtype=object)
    lifted = np.flatnonzero(use & (np.nan_to_num(log, nan=-np.inf).max(axis=0) > 1e-12))
    driver[lifted] = np.asarray(PARTS, dtype=object)[log[:, lifted].argmax(axis=0)]
    result["driver"] = driver
    return result
