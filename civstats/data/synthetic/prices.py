"""Weekly prices of the synthetic world: regular prices that step, and promotions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from civstats.data.synthetic.layout import Layout
from civstats.data.synthetic.parameters import WorldParameters


def normals(rng: np.random.Generator, rows: int, n: int, extra: int) -> np.ndarray:
    """Draw a (rows, n + extra) matrix whose columns do not depend on how many follow them."""
    own = rng.spawn(1)[0]  # nor does what is drawn next
    first = own.standard_normal((rows, n), dtype=np.float32)
    if not extra:
        return first
    return np.hstack([first, own.standard_normal((extra, rows), dtype=np.float32).T])


def uniforms(rng: np.random.Generator, rows: int, n: int, extra: int) -> np.ndarray:
    """Draw as :func:`normals` does, uniformly from [0, 1)."""
    own = rng.spawn(1)[0]
    return np.hstack([own.random((rows, n)), own.random((extra, rows)).T])


@dataclass(frozen=True)
class Prices:
    """Prices of each series in each week.

    Attributes
    ----------
    price : numpy.ndarray, shape (n_series, n_weeks)
        Price asked, in cents' precision.
    cut : numpy.ndarray, shape (n_series, n_weeks)
        Share cut from the regular price; above 0 in a promotion, 0 otherwise.
    """

    price: np.ndarray
    cut: np.ndarray


def make_prices(
    rng: np.random.Generator, world: WorldParameters, layout: Layout, weeks: int, extra: int
) -> Prices:
    """Draw prices of `weeks` weeks of history and `extra` later ones.

    Regular prices are an item's, a little different by store; promotions run in a state.
    """
    n_items, n_states = len(layout.names["item_id"]), len(layout.names["state_id"])
    item, state = layout.codes["item_id"], layout.codes["state_id"]
    regular = _regular(rng, world, n_items, weeks, extra)
    store = np.exp(0.03 * rng.standard_normal(len(layout.names["store_id"])))
    cut = _promotions(rng, world, n_items * n_states, weeks, extra)[item * n_states + state]
    asked = regular[item] * store[layout.codes["store_id"], None] * (1 - cut)
    return Prices(np.maximum(np.round(asked, 2), 0.01), cut)


def _regular(
    rng: np.random.Generator, world: WorldParameters, n_items: int, weeks: int, extra: int
) -> np.ndarray:
    first = np.log(world.price_median) + world.price_sd * rng.standard_normal((n_items, 1))
    steps = normals(rng, n_items, weeks, extra)
    changes = uniforms(rng, n_items, weeks, extra) < world.price_change_rate
    # Prices creep upwards: a change is +3 % on average, and often enough a cut.
    return np.exp(first + np.cumsum(np.where(changes, 0.03 + 0.06 * steps, 0.0), axis=1))


def _promotions(
    rng: np.random.Generator, world: WorldParameters, rows: int, weeks: int, extra: int
) -> np.ndarray:
    starts = uniforms(rng, rows, weeks, extra) < world.promo_rate
    length = 1 + np.floor(world.promo_weeks * uniforms(rng, rows, weeks, extra))
    low, high = world.promo_depth
    depth = np.where(starts, low + (high - low) * uniforms(rng, rows, weeks, extra), 0.0)
    cut = depth.copy()
    for k in range(1, min(world.promo_weeks, weeks + extra)):
        still = np.zeros_like(cut)
        still[:, k:] = np.where(length > k, depth, 0.0)[:, :-k]
        cut = np.where(cut > 0, cut, still)
    return np.round(cut, 2)
