"""Checks of the arguments that many functions share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from civstats.schema.columns import TREATMENTS
from civstats.schema.errors import CivstatsError


def check_h(h: object) -> int:
    """Return the forecast horizon as an int, or raise if it is not a whole number >= 1."""
    if isinstance(h, bool) or not isinstance(h, (int,)) or h < 1:
        raise CivstatsError(f"h must be a whole number of periods, 1 or more, but got {h!r}")
    return int(h)


def check_level(level: Sequence[float] | float) -> list[float]:
    """Return interval levels in percent, sorted, or raise.

    Raises
    ------
    CivstatsError
        For a level outside (1, 100): 0.8 is not read as 80 %.
    """
    levels = [level] if isinstance(level, (int, float)) else list(level)
    if not levels:
        raise CivstatsError(
            "level is empty: give at least one interval level in percent, such as 80"
        )
    for x in levels:
        if isinstance(x, bool) or not isinstance(x, (int, float)) or not math.isfinite(x):
            raise CivstatsError(f"level must hold numbers in percent, but got {x!r}")
        if 0 < x <= 1:
            raise CivstatsError(
                f"level is in percent: got {x:g}, did you mean {100 * x:g}? It must lie in (1, 100)"
            )
        if not 1 < x < 100:
            raise CivstatsError(f"level must lie in (1, 100) percent, but got {x:g}")
    return sorted({float(x) for x in levels})


def check_share(name: str, value: float, *, closed: bool = True) -> float:
    """Return `value` as a float if it is a share in [0, 1] (or (0, 1) when not `closed`)."""
    ok = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if ok and (0 <= value <= 1 if closed else 0 < value < 1):
        return float(value)
    bounds = "[0, 1]" if closed else "(0, 1)"
    raise CivstatsError(f"{name} must be a share in {bounds}, but got {value!r}")


def check_treatment(treatment: str, allowed: Iterable[str] = TREATMENTS, model: str = "") -> str:
    """Return the treatment, or raise: unknown names and treatments a model cannot honour."""
    if treatment not in TREATMENTS:
        raise CivstatsError(
            f"treatment must be one of {', '.join(TREATMENTS)}, but got {treatment!r}"
        )
    allowed = tuple(allowed)
    if treatment not in allowed:
        raise CivstatsError(
            f"{model or 'this model'} cannot honour treatment {treatment!r}; "
            f"it offers {', '.join(allowed)}"
        )
    return treatment
