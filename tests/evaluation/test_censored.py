"""Scores with a bound: who wins, who should, and where they are not printed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.evaluation import evaluate
from civstats.evaluation.censored import (
    NOT_PROPER,
    censored_log_score,
    censored_pinball,
    localised_crps,
)
from civstats.evaluation.distributions import DrawRows, NegBinRows
from civstats.schema import CivstatsError, Forecast, validate_panel
from tests.evaluation.world import pooled

CAPS, SIZE, MEAN = np.array([6.0, 8.0, 12.0]), 2.0, 5.0
GRID = np.arange(2.0, 8.01, 0.1)


def nb(mean, size=SIZE):
    return stats.nbinom(size, size / (size + mean))


def rows(mean, n, size=SIZE) -> NegBinRows:
    return NegBinRows(np.ones((n, 1)), np.full((n, 1), mean), np.full((n, 1), size))


def worlds():
    """Every outcome of demand and stock, with its probability: expectations without noise."""
    demand, cap = (x.ravel() for x in np.meshgrid(np.arange(400.0), CAPS, indexing="ij"))
    weight = nb(MEAN).pmf(demand) / len(CAPS)
    y = np.minimum(demand, cap)
    return y, cap, demand >= cap, weight


def best(score) -> float:
    """The mean on the grid with the smallest expected score."""
    return float(GRID[np.argmin([score(m) for m in GRID])])


def test_minimisers_where_stock_is_independent_of_demand():
    y, cap, cens, weight = worlds()

    def localised(mean):
        return weight @ localised_crps(rows(mean, len(y)), y, cap)

    def log_score(mean):
        return weight @ censored_log_score(rows(mean, len(y)), y, cens)

    def in_stock(mean):
        keep = ~cens
        return weight[keep] @ rows(mean, keep.sum()).crps(y[keep])

    def sales(mean):
        return weight @ rows(mean, len(y)).crps(y)

    assert best(localised) == pytest.approx(5.0, abs=0.051)
    assert best(log_score) == pytest.approx(5.0, abs=0.051)
    # What is seen in stock, or sales taken for demand, reward a forecast that is too low.
    assert best(in_stock) == pytest.approx(3.5, abs=0.11)
    assert best(sales) == pytest.approx(4.4, abs=0.11)


def test_minimiser_of_the_censored_pinball_is_the_quantile_of_demand():
    y, cap, _, weight = worlds()
    loss = [weight @ censored_pinball(y, np.full(len(y), q), cap, 0.5) for q in range(12)]
    assert np.argmin(loss) == nb(MEAN).ppf(0.5)


def test_the_bound_counts_ties():
    y, cens = np.array([6.0, 0.0]), np.array([True, True])
    got = censored_log_score(rows(MEAN, 2), y, cens)
    np.testing.assert_allclose(got, [-nb(MEAN).logsf(5), 0.0], rtol=1e-12, atol=1e-15)
    # A full day out says nothing, whatever the forecast.
    assert localised_crps(rows(0.3, 1), [0.0], [0.0]) == 0


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(CivstatsError, match=r"1 row\(s\) without stock"):
        localised_crps(rows(5.0, 2), [1.0, 2.0], [3.0, np.nan])
    with pytest.raises(CivstatsError, match=r"1 row\(s\) sell more"):
        localised_crps(rows(5.0, 1), [4.0], [3.0])
    with pytest.raises(CivstatsError, match="1,000 draws"):
        localised_crps(DrawRows(np.ones((1, 10))), [1.0], [3.0])
    with pytest.raises(CivstatsError, match="family"):
        censored_log_score(DrawRows(np.ones((1, 10))), [1.0], [False])


def capped_panel(n_series=20, n_days=60, seed=0, *, known=True):
    rng = np.random.default_rng(seed)
    demand = rng.negative_binomial(SIZE, SIZE / (SIZE + MEAN), n_series * n_days).astype("float32")
    cap = rng.choice(CAPS, len(demand)).astype("float32")
    stock = cap if known else np.where(demand >= cap, cap, np.nan)
    return validate_panel(
        pd.DataFrame(
            {
                "unique_id": np.repeat([f"s{i:02d}" for i in range(n_series)], n_days),
                "ds": np.tile(pd.date_range("2024-01-01", periods=n_days), n_series),
                "y": np.minimum(demand, cap),
                "is_censored": demand >= cap,
                "stock": stock.astype("float32"),
                "demand": demand,
            }
        )
    )


def forecasts_of(panel, mean, name, cutoffs, h):
    """Negative binomial forecasts of one mean for every day, and their marginals."""
    frames, handed = [], []
    law = nb(mean)
    for cutoff in cutoffs:
        ahead = (panel["ds"] > cutoff) & (panel["ds"] <= cutoff + pd.Timedelta(h, "D"))
        frame = panel.loc[ahead, ["unique_id", "ds"]].assign(cutoff=cutoff).reset_index(drop=True)
        frame[name] = mean
        for column, p in (("-lo-80", 0.1), ("-median", 0.5), ("-hi-80", 0.9)):
            frame[f"{name}{column}"] = law.ppf(p)
        marginal = frame[["unique_id", "ds"]].assign(family="negbin", mean=mean, dispersion=SIZE)
        model, treatment = name.rsplit("_", 1)
        handed.append(Forecast(frame, model, treatment, (80,), marginal=marginal))
        frames.append(frame)
    return pd.concat(frames, ignore_index=True), handed


DAYS = pd.date_range("2024-02-10", periods=15)


def test_one_step_ahead_the_regime_is_scored_and_finds_the_true_model():
    panel = capped_panel(60)
    right, a = forecasts_of(panel, MEAN, "Right_censor", DAYS, 1)
    low, b = forecasts_of(panel, 0.8 * MEAN, "Low_censor", DAYS, 1)
    both = right.merge(low, on=["unique_id", "ds", "cutoff"])
    scores = evaluate(both, panel, level=80, n_boot=0, predictive=[*a, *b])
    for metric in ("localised_crps", "censored_log_score"):
        value = {
            n: pooled(scores, metric, "censored", n).value for n in ("Right_censor", "Low_censor")
        }
        assert value["Right_censor"] < value["Low_censor"]
    # On in-stock days alone the forecast that is too low wins.
    assert (
        pooled(scores, "rmse", "in_stock", "Low_censor").value
        < pooled(scores, "rmse", "in_stock", "Right_censor").value
    )
    y = panel[panel["ds"].isin(right["ds"])]
    expect = localised_crps(rows(MEAN, len(y)), y["y"], y["stock"]).mean()
    row = pooled(scores, "localised_crps", "censored", "Right_censor")
    assert row.value == pytest.approx(expect, rel=1e-12)
    assert row.n == len(y)
    assert row.identified


def test_further_ahead_it_is_not_printed_unless_stock_is_independent():
    panel = capped_panel(5)
    frame, handed = forecasts_of(panel, MEAN, "Right_censor", DAYS[:2], 7)
    scores = evaluate(frame, panel, level=80, n_boot=0, predictive=handed)
    some = scores[scores["regime"] == "censored"]
    assert set(some["metric"]) == {"localised_crps", "censored_log_score", "censored_pinball"}
    assert some["value"].isna().all()
    assert (some["note"] == NOT_PROPER).all()
    assert not some["identified"].any()
    free = evaluate(frame, panel, level=80, n_boot=0, predictive=handed, stock_independent=True)
    assert free.loc[free["regime"] == "censored", "value"].notna().all()


def test_stock_unknown_on_in_stock_days_is_refused():
    panel = capped_panel(5, known=False)
    frame, handed = forecasts_of(panel, MEAN, "Right_censor", DAYS, 1)
    with pytest.raises(CivstatsError, match=r"row\(s\) without stock"):
        evaluate(frame, panel, level=80, n_boot=0, predictive=handed, metrics="localised_crps",
                 regimes="censored")  # fmt: skip
    scores = evaluate(frame, panel, level=80, n_boot=0, predictive=handed)
    lost = pooled(scores, "localised_crps", "censored", "Right_censor")
    assert np.isnan(lost.value)
    assert "without stock" in lost.note
    assert pooled(scores, "censored_log_score", "censored", "Right_censor").identified
    with pytest.raises(CivstatsError, match="no score of regime all_days"):
        evaluate(frame, panel, metrics="censored_log_score", regimes="all_days")


def test_a_quantile_above_anything_stocked_is_flagged():
    panel = capped_panel(5)
    frame, handed = forecasts_of(panel, MEAN, "Right_censor", DAYS, 1)
    asked = {"level": 80, "n_boot": 0, "predictive": handed, "regimes": "censored"}
    assert pooled(evaluate(frame, panel, **asked), "censored_pinball", "censored", "Right_censor",
                  80).identified  # fmt: skip
    far = evaluate(frame.assign(**{"Right_censor-hi-80": 13.0}), panel, **asked)
    row = pooled(far, "censored_pinball", "censored", "Right_censor", 80)
    assert np.isfinite(row.value)
    assert not row.identified
    assert row.note.startswith("not identified: 100%")


def test_a_mean_under_heavy_censoring_is_flagged():
    panel = capped_panel(5)
    tight = panel.assign(y=np.minimum(panel["demand"], 3).astype("float32"), stock=np.float32(3))
    tight = validate_panel(tight.assign(is_censored=tight["demand"] >= 3))
    frame, _ = forecasts_of(tight, MEAN, "Right_censor", DAYS, 1)
    scores = evaluate(frame, tight, level=80, n_boot=0)
    for regime, flagged in (("all_days", True), ("in_stock", True), ("demand", False)):
        assert pooled(scores, "bias", regime, "Right_censor").identified is not flagged
    assert pooled(scores, "coverage", "in_stock", "Right_censor", 80).identified


def test_a_window_wholly_out_is_undefined_never_zero():
    panel = capped_panel(5)
    dark = panel["ds"].isin(DAYS[:3] + pd.Timedelta(1, "D"))
    panel = validate_panel(
        panel.assign(
            y=panel["y"].where(~dark, 0).astype("float32"),
            stock=panel["stock"].where(~dark, 0).astype("float32"),
            is_censored=panel["is_censored"] | dark,
        )
    )
    frame, handed = forecasts_of(panel, MEAN, "Right_censor", DAYS, 1)
    scores = evaluate(frame, panel, level=80, n_boot=0, predictive=handed, regimes="censored")
    hit = scores[scores["cutoff"].isin(DAYS[:3])]
    assert hit["value"].isna().all()
    assert not hit["identified"].any()
    assert (hit["note"] != "").all()
    whole = pooled(scores, "censored_log_score", "censored", "Right_censor")
    assert whole.identified


def test_rounded_weights_of_a_mixture_end_and_order_matters():
    thirds = NegBinRows(np.full((1, 3), 0.333333), np.full((1, 3), 5.0), np.full((1, 3), 2.0))
    assert thirds.crps(np.array([4.0]))[0] == pytest.approx(
        rows(5.0, 1).crps(np.array([4.0]))[0], abs=1e-4
    )
    panel = capped_panel(4)
    frame, (handed,) = forecasts_of(panel, MEAN, "Right_censor", DAYS[:1], 7)
    mixed = handed.marginal.sample(frac=1, random_state=0)
    with pytest.raises(CivstatsError, match="not sorted"):
        evaluate(frame, panel, level=80, n_boot=0,
                 predictive=[Forecast(frame, "Right", "censor", (80,), marginal=mixed)])  # fmt: skip


def test_one_step_is_one_of_the_panels_own_calendar():
    """From Friday to Monday where nobody works on weekends; not over a missing month."""
    rng = np.random.default_rng(0)
    for freq, size in (("B", 60), ("MS", 40)):
        days = pd.date_range("2020-01-01", periods=size, freq=freq)
        panel = pd.DataFrame(
            {"unique_id": "a", "ds": days, "y": rng.poisson(3.0, size).astype(float),
             "is_censored": False, "stock": 90.0}
        )  # fmt: skip
        panel = validate_panel(panel, freq=freq)
        frames = [
            pd.DataFrame({"unique_id": "a", "ds": [days[k + 1]], "cutoff": days[k]})
            for k in range(size - 12, size - 1)
        ]
        frame = pd.concat(frames).assign(
            **{
                "M_censor": 3.0,
                "M_censor-median": 3.0,
                "M_censor-lo-80": 1.0,
                "M_censor-hi-80": 5.0,
            }
        )
        scores = evaluate(frame, panel, level=80, n_boot=0, regimes="censored")
        pinball = scores[scores["metric"] == "censored_pinball"]
        assert pinball["value"].notna().all(), freq
        # Two steps are two steps.
        farther = frame.assign(cutoff=[days[k] for k in range(size - 13, size - 2)])
        scores = evaluate(farther, panel, level=80, n_boot=0, regimes="censored")
        assert scores["note"].str.contains("not proper here").all(), freq


def test_without_stockouts_sales_tell_the_coverage_that_is_expected():
    panel = capped_panel(4)
    free = panel.assign(y=panel["demand"], is_censored=False, stock=1e6)
    frame, handed = forecasts_of(free, MEAN, "M_censor", DAYS, 1)
    scores = evaluate(frame, free, level=80, n_boot=0, metrics="coverage", predictive=handed)
    scores = scores[scores["cutoff"].isna()].set_index("regime")["expected"]
    assert scores["all_days"] == pytest.approx(scores["demand"])
    assert 0.8 <= scores["in_stock"] < 0.95
    cut = evaluate(frame, panel, level=80, n_boot=0, metrics="coverage", predictive=handed)
    cut = cut[cut["cutoff"].isna()].set_index("regime")["expected"]
    assert cut[["all_days", "in_stock"]].isna().all()


def test_a_quantile_at_the_largest_stock_is_not_identified():
    """Stock always 6: that demand reached 6 is seen, by how much it passed 5 is not."""
    panel = capped_panel(3)
    panel = panel.assign(stock=6.0, y=panel["y"].clip(upper=6.0))
    panel = panel.assign(is_censored=panel["y"] >= 6)
    frame, _ = forecasts_of(panel, MEAN, "M_censor", DAYS, 1)
    found = {}
    for hi in (5.0, 6.0, 50.0):
        scores = evaluate(
            frame.assign(**{"M_censor-lo-80": 0.0, "M_censor-median": 2.0, "M_censor-hi-80": hi}),
            panel, level=80, n_boot=0, metrics="censored_pinball", regimes="censored",
        )  # fmt: skip
        found[hi] = scores[scores["cutoff"].isna()].iloc[0]
    assert [bool(f["identified"]) for f in found.values()] == [True, False, False]
    assert found[6.0]["value"] == found[50.0]["value"]
