"""The past of `value_of_instock.py`: demand recovered, units lost, what customers bought instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.schema import DEMAND, DS, ID, LOST, PRICE, STATIC, CivstatsError, Y, stockout_days
from civstats.schema import validate_panel as valid

if TYPE_CHECKING:
    import xarray as xr

    from civstats.demand_filter import DemandFilter
    from civstats.value import RecaptureEstimate

MEMORY = 730
"""Days before the cutoff from which the demand filter learns: two of each season."""
DRAWS = 200
PARAMETER_DRAWS = 20


@dataclass(frozen=True)
class Past:
    """What stockouts took before the cutoff; `skipped` says why it is not told.

    Attributes
    ----------
    gross, net : xarray.Dataset, optional
        Of :func:`civstats.value.lost_paths`, before and after recapture.
    truth : pandas.DataFrame, optional
        ``unique_id, units, value``, where demand is known.
    recapture : RecaptureEstimate, optional
    no_estimate : str
        Why recapture is not estimated, empty if it is.
    start, end : pandas.Timestamp
    """

    skipped: str = ""
    gross: xr.Dataset | None = None
    net: xr.Dataset | None = None
    truth: pd.DataFrame | None = None
    recapture: RecaptureEstimate | None = None
    no_estimate: str = ""
    start: pd.Timestamp | None = None
    end: pd.Timestamp | None = None


@dataclass(frozen=True)
class Filtered:
    """The demand filter as it was known at the first cutoff; None with the reason where it cannot be."""

    model: DemandFilter | None
    skipped: str = ""


def learn_demand(panel: pd.DataFrame, cutoff: pd.Timestamp) -> Filtered:
    """Fit the demand filter to the days up to a cutoff."""
    from civstats.demand_filter import DemandFilter

    y = panel[Y].to_numpy()
    if (y != np.rint(y)).any():
        return Filtered(None, "Sales are no whole numbers, and the demand filter is one of counts.")
    if not stockout_days(panel[panel[DS] <= cutoff]).any():
        return Filtered(None, "No stockout is on record before the cutoff.")
    return Filtered(DemandFilter(treatment="censor").fit(recent(panel, cutoff)))


def recent(panel: pd.DataFrame, cutoff: pd.Timestamp, days: int = MEMORY) -> pd.DataFrame:
    """Return the last days up to a cutoff, a panel of its own."""
    part = panel[(panel[DS] <= cutoff) & (panel[DS] > cutoff - pd.Timedelta(days=days))]
    return valid(part)


def expected_tomorrow(panel: pd.DataFrame, model: DemandFilter) -> np.ndarray:
    """Return each day's expected demand from the days before it, shape (n_rows,); parameters frozen.

    Parameters
    ----------
    panel : pandas.DataFrame
        Of series that were in the fit.
    model : DemandFilter
    """
    from civstats.demand_filter import filter_levels

    obs = model.observations(panel)
    found = filter_levels(obs, model.parameters_of(obs.ids), summaries=("predicted",))
    assert found.predicted is not None
    mean = found.predicted.rate * np.exp(obs.offset)
    return np.asarray(mean if obs.exposure is None else mean * np.maximum(obs.exposure, 1e-6))


def realised_loss(
    panel: pd.DataFrame, cutoff: pd.Timestamp, known: Filtered, margin: Any, config: dict
) -> Past:
    """Draw what stockouts took in the last days before the cutoff, and estimate recapture."""
    from civstats.demand_filter import DemandFilter
    from civstats.demand_filter.recovery import recover
    from civstats.value import lost_paths

    if known.model is None:
        return Past(skipped=known.skipped)
    past = recent(panel, cutoff)
    model = known.model
    if not past[ID].isin(model.ids_).all():
        # Launched since: parameters are learnt again, with them.
        model = DemandFilter(treatment="censor").fit(past)
    found = recover(
        past,
        model,
        levels=(),
        n_draws=DRAWS,
        parameter_draws=PARAMETER_DRAWS,
        seed=config["seed"],
    )
    start = cutoff - pd.Timedelta(days=config["past"] - 1)
    span = past[(past[DS] >= start) & (past[DS] <= cutoff)]
    gross = lost_paths(
        found, price=prices(past), margin=margin, start=start, end=cutoff, static=statics(past),
        seed=config["seed"],
    )  # fmt: skip
    estimate, reason = _recapture(past, found.frame[LOST].to_numpy(dtype=float), config)
    return Past(
        gross=gross,
        truth=_truth(span, gross),
        recapture=estimate,
        no_estimate=reason,
        start=max(start, past[DS].min()),
        end=cutoff,
    )


def statics(panel: pd.DataFrame) -> pd.DataFrame:
    """Return the attributes of a panel's series, and its margin column's like, one row each."""
    return panel.drop_duplicates(ID).set_index(ID, drop=False)


def prices(panel: pd.DataFrame) -> pd.DataFrame:
    """Return ``unique_id, ds, price``; a day without a price takes the series' nearest before or after."""
    table = panel[[ID, DS, PRICE]].copy()
    if table[PRICE].isna().any():
        by = table.groupby(ID, observed=True)[PRICE]
        table[PRICE] = by.ffill()
        table[PRICE] = table.groupby(ID, observed=True)[PRICE].bfill()
    return table


def _recapture(
    past: pd.DataFrame, lost: np.ndarray, config: dict
) -> tuple[RecaptureEstimate | None, str]:
    from civstats.value import estimate_recapture

    try:
        return estimate_recapture(past, np.maximum(lost, 0.0), seed=config["seed"]), ""
    except (CivstatsError, np.linalg.LinAlgError) as error:
        return None, str(error)


def _truth(span: pd.DataFrame, gross: xr.Dataset) -> pd.DataFrame | None:
    """Return what was lost in truth, by series, where demand is known."""
    if DEMAND not in span.columns:
        return None
    lost = np.maximum(span[DEMAND].to_numpy(float) - span[Y].to_numpy(float), 0.0)
    lost = np.where(stockout_days(span), lost, 0.0)
    margin = pd.Series(gross["margin"].to_numpy(), index=gross[ID].to_numpy())
    unit = prices(span)[PRICE].to_numpy(float) * span[ID].astype(object).map(margin).to_numpy(float)
    table = pd.DataFrame({ID: span[ID].astype(str), "units": lost, "value": lost * unit})
    return table.groupby(ID, as_index=False)[["units", "value"]].sum()


def group_columns(panel: pd.DataFrame) -> list[str]:
    """Return the attributes to total by: department and store, where there are several."""
    return [c for c in ("dept_id", "store_id") if c in panel.columns and len(panel[c].unique()) > 1]


__all__ = ["STATIC", "Filtered", "Past", "expected_tomorrow", "learn_demand", "realised_loss"]
