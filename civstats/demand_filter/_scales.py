"""Unbounded scales on which parameters are estimated, and the ends between which they are sought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Scale:
    """An unbounded scale for a parameter.

    Attributes
    ----------
    to, back : callable
        From the parameter to the scale, and back.
    low, high : float
        Ends between which it is looked for, in the parameter's own units.
    start : float
    step : float
        Of finite differences on the scale.
    """

    to: Callable[[float], float]
    back: Callable[[float], float]
    low: float
    high: float
    start: float
    step: float = 0.08


def _logit(p: float) -> float:
    return float(special.logit(p))


def _expit(x: float) -> float:
    return float(special.expit(x))


def _log(x: float) -> float:
    return float(np.log(x))


def _exp(x: float) -> float:
    return float(np.exp(x))


SCALES = {
    "dispersion": Scale(_log, _exp, 0.02, 1e4, 2.0),
    "level_sd": Scale(_log, _exp, 1e-3, 0.7, 0.03, 0.3),
    "damping": Scale(lambda p: -_log(1 - p), lambda x: 1 - _exp(-x), 0.5, 0.9999, 0.99),
    "zero_inflation": Scale(_logit, _expit, 1e-4, 0.9, 0.05),
    "out_rate": Scale(_logit, _expit, 1e-5, 0.3, 0.01),
    "back_rate": Scale(_logit, _expit, 1e-3, 0.95, 0.15),
}
"""Parameters that can be estimated.

The step of `level_sd` is wide because the likelihood on a grid is not smooth in it: where a day
takes one move of the level more, it jumps by as much as a step of 0.08 has curvature.
"""


def bounds_of(names: tuple[str, ...]) -> list[tuple[float, float]]:
    """Return the ends of the parameters' ranges, on the unbounded scales."""
    return [(SCALES[n].to(SCALES[n].low), SCALES[n].to(SCALES[n].high)) for n in names]
