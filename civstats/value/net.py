"""From gross to net: what customers would have bought anyway, and what the lever costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from civstats.schema import ID, CivstatsError, check_share
from civstats.value.margins import beta_shape


@dataclass(frozen=True)
class RecapturePrior:
    """Share of lost units that are bought after all, as a substitute or later: Beta(mean, sd).

    One draw per sample, shared by all series. The default is for want of evidence of one's own: of
    shoppers who met an empty shelf 45 % said they bought a substitute in the shop and 15 % that
    they came back (Corsten and Gruen, 2003, averages of many surveys); what they say is more than
    what tills show, hence a lower mean and a wide band. Replace it by an estimate where the panel
    allows one.

    Attributes
    ----------
    mean, sd : float
        Of the share, in [0, 1]; sd 0 is a constant.

    Examples
    --------
    >>> RecapturePrior(0.4, 0.1).draw(3, seed=0).shape
    (3,)
    """

    mean: float = 0.5
    sd: float = 0.2

    def __post_init__(self) -> None:
        check_share("recapture mean", self.mean)
        check_share("recapture sd", self.sd)
        if self.sd > 0:
            beta_shape(np.array([self.mean]), self.sd, "recapture")

    def draw(self, n: int, seed: int | np.random.Generator) -> np.ndarray:
        """Draw the share for each of `n` samples."""
        if self.sd == 0:
            return np.full(n, float(self.mean))
        a, b = beta_shape(np.array([float(self.mean)]), self.sd, "recapture")
        return np.random.default_rng(seed).beta(a[0], b[0], n)


def net_gains(
    gains: xr.Dataset,
    *,
    recapture: float | RecapturePrior | np.ndarray = 0.0,
    elsewhere: pd.Series | None = None,
    cost: float | pd.Series | None = None,
    seed: int | np.random.Generator = 0,
) -> xr.Dataset:
    """Take off what would have been bought anyway: net = gain x (margin - share x margin elsewhere).

    Parameters
    ----------
    gains : xarray.Dataset
        Of :func:`gain_paths` or, without a cost, of :func:`lost_paths`.
    recapture : float, RecapturePrior or numpy.ndarray, shape (n_samples,)
        Share of lost units that another item or a later day sells; draws may come from an estimate.
    elsewhere : pandas.Series, optional
        Money earned on a recaptured unit, per series (such as the mean unit margin of its
        sisters); the series' own unit margin by default. Where it is larger, net may be negative.
    cost : float or pandas.Series, optional
        Money that the lever costs over the horizon, per series; a number is for each series that
        the lever changes. It is known, so it moves every sample alike.
    seed : int or numpy.random.Generator
        Of the recapture prior.

    Returns
    -------
    xarray.Dataset
        As `gains`, with ``value`` net of recapture and cost, ``gross`` (before), ``recaptured``
        (n_samples) and, with a cost, ``cost`` per series.

    Raises
    ------
    CivstatsError
        For shares outside [0, 1], draws of another length, a cost on a past loss, missing figures.
    """
    n = gains["value"].shape[1]
    ids = pd.Index(gains[ID].to_numpy(), dtype=object)
    if isinstance(recapture, RecapturePrior):
        share = recapture.draw(n, seed)
    elif isinstance(recapture, np.ndarray):
        share = recapture.astype(float)
        if share.shape != (n,) or not ((share >= 0) & (share <= 1)).all():
            raise CivstatsError(
                f"recapture draws must be {n} shares in [0, 1], but have shape {share.shape} and "
                f"range {share.min():g} to {share.max():g}"
            )
    else:
        share = np.full(n, check_share("recapture", recapture))
    gross = gains["value"].to_numpy()
    anyway = (
        gross
        if elsewhere is None
        else gains["units"].to_numpy() * _per_series(elsewhere, ids, "margin elsewhere")[:, None]
    )
    dims = gains["value"].dims
    result = gains.assign(
        gross=(dims, gross), value=(dims, gross - share * anyway), recaptured=(dims[1:], share)
    )
    if cost is not None:
        if gains.attrs.get("estimand") == "lost":
            raise CivstatsError(
                "a lever's cost has no place in a past loss: take it off what a lever gains"
            )
        if isinstance(cost, pd.Series):
            spent = _per_series(cost, ids, "cost")
        else:
            touched = gains["units"].to_numpy().any(axis=1)
            spent = np.where(touched, _amount(cost), 0.0)
        result["value"] = (dims, result["value"].to_numpy() - spent[:, None])
        result["cost"] = (dims[:1], spent)
    return result


def _amount(cost: float) -> float:
    if isinstance(cost, bool) or not np.isfinite(cost) or cost < 0:
        raise CivstatsError(f"cost must be money, 0 or more, but got {cost!r}")
    return float(cost)


def _per_series(values: pd.Series, ids: pd.Index, name: str) -> np.ndarray:
    each = pd.Series(values.to_numpy(dtype=float), index=values.index.astype(object)).reindex(ids)
    bad = ~(np.isfinite(each.to_numpy()) & (np.nan_to_num(each.to_numpy()) >= 0))
    if bad.any():
        raise CivstatsError(
            f"{int(bad.sum())} series have no {name} of 0 or more, first {ids[bad][0]}: fill it"
        )
    return each.to_numpy()
