"""The levers of `value_of_instock.py`: each with its words, and what it gains, gross and net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from value_outages import coming

from civstats.schema import DS, ID, PRICE, CivstatsError

if TYPE_CHECKING:
    import xarray as xr

    from civstats.models.availability import Replenishment, Shelf
    from civstats.value import Lever

REPLENISHMENT = "replenishment"
"""Name of the lever on how goods come, beside those of ``civstats.value.LEVERS``."""


@dataclass(frozen=True)
class Choice:
    """A lever that could be pulled.

    Attributes
    ----------
    title : str
        A few words.
    words : str
        What it does, in plain language.
    lever : Lever or Replenishment
    """

    title: str
    words: str
    lever: Lever | Replenishment

    @property
    def on_goods(self) -> bool:
        """Whether it changes how goods come, and so needs a shelf."""
        return hasattr(self.lever, "lead_time")


def main_choice(config: dict) -> Choice:
    """Return the lever that the ranking is about."""
    from civstats.value import averted, gone, service_level

    name, share = config["lever"], config["share"]
    if name == REPLENISHMENT:
        return faster(config["lead_time"])
    made = {"averted": averted(share), "gone": gone(), "service_level": service_level(share)}
    return Choice(_TITLES[name].format(100 * share), _WORDS[name].format(100 * share), made[name])


_TITLES = {
    "averted": "{:g} % of stockout days averted",
    "gone": "no stockouts at all",
    "service_level": "in stock on {:g} % of days",
}
_WORDS = {
    "averted": "each day that would end out of stock is saved with a chance of {:g} %, whatever the item",
    "gone": "every day that would end out of stock is saved",
    "service_level": "an item that is in stock less often than on {:g} % of days gets as many days back as that "
    "takes; the others stay as they are",
}


def faster(lead_time: int, review_period: int | None = None, *, keep: bool = False) -> Choice:
    """Return a lever on lead time and review period; `keep` buys as much ahead as before."""
    from civstats.models.availability import Replenishment

    lever = Replenishment(lead_time=lead_time, review_period=review_period, keep_level=keep)
    title = "orders arrive " + ("the next day" if lead_time == 1 else f"within {lead_time} days")
    if review_period is not None:
        title += " and are placed " + (
            "daily" if review_period == 1 else f"every {review_period} days"
        )
    words = (
        "faster replenishment: goods come sooner, and the shop's ordering rule stays, so that it buys less ahead; items "
        "that are that fast already stay as they are"
        if review_period is None and not keep
        else "the same, and every item may be ordered as often as that"
        if not keep
        else "the same, but the shop goes on buying as much ahead as it does now, so shelves are fuller"
    )
    title += ", as much bought ahead as now" if keep else ""
    return Choice(title, words, lever)


def others(main: Choice, k: int, shelf: Shelf | None, config: dict) -> list[Choice]:
    """Return the levers to set beside the main one, from weak to strong."""
    from civstats.value import averted, gone, service_level

    choices = [
        Choice(_TITLES["averted"].format(20), _WORDS["averted"].format(20), averted(0.2)),
        Choice(
            f"no stockouts among the {k} best sellers",
            f"every day out is saved for the {k} items with the largest expected demand; the others stay as they are",
            gone(top=k),
        ),
        Choice(
            f"20 % averted, then none among the {k} best sellers",
            "the two above together, one after the other",
            averted(0.2) + gone(top=k),
        ),
        Choice(
            _TITLES["service_level"].format(95),
            _WORDS["service_level"].format(95),
            service_level(0.95),
        ),
        Choice(_TITLES["gone"], _WORDS["gone"], gone()),
    ]
    if shelf is not None:
        days = config["lead_time"]
        choices += [faster(days), faster(days, 1), faster(days, keep=True)]
    return [c for c in choices if c.lever != main.lever]


def gain(
    choice: Choice,
    panel: pd.DataFrame,
    demand: xr.DataArray,
    base: xr.Dataset,
    shelf: Shelf | None,
    margin: Any,
    config: dict,
) -> xr.Dataset:
    """Draw what a lever gains over the horizon, before recapture and cost."""
    from civstats.value import gain_between, gain_paths

    window = coming(panel, demand)
    common = {
        "price": window[[ID, DS, PRICE]],
        "margin": margin,
        "static": window.drop_duplicates(ID),
        "seed": config["seed"],
    }
    if not choice.on_goods:
        return gain_paths(demand, base, lever=choice.lever, **common)
    if shelf is None:
        raise CivstatsError(
            "--lever replenishment needs shelves: the stock of every day on record, and orders that "
            "follow an order-up-to rule"
        )
    improved = shelf.paths(demand, future=window, lever=choice.lever, seed=config["seed"])
    return gain_between(demand, base, improved, name=choice.title, **common)


def cumulative(net: xr.Dataset, order: np.ndarray) -> pd.DataFrame:
    """Return what the first n series of an order are worth together: ``n, mean, p10, p90``.

    Parameters
    ----------
    net : xarray.Dataset
        With ``value``, dims ``unique_id, sample``.
    order : numpy.ndarray of str
        Series in order of the ranking.
    """
    at = pd.Index(net[ID].to_numpy()).astype(str).get_indexer(order)
    sums = np.cumsum(net["value"].to_numpy()[at], axis=0)
    low, high = np.quantile(sums, [0.1, 0.9], axis=1)
    n = np.arange(1, len(order) + 1)
    return pd.DataFrame({"n": n, "mean": sums.mean(axis=1), "p10": low, "p90": high})
