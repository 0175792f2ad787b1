"""Levers: changes to availability, from a base world to an improved one on the same draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from civstats.schema import CivstatsError


@dataclass(frozen=True)
class World:
    """Availability of one world per sample; shapes (n_series, n_samples, n_days).

    Attributes
    ----------
    out : numpy.ndarray of bool
        Days on which sales may fall short of demand.
    stock : numpy.ndarray
        Units there on a day out, +inf otherwise.
    share : numpy.ndarray
        Share of the day in stock.
    """

    out: np.ndarray
    stock: np.ndarray
    share: np.ndarray

    def sales(self, demand: np.ndarray) -> np.ndarray:
        """Return what is sold of `demand`: what the stock allows, thinned by the hours lost."""
        return np.minimum(demand, self.stock) * self.share


@dataclass(frozen=True)
class Lever:
    """A named change to availability.

    Attributes
    ----------
    name : str
    text : str
        Plain-language description; ``{share:.0%}`` stands for the strength.
    improve : callable
        ``improve(world, uniform, share) -> World``. The uniforms are shared by every strength, so
        a stronger lever keeps all that a weaker one mends.
    """

    name: str
    text: str
    improve: Callable[[World, np.ndarray, float], World]

    def describe(self, share: float) -> str:
        """Return the description for a strength.

        Examples
        --------
        >>> LEVERS["averted"].describe(0.2)
        '20% of stockout days averted: each day out comes back with that chance, independently'
        """
        return self.text.format(share=share)


def _averted(world: World, uniform: np.ndarray, share: float) -> World:
    back = world.out & (uniform < share)
    return World(
        out=world.out & ~back,
        stock=np.where(back, np.float32(np.inf), world.stock),
        share=np.where(back, np.float32(1), world.share),
    )


LEVERS: dict[str, Lever] = {
    lever.name: lever
    for lever in (
        Lever(
            "averted",
            "{share:.0%} of stockout days averted: each day out comes back with that chance, "
            "independently",
            _averted,
        ),
    )
}


def find_lever(name: str) -> Lever:
    """Return the lever of that name, or raise CivstatsError naming those there are."""
    if name not in LEVERS:
        raise CivstatsError(f"unknown lever {name!r}; there are: {', '.join(LEVERS)}")
    return LEVERS[name]
