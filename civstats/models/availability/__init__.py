"""Availability: when an item will be out of stock, how much is there then, and how sure that is."""

from civstats.models.availability.hazard import StockoutLogit
from civstats.models.availability.model import Availability
from civstats.models.availability.shelf import Replenishment, Shelf
from civstats.models.availability.shrinkage import BetaBinomial

__all__ = ["Availability", "BetaBinomial", "Replenishment", "Shelf", "StockoutLogit"]
