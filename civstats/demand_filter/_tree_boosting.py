"""A few trees at a time from what the filter says of each day's offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from civstats.demand_filter.grid import Grid
from civstats.demand_filter.layout import Observations
from civstats.demand_filter.parameters import FilterParameters
from civstats.demand_filter.responses import Responses, responses

if TYPE_CHECKING:
    import lightgbm

_PARAMS = {
    "objective": "none",
    "learning_rate": 0.1,
    "num_leaves": 16,
    "min_data_in_leaf": 100,
    "min_sum_hessian_in_leaf": 10.0,
    "lambda_l2": 10.0,
    "feature_fraction": 0.8,
    "max_bin": 127,
    "cat_smooth": 20.0,
    "verbose": -1,
    "deterministic": True,
    "force_row_wise": True,
}
CATEGORICAL = ("group", "event")
"""Features that are labels."""
TREES = 8
"""Trees between two runs of the filter."""
SMALL = 50_000
"""Rows below which one thread is quicker."""


@dataclass
class Boosting:
    """Alternates between the filter and a few trees."""

    obs: Observations
    params: FilterParameters
    grid: Grid
    features: np.ndarray
    used: np.ndarray
    added: np.ndarray
    said: Responses
    booster: lightgbm.Booster
    n_jobs: int | None

    @classmethod
    def start(
        cls,
        obs: Observations,
        params: FilterParameters,
        grid: Grid,
        features: np.ndarray,
        used: np.ndarray,
        names: tuple[str, ...],
        seed: int,
        n_jobs: int | None,
    ) -> Boosting:
        """Begin with no trees; only the rows `used` are learned from."""
        import lightgbm

        said = responses(obs, params, grid=grid, n_jobs=n_jobs)
        used = used & (said.info > 0)
        threads = _threads(n_jobs, len(features))
        settings: dict[str, Any] = {**_PARAMS, "seed": seed, "num_threads": threads}
        rows = lightgbm.Dataset(
            features[used],
            np.zeros(int(used.sum()), dtype=np.float32),
            feature_name=list(names),
            categorical_feature=[n for n in CATEGORICAL if n in names],
            params=settings,
        )
        booster = lightgbm.Booster(settings, rows)
        added = np.zeros(obs.n_rows)
        return cls(obs, params, grid, features, used, added, said, booster, n_jobs)

    def grow(self) -> int:
        """Add a few trees, and return how many there were before."""
        first: int = self.booster.current_iteration()
        if first:
            self.said = responses(
                self.obs.with_offset(self.obs.offset + self.added),
                self.params,
                grid=self.grid,
                n_jobs=self.n_jobs,
            )
        score, info = self.said.score[self.used], self.said.info[self.used]
        start = self.added[self.used]

        def slope(now: np.ndarray, _rows: object) -> tuple[np.ndarray, np.ndarray]:
            return info * (now - start) - score, info

        for _ in range(TREES):
            self.booster.update(fobj=slope)
        if self.booster.current_iteration() > first:
            self.added += predicted(self.booster, self.features, self.n_jobs, first)
        return first


def predicted(
    booster: lightgbm.Booster, features: np.ndarray, n_jobs: int | None, first: int
) -> np.ndarray:
    """Return what the trees from `first` on say of rows, shape (n_rows,)."""
    found = booster.predict(
        features, raw_score=True, start_iteration=first, num_threads=_threads(n_jobs, len(features))
    )
    return np.asarray(found, dtype=np.float64)


def _threads(n_jobs: int | None, n_rows: int) -> int:
    """Few rows make threads wait for each other, at length on a busy machine."""
    return 1 if n_rows < SMALL else n_jobs or 0
