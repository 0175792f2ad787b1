"""The censored PIT of the days a posterior was fitted on, each as if it had been left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.diagnostics.loo import Loo
from civstats.evaluation.calibration import PIT
from civstats.schema import CUTOFF, DS, ID, CivstatsError, Y, treated_sales

if TYPE_CHECKING:
    from civstats.censoring import Family


def posterior_pit(
    panel: pd.DataFrame,
    eta: np.ndarray,
    family: Family,
    *,
    rows: np.ndarray | None = None,
    loo: Loo | None = None,
    exposure: np.ndarray | float = 1.0,
    seed: int | np.random.Generator = 0,
    model: str = "BayesDemand",
    treatment: str = "censor",
) -> pd.DataFrame:
    """Return the randomised, censored PIT of days that a posterior has seen.

    u ~ U(F(y - 1), F(y)) on an exact day and U(F(c - 1), 1) where demand is at least c (Czado,
    Gneiting and Held, 2009), F the mixture over draws. With `loo` the mixture is that of a posterior
    without the day (Gelfand, Dey and Chang, 1992); without, days have been seen twice, and the PIT
    of the true model is too narrow around a half.

    Parameters
    ----------
    panel : pandas.DataFrame
        Validated.
    eta : numpy.ndarray, shape (n_draws, n_rows)
        Linear predictor of the days, by draw.
    family : civstats.censoring.Family
        Its parameters broadcast against `eta`.
    rows : numpy.ndarray of int, shape (n_rows,), optional
        The panel's rows that `eta` is of; all if None.
    loo : Loo, optional
        Of the same rows and draws, a day left out at a time.
    exposure : array_like
        Share of the day's demand in the hours in stock, by row.
    seed : int or numpy.random.Generator
    model, treatment : str
        Names in the frame.

    Returns
    -------
    pandas.DataFrame
        ``unique_id, ds, cutoff, model, treatment, pit``, for `pit_histogram`, `pit_uniformity` and
        `calibration_curve` of `civstats.evaluation.calibration`. The cutoff is the panel's last
        day: nothing was forecast. Days out of stock throughout are left out, as are those
        whose Pareto k is too large.

    Raises
    ------
    CivstatsError
        If shapes do not match or no day is left.

    Notes
    -----
    Given other days, among them later ones, whose stock may depend on this day's demand: under an inventory
    policy the PIT of the true model is uniform only as far as that matters little.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.censoring import Poisson
    >>> from civstats.schema import validate_panel
    >>> days, y = pd.date_range("2024-01-01", periods=30), np.tile([2.0, 4, 3], 10)
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": y}))
    >>> found = posterior_pit(panel, np.full((5, 30), np.log(3)), Poisson())
    >>> len(found), bool(found["pit"].between(0, 1).all())
    (30, True)
    """
    part = panel if rows is None else panel.iloc[rows]
    n_draws, n = eta.shape
    if n != len(part):
        raise CivstatsError(f"eta has {n} column(s) for {len(part)} row(s) of the panel")
    sales, _, bound = treated_sales(part, treatment)
    y = part[Y].to_numpy(dtype=float)
    keep = ~np.isnan(sales)
    weights = np.full((n_draws, n), 1 / n_draws)
    if loo is not None:
        if loo.log_weights.shape[1] != n_draws:
            raise CivstatsError(
                f"eta has {n_draws} draws and the weights of the LOO {loo.log_weights.shape[1]}"
            )
        items = loo.pointwise["item"].to_numpy()
        good = loo.pointwise["k"].to_numpy() <= loo.good_k
        left = np.zeros(n, dtype=bool)
        left[items[good]] = True
        weights[:, items] = np.exp(loo.log_weights).T
        keep &= left
    if not keep.any():
        raise CivstatsError("no day is left of which a PIT could be had")
    under, upto = _ends(family, eta, y, exposure)
    low, high = (np.clip((weights * f).sum(axis=0), 0.0, 1.0) for f in (under, upto))
    high = np.where(bound, 1.0, high)
    values = low + (high - low) * np.random.default_rng(seed).random(n)
    return pd.DataFrame(
        {
            ID: part[ID].array[keep],
            DS: part[DS].to_numpy()[keep],
            CUTOFF: panel[DS].max(),
            "model": model,
            "treatment": treatment,
            PIT: np.minimum(values[keep], 1.0),
        }
    )


def _ends(
    family: Family, eta: np.ndarray, y: np.ndarray, exposure: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """P(D < y) and P(D <= y), by draw and row."""
    from civstats.censoring import Normal

    upto = family.cdf(y, eta, exposure)
    if isinstance(family, Normal):
        return upto, upto
    return family.cdf(y - 1.0, eta, exposure), upto
