"""Priors of the Bayesian demand model: named, inspectable, replaceable one by one."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from civstats.schema import CivstatsError

_FAMILIES = {
    "normal": ("mean", "sd"),
    "half_normal": ("sd",),
    "log_normal": ("mean", "sd"),
    "beta": ("a", "b"),
}


@dataclass(frozen=True)
class Prior:
    """A univariate prior.

    Parameters
    ----------
    family : {"normal", "half_normal", "log_normal", "beta"}
    first, second : float
        ``normal``: mean and sd; ``half_normal``: sd; ``log_normal``: mean and sd of the logarithm;
        ``beta``: a and b.

    Raises
    ------
    CivstatsError
        For an unknown family, or a scale that is not positive.

    Examples
    --------
    >>> Prior("half_normal", 0.5)
    Prior(family='half_normal', first=0.5, second=None)
    """

    family: str
    first: float
    second: float | None = None

    def __post_init__(self) -> None:
        if self.family not in _FAMILIES:
            raise CivstatsError(
                f"a prior's family must be one of {', '.join(_FAMILIES)}, but got {self.family!r}"
            )
        names = _FAMILIES[self.family]
        given = [v for v in (self.first, self.second) if v is not None]
        if len(given) != len(names):
            raise CivstatsError(
                f"a {self.family} prior takes {len(names)} number(s), {' and '.join(names)}, but "
                f"got {len(given)}"
            )
        for name, value in zip(names, given, strict=True):
            if not np.isfinite(value) or (name != "mean" and value <= 0):
                raise CivstatsError(
                    f"{name} of a {self.family} prior must be {'finite' if name == 'mean' else 'positive'}, "
                    f"but got {value!r}"
                )

    @property
    def second_(self) -> float:
        """The second number, where the family has one."""
        assert self.second is not None
        return self.second

    def widened(self, factor: float) -> Prior:
        """Return the same prior with `factor` times the spread (beta: a and b divided by it)."""
        if self.family == "half_normal":
            return replace(self, first=self.first * factor)
        if self.family == "beta":
            return replace(self, first=self.first / factor, second=self.second_ / factor)
        return replace(self, second=self.second_ * factor)

    def variable(self, name: str, **kwargs: Any) -> Any:
        """Return the prior as a random variable of the PyMC model in whose context it is called."""
        import pymc as pm

        if self.family == "normal":
            return pm.Normal(name, self.first, self.second_, **kwargs)
        if self.family == "half_normal":
            return pm.HalfNormal(name, self.first, **kwargs)
        if self.family == "log_normal":
            return pm.LogNormal(name, self.first, self.second_, **kwargs)
        return pm.Beta(name, self.first, self.second_, **kwargs)

    def draw(self, rng: np.random.Generator, size: tuple[int, ...] | int) -> np.ndarray:
        """Draw from the prior."""
        if self.family == "normal":
            return rng.normal(self.first, self.second_, size)
        if self.family == "half_normal":
            return np.abs(rng.normal(0.0, self.first, size))
        if self.family == "log_normal":
            return np.exp(rng.normal(self.first, self.second_, size))
        return rng.beta(self.first, self.second_, size)

    def log_density(self, x: np.ndarray) -> np.ndarray:
        """Return the log density at `x`."""
        from scipy import stats

        found = {
            "normal": lambda: stats.norm(self.first, self.second_),
            "half_normal": lambda: stats.halfnorm(scale=self.first),
            "log_normal": lambda: stats.lognorm(self.second_, scale=np.exp(self.first)),
            "beta": lambda: stats.beta(self.first, self.second_),
        }[self.family]()
        out: np.ndarray = found.logpdf(x)
        return out


_POSITIVE = ("half_normal", "log_normal")
_FITTING = {"intercept": ("normal",), "zero_prob": ("beta",)}
"""Families whose support is that of the parameter; of all others it is the positive numbers."""


@dataclass(frozen=True)
class Priors:
    """Every prior of :class:`BayesDemand`; levels and effects are logs of units per day.

    Those of the normal family are in mean days of the series instead, with defaults of their own:
    see :meth:`of`.

    Attributes
    ----------
    intercept : Prior
        Log of what an ordinary series sells on an ordinary day. The default puts that between 0.02
        and 55 units in 19 of 20 cases.
    department_sd, item_sd, store_sd : Prior
        Spread of departments, of a department's items, and of stores.
    series_sd : Prior
        Spread of a store's own departure for an item; of all series where no item is sold in
        several stores.
    drift_sd : Prior
        Standard deviation of a level's step from week to week, by department. The default's middle
        half lies between 3 and 8 percent.
    coefficient_sd : Prior
        Spread over departments of the coefficients of one kind (day of week, season, events, others).
    coefficient_scale : float
        Factor on the standard deviations of the pooled coefficients' normal priors, which come with
        the design (day of week and season 0.5, events 1, price 2).
    dispersion : Prior
        a in variance = mean + mean^2 / a, by department.
    zero_prob : Prior
        Zero inflation, by department.
    noise : Prior
        Standard deviation of a normal day, in mean days of its series, by department.

    Examples
    --------
    >>> Priors().replaced(dispersion=Prior("log_normal", 0.0, 0.5)).dispersion.second
    0.5
    """

    intercept: Prior = Prior("normal", 0.0, 2.0)
    department_sd: Prior = Prior("half_normal", 0.5)
    item_sd: Prior = Prior("half_normal", 1.5)
    store_sd: Prior = Prior("half_normal", 0.5)
    series_sd: Prior = Prior("half_normal", 1.0)
    drift_sd: Prior = Prior("log_normal", -3.0, 0.75)
    coefficient_sd: Prior = Prior("half_normal", 0.2)
    coefficient_scale: float = 1.0
    dispersion: Prior = Prior("log_normal", 0.7, 1.0)
    zero_prob: Prior = Prior("beta", 1.0, 9.0)
    noise: Prior = Prior("log_normal", -0.7, 1.0)

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "coefficient_scale":
                if not (isinstance(value, int | float) and np.isfinite(value) and value > 0):
                    raise CivstatsError(f"coefficient_scale must be positive, but got {value!r}")
            elif not isinstance(value, Prior):
                raise CivstatsError(f"{field.name} must be a Prior, but got {value!r}")
            elif value.family not in (fit := _FITTING.get(field.name, _POSITIVE)):
                raise CivstatsError(
                    f"{field.name} takes a prior of the family {' or '.join(fit)}, whose values it "
                    f"can have, but got {value.family!r}"
                )

    @classmethod
    def of(cls, family: str) -> Priors:
        """Return the default priors of a family of :class:`BayesDemand`.

        Levels of the normal family are in mean days of their series, 1 by construction: the
        departures that their priors allow are of that order.
        """
        if family != "normal":
            return cls()
        tight = Prior("half_normal", 0.2)
        return cls(
            intercept=Prior("normal", 1.0, 0.5), department_sd=tight, item_sd=tight, store_sd=tight,
            series_sd=Prior("half_normal", 0.3),
        )  # fmt: skip

    @property
    def names(self) -> list[str]:
        """Names that :meth:`replaced` takes."""
        return [f.name for f in fields(self)]

    def replaced(self, **given: Any) -> Priors:
        """Return these priors with some of them replaced.

        Raises
        ------
        CivstatsError
            For a name that no prior has.
        """
        unknown = [n for n in given if n not in self.names]
        if unknown:
            raise CivstatsError(
                f"no prior is named {', '.join(unknown)}; the priors are {', '.join(self.names)}"
            )
        return replace(self, **given)

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings, for JSON."""
        return {
            n: [v.family, v.first, v.second] if isinstance(v, Prior) else float(v)
            for n in self.names
            for v in [getattr(self, n)]
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Priors:
        """Return priors from what :meth:`as_dict` gave, or a mapping of names to `Prior`."""
        return cls().replaced(
            **{n: Prior(*v) if isinstance(v, list) else v for n, v in stored.items()}
        )
