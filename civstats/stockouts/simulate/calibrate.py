"""Hit a target rate of stockout days by searching one scalar."""

from __future__ import annotations

from collections.abc import Callable

from civstats.schema import CivstatsError

TOLERANCE = 0.01
"""What every mechanism promises: the target rate within one percentage point."""
_GOOD = 0.0005
_STEPS = 40


def find(
    share: Callable[[float], float],
    rate: float,
    low: float,
    high: float,
    mechanism: str,
    mend: str,
    *,
    sample: Callable[[float], float] | None = None,
) -> float:
    """Find x in [low, high] with share(x) = rate, `share` growing with x up to simulation noise.

    Parameters
    ----------
    share : callable
        Share of stockout days over the whole panel.
    rate, low, high : float
    mechanism, mend : str
        Named in the error.
    sample : callable, optional
        The same over a part of the panel: quick, and right up to a nearly constant error.

    Raises
    ------
    CivstatsError
        If no x tried comes within one percentage point.
    """
    best = low
    reached = float("inf")
    if sample is not None:
        target = rate
        for _ in range(3):
            best, _ = _search(sample, target, low, high)
            reached = share(best)
            if abs(reached - rate) <= TOLERANCE / 5:
                break
            target = min(max(target + rate - reached, 0.0), 1.0)
    if abs(reached - rate) > TOLERANCE / 5:
        best, reached = _search(share, rate, low, high)
    check_rate(reached, rate, mechanism, mend)
    return best


def _search(
    share: Callable[[float], float], rate: float, low: float, high: float
) -> tuple[float, float]:
    """Return the best x tried and its share: false position and bisection by turns."""
    tried = {x: share(x) for x in (low, high)}
    if tried[low] < rate < tried[high]:
        for step in range(_STEPS):
            part = 0.5 if step % 2 else (rate - tried[low]) / (tried[high] - tried[low])
            x = low + part * (high - low)
            tried[x] = share(x)
            if abs(tried[x] - rate) <= _GOOD:
                break
            low, high = (x, high) if tried[x] < rate else (low, x)
    best = min(tried, key=lambda x: abs(tried[x] - rate))
    return best, tried[best]


def check_rate(reached: float, rate: float, mechanism: str, mend: str) -> None:
    """Raise unless the rate reached is within one percentage point of the target."""
    if abs(reached - rate) > TOLERANCE:
        raise CivstatsError(
            f"{mechanism} cannot bring {100 * rate:.1f} % of the panel's days out of stock; the "
            f"nearest it comes is {100 * reached:.1f} %: use more series-days, another rate, "
            f"or {mend}"
        )
