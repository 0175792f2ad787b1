"""What a lever would have gained in a simulated world, where demand is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import DEMAND, ID, PRICE, CivstatsError, Y, check_share, stockout_days
from civstats.value.inputs import margin_vector


def true_gain(
    panel_window: pd.DataFrame,
    share: float = 0.2,
    price: pd.Series | None = None,
    margin: float | str | pd.Series = 0.2,
    *,
    seed: int | np.random.Generator | None = None,
) -> pd.DataFrame:
    """Return what averting a share of the stockout days would have gained, by series.

    Parameters
    ----------
    panel_window : pandas.DataFrame
        The horizon's rows of a simulated panel, with ``demand``.
    share : float
        Chance of each stockout day to be averted.
    price : pandas.Series, optional
        Per ``unique_id``; the window's own daily ``price`` by default.
    margin : float, str or pandas.Series
        As for :func:`gain_paths`; a name is a column of the window.
    seed : int or numpy.random.Generator, optional
        Draws the lever's luck too, day by day. Without it the gain is the expectation over that
        luck, which bands of drawn gains cover more often than their level says.

    Returns
    -------
    pandas.DataFrame
        ``unique_id, units, value, lost`` (all units lost on stockout days), ``stockout_days``.

    Raises
    ------
    CivstatsError
        Without ``demand`` (only a simulation knows it), or with a missing price.

    Examples
    --------
    >>> import pandas as pd
    >>> window = pd.DataFrame({"unique_id": ["a", "a"], "ds": pd.date_range("2024-01-01", periods=2),
    ...     "y": [2.0, 3.0], "demand": [7.0, 3.0], "is_censored": [True, False], "price": 4.0})
    >>> true_gain(window, 0.2, margin=0.5)
      unique_id  units  value  lost  stockout_days
    0         a    1.0    2.0   5.0              1
    """
    share = check_share("share", share)
    if DEMAND not in panel_window.columns:
        raise CivstatsError(
            f"the window has no {DEMAND}: the true gain is known in simulations only"
        )
    out = stockout_days(panel_window)
    short = (panel_window[DEMAND] - panel_window[Y]).to_numpy(dtype=float)
    lost = np.where(out, np.maximum(short, 0.0), 0.0)
    if price is not None:
        money = panel_window[ID].astype(object).map(price).to_numpy(dtype=float)
    elif PRICE in panel_window.columns:
        money = panel_window[PRICE].to_numpy(dtype=float)
    else:
        raise CivstatsError(f"the window has no {PRICE}: pass a price per series")
    bad = ~np.isfinite(money)
    if bad.any():
        raise CivstatsError(
            f"{int(bad.sum())} row(s) without a price, first {panel_window[ID].iloc[bad.argmax()]}"
        )
    back = share if seed is None else np.random.default_rng(seed).random(len(lost)) < share
    codes, ids = pd.factorize(panel_window[ID].astype(object))
    table = pd.DataFrame(
        {
            ID: ids,
            "units": np.bincount(codes, lost * back),
            "value": np.bincount(codes, lost * back * money),
            "lost": np.bincount(codes, lost),
            "stockout_days": np.bincount(codes, out).astype(int),
        }
    )
    table["value"] *= margin_vector(margin, pd.Index(ids, dtype=object), panel_window)
    return table
