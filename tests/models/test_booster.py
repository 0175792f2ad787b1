"""The booster behind LightGBM: forecasts of days that the trees have not seen sum to demand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.models import boosting
from civstats.models._booster import balance
from civstats.models.boosting import LightGBM
from civstats.schema import validate_panel

SIZE, ZERO = 2.0, 0.2
AS_FORECAST = 100.0


def test_bounds_count_for_the_demand_expected_behind_them() -> None:
    """The factor solves sum(E[D | what is known; factor]) = factor x sum(mean), by slow sums."""
    rng = np.random.default_rng(0)
    mean = rng.gamma(2.0, 1.5, 400)
    y = rng.poisson(1.4 * mean).astype(float)
    bound = rng.random(400) < 0.3
    factor = balance(mean, y, bound, SIZE, ZERO)

    demand = y.copy()
    k = np.arange(400)
    for i in np.flatnonzero(bound):
        law = stats.nbinom(SIZE, SIZE / (SIZE + np.exp(factor) * mean[i] / (1 - ZERO)))
        p = (1 - ZERO) * law.pmf(k) + ZERO * (k == 0)
        demand[i] = (k * p)[k >= y[i]].sum() / p[k >= y[i]].sum()
    ratio = (demand.sum() + AS_FORECAST) / (mean.sum() + AS_FORECAST)
    assert factor == pytest.approx(np.log(ratio), abs=2e-4)
    assert factor > 0.2


def test_without_bounds_it_is_the_ratio_of_sums_and_few_units_say_little() -> None:
    mean = np.full(1_000, 2.0)
    none = np.zeros(1_000, dtype=bool)
    assert balance(mean, np.full(1_000, 3.0), none) == pytest.approx(np.log(3_100 / 2_100))
    assert abs(balance(mean[:5], np.zeros(5), none[:5])) < 0.1


@pytest.mark.parametrize("treatment", ["ignore", "censor"])
def test_trees_that_follow_noise_leave_totals_too_low_without_the_balance(
    treatment, monkeypatch
) -> None:
    """Counts of one mean, and features that say nothing of them."""
    h = 28

    def bias(seed: int) -> float:
        rng = np.random.default_rng(seed)
        days = pd.date_range("2023-01-02", periods=420)
        parts = []
        for k in range(8):
            demand = rng.negative_binomial(SIZE, SIZE / (SIZE + 3.0), 420)
            stock = rng.poisson(8.0, 420) + 1
            out = (demand >= stock) & (treatment == "censor")
            y = np.where(out, stock, demand)
            noise = rng.normal(size=420)
            parts.append(
                pd.DataFrame(
                    {"unique_id": f"s{k}", "ds": days, "y": y, "is_censored": out, "noise": noise}
                )
            )
        panel = validate_panel(pd.concat(parts))
        params = {"min_data_in_leaf": 5, "learning_rate": 0.2}
        model = LightGBM(treatment=treatment, h=h, n_rounds=60, max_rows=8_000, params=params)
        last = panel["ds"].max() - pd.Timedelta(days=h)
        model.fit(validate_panel(panel[panel["ds"] <= last]))
        future = panel.loc[panel["ds"] > last, ["unique_id", "ds", "noise"]]
        made = model.predict(future.reset_index(drop=True), level=[80], n_paths=50, seed=seed)
        return float(made.frame[f"LightGBM_{treatment}"].mean() / 3.0 - 1)

    balanced = np.mean([bias(s) for s in range(4)])
    monkeypatch.setattr(boosting, "balance", lambda *_: 0.0)
    plain = np.mean([bias(s) for s in range(4)])
    assert plain < -0.02
    assert abs(balanced) < 0.02 < balanced - plain
