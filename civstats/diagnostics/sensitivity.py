"""Prior sensitivity by power-scaling: what a prior half or twice as strong would do, no refit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from civstats.diagnostics._draws import blocks, posterior_of
from civstats.schema import CivstatsError

THRESHOLD = 0.05
"""Above it a component matters (Kallioinen et al., 2024): about 0.3 sd for a doubled power."""
K_LIMIT = 0.7


def power_scale_weights(log_density: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    """Return weights that raise a component of the posterior to a power, and their Pareto k.

    Parameters
    ----------
    log_density : numpy.ndarray, shape (n_draws,)
        Of the prior, or of the likelihood, at each draw.
    alpha : float
        The power: 2 is a prior twice as strong, 0.5 one half as strong.

    Returns
    -------
    weights : numpy.ndarray, shape (n_draws,)
        Sum to 1, tail smoothed.
    k : float
        Beyond 0.7 they cannot be trusted.

    Raises
    ------
    CivstatsError
        For a power that is not positive, or densities that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> theta = np.random.default_rng(0).normal(0, 0.5, size=4000)
    >>> weights, k = power_scale_weights(-0.5 * theta**2, 2.0)
    >>> bool(weights @ theta**2 < 0.25), bool(k < 0.7)
    (True, True)
    """
    import arviz as az

    x = np.asarray(log_density, dtype=float)
    if not alpha > 0 or not np.isfinite(x).all():
        raise CivstatsError(
            f"power-scaling needs a power above 0 and finite log densities, but got {alpha!r} and "
            f"{int((~np.isfinite(x)).sum())} that are not finite"
        )
    if np.ptp(x) == 0 or alpha == 1:
        return np.full(len(x), 1 / len(x)), 0.0
    log_weights, k = az.psislw((alpha - 1) * x)
    return np.exp(log_weights), float(k)


def prior_sensitivity(
    data: Any,
    log_prior: np.ndarray | Mapping[str, np.ndarray],
    log_likelihood: np.ndarray,
    *,
    var_names: Sequence[str] | None = None,
    delta: float = 0.01,
    alphas: tuple[float, float] = (0.5, 2.0),
) -> pd.DataFrame:
    """Say of every scalar whether its posterior hangs on the prior, on the data, or on both.

    Parameters
    ----------
    data : arviz.InferenceData, xarray.Dataset or mapping of arrays (chain, draw, ...)
        What is reported: parameters, and quantities computed from them, for which sensitivity
        matters most.
    log_prior : numpy.ndarray or mapping of name to numpy.ndarray, shape (chain, draw)
        Summed log density of the priors to be scaled; of a mapping, all together. In a hierarchical
        model hand in those at the top: the distribution of effects given their scale is part of the
        model, and scaling both counts a prior twice.
    log_likelihood : numpy.ndarray, shape (chain, draw)
        Summed over all days, survival terms included.
    var_names : sequence of str, optional
    delta : float
        Step of the derivative in the power.
    alphas : pair of float
        Powers at which the reader is shown what happens.

    Returns
    -------
    pandas.DataFrame
        ``parameter, prior, likelihood, verdict, mean, sd``, then ``mean_x0.5, mean_x2`` (of the
        posterior with the prior raised to those powers), ``shift`` (the larger move in posterior sd)
        and ``k`` (of these weights; beyond 0.7 the shift is a guess). Verdict: ``-``;
        ``prior-data conflict`` (both above 0.05); ``strong prior or weak likelihood`` (the prior alone).

    Raises
    ------
    CivstatsError
        If shapes do not match, or a density is not finite.

    Notes
    -----
    The measure is the derivative of the cumulative Jensen-Shannon distance between the posterior
    and the scaled one, in the binary logarithm of the power (Kallioinen, Paananen, Buerkner and
    Vehtari, 2024), by arviz.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> mu = rng.normal(5, 0.1, size=(4, 1000))  # a flat prior, a sharp likelihood
    >>> table = prior_sensitivity({"mu": mu}, np.zeros((4, 1000)), -50 * (mu - 5) ** 2)
    >>> table["verdict"].tolist()
    ['-']
    """
    import arviz as az

    held = posterior_of(data)
    prior = _total(log_prior)
    likelihood = np.asarray(log_likelihood, dtype=float)
    shape = (held.sizes["chain"], held.sizes["draw"])
    for name, x in (("log_prior", prior), ("log_likelihood", likelihood)):
        if x.shape != shape:
            raise CivstatsError(f"{name} has shape {x.shape}, but the draws (chain, draw) {shape}")
    scaled = [power_scale_weights(prior.ravel(), a) for a in alphas]
    k = max(found[1] for found in scaled)
    frames = []
    for part in blocks(held, var_names):
        idata = az.from_dict({"x": part.array}, log_likelihood={"ll": likelihood[..., None]})
        idata.add_groups({"log_prior": {"lp": prior}})
        flat = part.array.reshape(-1, len(part.names))
        mean, sd = flat.mean(axis=0), flat.std(axis=0, ddof=1)
        moved = [w @ flat for w, _ in scaled]
        found = {
            c: np.zeros(len(part.names))
            if np.ptp(x) == 0
            else np.atleast_1d(az.psens(idata, component=c, delta=delta)["x"].to_numpy())
            for c, x in (("prior", prior), ("likelihood", likelihood))
        }
        with np.errstate(invalid="ignore", divide="ignore"):
            shift = np.max([np.abs(m - mean) / sd for m in moved], axis=0)
        frames.append(
            pd.DataFrame(
                {
                    "parameter": part.names,
                    **found,
                    "verdict": _verdict(found["prior"], found["likelihood"]),
                    "mean": mean,
                    "sd": sd,
                    **{f"mean_x{a:g}": m for a, m in zip(alphas, moved, strict=True)},
                    "shift": shift,
                    "k": k,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _total(log_prior: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
    if not isinstance(log_prior, Mapping):
        return np.asarray(log_prior, dtype=float)
    if not log_prior:
        raise CivstatsError("log_prior names no prior: there is nothing to scale")
    parts = [np.asarray(x, dtype=float) for x in log_prior.values()]
    return np.sum([x.reshape(*x.shape[:2], -1).sum(axis=-1) for x in parts], axis=0)


def _verdict(prior: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    strong = prior > THRESHOLD
    names = np.where(
        likelihood > THRESHOLD, "prior-data conflict", "strong prior or weak likelihood"
    )
    return np.where(strong, names, "-")
