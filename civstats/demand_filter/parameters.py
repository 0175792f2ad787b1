"""The parameters of the filter: demand family, level dynamics, prior and hidden availability."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from civstats.schema import CivstatsError

FAMILIES = ("poisson", "negbin", "zero_inflated_negbin", "normal", "lognormal")
COUNTS = FAMILIES[:3]


@dataclass(frozen=True)
class FilterParameters:
    """Parameters of every series; numbers hold for all series, arrays have shape (n_series,).

    Parameters
    ----------
    family : {"poisson", "negbin", "zero_inflated_negbin", "normal", "lognormal"}
        Demand given the level l and the offset x: counts with mean ``exp(l + x)``; ``normal``
        with location ``l + x`` (units), ``lognormal`` with location ``l + x`` of log demand.
    dispersion : float or array_like
        Size a of the negative binomial, variance ``mu + mu^2 / a`` (``inf`` is the Poisson); the
        standard deviation of the two continuous families. The Poisson does not read it.
    level_sd : float or array_like
        Standard deviation of one day's step of the level, >= 0.
    damping : float or array_like
        Coefficient in (0, 1] of an AR(1) level around `level_mean`; 1 is the random walk.
    zero_inflation : float or array_like
        Probability in [0, 1) of a day without demand (``zero_inflated_negbin`` alone).
    out_rate, back_rate : float or array_like, optional
        Hidden availability: probability per day of going out of stock, and of coming back. Both
        None (the default): no hidden state.
    prior_mean, prior_sd : float or array_like
        Normal prior of the level on the first day, before its observation.
    level_mean : float or array_like, optional
        Where a damped level returns to; `prior_mean` if None.
    level_drift : float or array_like, optional
        Mean of one day's step of a random walk. None: ``-level_sd**2 / 2`` where the level is in
        log units, so that expected demand, whose log is the level, is a martingale: what is
        expected of any later day is what is expected today. With 0 it would grow by half the
        variance a day, without end. 0 for the ``normal`` family, and for damped levels, whose
        expected demand settles by itself.

    Raises
    ------
    CivstatsError
        For an unknown family, a value outside its range, a damped level with a drift, or arrays
        of different lengths.

    Notes
    -----
    The mean of the steady model for counts does not move either (Harvey and Fernandes 1989). A
    symmetric walk of the log is not neutral: with a daily standard deviation of 0.2 expected demand
    grows by 75 % in four weeks.

    Examples
    --------
    >>> from civstats.demand_filter import FilterParameters
    >>> FilterParameters("negbin", dispersion=2.0, level_sd=0.03, prior_mean=[0.1, 1.2]).n_series
    2
    """

    family: str = "negbin"
    dispersion: Any = np.inf
    level_sd: Any = 0.03
    damping: Any = 1.0
    zero_inflation: Any = 0.0
    out_rate: Any = None
    back_rate: Any = None
    prior_mean: Any = 0.0
    prior_sd: Any = 1.5
    level_mean: Any = None
    level_drift: Any = None

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise CivstatsError(
                f"family must be one of {', '.join(FAMILIES)}, but got {self.family!r}"
            )
        if (self.out_rate is None) != (self.back_rate is None):
            raise CivstatsError("give both out_rate and back_rate, or neither")
        if self.out_rate is not None and self.family == "normal":
            raise CivstatsError(
                "hidden availability needs demand whose zeros have a probability, but a normal "
                "demand has a density there; use a count family or lognormal"
            )
        lengths = set()
        for name in _NUMBERS:
            if getattr(self, name) is None:
                continue
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.ndim > 1:
                raise CivstatsError(
                    f"{name} must be a number or hold one per series, but has shape {value.shape}"
                )
            self._check(name, value)
            value.setflags(write=False)
            object.__setattr__(self, name, value)
            if value.ndim:
                lengths.add(len(value))
        if len(lengths) > 1:
            raise CivstatsError(f"parameters disagree on the number of series: {sorted(lengths)}")
        if self.level_drift is not None:
            still = (self.damping < 1) | (self.level_sd == 0)
            if np.any(still & (self.level_drift != 0)):
                raise CivstatsError(
                    "level_drift belongs to a random walk: where damping is below 1 or level_sd is 0 "
                    "it must be 0, or be left out"
                )

    def _check(self, name: str, value: np.ndarray) -> None:
        text, good = "finite", np.isfinite(value)
        if name == "dispersion":
            text, good = "above 0", value > 0
            if self.family in ("normal", "lognormal"):
                text, good = "above 0 and finite", good & np.isfinite(value)
        elif name in ("level_sd", "prior_sd"):
            text, good = "finite and >= 0", good & (value >= 0)
        elif name == "damping":
            text, good = "in (0, 1]", (value > 0) & (value <= 1)
        elif name == "zero_inflation":
            text, good = "in [0, 1)", (value >= 0) & (value < 1)
            if self.family != FAMILIES[2] and (value > 0).any():
                raise CivstatsError(
                    f"zero_inflation belongs to zero_inflated_negbin, but the family is {self.family}"
                )
        elif name in ("out_rate", "back_rate"):
            text, good = "in [0, 1]", (value >= 0) & (value <= 1)
        if not good.all():
            at = int(np.flatnonzero(~good.reshape(-1))[0])
            raise CivstatsError(
                f"{name} must be {text}, but {int((~good).sum())} value(s) are not, first "
                f"{value.reshape(-1)[at]:g} at series {at}"
            )

    @property
    def hidden(self) -> bool:
        """Whether availability is a hidden state."""
        return self.out_rate is not None

    @property
    def log_link(self) -> bool:
        """Whether the level is in log units (every family but ``normal``)."""
        return self.family != "normal"

    @property
    def n_series(self) -> int | None:
        """Number of series the arrays are made for; None if all parameters are numbers."""
        lengths = [np.size(v) for v in self._values().values() if np.ndim(v)]
        return lengths[0] if lengths else None

    @property
    def drift(self) -> np.ndarray:
        """Return `level_drift`, or what stands in its place where it is None."""
        if self.level_drift is not None:
            return np.asarray(self.level_drift)
        walks = (self.damping == 1) & self.log_link
        return np.where(walks, -0.5 * np.square(self.level_sd), 0.0)

    def _values(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "family"}

    def take(self, series: np.ndarray | list[int]) -> FilterParameters:
        """Return the parameters of some series, by position."""
        picked = {n: v[series] if np.ndim(v) else v for n, v in self._values().items()}
        return FilterParameters(self.family, **picked)

    def matrix(self, n_series: int) -> np.ndarray:
        """Return the parameters as the kernels read them, shape (n_series, len(COLUMNS)).

        Raises
        ------
        CivstatsError
            If the parameters are made for another number of series.
        """
        if self.n_series not in (None, n_series):
            raise CivstatsError(
                f"parameters are made for {self.n_series} series, but there are {n_series}; "
                "use FilterParameters.take"
            )
        out = np.zeros((n_series, len(COLUMNS)))
        spread = 0.0 if self.family == "poisson" else self.dispersion
        if self.family in ("negbin", "zero_inflated_negbin"):
            spread = 1.0 / self.dispersion
        values = {
            "spread": spread,
            "level_var": np.square(self.level_sd),
            "damping": self.damping,
            "level_mean": self.prior_mean if self.level_mean is None else self.level_mean,
            "level_drift": self.drift,
            "zero_inflation": self.zero_inflation,
            "out_rate": 0.0 if self.out_rate is None else self.out_rate,
            "back_rate": 0.0 if self.back_rate is None else self.back_rate,
            "prior_mean": self.prior_mean,
            "prior_sd": self.prior_sd,
        }
        for k, name in enumerate(COLUMNS):
            out[:, k] = values[name]
        return out


_NUMBERS = tuple(f.name for f in fields(FilterParameters) if f.name != "family")
COLUMNS = (
    "spread",  # 1 / size of a count, standard deviation of a continuous family
    "level_var",
    "damping",
    "level_mean",
    "zero_inflation",
    "out_rate",
    "back_rate",
    "prior_mean",
    "prior_sd",
    "level_drift",
)
