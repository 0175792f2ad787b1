"""Chances of a stockout in `value_of_instock.py`: a logit one day ahead, and paths over the horizon."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from value_past import Filtered, expected_tomorrow, recent

from civstats.schema import CENSORED, DS, FLAG_KNOWN, ID, STOCK, CivstatsError, stockout_days

if TYPE_CHECKING:
    import xarray as xr

    from civstats.models.availability import Shelf

ORDERLY = 0.5
"""Largest typical departure of past orders from an order-up-to rule with which a shelf is believed."""


@dataclass(frozen=True)
class Outages:
    """How likely stockouts are, and how well that was known.

    Attributes
    ----------
    curves : dict of str to pandas.DataFrame
        Reliability on days that were held out, by model.
    scores : pandas.DataFrame
        ``model, days, out, said, brier, usual``: Brier scores, and that of the share of days out alone.
    coefficients : pandas.Series, optional
        Of the logit.
    tomorrow : pandas.DataFrame
        ``unique_id, probability, lo, hi``: the first day of the horizon.
    skipped : str
        Why there is no logit.
    base : str
        Whose paths of availability are priced: "shelf" or "chain".
    why : str
        Why these.
    shelf : Shelf, optional
    """

    curves: dict[str, pd.DataFrame] = field(default_factory=dict)
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    coefficients: pd.Series | None = None
    tomorrow: pd.DataFrame | None = None
    skipped: str = ""
    base: str = "chain"
    why: str = ""
    shelf: Shelf | None = None


def find_shelf(history: pd.DataFrame, asked: str) -> tuple[Shelf | None, str]:
    """Read shelves from stock on record, or say why outages are drawn from a chain instead."""
    from civstats.models.availability import Shelf

    if asked == "chain":
        return None, "`--availability chain` asks for it."
    try:
        if STOCK not in history.columns or history[STOCK].isna().any():
            raise CivstatsError("the stock is not on record on every day")
        shelf = Shelf().fit(history)
        departure = float(np.nanmedian(shelf.residual_))
        if asked != "shelf" and not departure < ORDERLY:
            raise CivstatsError("past deliveries do not follow an order-up-to rule")
    except CivstatsError as error:
        if asked == "shelf":
            raise
        return None, f"A shelf walked along demand was not to be had: {str(error).split(';')[0]}."
    return shelf, (
        f"Stock is on record on every day, and past orders follow an order-up-to rule "
        f"(typical departure {departure:.2f} standard deviations of need)."
    )


def base_world(
    panel: pd.DataFrame,
    demand: xr.DataArray,
    cutoff: pd.Timestamp,
    shelf: Shelf | None,
    config: dict,
) -> xr.Dataset:
    """Draw availability beside paths of demand: along them where shelves can be walked."""
    from civstats.models.availability import Availability

    if shelf is not None:
        return shelf.paths(demand, future=coming(panel, demand), seed=config["seed"])
    return (
        Availability()
        .fit(panel[panel[DS] <= cutoff])
        .paths(
            demand[ID].to_numpy(),
            pd.DatetimeIndex(demand[DS].to_numpy()),
            n_paths=demand.sizes["sample"],
            seed=config["seed"],
            demand=demand,
        )
    )


def coming(panel: pd.DataFrame, demand: xr.DataArray) -> pd.DataFrame:
    """Return the rows of the days to come of the series that have paths."""
    days = demand[DS].to_numpy()
    inside = (panel[DS] >= days.min()) & (panel[DS] <= days.max())
    return panel[inside & panel[ID].isin(demand[ID].to_numpy())]


def judge(
    panel: pd.DataFrame,
    cutoffs: list[pd.Timestamp],
    known: Filtered,
    base: xr.Dataset,
    shelf: Shelf | None,
    why: str,
) -> Outages:
    """Fit the logit before the first cutoff, hold it against the days after, and the paths too."""
    from civstats.models.availability import StockoutLogit

    name = "shelf" if shelf is not None else "chain"
    words = "Shelf along demand, all days ahead" if shelf is not None else "Chain, all days ahead"
    curves: dict[str, pd.DataFrame] = {}
    scores: list[dict[str, Any]] = []
    skipped, coefficients, tomorrow = "", None, None
    if known.model is None or CENSORED not in panel.columns:
        skipped = known.skipped or "The panel has no flags of shelves that ended empty."
    else:
        late = panel[DS].max()
        rows = recent(panel[panel[ID].isin(known.model.ids_)], late)
        expected = expected_tomorrow(rows, known.model)
        early = (rows[DS] <= cutoffs[0]).to_numpy()
        # The category's own codes go with the rows: rows are cut, never re-sorted.
        model = StockoutLogit().fit(rows[early], expected[early])
        found = model.predict(rows, expected)
        held = ~early & _known(rows)
        title = "Logit, one day ahead"
        curves[title], line = _held_out(
            title, found["probability"].to_numpy()[held], stockout_days(rows)[held],
            rows[DS].to_numpy()[held], float(stockout_days(rows)[early].mean()),
        )  # fmt: skip
        scores.append(line)
        now = (rows[DS] <= cutoffs[-1]).to_numpy()
        last = StockoutLogit().fit(rows[now], expected[now])
        first = (rows[DS] == cutoffs[-1] + pd.Timedelta(days=1)).to_numpy()
        tomorrow = last.predict(rows, expected)[first].drop(columns=DS)
        coefficients = last.coefficients_
    share = base["out"].mean("sample")
    window = coming(panel, base["out"])
    row = pd.Index(share[ID].to_numpy()).get_indexer(window[ID].astype(object))
    column = pd.Index(share[DS].to_numpy()).get_indexer(window[DS])
    use = _known(window) & (row >= 0) & (column >= 0)
    before = panel[panel[DS] <= cutoffs[-1]]
    if use.any():
        curves[words], line = _held_out(
            words, share.to_numpy()[row[use], column[use]], stockout_days(window)[use],
            window[ID].astype(str).to_numpy()[use], float(stockout_days(before).mean()),
        )  # fmt: skip
        scores.append(line)
    return Outages(curves, pd.DataFrame(scores), coefficients, tomorrow, skipped, name, why, shelf)


def _known(rows: pd.DataFrame) -> np.ndarray:
    if FLAG_KNOWN not in rows.columns:
        return np.ones(len(rows), bool)
    return rows[FLAG_KNOWN].to_numpy(dtype=bool)


def _held_out(
    name: str, chance: np.ndarray, out: np.ndarray, cluster: np.ndarray, usual: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    from civstats.value import reliability

    curve = reliability(chance, out.astype(float), cluster=cluster)
    return curve, {
        "model": name,
        "days": len(out),
        "out": float(out.mean()),
        "said": float(chance.mean()),
        "brier": float(((chance - out) ** 2).mean()),
        "usual": float(((usual - out) ** 2).mean()),
    }
