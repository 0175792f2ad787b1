"""History features: against a slow, obvious oracle; past-only; blind to masked days."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from civstats.features.history import OLD, filtered_demand, history_features, sales_grid
from civstats.schema import CivstatsError, validate_panel

ORIGINS = [1, 8, 40, 139, 140]


def make(seed: int = 0, n_days: int = 140) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    days = pd.date_range("2024-01-01", periods=n_days)
    frames = []
    for series, (mean, first) in {"a": (0.4, 0), "b": (3.0, 35), "c": (9.0, n_days - 5)}.items():
        out = rng.random(n_days) < 0.25
        stock = rng.poisson(mean, n_days).astype("float32")
        y = np.where(out, stock, rng.poisson(mean, n_days)).astype("float32")
        frame = pd.DataFrame({"unique_id": series, "ds": days, "y": y, "is_censored": out})
        frames.append(frame.assign(stock=np.where(out, stock, np.nan)).iloc[first:])
    return validate_panel(pd.concat(frames))


def oracle(y: np.ndarray, start: int, t: int, ahead: int) -> dict[str, float]:
    """One series with NaN for what is missing, one origin, one day ahead, by plain loops."""
    past = list(y[:t])

    def mean(values: list[float]) -> float:
        known = [v for v in values if not np.isnan(v)]
        return float(np.mean(known)) if known else np.nan

    out = {f"lag_{k}": past[-k] if k <= t else np.nan for k in (1, 7, 14, 28)}
    out |= {f"mean_{w}": mean(past[-w:]) for w in (7, 28, 56, 91)}
    month = [v for v in past[-28:] if not np.isnan(v)]
    out["spread_28"] = float(np.std(month)) if month else np.nan
    out["zeros_28"] = float(np.mean([v == 0 for v in month])) if month else np.nan
    age = max(t - start, 0)
    out["known_28"] = len(month) / min(age, 28) if age else np.nan
    for half_life in (14, 60):
        weights = [0.5 ** ((t - 1 - i) / half_life) for i in range(t)]
        pairs = [(w, v) for w, v in zip(weights, past, strict=True) if not np.isnan(v)]
        total = sum(w for w, _ in pairs)
        out[f"decay_{half_life}"] = sum(w * v for w, v in pairs) / total if pairs else np.nan
    sold = [i for i, v in enumerate(past) if v > 0]
    out["since_sale"] = t - sold[-1] if sold else np.nan
    out["age"] = min(age, OLD) if age else np.nan
    for cycles in (4, 8):
        same = [t + ahead % 7 - 7 * c for c in range(1, cycles + 1)]
        out[f"season_mean_{cycles}"] = mean([past[i] for i in same if 0 <= i < t])
    return out


@pytest.mark.parametrize("treatment", ["ignore", "mask"])
def test_against_the_oracle(treatment):
    panel = make()
    grid = sales_grid(panel, treatment)
    features = history_features(grid, ORIGINS)
    for ahead in (0, 3, 9, 27):
        got = features.at(ahead)
        for i, series in enumerate(grid.ids):
            rows = panel[panel["unique_id"] == series]
            start = 140 - len(rows)
            y = np.full(140, np.nan)
            out = rows["is_censored"].to_numpy() & (treatment == "mask")
            y[start:] = np.where(out, np.nan, rows["y"])
            for j, t in enumerate(ORIGINS):
                expected = oracle(y, start, t, ahead)
                assert set(expected) == set(got)
                for name, value in expected.items():
                    np.testing.assert_allclose(
                        got[name][i, j], value, rtol=2e-5, atol=1e-6, err_msg=f"{name} {series} {t}"
                    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.integers(1, 139))
def test_nothing_after_the_origin_matters(seed, t):
    panel = make(seed % 7)
    after = (panel["ds"] - panel["ds"].min()).dt.days.to_numpy() >= t
    rng = np.random.default_rng(seed)
    changed = panel.copy()
    changed.loc[after, "y"] = rng.permutation(changed.loc[after, "y"].to_numpy()) + 3
    changed.loc[after, "is_censored"] = rng.random(after.sum()) < 0.5
    for treatment in ("ignore", "mask"):
        a, b = (history_features(sales_grid(p, treatment), [t]) for p in (panel, changed))
        np.testing.assert_array_equal(a.steady, b.steady)
        np.testing.assert_array_equal(a.season, b.season)
        np.testing.assert_array_equal(a.level, b.level)
    cut = panel[~after]
    if cut["unique_id"].nunique() == 3:
        a, b = (history_features(sales_grid(validate_panel(p)), [t]) for p in (panel, cut))
        np.testing.assert_array_equal(a.steady, b.steady)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_masked_days_leave_no_trace_to_the_last_bit(seed):
    panel = make(seed % 7)
    rng = np.random.default_rng(seed)
    changed = panel.copy()
    out = panel["is_censored"].to_numpy()
    # Not whole numbers: sums of them are not exact, so any that enter leave a trace.
    changed.loc[out, "y"] = rng.gamma(2.0, 7.3, out.sum()).astype("float32")
    changed.loc[out, "stock"] = changed.loc[out, "y"]
    a, b = (history_features(sales_grid(p, "mask"), ORIGINS) for p in (panel, changed))
    np.testing.assert_array_equal(a.steady, b.steady)
    np.testing.assert_array_equal(a.season, b.season)
    np.testing.assert_array_equal(a.level, b.level)
    a, b = (history_features(sales_grid(p, "ignore"), ORIGINS) for p in (panel, changed))
    assert not np.array_equal(a.steady, b.steady, equal_nan=True)


def test_days_before_launch_are_nothing():
    grid = sales_grid(make())
    assert np.isnan(grid.y[2, :135]).all()
    np.testing.assert_array_equal(grid.start, [0, 35, 135])
    features = history_features(grid, [20, 140]).at(0)
    assert np.isnan([features[n][1, 0] for n in ("lag_1", "mean_28", "zeros_28", "age")]).all()
    assert features["age"][2, 1] == 5
    assert features["mean_91"][2, 1] == pytest.approx(np.mean(grid.y[2, 135:]))


def test_the_level_is_positive_and_close_to_the_recent_mean():
    grid = sales_grid(make(), "mask")
    level = history_features(grid, ORIGINS).level
    assert (level > 0).all()
    assert level[1, -1] == pytest.approx(np.nanmean(grid.y[1, -60:]), rel=0.2)


def test_weekly_panels_keep_their_periods():
    weeks = pd.date_range("2022-01-02", periods=80, freq="W-SUN")
    panel = validate_panel(
        pd.DataFrame({"unique_id": "a", "ds": weeks, "y": np.arange(80.0)}), freq="W-SUN"
    )
    grid = sales_grid(panel)
    assert grid.y.shape == (1, 80)
    features = history_features(grid, [60], season_length=52).at(0)
    assert features["lag_1"][0, 0] == 59
    assert features["season_mean_4"][0, 0] == 8


def test_origins_outside_the_grid_are_refused():
    with pytest.raises(CivstatsError, match=r"origins must lie in \[1, 140\]"):
        history_features(sales_grid(make()), [141])


def test_the_filter_is_fitted_once_to_the_same_days(monkeypatch):
    from civstats.demand_filter import DemandFilter

    fits = []
    fit = DemandFilter.fit
    monkeypatch.setattr(DemandFilter, "fit", lambda self, p: fits.append(1) or fit(self, p))
    days = pd.date_range("2024-01-01", periods=30)
    flags = np.arange(30) % 7 == 3
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": 2.0, "is_censored": flags})
    panel = validate_panel(frame)
    first, _ = filtered_demand(panel)
    again, _ = filtered_demand(validate_panel(frame.copy()))
    np.testing.assert_array_equal(first, again)
    assert len(fits) == 1
    # What a caller does to its answer is its own; other days, or other flags, are another panel.
    first[:] = -1
    np.testing.assert_array_equal(filtered_demand(panel)[0], again)
    other, _ = filtered_demand(validate_panel(frame.assign(y=np.where(days.day == 9, 3.0, 2.0))))
    assert other[8] == 3.0
    filtered_demand(validate_panel(frame.assign(is_censored=~flags)))
    assert len(fits) == 3
