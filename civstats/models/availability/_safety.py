"""The safety factor of an order-up-to policy, by maximum likelihood from what was ordered and what not."""

from __future__ import annotations

import numpy as np

_LEVELS = np.arange(-6.0, 12.01, 0.25)
# Chance of an order that the rule does not explain: a single odd one must not decide.
_ODD = 0.01
_MOST = 100_000


def fit_safety(
    need: np.ndarray,
    spread: np.ndarray,
    before: np.ndarray,
    order: np.ndarray,
    *,
    min_level: float,
    pack_size: float,
) -> float:
    """Return the safety factor z under which past review days are likeliest.

    On a review day the shop wants ``T = max(floor(need + z spread + u), min_level)`` units, u
    uniform on [0, 1), and orders what lacks in whole packs. An order says between which levels T
    lies, none that T is at most what is there. Days without an order count as much as those with
    one: on the latter alone the rounding that made an order necessary, and the least level of slow
    movers, pass for safety.

    Parameters
    ----------
    need, spread : numpy.ndarray, shape (n,)
        Mean and standard deviation of what the shop expects to sell until the next arrival.
    before, order : numpy.ndarray, shape (n,)
        Position before the order; units ordered, 0 for none.
    min_level, pack_size : float

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> need = rng.gamma(1.0, 2.0, 4000)
    >>> target = np.maximum(np.floor(need + 0.5 * np.sqrt(need) + rng.random(4000)), 1)
    >>> before = rng.poisson(need).astype(float)
    >>> order = np.maximum(target - before, 0)
    >>> found = fit_safety(need, np.sqrt(need), before, order, min_level=1, pack_size=1)
    >>> bool(abs(found - 0.5) < 0.02)
    True
    """
    step = -(-len(need) // _MOST)
    need, spread, before, order = (x[::step] for x in (need, spread, before, order))
    above = np.where(order > 0, before + order - pack_size, -np.inf)
    upto = before + order
    # Below the least level no target lies.
    above = np.where(above < min_level, -np.inf, above)

    def loglik(z: float) -> float:
        x = need + z * spread
        upper = np.where(upto < min_level, 0.0, np.clip(upto + 1 - x, 0, 1))
        chance = upper - np.clip(above + 1 - x, 0, 1)
        return float(np.log(_ODD + (1 - _ODD) * np.maximum(chance, 0)).sum())

    grid = _LEVELS
    for _ in range(4):
        best = float(grid[int(np.argmax([loglik(z) for z in grid]))])
        width = (grid[1] - grid[0]) * 1.5
        grid = np.linspace(best - width, best + width, 13)
    return best
