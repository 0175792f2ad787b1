"""Every scalar that was drawn: estimates, their Monte Carlo error, R-hat and effective draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from civstats.diagnostics._draws import Draws, blocks, posterior_of
from civstats.schema import CivstatsError

PROBS = (0.1, 0.5, 0.9)
"""Quantiles that reports show: the median and the ends of the 80 % band."""
MIN_DRAWS = 4
"""Fewer draws of a chain than this cannot be split and compared."""

OK, CONSTANT, STUCK, NOT_FINITE = "ok", "constant", "stuck", "not finite"


def parameter_table(
    data: Any, var_names: Sequence[str] | None = None, *, probs: Sequence[float] = PROBS
) -> pd.DataFrame:
    """Summarise every scalar of a posterior, with the Monte Carlo error of what is reported.

    Parameters
    ----------
    data : arviz.InferenceData, xarray.Dataset or mapping of arrays (chain, draw, ...)
        All variables of the group ``posterior`` are looked at: those sampled, and those computed
        from them (deterministic ones, totals, lost units), since both are reported.
    var_names : sequence of str, optional
        Only these variables.
    probs : sequence of float
        Quantiles, each with its Monte Carlo error.

    Returns
    -------
    pandas.DataFrame
        One row a scalar: ``parameter, variable, status, stuck_chains, mean, sd, mcse_mean``, for
        each quantile ``q10, mcse_q10`` and so on, ``rhat, ess_bulk, ess_tail``. Status: ``ok``;
        ``constant`` (all draws of all chains alike: nothing was learnt, or nothing was to be);
        ``stuck`` (a chain never moved while another did, `stuck_chains` of them; not said of
        quantities that are whole numbers, which may be zero for long); ``not finite`` (NaN or
        infinite draws). What cannot be computed is NaN: R-hat of a single chain among others.

    Raises
    ------
    CivstatsError
        If there are no draws, a variable is unknown, or a probability is not inside (0, 1).

    Notes
    -----
    R-hat is the larger of the rank-normalised split R-hat of the draws and of their distance from
    the median; ESS is that of the ranks (bulk) and the smaller one of the indicators of the 5 %
    and 95 % tails (Vehtari, Gelman, Simpson, Carpenter and Buerkner, 2021); all by arviz.

    Examples
    --------
    >>> import numpy as np
    >>> draws = {"mu": np.random.default_rng(0).normal(size=(4, 500))}
    >>> table = parameter_table(draws)
    >>> table["status"].tolist(), bool(table["rhat"].iloc[0] < 1.01)
    (['ok'], True)
    """
    bad = [p for p in probs if not 0 < p < 1]
    if bad:
        raise CivstatsError(f"probs must lie inside (0, 1), but got {bad[0]!r}")
    dataset = posterior_of(data)
    frames = [_summary(part, tuple(probs)) for part in blocks(dataset, var_names)]
    return pd.concat(frames, ignore_index=True)


def _summary(part: Draws, probs: tuple[float, ...]) -> pd.DataFrame:
    """Summarise one block, reading from arviz only what is defined."""
    x = part.array
    chains, draws, n = x.shape
    finite = np.isfinite(x).all(axis=(0, 1))
    low, high = x.min(axis=1), x.max(axis=1)
    constant = finite & (low.min(axis=0) == high.max(axis=0))
    still = finite & ~constant & (low == high)
    stuck = still.sum(axis=0) * ~(x == np.round(x)).all(axis=(0, 1))
    status = np.full(n, OK, dtype=object)
    status[constant], status[stuck > 0], status[~finite] = CONSTANT, STUCK, NOT_FINITE
    out: dict[str, object] = {
        "parameter": part.names,
        "variable": part.variable,
        "status": status,
        "stuck_chains": stuck.astype(int),
    }
    flat = x.reshape(chains * draws, n)
    blank = np.where(finite, 0.0, np.nan)
    with np.errstate(invalid="ignore"):
        out["mean"] = flat.mean(axis=0) + blank
        out["sd"] = (flat.std(axis=0, ddof=1) if len(flat) > 1 else np.full(n, np.nan)) + blank
    quantiles = np.full((len(probs), n), np.nan)
    quantiles[:, finite] = np.quantile(flat[:, finite], probs, axis=0)
    # A chain that never moved leaves no variance within: every measure would divide by it.
    usable = finite & ~constant & ~still.all(axis=0) & (draws >= MIN_DRAWS)
    made = _measures(x[:, :, usable], probs)

    def spread(name: str) -> np.ndarray:
        column = np.full(n, np.nan)
        column[usable] = made[name]
        return column

    out["mcse_mean"] = spread("mcse_mean")
    for k, p in enumerate(probs):
        out[f"q{100 * p:g}"] = quantiles[k]
        out[f"mcse_q{100 * p:g}"] = spread(f"mcse_{p!r}")
    rhat = spread("rhat")
    rhat[still.all(axis=0)] = np.inf
    out |= {"rhat": rhat, "ess_bulk": spread("ess_bulk"), "ess_tail": spread("ess_tail")}
    return pd.DataFrame(out)


def _measures(x: np.ndarray, probs: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Ask arviz for everything, shape (chain, draw, k) to (k,) each."""
    n = x.shape[2]
    names = ("rhat", "ess_bulk", "ess_tail", "mcse_mean", *(f"mcse_{p!r}" for p in probs))
    if not n:
        return {name: np.empty(0) for name in names}
    import arviz as az

    held = az.convert_to_dataset({"x": x})
    nothing = np.full(n, np.nan)
    out = {"rhat": az.rhat(held)["x"].to_numpy() if x.shape[0] > 1 else nothing}
    for kind in ("bulk", "tail"):
        out[f"ess_{kind}"] = az.ess(held, method=kind)["x"].to_numpy()
    out["mcse_mean"] = az.mcse(held, method="mean")["x"].to_numpy()
    for p in probs:
        out[f"mcse_{p!r}"] = az.mcse(held, method="quantile", prob=p)["x"].to_numpy()
    return out
