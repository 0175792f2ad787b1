"""A model with the Bayesian model's interface whose posterior is exact: no sampler, seconds saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp

from civstats.censoring import NegBin
from civstats.demand_filter import BOUND, EXACT, observations

GRID = np.linspace(-4, 5, 301)
A = 3.0


@dataclass
class Problem:
    name: str
    message: str
    advice: str


class StandIn:
    """One fixed level per series, N(1, 1) alone; negative binomial with a known dispersion."""

    family = "negbin"

    def __init__(self, treatment: str = "censor", spoil: str = "", chains: int = 4) -> None:
        self.treatment, self.spoil, self.chains, self.draws = treatment, spoil, chains, 400
        self.problems_: list[Problem] = []

    def fit(self, panel: pd.DataFrame) -> StandIn:
        rng = np.random.default_rng(0)
        obs = observations(panel, self.treatment)
        self.obs = obs
        n = obs.n_series
        self.series = np.repeat(np.arange(n), obs.lengths)
        shape = (self.chains, self.draws)
        level = np.empty((*shape, n))
        for s in range(n):
            mine = (self.series == s) & (obs.kind != 2)
            y, bound = obs.y[mine], obs.kind[mine] == BOUND
            terms = NegBin(A).loglik(y, GRID[:, None], bound).sum(axis=1)
            weight = terms - 0.5 * (GRID - 1) ** 2
            p = np.exp(weight - logsumexp(weight))
            level[..., s] = rng.choice(GRID, size=shape, p=p) + rng.uniform(-0.015, 0.015, shape)
        if self.spoil == "apart":
            level[0] += 0.8
        dispersion = A * np.exp(rng.normal(0, 1e-6, (*shape, 2)))
        stats = {"diverging": np.zeros(shape, bool), "energy": rng.normal(size=shape)}
        self.panel_ = panel
        self.idata_ = az.from_dict(
            {"level": level, "dispersion": dispersion},
            sample_stats=stats,
            coords={"department": ["D0", "D1"]},
            dims={"level": ["node"], "dispersion": ["department"]},
        )
        exposure = np.ones(len(panel)) if obs.exposure is None else obs.exposure
        self.idata_.add_groups(
            {
                "constant_data": xr.Dataset(
                    {
                        "y": ("row", obs.y),
                        "kind": ("row", obs.kind),
                        "exposure": ("row", exposure),
                        "series": ("row", self.series),
                        "node": ("row", self.series),
                    }
                )
            }
        )
        return self

    def _levels(self, draws: np.ndarray | None) -> np.ndarray:
        flat = self.idata_.posterior["level"].to_numpy().reshape(-1, self.obs.n_series)
        return flat if draws is None else flat[draws]

    def predictor(self, draws=None, rows=None):
        at = self.series if rows is None else self.series[rows]
        return self._levels(draws)[:, at], NegBin(A)

    def pointwise(self, rows=None, draws=None) -> np.ndarray:
        eta, family = self.predictor(draws, rows)
        y, kind = (x if rows is None else x[rows] for x in (self.obs.y, self.obs.kind))
        out = family.loglik(np.nan_to_num(y), eta, kind == BOUND)
        return np.where(kind == 2, 0.0, out)

    def prior_predictive(self, n: int, seed: int) -> xr.Dataset:
        rng = np.random.default_rng(seed)
        level = rng.normal(1, 1, (n, self.obs.n_series))
        demand = NegBin(A).sample(level[:, self.series], rng)
        return xr.Dataset(
            {"demand": (("sample", "row"), demand), "level": (("sample", "node"), level)}
        )

    def prior_draws(self, panel: pd.DataFrame, n: int, seed: int) -> xr.Dataset:
        rng = np.random.default_rng(seed)
        series = panel["unique_id"].cat.codes.to_numpy()
        level = rng.normal(1, 1, (n, series.max() + 1))
        demand = NegBin(A).sample(level[:, series], rng)
        return xr.Dataset(
            {"demand": (("sample", "row"), demand), "level": (("sample", "node"), level)}
        )

    def predict(self, future: pd.DataFrame, *, level, n_paths: int, seed: int):
        rng = np.random.default_rng(seed)
        at = rng.choice(self.chains * self.draws, n_paths, replace=False)
        days = future["ds"].unique()
        eta = self._levels(at).T[:, :, None] + np.zeros(len(days))
        paths = NegBin(A).sample(eta, rng)
        return SimpleNamespace(paths=xr.DataArray(paths, dims=("unique_id", "sample", "ds")))

    def recover(self, levels, n_draws: int, seed: int):
        rng = np.random.default_rng(seed)
        rows = np.flatnonzero(self.obs.kind != EXACT)
        at = rng.choice(self.chains * self.draws, n_draws, replace=False)
        bound = np.where(self.obs.kind == BOUND, np.nan_to_num(self.obs.y), 0)[rows]
        eta, family = self.predictor(at, rows)
        return SimpleNamespace(rows=rows, samples=family.sample_above(bound, eta, rng).T)

    def log_prior(self) -> dict[str, np.ndarray]:
        level = self.idata_.posterior["level"].to_numpy()
        return {"level": -0.5 * ((level - 1) ** 2).sum(axis=2)}

    def save(self, folder: Path) -> None:
        self.idata_.to_netcdf(str(Path(folder) / "posterior.nc"), engine="h5netcdf")

    def exact_days(self) -> int:
        return int((self.obs.kind == EXACT).sum())
