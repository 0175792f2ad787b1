"""Simulation-based calibration: truth from the prior, data from the truth, ranks among the draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from civstats.demand_filter.calibration import rank_among
from civstats.schema import CivstatsError

N_DRAWS = 99
"""Ranks are 0 .. 99: fine enough for the ECDF, and 100 independent draws are quickly had."""


def thin(draws: Mapping[str, np.ndarray], n_draws: int) -> tuple[dict[str, np.ndarray], float]:
    """Keep draws far enough apart to be independent, all quantities from the same draws.

    Parameters
    ----------
    draws : mapping of name to numpy.ndarray, shape (chain, draw) or (chain, draw, k)
    n_draws : int
        To be kept.

    Returns
    -------
    kept : dict of name to numpy.ndarray, shape (n_draws,) or (n_draws, k)
    efficiency : float
        Smallest ESS, bulk or tail, of any quantity over `n_draws`. Below 1
        the kept draws hang together and ranks crowd at both ends, though the posterior is right.

    Raises
    ------
    CivstatsError
        If there are fewer draws than are to be kept.

    Examples
    --------
    >>> import numpy as np
    >>> kept, efficiency = thin({"mu": np.random.default_rng(0).normal(size=(2, 300))}, 99)
    >>> kept["mu"].shape, efficiency > 1
    ((99,), True)
    """
    import arviz as az

    sizes = {x.shape[0] * x.shape[1] for x in draws.values()}
    if not sizes or min(sizes) < n_draws:
        raise CivstatsError(f"{min(sizes, default=0)} draws cannot be thinned to {n_draws}")
    out = {}
    moving: dict[tuple[int, ...], list[np.ndarray]] = {}
    for name, x in draws.items():
        wide = x.reshape(*x.shape[:2], -1)
        moving.setdefault(x.shape[:2], []).append(wide[:, :, np.ptp(wide, axis=(0, 1)) > 0])
        # Evenly over all chains laid end to end, each chain's own order kept.
        flat = x.reshape(-1, *x.shape[2:])
        at = np.floor((np.arange(n_draws) + 0.5) * len(flat) / n_draws).astype(int)
        out[name] = flat[at]
    least = np.inf
    for parts in moving.values():
        together = np.concatenate(parts, axis=2)
        if together.shape[2]:
            held = az.convert_to_dataset({"x": together})
            for method in ("bulk", "tail"):
                least = min(least, float(az.ess(held, method=method)["x"].min()))
    return out, least / n_draws


def sbc_ranks(
    truths: Iterable[Any],
    fit: Callable[[Any], Mapping[str, np.ndarray]],
    truth_of: Callable[[Any], Mapping[str, np.ndarray | float]],
    *,
    n_draws: int = N_DRAWS,
    seed: int = 0,
    model: str = "",
) -> pd.DataFrame:
    """Rank the truth among draws given data it made, replicate by replicate.

    Parameters
    ----------
    truths : iterable
        Replicates: whatever `fit` and `truth_of` read; drawn from the prior, with data from it.
    fit : callable
        Replicate to draws by quantity, shape (chain, draw), or (chain, draw, k) for k alike
        scalars, of which one is picked at random a replicate so that ranks stay independent.
        Quantities may be computed from parameters: totals, lost units, money.
    truth_of : callable
        Replicate to the truth of the same quantities; NaN where there is nothing to rank.
    n_draws : int
        Draws kept after thinning; ranks are 0 .. n_draws.
    seed : int
        Of picks and of broken ties.
    model : str
        Name in the table.

    Returns
    -------
    pandas.DataFrame
        ``model, quantity, replicate, rank, efficiency``.

    Raises
    ------
    CivstatsError
        If a quantity of the truth was not drawn, or shapes differ.

    Notes
    -----
    Talts, Betancourt, Simpson, Vehtari and Gelman (2018); derived quantities find errors that parameters do
    not (Modrak et al., 2023). Ties, which counts have, are broken at random.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> truths = [(m, m + rng.normal()) for m in rng.normal(size=20)]
    >>> fit = lambda t: {"mu": rng.normal(t[1] / 2, 0.5**0.5, size=(1, 200))}
    >>> sbc_ranks(truths, fit, lambda t: {"mu": t[0]})["rank"].between(0, 99).all().item()
    True
    """
    rng = np.random.default_rng(seed)
    rows = []
    for replicate, one in enumerate(truths):
        truth = truth_of(one)
        drawn = fit(one)
        lacking = [n for n in truth if n not in drawn]
        if lacking:
            raise CivstatsError(f"quantity {lacking[0]!r} has a truth but no draws")
        kept, efficiency = thin({n: np.asarray(drawn[n], dtype=float) for n in truth}, n_draws)
        for name, value in truth.items():
            at = np.atleast_1d(np.asarray(value, dtype=float))
            draws = kept[name].reshape(n_draws, -1)
            if at.shape != (draws.shape[1],):
                raise CivstatsError(
                    f"quantity {name!r} has {at.size} true value(s) and {draws.shape[1]} drawn"
                )
            known = np.flatnonzero(np.isfinite(at))
            if not len(known):
                continue
            k = int(rng.choice(known))
            (rank,) = rank_among(at[k : k + 1], draws[:, k][None], rng)
            rows.append((model, name, replicate, int(rank), efficiency))
    return pd.DataFrame(rows, columns=["model", "quantity", "replicate", "rank", "efficiency"])
