"""Hit a target rate of stockout days by bisection on one scalar."""

from __future__ import annotations

from collections.abc import Callable

from civstats.schema import CivstatsError

TOLERANCE = 0.01
"""What every mechanism promises: the target rate within one percentage point."""
_GOOD = 0.0005
_STEPS = 40


def bisect(
    share: Callable[[float], float],
    rate: float,
    low: float,
    high: float,
    mechanism: str,
    mend: str,
) -> float:
    """Find x in [low, high] with share(x) = rate, `share` growing with x up to simulation noise.

    Raises
    ------
    CivstatsError
        If no x tried comes within one percentage point.
    """
    tried = {x: share(x) for x in (low, high)}
    if tried[low] < rate < tried[high]:
        for _ in range(_STEPS):
            x = (low + high) / 2
            tried[x] = share(x)
            if abs(tried[x] - rate) <= _GOOD:
                break
            low, high = (x, high) if tried[x] < rate else (low, x)
    best = min(tried, key=lambda x: abs(tried[x] - rate))
    check_rate(tried[best], rate, mechanism, mend)
    return best


def check_rate(reached: float, rate: float, mechanism: str, mend: str) -> None:
    """Raise unless the rate reached is within one percentage point of the target."""
    if abs(reached - rate) > TOLERANCE:
        raise CivstatsError(
            f"{mechanism} cannot bring {100 * rate:.1f} % of the panel's days out of stock; the "
            f"nearest it comes is {100 * reached:.1f} %: use more series-days, another rate, "
            f"or {mend}"
        )
