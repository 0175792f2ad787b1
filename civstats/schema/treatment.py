"""What each row of a panel says of demand under a treatment: the one place that decides it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema.checks import check_treatment
from civstats.schema.columns import CENSORED, IN_STOCK_SHARE, Y
from civstats.schema.panel import stockout_days


def treated_sales(panel: pd.DataFrame, treatment: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sales, exposure and whether sales are a bound, by row of a validated panel.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    treatment : {"ignore", "mask", "censor"}

    Returns
    -------
    sales : numpy.ndarray of float32, shape (n_rows,)
        NaN where the row says nothing: a stockout day under ``mask``; under ``censor`` a day out
        from the first hour, since P(demand >= 0) = 1.
    exposure : numpy.ndarray of float32, shape (n_rows,)
        1 for a whole day in stock, the share of a part day under ``censor``; 0 where sales are NaN
        or a bound.
    bound : numpy.ndarray of bool, shape (n_rows,)
        Where demand is at least `sales`; nowhere but under ``censor``. A day with sales and no hours in
        stock, which its records contradict, is one too.

    Raises
    ------
    CivstatsError
        For an unknown treatment.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2024-01-01", periods=3)
    >>> panel = pd.DataFrame({"ds": days, "y": [2, 0, 3], "is_censored": [False, True, True]})
    >>> treated_sales(panel, "censor")[0].tolist()
    [2.0, nan, 3.0]
    """
    check_treatment(treatment)
    sales = panel[Y].to_numpy(dtype=np.float32)
    exposure, bound = np.ones_like(sales), np.zeros(len(sales), dtype=bool)
    if treatment == "mask":
        exposure = 1 - stockout_days(panel).astype(np.float32)
    if treatment == "censor":
        if CENSORED in panel.columns:
            bound = panel[CENSORED].to_numpy()
        if IN_STOCK_SHARE in panel.columns:
            exposure = panel[IN_STOCK_SHARE].to_numpy(dtype=np.float32).copy()
        # What sold on a day said to be out all day is at least what was asked for.
        bound = bound | ((exposure <= 0) & (sales > 0))
        # P(demand >= 0) = 1, and no demand falls into no hours: such a day says nothing.
        silent = (sales <= 0) & (bound | (exposure <= 0))
        bound = bound & ~silent
        exposure = np.where(bound | silent, np.float32(0), exposure)
        return np.where(silent, np.float32(np.nan), sales), exposure, bound
    return np.where(exposure > 0, sales, np.float32(np.nan)), exposure, bound
