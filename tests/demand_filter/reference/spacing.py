"""How far the grid's spacing moves the answers: prints the table in reference/README.md.

Run from the root of the repository: ``python -m tests.demand_filter.reference.spacing``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.demand_filter import FilterParameters, Observations, build_grid, smooth_levels

SPACINGS = (1.0, 0.8, 0.6, 0.5, 0.4, 0.25)
FINE = 0.125
PROBS = (0.1, 0.9)


def world(log_mean: float, size: float, level_sd: float, n: int = 40, days: int = 700):
    """Series with capped sales on some days and whole days out on others."""
    rng = np.random.default_rng(5)
    level = log_mean + np.cumsum(rng.normal(0, level_sd, (n, days)), axis=1)
    mu = np.exp(level)
    demand = rng.poisson(mu * (1 if np.isinf(size) else rng.gamma(size, 1 / size, mu.shape)))
    stock = np.where(rng.random(mu.shape) < 0.4, 0, rng.poisson(1.2 * mu))
    short = (rng.random(mu.shape) < 0.25) & (stock <= demand)
    y = np.where(short, stock, demand).astype(float)
    kind = np.where(short, np.where(y > 0, 1, 2), 0)
    ends = days * np.arange(1, n + 1)
    ids = pd.Index([f"s{i}" for i in range(n)])
    flat = [a.reshape(-1) for a in (y, kind, np.ones_like(kind), np.zeros(y.shape))]
    obs = Observations(ids, ends - days, ends, *flat)
    return obs, FilterParameters(
        "negbin", dispersion=size, level_sd=level_sd, prior_mean=log_mean, prior_sd=1.0
    )


def main() -> None:
    """Print errors against the fine grid, in posterior standard deviations."""
    print(
        "mean  size  level_sd | spacing points | mean: rms max | sd: rms % | 80 % band: rms max | loglik"
    )
    for mean, size, level_sd in (
        (0.05, 2.0, 0.03),
        (0.5, 1.0, 0.03),
        (5.0, 2.0, 0.03),
        (5.0, np.inf, 0.1),
        (300.0, 50.0, 0.05),
        (300.0, np.inf, 0.05),
    ):
        obs, params = world(np.log(mean), size, level_sd)

        def both(spacing, obs=obs, params=params):
            grid = build_grid(obs, params, spacing=spacing)
            return smooth_levels(obs, params, quantiles=PROBS, grid=grid)

        fine = both(FINE)
        sd = fine.smoothed.sd
        for spacing in SPACINGS:
            got = both(spacing)
            off = (got.smoothed.mean - fine.smoothed.mean) / sd
            off_sd = 100 * (got.smoothed.sd / sd - 1)
            off_band = (got.quantiles - fine.quantiles) / sd[:, None]
            gain = got.loglik - fine.loglik
            print(
                f"{mean:6g} {size:5g} {level_sd:5g} | {spacing:5.2f} {np.mean(got.grid.size):6.0f}"
                f" | {np.sqrt(np.mean(off**2)):7.4f} {np.abs(off).max():7.4f}"
                f" | {np.sqrt(np.mean(off_sd**2)):6.2f}"
                f" | {np.sqrt(np.mean(off_band**2)):7.4f} {np.abs(off_band).max():7.4f}"
                f" | {np.mean(gain):+8.4f}"
            )


if __name__ == "__main__":
    main()
