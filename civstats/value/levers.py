"""Levers: changes to availability, from a base world to an improved one on the same draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from civstats.schema import CivstatsError, check_share


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

    def averted(self, back: np.ndarray) -> World:
        """Return the world in which the days `back` (bool, same shape) are whole and in stock."""
        return World(
            out=self.out & ~back,
            stock=np.where(back, np.float32(np.inf), self.stock),
            share=np.where(back, np.float32(1), self.share),
        )


@dataclass(frozen=True)
class Scope:
    """To which series a lever applies: all, those named, or the best sellers.

    Attributes
    ----------
    series : tuple of str, optional
    top : int, optional
        That many series with the largest expected demand over the horizon, equal ones by name.
    """

    series: tuple[str, ...] | None = None
    top: int | None = None

    def __post_init__(self) -> None:
        if self.series is not None and self.top is not None:
            raise CivstatsError("a lever applies to named series or to the top sellers, not both")
        if self.series is not None:
            if isinstance(self.series, str):
                raise CivstatsError(f"series must be a list of names, but got {self.series!r}")
            object.__setattr__(self, "series", tuple(self.series))
        whole = isinstance(self.top, (int, np.integer)) and not isinstance(self.top, bool)
        if self.top is not None and (not whole or self.top < 1):
            raise CivstatsError(f"top must be a whole number, 1 or more, but got {self.top!r}")

    def chosen(self, ids: pd.Index, demand: np.ndarray) -> np.ndarray:
        """Return which series are meant, shape (n_series,), bool.

        Parameters
        ----------
        ids : pandas.Index
        demand : numpy.ndarray, shape (n_series,)
            Expected units over the horizon.

        Raises
        ------
        CivstatsError
            If a named series is not among `ids`.
        """
        if self.series is not None:
            absent = [x for x in self.series if x not in ids]
            if absent:
                raise CivstatsError(
                    f"a lever names {len(absent)} series without paths, first {absent[0]!r}: "
                    "take them off its list"
                )
            return np.asarray(ids.isin(self.series))
        chosen = np.ones(len(ids), bool)
        if self.top is not None:
            chosen[np.lexsort((ids.astype(str), -demand))[self.top :]] = False
        return chosen

    def describe(self) -> str:
        """Return the scope in words, empty for all series."""
        if self.series is not None:
            n = len(self.series)
            return f"for {n} chosen series" if n != 1 else f"for {self.series[0]} alone"
        return "" if self.top is None else f"for the {self.top} best-selling series"


@dataclass(frozen=True)
class Kind:
    """A row of the table of levers: a name, a sentence, and what share of days out comes back.

    Attributes
    ----------
    name : str
    text : str
        Plain-language description; ``{share:.0%}`` stands for the strength.
    back : callable
        ``back(p_out, strength) -> share`` of a series' days out that come back, from the chance
        ``p_out`` (n_series,) of a day to be out as other levers leave it. Must grow with strength.
    """

    name: str
    text: str
    back: Callable[[np.ndarray, float], np.ndarray] = field(repr=False)

    def describe(self, share: float) -> str:
        """Return the description for a strength.

        Examples
        --------
        >>> LEVERS["averted"].describe(0.2)
        '20% of stockout days averted: each day out comes back with that chance, independently'
        """
        return self.text.format(share=share)


def _up_to(p_out: np.ndarray, level: float) -> np.ndarray:
    """Bring a day's chance of being in stock up to `level` where it is below."""
    allowed = 1.0 - level
    return np.where(p_out > allowed, 1 - allowed / np.where(p_out > 0, p_out, 1), 0.0)


LEVERS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "averted",
            "{share:.0%} of stockout days averted: each day out comes back with that chance, "
            "independently",
            lambda p_out, share: np.full(p_out.shape, share),
        ),
        Kind(
            "gone",
            "no stockouts at all: every day out comes back",
            lambda p_out, share: np.ones(p_out.shape),
        ),
        Kind(
            "service_level",
            "in stock on {share:.0%} of days: where a series falls short of that, as many of its "
            "days out come back as it takes; other series stay as they are",
            _up_to,
        ),
    )
}


@dataclass(frozen=True)
class Lever:
    """A lever of some strength for some series; ``a + b`` is one after the other.

    Levers share one uniform per series, sample and day: a day out comes back if its uniform is
    below the strength. A second lever acts on the days that the first one leaves, whose uniforms
    are rescaled to [0, 1), so that two levers of 20 % avert 36 %, and every strength is nested in
    a larger one.

    Attributes
    ----------
    name : str
        A name in ``LEVERS``.
    strength : float
        In [0, 1]; the level itself for ``service_level``, not read by ``gone``.
    scope : Scope
    rest : tuple of Lever
        Levers that act afterwards.

    Examples
    --------
    >>> (averted(0.2) + gone(top=50)).describe()  # doctest: +ELLIPSIS
    '20% of stockout days averted: ..., independently; then, for the 50 best-selling series, no ...'
    >>> service_level(0.98).name
    'service_level'
    """

    name: str
    strength: float = 1.0
    scope: Scope = Scope()
    rest: tuple[Lever, ...] = ()

    def __post_init__(self) -> None:
        find_lever(self.name)
        object.__setattr__(self, "strength", check_share("share", self.strength))

    def __add__(self, other: Lever) -> Lever:
        if not isinstance(other, Lever):
            return NotImplemented
        return Lever(self.name, self.strength, self.scope, (*self.rest, other))

    @property
    def steps(self) -> tuple[Lever, ...]:
        """The levers one by one, in the order in which they act."""
        own = Lever(self.name, self.strength, self.scope)
        return (own, *(step for lever in self.rest for step in lever.steps))

    @property
    def label(self) -> str:
        """Short name, such as ``averted 20% + gone``."""
        shown = [x.name + ("" if x.name == "gone" else f" {x.strength:.0%}") for x in self.steps]
        return " + ".join(shown)

    def describe(self) -> str:
        """Return what the lever does, in plain language."""
        words = []
        for step in self.steps:
            scope, text = step.scope.describe(), LEVERS[step.name].describe(step.strength)
            words.append(f"{scope}, {text}" if scope else text)
        return "; then, ".join(words)

    def back(self, ids: pd.Index, p_out: np.ndarray, demand: np.ndarray) -> np.ndarray:
        """Return the share of each series' days out that come back, shape (n_series,).

        Parameters
        ----------
        ids : pandas.Index
        p_out : numpy.ndarray, shape (n_series,)
            Share of series-days out in the base world.
        demand : numpy.ndarray, shape (n_series,)
            Expected units over the horizon, for the scope "top sellers".
        """
        left = np.ones(len(ids))
        for step in self.steps:
            share = LEVERS[step.name].back(p_out * left, step.strength)
            left = left * (1 - np.where(step.scope.chosen(ids, demand), share, 0.0))
        return 1 - left


def averted(
    share: float = 0.2, *, series: Sequence[str] | None = None, top: int | None = None
) -> Lever:
    """A share of stockout days averted.

    Parameters
    ----------
    share : float
        Chance of each day out to come back, in [0, 1].
    series : sequence of str, optional
        Series it applies to; all by default.
    top : int, optional
        Apply it to that many best sellers.
    """
    return Lever("averted", share, _scope(series, top))


def gone(*, series: Sequence[str] | None = None, top: int | None = None) -> Lever:
    """No stockouts at all; `series` and `top` as for :func:`averted`."""
    return Lever("gone", 1.0, _scope(series, top))


def service_level(
    level: float, *, series: Sequence[str] | None = None, top: int | None = None
) -> Lever:
    """Every series in stock on at least a share `level` of days (over days and samples).

    Parameters
    ----------
    level : float
        In [0, 1]; a series above it is left alone.
    series, top
        As for :func:`averted`.
    """
    return Lever("service_level", level, _scope(series, top))


def _scope(series: Sequence[str] | None, top: int | None) -> Scope:
    return Scope(series if series is None or isinstance(series, str) else tuple(series), top)  # type: ignore[arg-type]


def find_lever(name: str) -> Kind:
    """Return the lever of that name, or raise CivstatsError naming those there are."""
    if name not in LEVERS:
        raise CivstatsError(f"unknown lever {name!r}; there are: {', '.join(LEVERS)}")
    return LEVERS[name]
